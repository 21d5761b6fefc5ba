"""A report of a run as one PNG: pictures, plots and facts, drawn with Pillow's own font."""

from __future__ import annotations

import io
import math

from PIL import Image, ImageDraw
from torch import Tensor

from doprestore.report.content import Curve, RunReport, thumbnail

WIDTH, CELL, PLOT, GAP, LINE = 1300, 420, 200, 20, 15
INK, PEN = (40, 40, 40), (0, 102, 204)


def report_png(report: RunReport) -> bytes:
    """The PNG file."""
    pictures = {name: _image(picture) for name, picture in report.pictures.items()}
    columns = WIDTH // (CELL + GAP)
    lines = [line for name, fact in report.facts.items() for line in _wrapped(f"{name}: {fact}")]
    rows = -(-len(pictures) // columns)
    tallest = max(image.height for image in pictures.values()) + LINE + GAP
    plots: list[Curve | list[int]] = [*report.curves, report.histogram]
    bands = -(-len(plots) // columns)
    height = LINE + 2 * GAP + rows * tallest + bands * (PLOT + LINE + GAP) + len(lines) * LINE + GAP
    page = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(page)
    draw.text((GAP, GAP), _wrapped(report.title)[0], INK)
    top = 2 * GAP + LINE
    for index, (name, image) in enumerate(pictures.items()):
        left, down = GAP + index % columns * (CELL + GAP), top + index // columns * tallest
        draw.text((left, down), name, INK)
        page.paste(image, (left, down + LINE))
    top += rows * tallest
    for index, plot in enumerate(plots):
        box = GAP + index % columns * (CELL + GAP), top + index // columns * (PLOT + LINE + GAP)
        _curve(draw, box, plot) if isinstance(plot, Curve) else _bars(draw, box, plot)
    top += bands * (PLOT + LINE + GAP)
    for index, line in enumerate(lines):
        draw.text((GAP, top + index * LINE), line, INK)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _image(picture: Tensor) -> Image.Image:
    small = (thumbnail(picture, CELL).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(small[..., 0] if small.shape[2] == 1 else small).convert("RGB")


def _curve(draw: ImageDraw.ImageDraw, box: tuple[int, int], curve: Curve) -> None:
    values = [math.log10(max(value, 1e-12)) for value in curve.values] if curve.log else curve.values
    low, high, first, last = min(values), max(values), curve.steps[0], curve.steps[-1]
    left, top = _frame(draw, box, f"{curve.name}: {curve.values[0]:.3g} to {curve.values[-1]:.3g} in {last:g} steps")
    points = [
        (left + (step - first) / ((last - first) or 1) * CELL, top + (1 - (value - low) / ((high - low) or 1)) * PLOT)
        for step, value in zip(curve.steps, values, strict=True)
    ]
    draw.line(points if len(points) > 1 else points * 2, PEN, 2)


def _bars(draw: ImageDraw.ImageDraw, box: tuple[int, int], counts: list[int]) -> None:
    left, top = _frame(draw, box, "corruption found, input - restored, from -1 to 1")
    wide = CELL / len(counts)
    for index, count in enumerate(counts):
        tall = count / (max(counts) or 1) * PLOT
        draw.rectangle((left + index * wide + 1, top + PLOT - tall, left + (index + 1) * wide - 1, top + PLOT), PEN)


def _frame(draw: ImageDraw.ImageDraw, box: tuple[int, int], title: str) -> tuple[int, int]:
    """Title and axes; returns the corner of the plot."""
    left, top = box[0], box[1] + LINE
    draw.text(box, title, INK)
    draw.line([(left, top), (left, top + PLOT), (left + CELL, top + PLOT)], (150, 150, 150))
    return left, top


def _wrapped(text: str, length: int = 190) -> list[str]:
    # Pillow's bitmap font, used where FreeType is missing, knows Latin-1 alone.
    text = " ".join(text.split()).encode("latin-1", "replace").decode("latin-1")
    return [text[start : start + length] for start in range(0, len(text), length)]
