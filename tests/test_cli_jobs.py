"""--jobs: several pictures at once, with the same files, report and exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import doprestore.cli.pictures.processes as pool

QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


def test_the_same_as_one_after_the_other(run_cli, scans, one_thread):
    (scans / "scans" / "bad.png").write_text("not a picture")
    one = run_cli("image", "scans", "one", "-r", *QUICK)
    two = run_cli("image", "scans", "two", "-r", *QUICK, "--jobs", 2, "--json", "facts")
    assert one.code == two.code == 1
    assert two.stdout.splitlines()[-1].startswith("3 restored, 1 failed in ") and two.stdout.count("\n") == 4
    assert "scans/bad.png: is not a" in two.stderr and two.stderr.count(": error: ") == 1
    for seed in range(3):
        assert (scans / "one" / f"{seed}.png").read_bytes() == (scans / "two" / f"{seed}.png").read_bytes()
        assert (scans / "facts" / f"{seed}.png.json").exists()
    again = run_cli("image", "scans", "two", "-r", *QUICK, "-j", 2, "--skip-existing")
    assert again.code == 1 and "3 skipped, 1 failed in" in again.stdout


def _die_of_0(*args):
    """In a process of its own: a worker that is killed when it meets 0.png."""
    restore = pool.attempt

    def attempt(job, *rest):
        if job.source.name == "0.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return restore(job, *rest)

    pool.attempt = attempt
    pool.work(*args)


def test_a_worker_that_dies_fails_its_picture_alone(run_cli, scans, monkeypatch):
    monkeypatch.setattr(pool, "work", _die_of_0)
    code, stdout, stderr = run_cli("image", "scans", "out", "-r", *QUICK, "--jobs", 2)
    assert code == 1 and "2 restored, 1 failed in" in stdout
    assert "scans/0.png: its process died with signal 9" in stderr and stderr.count(": error: ") == 1


@pytest.mark.parametrize("module", [("-m", "doprestore"), ("-c", "from doprestore.cli import main; main()")])
def test_sigterm_stops_the_workers_and_saves(scans, module):
    """SIGTERM to the command alone: the pictures at work are saved, nothing half-done is written."""
    command = [sys.executable, *module, "image", "scans", "out", "-r", "--preset", "paper", "--width", "4"]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--jobs", "2", "--checkpoint", "ckpt", "--checkpoint-every", "0.1s"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list((scans / "ckpt").glob("*.ckpt"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "2 interrupted, 1 not begun in" in stdout and stderr == ""
    assert len(list((scans / "ckpt").glob("*.ckpt"))) == 2 and not list((scans / "out").glob("*"))


def test_jobs_that_make_no_sense(run_cli, scans):
    assert run_cli("image", "scans/0.png", "out.png", "--jobs", 2).code == 2
    assert run_cli("image", "scans", "out", "-r", "--jobs", 0).code == 2
    outcome = run_cli("image", "scans", "out", "-r", "--jobs", 2, "--dask", "tcp://127.0.0.1:1")
    assert outcome.code == 2 and "start more workers" in outcome.stderr
