"""Rows of a narrow table, solved for the fewest outliers.

In a row of 8 entries with 3 unknowns, one outlier tilts what an M-estimate makes of the other 7, and good entries look
wrong in its stead. So few entries can be searched: for every set S of up to a few of them, leave S out, fit the rest by
least squares, and take the set for which

    the sum of squares over the rest, in standard deviations of the noise, plus a price for each entry in S

is least (least squares with an ℓ0 penalty: an outlier of unknown size costs the price, whatever its size).
"""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations

import torch
from torch import Tensor

# A table of up to so many columns is narrow; beyond, there are too many sets, and M-estimates are good enough.
COLUMNS = 16
# Sets of entries that are tried for a row at most, of one size all or none [250 to 4000: the same, by
# `tests/benchmarks/rpca_constants.py narrow.SETS 250 4000 --seeds 6`].
SETS = 1000
# Residuals, of rows by sets by columns, that are worked on at a time: 16 MB.
AT_ONCE = 2**21


def fewest_outliers(z: Tensor, seen: Tensor, start: Tensor, v: Tensor, noise: Tensor, price: float) -> Tensor:
    """Which entries of ``z`` (rows, columns) are good, bool, given the column factor ``v`` (columns, rank).

    seen: the known entries. start: bool, a set of good ones for each row, which is tried, too: where there are more
    outliers than can be searched for, an M-estimate may have found them. noise: (columns,) standard deviations. price: of an
    outlier, in squared standard deviations.
    """
    scaled, factor = z / noise, v / noise[:, None]
    good = seen.clone()
    # Where all entries together cost less than one outlier, no set can be better.
    doubtful = (_least_squares(scaled, seen, factor) > price).nonzero()[:, 0]
    patterns, which = torch.unique(seen[doubtful], dim=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        columns = pattern.nonzero()[:, 0]
        if len(columns) == 0:
            continue
        rows = doubtful[which == index]
        # With more outliers than that, another fit may agree with as many entries.
        sets = _sets(len(columns), max(0, len(columns) - v.shape[1]) // 2).to(z.device)
        wide = _residual_makers(factor[columns], sets).permute(1, 0, 2).flatten(1)  # (columns, sets·columns)
        prices = price * (~sets).sum(1)
        for some in rows.split(max(1, AT_ONCE // wide.shape[1])):
            part = scaled[some][:, columns]
            squares = (part @ wide).square().reshape(len(part), len(sets), len(columns)).sum(2)
            costs, best = (squares + prices).min(dim=1)
            given = start[some][:, columns]
            cost = _least_squares(part, given, factor[columns]) + price * (~given).sum(1)
            good[some[:, None], columns] = torch.where((costs <= cost)[:, None], sets[best], given)
    return good


def most_agreement(z: Tensor, seen: Tensor, v: Tensor, noise: Tensor, price: float) -> Tensor:
    """The same for rows with more outliers than can be left out one by one: as many entries as there are unknowns are taken
    to be good, in all ways (or up to SETS of them), and those that the rest of the row agrees with best are believed.
    """
    columns, rank = v.shape
    scaled, factor = z / noise, v / noise[:, None]
    few = _few(columns, rank).to(z.device)
    inverse, failed = torch.linalg.inv_ex(factor[few])
    makers = torch.where((failed == 0)[:, None, None], factor @ inverse, 0)  # (sets, columns, rank)
    spread = 1 + makers.square().sum(2)
    good = torch.zeros_like(seen)
    for some in torch.arange(len(z), device=z.device).split(max(1, AT_ONCE // (len(few) * columns))):
        predicted = torch.einsum("scr,nsr->nsc", makers, scaled[some][:, few])
        off = (scaled[some, None] - predicted).square() / spread
        # Entries that barely determine a row agree with everything, but say little.
        cost = ((off + spread.log()).clamp_max(price) * seen[some, None]).sum(2)
        best = cost.masked_fill(~seen[some][:, few].all(2), math.inf).argmin(1)
        good[some] = (off[torch.arange(len(some)), best] <= price) & seen[some]
    for _ in range(2):
        inverse = torch.linalg.inv(_grams(good.to(z), factor))
        u = torch.einsum("rij,rj->ri", inverse, (good * scaled) @ factor)
        leverage = torch.einsum("ci,rij,cj->rc", factor, inverse, factor)
        spread = torch.where(good, (1 - leverage).clamp_min(0.05), 1 + leverage)
        good = ((scaled - u @ factor.T).square() / spread <= price) & seen
    return good


def cheaper(z: Tensor, seen: Tensor, one: Tensor, other: Tensor, v: Tensor, noise: Tensor, price: float) -> Tensor:
    """Of two sets of good entries, row by row, the one that costs less and says more than there are unknowns."""
    scaled, factor = z / noise, v / noise[:, None]
    costs = [_least_squares(scaled, good, factor) + price * (seen & ~good).sum(1) for good in (one, other)]
    return torch.where(((costs[1] < costs[0]) & (other.sum(1) > v.shape[1]))[:, None], other, one)


@cache
def _sets(count: int, most: int) -> Tensor:
    """(sets, count) bool: the entries that stay, for all sets of up to ``most`` entries left out, as far as SETS goes."""
    rows: list[Tensor] = []
    for size in range(most + 1):
        if len(rows) + math.comb(count, size) > SETS:
            break
        for left_out in combinations(range(count), size):
            stays = torch.ones(count, dtype=torch.bool)
            stays[list(left_out)] = False
            rows.append(stays)
    return torch.stack(rows)


@cache
def _few(count: int, size: int) -> Tensor:
    """(sets, size): all choices of ``size`` entries of so many, or SETS of them at random."""
    if math.comb(count, size) <= SETS:
        return torch.tensor(list(combinations(range(count), size)))
    generator = torch.Generator().manual_seed(0)
    return torch.stack([torch.randperm(count, generator=generator)[:size] for _ in range(SETS)])


def _residual_makers(v: Tensor, sets: Tensor) -> Tensor:
    """(sets, columns, columns): for each set, the matrix by which a row becomes its residual of least squares on ``v`` over
    the entries that stay, 0 elsewhere."""
    weights = sets.to(v)
    gram = torch.einsum("sc,ci,cj->sij", weights, v, v)
    ridge = 1e-12 * v.square().sum() / v.shape[1] + 1e-100
    gram.diagonal(dim1=1, dim2=2).add_(ridge)
    hat = torch.einsum("ci,sij,dj->scd", v, torch.linalg.inv(gram), v)
    eye = torch.eye(len(v), dtype=v.dtype, device=v.device)
    return (weights[:, :, None] * (eye - hat * weights[:, None, :])).transpose(1, 2)


def _least_squares(z: Tensor, good: Tensor, v: Tensor) -> Tensor:
    """(rows,): the sum of squares that the best fit of each row of ``z`` leaves over its good entries."""
    weights = good.to(v)
    u = torch.linalg.solve(_grams(weights, v), (weights * z) @ v)
    left: Tensor = (weights * (z - u @ v.T)).square().sum(1)
    return left


def _grams(weights: Tensor, v: Tensor) -> Tensor:
    """(rows, rank, rank): of ``v`` (columns, rank), weighted for each row."""
    rank = v.shape[1]
    grams = (weights @ (v[:, :, None] * v[:, None, :]).flatten(1)).reshape(-1, rank, rank)
    grams.diagonal(dim1=1, dim2=2).add_(1e-12 * v.square().sum() / len(v) + 1e-100)
    return grams
