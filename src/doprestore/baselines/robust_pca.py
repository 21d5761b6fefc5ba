"""The matrix methods that the paper compares with: factorisation with an l1 loss, and the convex program.

Both take an ``operator`` with ``apply`` (matrix -> measurements) and ``adjoint`` (back); None is the
identity, where the measurements are the matrix itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Operator(Protocol):
    """A linear map from (n, m) matrices to measurements of any shape."""

    def apply(self, x: Tensor) -> Tensor: ...

    def adjoint(self, y: Tensor) -> Tensor: ...


class _Identity:
    def apply(self, x: Tensor) -> Tensor:
        return x

    adjoint = apply


def factorisation_l1(
    y: Tensor,
    rank: int,
    *,
    operator: Operator | None = None,
    steps: int = 2000,
    rate: float = 0.5,
    final_rate: float = 1e-6,
    seed: int = 0,
    report: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """min over U (n, rank) of ‖A(U Uᵀ) − y‖_1, eq. (2), by the subgradient method; returns U Uᵀ (n, n).

    Each step moves U against A*(sign(A(U Uᵀ) − y)) U, scaled to the length ``rate`` · ‖U‖_F / sqrt(rank); the
    rate falls geometrically to ``final_rate``, as in Li, Zhu, So, Vidal, "Nonconvex robust low-rank matrix
    recovery", 2020, doi:10.1137/18M1224738, which converges linearly at the exact rank. With rank = n the
    loss can be driven to zero by fitting the outliers: the overfitting that the paper is about.

    ``report`` receives the step number and the current U Uᵀ.
    """
    operator = operator or _Identity()
    n = operator.adjoint(y).shape[0]
    generator = torch.Generator().manual_seed(seed)
    # As large as the data: E‖U Uᵀ‖ for standard normal U would not know the unit of y.
    scale = operator.adjoint(y).abs().median().sqrt() / rank**0.25
    u = torch.randn(n, rank, generator=generator, dtype=y.dtype).to(y.device) * scale
    shrink = (final_rate / rate) ** (1 / max(1, steps - 1))
    for step in range(steps):
        slope = operator.adjoint((operator.apply(u @ u.T) - y).sign())
        direction = (slope + slope.T) @ u
        length = rate * shrink**step * u.norm() / math.sqrt(rank)
        u = u - direction * (length / direction.norm().clamp(min=torch.finfo(y.dtype).tiny))
        if report is not None:
            report(step + 1, u @ u.T)
    gram: Tensor = u @ u.T
    return gram


class ConvexSplit(NamedTuple):
    """A solution of (8); ``mu`` is the penalty it was solved at."""

    low_rank: Tensor
    sparse: Tensor
    steps: int
    converged: bool
    mu: float


def convex_program(
    y: Tensor,
    weight: float | None = None,
    *,
    operator: Operator | None = None,
    psd: bool = False,
    relative_mu: float = 1e-5,
    steps: int = 5000,
    tolerance: float = 1e-3,
) -> ConvexSplit:
    """min ‖X‖_* + weight · ‖s‖_1 subject to A(X) + s = y, eq. (8), by accelerated proximal gradient.

    Solves min mu ‖X‖_* + mu · weight ‖s‖_1 + 1/2 ‖A(X) + s − y‖² for a falling mu, each from the last, down to
    ``relative_mu`` times the spectral norm of A*(y): Lin, Ganesh, Wright, Wu, Chen, Ma, "Fast convex optimization
    algorithms for exact recovery of a corrupted low-rank matrix", 2009. The solution differs from that of
    eq. (8) in proportion to mu.

    weight: λ, by default 1/sqrt of the longer side of X. psd: also require X ⪰ 0 (then X must be square).
    tolerance: of the last mu's optimality residual, as a share of the dual variable (y − A(X) − s) / mu;
    ``converged`` says whether it was reached within ``steps``.
    """
    operator = operator or _Identity()
    back = operator.adjoint(y)
    if weight is None:
        weight = 1 / math.sqrt(max(back.shape))
    shrink_matrix = _shrink_psd if psd else _shrink_singular_values
    lipschitz = _squared_norm(operator, back) + 1  # of the gradient of 1/2 ‖A(X) + s − y‖² in (X, s)
    mu = torch.linalg.matrix_norm(back, 2).item()
    final_mu = mu * relative_mu
    x, s = torch.zeros_like(back), torch.zeros_like(y)
    x_ahead, s_ahead, momentum = x, s, 1.0
    step, converged = 0, mu == 0
    while step < steps and not converged:
        step += 1
        residual = operator.apply(x_ahead) + s_ahead - y
        x_new = shrink_matrix(x_ahead - operator.adjoint(residual) / lipschitz, mu / lipschitz)
        s_new = _shrink(s_ahead - residual / lipschitz, mu * weight / lipschitz)
        # The subgradient of the objective at the new point that the proximal step leaves: zero at the optimum.
        dx, ds = x_ahead - x_new, s_ahead - s_new
        change = operator.apply(dx) + ds
        error = math.hypot((lipschitz * dx - operator.adjoint(change)).norm(), (lipschitz * ds - change).norm())
        dual = (residual - change).norm().item()  # mu times the dual variable
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        x_ahead = x_new + (momentum - 1) / following * (x_new - x)
        s_ahead = s_new + (momentum - 1) / following * (s_new - s)
        x, s, momentum = x_new, s_new, following
        if mu == final_mu:
            converged = error <= tolerance * dual
        elif error <= 0.01 * dual:
            mu = max(0.8 * mu, final_mu)
    return ConvexSplit(x, s, step, converged, final_mu)


def _shrink(x: Tensor, by: float) -> Tensor:
    return x.sign() * (x.abs() - by).clamp(min=0)


def _shrink_singular_values(x: Tensor, by: float) -> Tensor:
    try:
        u, values, vt = torch.linalg.svd(x, full_matrices=False)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        # LAPACK's divide and conquer fails on a rare matrix, not on its transpose.
        v, values, ut = torch.linalg.svd(x.T, full_matrices=False)
        u, vt = ut.T, v.T
    shrunk: Tensor = (u * (values - by).clamp(min=0)) @ vt
    return shrunk


def _shrink_psd(x: Tensor, by: float) -> Tensor:
    values, vectors = torch.linalg.eigh((x + x.T) / 2)
    shrunk: Tensor = (vectors * (values - by).clamp(min=0)) @ vectors.T
    return shrunk


def _squared_norm(operator: Operator, like: Tensor) -> float:
    """‖A‖² by power iteration, from above by a safety factor unless A is the identity."""
    if isinstance(operator, _Identity):
        return 1.0
    x = torch.randn(like.shape, generator=torch.Generator().manual_seed(0), dtype=like.dtype).to(like.device)
    for _ in range(50):
        x = operator.adjoint(operator.apply(x / x.norm()))
    return 1.05 * float(x.norm())
