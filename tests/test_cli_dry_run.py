"""--dry-run: what there is, what it will take, and nothing written."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
import torch
from PIL import Image

import doprestore.cli.pictures.estimate as estimate
import doprestore.image.grid as grid
from doprestore.cli.pictures.estimate import Estimator
from doprestore.cli.pictures.jobs import Choices
from doprestore.image.api import recover
from doprestore.image.settings import image_settings

QUICK = ("--steps", 4, "--width", 4, "--device", "cpu")


def _names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def second_a_step(monkeypatch):
    """A machine on which a step takes 10 s on 64x64 and 90 s on 192x192, whatever the number of threads."""
    monkeypatch.setattr(estimate, "_timed", lambda settings, side, threads: side**2 * 10 / 64**2)


def test_every_picture_and_all_of_them(run_cli, scans, second_a_step):
    Image.new("L", (128, 96)).save(scans / "scans" / "grey.tif")
    (scans / "scans" / "bad.png").write_text("not a picture")
    (scans / "scans" / "notes.txt").write_text("no picture")
    (scans / "out").mkdir()
    (scans / "out" / "1.png").write_text("old")
    before = _names(scans)
    args = ("image", "scans", "out", "-r", *QUICK, "--json", "facts", "--log", "logs", "--dry-run", "--skip-existing")
    code, stdout, stderr = run_cli(*args)
    lines = stdout.splitlines()
    assert code == 1 and stderr.startswith("doprestore: error: scans/bad.png: is not a") and stderr.count("\n") == 1
    assert re.fullmatch(r"scans/0.png: PNG, 8x9 colour, uint8, about .* s, \d+ MB; to out/0.png", lines[0])
    assert lines[1] == "out/1.png: exists, skipped"
    assert lines[3].startswith("scans/grey.tif: TIFF, 128x96 grey, uint8, about 2 min, ")  # 4 steps of 30 s
    assert lines[4] == "scans/notes.txt: no picture, left alone"
    assert re.match(
        r"3 to restore, 1 skipped, 1 failed: about 2 min.*, \d+ MB of .* GB that are free; 1 other file left", lines[5]
    )
    assert lines[5].endswith("; nothing was written") and len(lines) == 6
    assert _names(scans) == before


def test_one_picture_is_refused_as_the_run_would(run_cli, scans, second_a_step):
    code, stdout, _ = run_cli("image", "scans/0.png", "out.png", *QUICK, "--dry-run")
    assert code == 0 and stdout.count("\n") == 2
    for args, code in ((("scans/0.png", "scans/0.png"), 2), (("absent.png", "out.png"), 1), (("scans/0.png", "out.xyz"), 2)):
        assert run_cli("image", *args, *QUICK, "--dry-run").code == code
    code, _, _ = run_cli("image", "scans/0.png", "scans/1.png", "o/", *QUICK, "--dry-run", "--mask", "scans/0.png")
    assert code == 0 and not (scans / "o").exists()


def test_time_grows_with_the_tiles_and_shrinks_with_the_workers(monkeypatch, second_a_step):
    settings = image_settings(device="cpu")
    for threads, share in ((1, 1.0), (2, 0.5)):
        for module in (estimate.machine, grid):
            monkeypatch.setattr(module, "threads", lambda threads=threads: threads)
        one = Estimator(settings, Choices())((3, 192, 192))
        many = Estimator(settings, Choices())((3, 1200, 1600))
        assert one.seconds == pytest.approx(800 * 90)
        assert 60 * share < many.seconds / one.seconds < 80 * share  # 1200x1600 is 52 times the pixels, with overlap 70
        assert many.bytes > 1200 * 1600 * estimate.BYTES_KEPT


def test_the_estimate_is_of_this_machine():
    """Loose, for a machine has moods; tests/benchmarks/estimates.py prints how good it is."""
    settings = image_settings(steps=40, width=8, device="cpu", precision="float32")
    told = Estimator(settings, Choices())((3, 96, 96)).seconds
    start = time.perf_counter()
    picture = np.random.default_rng(0).random((3, 96, 96), np.float32)
    recover(torch.from_numpy(picture), settings, tile=None)
    took = time.perf_counter() - start
    assert took / 4 < told < 4 * took
