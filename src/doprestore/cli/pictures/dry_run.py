"""--dry-run: read every picture as the restoration would, and say what it would take. Writes nothing. Imports torch."""

from __future__ import annotations

from heapq import nlargest

from doprestore import machine
from doprestore.cli.pictures.estimate import Estimate, Estimator
from doprestore.cli.pictures.jobs import Choices, Job, Plan
from doprestore.cli.pictures.one import check_places, read_inputs, size_of
from doprestore.cli.screen import count, duration, say
from doprestore.errors import DoprestoreError
from doprestore.image.settings import ImageSettings

# Below so many seconds a tenth matters.
TENTHS = 9.95


def dry_run(plan: Plan, settings: ImageSettings, choices: Choices, *, lenient: bool) -> int:
    """Print a line a picture and one in all, unless quiet; returns the exit code, 1 when a picture would fail.

    lenient: many pictures, as for :func:`read_inputs`; what is the matter with a single one is raised.
    Raises :class:`UsageError` when the device of ``settings`` is not there.
    """

    def tell(text: str) -> None:
        if not choices.quiet:
            say(text)

    estimator = Estimator(settings, choices)
    estimates: list[Estimate] = []
    skipped = failed = 0
    for job in plan.jobs:
        if choices.skip_existing and job.error is None and job.is_done():
            tell(f"{job.output}: exists, skipped")
            skipped += 1
            continue
        try:
            line, estimate = _look(job, choices, estimator, lenient)
        except DoprestoreError as error:
            if not lenient:
                raise
            text = str(error)
            line = text if str(job.source) in text else f"{job.source}: {text}"
            say(f"doprestore: error: {line}", error=True)
            failed += 1
            continue
        estimates.append(estimate)
        tell(line)
    for path, why in plan.others.items():
        tell(f"{path}: {why}, left alone")
    parts = [f"{len(estimates)} to restore"]
    parts += [f"{number} {what}" for number, what in ((skipped, "skipped"), (failed, "failed")) if number]
    total = f"{_time(_sum(estimates, choices.jobs, estimator.start if estimates else 0.0))}, "
    total += _size(sum(nlargest(choices.jobs, (each.bytes for each in estimates))))
    free = machine.free_memory(machine.choose_device(settings.device))
    total += "" if free is None else f" of {_size(free)} that are free"
    others = f"; {count(len(plan.others), 'other file')} left alone" if plan.others else ""
    tell(f"{', '.join(parts)}: {total}{others}; nothing was written")
    return 1 if failed else 0


def _look(job: Job, choices: Choices, estimator: Estimator, lenient: bool) -> tuple[str, Estimate]:
    if job.error is not None:
        raise job.error
    picture = read_inputs(job, choices, lenient=lenient).picture
    check_places(job, new_folders=lenient)
    estimate = estimator(picture.samples.shape)
    told = f"{job.source}: {picture.kind}, {size_of(picture.samples.shape)}, {picture.depth}"
    return f"{told}, {_time(estimate)}, {_size(estimate.bytes)}; to {job.output}", estimate


def _sum(estimates: list[Estimate], jobs: int, start: float) -> Estimate:
    """The time of all pictures, were they all of one class, and of what precedes the first: the processes of --jobs each
    begin as the session does."""
    before = start if jobs == 1 else 2 * start
    names = ("undamaged", "least", "usual", "most")
    undamaged, least, usual, most = (before + sum(getattr(one, name) for one in estimates) / jobs for name in names)
    return Estimate(undamaged, least, usual, most, 0)


def _time(estimate: Estimate) -> str:
    undamaged, least, usual, most = map(_short, (estimate.undamaged, estimate.least, estimate.usual, estimate.most))
    if estimate.undamaged == estimate.most:
        return f"about {most}"
    return f"about {undamaged} if undamaged, {usual} if damaged ({least} to {most})"


def _short(seconds: float) -> str:
    """Of few seconds the first decimal counts, too."""
    return f"{max(0.1, seconds):.1f} s" if seconds < TENTHS else duration(seconds)


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{number / 2**20:.0f} MB"
