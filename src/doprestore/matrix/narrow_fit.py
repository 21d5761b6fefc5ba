"""The noisy fit of a narrow table: one rank after the other, from below, each with a search for the fewest outliers.

What :mod:`doprestore.matrix.noise` does needs columns in plenty. Of 8 to 12 columns and 3 or 4 directions, a fit of the
wrong weights leaves residuals that are not white, and a direction more is always in sight. Here

1. the rows are searched (:mod:`doprestore.matrix.narrow`), and fitted by least squares on their good entries;
2. the columns weigh as their noise deserves, which is taken from the squares of the residuals without bias
   (:func:`doprestore.matrix.columns.unmixed_noise`), whatever the weights were;
3. a rank is tried only when the one before leaves more than noise: from the fit before and its largest direction, and where
   that leaves more than noise, too, from relations among few columns (:mod:`doprestore.matrix.relations`), which many
   outliers of one kind do not lead astray. The shorter description of the two goes on.

The first rank that leaves nothing but noise is the answer. Of a long table, so many rows are fitted to, and the others last.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from doprestore.matrix import narrow
from doprestore.matrix.columns import pooled, unmixed_noise
from doprestore.matrix.relations import from_relations
from doprestore.matrix.weighted import BETTER, FITTED, FLOOR_FALLS, PRICE, WeightedFit

# Over the ranges in brackets `tests/benchmarks/rpca_constants.py narrow_fit.NAME --seeds 6` meets as many, 19 of 24.
# Rounds of rows, columns and noise for a start, at most [8 to 32]; they have settled when no entry is judged otherwise and
# no noise changes by more than this (of its logarithm) [0.005 to 0.08].
ROUNDS, SETTLED = 16, 0.02
# Sweeps of least squares, columns and rows, in a round [1 to 6].
SWEEPS = 3
# A row with a good entry that is farther off than so many standard deviations [4 to 7] is not understood, and not fitted to,
# but at least this share of the rows is [0.4 to 0.75].
STRANGE, UNDERSTOOD = 5.0, 0.6
# What an entry that is not explained costs in a description of the table, in -2 log of a probability: any value within some
# ten times the spread of its column (4.6), of one entry in thirty (7) [9 to 15].
UNEXPLAINED = 11.6
# The largest singular value that the residual may have, in units of what noise has, for the rank to be enough: with less,
# chance adds a direction to some right fits of 100 x 8 [1.05 to 1.2; 4 is too much].
ENOUGH = 1.1

_STATE = ("u", "v", "noise", "good", "rows", "phase", "round", "top", "length", "floor", "done", "other")


class NarrowFit(WeightedFit):
    """Fit U Vᵀ to a table with at most :data:`doprestore.matrix.narrow.COLUMNS` rows or columns; see the module's text.

    Step until :attr:`done`, as for :class:`doprestore.matrix.noise.NoisyFit`. Until then ``u`` and ``good`` are of the rows
    that are fitted to.
    """

    def __init__(self, y: Tensor, known: Tensor | None):
        super().__init__(y, known)
        data, self.seen = self._rows(self.some)
        # A constant column has no spread.
        unit = self.base.maximum(1e-12 * (data * self.seen).abs().max())
        self.v = self.v * (self.unit / unit)[:, None]
        self.base, self.unit = unit, unit.clone()
        self.z = torch.where(self.seen, data / self.unit, 0)
        self.length = math.inf  # of a description of the table by this fit
        self.other: dict[str, Any] = {}  # what was found from the other start
        self._start(self.v)

    def lower_floor(self) -> None:
        """Go on with a lower floor of the noise."""
        self.floor /= FLOOR_FALLS
        self._start(self.v, self.noise)
        self.phase, self.done = "grow", False

    def step(self) -> None:
        """One round; after the last of a start, what comes next."""
        before = self.good, self.noise
        self._round()
        self.round += 1
        assert self.good is not None
        moved = (self.noise / before[1]).log().abs().max().item()
        same = before[0] is not None and before[0].shape == self.good.shape and torch.equal(before[0], self.good)
        if self.round < ROUNDS and (moved > SETTLED or not same):
            return
        self._look()
        if self.phase == "relations" and self.other["length"] < self.length:
            for name, value in self.other.items():
                setattr(self, name, value)
        elif self.phase == "grow" and not self._is_enough() and self.rank > 1:
            factor = from_relations(self.z, self.seen, self.rank)
            if factor is not None:
                self.other = {name: getattr(self, name) for name in ("u", "v", "noise", "good", "rows", "top", "length")}
                self.phase = "relations"
                self._start(factor)
                return
        if self._is_enough() or self.rank >= self.most:
            self._finish()
        else:
            self.phase = "grow"
            direction = torch.linalg.svd(self._residual().clamp(-STRANGE, STRANGE), full_matrices=False)[2][0]
            self._start(torch.cat([self.v, (direction * self.noise)[:, None]], dim=1), self.noise)

    def _is_enough(self) -> bool:
        """Whether the fit leaves no more than noise, or than the floor, which the next one would not see."""
        return self.top <= ENOUGH or self.at_floor

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])

    def _start(self, v: Tensor, noise: Tensor | None = None) -> None:
        """Begin from a column factor; noise None: what least absolute deviations leave."""
        self.v, self.round = v, 0
        self.u = self.z.new_zeros((len(self.z), v.shape[1]))
        self.good: Tensor | None = None
        self.rows = torch.ones(len(self.z), dtype=torch.bool, device=v.device)
        self.noise = self._wide_noise() if noise is None else noise

    def _round(self) -> None:
        """Search the rows, fit them, fit the columns to those that are understood, and take the noise from what is left."""
        near = self.seen
        if self.good is not None:
            near = self.seen & ((self.z - self.u @ self.v.T).abs() <= math.sqrt(PRICE) * self.noise)
        weights = self._column_weights()
        self.v = torch.linalg.qr(self.v * weights[:, None])[0] / weights[:, None]
        self.good = search(self.z, self.seen, near, self.v, self.noise)
        good = self.good.to(self.z)
        self.u, _ = _fit_rows(self.z, good, self.v, weights)
        far = ((self.z - self.u @ self.v.T).abs() / self.noise * good).amax(1)
        self.rows = (far <= max(STRANGE, far.quantile(UNDERSTOOD).item())) & (self.good.sum(1) > self.rank)
        good = good * self.rows[:, None]
        for _ in range(SWEEPS):
            self.v = self.v + self._columns_change(good)
            self.u, inverse = _fit_rows(self.z, good, self.v, weights)
        residual = good * (self.z - self.u @ self.v.T) * weights
        noise = unmixed_noise(residual, good, self.v * weights[:, None], inverse) / weights
        self.noise = self._pooled(noise, good.sum(0)).maximum(self.floor * self.base / self.unit)

    def _pooled(self, noise: Tensor, count: Tensor) -> Tensor:
        """Equal where columns differ no more than by chance: in units of the data or of their spread, as fits better."""
        freedom = count * (1 - self.rank / len(self.v))
        choices = [pooled(noise * unit, freedom) for unit in (self.unit, torch.ones_like(self.unit))]
        return choices[0][0] / self.unit if choices[0][1] <= choices[1][1] else choices[1][0]

    def _columns_change(self, good: Tensor) -> Tensor:
        """What least squares adds to the column factor, by the good entries, 0 or 1."""
        products = (self.u[:, :, None] * self.u[:, None, :]).flatten(1)
        gram = (good.T @ products).reshape(-1, self.rank, self.rank)
        diagonal = gram.diagonal(dim1=1, dim2=2)
        diagonal.add_(1e-9 * diagonal.mean() + 1e-300)
        left = good * (self.z - self.u @ self.v.T)
        return torch.nan_to_num(torch.linalg.solve_ex(gram, left.T @ self.u)[0])

    def _column_weights(self) -> Tensor:
        """1 / noise; but no column is much better than the typical one: it would be fitted alone, and then has no noise."""
        return 1 / self.noise.maximum(BETTER * self.noise.median())

    def _wide_noise(self) -> Tensor:
        """The noise of each column around the fit of the rows by least absolute deviations, to begin with."""
        weights = self.seen.to(self.z)
        size = self.z.abs()
        for _ in range(8):
            u, _ = _fit_rows(self.z, weights, self.v, torch.ones_like(self.base))
            size = (self.z - u @ self.v.T).abs()
            weights = self.seen / (size + 0.1 * size[self.seen].median() + 1e-12)
        # Of each row, as many entries are met exactly as there are directions.
        share = min(0.9, 0.5 + 0.5 * self.rank / len(self.v))
        spread = 1.5 * torch.nanquantile(size.masked_fill(~self.seen, math.nan), share, dim=0)
        spread = torch.nan_to_num(spread, nan=torch.nanmedian(spread).item())
        return spread.maximum(1e-3 * spread.median()).maximum(self.floor * self.base / self.unit)

    def _residual(self) -> Tensor:
        """What is left of the good entries of the rows that are understood, in units of the noise."""
        assert self.good is not None
        return (self.z - self.u @ self.v.T) / self.noise * (self.good & self.rows[:, None])

    def _look(self) -> None:
        """Is there more than noise left, and how long is a description of the table?"""
        assert self.good is not None
        residual = self._residual()
        used = self.good & self.rows[:, None]
        noise = math.sqrt(int(used.sum(0).max())) + math.sqrt(max(0, int(used.sum(1).max()) - self.rank))
        self.top = torch.linalg.matrix_norm(residual, 2).item() / max(noise, 1)
        explained = residual.square() + math.log(2 * math.pi) + 2 * (self.noise * self.unit / self.base).log()
        unexplained = UNEXPLAINED * (int(self.seen.sum()) - int(used.sum()))
        self.length = (explained * used).sum().item() + unexplained

    def _finish(self) -> None:
        """Fit and judge all rows."""
        weights = self._column_weights()
        us, goods = [], []
        for _, values, seen in self._blocks():
            z = torch.where(seen, values, 0)
            u, _ = _fit_rows(z, seen.to(z), self.v, weights)
            near = seen & ((z - u @ self.v.T).abs() <= FITTED * self.noise)
            good = search(z, seen, near, self.v, self.noise)
            us.append(_fit_rows(z, good.to(z), self.v, weights)[0])
            goods.append(good)
        self.u, self.good, self.other = torch.cat(us), torch.cat(goods), {}
        self.done = True


def search(z: Tensor, seen: Tensor, near: Tensor, v: Tensor, noise: Tensor) -> Tensor:
    """The good entries of each row: by leaving out few; in rows that this does not explain, by what agrees with most others.

    z, seen: (rows, columns), the data and where it is known. near: as ``start`` of :func:`narrow.fewest_outliers`. v: the
    column factor (columns, rank). noise: (columns,).
    """
    good = narrow.fewest_outliers(z, seen, near, v, noise, PRICE) & seen
    u, _ = _fit_rows(z, good.to(z), v, 1 / noise)
    far = ((z - u @ v.T).abs() / noise * good).amax(1) > STRANGE
    many = (seen & ~good).sum(1) >= max(2, (len(v) - v.shape[1]) // 2)
    hard = (far | many).nonzero()[:, 0]
    if len(hard):
        agreeing = narrow.most_agreement(z[hard], seen[hard], v, noise, PRICE)
        good[hard] = narrow.cheaper(z[hard], seen[hard], good[hard], agreeing, v, noise, PRICE)
    return good


def _fit_rows(z: Tensor, good: Tensor, v: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The least-squares fit (rows, rank) of each row on ``v`` over its good entries, 0 or 1, where columns count for as
    much as ``weights``; and the inverse of its Gram matrix (rows, rank, rank)."""
    rank = v.shape[1]
    factor = v * weights[:, None]
    gram = (good @ (factor[:, :, None] * factor[:, None, :]).flatten(1)).reshape(-1, rank, rank)
    gram.diagonal(dim1=1, dim2=2).add_(1e-9 * factor.square().sum() / rank + 1e-300)
    inverse = torch.linalg.inv(gram)
    return torch.einsum("rij,rj->ri", inverse, (good * z * weights) @ factor), inverse
