"""Bright tracks: cosmic rays, thin light scratches and threads, and the specks that come with them.

What no optics has drawn is narrow and has no halo: its *height* is how far a value lies above the brightest of what is at
least three pixels wide around it (the white top-hat of morphology), less what that in turn lies above things of five
pixels, which a star or a highlight does. Photographs have such specks, too, but about as many dark ones as bright ones,
so the dark ones, the same of the negative, are the decoys: light only adds. Tracks are believed in where there are many
times more bright ones than dark ones, both of all specks and of those that lie in a line of some pixels, which stars
never do. What is found here is shown to no prediction.

Reference: J. Serra, "Image Analysis and Mathematical Morphology", 1982 (openings and top-hats); the decoys are those of
:mod:`doprestore.image.verdict`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from doprestore.image.fill import CERTAIN
from doprestore.image.frame import cuts_of, detached_edges
from doprestore.image.scale import FAINT, LOUD, over_squares, sums
from doprestore.image.tones import is_paper
from doprestore.image.unseen import fill_without
from doprestore.image.windows import windows

# Pixels: a speck is narrower than the first in one direction, its halo than the second.
NARROW, HALO = 3, 5
# So many times the halo is taken off the height [2 is as good, 1 and 4 find less; tests/benchmarks/tracks.py has this and
# the other ranges].
HALO_COUNTS = 3.0
# Pixels a side of the square that the usual height is the mean of [with 31 an undamaged picture is changed].
AROUND = 21
# The least height of a speck, of 1 [0.04 to 0.1: nearly the same].
LEAST = 0.06
# Bounds of the height over the usual one, the lowest first: the first one that is crossed by enough counts.
BOUNDS = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 26.0, 34.0)
# Tracks are so many pixels long [3 finds more, but stars of a crowded field, too; 5 and 6 find less].
LENGTH = 4
# So many times more bright than dark ones are damage [with 3 and 4 undamaged pictures are changed, with 8 half is missed].
OUTNUMBERED = 6.0
# So many more there must be in any case [with 3 an undamaged picture is changed, 8 finds less].
FEW = 5
# Where more than so many times the pixels of tracks lie in none, they are something else, such as the stars of a crowded
# field [1 loses rays, from 2 on none].
ALONE = 5.0
# More than this share of the pixels are the picture's own, such as the mortar of a wall [0.01 loses rays, with 0.1 a wall is
# changed].
MANY = 0.03
# Directions of tracks: rows and columns that a step goes.
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (1, -2), (2, 1), (2, -1))


def find_tracks(y: Tensor, known: Tensor) -> Tensor:
    """(C, H, W) bool: values of bright tracks, and of bright specks where there are tracks.

    y: the picture in [0, 1]. known: bool, like y, False where it is known to be bad.
    """
    core = _core(y)
    if not core.any() or is_paper(y):
        return torch.zeros_like(known)
    near = nn.functional.max_pool2d(core.to(y.dtype)[None], 3, 1, 1)[0] > 0
    brighter = torch.zeros_like(core)
    cuts, same = detached_edges(y), torch.eye(len(y), device=y.device)
    for outer, inner, place in windows(y.shape):
        if near[place].any():
            part, trust, hidden = y[outer], CERTAIN * known[outer].to(y.dtype), near[outer].expand_as(y[outer])
            without = fill_without(part, trust, hidden, same, cuts_of(cuts, outer, *y.shape[1:]))
            above = (part - without).amin(0, keepdim=True)
            usual = _usual(_height(part)[1])
            brighter[place] = (above > BOUNDS[0] * usual)[inner]
    return (core | (near & brighter)) & known


def _core(y: Tensor) -> Tensor:
    """(1, H, W) bool: specks that are believed in."""
    bright, dark = _contrast(y)
    for bound in BOUNDS:
        specks, decoys = bright > bound, dark > bound
        tracks, decoy_tracks = _in_line(specks), _in_line(decoys)
        if all(_outnumber(*pair) for pair in ((specks, decoys), (tracks, decoy_tracks))):
            alone = int((specks & ~tracks).sum())
            if int(specks.sum()) > MANY * specks.numel() or alone > ALONE * int(tracks.sum()):
                break
            return specks
    return torch.zeros_like(bright, dtype=torch.bool)


def _outnumber(specks: Tensor, decoys: Tensor) -> bool:
    return int(specks.sum()) >= OUTNUMBERED * (int(decoys.sum()) + FEW)


def _contrast(y: Tensor) -> tuple[Tensor, Tensor]:
    """(1, H, W) each, of bright and of dark specks: the height over what is usual there, 0 where it is too little."""
    bright, dark = y.new_zeros(2, 1, *y.shape[1:])
    for outer, inner, place in windows(y.shape):
        for contrast, values in ((bright, y[outer]), (dark, 1 - y[outer])):
            height, narrow = _height(values)
            contrast[place] = torch.where(height > LEAST, height / _usual(narrow), 0.0)[inner]
    return bright, dark


def _height(y: Tensor) -> tuple[Tensor, Tensor]:
    """(1, H, W) each, of the channel in which it is the least: the height, and what it would be with any halo."""
    narrow, wide = _opened(y, NARROW), _opened(y, HALO)
    above = y - narrow
    return (above - HALO_COUNTS * (narrow - wide)).amin(0, keepdim=True), above.amin(0, keepdim=True)


def _usual(height: Tensor) -> Tensor:
    quiet = height.clamp(max=LOUD)
    return sums(quiet, AROUND) / sums(torch.ones_like(quiet), AROUND) + FAINT


def _opened(y: Tensor, side: int) -> Tensor:
    """The opening by a square: y without what is brighter than around and narrower than ``side`` in one direction."""
    # What is outside of the picture counts for nothing.
    return _greatest(-_greatest(-y, side), side)


def _greatest(y: Tensor, side: int) -> Tensor:
    def greater(one: Tensor, other: Tensor) -> Tensor:
        return torch.maximum(one, other, out=one)

    return over_squares(y, side, greater, -math.inf)


def _in_line(specks: Tensor) -> Tensor:
    """(1, H, W) bool: the specks that lie in a line of :data:`LENGTH` of them."""
    height, width = specks.shape[1:]
    found = torch.zeros_like(specks)
    padded = nn.functional.pad(specks, (LENGTH,) * 4)
    for down, right in DIRECTIONS:
        most = max(abs(down), abs(right))
        steps = [(round(step * down / most), round(step * right / most)) for step in range(LENGTH)]
        line = torch.ones_like(specks)
        for row, column in steps:
            line &= padded[:, LENGTH + row : LENGTH + row + height, LENGTH + column : LENGTH + column + width]
        lines = nn.functional.pad(line, (LENGTH,) * 4)
        for row, column in steps:
            found |= lines[:, LENGTH - row : LENGTH - row + height, LENGTH - column : LENGTH - column + width]
    return found
