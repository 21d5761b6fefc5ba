"""When a run is saved and how it goes on: the command line's side of checkpoints. Imports torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from doprestore.cli.interrupt import Interrupt
from doprestore.errors import InputError
from doprestore.io.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from doprestore.io.files import check_output

State = Callable[[], dict[str, object]]


def open_checkpoint(
    path: Path, identity: Mapping[str, object], resume: bool, needed: tuple[str, ...] = ()
) -> dict[str, object] | None:
    """The state to go on from, or None to start, before any work.

    ``identity`` is the kind, data and settings of :func:`save_checkpoint`; ``needed`` are keys of the state. Raises
    :class:`InputError` for a checkpoint that is there unasked for, or is not of this run.
    """
    check_output(path)
    if not os.path.exists(path):
        return None
    if not resume:
        raise InputError(f"--checkpoint {path}: exists; add --resume to go on from it, or delete it")
    state = load_checkpoint(path, **identity)
    if not isinstance(state, dict) or not state.keys() >= set(needed):
        raise InputError(f"--checkpoint {path}: is incomplete; delete it to start anew")
    return state


class Keeper:
    """Saves a run every ``every`` seconds and when it is interrupted.

    ``identity`` as for :func:`open_checkpoint`. ``state`` is what an earlier run saved, or None. ``rows``, the log so
    far, travels along.
    """

    def __init__(self, path: Path, identity: Mapping[str, object], *, every: float, resume: bool, interrupt: Interrupt):
        self.path = path
        self.state = open_checkpoint(path, identity, resume, needed=("rows", "seconds"))
        self.rows: list[dict[str, object]] = [] if self.state is None else self.state["rows"]
        self._identity = identity
        self._every = every
        self._interrupt = interrupt
        self._saved = time.monotonic()

    def __call__(self, state: State) -> None:
        if self._interrupt.received() or time.monotonic() - self._saved >= self._every:
            save_checkpoint(self.path, state() | {"rows": self.rows}, **self._identity)
            self._saved = time.monotonic()

    def finished(self) -> None:
        """The result is safe: the checkpoint can go."""
        remove_checkpoint(self.path)
