"""--dask: one task a picture on a cluster that is already there, with the same report. Needs the extra [dask].

The pictures lie where every worker finds them under the same name: a shared file system.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.jobs import Choices, Files, Job, Plan, make_folders
from doprestore.cli.pictures.safety import is_left, skip
from doprestore.errors import DoprestoreError, InputError, UsageError
from doprestore.image.settings import ImageSettings

if TYPE_CHECKING:
    from distributed import Future

    from doprestore.cli.pictures.batch import Report

# How many times a task is tried again whose worker died or raised what is no fault of the picture.
RETRIES = 2
_ONE_AT_A_TIME = threading.Lock()


def restore_on_cluster(plan: Plan, settings: ImageSettings, choices: Choices, interrupt: Interrupt, address: str) -> Report:
    """As :func:`restore_many`, on the Dask cluster whose scheduler listens at ``address``. An interrupt cancels what
    is left.

    Raises :class:`UsageError` without Dask, :class:`InputError` when no scheduler answers.
    """
    try:
        from distributed import Client, wait
    except ImportError as error:
        raise UsageError("--dask: Dask is not installed here; pip install 'doprestore[dask]'") from error

    from doprestore.cli.pictures.batch import Report

    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise InputError(f"--dask {address}: no scheduler answers there; start one with: dask scheduler") from error
    report = Report(plan, choices)
    with client, report.meter() as meter:
        pending = {}
        for job in plan.jobs:
            if job.error is not None:
                report.count(job, "failed", str(job.error))
            elif is_left(job, choices):
                report.count(job, *skip(job, choices))
                meter.skip()
            else:
                future = client.submit(restore_task, _absolute(job), settings, choices, retries=RETRIES, pure=False)
                pending[future] = job
        meter.show(report.counts.total())
        while pending and not interrupt.received():
            try:
                done = wait(list(pending), timeout=0.5, return_when="FIRST_COMPLETED").done
            except (TimeoutError, asyncio.TimeoutError):  # two things before Python 3.11
                continue
            for future in done:
                _count(report, pending.pop(future), future)
                meter.show(report.counts.total())
        client.cancel(list(pending))
    report.close()
    return report


def restore_task(job: Job, settings: ImageSettings, choices: Choices) -> tuple[str, str]:
    """On a worker: what became of the picture, as :func:`doprestore.cli.pictures.batch.attempt` says it.

    Only what may go better elsewhere is raised, and so retried.
    """
    from doprestore.cli.pictures.batch import outcome
    from doprestore.cli.pictures.one import restore_file

    try:
        # A picture takes all cores, and the network's start is drawn from a generator of the whole process.
        with _ONE_AT_A_TIME:
            make_folders(job)
            # What exists has been refused before. What has come since is of another try of this task, whose worker died
            # or is leaving, and is replaced; a file of somebody else that comes in between is not told from it.
            done = restore_file(job, settings, replace(choices, force=True), Interrupt(), nested=True)
            return outcome(job, done, choices)
    except DoprestoreError as error:
        return "failed", str(error)


def _count(report: Report, job: Job, future: Future[tuple[str, str]]) -> None:
    if future.status == "finished":
        report.count(job, *future.result())
    else:
        error = future.exception() if future.status == "error" else "cancelled"
        report.count(job, "failed", f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error))


def _absolute(job: Job) -> Job:
    def full(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(path))

    files = Files(**{field.name: full(getattr(job.files, field.name)) for field in fields(Files)})
    return replace(job, source=Path(os.path.abspath(job.source)), output=Path(os.path.abspath(job.output)), files=files)
