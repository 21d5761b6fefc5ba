"""Commands in processes of their own, forked from one that has loaded PyTorch: to load it for each would take seconds."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import NamedTuple

# What forks has imported these and done nothing else, so that no thread of PyTorch is lost on the way.
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["doprestore.cli.pictures.batch", "doprestore.matrix.api"])


class Outcome(NamedTuple):
    """What one run of the command line gave."""

    code: int
    stdout: str
    stderr: str


class Started:
    """The command line ``words`` at work in the working folder; what it says goes to files in ``folder``."""

    def __init__(self, words: list[str], folder: Path):
        self._streams = [folder / "stdout", folder / "stderr"]
        where = (os.getcwd(), dict(os.environ), [str(path) for path in self._streams])
        self._process = FORKING.Process(target=_command_line, args=(words, *where))
        self._process.start()

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def send(self, number: int) -> None:
        """A signal."""
        os.kill(self._process.pid, number)

    def outcome(self, seconds: float = 60) -> Outcome:
        """Once it has ended; after so many seconds it is killed."""
        self._process.join(seconds)
        self._process.kill()
        self._process.join()
        return Outcome(self._process.exitcode, *(path.read_text() for path in self._streams))


def _command_line(words: list[str], folder: str, environment: dict[str, str], streams: list[str]) -> None:
    from doprestore.cli import run

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in zip((sys.stdout, sys.stderr), streams, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    sys.exit(run(words))
