"""A column factor from linear relations among few columns, for a narrow table with many outliers.

The entries of ``rank`` + 1 columns of a row that is good in them lie on a hyperplane, however many outliers there are in
other columns. With 30 % of outliers a third of the rows are good in three columns. So some columns are taken for a basis, at
random, and each other column is predicted from them by the relation with the least quantile of residuals: from many random
choices of as few rows as determine it (Rousseeuw's least quantile of squares), the best improved by least squares on their
nearest rows. The best of a few bases is the start.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Over the ranges in brackets `tests/benchmarks/rpca_constants.py relations.NAME --seeds 6` meets as many, 19 of 24.
# Bases that are tried [4 to 16], and relations for each column beyond them [60 to 240].
BASES, CHOICES = 8, 120
# The quantile of the residuals that is to be least: fewer than the third of the rows that may be good [0.15 to 0.33].
QUANTILE = 0.25
# The best so many choices are improved [1 to 6], by so many rounds of least squares [1 to 6].
BEST, ROUNDS = 3, 3
# Rows that the relations are taken from [100, and all of 100].
ROWS = 500


def from_relations(z: Tensor, seen: Tensor, rank: int) -> Tensor | None:
    """A column factor (columns, rank) for ``z`` (rows, columns), known where ``seen``; None where too few rows are known."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = z.shape
    if rows > ROWS:
        some = torch.randperm(rows, generator=generator)[:ROWS].to(z.device)
        z, seen = z[some], seen[some]
    least, found = math.inf, None
    for _ in range(BASES):
        order = torch.randperm(columns, generator=generator)
        basis = order[:rank].to(z.device)
        factor = torch.zeros((columns, rank), dtype=z.dtype, device=z.device)
        factor[basis] = torch.eye(rank, dtype=z.dtype, device=z.device)
        size = 0.0
        for column in order[rank:].tolist():
            known = seen[:, basis].all(1) & seen[:, column]
            if int(known.sum()) < 3 * (rank + 1):
                size = math.inf
                break
            factor[column], left = _relation(z[known][:, basis], z[known, column], generator)
            size += math.log(max(left, 1e-12))
        if size < least:
            least, found = size, factor
    return found


def _relation(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """The coefficients (rank,) by which ``x`` (rows, rank) predicts ``y`` (rows,) with the least quantile of residuals, and
    that quantile."""
    rows, rank = x.shape
    nearest = max(rank + 2, int(QUANTILE * rows))
    chosen = torch.randint(rows, (CHOICES, rank), generator=generator).to(x.device)
    tried = torch.nan_to_num(torch.linalg.solve_ex(x[chosen], y[chosen])[0])
    best = (y[:, None] - x @ tried.T).abs_().kthvalue(nearest, dim=0).values.topk(BEST, largest=False).indices
    tried = tried[best]  # (best, rank)
    for _ in range(ROUNDS):
        near = (y[:, None] - x @ tried.T).abs_().topk(nearest, dim=0, largest=False).indices.T  # (best, nearest)
        some = x[near]
        gram = some.transpose(1, 2) @ some
        gram.diagonal(dim1=1, dim2=2).add_(1e-12 * gram.diagonal(dim1=1, dim2=2).mean(1, keepdim=True) + 1e-300)
        tried = torch.nan_to_num(torch.linalg.solve_ex(gram, (some.transpose(1, 2) @ y[near][:, :, None])[:, :, 0])[0])
    left = (y[:, None] - x @ tried.T).abs_().kthvalue(nearest, dim=0).values
    return tried[left.argmin()], left.min().item()
