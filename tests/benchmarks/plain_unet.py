"""The network of the published code as one would first write it, with the parameter names of :mod:`doprestore.image.unet`:
what ours is held against (test_unet.py, test_paper_preset.py)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from doprestore.image.unet import INPUT_CHANNELS, SCALES, SKIP_CHANNELS


def _block(inputs: int, outputs: int, kernel: int, padding: str, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode=padding)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, track_running_stats=False), nn.LeakyReLU(0.2))


class _Scale(nn.Module):
    def __init__(self, inputs: int, width: int, inner: nn.Module | None, padding: str):
        super().__init__()
        self.skip = _block(inputs, SKIP_CHANNELS, 1, padding)
        self.down = nn.Sequential(_block(inputs, width, 3, padding, stride=2), _block(width, width, 3, padding))
        self.inner = inner
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")
        self.norm = nn.BatchNorm2d(SKIP_CHANNELS + width, track_running_stats=False)
        self.up = nn.Sequential(_block(SKIP_CHANNELS + width, width, 3, padding), _block(width, width, 1, padding))

    def forward(self, x: Tensor) -> Tensor:
        deep = self.down(x)
        deep = self.upsample(deep if self.inner is None else self.inner(deep))
        return self.up(self.norm(torch.cat([self.skip(x), deep], dim=1)))


class PlainUNet(nn.Module):
    def __init__(self, channels: int, width: int, padding: str = "reflect"):
        super().__init__()
        body: nn.Module | None = None
        for scale in reversed(range(SCALES)):
            body = _Scale(INPUT_CHANNELS if scale == 0 else width, width, body, padding)
        self.body = body
        self.head = nn.Conv2d(width, channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.head(self.body(z)))
