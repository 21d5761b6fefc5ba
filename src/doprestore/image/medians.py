"""Medians of what is around each value, by a network of least and greatest of two, several times as fast as by sorting."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

# The square that a median is taken in reaches so many pixels to each side of a value.
REACH = 2


def median_around(v: Tensor) -> Tensor:
    """(C, H, W): the lower median of the square around each value, its own left out; the border is repeated."""
    side = 2 * REACH + 1
    padded = nn.functional.pad(v[None], (REACH,) * 4, mode="replicate")[0]
    height, width = v.shape[1:]
    shifts = [(down, right) for down in range(side) for right in range(side) if (down, right) != (REACH, REACH)]
    around = [padded[:, down : down + height, right : right + width] for down, right in shifts]
    middle = (len(around) - 1) // 2
    for one, other, low, high in _exchanges(len(around), middle):
        pair = around[one], around[other]
        if low:
            around[one] = torch.minimum(*pair)
        if high:
            around[other] = torch.maximum(*pair)
    return around[middle]


@cache
def _exchanges(count: int, wanted: int) -> list[tuple[int, int, bool, bool]]:
    """Which two of ``count`` values are put into order one after the other, and whether the lesser and the greater of them
    are needed, for the value at ``wanted`` to be that of the sorted ones.

    K. E. Batcher's merge exchange (D. Knuth, "The Art of Computer Programming" 3, algorithm 5.2.2M), without what the one
    value does not depend on.
    """
    order = []
    half = step = 1 << ((count - 1).bit_length() - 1)
    while step:
        bit, left, apart = half, 0, step
        while apart:
            order += [(index, index + apart) for index in range(count - apart) if index & step == left]
            apart, bit, left = bit - step, bit >> 1, step
        step >>= 1
    needed, exchanges = {wanted}, []
    for one, other in reversed(order):
        if needed & {one, other}:
            exchanges.append((one, other, one in needed, other in needed))
            needed |= {one, other}
    return exchanges[::-1]
