"""Parts of a picture that are worked on one after the other: what they take stays small, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# Pixels a side that are worked on at a time: what they take stays in a processor's cache.
WINDOW = 320
# Pixels around a window that are filled with it and thrown away: twenty steps reach little further.
MARGIN = 24

Place = tuple[Any, slice, slice]  # an index of (C, H, W)


def windows(shape: Sequence[int], side: int = WINDOW, margin: int = MARGIN) -> Iterator[tuple[Place, Place, Place]]:
    """For each window of (..., H, W) the indices of it with its margin, of it within that, and of its place."""
    height, width = shape[-2:]
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(height, top + side), min(width, left + side)
            up, before = max(0, top - margin), max(0, left - margin)
            outer = (..., slice(up, min(height, bottom + margin)), slice(before, min(width, right + margin)))
            inner = (..., slice(top - up, bottom - up), slice(left - before, right - before))
            yield outer, inner, (..., slice(top, bottom), slice(left, right))
