"""Exact values once the outliers are all but named: refit the low-rank part on the trusted entries alone.

The outliers and the rank come from the flow. Each step drops the entries whose residual exceeds a threshold, moves
L = U Vᵀ towards the others (one alternating least-squares step on the completed matrix, over-relaxed for the
dropped share), and lowers the threshold by a fixed factor, but not below dense noise. With exact data
this converges linearly to rounding error.

Lowered too fast, the threshold drops good entries for ever, and the fit looks perfect on what is left. Hence the
evidence (:mod:`doprestore.matrix.evidence`): every row and every column must hold more entries that agree exactly than it
has unknowns, which a wrong L does not achieve by chance.

The scheme is the alternating projection of Netrapalli et al., "Non-convex robust PCA", NeurIPS 2014, with the rank and
the start from the flow and the threshold from the residuals.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.limits import NOISE_FACTOR, line_limits, line_quantiles, quantile, some_lines
from doprestore.matrix.linalg import psd_part

# Over the ranges in brackets `tests/benchmarks/rpca_constants.py refit.NAME --seeds 2` solves the same 16 problems.
# Entries that quantiles are estimated from [2000 to 32 000].
SAMPLE = 8_000
# A row or column with so many times the median residual is solved by itself [2 to 8].
SLOW = 4.0
# How closely right entries agree, in units of a typical entry.
AGREES = {torch.float32: 2e-5, torch.float64: 1e-10}
# Lines that are solved by themselves at a time.
AT_ONCE = 4
# Steps in which neither the threshold falls by 1 % nor the noise to 2 % below its least: a fit of the wrong rank goes round
# in circles, and a good one pauses while entries come back.
STILL = 10
# Steps at most: a fit of the wrong rank may go round in circles; at the slowest decay exact ones need 250.
MOST_STEPS = 300

# All lines are solved by themselves once the share of dropped entries changes by no more than this from step to step, the
# threshold is below so many typical entries, and the entries times the rank squared are no more than so many. Only where no
# entry is missing: of 200 x 200 with 20 % saturated, a fit with a direction too many came to an exact end, and was believed.
SETTLED, NEAR, DIRECT = 0.002, 0.01, 2_000_000

_STATE = ("decay", "scale", "threshold", "noise", "share", "steps", "still", "patience", "least", "settled", "done")


class Refit:
    """Fit U Vᵀ of a fixed rank to ``y`` (rows, columns) without its outliers.

    u, sigma, v: the start, of that rank. decay: the factor of the threshold per step, smaller is faster and riskier.
    ``coarse``: y in float32, used until the error is near float32's precision (None: only ``y``).
    """

    def __init__(self, y: Tensor, coarse: Tensor | None, known: Tensor | None, sample: Tensor,
                 u: Tensor, sigma: Tensor, v: Tensor, decay: float):  # fmt: skip
        self.target = y
        self.y = y if coarse is None else coarse
        self.known = known
        self.sample = sample
        self.u = (u * sigma).to(self.y.dtype)  # (rows, rank), carries the scale
        self.v = v.to(self.y.dtype).contiguous()  # (columns, rank), orthonormal
        self.decay = decay
        self.scale = float(torch.linalg.vector_norm(sigma)) / math.sqrt(y.numel())  # of a typical entry
        self.total = y.numel() if known is None else int(torch.count_nonzero(known))
        generator = torch.Generator().manual_seed(len(sample))
        self.some_rows = some_lines(y.shape[0], generator, y.device)
        self.some_columns = some_lines(y.shape[1], generator, y.device)
        self.threshold = math.inf
        self.noise = math.inf  # root mean square of the trusted residuals
        self.share = 1.0  # of the known entries that are dropped
        self.steps = 0
        self.still = 0  # steps without progress
        self.patience = STILL
        self.least = math.inf  # the noise so far
        self.settled = False  # what is dropped is all but known
        self.done = False
        self.misread: tuple[Tensor, Tensor] | None = None  # the rows and columns, bool, that may be, of an exact fit
        self._r: Tensor | None = None  # working memory: fresh memory at every step would cost more than the step

    @property
    def rank(self) -> int:
        return self.u.shape[1]

    @property
    def tolerance(self) -> float:
        """How closely an entry agrees with an exact fit, in units of the data."""
        return AGREES[self.target.dtype] * self.scale

    def step(self) -> None:
        self.steps += 1
        r = self._residual(self.y, self.u, self.v)
        floor = NOISE_FACTOR * quantile(r.reshape(-1)[self.sample].abs(), 0.3)
        before, noise_before, share_before = self.threshold, self.noise, self.share
        floor = max(floor, AGREES[self.y.dtype] * self.scale)
        if before == math.inf:
            self.threshold = floor
        else:
            self.threshold = min(before, max(floor, self.decay * before))
        bad = self._drop(r)
        direct = self.settled
        if noise_before < math.inf and not direct:
            self._solve_slow_lines(r, bad)
        trusted = self.total - int(torch.count_nonzero(bad))
        self.share = 1 - trusted / self.total
        self.noise = torch.linalg.vector_norm(r).item() / math.sqrt(max(trusted, 1))
        self.settled = (
            self.known is None
            and abs(self.share - share_before) <= SETTLED
            and self.threshold <= NEAR * self.scale
            and self.y.numel() * self.rank**2 <= DIRECT
        )
        if direct:
            self._solve_all_lines(r, bad)
        else:
            self._relax(r, r.numel() / max(trusted, r.numel() // 20))
        self._finish(before, share_before)

    def _relax(self, r: Tensor, relax: float) -> None:
        """One step of alternating least squares on the completed matrix."""
        u, _ = torch.linalg.qr(torch.addmm(self.u, r, self.v, alpha=relax))
        v = self.v @ (self.u.T @ u) + relax * (u.T @ r).T  # twice as fast as r.T @ u
        self.v, triangle = torch.linalg.qr(v)
        self.u = u @ triangle.T

    def _solve_all_lines(self, r: Tensor, bad: Tensor) -> None:
        """One step of alternating least squares on the trusted entries alone, which costs rank² times the entries, and comes
        nearer by a factor of 6 where the other does by 2 (30 % outliers)."""
        weights = (~bad).to(r.dtype)
        self.u = self.u + _least_squares(weights, r, self.v)
        self.u, triangle = torch.linalg.qr(self.u)
        self.v = self.v @ triangle.T
        r = (self.y - self.u @ self.v.T).mul_(weights)
        self.v = self.v + _least_squares(weights.T, r.T, self.u)
        self.v, triangle = torch.linalg.qr(self.v)
        self.u = self.u @ triangle.T

    def _drop(self, r: Tensor) -> Tensor:
        """Set to 0 in ``r`` the entries above the threshold and above their row's and column's own limit.

        Return where, bool (rows, columns). A row or column that is still badly fitted as a whole would lose all its
        entries to the common threshold.
        """
        known, across, down = self.known, self.some_columns, self.some_rows
        rows = line_limits(r[:, across].abs(), None if known is None else known[:, across], self.threshold)
        columns = line_limits(r[down].T.abs(), None if known is None else known[down].T, self.threshold)
        bad = torch.empty(r.shape, dtype=torch.bool, device=r.device)
        for residual, where, limits in zip(blocks(r), blocks(bad), blocks(rows[:, None], r), strict=True):
            torch.gt(residual.abs(), torch.maximum(limits, columns), out=where)
            residual.masked_fill_(where, 0)
        return bad

    def _solve_slow_lines(self, r: Tensor, bad: Tensor) -> None:
        """Solve the few worst rows, then columns, by themselves on their trusted entries; updates ``r`` to match.

        A line with few trusted entries converges slower than all others, and would hold up the whole fit.
        """
        for transposed in (False, True):
            residual, dropped, y, known, mine, other = (r, bad, self.y, self.known, self.u, self.v)
            if transposed:
                known = None if known is None else known.T
                residual, dropped, y, mine, other = r.T, bad.T, self.y.T, self.v, self.u
            # Over all entries: a single outlier that is still trusted holds a line up, and a sample would miss it.
            if transposed:
                # 20 times as fast as vector_norm
                squares = r.new_zeros(r.shape[1])
                for block in blocks(r):
                    squares += block.square().sum(0)
                size = squares.sqrt()
            else:
                size = torch.linalg.vector_norm(r, dim=1)
            count = size.numel()
            most, worst = size.topk(min(max(4, count // 50), count))
            worst = worst[most > SLOW * size.median()]
            if worst.numel() == 0:
                continue
            trusted = ~dropped[worst]
            if known is not None:
                trusted &= known[worst]
            trusted = trusted.to(y.dtype)  # (lines, entries)
            # Weighted as for least absolute values, and judged afresh: else a line that trusts outliers keeps them.
            weights = trusted / (residual[worst].abs() + self.threshold)
            # (lines, rank, rank), of a few lines at a time: what stands between is rank times as large as these.
            gram = torch.cat([(some[:, None] * other.T) @ other for some in weights.split(AT_ONCE)])
            ridge = gram.diagonal(dim1=1, dim2=2)
            ridge += 1e-12 * ridge.mean(1, keepdim=True) + torch.finfo(y.dtype).tiny
            # What is left is solved for, not the line itself: the ridge, which weighs as much as a weak direction where
            # another is a million times as strong (a large mean), then costs steps and no precision.
            change, failed = torch.linalg.solve_ex(gram, (weights * residual[worst]) @ other)
            # A line with fewer trusted entries than unknowns may have no solution: it gets none, and says so later.
            solved = mine[worst] + change
            solved = torch.where((failed == 0)[:, None] & torch.isfinite(solved), solved, mine[worst])
            mine[worst] = solved
            left = trusted * (y[worst] - mine[worst] @ other.T)
            size = left.abs()
            limits = NOISE_FACTOR * line_quantiles(size, trusted > 0)
            left.masked_fill_(size > limits.clamp_min_(self.threshold)[:, None], 0)
            residual[worst] = left

    def make_psd(self) -> None:
        """Replace the fit by the positive semidefinite part of its symmetric part."""
        values, self.v = psd_part(self.u, self.v)
        self.u = self.v * values

    def release(self) -> None:
        """Give the working memory back until it is needed again."""
        self._r = None

    def residual(self) -> Tensor:
        """y − U Vᵀ on the known entries, 0 elsewhere, in the precision of y; overwritten by the next call and step."""
        return self._residual(self.target, self.u.to(self.target.dtype), self.v.to(self.target.dtype))

    def _residual(self, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
        if self._r is None or self._r.dtype != y.dtype:
            self._r = None  # first, so that the old one is gone before the new one comes
            self._r = torch.empty_like(y)
        torch.addmm(y, u, v.T, alpha=-1, out=self._r)
        return self._r if self.known is None else self._r.mul_(self.known)

    def state_dict(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in _STATE}
        return {"u": self.u, "v": self.v, "coarse": self.y is not self.target, "misread": self.misread, **numbers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not state["coarse"]:
            self.y = self.target
        self.u, self.v = state["u"].to(self.y), state["v"].to(self.y)
        if state["misread"] is not None:
            rows, columns = state["misread"]
            self.misread = rows.to(self.y.device), columns.to(self.y.device)
        for name in _STATE:
            setattr(self, name, state[name])

    def _finish(self, before: float, share_before: float) -> None:
        """Go on in full precision, or end, once nothing moves any more."""
        tolerance = AGREES[self.y.dtype] * self.scale
        moves = self.threshold <= 0.99 * before or self.noise <= 0.98 * self.least
        self.still = 0 if moves else self.still + 1
        self.least = min(self.least, self.noise)
        exact = self.noise < 0.02 * tolerance and self.share >= share_before  # no entry is still coming back
        if self.steps >= MOST_STEPS:
            self.done = True
        elif self.y.dtype != self.target.dtype and (self.threshold < 20 * tolerance or self.noise < tolerance):
            self.y = self.target
            self.u, self.v = self.u.to(self.y.dtype), self.v.to(self.y.dtype)
            self.still, self.least = 0, math.inf
        else:
            self.done = exact or self.still >= self.patience or not math.isfinite(self.noise)


def _least_squares(weights: Tensor, r: Tensor, v: Tensor) -> Tensor:
    """(lines, rank): the change of each line by which ``v`` (entries, rank) fits what is left in ``r`` (lines, entries)."""
    rank = v.shape[1]
    gram = (weights @ (v[:, :, None] * v[:, None, :]).flatten(1)).reshape(-1, rank, rank)
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal += 1e-12 * diagonal.mean(1, keepdim=True) + torch.finfo(v.dtype).tiny
    change, failed = torch.linalg.solve_ex(gram, r @ v)
    return torch.where((failed == 0)[:, None] & torch.isfinite(change), change, 0)


def some_entries(known: Tensor | None, total: int, generator: torch.Generator) -> Tensor:
    """Flat positions of up to SAMPLE known entries; a list of all positions would cost more memory than y itself."""
    if total <= SAMPLE:
        return torch.arange(total) if known is None else known.reshape(-1).nonzero()[:, 0].cpu()
    positions = torch.randint(total, (SAMPLE,), generator=generator)
    if known is None:
        return positions
    known = known.reshape(-1).cpu()
    chosen = positions[known[positions]]
    return chosen if len(chosen) > SAMPLE // 20 else known.nonzero()[:, 0]
