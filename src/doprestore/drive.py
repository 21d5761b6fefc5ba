"""The one loop: step a job to its end, stop when told to, report, check that its numbers are finite, let it be saved.

Pictures, matrices, sensing and the baselines differ in what a step is, and in nothing that is here. A job has

    step_number, steps      how many steps it has made, and how many it makes at most
    done                    whether it has come to its end: ``step_number == steps``, or sooner
    step()                  make one more
    loss                    how well it fits, in its own measure: a number or a tensor of one, None where not known yet.
                            It is looked at only for a report, for that makes a GPU wait
    report()                its own fields of :class:`Progress`: a dict of stage, outlier_share, psnr, or of none of them
    remedy                  what to do about a loss that is not finite, as the end of an error message
    state_dict(), load_state_dict(state)
                            all that the next step depends on, beside the data and the settings: dicts and lists of
                            tensors and plain values. ``load_state_dict`` raises InputError for what does not fit

A checkpoint is one such state with the seconds that led there. :func:`drive` hands ``save`` a function that returns
it, after every step: whoever saves decides when (:class:`Saver`: every so many seconds), and states of several jobs that
run at once can be put together (the tiles of a picture).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from doprestore.errors import NumericalError

# How many reports a job makes from its start to its end, unless asked for otherwise.
REPORTS = 200

State = dict[str, Any]
Save = Callable[[Callable[[], State]], None]


@dataclass(frozen=True)
class Progress:
    """One report.

    step, steps: how far the job is; seconds: since its start, those before a resumption included.
    loss: pictures: the mean squared residual. Matrices: ‖y − X − s‖ / ‖y‖; NaN before the first step of a stage.
    stage: what it is at, where there are several ("flow", "refit", ...); else "".
    outlier_share: the share of values that s explains better than the network; psnr: in dB, where the undamaged
    picture is known. Both None where they make no sense.
    """

    step: int
    steps: int
    loss: float
    seconds: float
    stage: str = ""
    outlier_share: float | None = None
    psnr: float | None = None


class Job(Protocol):
    """See above."""

    @property
    def step_number(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def done(self) -> bool: ...
    @property
    def loss(self) -> Tensor | float | None: ...
    @property
    def remedy(self) -> str: ...
    def step(self) -> None: ...
    def report(self) -> Mapping[str, Any]: ...
    def state_dict(self) -> State: ...
    def load_state_dict(self, state: Any) -> None: ...


class Stepper(Protocol):
    """What counts its own steps and can be saved, such as a recovery."""

    @property
    def step_number(self) -> int: ...
    @property
    def loss(self) -> Tensor: ...
    def step(self) -> None: ...
    def state_dict(self) -> State: ...
    def load_state_dict(self, state: Any) -> None: ...


class StepsOf:
    """So many ``steps`` of a :class:`Stepper`: all of a job except its ``remedy`` and ``report()``."""

    def __init__(self, stepper: Stepper, steps: int):
        self._stepper, self.steps = stepper, steps

    @property
    def step_number(self) -> int:
        return self._stepper.step_number

    @property
    def done(self) -> bool:
        return self.step_number >= self.steps

    @property
    def loss(self) -> Tensor:
        return self._stepper.loss

    def step(self) -> None:
        self._stepper.step()

    def state_dict(self) -> State:
        return self._stepper.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._stepper.load_state_dict(state)


class Ended(NamedTuple):
    """How a drive ended: whether ``should_stop`` ended it before the job was done, and after how many seconds."""

    interrupted: bool
    seconds: float


def drive(
    job: Job,
    *,
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    save: Save | None = None,
    resume: State | None = None,
    report_every: int | None = None,
) -> Ended:
    """Step ``job`` until it is done.

    callback: called every ``report_every`` steps, by default about :data:`REPORTS` times, and at the end.
    should_stop: asked after every step; True ends the drive. save: called after every step with a function that
    returns the state of the job. resume: such a state, to go on from.

    Raises :class:`NumericalError` when a loss to report is not finite.
    """
    start = time.perf_counter()
    if resume is not None:
        job.load_state_dict(resume)
        start -= float(resume.get("seconds", 0.0))
    every = report_every or max(1, job.steps // REPORTS)

    def state() -> State:
        return job.state_dict() | {"seconds": time.perf_counter() - start}

    stopped = False
    while not job.done and not stopped:
        job.step()
        stopped = should_stop is not None and should_stop()
        if stopped or job.done or job.step_number % every == 0:
            loss = math.nan if job.loss is None else float(job.loss)
            if job.loss is not None and not math.isfinite(loss):
                raise NumericalError(f"the loss became {loss} by step {job.step_number}; {job.remedy}")
            if callback is not None:
                own = job.report()
                callback(Progress(job.step_number, job.steps, loss, time.perf_counter() - start, **own))
        if save is not None:
            save(state)
    return Ended(stopped and not job.done, time.perf_counter() - start)


class Saver:
    """A ``save`` for :func:`drive` that gives the state to ``write`` every ``every`` seconds."""

    def __init__(self, write: Callable[[State], None], every: float):
        self._write = write
        self._every = every
        self._saved = time.monotonic()

    def __call__(self, state: Callable[[], State]) -> None:
        if self.is_due():
            self.write(state)

    def is_due(self) -> bool:
        return time.monotonic() - self._saved >= self._every

    def write(self, state: Callable[[], State]) -> None:
        """Now, whatever the time."""
        self._write(state())
        self._saved = time.monotonic()
