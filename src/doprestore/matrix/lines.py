"""Lines of data as combinations of known ones, with gross errors among their entries: each line is fitted by itself.

Reweighted least squares: least absolute deviations first, which up to half of wrong entries move little, then only the
entries near the fit, in units of a noise that each line has for itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Rounds of least absolute deviations.
ABSOLUTE = 6
# Rounds, at most, with the entries near the fit alone.
TRIMMED = 8
# What is off by more than so many standard deviations of the noise is not fitted to.
FAR = 3.0
# The standard deviation of Gaussian noise over its median size.
OVER_MEDIAN = 1.4826
# The same over the root mean square of what is left within FAR.
WITHIN = math.sqrt(1 - 2 * FAR * math.exp(-(FAR**2) / 2) / math.sqrt(2 * math.pi) / math.erf(FAR / math.sqrt(2)))


def fit_lines(y: Tensor, basis: Tensor, known: Tensor | None = None, *, start: Tensor | None = None,
              noise: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Fit every column of ``y`` (entries, lines) by basis (entries, rank) @ coefficients.

    known: bool, like y; entries that are not are not looked at. start: (rank, lines), coefficients to begin the trimming
    from. noise: no line has less. Returns the coefficients (rank, lines), the noise of each (lines,) and the
    entries that were fitted to, bool like y.
    """
    outer = (basis[:, :, None] * basis[:, None, :]).flatten(1)
    possible = torch.ones_like(y) if known is None else known.to(y.dtype)
    counts = possible.sum(0).clamp_min(1)
    tiny = torch.finfo(y.dtype).eps * 4 * (y.abs() * possible).amax(0).clamp_min(torch.finfo(y.dtype).tiny)
    floor = torch.clamp_min(tiny, noise)
    coefficients, weights = start, possible
    if coefficients is None:
        for _ in range(ABSOLUTE):
            coefficients = weighted_fit(y, basis, outer, weights)
            size = (y - basis @ coefficients).abs_()
            weights = possible / torch.maximum(size, 0.1 * (size * possible).sum(0) / counts + tiny)
    assert coefficients is not None
    size = (y - basis @ coefficients).abs_()
    spread = OVER_MEDIAN * _median(size, known)
    near = torch.zeros_like(y, dtype=torch.bool)
    for _ in range(TRIMMED):
        before, near = near, size <= FAR * torch.maximum(spread, floor)
        if known is not None:
            near &= known
        if torch.equal(before, near):
            break
        weights = near.to(y.dtype)
        coefficients = weighted_fit(y, basis, outer, weights)
        size = (y - basis @ coefficients).abs_()
        left = (weights.sum(0) - basis.shape[1]).clamp_min(1)
        spread = ((size * weights).square().sum(0) / left).sqrt() / WITHIN
    return coefficients, torch.maximum(spread, floor), near


def weighted_fit(y: Tensor, basis: Tensor, outer: Tensor, weights: Tensor) -> Tensor:
    """The weighted least-squares fit of every line, (rank, lines); outer is basis times itself."""
    rank = basis.shape[1]
    normal = (outer.T @ weights).T.reshape(-1, rank, rank)
    # A line of which nothing is known must not stop all others.
    limits = torch.finfo(y.dtype)
    ridge = limits.eps * normal.diagonal(dim1=1, dim2=2).amax(1) + limits.tiny
    normal = normal + ridge[:, None, None] * torch.eye(rank, dtype=y.dtype, device=y.device)
    right = (basis.T @ (weights * y)).T[:, :, None]
    coordinates: Tensor = torch.linalg.solve(normal, right)[:, :, 0].T
    return coordinates


def _median(size: Tensor, known: Tensor | None) -> Tensor:
    """Of the known entries of every line; 0 where there are none."""
    if known is None:
        return size.median(0).values
    return torch.nanmedian(size.masked_fill(~known, math.nan), 0).values.nan_to_num()
