"""Do outliers stand alone, like impulse noise, or together, like scratches, lettering and dead lines?"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

WINDOWS = ((7, 7), (1, 15), (15, 1))  # height and width of where a value's neighbours lie, in all channels
DEVIATIONS = 5.0  # so many standard deviations more neighbours than by chance are a crowd
STROKES = 0.15  # crowded outliers, of all: at most 0.07 measured on impulses, 0.3 and more on drawn damage


def stand_together(outliers: Tensor, strength: Tensor, known: float = 1.0) -> bool:
    """Whether more outliers have outliers around them than would if each stood where it does by chance.

    outliers: bool (C, H, W). strength: how far off each value is, of the same shape. Only the stronger half counts:
    among the weaker are the details of the picture, which stand together, too. known: the share of the values that
    could have been outliers.
    """
    if not outliers.any():
        return False
    strong = outliers & (strength >= strength[outliers].median())
    return (_crowded(strong, known) & strong).sum().item() > STROKES * strong.sum().item()


def _crowded(strong: Tensor, known: float) -> Tensor:
    """(H, W) bool: where one of the windows holds more than chance puts there."""
    share = min(1.0, strong.float().mean().item() / known)
    crowded = torch.zeros_like(strong[0])
    for height, width in WINDOWS:
        neighbours = len(strong) * height * width - 1
        around = (
            nn.functional.avg_pool2d(
                strong.float().mean(dim=0)[None], (height, width), 1, (height // 2, width // 2), count_include_pad=False
            )[0]
            * (neighbours + 1)
            - 1
        )  # beside the value itself
        crowded |= around >= neighbours * share + DEVIATIONS * math.sqrt(neighbours * share * (1 - share))
    return crowded
