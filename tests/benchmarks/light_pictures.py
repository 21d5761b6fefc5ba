"""Known pictures for light.py: seventeen sources, half of them to tune on and the other half to report on.

Ten pictures of the scikit-image wheel, the paper's four (from $DOPRESTORE_DATA or ../shared/data), and a star field, a
line drawing and a chart that are drawn here. Pictures are float tensors (C, H, W) whose values are k/255: to the last bit
what an 8-bit file would be read as, so that "unchanged" has a meaning.
"""

from __future__ import annotations

import importlib.util
import math
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

ROOT = Path(__file__).resolve().parents[2]
DRAWN_SIDE = 512  # pixels a side of the canvases that are drawn here
SUPERSAMPLED = 4  # the canvases are drawn so many times as large and averaged down
STAR_FWHM = 2.4  # pixels, of the Moffat profile that every star has
STAR_BETA = 3.0  # the exponent of that profile
STAR_READ_NOISE = 1.2 / 255  # standard deviation
STAR_GAIN = 12.0  # photoelectrons for one grey step of 255: shot noise is the root of these


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


def sources() -> dict[str, str]:
    """The names of the pictures that this machine has, each with its half, "tune" or "report"."""
    return {name: source.half for name, source in SOURCES.items() if _at_hand(name)}


@cache
def clean(name: str, side: int) -> Tensor:
    """The centre of a source at its native resolution; where it is less than ``side`` high or wide, all there is."""
    picture = _load(name)
    top, left = (max(0, (length - side) // 2) for length in picture.shape[1:])
    return picture[:, top : top + side, left : left + side].contiguous()


def quantised(picture: Tensor) -> Tensor:
    """Clipped and rounded to the values that an 8-bit file has."""
    return (picture.clamp(0, 1) * 255).round() / 255


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
        return from_image(image)


def from_image(image: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(image))
    return (values[None] if values.ndim == 2 else values.permute(2, 0, 1)).float() / 255


def to_image(picture: Tensor) -> Image.Image:
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
    return from_image(image.resize((DRAWN_SIDE, DRAWN_SIDE), Image.Resampling.BOX))


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
