"""Pictures for people: the outlier map and the side-by-side panel."""

from __future__ import annotations

import torch
from torch import Tensor


def outlier_map(outliers: Tensor) -> Tensor:
    """s in [-1, 1], (C, H, W) -> a picture in [0, 1]: mid-grey where nothing was wrong, lighter where the
    input was too bright, darker where it was too dark."""
    return (0.5 + outliers / 2).clamp(0, 1)


def panel(pictures: list[Tensor], gap: int = 4) -> Tensor:
    """Pictures (C, H, W) of one size side by side on white, as one picture (3, H + 2 gap, ...)."""
    from torchvision.utils import make_grid  # a second of start-up, so only when a panel is asked for

    colour = [picture.expand(3, -1, -1) for picture in pictures]
    return make_grid(torch.stack(colour), nrow=len(colour), padding=gap, pad_value=1.0)
