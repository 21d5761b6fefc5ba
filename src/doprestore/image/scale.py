"""σ: how large errors are around each value, its own left out. Part of :mod:`doprestore.image.verdict`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from doprestore.image.windows import windows

# The least scale of errors, of 1: one of 256 tones [0.002 to 0.008: alike; tests/benchmarks/image_constants.py, here and
# below].
FAINT = 0.004
# Errors count no further than this, of 1, for the scale of others [0.1: -0.1 dB; 0.4: alike].
LOUD = 0.2
# σ is the mean error around to this power in the first rounds, while outliers enlarge it, and to the power of 1 later
# [0.375 and 0.875: alike].
SCALE_POWER = 0.75
# Pixels a side of the square that errors count in [5: -0.5 dB, precision -0.016; 17: -0.2 dB].
AROUND = 9
# It reaches so many pixels to each side.
REACH = AROUND // 2


def scale_of(error: Tensor, weight: Tensor, folds: Tensor | None, late: bool, coupled: bool) -> Tensor:
    """σ of each value from the errors of others.

    An outlier that is not found yet spoils the predictions around it, and would so vouch for itself, but not those of its
    own fold: these were made without it. They are few, and errors close by are the best measure of an edge. So σ is the
    harmonic mean of both, near the lesser one where they differ.
    """
    scale = torch.empty_like(error)
    for outer, inner, place in windows(error.shape, margin=REACH):
        fold = None if folds is None else folds[outer]
        scale[place] = _scale_of(error[outer], weight[outer], fold, late, coupled)[inner]
    return scale


def _scale_of(error: Tensor, weight: Tensor, folds: Tensor | None, late: bool, coupled: bool) -> Tensor:
    error = error.clamp(max=LOUD)
    apart = _mean_error(error, weight, folds, late, coupled) + FAINT
    if not late:
        return apart**SCALE_POWER
    return 2 / (1 / apart + 1 / (_mean_error(error, weight, None, late, coupled) + FAINT))


def _mean_error(error: Tensor, weight: Tensor, folds: Tensor | None, late: bool, coupled: bool) -> Tensor:
    """The mean error around each value, its own left out: in the square, ``late`` also next to it and in its other channels;
    of the values of its own fold, or of all where ``folds`` is None."""
    if folds is None:
        return _mean_of_weighted(error, weight, 3, late, coupled)
    mean = torch.zeros_like(error)
    for fold in folds.unique():
        mine = folds == fold
        mean = torch.where(mine, _mean_of_weighted(error, weight * mine, 5, late, coupled), mean)
    return mean


def _mean_of_weighted(error: Tensor, weight: Tensor, near: int, late: bool, coupled: bool) -> Tensor:
    """The mean error around each value of those that have a weight; ``near``: the side of the square next to a value."""
    own = error * weight
    mean = (sums(own, AROUND) - own) / (sums(weight, AROUND) - weight).clamp(min=1)
    if late:
        mean = (mean + (sums(own, near) - own + mean) / ((sums(weight, near) - weight).clamp(min=0) + 1)) / 2
        if coupled and len(error) > 1:
            others = (own.sum(0) - own + 0.5 * mean) / (weight.sum(0) - weight + 0.5)
            mean = 0.7 * mean + 0.3 * others
    return mean.clamp(min=0)  # float errors make small negative sums


def sums(values: Tensor, side: int) -> Tensor:
    """(C, H, W): the sum of the square of that side around each value, of any type."""
    return over_squares(values, side, Tensor.add_, 0)


def over_squares(values: Tensor, side: int, gather: Callable[[Tensor, Tensor], Tensor], outside: float) -> Tensor:
    """(C, H, W): what ``gather`` makes, in place, of the values of the square of that side around each, one after the other;
    ``outside`` counts for what is outside of the picture."""
    for dimension in (1, 2):
        length, pad = values.shape[dimension], [0] * (2 * (2 - dimension)) + [side // 2] * 2
        padded = nn.functional.pad(values, pad, value=outside)
        values = padded.narrow(dimension, 0, length).clone()
        for shift in range(1, side):
            gather(values, padded.narrow(dimension, shift, length))
    return values
