"""Standard output and error that may be closed, full, or read by nobody: the work goes on, and the exit code tells.

What is said as text gets lost then, once and for all; what is written as bytes is a result, whose loss is an error at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from doprestore.errors import OutputError


class Stream:
    """``stream``, or None for one that is closed; ``name`` is for people, and ``error`` what it failed with."""

    def __init__(self, stream: TextIO | None, name: str):
        self._name, self._is_closed = name, stream is None
        self._stream = io.TextIOWrapper(io.BytesIO(), "utf-8") if stream is None else stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("text goes here, bytes to the buffer")  # by which Click tells one from the other
        if text and self.error is None:
            try:
                self._open().write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    @property
    def buffer(self) -> Bytes:
        return Bytes(self)

    def write_bytes(self, data: bytes) -> None:
        """Write a result and flush it. Raises BrokenPipeError, else :class:`OutputError`."""
        try:
            binary = self._open().buffer
            binary.write(data)
            binary.flush()
        except OSError as error:
            self._fail(error)
            if isinstance(error, BrokenPipeError):
                raise
            raise OutputError(self.problem()) from error

    def problem(self) -> str:
        """What to say of :attr:`error`."""
        reason = "" if self.error is None else self.error.strerror
        return f"{self._name}: cannot be written ({reason}); send it elsewhere"

    def _open(self) -> TextIO:
        if self._is_closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._stream

    def _fail(self, error: OSError) -> None:
        self.error = error
        with suppress(OSError, ValueError):  # what is still in its buffer must not fail again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class Bytes:
    """The binary side of a :class:`Stream`."""

    def __init__(self, stream: Stream):
        self._stream = stream

    def write(self, data: bytes) -> int:
        self._stream.write_bytes(data)
        return len(data)

    def flush(self) -> None:
        """It is done with every write."""


@contextmanager
def guarded() -> Iterator[Stream]:
    """A context in which both standard streams are of this kind; yields standard output."""
    plain = sys.stdout, sys.stderr
    for number in (0, 1, 2):  # else the next file that is opened would get the number, and all that is said
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    output = Stream(plain[0], "standard output")
    sys.stdout, sys.stderr = output, Stream(plain[1], "standard error")
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = plain
