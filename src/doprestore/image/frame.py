"""Edge lines that have nothing to do with the picture: the defective first column of many a scan, a frame of one pixel.

Nothing beside such a line tells of it, but along itself it is as smooth as any other. So it is filled by itself, and the
picture without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from torch import Tensor

from doprestore.image.windows import Place

# An edge line is detached if so small a share of the pairs across its border, of that across the next, are alike [0.15: -5.9
# dB, recall -0.027, precision -0.030; 0.6: alike; tests/benchmarks/image_constants.py, here and below].
DETACHED = 0.3
# Beyond so many standard deviations of chance a row has more black than the next ones, and an area more of a tone than
# outliers would give it [2.5 to 10: alike].
DEVIATIONS = 5.0
# Pairs that must be alike across the next border for that to be a measure [8 to 32: alike].
ENOUGH = 16
# Alike is a pair that differs no more than this share of the pairs across the next border do. Even where half of the values
# are damaged a quarter of the pairs are whole [0.075 to 0.3: alike].
QUANTILE = 0.15
# So much the two of a pair may differ at least, of 1: two tones of 256 [0.004 to 0.016: alike].
ALIKE = 0.008

Cuts = tuple[bool, bool, bool, bool]  # at the top, bottom, left and right edge


def detached_edges(y: Tensor) -> Cuts:
    """Which edge lines of (C, H, W) are detached from the picture.

    Black and white values do not count, for many of these are damage. What other damage there is makes pairs across
    either border unlike, in proportion.
    """
    return (_is_detached(y), _is_detached(y.flip(1)), _is_detached(y.mT), _is_detached(y.mT.flip(1)))


def _is_detached(y: Tensor) -> bool:
    """Whether the first row is."""
    if y.shape[1] < 4:
        return False
    if all(_is_plain(channel) for channel in y):
        return True
    counted = (y[:, :3] > 0) & (y[:, :3] < 1)
    outer = (y[:, 0] - y[:, 1]).abs()[counted[:, 0] & counted[:, 1]]
    inner = (y[:, 1] - y[:, 2]).abs()[counted[:, 1] & counted[:, 2]]
    if len(outer) < ENOUGH or len(inner) < ENOUGH:
        return False
    bound = max(ALIKE, float(inner.sort().values[int(QUANTILE * len(inner))]))
    alike = float((inner <= bound).float().mean())
    return alike * len(inner) >= ENOUGH and float((outer <= bound).float().mean()) < DETACHED * alike


def _is_plain(channel: Tensor) -> bool:
    """Whether the first row of (H, W) is black or white for the most part, and clearly more so than the next ones."""
    width = channel.shape[1]
    for tone in (0.0, 1.0):
        first, next_ones = ((rows == tone).float().mean().item() for rows in (channel[0], channel[1:4]))
        chance = math.sqrt(next_ones * (1 - next_ones) / width)
        if first > max(0.5, next_ones + DEVIATIONS * chance):
            return True
    return False


def cuts_of(cuts: Cuts, place: Place, height: int, width: int) -> Cuts:
    """``cuts`` of a picture of that size as far as they are in a part of it."""
    _, rows, columns = place
    touched = (rows.start == 0, rows.stop == height, columns.start == 0, columns.stop == width)
    return tuple(cut and there for cut, there in zip(cuts, touched, strict=True))  # type: ignore[return-value]


def by_parts(function: Callable[..., Tensor], cuts: Cuts, *pictures: Tensor) -> Tensor:
    """``function`` of pictures (C, H, W), made of each detached line and of the rest by itself."""
    if not any(cuts):
        return function(*pictures)
    height, width = pictures[0].shape[1:]
    answer = pictures[0].new_empty(0)
    for rows in _parts(height, cuts[0], cuts[1]):
        for columns in _parts(width, cuts[2], cuts[3]):
            part = function(*(picture[:, rows, columns] for picture in pictures))
            if not answer.numel():
                answer = part.new_empty(len(part), height, width)
            answer[:, rows, columns] = part
    return answer


def _parts(side: int, first: bool, last: bool) -> list[slice]:
    bounds = [0, *([1] if first else []), *([side - 1] if last else []), side]
    return [slice(start, stop) for start, stop in pairwise(bounds) if stop > start]
