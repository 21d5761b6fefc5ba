"""Classical filters for impulse noise. Pictures are tensors (C, H, W), floating point in [0, 1]; channels are separate."""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.errors import UsageError
from doprestore.metrics import psnr

# Sides in pixels of the windows that the best median is chosen from.
MEDIAN_SIZES = (3, 5, 7, 9, 11)
# Window entries that are sorted at a time: 16 MB of float32.
_STRIP = 1 << 22


def median(picture: Tensor, size: int = 5) -> Tensor:
    """Every value becomes the median of the ``size`` x ``size`` window about it; edges are repeated outwards.

    Raises :class:`UsageError` unless ``size`` is odd and positive.
    """
    if size < 1 or size % 2 == 0:
        raise UsageError(f"the size of a median window must be odd and positive, not {size}")
    windows = _windows(picture, size)
    channels, height, width = picture.shape
    rows = max(1, _STRIP // (channels * width * size * size))
    strips = [windows[:, top : top + rows].flatten(3).median(dim=3).values for top in range(0, height, rows)]
    return torch.cat(strips, dim=1)


def best_median(picture: Tensor, clean: Tensor) -> Tensor:
    """The median whose size out of :data:`MEDIAN_SIZES` gives the highest PSNR: an oracle, it looks at ``clean``."""
    return max((median(picture, size) for size in MEDIAN_SIZES), key=lambda found: psnr(found, clean))


def adaptive_median(picture: Tensor, largest: int = 19) -> Tensor:
    """The adaptive (switching) median: only local extremes are replaced, by the median of a window that fits.

    Hwang and Haddad, "Adaptive median filters: new algorithms and results", 1995, doi:10.1109/83.370679:
    the window grows from 3x3 until its median is neither its minimum nor its maximum; a value strictly
    between these two then stays, any other becomes the median. At the size ``largest`` the median is
    taken as it is. Edges are repeated outwards.
    """
    result = picture.clone()
    undecided = torch.ones_like(picture, dtype=torch.bool)
    for size in range(3, largest + 1, 2):
        windows = _windows(picture, size)
        # Few values need the large windows, so only these are gathered.
        for places in undecided.nonzero().split(max(1, _STRIP // size**2)):
            place = places.unbind(1)
            ordered = windows[place].flatten(1).sort(dim=1).values  # (N, size * size)
            low, middle, high = ordered[:, 0], ordered[:, size * size // 2], ordered[:, -1]
            value = picture[place]
            decided = (low < middle) & (middle < high)
            stays = decided & (low < value) & (value < high)
            result[place] = torch.where(stays, value, middle)
            undecided[place] = ~decided
    return result


def _windows(picture: Tensor, size: int) -> Tensor:
    """All windows as a view (C, H, W, size, size)."""
    reach = size // 2
    padded = torch.nn.functional.pad(picture[None], (reach,) * 4, mode="replicate")[0]
    return padded.unfold(1, size, 1).unfold(2, size, 1)
