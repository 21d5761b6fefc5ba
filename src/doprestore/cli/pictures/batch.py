"""Many pictures, one after the other: a failure never stops the others. Imports torch."""

from __future__ import annotations

import time
import traceback
from collections import Counter

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.doubts import DOUBTFUL
from doprestore.cli.pictures.jobs import Choices, Job, Plan, make_folders
from doprestore.cli.pictures.one import Done, restore_file
from doprestore.cli.pictures.safety import is_left, skip
from doprestore.cli.screen import MINUTE, Meter, count, duration, say
from doprestore.errors import DoprestoreError
from doprestore.image.settings import ImageSettings
from doprestore.io.encode import EXTENSIONS
from doprestore.machine import choose_device


class Report:
    """Says what became of each picture, counts, and owns the exit code."""

    def __init__(self, plan: Plan, choices: Choices) -> None:
        self.counts: Counter[str] = Counter()
        self._plan = plan
        self._quiet = choices.quiet
        self._start = time.perf_counter()
        for path, why in plan.others.items() if choices.verbose else ():
            say(f"doprestore: {path}: {why}, left alone", error=True)

    def meter(self) -> Meter:
        """The pictures that are done, of all."""
        return Meter("all", len(self._plan.jobs), "picture", quiet=self._quiet)

    def count(self, job: Job, what: str, text: str) -> None:
        """``what`` became of ``job``, and what :func:`attempt` has to say about it."""
        if what == "failed":
            line = text if str(job.source) in text else f"{job.source}: {text}"
            say(f"doprestore: error: {line}", error=True)
        elif not self._quiet:
            say(text)
        self.counts[what] += 1

    def close(self) -> None:
        """Say everything in one line."""
        if not self._quiet:
            say(self.total())

    def total(self) -> str:
        """Everything in one line: what became of the pictures, and what else lies in the folders."""
        if not self._plan.jobs:
            return f"nothing to do: no pictures there ({' '.join(EXTENSIONS)})"
        kinds = ("restored", "doubtful", "skipped", "failed", "interrupted")
        parts = [f"{self.counts[what]} {what}" for what in kinds if self.counts[what]]
        if left := len(self._plan.jobs) - self.counts.total():
            parts.append(f"{left} not begun")
        seconds = time.perf_counter() - self._start
        took = f"{seconds:.1f} s" if seconds < MINUTE else duration(seconds)
        others = f"; {count(len(self._plan.others), 'other file')} left alone" if self._plan.others else ""
        return f"{', '.join(parts)} in {took}{others}"

    @property
    def exit_code(self) -> int:
        """1 when a picture failed, else :data:`DOUBTFUL` when one is in doubt, under --strict."""
        return 1 if self.counts["failed"] else DOUBTFUL if self.counts["doubtful"] else 0


def restore_many(plan: Plan, settings: ImageSettings, choices: Choices, interrupt: Interrupt) -> Report:
    """Restore the pictures of ``plan`` and print a line for each and one in all; an interrupt ends the list.

    Raises :class:`UsageError` when the device of ``settings`` is not there.
    """
    choose_device(settings.device)  # once, and not as the failure of each picture
    report = Report(plan, choices)
    with report.meter() as meter:
        for number, job in enumerate(plan.jobs, 1):
            what, text = attempt(job, settings, choices, interrupt)
            report.count(job, what, text)
            if what == "skipped":
                meter.skip()
            meter.show(number)
            if interrupt.received():
                break
    report.close()
    return report


def attempt(job: Job, settings: ImageSettings, choices: Choices, interrupt: Interrupt) -> tuple[str, str]:
    """Restore one of many; never raises what is the matter with one picture.

    Returns what became of it ("restored" or, under --strict, "doubtful", "skipped", "interrupted", "failed") and the line
    that says so, or the reason of a failure.
    """
    try:
        if job.error is not None:
            raise job.error
        if is_left(job, choices):
            return skip(job, choices)
        make_folders(job)
        done = restore_file(job, settings, choices, interrupt, nested=True)
    except (DoprestoreError, MemoryError) as error:
        return "failed", str(error) or "out of memory"
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # a bug of ours, or of a library: the other pictures still count
        traceback.print_exc()
        return "failed", f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
    return outcome(job, done, choices)


def outcome(job: Job, done: Done | None, choices: Choices) -> tuple[str, str]:
    """What a picture that has not failed comes to, as :func:`attempt` says it."""
    if done is None:
        return "interrupted", f"{job.output}: interrupted, not written"
    return "doubtful" if choices.strict and done.doubtful else "restored", done.line
