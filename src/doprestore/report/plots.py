"""Plots, with matplotlib where it is installed: the optional extra [figures]. Each is returned as a PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from doprestore.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# How many lines a legend can tell apart.
_LEGIBLE = 12


def line_plot(
    lines: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str, *, title: str = "",
    log: str = "", points: str = "", mark: tuple[float, str] | None = None,
) -> bytes:  # fmt: skip
    """One labelled line of (x, y) points each.

    log: "x", "y" or "xy", the logarithmic axes. points: a matplotlib marker for each. mark: a labelled vertical
    line at that x. Raises :class:`UsageError` without matplotlib.
    """
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    for name, line in lines.items():
        axes.plot(*zip(*line, strict=True), label=name, marker=points)
    if mark is not None:
        axes.axvline(mark[0], label=mark[1], color="grey", linestyle="--")
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set(**{f"{axis}scale": "log" for axis in log})
    axes.tick_params(which="minor", labelsize=7)
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    if len(lines) <= _LEGIBLE:
        axes.legend()
    return to_png(figure)


def heat_map(
    values: np.ndarray, x: Sequence[str], y: Sequence[str], x_label: str, y_label: str, *, title: str = ""
) -> bytes:
    """values (y, x), in [0, 1], black to white, with y upwards. Raises :class:`UsageError` without matplotlib."""
    figure = new_figure(5.5, 4.5)
    axes = figure.add_subplot()
    shown = axes.imshow(values, cmap="gray", vmin=0, vmax=1, origin="lower", aspect="auto")
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_xticks(range(len(x)), x)
    axes.set_yticks(range(len(y)), y)
    axes.set_title(title, fontsize=9)
    figure.colorbar(shown)
    return to_png(figure)


def picture_grid(rows: Sequence[Sequence[tuple[str, np.ndarray]]], *, title: str = "") -> bytes:
    """Rows of pictures (C, H, W) in [0, 1], each with a caption. Raises :class:`UsageError` without matplotlib."""
    figure = new_figure(1.9 * len(rows[0]), 0.5 + 2.1 * len(rows))
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for axes_row, row in zip(grid, rows, strict=True):
        for axes, (caption, picture) in zip(axes_row, row, strict=True):
            axes.imshow(np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0).clip(0, 1))
            axes.set_title(caption, fontsize=8)
            axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return to_png(figure)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. Raises :class:`UsageError` without matplotlib."""
    try:
        # The bare figure: pyplot would choose a window system.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("plots need matplotlib; install it with: pip install 'doprestore[figures]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def to_png(figure: Figure) -> bytes:
    """The PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
