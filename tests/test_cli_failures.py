"""doprestore image, when something is wrong: one line, the right exit code, and nothing touched."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import doprestore.image.portions as portions

QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


@pytest.fixture
def photo(tmp_path):
    """A small damaged picture, alone in its folder."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return path


def _bomb(path) -> None:
    header = b"P6 100000 100000 255\n"
    path.write_bytes(header + bytes(100))


BAD_FILES = {
    "empty.png": lambda path: path.touch(),
    "cut.png": lambda path: path.write_bytes(path.with_name("photo.png").read_bytes()[:400]),
    "text.png": lambda path: path.write_text("not a picture"),
    "bomb.ppm": _bomb,
    "other.png": lambda path: Image.new("RGB", (31, 20)).save(path),
    "file": lambda path: path.touch(),
}


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("absent.png out.png", 1, "absent.png: no such file"),
        ("empty.png out.png", 1, "empty.png: is empty"),
        ("cut.png out.png", 1, "cut.png: is damaged"),
        ("text.png out.png", 1, "text.png: is not a"),
        ("bomb.ppm out.png", 1, "bomb.ppm: is 100000x100000"),
        ("photo.png absent/out.png", 2, "absent does not exist"),
        ("photo.png file/out.png", 2, "is not a folder"),
        ("photo.png out.xyz", 2, ".xyz"),
        ("photo.png out", 2, "no extension"),
        ("photo.png photo.png", 2, "--in-place SUFFIX"),
        ("photo.png out.png --clean other.png", 1, "--clean other.png: is 31x20"),
        ("photo.png out.png --clean absent.png", 1, "absent.png: no such file"),
        ("photo.png out.png --clean text.png", 1, "text.png: is not a"),
        ("photo.png out.png --log run.txt", 2, ".csv or .jsonl"),
        ("photo.png out.png --log absent/run.csv", 2, "absent does not exist"),
        ("photo.png out.png --outliers out.png", 2, "--outliers out.png: is also OUTPUT"),
        ("photo.png out.png --panel photo.png", 2, "--panel photo.png: is also INPUT"),
        ("photo.png out.png --panel map.xyz", 2, ".xyz"),
        ("photo.png out.png --panel panel.pgm", 1, "panel.pgm: .pgm cannot hold colour; use .ppm or .png"),
        ("photo.png out.png --outliers map.pgm", 1, "map.pgm: .pgm cannot hold colour; use .ppm or .png"),
        ("photo.png out.png --device tpu --log run.csv", 2, "--device tpu"),
        ("photo.png out.png --device cuda:99", 2, "--device cuda:99"),
        ("photo.png out.png --steps 0", 2, "--steps 0"),
        ("photo.png out.png --steps many", 2, "many"),
        ("photo.png out.png --preset slow", 2, "slow"),
        ("photo.png out.png --tile 64", 2, "--tile"),
        ("photo.png out.png --page 2", 1, "--page"),
        ("photo.png out.png --nonsense", 2, "--nonsense"),
        ("photo.png", 2, "OUTPUT"),
        ("photo.png out.png --quality 90", 2, "--quality"),
        ("photo.png out.png --shard 9/8", 2, "9/8"),
        ("photo.png out.png --shard 1/8", 2, "several pictures"),
    ],
)
def test_bad_input_is_one_line_and_touches_nothing(run_cli, photo, monkeypatch, args, code, words):
    monkeypatch.chdir(photo.parent)
    for name in set(args.split()) & set(BAD_FILES) | ({"file"} if "file/" in args else set()):
        BAD_FILES[name](photo.with_name(name))
    before = {path.name: path.read_bytes() for path in photo.parent.iterdir()}
    monkeypatch.setattr(portions, "recover_image", None)  # refused before the work starts
    outcome = run_cli("image", *args.split())
    assert outcome.code == code and outcome.stdout == ""
    assert words in outcome.stderr and outcome.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in photo.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("flag", "name"), [("--panel", "panel.webp"), ("--panel", "panel.avif"), ("--outliers", "map.webp")]
)
def test_a_picture_beside_too_large_for_its_format(run_cli, tmp_path, monkeypatch, flag, name):
    """A panel is three times as wide as the picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(portions, "recover_image", None)  # refused before the work starts
    width = {"panel.webp": 6000, "panel.avif": 22_000, "map.webp": 17_000}[name]
    Image.new("L", (width, 2)).save("wide.png")
    code, stdout, stderr = run_cli("image", "wide.png", "out.png", flag, name, "--json", "facts.json")
    assert (code, stdout) == (1, "") and f"{name}: " in stderr and "cannot hold a side over" in stderr
    assert stderr.count("\n") == 1 and [path.name for path in tmp_path.iterdir()] == ["wide.png"]


def test_an_output_folder_that_cannot_be_written(run_cli, photo):
    from doprestore.io import files

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # chmod does not stop root, who may be running this.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.tempfile, "mkstemp", refuse)
        outcome = run_cli("image", photo, photo.with_name("out.png"), *QUICK)
    assert outcome.code == 1 and "Permission denied" in outcome.stderr and outcome.stderr.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none(run_cli, photo):
    code, stdout, stderr = run_cli("image", photo, photo.with_name("out.png"), "--device", "cuda")
    assert (code, stdout) == (2, "") and "--device cpu" in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_out_of_memory(run_cli, photo, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(portions, "recover_image", fail)
    out = photo.with_name("out.png")
    out.write_text("old")
    code, stdout, stderr = run_cli("image", photo, out, *QUICK, "--force")
    assert (code, stdout) == (1, "")
    assert "out of memory" in stderr and "--preset fast" in stderr and stderr.count("\n") == 1
    assert out.read_text() == "old"


def test_a_loss_that_is_not_finite(run_cli, photo):
    out = photo.with_name("out.png")
    out.write_text("old")
    args = ("--preset", "paper", "--tau", 1e38, "--steps", 50, "--width", 4, "--device", "cpu")
    code, stdout, stderr = run_cli("image", photo, out, *args, "--force")
    assert (code, stdout) == (1, "")
    assert "smaller --tau" in stderr and stderr.count("\n") == 1
    assert out.read_text() == "old"


def test_errors_that_are_bugs_are_not_hidden(run_cli, photo, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(portions, "recover_image", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run_cli("image", photo, photo.with_name("out.png"), *QUICK)


@pytest.mark.parametrize("flag", ["--checkpoint", None])
def test_a_full_disk_leaves_the_old_output(photo, flag):
    """A limit on the size of files stands in for the disk: writing fails half-way."""
    out = photo.with_name("out.png")
    out.write_text("old")
    extra = [flag, str(photo.with_name("run.ckpt")), "--checkpoint-every", "0s"] if flag else []
    run = [
        sys.executable,
        "-m",
        "doprestore",
        "image",
        str(photo),
        str(out),
        *map(str, QUICK),
        "--force",
        *extra,
    ]
    result = subprocess.run(["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *run], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    assert result.stderr.startswith("doprestore: error: ") and result.stderr.count("\n") == 1
    assert (flag or "out.png") in result.stderr
    assert {path.name for path in photo.parent.iterdir()} == {"photo.png", "out.png"} and out.read_text() == "old"
