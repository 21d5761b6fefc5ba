"""Robust PCA, eq. (3): matrices with many wrong entries, no rank, sparsity or λ to choose.

:func:`rpca` splits a matrix into low-rank + sparse. Presets: :mod:`doprestore.matrix.settings`; the fast one is
:mod:`doprestore.matrix.solver`, the paper's :mod:`doprestore.matrix.descent`. :mod:`doprestore.matrix.sensing` has
general measurements.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from doprestore.drive import Progress, Saver, State, drive
from doprestore.errors import UsageError
from doprestore.machine import choose_device
from doprestore.matrix.data import cells_at_codes, checked_array, prepare, to_array
from doprestore.matrix.literal import DescentMachine
from doprestore.matrix.settings import MatrixSettings, matrix_settings
from doprestore.matrix.solver import FastSolver
from doprestore.matrix.split import Split, leave_empty


@dataclass(frozen=True)
class RpcaResult:
    """y = low_rank + sparse + a rest, as NumPy arrays of the shape and float type of the data.

    low_rank is complete except for ``empty_rows`` and ``empty_columns`` (their numbers), which are NaN: too little is known
    of them, or they are wrong throughout. sparse is 0 there and at missing entries. outlier_share: the outliers among the
    known entries; expected_mistakes: how many of them are expected to be no more than noise. noise: its standard
    deviation, in a shape that goes with y (None: there is no noise, or the solver did not come to it). noise_degrees: of
    freedom of its law, Student's t (infinite: Gaussian).
    codes: values that were taken for fill codes or saturation, and not fitted to.
    residual: ‖rest‖_F / ‖y‖_F over the known entries (lines of very different units counted alike). solution: "exact",
    "noise" or "convex" (see
    :class:`doprestore.matrix.solver.FastSolver`), "descent" (paper preset), "trivial" (a zero matrix), "unfinished".
    clear: whether low-rank part and outliers are clearly split; "convex" is an answer where they are not.
    converged is False when the solver was stopped, by ``steps`` or from outside, before its stopping rule held.
    """

    low_rank: np.ndarray
    sparse: np.ndarray
    rank: int
    outlier_share: float
    residual: float
    solution: str
    steps: int
    seconds: float
    device: str
    converged: bool
    interrupted: bool
    history: list[Progress]
    clear: bool = True
    empty_rows: tuple[int, ...] = ()
    empty_columns: tuple[int, ...] = ()
    codes: tuple[float, ...] = ()
    expected_mistakes: float = 0.0
    noise: np.ndarray | None = None
    noise_degrees: float = math.inf


def rpca(
    data: ArrayLike | Tensor,
    *,
    preset: str = "fast",
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    save_state: Callable[[State], None] | None = None,
    save_every: float = 60.0,
    resume: State | None = None,
    **overrides: Any,
) -> RpcaResult:
    """Split a real matrix into low-rank + sparse, robust to gross errors of any size; no rank, sparsity or λ needed.

    data: (rows, columns), integers or floats; NaN marks a missing entry. The result has its float type (float64 for
    integers).
    preset and further settings (alpha, symmetric, steps, seed, device; for "paper" also tau, init, rank_bound): see
    :class:`doprestore.matrix.settings.MatrixSettings`.
    callback: called with a :class:`doprestore.Progress` after every step of the fast preset, about 200
    times by the paper's. should_stop: asked after every step;
    True ends the work with the split as it stands.
    save_state: called about every ``save_every`` seconds with a dict of tensors and numbers; given as ``resume`` to
    a later call with the same data and settings, that one goes on from there.

    Raises :class:`InputError` for data that is not such a matrix, :class:`UsageError` for settings, and
    :class:`NumericalError` when the paper preset diverges.
    """
    settings = matrix_settings(preset, **overrides)
    return solve(data, settings, callback, should_stop, save_state, save_every, resume)


def solve(
    data: ArrayLike | Tensor,
    settings: MatrixSettings,
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    save_state: Callable[[State], None] | None = None,
    save_every: float = 60.0,
    resume: State | None = None,
) -> RpcaResult:
    """:func:`rpca` with its settings already made."""
    start = time.perf_counter()
    array = checked_array(data)
    floats = array.dtype.kind == "f" and array.dtype.itemsize <= 8
    dtype = array.dtype.newbyteorder("=") if floats else np.dtype(np.float64)
    if settings.symmetric and array.shape[0] != array.shape[1]:
        raise UsageError(f"--symmetric needs a square matrix, not {array.shape[0]} x {array.shape[1]}; leave it out")
    fast = settings.preset != "paper"
    y, known, unit = prepare(array, matrix_device(settings.device), even=fast and not settings.symmetric)
    trivial = not isinstance(unit, Tensor) and unit == 0
    filled, codes = cells_at_codes(array, known) if fast and not trivial else (None, [])
    del array
    history: list[Progress] = []
    if trivial:
        steps, interrupted, converged, solution = 0, False, True, "trivial"
        split = Split(y, torch.zeros_like(y), 0, 0.0, empty=None if known is None else (~known.any(1), ~known.any(0)))
        if split.empty is not None:
            leave_empty(split.low_rank, split.sparse, split.empty)
    else:
        machine = _machine(y, known, filled, settings)

        def note(progress: Progress) -> None:
            history.append(progress)
            if callback is not None:
                callback(progress)

        job = _Solving(machine, settings.steps)
        saver = None if save_state is None else Saver(save_state, save_every)
        # The steps of the fast one are few, and what they report is known.
        every = 1 if fast else None
        ended = drive(job, callback=note, should_stop=should_stop, save=saver, resume=resume, report_every=every)
        interrupted = ended.interrupted
        if interrupted and save_state is not None:
            save_state(job.state_dict() | {"seconds": ended.seconds})
        split = machine.split()
        steps, converged = machine.steps, machine.converged
        solution = machine.solution or "unfinished"
    total = y.numel() if known is None else int(torch.count_nonzero(known))
    size = torch.linalg.vector_norm(y).item()
    del y
    low_rank, sparse = split.low_rank, split.sparse
    empty = [(), ()] if split.empty is None else [tuple(lines.nonzero()[:, 0].tolist()) for lines in split.empty]
    return RpcaResult(
        low_rank=to_array(low_rank, unit, dtype),
        sparse=to_array(sparse, unit, dtype),
        rank=split.rank,
        outlier_share=int(torch.count_nonzero(sparse)) / total,
        residual=split.rest / size if size else 0.0,
        solution=solution,
        clear=solution not in ("convex", "unfinished"),
        empty_rows=empty[0],
        empty_columns=empty[1],
        codes=tuple(codes),
        expected_mistakes=split.expected,
        noise=None if split.noise is None else to_array(split.noise, unit, np.dtype(np.float64)),
        noise_degrees=split.degrees,
        steps=steps,
        seconds=time.perf_counter() - start,
        device=str(low_rank.device),
        converged=converged,
        interrupted=interrupted,
        history=history,
    )


def matrix_device(name: str) -> torch.device:
    """The device of that name. Raises :class:`UsageError` for one without float64."""
    device = choose_device(name)
    if device.type == "mps":
        raise UsageError("--device mps: has no 64-bit floats, which matrices need; use --device cpu")
    return device


def _machine(
    y: Tensor, known: Tensor | None, filled: Tensor | None, settings: MatrixSettings
) -> FastSolver | DescentMachine:
    data, seen = y, known
    if filled is not None:
        filled = filled.to(y.device)
        known = ~filled if known is None else known & ~filled
        y = y.masked_fill(filled, 0)
    share = 1.0 if known is None else int(torch.count_nonzero(known)) / y.numel()
    alpha = settings.alpha or math.sqrt(share * max(y.shape))
    if settings.preset == "paper":
        return DescentMachine(y, known, alpha, settings)
    return FastSolver(y, known, alpha, symmetric=settings.symmetric, seed=settings.seed, data=data, seen=seen)


class _Solving:
    """Either solver as a job for :func:`doprestore.drive.drive`, of ``steps`` steps at most."""

    remedy = "use a smaller --tau"

    def __init__(self, machine: FastSolver | DescentMachine, steps: int):
        self.machine = machine
        self.steps = steps
        self.step = machine.step
        self.state_dict = machine.state_dict
        self.load_state_dict = machine.load_state_dict

    @property
    def step_number(self) -> int:
        return self.machine.steps

    @property
    def done(self) -> bool:
        return self.machine.done or self.machine.steps >= self.steps

    @property
    def loss(self) -> float | None:
        residual = self.machine.residual()
        # The stages of the fast one have none before their first step.
        return None if math.isnan(residual) and self.machine.stage != "descent" else residual

    def report(self) -> dict[str, str]:
        return {"stage": self.machine.stage}
