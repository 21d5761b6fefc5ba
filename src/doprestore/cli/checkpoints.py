"""When a session is saved and how it goes on: the command line's side of checkpoints. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from doprestore.cli.interrupt import Interrupt
from doprestore.drive import Saver, State
from doprestore.errors import InputError
from doprestore.io.checkpoint import load_checkpoint, part, remove_checkpoint, save_checkpoint
from doprestore.io.files import check_output


def real_paths(paths: Iterable[Path]) -> list[str]:
    """The names of the outputs of a session, as a checkpoint keeps them, to know them again."""
    return [os.path.realpath(path) for path in paths]


def open_checkpoint(path: Path, identity: Mapping[str, Any], resume: bool, needed: tuple[str, ...] = ()) -> State | None:
    """The state to go on from, or None to start, before any work.

    ``identity`` is the kind, data and settings of :func:`save_checkpoint`; ``needed`` are keys of the state. Raises
    :class:`InputError` for a checkpoint that is there unasked for, or is not of this session.
    """
    check_output(path)
    check_output(part(path))
    if not os.path.exists(path):
        return None
    if not resume:
        raise InputError(f"--checkpoint {path}: exists; add --resume to go on from it, or delete it")
    state = load_checkpoint(path, **identity)
    if not isinstance(state, dict) or not state.keys() >= set(needed):
        raise InputError(f"--checkpoint {path}: is incomplete; delete it to start again")
    return state


class Checkpoint:
    """Saves a session every ``every`` seconds and when it is interrupted.

    ``identity`` as for :func:`open_checkpoint`. ``state`` is what an earlier session saved, or None. ``rows``, the log so
    far, travels along. ``outputs`` are the files of this session; in the attribute, the real paths of the earlier one's.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, every: float, resume: bool, interrupt: Interrupt,
                 outputs: Iterable[Path] = ()):  # fmt: skip
        self.path = path
        self.state = open_checkpoint(path, identity, resume, needed=("rows", "seconds"))
        self.rows: list[dict[str, Any]] = [] if self.state is None else self.state["rows"]
        self.outputs = frozenset(self.state.get("outputs", ()) if self.state is not None else ())
        self._outputs = real_paths(outputs)
        self._identity = identity
        self._interrupt = interrupt
        self._saver = Saver(self._write, every)

    def __call__(self, state: Callable[[], State]) -> None:
        if self._interrupt.received():
            self._saver.write(state)
        else:
            self._saver(state)

    def _write(self, state: State) -> None:
        save_checkpoint(self.path, state | {"rows": self.rows, "outputs": self._outputs}, **self._identity)

    def remove(self) -> None:
        """The result is safe: the checkpoint can go."""
        remove_checkpoint(self.path)
