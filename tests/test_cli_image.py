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
import torch
from PIL import Image

import doprestore.cli.running as running
from doprestore.io.images import read_picture
from doprestore.report import outlier_map

QUICK = ("--steps", 2, "--width", 4, "--device", "cpu")


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
    assert stdout.startswith(f"{out}: 30x20 colour, 2 steps, ") and stdout.count("\n") == 1
    assert stderr == ""  # no bar: it is not a terminal
    assert read_picture(out).samples.shape == (3, 20, 30)


def test_same_seed_same_file_and_the_clean_picture_never_matters(run_cli, photo):
    clean, *outs = (photo.with_name(name) for name in ("clean.png", "1.png", "2.png", "3.png", "4.png"))
    Image.fromarray(np.full((20, 30, 3), 77, np.uint8)).save(clean)
    # Adam's first steps move φ the same way from any start, so "network" shows the seed where "composed" may not.
    quick = (*QUICK, "--output", "network")
    assert run_cli("image", photo, outs[0], *quick).code == 0
    assert run_cli("image", photo, outs[1], *quick).code == 0
    outcome = run_cli("image", photo, outs[2], *quick, "--clean", clean)
    assert run_cli("image", photo, outs[3], *quick, "--seed", 1).code == 0
    first, again, with_clean, other_seed = (out.read_bytes() for out in outs)
    assert first == again == with_clean != other_seed
    assert re.search(r"PSNR \d+\.\d\d -> \d+\.\d\d dB\n", outcome.stdout)


@pytest.mark.parametrize("name", ["run.csv", "run.jsonl"])
def test_log_has_a_row_a_step(run_cli, photo, name):
    log = photo.with_name(name)
    assert run_cli("image", photo, photo.with_name("out.png"), *QUICK, "--log", log, "--clean", photo).code == 0
    lines = log.read_text().splitlines()
    rows = list(csv.DictReader(lines)) if name.endswith("csv") else [json.loads(line) for line in lines]
    assert [int(row["step"]) for row in rows] == [1, 2]
    for row in rows:
        assert float(row["loss"]) > 0 and float(row["psnr"]) > 0 and float(row["seconds"]) > 0
        assert 0 <= float(row["outlier_share"]) <= 1


@pytest.mark.parametrize(("extra", "columns"), [((), 3), (("--clean", "photo.png"), 4)])
def test_outlier_map_and_panel(run_cli, photo, monkeypatch, extra, columns):
    monkeypatch.chdir(photo.parent)
    results, recover = [], running.recover_image
    monkeypatch.setattr(
        running, "recover_image", lambda *a, **options: results.append(recover(*a, **options)) or results[0]
    )
    code = run_cli(
        "image", "photo.png", "out.png", *QUICK, "--outliers", "map.png", "--panel", "panel.png", *extra
    ).code
    assert code == 0
    shown = 255 * outlier_map(results[0].outliers).numpy()
    assert abs(read_picture("map.png").samples - shown).max() <= 0.51
    gap = 4
    panel = read_picture("panel.png").samples
    assert panel.shape == (3, 20 + 2 * gap, columns * (30 + gap) + gap)
    assert np.array_equal(panel[:, gap:-gap, gap : gap + 30], read_picture("photo.png").samples)
    shown = gap + (30 + gap)
    assert np.array_equal(panel[:, gap:-gap, shown : shown + 30], read_picture("out.png").samples)


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
        ("bomb.ppm out.png", 1, "bomb.ppm: has over"),
        ("photo.png absent/out.png", 1, "absent does not exist"),
        ("photo.png file/out.png", 1, "is not a folder"),
        ("photo.png out.xyz", 1, ".xyz"),
        ("photo.png out", 1, "no extension"),
        ("photo.png photo.png", 1, "--force"),
        ("photo.png out.png --clean other.png", 1, "--clean other.png: is 31x20"),
        ("photo.png out.png --clean absent.png", 1, "absent.png: no such file"),
        ("photo.png out.png --clean text.png", 1, "text.png: is not a"),
        ("photo.png out.png --log run.txt", 2, ".csv or .jsonl"),
        ("photo.png out.png --log absent/run.csv", 1, "absent does not exist"),
        ("photo.png out.png --outliers out.png", 1, "--outliers out.png: is also OUTPUT"),
        ("photo.png out.png --panel photo.png", 1, "--panel photo.png: is also INPUT"),
        ("photo.png out.png --panel map.xyz", 1, ".xyz"),
        ("photo.png out.png --device tpu --log run.csv", 2, "--device tpu"),
        ("photo.png out.png --device cuda:99", 2, "--device cuda:99"),
        ("photo.png out.png --steps 0", 2, "--steps 0"),
        ("photo.png out.png --steps many", 2, "many"),
        ("photo.png out.png --preset slow", 2, "slow"),
        ("photo.png out.png --preset paper --average 0.9", 2, "--average is not used by --preset paper"),
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
    monkeypatch.setattr(running, "recover_image", None)  # refused before the work starts
    outcome = run_cli("image", *args.split())
    assert outcome.code == code and outcome.stdout == ""
    assert words in outcome.stderr and outcome.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in photo.parent.iterdir()} == before


def test_an_output_folder_that_cannot_be_written(run_cli, photo):
    from doprestore.io import files

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # chmod does not stop root, who may be running this.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.tempfile, "mkstemp", refuse)
        outcome = run_cli("image", photo, photo.with_name("out.png"), *QUICK)
    assert outcome.code == 1 and "Permission denied" in outcome.stderr and outcome.stderr.count("\n") == 1


def test_quality_and_subsampling_of_a_jpeg(run_cli, photo):
    small, large = photo.with_name("small.jpg"), photo.with_name("large.jpg")
    assert run_cli("image", photo, large, *QUICK).code == 0
    assert run_cli("image", photo, small, *QUICK, "--quality", 20, "--subsampling", "4:2:0").code == 0
    assert small.stat().st_size < large.stat().st_size / 2


def test_output_over_input_by_force(run_cli, photo):
    before = photo.read_bytes()
    assert run_cli("image", photo, photo, *QUICK, "--output", "network", "--force").code == 0
    assert photo.read_bytes() != before and read_picture(photo).samples.shape == (3, 20, 30)


def test_an_existing_output_is_replaced(run_cli, photo):
    out = photo.with_name("out.png")
    out.write_text("old")
    assert run_cli("image", photo, out, *QUICK).code == 0
    assert read_picture(out).samples.shape == (3, 20, 30)


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

    monkeypatch.setattr(running, "recover_image", fail)
    out = photo.with_name("out.png")
    out.write_text("old")
    code, stdout, stderr = run_cli("image", photo, out, *QUICK)
    assert (code, stdout) == (1, "")
    assert "out of memory" in stderr and "--width" in stderr and stderr.count("\n") == 1  # too small for tiles
    assert out.read_text() == "old"


def test_a_loss_that_is_not_finite(run_cli, photo):
    out = photo.with_name("out.png")
    out.write_text("old")
    args = ("--preset", "paper", "--tau", 1e38, "--steps", 50, "--width", 4, "--device", "cpu")
    code, stdout, stderr = run_cli("image", photo, out, *args)
    assert (code, stdout) == (1, "")
    assert "smaller --tau" in stderr and stderr.count("\n") == 1
    assert out.read_text() == "old"


def test_errors_that_are_bugs_are_not_hidden(run_cli, photo, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(running, "recover_image", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run_cli("image", photo, photo.with_name("out.png"), *QUICK)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_write_the_current_restoration(photo, number, code):
    out, log = photo.with_name("out.png"), photo.with_name("run.csv")
    args = ["image", photo, out, "--steps", 10**7, "--width", 4, "--device", "cpu", "--log", log]
    process = subprocess.Popen([sys.executable, "-m", "doprestore", *map(str, args)], stdout=-1, stderr=-1, text=True)
    deadline = time.monotonic() + 60
    while not log.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "(interrupted)" in stdout and stdout.count("\n") == 1 and stderr == ""
    assert read_picture(out).samples.shape == (3, 20, 30)


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
        "--output",
        "network",
        *extra,
    ]
    result = subprocess.run(
        ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *run], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    assert result.stderr.startswith("doprestore: error: ") and result.stderr.count("\n") == 1
    assert (flag or "out.png") in result.stderr
    assert {path.name for path in photo.parent.iterdir()} == {"photo.png", "out.png"} and out.read_text() == "old"


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
