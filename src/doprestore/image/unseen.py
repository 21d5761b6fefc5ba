"""What the rest of the picture says of each value, and never the value itself.

The values are split into :data:`FOLDS` folds. Each fold is left out in turn and filled from the trusted values of the
others, so the difference between a value and its prediction is an honest error: an outlier cannot explain itself.
Where single values are struck, folds are of values, and the other channels of a pixel tell of it; where whole pixels
are, folds are of pixels.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from doprestore.image.fill import fill, smoothed
from doprestore.image.frame import Cuts, by_parts, cuts_of
from doprestore.image.medians import REACH, median_around
from doprestore.image.windows import windows

# Parts that the values are split into; each is predicted from the others [2: -0.4 dB, recall -0.013; 10: -0.1 dB;
# tests/benchmarks/image_constants.py, here and below].
FOLDS = 5
# Pixels a side that are guessed at a time: medians want a cache to themselves.
GUESSED = 128


def value_folds(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(C, H, W) uint8: the fold of each value."""
    return torch.randint(0, FOLDS, shape, generator=generator, dtype=torch.uint8)


def pixel_folds(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(C, H, W) uint8: the fold of each value, one for all channels of a pixel."""
    return torch.randint(0, FOLDS, (1, *shape[1:]), generator=generator, dtype=torch.uint8).expand(shape)


def predict(y: Tensor, trust: Tensor, folds: Tensor, whitening: Tensor, cuts: Cuts) -> Tensor:
    """(C, H, W) in [0, 1]: each value as the fill from the values of the other folds has it.

    y: the picture. trust: the odds that a value is whole, 0 where it counts for nothing. folds: see :func:`value_folds`.
    whitening: see :mod:`doprestore.image.fill`. cuts: see :mod:`doprestore.image.frame`.
    """
    predicted = torch.empty_like(y)
    for outer, inner, place in windows(y.shape):
        part, known, fold, cut = y[outer], trust[outer], folds[outer], cuts_of(cuts, outer, *y.shape[1:])
        found = torch.zeros_like(part)
        for index in range(FOLDS):
            hidden = fold == index
            found = torch.where(hidden, fill_without(part, known, hidden, whitening, cut), found)
        predicted[place] = found[inner].clamp(0, 1)
    return predicted


def fill_without(y: Tensor, trust: Tensor, hidden: Tensor, whitening: Tensor, cuts: Cuts) -> Tensor:
    """(C, H, W): the fill that sees nothing of the values ``hidden``."""

    def filled(y: Tensor, seen: Tensor) -> Tensor:
        return fill(y, seen, whitening, start=smoothed(y, seen / (1 + seen)))

    return by_parts(filled, cuts, y, trust * ~hidden)


def first_guesses(y: Tensor, cuts: Cuts) -> tuple[Tensor, Tensor]:
    """Robust predictions before anything is trusted, by value and by pixel, (C, H, W) each.

    By pixel the median of what is around, its own value left out. By value, in colour, the median of three: that, and what
    each other channel of the pixel says by the median difference of the two channels around. One of the three may be wrong.
    """
    guesses = y.new_empty(2 * len(y), *y.shape[1:])
    for outer, inner, place in windows(y.shape, side=GUESSED, margin=REACH):
        guesses[place] = by_parts(_guesses, cuts_of(cuts, outer, *y.shape[1:]), y[outer])[inner]
    return guesses[: len(y)], guesses[len(y) :]


def _guesses(y: Tensor) -> Tensor:
    own = median_around(y)
    told: list[list[Tensor]] = [[channel] for channel in own]
    for one, other in combinations(range(len(y)), 2):
        difference = median_around((y[one] - y[other])[None])[0]
        told[one].append(y[other] + difference)
        told[other].append(y[one] - difference)
    by_value = torch.stack([torch.stack(guesses).median(0).values for guesses in told])
    return torch.cat([by_value.clamp(0, 1), own])
