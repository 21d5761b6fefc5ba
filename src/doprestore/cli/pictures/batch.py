"""Many pictures, one after the other: a failure never stops the others. Imports torch."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter
from typing import TextIO

from tqdm import tqdm

from doprestore.cli import one_line
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.jobs import Choices, Job, make_folders
from doprestore.cli.pictures.one import restore_file
from doprestore.errors import DoprestoreError
from doprestore.image.settings import ImageSettings
from doprestore.io.encode import EXTENSIONS
from doprestore.machine import choose_device


class Report:
    """Says what became of each picture, counts, and owns the exit code."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._start = time.perf_counter()

    def count(self, job: Job, what: str, text: str) -> None:
        """``what`` became of ``job``, and what :func:`attempt` has to say about it."""
        if what == "restored":
            self._print(text)
        elif what == "interrupted":
            self._print(f"{job.output}: interrupted, not written")
        elif what == "skipped":
            self._print(f"{job.output}: exists, skipped")
        else:
            line = text if str(job.source) in text else f"{job.source}: {text}"
            self._print(f"doprestore: error: {' '.join(line.split())}", sys.stderr)
        self.counts[what] += 1

    def total(self, left: int = 0) -> str:
        """Everything in one line; ``left`` pictures were not begun."""
        if not self.counts and not left:
            return f"nothing to do: no pictures there ({' '.join(EXTENSIONS)})"
        kinds = ("restored", "skipped", "failed", "interrupted")
        parts = [f"{self.counts[what]} {what}" for what in kinds if self.counts[what]]
        if left:
            parts.append(f"{left} not begun")
        return f"{', '.join(parts)} in {time.perf_counter() - self._start:.1f} s"

    @property
    def exit_code(self) -> int:
        """1 when a picture failed."""
        return 1 if self.counts["failed"] else 0

    def _print(self, line: str, stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        tqdm.write(one_line(line), file=stream)  # above the bars
        stream.flush()


def restore_many(jobs: list[Job], settings: ImageSettings, choices: Choices, interrupt: Interrupt) -> Report:
    """Restore each of ``jobs`` and print a line for each and one in all; an interrupt ends the list.

    Raises :class:`UsageError` when the device of ``settings`` is not there.
    """
    choose_device(settings.device)  # once, and not as the failure of each picture
    report = Report()
    with tqdm(jobs, desc="pictures", unit="picture", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        for job in bar:
            report.count(job, *attempt(job, settings, choices, interrupt))
            if interrupt.received():
                break
    tqdm.write(report.total(left=len(jobs) - report.counts.total()), file=sys.stdout)
    return report


def attempt(job: Job, settings: ImageSettings, choices: Choices, interrupt: Interrupt) -> tuple[str, str]:
    """Restore one of many; never raises what is the matter with one picture.

    Returns ("restored", the line that sums it up), ("skipped", ""), ("interrupted", "") or ("failed", the reason).
    """
    try:
        if job.error is not None:
            raise job.error
        if choices.skip_existing and job.is_done():
            return "skipped", ""
        make_folders(job)
        line = restore_file(job, settings, choices, interrupt, nested=True)
    except (DoprestoreError, MemoryError) as error:
        return "failed", str(error) or "out of memory"
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # a bug of ours, or of a library: the other pictures still count
        traceback.print_exc()
        return "failed", f"unexpected {type(error).__name__}: {error}"
    return ("restored", line) if line else ("interrupted", "")
