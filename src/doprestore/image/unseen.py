"""What the rest of the picture says of each value, and never the value itself.

The values are split into :data:`FOLDS` folds. Each fold is left out in turn and filled from the trusted values of the
others, so the difference between a value and its prediction is an honest error: an outlier cannot explain itself.
Where single values are struck, folds are of values, and the other channels of a pixel tell of it; where whole pixels
are, folds are of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor, nn

from doprestore.image.fill import fill, smoothed
from doprestore.image.frame import Cuts, Place, by_parts, cuts_of

# Parts that the values are split into; each is predicted from the others.
FOLDS = 5
# A first guess is the median of the square that reaches so many pixels to each side of a value.
REACH = 2
# Steps of conjugate gradients at most; where little is damaged about ten are enough.
FILL_STEPS = 16
# Pixels a side that are filled at a time: what they take stays in a processor's cache.
WINDOW = 320
# Pixels around a window that are filled with it and thrown away: twenty steps reach little further.
MARGIN = 24


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
    for outer, inner, place in windows(*y.shape[1:]):
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
        return fill(y, seen, whitening, start=smoothed(y, seen / (1 + seen)), steps=FILL_STEPS)

    return by_parts(filled, cuts, y, trust * ~hidden)


def first_guesses(y: Tensor, cuts: Cuts) -> tuple[Tensor, Tensor]:
    """Robust predictions before anything is trusted, by value and by pixel, (C, H, W) each.

    By pixel the median of what is around, its own value left out. By value, in colour, the median of three: that, and what
    each other channel of the pixel says by the median difference of the two channels around. One of the three may be wrong.
    """
    guesses = y.new_empty(2 * len(y), *y.shape[1:])
    for outer, inner, place in windows(*y.shape[1:]):
        guesses[place] = by_parts(_guesses, cuts_of(cuts, outer, *y.shape[1:]), y[outer])[inner]
    return guesses[: len(y)], guesses[len(y) :]


def _guesses(y: Tensor) -> Tensor:
    own = _median_around(y)
    told: list[list[Tensor]] = [[channel] for channel in own]
    for one, other in combinations(range(len(y)), 2):
        difference = _median_around((y[one] - y[other])[None])[0]
        told[one].append(y[other] + difference)
        told[other].append(y[one] - difference)
    by_value = torch.stack([torch.stack(guesses).median(0).values for guesses in told])
    return torch.cat([by_value.clamp(0, 1), own])


def _median_around(v: Tensor) -> Tensor:
    """(C, H, W): the median of the square around each value, its own left out."""
    side = 2 * REACH + 1
    padded = nn.functional.pad(v[:, None], (REACH,) * 4, mode="replicate")
    around = nn.functional.unfold(padded, side).view(len(v), side * side, -1)
    middle = side * side // 2
    around = torch.cat([around[:, :middle], around[:, middle + 1 :]], dim=1)
    return around.median(1).values.view_as(v)


def windows(height: int, width: int, side: int = WINDOW, margin: int = MARGIN) -> Iterator[tuple[Place, Place, Place]]:
    """Indices of (C, H, W) for each window: with its margin, the window within that, and its place in the picture."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(height, top + side), min(width, left + side)
            up, before = max(0, top - margin), max(0, left - margin)
            outer = (..., slice(up, min(height, bottom + margin)), slice(before, min(width, right + margin)))
            inner = (..., slice(top - up, bottom - up), slice(left - before, right - before))
            yield outer, inner, (..., slice(top, bottom), slice(left, right))
