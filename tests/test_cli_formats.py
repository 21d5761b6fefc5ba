"""Formats through the command line: copies to the byte, NaN and masks, all pages of a file."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import tifffile
from conftest import ROOT
from PIL import Image

from doprestore.io.images import count_pages, picture_file, read_picture


def _integers(depth: str, *shape: int) -> np.ndarray:
    limits = np.iinfo(depth)
    return np.random.default_rng(0).integers(limits.min, limits.max, shape, depth, endpoint=True)


def test_a_file_of_the_same_format_is_copied_byte_for_byte(tmp_path):
    Image.fromarray(_integers("uint8", 9, 8, 3)).save(tmp_path / "a.jpg", quality=30, comment=b"kept")
    picture = read_picture(tmp_path / "a.jpg")
    assert picture_file(tmp_path / "a.jpg", tmp_path / "b.jpeg", picture) == (tmp_path / "a.jpg").read_bytes()
    for output in (tmp_path / "c.png", "-"):
        assert picture_file(tmp_path / "a.jpg", output, picture) is None
    Image.new("RGB", (8, 9)).save(tmp_path / "a.jpg")  # changed while the run went on
    assert picture_file(tmp_path / "a.jpg", tmp_path / "d.jpg", picture) is None
    assert os.listdir(tmp_path) == ["a.jpg"]


# So small an alpha finds nothing in so few steps.
BLIND = ("--preset", "paper", "--output", "composed", "--steps", 2, "--width", 4, "--device", "cpu", "--alpha", 1e-3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_picture_in_which_nothing_was_found_is_copied(run_cli, tmp_path, name):
    source, out, other = tmp_path / name, tmp_path / f"out{name[1:]}", tmp_path / "out.bmp"
    Image.fromarray(_integers("uint8", 9, 8, 3)).save(source, quality=50)
    code, stdout, _ = run_cli("image", source, out, *BLIND)
    assert code == 0 and "nothing to do" in stdout and out.read_bytes() == source.read_bytes()
    assert "nothing to do" not in run_cli("image", source, other, *BLIND).stdout
    assert run_cli("image", source, tmp_path, "--name", "{stem}_network.jpg", *BLIND, "--output", "network").code == 0
    if name == "a.jpg":
        assert "nothing to do" not in run_cli("image", source, out, *BLIND, "--quality", 50, "--force").stdout
        before = source.read_bytes()
        assert "nothing to do" in run_cli("image", "--in-place", ".orig", source, *BLIND).stdout
        assert source.read_bytes() == before and not source.with_name("a.jpg.orig").exists()


def test_the_readme_says_how_a_copy_is_told(run_cli, tmp_path):
    mark = re.search(r'"([^"]+)" at its end means that the output is the\s+very file', (ROOT / "README.md").read_text())[1]
    source = tmp_path / "a.png"
    Image.fromarray(_integers("uint8", 9, 8, 3)).save(source)
    for name in ("b.png", "c.bmp"):
        line = run_cli("image", source, tmp_path / name, *BLIND).stdout
        assert "no damage found" in line and line.endswith(f"{mark}\n") == (name == "b.png")


@pytest.mark.parametrize("extension", ["npy", "tif", "fits"])
def test_nan_is_known_damage(run_cli, tmp_path, extension):
    if extension == "fits":
        pytest.importorskip("astropy")
    array = np.random.default_rng(0).normal(1000, 50, (20, 30)).astype(np.float32)
    bad = np.random.default_rng(1).random((20, 30)) < 0.2
    array[bad] = np.nan
    source, out = tmp_path / f"in.{extension}", tmp_path / "out.npy"
    if extension == "npy":
        np.save(source, array)
    elif extension == "tif":
        tifffile.imwrite(source, array)
    else:
        __import__("astropy.io.fits").io.fits.PrimaryHDU(array).writeto(source)
    code, _, stderr = run_cli("image", source, out, *BLIND, "--range", 800, 1200, "--json", tmp_path / "facts.json")
    assert code == 0, stderr
    filled = np.load(out)
    assert np.isfinite(filled).all() and np.array_equal(filled[~bad], array[~bad])
    assert json.loads((tmp_path / "facts.json").read_text())["masked_share"] == pytest.approx(bad.mean())
    with_nan = run_cli("corrupt", source, tmp_path / "other.npy")
    assert with_nan.code == 1 and "NaN" in with_nan.stderr


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32"])
def test_masks_as_arrays_of_zeros_and_ones(run_cli, tmp_path, dtype):
    Image.fromarray(_integers("uint8", 20, 30)).save(tmp_path / "in.png")
    bad = np.random.default_rng(1).random((20, 30)) < 0.2
    np.save(tmp_path / "mask.npy", bad.astype(dtype))
    code, _, stderr = run_cli("image", tmp_path / "in.png", tmp_path / "out.png", *BLIND, "--mask", tmp_path / "mask.npy")
    assert code == 0, stderr
    changed = read_picture(tmp_path / "in.png").samples[0] != read_picture(tmp_path / "out.png").samples[0]
    assert not changed[~bad].any() and changed[bad].mean() > 0.9


def test_all_pages_become_a_file_each(run_cli, tmp_path):
    (tmp_path / "in").mkdir()
    stack = _integers("uint16", 3, 9, 8)
    tifffile.imwrite(tmp_path / "in" / "stack.tif", stack, photometric="minisblack")
    Image.fromarray(_integers("uint8", 9, 8)).save(tmp_path / "in" / "single.png")
    (tmp_path / "in" / "bad.tif").write_bytes(b"II*\0damaged")
    many = ("image", tmp_path / "in", tmp_path / "out", "-r", *BLIND)
    code, stdout, stderr = run_cli(*many, "--page", "all", "--log", tmp_path / "logs")
    assert code == 1 and "4 restored, 1 failed" in stdout and "bad.tif" in stderr
    names = ["single.png", "stack_page1.tif", "stack_page2.tif", "stack_page3.tif"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert len(list((tmp_path / "logs").iterdir())) == 4
    for number in (1, 2, 3):
        assert np.array_equal(tifffile.imread(tmp_path / "out" / f"stack_page{number}.tif"), stack[number - 1])
    assert "stack.tif: has 3 pages" in run_cli(*many, "--force").stderr
    for args in (
        (tmp_path / "in" / "stack.tif", tmp_path / "a.tif"),
        ("--in-place", ".orig", tmp_path / "in" / "stack.tif"),
    ):
        code, _, stderr = run_cli("image", *args, *BLIND, "--page", "all")
        assert code == 2 and "--page" in stderr
    assert run_cli("image", tmp_path / "in" / "stack.tif", tmp_path / "a.tif", *BLIND, "--page", "0").code == 2


def test_pages_are_counted(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(np.zeros((4, 3))) for _ in range(2))]).writeto(tmp_path / "a.fits")
    fits.PrimaryHDU().writeto(tmp_path / "none.fits")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 4, 3), np.uint8), photometric="minisblack")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert [count_pages(tmp_path / name) for name in ("a.fits", "none.fits", "a.tif", "a.png", "absent")] == [2, 1, 5, 1, 1]
