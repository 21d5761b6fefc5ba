"""Light and realistic damage of a known picture, by name: what light.py makes its problems of."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import partial

import torch
from light_pictures import from_image, quantised, to_image
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

DENSE_SIGMA = 4 / 255  # standard deviation of the dense noise
JPEG_QUALITY = 92

Damaged = tuple[Tensor, Tensor]
Damage = Callable[[Tensor, int], Damaged]


def _compared(damaged: Tensor, clean: Tensor) -> Damaged:
    damaged = quantised(damaged)
    return damaged, damaged != clean


def _chosen(shape: tuple[int, ...], share: float, generator: Generator) -> Tensor:
    """Exactly ``share`` of the places of ``shape``, at least one: bool."""
    count = math.prod(shape)
    places = torch.zeros(count, dtype=torch.bool)
    places[torch.randperm(count, generator=generator)[: max(1, round(share * count))]] = True
    return places.view(shape)


def _nothing(clean: Tensor, seed: int) -> Damaged:
    return _compared(clean, clean)


def _impulses(clean: Tensor, seed: int, share: float, *, random: bool, by_pixel: bool = False) -> Damaged:
    generator = Generator().manual_seed(seed)
    shape = (1, *clean.shape[1:]) if by_pixel else tuple(clean.shape)
    struck = _chosen(shape, share, generator)
    values = torch.rand(shape, generator=generator)
    return _compared(torch.where(struck, values if random else values.round(), clean), clean)


def _hot(clean: Tensor, seed: int, share: float) -> Damaged:
    """``share`` of the pixels are brighter in one channel, by 0.1 to 1; what was white stays so."""
    generator = Generator().manual_seed(seed)
    struck = _chosen(tuple(clean.shape[1:]), share, generator)
    channel = torch.randint(len(clean), struck.shape, generator=generator)
    more = 0.1 + 0.9 * torch.rand(struck.shape, generator=generator)
    hit = struck & (channel == torch.arange(len(clean))[:, None, None])
    return _compared(torch.where(hit, clean + more, clean), clean)


class _Layer:
    """Paint over a picture: opacity and tone, both (1, H, W), added shape by shape until enough is covered."""

    VISIBLE = 0.1  # a pixel counts as covered from this opacity

    def __init__(self, clean: Tensor, share: float):
        self.clean = clean
        self.opacity = torch.zeros(1, *clean.shape[1:])
        self.tone = torch.zeros(1, *clean.shape[1:])
        self._target = share * self.opacity.numel()

    def missing(self) -> float:
        return self._target - int((self.opacity > self.VISIBLE).sum())

    def lay(self, opacity: Tensor, tone: float) -> None:
        """One more shape of one tone; where two overlap, the more opaque one is seen."""
        self.tone = torch.where(opacity > self.opacity, torch.tensor(tone), self.tone)
        self.opacity = torch.maximum(self.opacity, opacity)

    def over(self) -> Tensor:
        return self.clean + self.opacity * (self.tone - self.clean)


def _tone(generator: Generator) -> float:
    """Nearly white or nearly black."""
    light, by = torch.rand(2, generator=generator).tolist()
    return 1 - 0.15 * by if light < 0.5 else 0.15 * by


def _distance(shape: tuple[int, int], path: Tensor) -> Tensor:
    """(H, W): how far each pixel is from the points of ``path`` (N, 2), row and column; 99 where far away."""
    result = torch.full(shape, 99.0)
    reach = 8
    top, left = (int(low) for low in (path.amin(0) - reach).clamp(min=0))
    bottom, right = (int(high) + 1 for high in (path.amax(0) + reach).clamp(min=0))
    rows, columns = torch.arange(shape[0])[top:bottom], torch.arange(shape[1])[left:right]
    if len(rows) and len(columns):
        pixels = torch.cartesian_prod(rows, columns).float()
        nearest = (pixels[:, None] - path[None]).square().sum(2).amin(1).sqrt()
        result[top:bottom, left:right] = nearest.view(len(rows), len(columns))
    return result


def _soft(distance: Tensor, half_width: float | Tensor, softness: float) -> Tensor:
    """Opacity 1 inside, 0 outside, a ramp of ``softness`` pixels between them."""
    return (0.5 + (half_width - distance) / softness).clamp(0, 1)


def _lay_speck(layer: _Layer, generator: Generator) -> None:
    shape = layer.opacity.shape[1:]
    draw = torch.rand(8, generator=generator).tolist()
    row, column = draw[0] * shape[0], draw[1] * shape[1]
    # Small ones are many: radii of 0.8 to 4 pixels, but no larger than what is still needed.
    radius = min(0.8 + 3.2 * draw[2] ** 2, max(0.8, math.sqrt(layer.missing() / math.pi)))
    down = torch.arange(shape[0])[:, None] - row
    right = torch.arange(shape[1])[None] - column
    angle = torch.atan2(down, right)
    outline = 1 + 0.3 * draw[3] * (2 * angle + 6 * draw[4]).cos() + 0.2 * draw[5] * (3 * angle + 6 * draw[6]).cos()
    opacity = 0.5 + 0.5 * draw[7]
    softness = 0.6 + 0.4 * radius * float(torch.rand((), generator=generator))
    layer.lay(opacity * _soft(torch.hypot(down, right), radius * outline, softness)[None], _tone(generator))


def _lay_hair(layer: _Layer, generator: Generator) -> None:
    shape = layer.opacity.shape[1:]
    draw = torch.rand(7, generator=generator).tolist()
    width = 1 + 1.5 * draw[0]
    length = max(5.0, min(15 + 85 * draw[1], layer.missing() / (width + 1)))
    steps = torch.linspace(0, 1, max(2, int(4 * length)))
    # The direction turns, and turns back: a hair lies in a bow or an S.
    direction = 2 * math.pi * draw[2] + 4 * (draw[3] - 0.5) * steps + 2 * (draw[4] - 0.5) * (2 * math.pi * steps).sin()
    path = torch.stack([direction.sin(), direction.cos()], 1).cumsum(0) * length / len(steps)
    path = path - path.mean(0) + torch.tensor([draw[5] * shape[0], draw[6] * shape[1]])
    opacity, softness = (torch.rand(2, generator=generator) * torch.tensor([0.5, 0.8]) + torch.tensor([0.5, 0.7])).tolist()
    layer.lay(opacity * _soft(_distance(tuple(shape), path), width / 2, softness)[None], _tone(generator))


def _dust(clean: Tensor, seed: int, share: float, hairs: float) -> Damaged:
    """Soft-edged specks and hairs, light or dark, half to fully opaque, over ``share`` of the area."""
    generator = Generator().manual_seed(seed)
    layer = _Layer(clean, share)
    aim = layer.missing() * (1 - hairs)
    while layer.missing() >= 1:
        # Hairs first, as far as they are to cover; the specks fill up what they leave.
        (_lay_hair if layer.missing() > aim else _lay_speck)(layer, generator)
    return _compared(layer.over(), clean)


def _rays(clean: Tensor, seed: int, share: float) -> Damaged:
    """Cosmic rays: straight, narrow tracks that add charge, to all channels alike, the more so the shorter they are."""
    generator = Generator().manual_seed(seed)
    shape = tuple(clean.shape[1:])
    charge = torch.zeros(shape)
    target = share * charge.numel()
    while (missing := target - int((charge > 0).sum())) >= 1:
        draw = torch.rand(5, generator=generator).tolist()
        length = min(-5 * math.log(1 - 0.98 * draw[0]), missing)
        along = torch.linspace(0, 1, max(2, int(4 * length)))[:, None] * length
        angle = 2 * math.pi * draw[1]
        start = torch.tensor([draw[2] * shape[0], draw[3] * shape[1]])
        path = start + along * torch.tensor([math.sin(angle), math.cos(angle)])
        track = (0.2 + 0.8 * draw[4]) * _soft(_distance(shape, path), 0.5, 0.9)
        charge = torch.maximum(charge, torch.where(track >= 0.05, track, 0))
    return _compared(clean + charge, clean)


_PHRASES = (
    "Sample picture, not for sale",
    "Copyright 1998 the museum",
    "Preview 04/17/2003 12:45",
    "Property of the archive",
)


def _lettering(clean: Tensor, seed: int) -> Damaged:
    """Lines of smooth lettering of one tone each, 40 to 70 % opaque, a sixteenth to a tenth of the side high."""
    generator = Generator().manual_seed(seed)
    layer = _Layer(clean, 0)
    height, width = clean.shape[1:]
    top = 0.05 * height
    while top < 0.85 * height:
        draw = torch.rand(5, generator=generator).tolist()
        size = max(9, round(max(height, width) * (1 / 16 + (1 / 10 - 1 / 16) * draw[0])))
        canvas = Image.new("L", (width, height), 0)
        phrase = _PHRASES[int(draw[1] * len(_PHRASES))]
        pen = ImageDraw.Draw(canvas)
        pen.text((round(-0.2 * width * draw[2]), round(top)), phrase, fill=255, font=ImageFont.load_default(size))
        layer.lay((0.4 + 0.3 * draw[3]) * from_image(canvas), _tone(generator))
        top += size * (2 + 3 * draw[4])
    return _compared(layer.over(), clean)


def _offset_lines(clean: Tensor, seed: int, share: float) -> Damaged:
    """``share`` of the rows and of the columns are off by 0.06 to 0.3 and flicker; half of them in one channel only."""
    generator = Generator().manual_seed(seed)
    channels = len(clean)
    added = torch.zeros_like(clean)
    for picture in (added, added.transpose(1, 2)):  # rows, then columns
        lines = torch.randperm(picture.shape[1], generator=generator)[: max(1, round(share * picture.shape[1]))]
        for line in lines.tolist():
            size, sign, flicker, alone, channel = torch.rand(5, generator=generator).tolist()
            offset = (0.06 + 0.24 * size) * (1 if sign < 0.5 else -1)
            course = offset + (0.01 + 0.04 * flicker) * torch.randn(picture.shape[2], generator=generator)
            struck = slice(int(channel * channels), int(channel * channels) + 1) if alone < 0.5 else slice(None)
            picture[struck, line] = course
    return _compared(clean + added, clean)


def _dead_rows(clean: Tensor, seed: int, share: float, *, in_part: bool) -> Damaged:
    """``share`` of the rows have a tone of their own, all channels alike; in part: from somewhere to somewhere."""
    generator = Generator().manual_seed(seed)
    damaged = clean.clone()
    height, width = clean.shape[1:]
    for row in torch.randperm(height, generator=generator)[: max(1, round(share * height))].tolist():
        tone, start, length = torch.rand(3, generator=generator).tolist()
        stretch = slice(None)
        if in_part:
            long = round(width * (0.2 + 0.6 * length))
            first = round(start * (width - long))
            stretch = slice(first, first + long)
        damaged[:, row, stretch] = tone
    return _compared(damaged, clean)


def through_jpeg(picture: Tensor) -> Tensor:
    file = io.BytesIO()
    to_image(picture).save(file, "JPEG", quality=JPEG_QUALITY)
    with Image.open(file) as image:
        return from_image(image)


def _before_jpeg(clean: Tensor, seed: int, share: float) -> Damaged:
    damaged, bad = _impulses(clean, seed, share, random=False, by_pixel=True)
    return through_jpeg(damaged), bad


def with_noise(clean: Tensor, generator: Generator) -> Tensor:
    return quantised(clean + DENSE_SIGMA * torch.randn(clean.shape, generator=generator))


def _in_noise(clean: Tensor, seed: int, share: float) -> Damaged:
    return _impulses(with_noise(clean, Generator().manual_seed(seed)), seed + 1, share, random=True)


SINGLE_SHARES = {"0.1": 0.001, "1": 0.01, "5": 0.05, "20": 0.2}

DAMAGE: dict[str, Damage] = {
    "none": _nothing,
    **{f"random-{name}": partial(_impulses, share=share, random=True) for name, share in SINGLE_SHARES.items()},
    **{f"salt-pepper-{name}": partial(_impulses, share=share, random=False) for name, share in SINGLE_SHARES.items()},
    "hot-0.1": partial(_hot, share=0.001),
    "hot-1": partial(_hot, share=0.01),
    "salt-pepper-pixel-3": partial(_impulses, share=0.03, random=False, by_pixel=True),
    "salt-pepper-pixel-20": partial(_impulses, share=0.2, random=False, by_pixel=True),
    "dust-1": partial(_dust, share=0.01, hairs=0.0),
    "hairs-2": partial(_dust, share=0.02, hairs=1.0),
    "dust-hairs-3": partial(_dust, share=0.03, hairs=0.5),
    "rays-1": partial(_rays, share=0.01),
    "lettering": _lettering,
    "offset-lines": partial(_offset_lines, share=0.02),
    "dead-rows": partial(_dead_rows, share=0.03, in_part=False),
    "dead-rows-part": partial(_dead_rows, share=0.05, in_part=True),
    "jpeg-3": partial(_before_jpeg, share=0.03),
    "noise-random-2": partial(_in_noise, share=0.02),
    "noise-random-20": partial(_in_noise, share=0.2),
}
"""By name: (clean, seed) -> (damaged, bad). The percentages of "rays", "dust" and "hairs" are of the area, those of
"hot" and of "pixel" of the pixels; "offset-lines" are 2 % of the rows and of the columns, "dead-rows" 3 and 5 %."""
