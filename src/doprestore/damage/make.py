"""Damage made on purpose: sparse, gross errors s added to a known picture, y = x + s.

Every random number comes from one generator on the CPU, so that a seed gives the same damage on every device.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from doprestore.damage import font
from doprestore.errors import UsageError

Shape = tuple[int, ...]  # (C, H, W)
Drawn = tuple[Tensor, Tensor]  # a mask, bool, and values, either of them (1, H, W) or (C, H, W)

_PANGRAM = "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG "
# The largest share of a picture that is drawn over: strokes that overlap more and more take forever to cover more.
_MOST_DRAWN = 0.5


class Corrupted(NamedTuple):
    """A damaged picture and where it differs from the original, both (C, H, W)."""

    picture: Tensor
    changed: Tensor  # bool


def corrupt(picture: Tensor, kind: str, amount: float, seed: int) -> Corrupted:
    """Damage ``picture`` (C, H, W), floating point in [0, 1].

    ``kind`` is a name of :data:`doprestore.damage.kinds.KINDS`. ``amount`` in [0, 1] is the probability that a
    value or pixel is replaced, or for drawn damage about the share of pixels covered. Values that happen
    to be replaced by themselves do not count as changed.

    Raises :class:`UsageError` for an unknown kind or an amount that it cannot reach.
    """
    if kind not in _MAKERS:
        raise UsageError(f"unknown kind of damage {kind!r}; choose from {', '.join(_MAKERS)}")
    if not 0 <= amount <= 1:
        raise UsageError(f"the amount of damage must be between 0 and 1, not {amount:g}")
    if picture.ndim != 3 or not picture.is_floating_point():
        raise ValueError(f"expected a floating-point picture (C, H, W), not {picture.dtype} {tuple(picture.shape)}")
    generator = Generator().manual_seed(seed)
    mask, values = _MAKERS[kind](picture.shape, amount, generator)
    mask, values = mask.to(picture.device), values.to(picture.device, picture.dtype)
    damaged = torch.where(mask, values, picture)
    return Corrupted(damaged, damaged != picture)


def _impulses(shape: Shape, amount: float, generator: Generator, *, random: bool) -> Drawn:
    mask = torch.rand(shape, generator=generator) < amount
    values = torch.rand(shape, generator=generator)
    return mask, values if random else values.round()


def _salt_pepper(shape: Shape, amount: float, generator: Generator) -> Drawn:
    # As skimage.util.random_noise(mode="s&p"), which the published code calls: two independent fair draws a value.
    return _impulses(shape, amount, generator, random=False)


def _salt_pepper_pixel(shape: Shape, amount: float, generator: Generator) -> Drawn:
    return _impulses((1, *shape[1:]), amount, generator, random=False)


def _random(shape: Shape, amount: float, generator: Generator) -> Drawn:
    return _impulses(shape, amount, generator, random=True)


def _random_pixel(shape: Shape, amount: float, generator: Generator) -> Drawn:
    mask = torch.rand((1, *shape[1:]), generator=generator) < amount
    return mask, torch.rand(shape, generator=generator)


def _lines(shape: Shape, amount: float, generator: Generator) -> Drawn:
    _, height, width = shape
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    values = torch.zeros(1, height, width)
    share = 1 - math.sqrt(1 - amount)  # of the rows and of the columns: together they cover ``amount``
    rows = torch.randperm(height, generator=generator)[: round(share * height)]
    columns = torch.randperm(width, generator=generator)[: round(share * width)]
    mask[:, rows] = True
    mask[:, :, columns] = True
    values[:, rows] = _black_or_white(len(rows), generator)[None, :, None]
    values[:, :, columns] = _black_or_white(len(columns), generator)[None, None, :]
    return mask, values


def _scratches(shape: Shape, amount: float, generator: Generator) -> Drawn:
    """Strokes with a slowly turning direction, one to a few pixels thick."""
    canvas = _Canvas(shape, amount)
    side = min(shape[1:])
    thickest = max(2.0, side / 100)
    while (missing := canvas.missing()) >= 1:
        start, turn, thickness, length = torch.rand(4, generator=generator).tolist()
        thickness = 1 + thickness * (thickest - 1)
        # The last stroke is only as long as is still needed.
        steps = max(1, math.ceil(min(side * (0.2 + length), missing / thickness)))
        angles = 2 * math.pi * start + (turn - 0.5) * torch.linspace(0, 2, steps)
        origin = torch.rand(2, generator=generator) * torch.tensor(shape[1:])
        path = origin[:, None] + torch.stack([angles.sin(), angles.cos()]).cumsum(1)  # (2, steps)
        canvas.draw(_thick(path, thickness), _black_or_white(1, generator))
    return canvas.mask, canvas.values


def _text(shape: Shape, amount: float, generator: Generator) -> Drawn:
    """Lines of writing at even distances; the letters are as large as fits the amount, at most 1/16 of the height."""
    _, height, width = shape
    target = amount * height * width
    for size in range(max(1, height // 112), 0, -1):
        letters = math.ceil(width / (font.ADVANCE * size))
        start = int(torch.randint(len(_PANGRAM), (), generator=generator))
        text = (_PANGRAM * (2 + letters // len(_PANGRAM)))[start : start + letters]
        line = font.write(text).repeat_interleave(size, 0).repeat_interleave(size, 1)[:, :width]
        count = math.ceil(target / max(1, int(line.sum())))
        if count * (font.HEIGHT + 1) * size <= height:
            break
    else:
        raise UsageError(f"text cannot cover {amount:.0%} of this picture; give a smaller amount, such as 0.1")
    canvas = _Canvas(shape, amount)
    pitch = height / max(count, 1)
    for row in range(count):
        top = int(row * pitch + (pitch - font.HEIGHT * size) / 2)
        # Only as many columns of the last line as are still needed.
        needed = line[:, : int((line.sum(0).cumsum(0) < canvas.missing()).sum()) + 1]
        points = needed.nonzero().T + torch.tensor([[top], [0]])
        canvas.draw(points, _black_or_white(1, generator))
    return canvas.mask, canvas.values


def _cosmic(shape: Shape, amount: float, generator: Generator) -> Drawn:
    """Straight tracks of one to some twenty pixels, most of them short, each of one brightness."""
    canvas = _Canvas(shape, amount)
    while (missing := canvas.missing()) >= 1:
        count = max(1, int(missing / 8))
        lengths = torch.empty(count).exponential_(1 / 5, generator=generator).clamp(1, 20).long()
        angles = 2 * math.pi * torch.rand(count, generator=generator)
        origins = torch.rand(2, count, generator=generator) * torch.tensor(shape[1:])[:, None]
        brightness = 0.7 + 0.3 * torch.rand(count, generator=generator)
        track = torch.arange(count).repeat_interleave(lengths)
        along = torch.arange(len(track)) - (lengths.cumsum(0) - lengths)[track]
        points = origins[:, track] + torch.stack([angles.sin(), angles.cos()])[:, track] * along
        canvas.draw(points.floor().long(), brightness[track])
    return canvas.mask, canvas.values


_MAKERS = {
    "salt-pepper": _salt_pepper,
    "salt-pepper-pixel": _salt_pepper_pixel,
    "random": _random,
    "random-pixel": _random_pixel,
    "lines": _lines,
    "scratches": _scratches,
    "text": _text,
    "cosmic": _cosmic,
}


class _Canvas:
    """A mask and values (1, H, W) to draw on until the wanted share of pixels is covered."""

    def __init__(self, shape: Shape, amount: float):
        if amount > _MOST_DRAWN:
            raise UsageError(f"drawn damage covers at most {_MOST_DRAWN:.0%} of a picture, not {amount:.0%}")
        self.mask = torch.zeros(1, *shape[1:], dtype=torch.bool)
        self.values = torch.zeros(1, *shape[1:])
        self._target = amount * self.mask.numel()

    def missing(self) -> float:
        """How many pixels are still to be covered."""
        return self._target - int(self.mask.sum())

    def draw(self, points: Tensor, values: Tensor) -> None:
        """Set the pixels ``points`` (2, N), rows and columns, to ``values`` (N,) or (1,); those outside are dropped."""
        height, width = self.mask.shape[1:]
        rows, columns = points
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        rows, columns = rows[inside], columns[inside]
        self.mask[0, rows, columns] = True
        self.values[0, rows, columns] = values.expand(len(inside))[inside]


def _thick(path: Tensor, thickness: float) -> Tensor:
    """The pixels (2, N) whose corner lies within half the thickness of a point of ``path`` (2, steps)."""
    reach = math.ceil(thickness / 2)
    offsets = torch.cartesian_prod(torch.arange(-reach, reach + 1), torch.arange(-reach, reach + 1)).T  # (2, K)
    pixels = path.round().long()[:, :, None] + offsets[:, None, :]  # (2, steps, K)
    near = (pixels - path[:, :, None]).square().sum(0) <= (thickness / 2) ** 2
    return pixels[:, near]


def _black_or_white(count: int, generator: Generator) -> Tensor:
    return torch.randint(2, (count,), generator=generator).float()
