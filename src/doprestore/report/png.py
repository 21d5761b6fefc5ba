"""A report of a run as one PNG, drawn by matplotlib: pictures, plots and facts."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from torch import Tensor

from doprestore.report.content import Curve, RunReport, thumbnail
from doprestore.report.plots import new_figure, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3  # pictures, or plots, beside each other
CELL = 4.2, 3.4  # inches, wide and high
LINE = 0.15  # inches, of the facts
LETTERS = 150  # in such a line
BARS = 41  # of the histogram, from -1 to 1


def report_png(report: RunReport) -> bytes:
    """The PNG file. Raises :class:`UsageError` without matplotlib."""
    lines = [line for name, fact in report.facts.items() for line in textwrap.wrap(f"{name}: {fact}", LETTERS)]
    rows = -(-len(report.pictures) // COLUMNS), -(-(len(report.curves) + 1) // COLUMNS)
    high = sum(rows) * CELL[1], len(lines) * LINE
    figure = new_figure(COLUMNS * CELL[0], 0.5 + sum(high))
    figure.suptitle(report.title, parse_math=False)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=high)[:, 0]
    cells = iter(upper.subplots(sum(rows), COLUMNS, squeeze=False).flat)
    for (name, picture), axes in zip(report.pictures.items(), cells, strict=False):
        _picture(axes, name, picture)
    for _ in range(-len(report.pictures) % COLUMNS):  # the rest of that row
        next(cells).set_axis_off()
    for curve, axes in zip(report.curves, cells, strict=False):
        _curve(axes, curve)
    bars = next(cells)
    bars.bar([2 * (index + 0.5) / BARS - 1 for index in range(BARS)], report.histogram, 2 / BARS)
    bars.set_title("outliers found, input - restored", fontsize=9)
    for axes in cells:
        axes.set_axis_off()
    lower.text(0.02, 1, "\n".join(lines), fontsize=7, family="monospace", va="top", parse_math=False)
    return to_png(figure)


def _picture(axes: Axes, name: str, picture: Tensor) -> None:
    small = thumbnail(picture).clamp(0, 1).expand(3, -1, -1)
    axes.imshow(small.permute(1, 2, 0).numpy())
    axes.set_title(name, fontsize=9)
    axes.set_axis_off()


def _curve(axes: Axes, curve: Curve) -> None:
    axes.plot(curve.steps, curve.values, marker="." if len(curve.steps) == 1 else "")
    axes.set_yscale("log" if curve.log else "linear")
    axes.set_title(f"{curve.name}: {curve.values[0]:.3g} to {curve.values[-1]:.3g}", fontsize=9)
