"""Line plots, with matplotlib where it is installed: the optional extra [figures]."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from doprestore.errors import UsageError


def line_plot(
    lines: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str, *, title: str = ""
) -> bytes:
    """A PNG with one labelled line of (x, y) points each. Raises :class:`UsageError` without matplotlib."""
    try:
        # The bare figure: pyplot would choose a window system.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("plots need matplotlib; install it with: pip install 'doprestore[figures]'") from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), label=name)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
