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
# Sets of entries that are tried for a row at most, of one size all or none.
SETS = 1000
# Residuals, of rows by sets by columns, that are worked on at a time: 16 MB.
AT_ONCE = 2**21


def fewest_outliers(z: Tensor, seen: Tensor, start: Tensor, v: Tensor, noise: Tensor, price: float) -> Tensor:
    """Which entries of ``z`` (rows, columns) are good, bool, given the column factor ``v`` (columns, rank).

    seen: the known entries. start: bool, a set of good ones for each row, which is tried, too: where there are more
    outliers than can be searched for, an M-estimate may have found them. noise: (columns,) standard deviations. price: of an
    outlier, in squared standard deviations.
    """
    good = torch.zeros_like(seen)
    patterns, which = torch.unique(seen, dim=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        columns = pattern.nonzero()[:, 0]
        rows = (which == index).nonzero()[:, 0]
        if len(columns) == 0:
            continue
        # With more outliers than that, another fit may agree with as many entries.
        sets = _sets(len(columns), max(0, len(columns) - v.shape[1]) // 2).to(z.device)
        factor = v[columns] / noise[columns, None]
        makers = _residual_makers(factor, sets)
        scaled = z[rows][:, columns] / noise[columns]
        # Where all entries together cost less than one outlier, no set can be better.
        doubtful = (scaled @ makers[0]).square().sum(1) > price
        good[rows[:, None], columns] = True
        rows, scaled = rows[doubtful], scaled[doubtful]
        prices = price * (~sets).sum(1)
        wide = makers.permute(1, 0, 2).flatten(1)  # (columns, sets·columns)
        for some, part in zip(*(x.split(max(1, AT_ONCE // wide.shape[1])) for x in (rows, scaled)), strict=True):
            squares = (part @ wide).square().reshape(len(part), len(sets), len(columns)).sum(2)
            costs, best = (squares + prices).min(dim=1)
            given = start[some][:, columns]
            cost = _least_squares(part, given, factor) + price * (~given).sum(1)
            good[some[:, None], columns] = torch.where((costs <= cost)[:, None], sets[best], given)
    return good


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
    gram = torch.einsum("rc,ci,cj->rij", weights, v, v)
    gram.diagonal(dim1=1, dim2=2).add_(1e-12 * v.square().sum() / v.shape[1] + 1e-100)
    u = torch.linalg.solve(gram, (weights * z) @ v)
    return (weights * (z - u @ v.T)).square().sum(1)
