"""The noise and the centre of each column of a table, robust to many outliers. Pure functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A variance that comes out negative, by chance, is taken to be so much of what the simple estimate says.
NEGATIVE = 0.1
# What a search for the fewest outliers leaves of the squares of N(0, 1): 0.7 % lie beyond 3.5, and it takes some more.
KEPT = 0.985


def column_noise(residual: Tensor, known: Tensor) -> Tensor:
    """The noise (standard deviation) of each column of ``residual`` (rows, columns), (columns,).

    Median absolute deviation, sharpened by two trimmed steps. Those that differ no more than by chance become one.
    """
    size = residual.abs().masked_fill(~known, math.nan)
    count = known.sum(0).to(residual.dtype)
    common = 1.4826 * torch.nanmedian(size).item()
    spread = torch.nan_to_num(1.4826 * torch.nanmedian(size, dim=0).values, nan=common)
    for _ in range(2):
        near = size <= 2.5 * spread
        trimmed = torch.where(near, residual, 0).square().sum(0) / near.sum(0).clamp_min(1)
        trimmed = trimmed.sqrt() / 0.9541  # of N(0, 1) within 2.5
        spread = torch.where(trimmed > 0, trimmed, spread)
    spread = torch.where(count > 0, spread, common)
    largest = torch.nan_to_num(size, nan=0.0).max().item()
    return pooled(spread.clamp_min(max(1e-6 * common, 1e-12 * largest, 1e-300)), count)[0]


def pooled(spread: Tensor, count: Tensor) -> tuple[Tensor, float]:
    """The noise (columns,) where columns that differ no more than by chance have become one, and by how much they differ, in
    logarithms. count: entries that each was taken from."""
    logs = spread.log()
    chance = 0.8 / count.clamp_min(1)
    middle = logs.median()
    scatter = 1.4826 * (logs - middle).abs().median()
    excess = (scatter**2 - chance.median()).clamp_min(0)
    own = excess / (excess + chance)
    far = (logs - middle).abs() > 4 * chance.sqrt() + 3 * excess.sqrt()
    own = torch.where(far, count / (count + 4), own)
    return (middle + own * (logs - middle)).exp(), scatter.item()


def shorth(data: Tensor, known: Tensor) -> Tensor:
    """The mean of the shortest half of each column, (columns,): a centre that 40 % of outliers on one side do not move."""
    ordered = data.masked_fill(~known, math.inf).sort(dim=0).values
    counts = known.sum(0)
    halves = (counts // 2 + 1).clamp_max(len(data))
    centre = torch.zeros(data.shape[1], dtype=data.dtype, device=data.device)
    for half in halves.unique().tolist():
        columns = (halves == half).nonzero()[:, 0]
        values = ordered[:, columns]
        width = torch.nan_to_num(values[half - 1 :] - values[: len(values) - half + 1], nan=math.inf)
        start = width.argmin(dim=0)
        sums = torch.where(torch.isfinite(values), values, 0).cumsum(0)
        sums = torch.cat([torch.zeros_like(sums[:1]), sums])
        centre[columns] = (sums.gather(0, (start + half)[None]) - sums.gather(0, start[None]))[0] / half
    centre = torch.where(counts > 0, torch.nan_to_num(centre), 0)
    # The mean of what is near it is three times as precise.
    residual = data - centre
    near = known & (residual.abs() <= 2.5 * column_noise(residual, known))
    return centre + torch.where(near, residual, 0).sum(0) / near.sum(0).clamp_min(1)


def unmixed_noise(residual: Tensor, good: Tensor, factor: Tensor, inverse: Tensor) -> Tensor:
    """The noise (standard deviation) of each column from what a fit of the rows leaves, without bias, (columns,).

    A residual is a mixture: with P = 1 − V (Vᵀ V)⁻¹ Vᵀ over the good entries of a row, its square is expected to be
    Σ P_ab² σ_b², whatever weights the columns had. So the mean squares of all columns are solved for all σ² together (Rao's
    MINQUE).

    residual: (rows, columns), weighted, 0 where not good. good: (rows, columns), 0 or 1. factor: (columns, rank), weighted.
    inverse: (rows, rank, rank), of VᵀV over the good entries.
    """
    rank = factor.shape[1]
    rows = int((good.sum(1) > 0).sum())
    mixing = torch.zeros((len(factor), len(factor)), dtype=residual.dtype, device=residual.device)
    free = torch.zeros(len(factor), dtype=residual.dtype, device=residual.device)
    for some, part in zip(good.split(4096), inverse.split(4096), strict=True):
        hat = torch.einsum("ai,rij,bj->rab", factor, part, factor)
        left = (torch.eye(len(factor), dtype=hat.dtype, device=hat.device) - hat) * some[:, :, None] * some[:, None, :]
        mixing += left.square().sum(0)
        free += left.diagonal(dim1=1, dim2=2).sum(0)
    # The columns, too, are fitted.
    squares = residual.square().sum(0) * rows / max(1, rows - rank) / KEPT
    simple = squares / free.clamp_min(1e-9)
    mixing.diagonal().add_(1e-6 * mixing.diagonal().mean() + 1e-300)
    variances = torch.linalg.solve_ex(mixing, squares)[0].maximum(NEGATIVE * simple).clamp_min(1e-300)
    deviations: Tensor = variances.sqrt()
    return deviations
