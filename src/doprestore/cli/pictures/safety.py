"""What no picture may be written over: inputs, files of other pictures, and what exists unless told to. Imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from doprestore.errors import DestinationError, DoprestoreError, InputError
from doprestore.io.files import check_targets, refuse_existing, same_file
from doprestore.io.log import is_log

if TYPE_CHECKING:
    from doprestore.cli.pictures.jobs import Choices, Job


def check(job: Job, choices: Choices) -> None:
    """Refuse what is not there and what would overwrite a file, before any work."""
    inputs, targets = job.inputs(), job.targets()
    for path in inputs.values():
        if str(path) != "-" and not os.path.exists(path):
            raise InputError(f"{path}: no such file; check the name")
    if job.backup is not None and os.path.exists(job.backup):
        del targets["OUTPUT"]
    check_targets(targets, inputs, force=True)
    if is_left(job, choices):
        return
    if job.backup is not None and os.path.exists(job.backup) and job.is_done():
        # Not even --force replaces the only original.
        raise DestinationError(
            f"{job.backup}: exists already and may be the only original; move it away, or choose another suffix"
        )
    if not job.is_begun():
        refuse_to_replace(job, choices)


def check_all(planned: list[Job], choices: Choices) -> list[Job]:
    """The jobs, each with what forbids it: by itself, or because it would write over what belongs to another."""
    sources = {os.path.realpath(job.source) for job in planned}
    beside = {os.path.realpath(path): flag for job in planned for flag, path in job.inputs().items() if flag != "INPUT"}
    taken: dict[str, tuple[str, Job]] = {}
    jobs: list[Job] = []
    for job in planned:
        problem = job.error
        # In place the output is written, too: over the input, which the backup keeps.
        writes = {os.path.realpath(path): (flag, path) for flag, path in (("OUTPUT", job.output), *job.targets().items())}
        try:
            if problem is None:
                for real, (_, path) in writes.items():
                    if real in taken:
                        flag, other = taken[real]
                        what = "the output" if flag == "OUTPUT" else flag
                        raise DestinationError(f"{job.source}: {path} is already {what} of {other.source}; rename one")
                check(job, choices)
                for real, (_, path) in writes.items() if not is_left(job, choices) else ():
                    if real in beside or (real in sources and path != job.source):
                        what = beside.get(real, "an input")
                        raise DestinationError(f"{job.source}: {path} is also {what}; choose another place")
                taken |= {real: (flag, job) for real, (flag, _) in writes.items()}
        except DoprestoreError as error:
            problem = error
        jobs.append(replace(job, error=problem))
    return jobs


def is_left(job: Job, choices: Choices) -> bool:
    """Whether --skip-existing leaves the picture alone."""
    return choices.skip_existing and job.is_done()


def skip(job: Job, choices: Choices) -> tuple[str, str]:
    """What becomes of a picture that --skip-existing leaves alone, "skipped", and the line that says so; under --strict
    "doubtful", unless its --json says that it is beyond doubt."""
    line = f"{job.output}: exists, skipped"
    if choices.strict and job.files.json is not None and _may_be_doubtful(job.files.json):
        return "doubtful", f"{line}; in doubt, or not known to be beyond it, by {job.files.json}"
    return "skipped", line


def _may_be_doubtful(facts: Path) -> bool:
    try:
        return bool(json.loads(facts.read_bytes())["doubtful"])
    except (OSError, ValueError, TypeError, KeyError):
        return True


def refuse_to_replace(job: Job, choices: Choices, own: Collection[str] = ()) -> None:
    """Refuse what exists, unless --force allows to replace it or it is of the session that this one goes on with.

    ``own`` are the real paths that its checkpoint names. Raises :class:`DestinationError`.
    """
    if choices.force:
        return
    targets = job.targets()
    targets.pop("--checkpoint", None)  # which has --resume
    if job.backup is not None:
        del targets["OUTPUT"]  # the backup, which is never replaced
        if same_file(job.backup, job.output):
            return  # a session was stopped between the backup and the output: what lies beside them is its own
    log = targets.get("--log")
    if log is not None and (choices.resume or choices.skip_existing) and is_log(log):
        del targets["--log"]  # of a session that was killed before its first checkpoint, or without one
    refuse_existing({flag: path for flag, path in targets.items() if os.path.realpath(path) not in own})
