"""The same line again, after an interruption, a failure or kill -9: it goes on, and takes nothing unfinished for done."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from dataclasses import replace

import pytest
import torch

import doprestore.image.portions as portions
import doprestore.io.files as files
from doprestore.cli.pictures.doubts import DOUBTFUL

QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")
LOG = "step,loss,psnr,outlier_share,seconds\n1,"


def _during(monkeypatch, do) -> None:
    """Let something happen while the picture is restored; what it returns, if anything, is done to the result."""
    real = portions.recover_image

    def recover(*args, **options):
        result, change = real(*args, **options), do()
        return result if change is None else change(result)

    monkeypatch.setattr(portions, "recover_image", recover)


def _find_nothing(monkeypatch) -> None:
    _during(monkeypatch, lambda: lambda result: replace(result, found=torch.zeros_like(result.found)))


def _interrupt(monkeypatch) -> None:
    real = portions.recover_image

    def recover(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **options)

    monkeypatch.setattr(portions, "recover_image", recover)


def _names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- what exists ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.png", "facts.json"])
def test_what_comes_to_exist_meanwhile_is_not_replaced(run_cli, scans, monkeypatch, name):
    _during(monkeypatch, lambda: (scans / name).write_text("precious") and None)
    args = ("image", "scans/0.png", "out.png", *QUICK, "--json", "facts.json")
    code, stdout, stderr = run_cli(*args)
    assert (code, stdout) == (2, "") and stderr.count("\n") == 1
    assert f"{name}: has come to exist meanwhile" in stderr and "--force" in stderr
    assert (scans / name).read_text() == "precious" and not list(scans.glob(".*"))
    assert run_cli(*args, "--force").code == 0 and (scans / name).read_bytes() != b"precious"


def test_nor_where_the_file_system_has_no_links(tmp_path, monkeypatch):
    def no_links(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("precious")
    with pytest.raises(files.DestinationError, match="meanwhile"):
        files.write_together({other: b"new", one: b"new"}, new={one, other})
    assert one.read_text() == "precious"
    other.unlink()
    files.write_together({other: b"new"}, new={other})
    assert other.read_text() == "new" and sorted(os.listdir(tmp_path)) == ["one", "other"]


def test_a_checkpoint_allows_to_replace_its_own_outputs_alone(run_cli, scans, monkeypatch):
    (scans / "precious.png").write_text("precious")
    (scans / "precious.json").write_text("precious")
    resume = (*QUICK, "--checkpoint", "ckpt", "--resume")
    with monkeypatch.context() as patch:
        _interrupt(patch)
        assert run_cli("image", "scans/0.png", "out.png", *resume).code == 130
    for args in (("precious.png", *resume), ("out.png", *resume, "--json", "precious.json")):
        code, _, stderr = run_cli("image", "scans/0.png", *args)
        assert code == 2 and "precious." in stderr and "exists already" in stderr and stderr.count("\n") == 1
    assert (scans / "precious.png").read_text() == (scans / "precious.json").read_text() == "precious"
    assert run_cli("image", "scans/0.png", "out.png", *resume).code == 0
    assert not (scans / "ckpt").exists()


# --- what is not finished ---------------------------------------------------------------------------------------------


def test_an_interrupted_picture_is_not_taken_for_done(run_cli, scans, monkeypatch):
    args = ("image", "scans/0.png", "out.png", *QUICK, "--skip-existing", "--log", "run.csv")
    with monkeypatch.context() as patch:
        _interrupt(patch)
        code, stdout, stderr = run_cli(*args)
    assert (code, stdout, stderr) == (130, "out.png: interrupted, not written\n", "")
    assert _names(scans) == ["scans/0.png", "scans/1.png", "scans/2.png"]
    assert "2 steps" in run_cli(*args).stdout and run_cli(*args).stdout == "out.png: exists, skipped\n"


def test_a_file_that_cannot_be_written_leaves_no_output(run_cli, scans, monkeypatch):
    args = ("image", "scans/0.png", "out.png", *QUICK, "--skip-existing", "--panel", "panel.png", "--outliers", "map.png")
    synced, sync = [], os.fsync

    def full(handle):
        synced.append(handle)
        if len(synced) == 2:  # after the output
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, stdout, stderr = run_cli(*args)
    assert (code, stdout) == (1, "") and "panel.png: cannot be written (No space left" in stderr
    assert _names(scans) == ["scans/0.png", "scans/1.png", "scans/2.png"]
    assert run_cli(*args).code == 0 and {"map.png", "out.png", "panel.png"} <= set(_names(scans))


def test_the_output_is_there_last(run_cli, scans, monkeypatch):
    placed, link = [], os.link
    monkeypatch.setattr(os, "link", lambda source, target: placed.append(os.path.basename(target)) or link(source, target))
    args = ("--panel", "panel.png", "--json", "facts.json", "--report", "run.html", "--outliers", "map.png")
    assert run_cli("image", "scans/0.png", "out.png", *QUICK, *args).code == 0
    assert placed[-1] == "out.png" and len(placed) == 5


@pytest.mark.parametrize("many", [False, True])
def test_what_was_in_doubt_stays_so(run_cli, scans, many):
    args = ["image", "scans/0.png", "out/" if many else "out.png", *QUICK, "--strict", "--skip-existing"]
    code, stdout, stderr = run_cli(*args)
    assert (code, stdout) == (2, "") and "--json FILE" in stderr and stderr.count("\n") == 1
    args += ["--json", "facts" if many else "facts.json"]
    facts = scans / ("facts/0.png.json" if many else "facts.json")
    assert run_cli(*args).code == DOUBTFUL
    code, stdout, _ = run_cli(*args)
    assert code == DOUBTFUL and "exists, skipped; in doubt" in stdout and str(facts.relative_to(scans)) in stdout
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"doubtful": False}))
    assert run_cli(*args).code == 0
    facts.unlink()
    assert run_cli(*args).code == DOUBTFUL


def test_in_place_without_links_a_copy_is_not_taken_for_done(run_cli, scans, monkeypatch):
    original = (scans / "scans/0.png").read_bytes()
    (scans / "scans/0.png.orig").write_bytes(original)  # no room was left for the restored picture
    args = ("image", "scans/0.png", "--in-place", ".orig", *QUICK, "--skip-existing")
    assert "1 restored" in run_cli(*args).stdout
    assert (scans / "scans/0.png.orig").read_bytes() == original != (scans / "scans/0.png").read_bytes()
    assert "1 skipped" in run_cli(*args).stdout


# --- what is in the way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["", LOG])
def test_the_log_of_a_killed_session_is_not_in_the_way(run_cli, scans, left):
    (scans / "logs").mkdir()
    (scans / "logs/1.png.csv").write_text(left)
    args = ("image", "scans", "out", "-r", *QUICK, "--log", "logs")
    code, stdout, stderr = run_cli(*args)
    assert code == 1 and "2 restored, 1 failed" in stdout and "1.png.csv: exists already" in stderr
    code, stdout, stderr = run_cli(*args, "--skip-existing")
    assert code == 0 and "1 restored, 2 skipped" in stdout and stderr == ""
    assert (scans / "logs/1.png.csv").read_text().count("\n") == 3


def test_what_lies_beside_an_undamaged_picture_in_place_says_that_it_is_done(run_cli, scans, monkeypatch):
    _find_nothing(monkeypatch)
    args = ("image", "scans", "-r", "--in-place", ".orig", "--skip-existing", *QUICK, "--output", "composed")
    args += ("--report", "reports", "--log", "logs")
    code, stdout, stderr = run_cli(*args)
    assert code == 0 and "3 restored" in stdout and stderr == "" and not list(scans.rglob("*.orig"))
    code, stdout, stderr = run_cli(*args)
    assert code == 0 and "3 skipped" in stdout and stderr == ""
    os.utime(scans / "scans/1.png")  # another picture by now, and the report is not of it
    code, stdout, stderr = run_cli(*args)
    assert code == 1 and "2 skipped, 1 failed" in stdout and "--report reports/1.png.html: exists already" in stderr
    # Nor do reports from elsewhere say that anything was done in place.
    assert run_cli("image", "scans", "out", "-r", *QUICK, "--report", "others").code == 0
    code, stdout, stderr = run_cli(*args[:-4], "--report", "others")
    assert code == 1 and "3 failed" in stdout and stderr.count("exists already") == 3


# --- what waits for ever ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_ends_the_wait_for_a_silent_pipe(start_cli, scans, number, code):
    os.mkfifo("pipe.png")
    process = start_cli("image", "pipe.png", "out.png")
    deadline, writer = time.monotonic() + 60, None
    while writer is None and time.monotonic() < deadline:
        try:
            writer = os.open("pipe.png", os.O_WRONLY | os.O_NONBLOCK)  # fails until somebody reads
        except OSError:
            time.sleep(0.02)
    time.sleep(0.1)
    process.send(number)
    outcome = process.outcome(20)
    os.close(writer)
    assert outcome == (code, "out.png: interrupted, not written\n", "")
