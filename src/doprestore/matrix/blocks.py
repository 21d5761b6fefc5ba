"""Work on a large matrix piece by piece: what stays in the processor's cache is faster, and temporaries stay small."""

from __future__ import annotations

import torch
from torch import Tensor

# Entries worked on at a time: 512 KB of float64.
BLOCK = 2**16


def blocks(x: Tensor, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """Views of a few rows of ``x`` each, together all of it; ``like``: as many rows each as for that tensor."""
    return torch.split(x, max(1, BLOCK // (x if like is None else like).shape[1]))
