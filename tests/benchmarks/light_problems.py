"""Light and realistic damage of known pictures: what people have, and nothing at all. The problems of light.py.

    from light_problems import problem
    clean, damaged, bad, reference = problem("coffee", 128, "random-1")

Seventeen sources, half of them to tune on and the other half to report on: ten pictures of the scikit-image wheel, the
paper's four (from $DOPRESTORE_DATA or ../shared/data), and a star field, a line drawing and a chart that are drawn here.
Pictures are float tensors (C, H, W) whose values are k/255: to the last bit what an 8-bit file would be read as, so
that "unchanged" has a meaning. An amount in a name is in per cent, of the values unless the name says otherwise.

``bad`` marks the values that the sparse damage changed. ``reference`` is what the picture would be without it, which is
the clean picture but for two kinds. With dense noise it is the noisy picture: noise is not sparse, and an answer that
leaves the values alone that no impulse struck should not pay for it. With a JPEG it is the clean picture that went
through the same JPEG; ``bad`` are then the values that the impulses struck before it, and what they spilled over the
rest of their blocks is neither bad nor whole (:attr:`Problem.whole`).
"""

from __future__ import annotations

import importlib.util
import io
import math
import os
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

ROOT = Path(__file__).resolve().parents[2]
SIDES = (128, 256)
DRAWN_SIDE = 512  # of the canvases that are drawn here
SUPERSAMPLED = 4  # drawn so many times as large and averaged down
WHOLE = 2 / 255  # a value within this of the reference is whole

STAR_FWHM = 2.4  # pixels, of the Moffat profile that every star has
STAR_BETA = 3.0
STAR_READ_NOISE = 1.2 / 255
STAR_GAIN = 12.0  # photoelectrons for one grey step of 255: shot noise is the root of these

DENSE_SIGMA = 4 / 255
JPEG_QUALITY = 92


class Source(NamedTuple):
    """Where a clean picture comes from, which half of the benchmark it is in, and what it shows."""

    origin: str  # "wheel", "paper" or "drawn"
    half: str  # "tune" or "report"
    shows: str  # "photograph", "print" or "stars"


# Whatever was looked at while the method was prepared is in the half to tune on.
SOURCES = {
    "astronaut": Source("wheel", "tune", "photograph"),
    "camera": Source("wheel", "tune", "photograph"),
    "coffee": Source("wheel", "tune", "photograph"),
    "brick": Source("wheel", "tune", "photograph"),
    "cell": Source("wheel", "tune", "photograph"),
    "F16": Source("paper", "tune", "photograph"),
    "Baboon": Source("paper", "tune", "photograph"),
    "stars": Source("drawn", "tune", "stars"),
    "drawing": Source("drawn", "tune", "print"),
    "chelsea": Source("wheel", "report", "photograph"),
    "grass": Source("wheel", "report", "photograph"),
    "gravel": Source("wheel", "report", "photograph"),
    "clock_motion": Source("wheel", "report", "photograph"),
    "text": Source("wheel", "report", "print"),
    "Peppers": Source("paper", "report", "photograph"),
    "kodim03": Source("paper", "report", "photograph"),
    "chart": Source("drawn", "report", "print"),
}


class Problem(NamedTuple):
    """A damaged picture and what is known of it; all (C, H, W)."""

    clean: Tensor
    damaged: Tensor
    bad: Tensor  # bool
    reference: Tensor

    @property
    def whole(self) -> Tensor:
        """The values that nothing has touched, and that an answer should leave alone."""
        return ~self.bad & ((self.damaged - self.reference).abs() <= WHOLE)


def sources() -> dict[str, str]:
    """The names of the pictures that this machine has, each with its half, "tune" or "report"."""
    return {name: source.half for name, source in SOURCES.items() if _at_hand(name)}


@cache
def clean(name: str, side: int) -> Tensor:
    """The centre of a source at its native resolution; where it is less than ``side`` high or wide, all there is."""
    picture = _load(name)
    top, left = (max(0, (length - side) // 2) for length in picture.shape[1:])
    return picture[:, top : top + side, left : left + side].contiguous()


def problem(name: str, side: int, damage: str, seed: int = 0) -> Problem:
    """One cell of the benchmark. Every picture and size has damage of its own."""
    original = clean(name, side)
    own = seed + zlib.crc32(f"{name} {side}".encode())
    damaged, bad = DAMAGE[damage](original, own)
    return Problem(original, damaged, bad, reference(damage, original, own))


def reference(damage: str, clean: Tensor, seed: int) -> Tensor:
    """What ``DAMAGE[damage](clean, seed)`` would be without its sparse part."""
    if damage.startswith("jpeg"):
        return _through_jpeg(clean)
    if damage.startswith("noise"):
        return _with_noise(clean, Generator().manual_seed(seed))
    return clean


def quantised(picture: Tensor) -> Tensor:
    """Clipped and rounded to the values that an 8-bit file has."""
    return (picture.clamp(0, 1) * 255).round() / 255


# ---------------------------------------------------------------------------------------------------- clean pictures


def _file(name: str) -> Path | None:
    if SOURCES[name].origin == "paper":
        return Path(os.environ.get("DOPRESTORE_DATA", ROOT.parent / "shared" / "data")) / f"{name}.png"
    # The files themselves: importing scikit-image would take a second, and its newer pictures a download.
    package = importlib.util.find_spec("skimage")
    return None if package is None else Path(package.submodule_search_locations[0]) / "data" / f"{name}.png"


def _at_hand(name: str) -> bool:
    if SOURCES[name].origin == "drawn":
        return True
    path = _file(name)
    return path is not None and path.is_file()


@cache
def _load(name: str) -> Tensor:
    if SOURCES[name].origin == "drawn":
        return {"stars": _stars, "drawing": _drawing, "chart": _chart}[name]()
    with Image.open(_file(name)) as image:
        return _from_image(image)


def _from_image(image: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(image))
    return (values[None] if values.ndim == 2 else values.permute(2, 0, 1)).float() / 255


def _to_image(picture: Tensor) -> Image.Image:
    values = (picture * 255).round().byte()
    return Image.fromarray(values[0].numpy() if len(values) == 1 else values.permute(1, 2, 0).numpy())


def _stars() -> Tensor:
    """A star field (1, S, S): Moffat stars at random, many faint and few bright, on a sky with a slope and a glow."""
    generator = Generator().manual_seed(1)
    side, count = DRAWN_SIDE, 2400
    centres = torch.rand(count, 2, generator=generator) * side
    # Counts of stars rise about as the power -1 of the flux; the brightest few saturate.
    peaks = (0.01 / torch.rand(count, generator=generator).clamp(min=1e-4)).clamp(max=8.0)
    rows = torch.arange(side)[:, None] / side
    columns = torch.arange(side)[None] / side
    sky = 0.06 + 0.03 * rows + 0.08 * torch.exp(-((rows - 0.45) ** 2 + (columns - 0.6) ** 2) / 0.02)
    scale = STAR_FWHM / (2 * math.sqrt(2 ** (1 / STAR_BETA) - 1))
    for (row, column), peak in zip(centres.tolist(), peaks.tolist(), strict=True):
        reach = 8 if peak < 0.1 else 40
        top, left = max(0, int(row) - reach), max(0, int(column) - reach)
        window = sky[top : int(row) + reach, left : int(column) + reach]
        down = torch.arange(window.shape[0])[:, None] + top - row
        right = torch.arange(window.shape[1])[None] + left - column
        window += peak * (1 + (down**2 + right**2) / scale**2) ** -STAR_BETA
    noise = torch.randn(2, side, side, generator=generator)
    shot = (sky / (255 * STAR_GAIN)).sqrt()
    return quantised(sky + shot * noise[0] + STAR_READ_NOISE * noise[1])[None]


def _averaged_down(image: Image.Image) -> Tensor:
    return _from_image(image.resize((DRAWN_SIDE, DRAWN_SIDE), Image.Resampling.BOX))


def _drawing() -> Tensor:
    """A pen drawing (1, S, S) on white paper: houses, hatching, foliage, all of it in strokes of ink."""
    generator = np.random.default_rng(2)
    size = DRAWN_SIDE * SUPERSAMPLED
    image = Image.new("L", (size, size), 252)
    pen = ImageDraw.Draw(image)

    def stroke(points: np.ndarray, width: float, ink: int = 20) -> None:
        pen.line([tuple(point) for point in points * SUPERSAMPLED], fill=ink, width=round(width * SUPERSAMPLED))

    def by_hand(start: tuple[float, float], end: tuple[float, float], width: float = 1.3) -> None:
        along = np.linspace(0, 1, 12)[:, None]
        stroke(np.array(start) * (1 - along) + np.array(end) * along + generator.normal(0, 0.35, (12, 2)), width)

    for left, top, wide, high in ((60, 180, 150, 200), (210, 140, 130, 240), (340, 210, 120, 170)):
        corners = [(left, top), (left + wide, top), (left + wide, top + high), (left, top + high)]
        for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
            by_hand(start, end, 1.6)
        ridge = (left + wide / 2, top - 70)
        by_hand(corners[0], ridge, 1.6)
        by_hand(ridge, corners[1], 1.6)
        for n in range(int(wide / 5)):  # the hatching of the roof
            foot = left + 5 * n
            by_hand((foot, top), (left + wide / 2 + (foot - left - wide / 2) * 0.25, top - 55), 0.8)
        for x in range(left + 18, left + wide - 25, 36):
            for y in range(top + 20, top + high - 40, 48):
                for start, end in (((0, 0), (20, 0)), ((20, 0), (20, 30)), ((20, 30), (0, 30)), ((0, 30), (0, 0)),
                                   ((10, 0), (10, 30)), ((0, 15), (20, 15))):  # fmt: skip
                    by_hand((x + start[0], y + start[1]), (x + end[0], y + end[1]), 1.0)
    for x, y, radius in ((40, 330, 34), (250, 420, 45), (440, 400, 50), (300, 90, 40)):  # foliage
        for _ in range(int(radius * 3)):
            angle, far = generator.uniform(0, 2 * np.pi), radius * np.sqrt(generator.uniform())
            turns = np.linspace(angle, angle + generator.uniform(2, 5), 10)
            curl = np.stack([np.cos(turns), np.sin(turns)], 1) * generator.uniform(2, 5)
            stroke(np.array([x, y]) + far * np.array([np.cos(angle), np.sin(angle)]) + curl, 1.0)
    for y in range(385, 512, 9):  # the ground
        for x in range(0, 512, 64):
            if generator.uniform() < 0.7:
                by_hand((x + generator.uniform(0, 20), y), (x + generator.uniform(30, 70), y + generator.normal(0, 1)), 0.9)
    return _averaged_down(image)


def _chart() -> Tensor:
    """A chart (3, S, S): bars, curves, grid, lettering, in flat colours with smoothed edges."""
    generator = np.random.default_rng(3)
    size = DRAWN_SIDE * SUPERSAMPLED
    image = Image.new("RGB", (size, size), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    colours = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40))

    def scaled(*values: float) -> list[float]:
        return [value * SUPERSAMPLED for value in values]

    def letters(x: float, y: float, text: str, high: int = 11) -> None:
        pen.text(scaled(x, y), text, fill=(30, 30, 30), font=ImageFont.load_default(high * SUPERSAMPLED))

    for y in range(40, 481, 40):
        pen.line(scaled(50, y, 490, y), fill=(208, 208, 208), width=SUPERSAMPLED)
        letters(20, y - 6, f"{(480 - y) / 4:.0f}")
    for n, x in enumerate(range(60, 480, 35)):
        for m in range(2):
            high = generator.uniform(60, 330)
            pen.rectangle(scaled(x + 12 * m, 480 - high, x + 12 * m + 10, 480), fill=colours[m])
        letters(x - 2, 484, f"{2010 + n}", 9)
    for m in (2, 3):
        ys = 260 + np.cumsum(generator.normal(0, 14, 45)) * (1 if m == 2 else -1)
        points = [tuple(scaled(50 + 10 * n, y)) for n, y in enumerate(ys.clip(50, 470))]
        pen.line(points, fill=colours[m], width=2 * SUPERSAMPLED, joint="curve")
        for x, y in points[::3]:
            pen.ellipse([x - 10, y - 10, x + 10, y + 10], fill=colours[m])
    pen.line(scaled(50, 40, 50, 480, 490, 480), fill=(0, 0, 0), width=round(1.5 * SUPERSAMPLED))
    letters(150, 12, "Output by year and region, in thousands", 15)
    pen.rectangle(scaled(200, 205, 322, 285), fill=(255, 255, 255), outline=(150, 150, 150), width=SUPERSAMPLED)
    for n, name in enumerate(("northern plant", "southern plant", "orders", "deliveries")):
        pen.rectangle(scaled(208, 213 + 18 * n, 222, 222 + 18 * n), fill=colours[n])
        letters(228, 211 + 18 * n, name)
    return _averaged_down(image)


# ------------------------------------------------------------------------------------------------------------ damage


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
        layer.lay((0.4 + 0.3 * draw[3]) * _from_image(canvas), _tone(generator))
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
    """``share`` of the rows stand at a level of their own, all channels alike; in part: from somewhere to somewhere."""
    generator = Generator().manual_seed(seed)
    damaged = clean.clone()
    height, width = clean.shape[1:]
    for row in torch.randperm(height, generator=generator)[: max(1, round(share * height))].tolist():
        level, start, length = torch.rand(3, generator=generator).tolist()
        stretch = slice(None)
        if in_part:
            long = round(width * (0.2 + 0.6 * length))
            first = round(start * (width - long))
            stretch = slice(first, first + long)
        damaged[:, row, stretch] = level
    return _compared(damaged, clean)


def _through_jpeg(picture: Tensor) -> Tensor:
    file = io.BytesIO()
    _to_image(picture).save(file, "JPEG", quality=JPEG_QUALITY)
    with Image.open(file) as image:
        return _from_image(image)


def _before_jpeg(clean: Tensor, seed: int, share: float) -> Damaged:
    damaged, bad = _impulses(clean, seed, share, random=False, by_pixel=True)
    return _through_jpeg(damaged), bad


def _with_noise(clean: Tensor, generator: Generator) -> Tensor:
    return quantised(clean + DENSE_SIGMA * torch.randn(clean.shape, generator=generator))


def _in_noise(clean: Tensor, seed: int, share: float) -> Damaged:
    return _impulses(_with_noise(clean, Generator().manual_seed(seed)), seed + 1, share, random=True)


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
