"""How much memory a recovery needs: measured by tests/benchmarks/memory.py, as a formula with a margin.

The fast preset holds several arrays of the size of the picture. With the paper's preset, activations of the U-Net
dominate: they grow with the pixels, and with the width on top of the 32 input channels.
"""

from __future__ import annotations

import math

import torch

from doprestore.image.canvas import Padding
from doprestore.image.settings import ImageSettings
from doprestore.machine import uses_bfloat16

# Bytes a pixel in float32 with the paper's preset, constant and per channel of width. Measured on Linux, PyTorch 2.15 on a
# CPU with AVX-512: 780 + 60 a channel (tests/benchmarks/memory.py --paper); the rest is the margin, 16 to 27 % in all at
# width 32.
FLOAT32 = (900, 70)
# The same in bfloat16, where 630 + 43 were measured.
BFLOAT16 = (750, 50)
# Bytes times width²: parameters, gradients and two moments of them.
WEIGHT_BYTES = 2240
# Bytes that libraries take for themselves.
WORKSPACE = 100 * 2**20
# Bytes that the fast preset takes for a value of the picture. Measured on Linux, PyTorch 2.14 on a CPU, in colour with and
# without random values on 1 %: 317 and 190 MB at 1024x1024, 799 and 541 MB at 2048x2048 (memory.py --sides 1024 2048), 51 a
# value; the whole command, with Python, PyTorch and files, takes 3900 MB at 3464x3464 (speed.py --sides 3464 --damage
# random-1), 114 a value.
LIGHT_VALUE = 110
# Bytes that it takes for a picture of any size.
LIGHT_WORKSPACE = 180 * 2**20
# Bytes for a value of the answer, and while it is written.
ANSWER_VALUE = 20


def light_bytes(shape: tuple[int, ...]) -> int:
    """About how many bytes the fast preset takes for a picture (C, H, W), rather over than under."""
    return LIGHT_VALUE * math.prod(shape) + LIGHT_WORKSPACE


def paper_bytes(shape: tuple[int, ...], settings: ImageSettings, device: torch.device) -> int:
    """About how many bytes the paper's preset takes for a picture (C, H, W) on ``device``, rather over than under."""
    height, width = Padding(*shape[1:]).padded
    constant, per_channel = BFLOAT16 if uses_bfloat16(settings.convolutions, device) else FLOAT32
    return height * width * (constant + per_channel * settings.width) + WEIGHT_BYTES * settings.width**2 + WORKSPACE
