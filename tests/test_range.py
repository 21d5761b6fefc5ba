"""--range: which samples are black and white, for data that fills little of its range."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from doprestore.cli.interrupt import Interrupt
from doprestore.errors import InputError
from doprestore.io.images import Picture, read_picture, write_picture

QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


def _faint(dtype: str = "float32") -> np.ndarray:
    """Counts from 1000 to 1100, with hot and dead pixels far beyond on either side."""
    generator = np.random.default_rng(0)
    counts = 1000 + 100 * generator.random((1, 64, 70))
    struck = generator.random(counts.shape)
    counts[struck < 0.02] = 60_000
    counts[struck > 0.98] = 0
    return counts.astype(dtype)


@pytest.mark.parametrize("black_white", [(1000, 1100), ("1000", "1e5"), ("-5", "1%"), ("5%", "95%")])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_samples_beyond_are_black_and_white_and_come_back_unless_changed(tmp_path, black_white, dtype):
    path = tmp_path / "faint.tif"
    samples = _faint(dtype)
    write_picture(path, np.zeros(samples.shape), Picture(np.zeros(samples.shape, dtype)))
    write_picture(path, Picture(samples).pixels, Picture(samples))
    picture = read_picture(path, black_white=black_white)
    low, high = picture.value_range
    assert np.array_equal(picture.samples, samples)
    assert picture.pixels.min() >= 0 and picture.pixels.max() <= 1
    assert (picture.pixels[samples <= low] == 0).all() and (picture.pixels[samples >= high] == 1).all()
    changed = np.random.default_rng(1).random(samples.shape) < 0.5
    write_picture(path, np.where(changed, np.float32(0.5) + picture.pixels / 1e3, picture.pixels), picture)
    back = read_picture(path).samples
    assert np.array_equal(back[~changed], samples[~changed])
    middle = (low + high) / 2
    reachable = max(0, middle) if dtype == "uint16" else middle
    assert (np.abs(back[changed] - reachable) <= (high - low) / 900 + 1).all()


def test_the_command_line(run_cli, tmp_path):
    source, out, facts = tmp_path / "faint.npy", tmp_path / "out.npy", tmp_path / "facts.json"
    samples = _faint()[0]
    np.save(source, samples)
    code, _, stderr = run_cli("image", source, out, *QUICK)
    assert code == 0 and "--range" in stderr and stderr.count("\n") == 1
    assert np.load(out).max() > 2000
    options = ("--range", 990, 1110, "--json", facts, "--clean", source, "--force")
    code, stdout, stderr = run_cli("image", source, out, *QUICK, *options)
    assert (code, stderr) == (0, "") and "PSNR inf" in stdout  # the clean picture is read in the same range
    known = json.loads(facts.read_text())
    assert (known["black"], known["white"]) == (990, 1110)
    result = np.load(out)
    assert result.dtype == np.float32 and 990 <= result.min() < result.max() <= 1110


def test_another_range_is_another_run(run_cli, tmp_path, monkeypatch):
    source, out, ckpt = tmp_path / "faint.npy", tmp_path / "out.npy", tmp_path / "run.ckpt"
    np.save(source, _faint()[0])
    args = ("image", source, out, *QUICK, "--checkpoint", ckpt)
    with monkeypatch.context() as patch:
        asked = itertools.chain([False], itertools.repeat(True))  # as if Ctrl-C came once the picture is read
        patch.setattr(Interrupt, "received", lambda self: next(asked))
        run_cli(*args, "--range", 990, 1110)
    assert ckpt.exists()
    code, _, stderr = run_cli(*args, "--resume", "--range", 990, 1200)
    assert code == 1 and "another input" in stderr
    assert run_cli(*args, "--resume", "--range", 990, 1110).code == 0


@pytest.mark.parametrize(
    ("black_white", "code", "words"),
    [
        (("5", "5"), 1, "must be less"),
        (("99%", "1%"), 1, "must be less"),
        (("low", "high"), 2, "'low' is not a sample value"),
        (("0", "101%"), 2, "percentile"),
        (("nan", "1"), 2, "'nan'"),
    ],
)
def test_ranges_that_make_no_sense(run_cli, tmp_path, black_white, code, words):
    np.save(tmp_path / "faint.npy", _faint()[0])
    outcome = run_cli("image", tmp_path / "faint.npy", tmp_path / "out.npy", *QUICK, "--range", *black_white)
    assert outcome.code == code and words in outcome.stderr and outcome.stderr.count("\n") == 1
    assert not (tmp_path / "out.npy").exists()


def test_a_range_is_in_samples_whatever_the_file(tmp_path):
    np.save(tmp_path / "flat.npy", np.ones((4, 4)))
    with pytest.raises(InputError, match=r"flat\.npy.*--range"):
        read_picture(tmp_path / "flat.npy", black_white=("1%", "99%"))
