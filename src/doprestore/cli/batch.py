"""Many pictures, one after the other: a failure never stops the others. Imports torch."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter

from tqdm import tqdm

from doprestore.cli import one_line
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.jobs import Choices, Job, make_folders
from doprestore.cli.restoring import restore_file
from doprestore.devices import choose_device
from doprestore.errors import DoprestoreError
from doprestore.settings import ImageSettings


class Report:
    """Says what became of each picture, counts, and owns the exit code."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._start = time.perf_counter()

    def restored(self, line: str) -> None:
        self._count("restored", line)

    def interrupted(self, job: Job) -> None:
        self._count("interrupted", f"{job.output}: interrupted, not written")

    def skipped(self, job: Job) -> None:
        self._count("skipped", f"{job.output}: exists, skipped")

    def failed(self, job: Job, reason: str) -> None:
        line = reason if str(job.source) in reason else f"{job.source}: {reason}"
        self._count("failed", f"doprestore: error: {' '.join(line.split())}", error=True)

    def total(self, left: int = 0) -> str:
        """Everything in one line; ``left`` pictures were not begun."""
        kinds = ("restored", "skipped", "failed", "interrupted")
        parts = [f"{self.counts[what]} {what}" for what in kinds if self.counts[what]]
        if left:
            parts.append(f"{left} not begun")
        return f"{', '.join(parts) or 'nothing to do'} in {time.perf_counter() - self._start:.1f} s"

    @property
    def exit_code(self) -> int:
        """1 when a picture failed."""
        return 1 if self.counts["failed"] else 0

    def _count(self, what: str, line: str, error: bool = False) -> None:
        self.counts[what] += 1
        stream = sys.stderr if error else sys.stdout
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
            _restore_one(job, settings, choices, interrupt, report)
            if interrupt.received():
                break
    tqdm.write(report.total(left=len(jobs) - report.counts.total()), file=sys.stdout)
    return report


def _restore_one(job: Job, settings: ImageSettings, choices: Choices, interrupt: Interrupt, report: Report) -> None:
    try:
        if job.error is not None:
            raise job.error
        if choices.skip_existing and job.is_done():
            report.skipped(job)
            return
        make_folders(job)
        line = restore_file(job, settings, choices, interrupt, nested=True)
    except (DoprestoreError, MemoryError) as error:
        report.failed(job, str(error) or "out of memory")
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # a bug of ours, or of a library: the other pictures still count
        traceback.print_exc()
        report.failed(job, f"unexpected {type(error).__name__}: {error}")
    else:
        report.restored(line) if line else report.interrupted(job)
