"""φ(θ): the skip-connected U-Net of the deep image prior, the image model of eq. (9).

References:
  Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", CVPR 2018 (the architecture);
  You, Zhu, Qu, Ma, NeurIPS 2020, section 4.2 (width 128 in every layer).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

# Halvings of the picture, as in the published code.
SCALES = 5
# Channels of the skip branches, as there.
SKIP_CHANNELS = 4
# Channels of the fixed random input, as there.
INPUT_CHANNELS = 32
# Sides in pixels must be multiples of this.
STRIDE = 1 << SCALES
# They must have at least so many pixels: at 1x1 reflection padding fails.
MIN_SIDE = 2 * STRIDE
# Up to so many pixels a CPU spends its time on calling operations, whatever these do.
SMALL = 64 * 64


class Reflected(torch.autograd.Function):
    """(N, C, H, W) -> (N, C, H + 2, W + 2), reflected at the borders as by ``pad(mode="reflect")``.

    That one copies from and to channels_last, in value and gradient; this keeps the order.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        y = x.new_empty((n, height + 2, width + 2, channels)).permute(0, 3, 1, 2)  # channels_last
        y[:, :, 1:-1, 1:-1] = x
        y[:, :, 0, 1:-1] = x[:, :, 1]
        y[:, :, -1, 1:-1] = x[:, :, -2]
        y[:, :, :, 0] = y[:, :, :, 2]
        y[:, :, :, -1] = y[:, :, :, -3]
        return y

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        x = gradient[:, :, 1:-1, 1:-1].contiguous(memory_format=torch.channels_last)
        sides = gradient[:, :, :, :: gradient.shape[3] - 1].clone()  # (N, C, H + 2, 2)
        sides[:, :, 2] += sides[:, :, 0]
        sides[:, :, -3] += sides[:, :, -1]
        x[:, :, 1] += gradient[:, :, 0, 1:-1]
        x[:, :, -2] += gradient[:, :, -1, 1:-1]
        x[:, :, :, 1] += sides[:, :, 1:-1, 0]
        x[:, :, :, -2] += sides[:, :, 1:-1, 1]
        return x


class Convolution(nn.Conv2d):
    """That of PyTorch, which on a GPU reflects without copies."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "reflect" or not input.is_cuda:
            result: Tensor = super()._conv_forward(input, weight, bias)
            return result
        padded: Tensor = Reflected.apply(input)
        return nn.functional.conv2d(padded, weight, bias, self.stride)


def _block(inputs: int, outputs: int, kernel: int, padding: str, stride: int = 1) -> nn.Sequential:
    """Convolution -> batch norm -> LeakyReLU, at PyTorch's default (Kaiming-uniform) initialisation.

    Without the bias of the published code, which the batch norm takes away again.
    """
    # A 1x1 convolution that reflects would copy its input.
    mode: Literal["zeros", "reflect"] = "reflect" if padding == "reflect" and kernel > 1 else "zeros"
    conv = Convolution(inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode=mode, bias=False)
    return nn.Sequential(conv, _norm(outputs), nn.LeakyReLU(0.2, inplace=True))


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm by the statistics of the current input always, as in the published code: there is only one picture."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


class Doubled(torch.autograd.Function):
    """Bilinear upsampling by 2 whose gradient is a strided convolution.

    The same numbers as PyTorch's own gradient, in less than half the time on a CPU in channels_last,
    and without the atomic additions that make that one irreproducible on CUDA.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=2, mode="bilinear")

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        channels = gradient.shape[1]
        # Output 2i is x[i-1]/4 + 3x[i]/4 and output 2i+1 is 3x[i]/4 + x[i+1]/4, with the ends repeated.
        # The taps 1/4, 3/4, 3/4, 1/4, made on the device: a CUDA graph cannot hold a copy of Python's numbers.
        taps = 1 - (torch.arange(4, dtype=gradient.dtype, device=gradient.device) - 1.5).abs() / 2
        weight = taps.outer(taps).expand(channels, 1, 4, 4)
        padded = nn.functional.pad(gradient, (1, 1, 1, 1), mode="replicate")
        return nn.functional.conv2d(padded, weight, stride=2, groups=channels)


class Scale(nn.Module):
    """One scale of a U-Net: halve, recurse into ``inner``, double, join the skip branch of ``skip`` channels.

    (N, inputs, H, W) -> (N, width, H, W).
    """

    def __init__(self, inputs: int, width: int, inner: nn.Module | None, padding: str, skip: int = SKIP_CHANNELS):
        super().__init__()
        self.skip = _block(inputs, skip, 1, padding)
        self.down = nn.Sequential(_block(inputs, width, 3, padding, stride=2), _block(width, width, 3, padding))
        self.inner = inner
        self.norm = _norm(skip + width)
        self.up = nn.Sequential(_block(skip + width, width, 3, padding), _block(width, width, 1, padding))

    def forward(self, x: Tensor) -> Tensor:
        deep = self.down(x)  # (N, width, H/2, W/2)
        if self.inner is not None:
            deep = self.inner(deep)  # (N, width, H/2, W/2)
        if x.device.type == "cpu" and x[0, 0].numel() <= SMALL:
            deep = nn.functional.interpolate(deep, scale_factor=2, mode="bilinear")  # (N, width, H, W)
            answer: Tensor = self.up(self.norm(torch.cat([self.skip(x), deep], dim=1)))  # (N, width, H, W)
            return answer
        return self._joined(x, Doubled.apply(deep))

    def _joined(self, x: Tensor, deep: Tensor) -> Tensor:
        """The same without concatenation, as the sum of what norm and convolution make of the parts: it would copy,
        and 4 + width is a number of channels that they are slow at."""
        conv, norm, activation = self.skip.children()
        # Norms are slow where the channels lie side by side in memory and are few.
        skip = activation(norm(conv(x).contiguous()))  # (N, skip, H, W)
        first, last = self.up.children()
        conv, norm, activation = first.children()
        assert isinstance(conv, nn.Conv2d)
        sizes = [skip.shape[1], deep.shape[1]]
        parts = []
        for part, scale, shift, weight in zip(
            (skip, deep),
            self.norm.weight.split(sizes),
            self.norm.bias.split(sizes),
            conv.weight.split(sizes, dim=1),
            strict=True,
        ):
            x = nn.functional.batch_norm(part, None, None, scale, shift, training=True)
            x = x.contiguous(memory_format=torch.channels_last)
            parts.append(conv._conv_forward(x, weight, None))
        answer: Tensor = last(activation(norm(parts[0].add_(parts[1]))))
        return answer


class UNet(nn.Module):
    """φ(θ): a fixed random input of shape (1, 32, H, W) -> a picture (1, C, H, W) in (0, 1).

    H and W must be multiples of 32 and at least 64. ``padding`` is that of the convolutions: "reflect" as in the
    published code, or "zeros", which tells the network where the border is, so that it learns frames and defective
    borders sooner, and saves copies.
    """

    def __init__(self, channels: int, width: int, padding: str = "reflect"):
        super().__init__()
        body = Scale(width, width, None, padding)
        for scale in reversed(range(SCALES - 1)):
            body = Scale(INPUT_CHANNELS if scale == 0 else width, width, body, padding)
        self.body = body
        self.head = nn.Conv2d(width, channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        logits = self.head(self.body(z)).contiguous()
        # In the precision of the weights: bfloat16 has no more than 128 numbers between 1/2 and 1.
        return torch.sigmoid(logits.to(self.head.weight.dtype))
