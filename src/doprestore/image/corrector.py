"""φ(θ) of the fast preset: a thin, untrained U-Net that is shown a fill and learns what the fill is off by.

The picture is sigmoid(logit(fill) + axes · U-Net(fill, its Laplacian, what is trusted, the edges of the picture)). The
head starts at zero, so φ starts as the fill. Three halvings, few channels: the fill knows most of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from doprestore.image.fill import laplacian
from doprestore.image.unet import Scale

# Scales below the full size [2 to 4: alike; tests/benchmarks/image_constants.py, here and below].
HALVINGS = 3
# Channels of the skip branches [6 to 24: alike].
SKIP = 12
# Sides in pixels must be multiples of this.
STRIDE = 2**HALVINGS
# Factors of the fill's contrast, its Laplacian and the mask, which then have a spread near 1 each.
GAINS = (4.0, 16.0, 1.0)
# Logits are taken of tones no nearer to black and to white than this, of 1 [0.01 to 0.04: alike].
DARKEST = 0.02


def shown(filled: Tensor, trusted: Tensor, mean: Tensor, marks: Tensor) -> Tensor:
    """(3C + 4, H, W): what the network sees. filled, trusted: (C, H, W); mean: (C, 1, 1); marks: :func:`edge_marks`."""
    parts = [(filled - mean) * GAINS[0], laplacian(filled) * GAINS[1], (trusted - 0.5) * GAINS[2], marks]
    return torch.cat(parts)


def edge_marks(height: int, width: int, device: torch.device) -> Tensor:
    """(4, H, W): 1 in the outermost rows and columns, a channel each: frames and defective edge lines are told by them."""
    marks = torch.zeros(4, height, width, device=device)
    marks[0, 0] = marks[1, -1] = 1
    marks[2, :, 0] = marks[3, :, -1] = 1
    return marks


class Corrector(nn.Module):
    """See above. channels: C of the picture. axes: (C, C), the colour axes that corrections are learnt along.
    width: channels at every scale."""

    def __init__(self, channels: int, axes: Tensor, width: int):
        super().__init__()
        self.axes: Tensor
        self.register_buffer("axes", axes)
        body = None
        for scale in reversed(range(HALVINGS)):
            body = Scale(width if scale else 3 * channels + 4, width, body, "zeros", SKIP)
        assert body is not None
        self.body = body
        self.head = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, z: Tensor, filled: Tensor) -> Tensor:
        """z: (N, 3C + 4, H, W), filled: (N, C, H, W) -> (N, C, H, W) in (0, 1)."""
        weight = (self.axes @ self.head.weight.flatten(1))[:, :, None, None]
        assert self.head.bias is not None
        correction = nn.functional.conv2d(self.body(z), weight, self.axes @ self.head.bias)
        return torch.sigmoid(filled.clamp(DARKEST, 1 - DARKEST).logit() + correction)
