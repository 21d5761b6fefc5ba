"""doprestore image, many pictures: like cp."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import doprestore.image.portions as portions
from doprestore.io.images import read_picture

QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


def _picture(path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 8, 3), np.uint8)).save(path)


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """scans/ with a.png, b.jpg, sub/a.png and what is no picture; the working folder is its parent."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.png", "b.jpg", "sub/a.png")):
        _picture(tmp_path / "scans" / name, seed)
    (tmp_path / "scans" / "notes.txt").write_text("not a picture")
    _picture(tmp_path / "scans" / ".cache" / "thumb.png")
    return tmp_path / "scans"


def _names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_into_a_folder_that_is_created(run_cli, scans):
    code, stdout, stderr = run_cli("image", "scans/a.png", "scans/b.jpg", "restored/", *QUICK)
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines()
    assert lines[0].startswith("restored/a.png: 8x9 colour, 2 steps")
    assert lines[1].startswith("restored/b.jpg: 8x9 colour, 2 steps")
    assert lines[2].startswith("2 restored in ") and len(lines) == 3
    assert _names(scans.parent / "restored") == ["a.png", "b.jpg"]
    with Image.open("restored/b.jpg") as image:
        assert image.format == "JPEG"


def test_one_file_into_a_folder(run_cli, scans):
    assert run_cli("image", "scans/a.png", "new/", *QUICK).code == 0
    assert run_cli("image", "scans/b.jpg", "new", *QUICK).code == 0
    assert _names(scans.parent / "new") == ["a.png", "b.jpg"]


def test_recursive_keeps_the_sub_folders_and_equals_one_by_one(run_cli, scans):
    assert run_cli("image", "scans", "restored", "--recursive", *QUICK).code == 0
    assert _names(scans.parent / "restored") == ["a.png", "b.jpg", "sub/a.png"]
    assert run_cli("image", "scans/sub/a.png", "alone.png", *QUICK).code == 0
    assert (scans.parent / "restored/sub/a.png").read_bytes() == (scans.parent / "alone.png").read_bytes()


def test_outputs_below_the_input_are_not_inputs_the_next_time(run_cli, scans):
    for extra in ((), ("--force",)):
        stdout = run_cli("image", "scans", "scans/restored", "-r", *QUICK, *extra).stdout
        assert "3 restored in" in stdout
    assert _names(scans / "restored") == ["a.png", "b.jpg", "sub/a.png"]


def test_a_failure_does_not_stop_the_others(run_cli, scans, monkeypatch):
    (scans / "aa.png").write_text("not a picture")
    recover = portions.recover_image

    def fail_on_jpeg(picture, *args, **kwargs):
        if np.array_equal(picture.numpy(), read_picture("scans/b.jpg").pixels):
            raise RuntimeError("a bug\nof ours")
        return recover(picture, *args, **kwargs)

    monkeypatch.setattr(portions, "recover_image", fail_on_jpeg)
    code, stdout, stderr = run_cli("image", "absent.png", "scans", "restored", "-r", *QUICK)
    assert code == 1
    assert "2 restored, 3 failed in" in stdout.splitlines()[-1]
    errors = [line for line in stderr.splitlines() if line.startswith("doprestore: error: ")]
    assert [line.split(": ")[2] for line in errors] == ["absent.png", "scans/aa.png", "scans/b.jpg"]
    assert "unexpected RuntimeError: a bug of ours" in errors[2] and "Traceback" in stderr
    assert _names(scans.parent / "restored") == ["a.png", "sub/a.png"]


def test_a_folder_needs_recursive(run_cli, scans):
    code, stdout, stderr = run_cli("image", "scans", "scans/a.png", "restored/", *QUICK)
    assert code == 1 and "1 restored, 1 failed" in stdout
    assert "scans: is a folder; add --recursive" in stderr
    assert _names(scans.parent / "restored") == ["a.png"]


def test_the_same_name_twice(run_cli, scans):
    code, stdout, stderr = run_cli("image", "scans/a.png", "scans/sub/a.png", "restored/", *QUICK)
    assert code == 1 and "1 restored, 1 failed" in stdout
    assert "scans/sub/a.png: restored/a.png is already the output of scans/a.png" in stderr


def test_skip_existing(run_cli, scans):
    out = scans.parent / "restored" / "a.png"
    out.parent.mkdir()
    out.write_text("old")
    code, stdout, _ = run_cli("image", "scans", "restored", "-r", "--skip-existing", *QUICK)
    assert code == 0 and out.read_text() == "old"
    assert "restored/a.png: exists, skipped" in stdout and "2 restored, 1 skipped in" in stdout
    assert run_cli("image", "scans/b.jpg", out, "--skip-existing", *QUICK).code == 0
    assert out.read_text() == "old"
    assert run_cli("image", "scans", "restored", "-r", *QUICK, "--force").code == 0
    assert read_picture(out).samples.shape == (3, 9, 8)


def test_shards_share_the_list_out(run_cli, scans):
    for seed in range(7):
        _picture(scans / f"p{seed}.png", seed)
    done = []
    for k in (1, 2, 3):
        folder = scans.parent / f"share{k}"
        assert run_cli("image", "scans", folder, "-r", "--shard", f"{k}/3", *QUICK).code == 0
        done += _names(folder)
    assert len(done) == 10 and sorted(done) == sorted(["a.png", "b.jpg", "sub/a.png"] + [f"p{i}.png" for i in range(7)])
    # What another job has finished meanwhile moves nothing from one share to the other.
    stdout = run_cli("image", "scans", "share2", "-r", "--shard", "2/3", "--skip-existing", *QUICK).stdout
    assert "3 skipped in" in stdout


def test_every_further_file_names_a_folder(run_cli, scans):
    extras = ["--log", "logs", "--outliers", "maps", "--panel", "panels", "--clean", "scans"]
    code, stdout, stderr = run_cli("image", "scans", "restored", "-r", *extras, *QUICK)
    assert code == 0, stderr
    assert stdout.count("PSNR") == 3
    assert _names(scans.parent / "logs") == ["a.png.csv", "b.jpg.csv", "sub/a.png.csv"]
    assert _names(scans.parent / "maps") == _names(scans.parent / "panels") == ["a.png", "b.jpg.png", "sub/a.png"]


def test_quality_concerns_the_formats_that_have_it(run_cli, scans):
    assert run_cli("image", "scans", "fine", "-r", *QUICK).code == 0
    assert run_cli("image", "scans", "coarse", "-r", "--quality", 10, "--subsampling", "4:2:0", *QUICK).code == 0
    fine, coarse = scans.parent / "fine", scans.parent / "coarse"
    assert (fine / "a.png").read_bytes() == (coarse / "a.png").read_bytes()
    assert (fine / "b.jpg").stat().st_size > (coarse / "b.jpg").stat().st_size


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("scans/a.png scans/b.jpg out.png", 2, "out.png: is not a folder"),
        ("scans/a.png scans/b.jpg restored --log out.png", 2, "--log out.png: is a file"),
        ("scans/a.png - restored", 2, '"-" is for one picture'),
        ("scans/a.png scans/b.jpg restored --report -", 2, "'--report': '-', a standard stream, cannot be used here"),
        ("scans/a.png scans/b.jpg restored --device tpu", 2, "--device tpu"),
    ],
)
def test_what_concerns_all_is_refused_at_once(run_cli, scans, args, code, words):
    (scans.parent / "out.png").write_text("old")
    outcome = run_cli("image", *args.split())
    assert outcome.code == code and outcome.stdout == ""
    assert words in outcome.stderr and outcome.stderr.count("\n") == 1
    assert _names(scans.parent)[-1] == "scans/sub/a.png" and (scans.parent / "out.png").read_text() == "old"


def test_ctrl_c_ends_the_list_and_leaves_nothing_half_done(start_cli, scans):
    process = start_cli("image", "scans", "restored", "-r", "--log", "logs", "--preset", "paper", "--width", 4)
    deadline = time.monotonic() + 60
    while not (scans.parent / "logs" / "a.png.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send(signal.SIGINT)
    code, stdout, stderr = process.outcome()
    assert (code, stderr) == (130, "")
    assert "restored/a.png: interrupted" in stdout and "1 interrupted, 2 not begun in" in stdout
    assert _names(scans.parent / "restored") == []  # --skip-existing would take it for finished


def test_tasks_of_a_job_array_share_a_folder(run_cli, scans, one_thread, monkeypatch):
    """The script of the README, both tasks at once."""
    assert run_cli("image", "scans", "here", "-r", *QUICK).code == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shard = "--shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
    task = f"{sys.executable} -m doprestore image scans array -r {' '.join(map(str, QUICK))} {shard}"
    tasks = [
        subprocess.Popen(
            ["sh", "-c", task], env=os.environ | {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "2"},
            stdout=subprocess.PIPE, text=True,
        )
        for number in (1, 2)
    ]  # fmt: skip
    told = [process.communicate(timeout=120)[0] for process in tasks]
    assert [process.returncode for process in tasks] == [0, 0]
    assert [text.splitlines()[-1].split(" in ")[0] for text in told] == ["2 restored", "1 restored"]
    for name in ("a.png", "b.jpg", "sub/a.png"):
        assert (scans.parent / "array" / name).read_bytes() == (scans.parent / "here" / name).read_bytes()


def test_strange_names(scans):
    """Through a real process: it is the encoding of real streams that matters."""
    names = [
        "two\nlines.png",
        "Überraschung 日本.png",
        "-dash.png",
        os.fsdecode(b"bytes\xff.png"),
        "a  b.png",
        "\x1b[2J.png",
    ]
    for name in names:
        _picture(scans.parent / "strange" / name)
    (scans.parent / "strange" / "no\n  picture.png").write_text("text")
    extras = ["--json", "facts", "--report", "reports", "--log", "logs"]
    command = [sys.executable, "-m", "doprestore", "image", *map(str, QUICK), *extras, "-r", "strange", "out/"]
    outcome = subprocess.run(command, capture_output=True, check=False)
    lines = outcome.stdout.splitlines()
    assert outcome.returncode == 1 and lines[-1].startswith(b"6 restored, 1 failed in ")
    assert len(lines) == 7 and all(line.startswith(b"out/") for line in lines[:-1])
    assert outcome.stderr.startswith(b"doprestore: error: strange/no\\n  picture.png: is not a")
    assert outcome.stderr.count(b"\n") == 1
    assert b"\x1b" not in outcome.stdout
    assert _names(scans.parent / "out") == sorted(names)
    for folder, suffix in (("facts", ".json"), ("reports", ".html"), ("logs", ".csv")):
        assert _names(scans.parent / folder) == sorted(name + suffix for name in names)
