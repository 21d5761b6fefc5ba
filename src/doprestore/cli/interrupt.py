"""Ctrl-C and SIGTERM end a session in order: the work stops at the next step and what there is gets written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Interrupt:
    """A context in which the first SIGINT or SIGTERM is remembered instead of raised; a second one raises."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._at_once = False

    def __enter__(self) -> Interrupt:
        self._old = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal is not None, self.signal or number
        if again or self._at_once:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A context in which the first signal raises KeyboardInterrupt: reading may wait for ever, and nothing is lost."""
        self._at_once = True
        try:
            if self.received():
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def received(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, as shells count."""
        return 128 + (self.signal or 0)
