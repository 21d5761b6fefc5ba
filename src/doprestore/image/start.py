"""Where θ starts, and what φ sees of the picture."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from doprestore.image.canvas import Padding
from doprestore.image.settings import ImageSettings
from doprestore.image.unet import INPUT_CHANNELS, UNet

INPUT_AMPLITUDE = 0.1  # the network's fixed input is uniform in [0, 0.1]
_DRAWING = threading.Lock()  # tiles start their networks from several threads


def network_and_input(
    padding: Padding, channels: int, settings: ImageSettings, random: torch.Generator
) -> tuple[UNet, Tensor]:
    """φ at PyTorch's initialisation and its input, (1, INPUT_CHANNELS, padded H, padded W), from the random numbers of a
    generator on the CPU."""
    with _DRAWING, torch.random.fork_rng(devices=[]):
        # PyTorch's layers draw from the global generator.
        torch.manual_seed(int(torch.randint(2**62, (), generator=random)))
        network = UNet(channels, settings.width, "reflect" if settings.is_paper else "zeros")
    z = torch.rand((1, INPUT_CHANNELS, *padding.padded), generator=random) * INPUT_AMPLITUDE
    if not settings.is_paper:
        z[0, :4] = edges(padding)
    return network, z


def edges(padding: Padding) -> Tensor:
    """(4, padded H, padded W): 1 at the top, bottom, left and right edge of the picture, 0 elsewhere.

    With these in its input the network learns frames and defective edge lines, common in scans and in test
    pictures, before s takes them for outliers.
    """
    marks = torch.zeros(4, padding.height, padding.width)
    marks[0, 0] = marks[1, -1] = marks[2, :, 0] = marks[3, :, -1] = 1
    return padding.pad(marks)
