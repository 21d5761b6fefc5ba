"""What is shown while the work goes on: a bar where stderr is a terminal, now and then a line where it is a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from doprestore.cli import one_line

# A log gets a line after so many seconds.
MINUTE = 60.0
# It gets one after this share of the work, too, but none within so many seconds of the last, so that short work leaves none.
TENTH, LEAST = 0.1, 30.0
# Seconds between two lines with --verbose.
OFTEN = 10.0
# The bar of tqdm while nobody knows how long the rest will take.
WITHOUT_TIME_LEFT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


def say(text: str, *, error: bool = False) -> None:
    """A line on stdout, or on stderr, above the bars."""
    stream = sys.stderr if error else sys.stdout
    tqdm.write(one_line(text), file=stream)
    stream.flush()


def duration(seconds: float) -> str:
    """A time for people: "12 s", "3 min 20 s", "5 h 10 min", "2 d 3 h"."""
    whole = max(0, round(seconds))
    for size, name, part, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def count(number: int, unit: str) -> str:
    """ "1 step", "2 steps"."""
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


class Meter:
    """How far ``label`` has come, ``total`` of ``unit`` being all of it; a context in which :meth:`show` is called.

    quiet: shows nothing. verbose: more lines in a log. nested: within another one, whose bar lies above. resumed: the first
    :meth:`show` tells what an earlier session has done.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        unit: str,
        *,
        quiet: bool = False,
        verbose: bool = False,
        nested: bool = False,
        resumed: bool = False,
    ):
        self._label, self._total, self._unit = label, total, unit
        # Whether what is left takes as long as what is done, step by step; else no time left is told, and what is done says
        # nothing of the speed.
        self.steady = True
        self._bar = None
        self._lines = not quiet and not sys.stderr.isatty()
        self._every = OFTEN if verbose else MINUTE
        self._begun = self._told = time.monotonic()
        self._first = None if resumed else 0  # how much of it took no time: what an earlier session has done
        self._told_share = 0.0
        if not quiet and sys.stderr.isatty():
            self._bar = tqdm(
                total=total, desc=one_line(label), unit=unit, dynamic_ncols=True, position=int(nested), leave=not nested
            )

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def skip(self) -> None:
        """One of ``total`` is done that took no time."""
        self._first = (self._first or 0) + 1

    def show(self, done: int, total: int | None = None, **shown: str) -> None:
        """``done`` of ``total`` is done; ``shown`` are further values by name."""
        self._total = self._total if total is None else total
        if not self.steady:
            self._first, self._begun = done, time.monotonic()
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.bar_format = None if self.steady else WITHOUT_TIME_LEFT
            self._bar.set_postfix({name.replace("_", " "): value for name, value in shown.items()}, refresh=False)
            self._bar.update(done - self._bar.n)
        elif self._lines:
            self._write(done, shown)

    def _write(self, done: int, shown: dict[str, str]) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._begun = done, now
        share = done / self._total if self._total else 0.0
        waited = now - self._told
        due = waited >= self._every or (waited >= min(LEAST, self._every) and share - self._told_share >= TENTH)
        if not due or (self._total and done >= self._total):  # that it is done is said elsewhere
            return
        told = f"{done} of {count(self._total, self._unit)} ({share:.0%})" if self._total else count(done, self._unit)
        if done > self._first and self._total:
            told += f", {duration((now - self._begun) / (done - self._first) * (self._total - done))} left"
        told += "".join(f", {name.replace('_', ' ')} {value}" for name, value in shown.items())
        say(f"doprestore: {self._label}: {told}", error=True)
        self._told, self._told_share = now, share
