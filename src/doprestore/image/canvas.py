"""Any size in, the same size out: the network needs sides that are multiples of 32 and at least 64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from doprestore.image.unet import MIN_SIDE, STRIDE


@dataclass(frozen=True)
class Padding:
    """Reflection padding of an (H, W) picture, spread over both sides; undone by :meth:`crop`."""

    height: int
    width: int

    @property
    def padded(self) -> tuple[int, int]:
        """The padded sides."""
        return _network_side(self.height), _network_side(self.width)

    def pad(self, picture: Tensor) -> Tensor:
        """(..., H, W) -> (..., padded H, padded W). Works for any side, even 1, where torch's padding does not."""
        for dim, side, padded in ((-2, self.height, self.padded[0]), (-1, self.width, self.padded[1])):
            if padded != side:
                index = _reflected(side, padded).to(picture.device)
                picture = picture.index_select(dim, index)
        return picture

    def crop(self, picture: Tensor) -> Tensor:
        """(..., padded H, padded W) -> (..., H, W)."""
        top, left = ((padded - side) // 2 for padded, side in zip(self.padded, (self.height, self.width), strict=True))
        return picture[..., top : top + self.height, left : left + self.width]


def _network_side(side: int) -> int:
    return max(MIN_SIDE, -(-side // STRIDE) * STRIDE)


def _reflected(side: int, padded: int) -> Tensor:
    """Indices 0..side-1 bouncing back and forth, the original in the middle."""
    period = max(1, 2 * (side - 1))
    position = (torch.arange(padded) - (padded - side) // 2) % period
    return torch.minimum(position, (period - position) % period) if side > 1 else torch.zeros(padded, dtype=torch.long)
