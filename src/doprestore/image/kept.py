"""What a search leaves to the fit that follows: the values that are kept, and what is unexplained of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

REACH = 4  # a neighbourhood is a square of 9 values a side
COUPLED = 0.5  # the channel coupling from which on it is whole pixels that are lost
LEAST_TRUSTED = 0.35  # the share of its values below which none of it is given up


def spare_neighbourhoods(kept: Tensor, before: Tensor) -> Tensor:
    """``kept``, but as ``before`` where a neighbourhood would be stripped of what it is to be rebuilt from.

    Both are (C, H, W), 1 where a value is kept and 0 where it is not.
    """
    return torch.where(neighbourhood_means(kept, 2 * REACH + 1) < LEAST_TRUSTED, before, kept)


def channel_coupling(lost: Tensor) -> float:
    """How much it is whole pixels that are lost rather than single values: 0 as by chance, 1 where no pixel keeps any.

    lost: bool (C, H, W). 1 for a grey picture, whatever is lost; else 0 where nothing is.
    """
    if len(lost) == 1 or lost.all():
        return 1.0
    share = lost.float().mean().item()
    chance = share ** len(lost)
    return (lost.all(dim=0).float().mean().item() - chance) / (share - chance) if share else 0.0


def neighbourhood_means(values: Tensor, side: int) -> Tensor:
    """(C, H, W): the mean of the square of that odd side around each value, as far as it is in the picture."""
    return nn.functional.avg_pool2d(values[None], side, stride=1, padding=side // 2, count_include_pad=False)[0]


def unexplained(residual: Tensor, kept: Tensor) -> float:
    """The root of the mean square of ``residual`` over the values kept; 0 where there are none. Both (C, H, W)."""
    return float(((kept * residual.square()).sum() / kept.sum().clamp(min=1)).sqrt())
