"""Standard output and error that are closed, full or read by nobody: one line, exit code 1, and the work goes on."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest
from warm import FORKING

import doprestore.cli.pictures.processes as pool
from doprestore import cli
from doprestore.cli.pictures.jobs import Choices, Files, Job, plan_many
from doprestore.image.settings import image_settings

QUICK = ("--preset", "paper", "--steps", "2", "--width", "4", "--device", "cpu")
CLOSED, NO_READER = "closed", "no reader"


def _process(words: list[str], folder: str, outputs: tuple[str, str]) -> None:
    os.chdir(folder)
    for name, place in zip(("stdout", "stderr"), outputs, strict=True):
        number = getattr(sys, name).fileno()
        if place == CLOSED:
            os.close(number)
            setattr(sys, name, None)  # as Python finds it at its start
            continue
        reader, writer = os.pipe() if place == NO_READER else (None, os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        os.dup2(writer, number)
        if reader is not None:
            os.close(reader)
        setattr(sys, name, os.fdopen(number, "w", closefd=False))
    sys.exit(cli.run(words))


def _run(words: tuple[object, ...], folder, stdout: str = "stdout", stderr: str = "stderr") -> tuple[int, str]:
    """The exit code of the command line in a process of its own, and what it says on standard error."""
    process = FORKING.Process(target=_process, args=([str(word) for word in words], str(folder), (stdout, stderr)))
    process.start()
    process.join(60)
    process.kill()
    process.join()
    told = folder / "stderr"
    return process.exitcode, told.read_text() if stderr == "stderr" else ""


FULL = "doprestore: error: standard output: cannot be written (No space left on device); send it elsewhere\n"
GONE = FULL.replace("No space left on device", "Bad file descriptor")


@pytest.mark.parametrize(("stdout", "told"), [("/dev/full", FULL), (CLOSED, GONE), (NO_READER, "")])
def test_a_batch_goes_on_without_standard_output(scans, stdout, told):
    assert _run(("image", "scans", "out", "-r", *QUICK), scans, stdout) == (1, told)
    assert len(list((scans / "out").iterdir())) == 3
    assert _run(("image", "scans/0.png", "quiet.png", *QUICK, "-q"), scans, stdout) == (0, "")


@pytest.mark.parametrize(("stdout", "told"), [("/dev/full", FULL), (NO_READER, "")])
def test_one_picture_and_one_table(scans, stdout, told):
    np.save(scans / "t.npy", np.outer(np.arange(1.0, 9), np.arange(1.0, 7)))
    assert _run(("rpca", "t.npy", "--repaired", "r.npy"), scans, stdout) == (1, told) and (scans / "r.npy").exists()
    # A result on standard output is lost at once, and its checkpoint is kept.
    assert _run(("rpca", "t.npy", "--repaired", "-", "--checkpoint", "c", "--checkpoint-every", "0s"), scans, stdout) == (
        1,
        told,
    )
    assert _run(("image", "scans/0.png", "-", *QUICK, "--checkpoint", "d", "--checkpoint-every", "0s"), scans, stdout) == (
        1,
        told,
    )
    assert (scans / "c").exists() and (scans / "d").exists()


@pytest.mark.parametrize("stderr", ["/dev/full", CLOSED, NO_READER])
def test_nobody_hears_standard_error(scans, stderr):
    (scans / "scans" / "bad.png").write_text("not a picture")
    assert _run(("image", "scans", "out", "-r", *QUICK, "-v"), scans, stderr=stderr)[0] == 1
    assert "3 restored, 1 failed" in (scans / "stdout").read_text() and len(list((scans / "out").iterdir())) == 3


class _OnePipe:
    """The command line's side of a worker: one job, then the end."""

    def __init__(self, job: Job):
        self.jobs, self.outcomes = [job], []

    def recv(self) -> Job:
        if not self.jobs:
            raise EOFError
        return self.jobs.pop()

    def send(self, outcome: tuple[str, str]) -> None:
        self.outcomes.append(outcome)


def test_so_do_the_processes_of_jobs(scans, monkeypatch):
    plan = plan_many(["scans/0.png"], scans / "out", Files(), Choices(verbose=True), recursive=False, shard=(1, 1))
    pipe = _OnePipe(plan.jobs[0])
    monkeypatch.setattr(pool.signal, "signal", lambda *args: None)
    monkeypatch.setattr(sys, "stderr", None)
    pool.work(pipe, threading.Event(), image_settings("paper", steps=2, width=4), Choices(verbose=True), threads=1)
    assert [what for what, _ in pipe.outcomes] == ["restored"]
