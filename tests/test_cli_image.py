"""doprestore image, one picture, through the command line."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import doprestore.image.portions as portions
from doprestore.io.images import read_picture
from doprestore.report.content import LABEL, outlier_map

QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


@pytest.fixture
def photo(tmp_path):
    """A small damaged picture, alone in its folder."""
    path = tmp_path / "photo.png"
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(values).save(path, dpi=(300, 300))
    return path


def test_one_line_on_stdout_and_quiet_stderr(run_cli, photo):
    out = photo.with_name("out.png")
    code, stdout, stderr = run_cli("image", photo, out, *QUICK)
    assert code == 0
    assert stdout.startswith(f"{out}: 30x20 colour, 2 steps (too few to restore anything), ") and stdout.count("\n") == 1
    assert stderr == ""  # no bar: it is not a terminal
    assert read_picture(out).samples.shape == (3, 20, 30)


def test_same_seed_same_file_and_the_clean_picture_never_matters(run_cli, photo):
    clean, *outs = (photo.with_name(name) for name in ("clean.png", "1.png", "2.png", "3.png", "4.png"))
    Image.fromarray(np.full((20, 30, 3), 77, np.uint8)).save(clean)
    assert run_cli("image", photo, outs[0], *QUICK).code == 0
    assert run_cli("image", photo, outs[1], *QUICK).code == 0
    outcome = run_cli("image", photo, outs[2], *QUICK, "--clean", clean)
    assert run_cli("image", photo, outs[3], *QUICK, "--seed", 1).code == 0
    first, again, with_clean, other_seed = (out.read_bytes() for out in outs)
    assert first == again == with_clean != other_seed
    assert re.search(r"PSNR \d+\.\d\d -> \d+\.\d\d dB\n", outcome.stdout)


@pytest.mark.parametrize("name", ["run.csv", "run.jsonl"])
def test_log_has_a_row_a_step(run_cli, photo, name):
    log = photo.with_name(name)
    assert run_cli("image", photo, photo.with_name("out.png"), *QUICK, "--log", log, "--clean", photo).code == 0
    lines = log.read_text().splitlines()
    rows = list(csv.DictReader(lines)) if name.endswith("csv") else [json.loads(line) for line in lines]
    steps = [int(row["step"]) for row in rows]
    assert steps == [1, 2]
    for row in rows:
        assert float(row["loss"]) > 0 and float(row["psnr"]) > 0 and float(row["seconds"]) > 0
        assert 0 <= float(row["outlier_share"]) <= 1


@pytest.mark.parametrize(("extra", "columns"), [((), 3), (("--clean", "photo.png"), 4)])
def test_outlier_map_and_panel(run_cli, photo, monkeypatch, extra, columns):
    monkeypatch.chdir(photo.parent)
    results, recover = [], portions.recover_image
    monkeypatch.setattr(
        portions, "recover_image", lambda *a, **options: results.append(recover(*a, **options)) or results[0]
    )
    code = run_cli("image", "photo.png", "out.png", *QUICK, "--outliers", "map.png", "--panel", "panel.png", *extra).code
    assert code == 0
    shown = 255 * outlier_map(results[0].outliers).numpy()
    assert abs(read_picture("map.png").samples - shown).max() <= 0.51
    gap = 4
    panel = read_picture("panel.png").samples
    room = (panel.shape[2] - gap) // columns - gap
    assert panel.shape == (3, LABEL + 20 + gap, columns * (room + gap) + gap) and room > 60  # for "damage found"
    assert np.array_equal(panel[:, LABEL:-gap, gap : gap + 30], read_picture("photo.png").samples)
    shown = gap + (room + gap)
    assert np.array_equal(panel[:, LABEL:-gap, shown : shown + 30], read_picture("out.png").samples)
    for column in range(columns):  # its name stands above each, and ends before the next
        above = panel[:, :LABEL, column * (room + gap) + gap :][:, :, : room + gap]
        assert above.min() < 128 and above[:, :, room:].min() == 255


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 2), (64, 64)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "1", "P"])
def test_any_size_and_mode_comes_back(run_cli, tmp_path, size, mode):
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    values = np.random.default_rng(0).integers(0, 256, (*size[::-1], 4), np.uint8)
    Image.fromarray(values).convert(mode).save(source)
    assert run_cli("image", source, out, *QUICK).code == 0
    before, after = read_picture(source), read_picture(out)
    assert after.samples.shape == before.samples.shape and after.depth == before.depth
    assert (after.alpha is None) == (before.alpha is None)
    if before.alpha is not None:
        assert np.array_equal(after.alpha, before.alpha)


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "webp", "bmp", "ppm"])
def test_every_format_comes_back(run_cli, photo, extension):
    out, again = photo.with_name(f"out.{extension}"), photo.with_name(f"again.{extension}")
    assert run_cli("image", photo, out, *QUICK).code == 0
    assert run_cli("image", out, again, *QUICK).code == 0
    assert read_picture(again).samples.shape == (3, 20, 30)


def test_quality_and_subsampling_of_a_jpeg(run_cli, photo):
    small, large = photo.with_name("small.jpg"), photo.with_name("large.jpg")
    assert run_cli("image", photo, large, *QUICK).code == 0
    assert run_cli("image", photo, small, *QUICK, "--quality", 20, "--subsampling", "4:2:0").code == 0
    assert small.stat().st_size < large.stat().st_size / 2


@pytest.mark.parametrize("preset", [("--preset", "paper"), ("--steps", 10**7)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_write_the_current_restoration(start_cli, struck, preset, number, code):
    photo = struck
    out, log = photo.with_name("out.png"), photo.with_name("run.csv")
    process = start_cli("image", photo, out, *preset, "--width", 4, "--device", "cpu", "--log", log)
    deadline = time.monotonic() + 300
    while not log.exists() and process.is_running and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send(number)
    seen, stdout, stderr = process.outcome()
    assert seen == code, stderr
    assert "(interrupted)" in stdout and stdout.count("\n") == 1 and stderr == ""
    assert read_picture(out).samples.shape == read_picture(photo).samples.shape


def test_standard_streams_carry_only_the_picture(photo):
    run = [sys.executable, "-m", "doprestore", "image", "-", "-", *map(str, QUICK)]
    result = subprocess.run(run, input=photo.read_bytes(), capture_output=True, check=True)
    assert result.stdout.startswith(b"\x89PNG") and b"2 steps" in result.stderr


@pytest.mark.parametrize("command", ["image", "corrupt"])
def test_help_imports_no_torch(command):
    code = f"import sys; from doprestore.cli import run; run(['{command}', '--help']); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert f"doprestore {command} " in result.stdout  # the example


def test_json_on_standard_output_is_nothing_else(run_cli, photo):
    code, stdout, stderr = run_cli("image", photo, photo.with_name("out.png"), *QUICK, "--json", "-")
    assert code == 0 and json.loads(stdout)["steps"] == 2
    assert "2 steps" in stderr and stderr.count("\n") == 1
    assert json.loads(stdout)["command"].startswith("doprestore image ") and "--json -" in json.loads(stdout)["command"]
    for args in ((photo, "-"), (photo, f"{photo.parent}/folder/")):
        code, stdout, stderr = run_cli("image", *args, *QUICK, "--json", "-")
        assert (code, stdout) == (2, "") and "--json -" in stderr


def test_one_step_is_singular_and_too_few_are_told(run_cli, photo):
    told = run_cli("image", photo, photo.with_name("1.png"), *QUICK, "--steps", 1).stdout
    assert "colour, 1 step (too few to restore anything), " in told
    enough = run_cli("image", photo, photo.with_name("2.png"), "--steps", 6, "--width", 4, "--device", "cpu").stdout
    assert " steps, " in enough and "too few" not in enough


@pytest.mark.usefixtures("few_lessons")
def test_the_fast_preset_tells_what_it_found(run_cli, struck):
    """And a whole picture comes back byte for byte."""
    out, again = struck.with_name("out.png"), struck.with_name("again.png")
    code, stdout, stderr = run_cli("image", struck, out, "--steps", 8, "--width", 4, "--device", "cpu", "--json", "-")
    facts = json.loads(stdout)
    assert code == 0 and facts["pieces"] == 1 and 0.02 < facts["outlier_share"] < 0.2 and facts["damage"]
    assert facts["steps"] > 8 and "PSNR" not in stderr and "(too few" not in stderr
    before, after = read_picture(struck).samples, read_picture(out).samples
    assert 0.02 < (before != after).mean() < 0.2
    seen = run_cli("image", struck.with_name("whole.png"), again, "--device", "cpu", "--steps", 2, "--strict")
    assert seen.code == 0 and "no damage found, nothing to do" in seen.stdout and "too few" not in seen.stdout
    assert again.read_bytes() == struck.with_name("whole.png").read_bytes()


def test_checkpoint_every_needs_a_checkpoint(run_cli, photo):
    code, stdout, stderr = run_cli("image", photo, photo.with_name("out.png"), *QUICK, "--checkpoint-every", "5s")
    assert (code, stdout) == (2, "") and "--checkpoint FILE" in stderr and stderr.count("\n") == 1
