"""The convex program (8): min ‖X‖_* + λ‖s‖_1 subject to A(X) + s = y (and X ⪰ 0), the limit of the flow of eq. (6).

:class:`ConvexRPCA` (A = the known entries) is the last resort of the fast solver, by the alternating direction method of
multipliers: Candès, Li, Ma, Wright, "Robust principal component analysis?", JACM 2011, algorithm 1. The yardstick for it,
for any A and by another method, is :func:`doprestore.baselines.robust_pca.convex_program`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# The relative residual from which on the penalty grows: a larger one ends sooner and farther from the optimum.
GROW_BELOW = 1e-4
# After so many steps the penalty grows in any case.
GROW_AFTER = 100
# The largest entry in float32; what is larger is cut off until float64 takes over.
LARGEST = 1e12
# From so many rows and columns on, only the leading singular vectors are computed.
PARTIAL_FROM = 400

_STATE = ("mu", "growing", "rank", "steps", "primal", "change")


class ConvexRPCA:
    """(8) for the known entries of ``y`` (rows, columns); ``known`` None: all. psd: X ⪰ 0, for square y.

    The multiplier equals μ·``dual``; s is never stored. ``primal`` and ``change`` are ‖y − X − s‖_F and the last
    step's ‖ΔX‖_F, both relative to the norm of the clipped y; :attr:`done` once both are at most ``tolerance``.
    growth: of the penalty per step, once both are below GROW_BELOW; 1 finds the optimum itself, more ends sooner and
    very near it. coarse: compute in float32 until then. clip: larger entries must not set the scale.
    """

    def __init__(self, y: Tensor, known: Tensor | None, lam: float, *, psd: bool = False, tolerance: float = 1e-7,
                 growth: float = 1.0, coarse: bool = False, clip: float = math.inf, seed: int = 0):  # fmt: skip
        self.target = y
        # Only clipped differences from y enter the computation, so that large entries cost no precision.
        y = self.y = y.float().clamp_(-LARGEST, LARGEST) if coarse else y
        self.known = known
        self.lam = lam
        self.psd = psd
        self.tolerance = max(tolerance, 8 * torch.finfo(self.target.dtype).eps)  # nothing settles below rounding
        self.growth = growth
        self.growing = False
        clipped = y.clamp(-clip, clip)
        tiny = torch.finfo(y.dtype).tiny
        self.mu = y.numel() / (4 * max(torch.linalg.vector_norm(clipped, 1).item(), tiny))
        self.norm = max(torch.linalg.vector_norm(clipped).item(), tiny)
        del clipped
        self.low_rank = torch.zeros_like(y)
        self.dual = torch.zeros_like(y)
        self.rank = 0
        self.steps = 0
        self.primal = self.change = math.inf
        self._spare, self._target = torch.empty_like(y), torch.empty_like(y)
        self._basis: Tensor | None = None
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def done(self) -> bool:
        return self.y is self.target and max(self.primal, self.change) <= self.tolerance

    def step(self) -> None:
        # With w = y − X + dual, the update of s is soft(w, λ/μ), and the new dual is w − s = clip(w, λ/μ).
        w = torch.sub(self.y, self.low_rank, out=self._spare).add_(self.dual)
        clipped = w.clamp_(-self.lam / self.mu, self.lam / self.mu)
        if self.known is not None:
            clipped.mul_(self.known)  # a missing entry costs nothing: s takes up all of it
        # y − X − s = clipped − dual, and the next X is the shrinkage of y − s + clipped = X − dual + 2 clipped.
        target = torch.sub(self.low_rank, self.dual, out=self._target).add_(clipped, alpha=2)
        self.primal = torch.linalg.vector_norm(self.dual.sub_(clipped)).item() / self.norm
        self.dual, free = clipped, self.dual
        left, right = self._shrink(target)
        low_rank = torch.mm(left, right.T, out=free)
        self.change = torch.linalg.vector_norm(self.low_rank.sub_(low_rank)).item() / self.norm
        self.low_rank, self._spare = low_rank, self.low_rank
        self.steps += 1
        if not self.growing and (max(self.primal, self.change) <= GROW_BELOW or self.steps >= GROW_AFTER):
            self.growing = True
            self._refine()
        if self.growing and self.growth > 1:
            self._scale_penalty(self.growth)
        elif self.steps % 10 == 0 and self.steps <= GROW_AFTER:
            self._balance()

    def _refine(self) -> None:
        """Go on in the precision of the data."""
        if self.y is self.target:
            return
        y = self.y = self.target
        del self._spare, self._target  # first, so that the old memory is gone before the new comes
        self.low_rank, self.dual = self.low_rank.to(y), self.dual.to(y)
        self._basis = None if self._basis is None else self._basis.to(y)
        self._spare, self._target = torch.empty_like(y), torch.empty_like(y)

    def sparse(self) -> Tensor:
        """s of the last step: zero wherever the multiplier is inside its bounds."""
        s = torch.sub(self.target, self.low_rank)
        s.masked_fill_(self.dual.abs() < self.lam / self.mu * (1 - 1e-6), 0)
        return s if self.known is None else s.mul_(self.known)

    def state_dict(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in _STATE}
        return {"low_rank": self.low_rank, "dual": self.dual, "basis": self._basis,
                "generator": self._generator.get_state(), **numbers}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["growing"]:
            self._refine()
        self.low_rank, self.dual = state["low_rank"].to(self.y), state["dual"].to(self.y)
        self._basis = None if state["basis"] is None else state["basis"].to(self.y)
        self._generator.set_state(state["generator"])
        for name in _STATE:
            setattr(self, name, state[name])

    def _balance(self) -> None:
        """Keep the two residuals within a factor 5 of each other (Boyd et al., 2011, section 3.4.1)."""
        ratio = self.primal / max(self.change, 1e-300)
        self._scale_penalty(1.5 if ratio > 5 else 1 / 1.5 if ratio < 0.2 else 1.0)

    def _scale_penalty(self, factor: float) -> None:
        self.mu *= factor
        self.dual /= factor  # the multiplier μ·dual stays

    def _shrink(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two factors, left rightᵀ, of x with its singular values (psd: its eigenvalues) soft-thresholded at 1/μ."""
        threshold = 1 / self.mu
        if self.psd:
            values, vectors = torch.linalg.eigh((x + x.T).div_(2).double())
            values = (values - threshold).clamp_min(0)
            self.rank = int((values > 0).sum())
            vectors = vectors[:, values > 0].to(x.dtype)
            return vectors * values[values > 0].to(x.dtype), vectors
        if x.shape[0] < x.shape[1]:
            right, left = self._shrink_tall(x.T, threshold)
            return left, right
        return self._shrink_tall(x, threshold)

    def _shrink_tall(self, x: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
        columns = x.shape[1]
        partial = self.rank + 10
        while columns >= PARTIAL_FROM and self.steps > 0 and partial < columns // 4:
            if self._basis is None or self._basis.shape[1] < partial:
                extra = partial - (0 if self._basis is None else self._basis.shape[1])
                fresh = torch.randn((columns, extra), generator=self._generator).to(x)
                self._basis = fresh if self._basis is None else torch.cat([self._basis, fresh], dim=1)
            left = torch.linalg.qr(x @ self._basis)[0]
            right, sigma, a = torch.linalg.svd(x.T @ left, full_matrices=False)
            self._basis = right
            if sigma[-1] < threshold:
                return self._assemble(left @ a.T, sigma, right, threshold)
            partial = 2 * partial
        self._basis = None
        if columns < 100:
            u, sigma, vt = torch.linalg.svd(x.double(), full_matrices=False)
            return self._assemble(u.to(x.dtype), sigma.to(x.dtype), vt.T.to(x.dtype), threshold)
        # The Gram matrix in float64, by blocks of rows so that no float64 copy of a float32 x is made.
        gram = torch.zeros((columns, columns), dtype=torch.float64, device=x.device)
        for rows in x.split(max(columns, 1024)):
            block = rows.double()
            gram.addmm_(block.T, block)
        values, vectors = torch.linalg.eigh(gram)
        above = values > threshold**2
        self.rank = int(above.sum())
        sigma, v = values[above].sqrt(), vectors[:, above]
        shrunk = (v * (1 - threshold / sigma)).to(x.dtype)
        return x @ shrunk, v.to(x.dtype)

    def _assemble(self, u: Tensor, sigma: Tensor, v: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
        above = sigma > threshold
        self.rank = int(above.sum())
        return u[:, above] * (sigma[above] - threshold), v[:, above]
