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
from doprestore.errors import InputError, UsageError
from doprestore.machine import choose_device
from doprestore.matrix.codes import filled_cells
from doprestore.matrix.descent import Descent
from doprestore.matrix.operators import EntryMask, Identity, Operator
from doprestore.matrix.settings import MatrixSettings, matrix_settings
from doprestore.matrix.solver import FastSolver, Split, guess_rank, leave_empty

DESCENT_CONVERGED = 1e-2  # paper preset: the relative residual that counts as converged
SAFE_RANGE = 1e12  # of float32 arithmetic: an outlier this many times the typical entry needs float64


@dataclass(frozen=True)
class RpcaResult:
    """y = low_rank + sparse + a rest, as NumPy arrays of the shape and float type of the data.

    low_rank is complete except for ``empty_rows`` and ``empty_columns`` (their numbers), which are NaN: too little is known
    of them, or they are wrong throughout. sparse is 0 there and at missing entries. outlier_share: the outliers among the
    known entries; expected_mistakes: how many of them are expected to be no more than noise. level: the noise level
    (standard deviation), in a shape that goes with y (None: there is no noise, or the solver did not come to it).
    codes: values that were taken for fill codes or saturation, and not fitted to.
    residual: ‖rest‖_F / ‖y‖_F over the known entries. solution: "exact", "noise" or "convex" (see
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
    level: np.ndarray | None = None


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
    y, known, unit = _prepare(array, matrix_device(settings.device))
    filled, codes = (None, []) if settings.preset == "paper" or unit == 0 else _filled(array, known)
    del array
    history: list[Progress] = []
    if unit == 0:
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
        every = None if settings.preset == "paper" else 1
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
        low_rank=_to_array(low_rank, unit, dtype),
        sparse=_to_array(sparse, unit, dtype),
        rank=split.rank,
        outlier_share=int(torch.count_nonzero(sparse)) / total,
        residual=split.rest / size if size else 0.0,
        solution=solution,
        clear=solution not in ("convex", "unfinished"),
        empty_rows=empty[0],
        empty_columns=empty[1],
        codes=tuple(codes),
        expected_mistakes=split.expected,
        level=None if split.level is None else _to_array(split.level, unit, np.dtype(np.float64)),
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


def checked_array(data: ArrayLike | Tensor) -> np.ndarray:
    """``data`` as a real, finite (except for NaN), non-empty 2-d NumPy array. Raises :class:`InputError` if it is none."""
    try:
        array = data.detach().cpu().numpy() if isinstance(data, Tensor) else np.asarray(data)
    except (ValueError, TypeError) as error:
        raise InputError("the data is not a rectangular table of numbers") from error
    if array.dtype.kind not in "biuf":
        kind = {
            "c": "complex numbers; give the real and the imaginary part separately",
            "O": "Python objects, not numbers; convert it to a float array",
        }.get(array.dtype.kind, "no numbers; convert it to floats")
        raise InputError(f"the array holds {kind}")
    if array.ndim != 2:
        advice = "for example to frames x pixels: a.reshape(len(a), -1)"
        if array.ndim < 2:
            advice = "a.reshape(rows, columns)"
        raise InputError(f"the array has shape {array.shape} where (rows, columns) is expected; reshape it, {advice}")
    if array.size == 0:
        raise InputError(f"the array is empty ({array.shape[0]} x {array.shape[1]})")
    if array.dtype.kind == "f":
        if any(np.isinf(block).any() for block in _blocks(array)):
            raise InputError("the array holds infinite values; mark missing entries as NaN")
        if all(np.isnan(block).all() for block in _blocks(array)):
            raise InputError("every entry is missing (NaN)")
    return array


def _blocks(array: np.ndarray) -> list[np.ndarray]:
    """Row blocks of about a million entries, so that checks need no memory of the array's size."""
    return np.array_split(array, max(1, min(len(array), array.size // 2**20)))


def _prepare(array: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor | None, float]:
    """y (rows, columns), float32 or float64, with zeros where data is missing; the known entries (None: all); the
    power of two that y was divided by (0 for a zero matrix). Shares the memory of the array where it can."""
    wide = array.dtype.kind != "f" or array.dtype.itemsize > 4
    work = np.dtype(np.float64 if wide else np.float32)
    missing = array.dtype.kind == "f" and any(np.isnan(block).any() for block in _blocks(array))
    known = torch.from_numpy(~np.isnan(array)).to(device) if missing else None
    typical = _typical_size(array)
    if typical > 0 and not wide:
        largest = max(float(np.nanmax(np.abs(block.astype(np.float32)), initial=0.0)) for block in _blocks(array))
        work = np.dtype(np.float64) if largest > SAFE_RANGE * typical else work
    shared = array.dtype == work and array.flags.c_contiguous and array.flags.writeable
    y = torch.from_numpy(array if shared else np.array(array, dtype=work, order="C")).to(device)
    unit = 2.0 ** math.floor(math.log2(typical)) if typical > 0 else 0.0
    if 2.0**-10 <= unit <= 2.0**10:
        unit = 1.0  # spare the copy
    if missing:
        y = torch.nan_to_num(y, nan=0.0)
    if unit not in (0.0, 1.0):
        y = y / unit
    return y, known, unit


def _typical_size(array: np.ndarray) -> float:
    """The median |entry| among a sample of the nonzero ones; 0 when all are zero."""
    stride = max(1, array.size // 100_000)
    for sample in (array.reshape(-1)[::stride], array.reshape(-1)):
        sizes = np.abs(sample.astype(np.float64))
        sizes = sizes[sizes > 0]  # drops NaN too
        if len(sizes):
            return float(np.median(sizes))
    return 0.0


def _to_array(x: Tensor, unit: float, dtype: np.dtype) -> np.ndarray:
    if unit not in (0.0, 1.0):
        x = x * unit
    return x.cpu().numpy().astype(dtype, copy=False)


def _filled(array: np.ndarray, known: Tensor | None) -> tuple[Tensor | None, list[float]]:
    cells, codes = filled_cells(array, np.ones(array.shape, bool) if known is None else known.cpu().numpy())
    return None if cells is None else torch.from_numpy(cells), codes


class _PaperMachine:
    """The literal eq. (6) behind the same interface as the fast solver."""

    solution = stage = "descent"
    done = False  # it makes its steps, whatever they bring

    def __init__(self, y: Tensor, known: Tensor | None, alpha: float, settings: MatrixSettings):
        self.y = y
        tau, init = settings.tau, settings.init
        assert tau is not None and init is not None  # the paper preset has both
        operator: Operator = Identity() if known is None else EntryMask(known)
        self.descent = Descent.start(operator, y, (y.shape[0], y.shape[1]), alpha=alpha, tau=tau, init=init,
                                     rank_bound=settings.rank_bound, symmetric=settings.symmetric,
                                     seed=settings.seed)  # fmt: skip

    @property
    def steps(self) -> int:
        return self.descent.steps

    @property
    def converged(self) -> bool:
        return self.residual() <= DESCENT_CONVERGED

    def step(self) -> None:
        self.descent.step()

    def residual(self) -> float:
        return 2 * math.sqrt(self.descent.loss.item()) / torch.linalg.vector_norm(self.y).item()

    def split(self) -> Split:
        low_rank, sparse = self.descent.low_rank(), self.descent.outliers.value()
        rest = self.descent.operator.apply(low_rank) + sparse - self.y
        # g∘g − h∘h is never exactly 0: what is below a thousandth of the typical entry is none.
        typical = torch.linalg.vector_norm(self.y).item() / math.sqrt(self.y.numel())
        sparse[sparse.abs() < 1e-3 * typical] = 0
        rank = guess_rank(torch.linalg.svdvals(low_rank), 1e-3)
        return Split(low_rank, sparse, rank, torch.linalg.vector_norm(rest).item())

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, **self.descent.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.descent.load_state_dict(state, state["steps"])


def _machine(y: Tensor, known: Tensor | None, filled: Tensor | None, settings: MatrixSettings) -> FastSolver | _PaperMachine:
    data, seen = y, known
    if filled is not None:
        filled = filled.to(y.device)
        known = ~filled if known is None else known & ~filled
        y = y.masked_fill(filled, 0)
    share = 1.0 if known is None else int(torch.count_nonzero(known)) / y.numel()
    alpha = settings.alpha or math.sqrt(share * max(y.shape))
    if settings.preset == "paper":
        return _PaperMachine(y, known, alpha, settings)
    return FastSolver(y, known, alpha, symmetric=settings.symmetric, seed=settings.seed, data=data, seen=seen)


class _Solving:
    """Either solver as a job for :func:`doprestore.drive.drive`, of ``steps`` steps at most."""

    remedy = "use a smaller --tau"

    def __init__(self, machine: FastSolver | _PaperMachine, steps: int):
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
