"""From where on a residual is an outlier of its row or column: robust quantiles, of all entries and line by line."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# Over the ranges in brackets `tests/benchmarks/rpca_constants.py limits.NAME --seeds 2` solves the same 16 problems.
# Entries of each row and column that its quantile is estimated from [16 to 256].
LINE_SAMPLE = 64
# The threshold stays above so many times the 30 % quantile of |residual|: 2.7 σ for Gaussian noise [4 to 12; at 4 it takes
# 1.6 times as long].
NOISE_FACTOR = 7.0


def quantile(values: Tensor, q: float) -> float:
    return torch.kthvalue(values, max(1, int(q * values.numel()))).values.item()


def some_lines(count: int, generator: torch.Generator, device: torch.device) -> Tensor | slice:
    """The positions of LINE_SAMPLE of ``count`` lines; of few more than that, all of them, which needs no copy."""
    if count <= 2 * LINE_SAMPLE:
        return slice(None)
    return torch.randperm(count, generator=generator)[:LINE_SAMPLE].to(device)


def line_limits(size: Tensor, known: Tensor | None, threshold: float) -> Tensor:
    """The larger of ``threshold`` and NOISE_FACTOR times the 30 % quantile of the known entries of each row of ``size``.

    Counting tells which rows have the larger quantile, so that only those few are sorted.
    """
    small = size <= threshold / NOISE_FACTOR
    counts: Tensor | int = size.shape[1]
    if known is not None:
        small &= known
        counts = known.sum(1)
    limits = torch.full((len(size),), threshold, dtype=size.dtype, device=size.device)
    below = small.sum(1) <= _position(counts)
    lines = (below if known is None else below & (counts > 0)).nonzero()[:, 0]
    if lines.numel():
        limits[lines] = NOISE_FACTOR * line_quantiles(size[lines], None if known is None else known[lines])
    return limits


def line_quantiles(size: Tensor, known: Tensor | None) -> Tensor:
    """The 30 % quantile of the known entries of each row of ``size`` (rows, columns); infinite where there are none."""
    if known is None:
        return size.kthvalue(_position(size.shape[1]) + 1, dim=1).values
    ordered = size.masked_fill(~known, math.inf).sort(dim=1).values
    return ordered.gather(1, _position(known.sum(1))[:, None])[:, 0]


def _position(counts: Any) -> Any:
    """Of the 30 % quantile among so many, from 0 on."""
    return (0.3 * counts).long() if isinstance(counts, Tensor) else int(0.3 * counts)
