"""Pictures for people: the outlier map, the side-by-side panel, and what a report shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Pixels of height for the names above the pictures of a panel.
LABEL = 16


def outlier_map(outliers: Tensor) -> Tensor:
    """s in [-1, 1], (C, H, W) -> a picture in [0, 1]: mid-grey where nothing was wrong, lighter where the
    input was too bright, darker where it was too dark."""
    return (0.5 + outliers / 2).clamp(0, 1)


def panel(pictures: Mapping[str, Tensor], gap: int = 4) -> Tensor:
    """Pictures (C, H, W) of one size side by side on white, their names above them, as one picture (3, H', W').

    Small pictures stand as far apart as the longest name needs.
    """
    colour = [picture.expand(3, -1, -1) for picture in pictures.values()]
    height, width = colour[0].shape[1:]
    room = _room(pictures, width)
    page = torch.ones(3, *panel_size(pictures, height, width, gap))
    for index, (name, picture) in enumerate(zip(pictures, colour, strict=True)):
        left = gap + index * (room + gap)
        page[:, LABEL : LABEL + height, left : left + width] = picture
        page[:, :LABEL, left : left + room] = _label(name, room)
    return page


def panel_size(names: Iterable[str], height: int, width: int, gap: int = 4) -> tuple[int, int]:
    """(H', W') of the :func:`panel` of pictures (C, ``height``, ``width``) with these names."""
    names = list(names)
    return LABEL + height + gap, gap + len(names) * (_room(names, width) + gap)


def _room(names: Iterable[str], width: int) -> int:
    font = ImageFont.load_default()
    return max(width, *(math.ceil(font.getlength(name)) for name in names))


def _label(text: str, width: int) -> Tensor:
    """Black writing on white, (LABEL, width)."""
    strip = Image.new("L", (width, LABEL), 255)
    ImageDraw.Draw(strip).text((0, 1), text, 0)
    return torch.from_numpy(np.array(strip, np.float32) / 255)


@dataclass(frozen=True)
class Curve:
    """One quantity over the steps, or over what ``unit`` says; ``log`` asks for a logarithmic scale."""

    name: str
    steps: list[float]
    values: list[float]
    log: bool = False
    unit: str = "steps"


@dataclass(frozen=True)
class Listing:
    """A small table."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


@dataclass(frozen=True)
class RunReport:
    """What a report shows of one restoration.

    pictures: by name, (C, H, W) in [0, 1]. facts: by name, told as they are. histogram: counts of the
    outliers found, evenly spaced over [-1, 1]; empty: it is not shown. plots: what the curves are, as a heading.
    """

    title: str
    pictures: dict[str, Tensor]
    facts: dict[str, object]
    curves: list[Curve]
    histogram: list[int] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    plots: str = "Learning curves"


def curves(rows: Sequence[Mapping[str, Any]], loss: str = "mean squared residual") -> list[Curve]:
    """The learning curves in the rows of a log: loss, under this name; share of outliers; PSNR where it is known and is not
    that of the damaged picture until the last step, as where the answer is composed at the end."""
    named = {"loss": loss, "outlier_share": "share of outliers", "psnr": "PSNR, dB"}
    result = []
    for column, name in named.items():
        points = [(row["step"], value) for row in rows if (value := row[column]) is not None and math.isfinite(value)]
        stood_still = column == "psnr" and len(points) > 2 and len({value for _, value in points[:-1]}) == 1
        if points and not stood_still:
            steps, values = (list(axis) for axis in zip(*points, strict=True))
            result.append(Curve(name, steps, values, log=column == "loss" and min(values) > 0))
    return result


def histogram(outliers: Tensor, found: Tensor, bins: int = 41) -> list[int]:
    """Counts of s in [-1, 1] over the values found damaged."""
    return torch.histc(outliers[found].clamp(-1, 1), bins, -1, 1).int().tolist()


def thumbnail(picture: Tensor, side: int = 640) -> Tensor:
    """(C, H, W) -> at most ``side`` pixels a side, averaged; smaller pictures stay as they are."""
    shrink = max(picture.shape[1:]) / side
    if shrink <= 1:
        return picture
    size = [max(1, round(length / shrink)) for length in picture.shape[1:]]
    return torch.nn.functional.interpolate(picture[None], size, mode="area")[0]
