"""How much memory a run needs: measured by tests/benchmarks/memory.py, kept as a formula with a margin.

Activations of the U-Net dominate: they grow with the pixels, and with the width on top of the 32 input channels.
"""

from __future__ import annotations

import torch

from doprestore.image.canvas import Padding
from doprestore.image.settings import ImageSettings
from doprestore.machine import uses_bfloat16

# Bytes a pixel, constant and per channel of width. Measured on Linux, PyTorch 2.15 on a CPU with AVX-512: 780 + 60 a
# channel in float32 and 630 + 43 in bfloat16; the rest is the margin, 16 to 27 % in all at width 32.
FLOAT32 = (900, 70)
BFLOAT16 = (750, 50)
# Bytes times width²: parameters, gradients and two moments of them.
WEIGHT_BYTES = 2240
# Bytes that libraries take for themselves.
WORKSPACE = 100 * 2**20


def bytes_needed(shape: tuple[int, ...], settings: ImageSettings, device: torch.device) -> int:
    """About how many bytes the recovery of a picture (C, H, W) takes on ``device``, rather over than under."""
    height, width = Padding(*shape[1:]).padded
    constant, per_channel = BFLOAT16 if uses_bfloat16(settings.convolutions, device) else FLOAT32
    return height * width * (constant + per_channel * settings.width) + WEIGHT_BYTES * settings.width**2 + WORKSPACE
