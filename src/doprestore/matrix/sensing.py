"""General linear measurements, eq. (1): y_i = ⟨A_i, X⟩ + s_i with a low-rank X and sparse, gross errors s."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from doprestore.drive import REPORTS, Progress, State, drive
from doprestore.errors import InputError, UsageError
from doprestore.matrix.api import matrix_device
from doprestore.matrix.descent import Descent
from doprestore.matrix.limits import NOISE_FACTOR
from doprestore.matrix.linalg import guess_rank
from doprestore.matrix.operators import Operator, Stack
from doprestore.matrix.settings import MatrixSettings, matrix_settings
from doprestore.outliers import MirrorOutliers

# Over the ranges in brackets `tests/benchmarks/rpca_constants.py sensing.NAME --seeds 2` solves the same 4 problems.
# The size of U, V, g and h at the start of the fast preset, for measurements of unit size.
GAMMA = 1e-4
# How closely right measurements agree, in units of the largest one; the second where A or y is float32 or less.
AGREES, AGREES_SINGLE = 1e-9, 1e-5
# So many times the unknowns of a matrix of that rank must agree [1.2 to 2].
SURE = 1.5
# Steps of the refit at most [50 to 400].
REFIT_STEPS = 200
# The factor by which its threshold falls in each [0.6 to 0.9].
REFIT_DECAY = 0.8
# The relative residual that counts as converged.
SETTLED = 1e-4


@dataclass(frozen=True)
class SenseResult:
    """low_rank: X, (rows, columns); sparse: s, (m,). residual: ‖A(X) + s − y‖ / ‖y‖, converged when <= 1e-4.
    solution: "exact" (a refit that agrees with the trusted measurements to rounding error), "descent", or "underdetermined":
    there are fewer measurements than it takes to tell a matrix of that rank. unknowns: of such a matrix."""

    low_rank: np.ndarray
    sparse: np.ndarray
    rank: int
    residual: float
    solution: str
    steps: int
    seconds: float
    device: str
    converged: bool
    interrupted: bool
    unknowns: int = 0

    @property
    def clear(self) -> bool:
        """Whether the measurements tell X at all."""
        return self.solution != "underdetermined"


def sense(
    matrices: ArrayLike,
    y: ArrayLike,
    settings: MatrixSettings | None = None,
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SenseResult:
    """Recover X and s from ``matrices`` A (m, rows, columns) and ``y`` (m,) by gradient descent on eq. (3).

    The paper preset is eq. (6) word for word. The fast one scales A to unit norm, chooses τ itself, takes the outliers
    in closed form (:class:`doprestore.outliers.MirrorOutliers`) and stops once ‖r‖ <= 1e-4 ‖y‖.
    settings: those of the fast preset where there are none.
    Raises :class:`InputError` for arrays that do not fit together and :class:`NumericalError` on divergence.
    """
    start = time.perf_counter()
    settings = settings or matrix_settings()
    device = matrix_device(settings.device)
    a, target, agrees = _checked(matrices, y)
    rows, columns = a.shape[1:]
    if settings.symmetric and rows != columns:
        raise UsageError(f"--symmetric needs square matrices A_i, not {rows} x {columns}; leave it out")
    operator = Stack(torch.from_numpy(a).to(device))
    values = torch.from_numpy(target).to(device)
    alpha = settings.alpha or math.sqrt(len(target) / max(rows, columns))
    descent, scale, size = _start(operator, values, settings, alpha)
    norm = torch.linalg.vector_norm(descent.y).item() or 1.0
    job = _Sensing(descent, settings, norm)
    ended = drive(job, callback=callback, should_stop=should_stop)
    residual, interrupted = job.residual, ended.interrupted
    low_rank, sparse, solution = descent.low_rank(), descent.outliers.value(), "descent"
    if settings.preset == "fast" and not interrupted:
        fitted = refit_measurements(descent.operator, descent.y, low_rank, agrees)
        if fitted is not None:
            low_rank, solution = fitted, "exact"
            sparse = descent.y - descent.operator.apply(low_rank)
            sparse[sparse.abs() <= agrees] = 0
            residual = torch.linalg.vector_norm(descent.operator.apply(low_rank) + sparse - descent.y).item() / norm
    if not target.any():  # what the descent leaves of its start is no answer
        low_rank, sparse = torch.zeros_like(low_rank), torch.zeros_like(sparse)
    sigma = torch.linalg.svdvals(low_rank)
    rank = int((sigma > 1e-3 * sigma[0]).sum())
    unknowns = rank * (rows + columns - rank)
    if solution != "exact" and not interrupted and len(target) < SURE * unknowns:
        solution = "underdetermined"
    return SenseResult(
        low_rank=(low_rank * scale).cpu().numpy(),
        sparse=(sparse * size).cpu().numpy(),
        rank=rank,
        unknowns=unknowns,
        residual=residual,
        solution=solution,
        steps=descent.steps,
        seconds=time.perf_counter() - start,
        device=str(device),
        converged=residual <= SETTLED,
        interrupted=interrupted,
    )


class _Sensing:
    """A descent as a job for :func:`doprestore.drive.drive`; the fast preset's ends when it has settled."""

    remedy = "use a smaller --tau"

    def __init__(self, descent: Descent, settings: MatrixSettings, norm: float):
        self.descent = descent
        self.steps = settings.steps
        self.step = descent.step
        self._settles = settings.preset == "fast"
        self._every = max(1, settings.steps // REPORTS)
        self._norm = norm

    @property
    def step_number(self) -> int:
        return self.descent.steps

    @property
    def residual(self) -> float:
        """‖r‖ / ‖y‖; infinite before the first step."""
        return 2 * math.sqrt(self.descent.loss.item()) / self._norm if self.step_number else math.inf

    @property
    def loss(self) -> float:
        return self.residual

    @property
    def done(self) -> bool:
        if self.step_number >= self.steps:
            return True
        # Looked at now and then: that makes a GPU wait.
        return self._settles and self.step_number % self._every == 0 and self.residual <= SETTLED

    def report(self) -> dict[str, str]:
        return {"stage": "descent"}

    def state_dict(self) -> State:
        return {"steps": self.step_number, **self.descent.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self.descent.load_state_dict(state, state["steps"])


def refit_measurements(
    operator: Operator, y: torch.Tensor, start: torch.Tensor, agrees: float = AGREES
) -> torch.Tensor | None:
    """Alternating least squares from ``start`` on the measurements within a falling threshold; None when not exact.

    agrees: what counts as agreement, in units of y. Kept only when many more measurements agree to rounding error than a
    matrix of that rank has unknowns: see
    :mod:`doprestore.matrix.refit`, of which this is the form for general measurements.
    """
    left, sigma, right = torch.linalg.svd(start, full_matrices=False)
    rank = guess_rank(sigma, 1e-3)
    rows, columns = start.shape
    unknowns = rank * (rows + columns - rank)
    if rank == 0 or SURE * unknowns > len(y):
        return None
    u, v = left[:, :rank] * sigma[:rank], right[:rank].T
    assert isinstance(operator, Stack)  # what :func:`_start` measures with
    a = operator.matrices
    threshold = math.inf
    for _ in range(REFIT_STEPS):
        error = (operator.apply(u @ v.T) - y).abs()
        floor = NOISE_FACTOR * error.quantile(0.3).item()
        threshold = max(floor, REFIT_DECAY * threshold, agrees) if threshold < math.inf else floor
        trusted = error <= threshold
        if int(trusted.sum()) < 1.2 * unknowns:
            return None
        design = torch.einsum("mij,jk->mik", a[trusted], v).flatten(1)  # (trusted, rows·rank)
        u = _least_squares(design, y[trusted]).reshape(rows, rank)
        u = torch.linalg.qr(u)[0]
        design = torch.einsum("mij,ik->mjk", a[trusted], u).flatten(1)
        v = _least_squares(design, y[trusted]).reshape(columns, rank)
        if threshold <= agrees:
            break
    agree = int(((operator.apply(u @ v.T) - y).abs() <= agrees).sum())
    return u @ v.T if agree >= SURE * unknowns else None


def _least_squares(design: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # A tiny ridge instead of a driver for deficient ranks, which exists on the CPU only.
    gram = design.T @ design
    gram.diagonal().add_(1e-14 * gram.diagonal().mean() + 1e-300)
    solution: torch.Tensor = torch.linalg.solve_ex(gram, design.T @ y)[0].nan_to_num(0.0, 0.0, 0.0)
    return solution


def _start(operator: Stack, y: torch.Tensor, settings: MatrixSettings, alpha: float) -> tuple[Descent, float, float]:
    """The descent, and the factors between its X and s and those asked for."""
    shape = (operator.matrices.shape[1], operator.matrices.shape[2])
    if settings.preset == "paper":
        assert settings.tau is not None and settings.init is not None  # that preset has both
        descent = Descent.start(operator, y, shape, alpha=alpha, tau=settings.tau, init=settings.init,
                                rank_bound=settings.rank_bound, symmetric=settings.symmetric,
                                seed=settings.seed)  # fmt: skip
        return descent, 1.0, 1.0
    # In units where A has norm 1 and the largest measurement is 1 or less.
    norm = operator.norm() or 1.0
    operator = Stack(operator.matrices / norm)
    scale = torch.linalg.vector_norm(y, math.inf).item() or 1.0
    back = torch.linalg.matrix_norm(operator.adjoint(y / scale), 2).item()
    # τ so that neither the largest direction of X nor the largest outlier oscillates: both curvatures are below 1/τ.
    tau = 0.2 / max(back, alpha, 1e-12)
    descent = Descent.start(operator, y / scale, shape, alpha=alpha, tau=tau, init=GAMMA, rank_bound=None,
                            symmetric=settings.symmetric, seed=settings.seed)  # fmt: skip
    descent.outliers = MirrorOutliers.zeros(descent.y, GAMMA)
    return descent, scale / norm, scale


def _checked(matrices: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray, float]:
    """A and y in float64, and how closely what is right must agree, in units of the largest measurement."""
    a, y = np.asarray(matrices), np.asarray(y)
    for name, array, dimensions in (("A", a, 3), ("y", y, 1)):
        if array.dtype.kind not in "biuf":
            raise InputError(f"{name} holds no real numbers; convert it to floats")
        if array.ndim != dimensions or array.size == 0:
            expected = "(m, rows, columns)" if dimensions == 3 else "(m,)"
            raise InputError(f"{name} has shape {array.shape}; it must be {expected}, not empty")
        if not np.isfinite(array).all():
            raise InputError(f"{name} holds NaN or infinite values; leave out those measurements")
    if len(a) != len(y):
        raise InputError(f"A has {len(a)} matrices and y has {len(y)} values; they must be as many")
    if not a.any():
        raise InputError("A is zero throughout: nothing was measured")
    single = any(array.dtype.kind == "f" and array.dtype.itemsize <= 4 for array in (a, y))
    return a.astype(np.float64), y.astype(np.float64), AGREES_SINGLE if single else AGREES
