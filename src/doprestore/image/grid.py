"""How a large picture is cut into overlapping tiles: their size, their places, their weights, how many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from doprestore.errors import DoprestoreError
from doprestore.image.memory import bytes_needed
from doprestore.image.settings import ImageSettings
from doprestore.image.unet import STRIDE
from doprestore.machine import choose_device, threads

MIN_TILE = 128  # below, the network sees too little of the picture
USUAL_TILE = 192  # larger ones need more steps for their searches, smaller ones more overlap
BYTES_KEPT = 220  # a pixel: picture, sums and result of the whole, beside the tiles at work; 4000x3000 took 190


def usual_tile(shape: tuple[int, ...], settings: ImageSettings) -> int | None:
    """The tile side that a picture (C, H, W) is best recovered in; None for as a whole: small ones, and all those of
    the paper's preset."""
    return None if settings.is_paper or max(shape[1:]) <= USUAL_TILE else USUAL_TILE


def tiles_at_a_time(shape: tuple[int, ...], tile: int, settings: ImageSettings, free: int) -> int:
    """How many tiles of a picture (C, H, W) to work on at a time within ``free`` bytes: on a CPU up to one a thread."""
    device = choose_device(settings.device)
    if device.type != "cpu":
        return 1
    each = bytes_needed((shape[0], min(tile, shape[1]), min(tile, shape[2])), settings, device)
    return max(1, min(threads(), (free - BYTES_KEPT * shape[1] * shape[2]) // each))


def largest_tile(shape: tuple[int, ...], settings: ImageSettings, free: int) -> int | None:
    """The largest tile side, a multiple of 32, that fits into ``free`` bytes; None when the whole picture does.

    Raises :class:`DoprestoreError` when not even small tiles fit.
    """
    device = choose_device(settings.device)
    if bytes_needed(shape, settings, device) <= free:
        return None
    left = free - BYTES_KEPT * shape[1] * shape[2]
    sides = range(MIN_TILE, max(shape[1:]), 32)
    sides_that_fit = [side for side in sides if bytes_needed((shape[0], side, side), settings, device) <= left]
    if not sides_that_fit:
        raise DoprestoreError(
            f"{free / 2**30:.1f} GB of free memory are too little for {shape[2]}x{shape[1]} pixels at width "
            f"{settings.width}, even in tiles; use a smaller --width, or close other programs"
        )
    return sides_that_fit[-1]


@dataclass(frozen=True)
class Grid:
    """Tiles of one size, at most ``tile`` a side, evenly spread over a picture; neighbours overlap by ``overlap`` or
    more."""

    height: int
    width: int
    tile: int

    @property
    def overlap(self) -> int:
        return self.tile // 8

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every tile: no more than the same number of tiles needs, a multiple of 32 unless the
        picture is smaller."""
        return self._length(self.height), self._length(self.width)

    def corners(self) -> list[tuple[int, int]]:
        """The top left corner of every tile, row by row."""
        height, width = self.size
        return [(top, left) for top in _starts(self.height, height, self._count(self.height))
                for left in _starts(self.width, width, self._count(self.width))]  # fmt: skip

    def weight(self, top: int, left: int) -> Tensor:
        """(tile height, tile width): 1 inside, falling to 0 like a raised cosine towards the neighbours."""
        down = self._ramp(top, self.height, self.size[0])
        across = self._ramp(left, self.width, self.size[1])
        return down[:, None] * across

    def _count(self, side: int) -> int:
        return 1 if side <= self.tile else -(-(side - self.overlap) // (self.tile - self.overlap))

    def _length(self, side: int) -> int:
        count = self._count(side)
        needed = -(-(side + (count - 1) * self.overlap) // count)
        return min(side, self.tile, -(-needed // STRIDE) * STRIDE)

    def _ramp(self, start: int, side: int, length: int) -> Tensor:
        starts = _starts(side, length, self._count(side))
        # The whole of what neighbours share, which is the overlap or more.
        shared = min((one + length - other for one, other in pairwise(starts)), default=1)
        position = torch.arange(length) + 0.5
        distance = torch.full((length,), float(shared))
        if start > 0:
            distance = torch.minimum(distance, position)
        if start + length < side:
            distance = torch.minimum(distance, length - position)
        return 0.5 - 0.5 * torch.cos(torch.pi * distance / shared)


def _starts(side: int, length: int, count: int) -> list[int]:
    """``count`` evenly spread starts of pieces of ``length`` in a side."""
    return [round(index * (side - length) / max(1, count - 1)) for index in range(count)]
