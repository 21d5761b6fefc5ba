"""A much longer than wide matrix: its column factor from some of the rows, then every row by itself.

What 20 000 rows of 200 entries say of the 20 directions that they have in common, 2000 of them say as well. Once these are
known, a row needs no other row, and so a few rows at a time are fitted to their end, in the processor's cache, where the
whole matrix would go through memory at every step. What comes out is a start for :mod:`doprestore.matrix.refit`, judged like
any other, on all of the data.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.limits import NOISE_FACTOR
from doprestore.matrix.linalg import svd_of_product
from doprestore.matrix.lines import fit_lines
from doprestore.matrix.refit import AGREES

# Over the ranges in brackets `tests/benchmarks/rpca_constants.py tall.NAME --seeds 1` finds both matrices of 20 000x200, in
# about the same time.
# The column factor is taken from so many rows for each column [3 to 8], where there are at least so many times as many.
FOR_EACH_COLUMN, TIMES = 5, 10
# Smaller matrices take less than a second anyway.
ENTRIES = 2_000_000
# The factor by which the threshold of what is fitted to falls in a round [0.4 to 0.7], and rounds at most [30 to 120]. With
# 0.4 a row in fifteen goes astray (10 % of outliers), and is fitted once more.
DECAY, ROUNDS = 0.55, 60
# Entries of a block that its quantile is taken from [500 to 4000], and rounds between two looks at it [1 to 4].
SAMPLE, LOOK = 1000, 2
# How closely entries agree, in typical ones [1e-11 to 1e-9]; rows of which less than this share does [0.3 to 0.6] are fitted
# once more, each by itself.
AGREES_TO, HALF = 1e-10, 0.5
# So many of these at a time.
AT_ONCE = 400


def some_rows(y: Tensor) -> Tensor | None:
    """Numbers of the rows that the column factor of ``y`` (rows, columns) is taken from; None where that is not worth it."""
    rows, columns = y.shape
    count = FOR_EACH_COLUMN * columns
    if rows < TIMES * count or y.numel() < ENTRIES:
        return None
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:count].to(y.device)


def some_lines(y: Tensor) -> Tensor | None:
    """Those rows of ``y``, or columns where it has more of these; None as there."""
    wide = y.shape[0] < y.shape[1]
    lines = some_rows(y.T if wide else y)
    if lines is None:
        return None
    return (y[:, lines] if wide else y[lines]).contiguous()


def fit_all(y: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, the singular values and V of a fit to all lines of ``y``, given one to some of them, u vᵀ."""
    u, _, v = svd_of_product(u, v)
    if y.shape[0] < y.shape[1]:
        return svd_of_product(u, fit_rows(y.T, u))
    return svd_of_product(fit_rows(y, v), v)


def fit_rows(y: Tensor, v: Tensor) -> Tensor:
    """(rows, rank): the coefficients of every row of ``y`` (rows, columns) on ``v`` (columns, rank), orthonormal, in spite
    of its outliers."""
    narrow = v.float()
    products = (narrow[:, :, None] * narrow[:, None, :]).flatten(1)
    parts, astray = zip(*(_fit_block(block, v, narrow, products) for block in blocks(y)), strict=True)
    u = torch.cat(parts)
    for rows in torch.cat(astray).nonzero()[:, 0].split(AT_ONCE):  # together, for each call costs more than a row
        u[rows] = fit_lines(y[rows].T, v)[0].T
    return u


def _fit_block(y: Tensor, v: Tensor, narrow: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """The coefficients of some rows, and which of them little agrees with, bool (rows,)."""
    coarse, rank = y.float(), v.shape[1]
    u = coarse @ narrow
    scale = u.square().mean().sqrt().item() * (rank / len(v)) ** 0.5  # of a typical entry
    least = AGREES[torch.float32] * scale
    threshold, relax, r = math.inf, 1.0, torch.empty_like(coarse)
    stride = max(1, coarse.numel() // SAMPLE) | 1
    for number in range(ROUNDS):
        torch.addmm(coarse, u, narrow.T, alpha=-1, out=r)
        if number % LOOK == 0:
            size = r.flatten()[::stride].abs()
            floor = NOISE_FACTOR * size.kthvalue(max(1, int(0.3 * len(size)))).values.item()
            threshold = min(threshold, max(floor, DECAY**LOOK * threshold)) if number else floor
            relax = len(size) / max(1, int((size <= threshold).sum()))
        # The part of r within the threshold: r minus what is beyond.
        u.addmm_(r.sub_(torch.nn.functional.hardshrink(r, threshold)), narrow, alpha=relax)
        if threshold <= least:
            break
    # The last digits by least squares on what agrees. Little is left to solve for, so that float32 will do for its matrix.
    u = u.to(y.dtype)
    good = (y - u @ v.T).abs() <= 5 * max(threshold, least)
    gram = (good.float() @ products).reshape(-1, rank, rank)
    gram.diagonal(dim1=1, dim2=2).add_(1e-6)
    factor = torch.linalg.cholesky_ex(gram)[0].to(y.dtype)
    for _ in range(2):
        right = (good * (y - u @ v.T)) @ v
        u = u + torch.nan_to_num(torch.cholesky_solve(right[:, :, None], factor)[:, :, 0])
    agreeing = (y - u @ v.T).abs() <= AGREES_TO * scale
    return u, agreeing.sum(1) < HALF * len(v)
