"""A report as one HTML file that needs no other: pictures inline, plots as SVG."""

from __future__ import annotations

import base64
import math

from jinja2 import Environment
from markupsafe import Markup
from torch import Tensor

from doprestore.io.encode import encode
from doprestore.io.metadata import Metadata
from doprestore.report.content import Curve, RunReport, thumbnail

# Pixels of a plot: its width and height, and its margins: at the left a number like "-1.23e-05" has room, below a line of
# text, above half a line.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BASE = 400, 200, 68, 14, 14, 26

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #222; }
figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top; }
figure img { max-width: 360px; image-rendering: auto; border: 1px solid #ccc; }
figcaption { font-weight: 600; }
table { border-collapse: collapse; } td, th { text-align: left; padding: 2px 12px 2px 0; vertical-align: top; }
svg { background: #fafafa; } svg text { font: 11px system-ui, sans-serif; fill: #444; }
"""


_PAGE = """\
{% macro shown(figures) %}
{% for name, drawing in figures %}
<figure><figcaption>{{ name }}</figcaption>{{ drawing }}</figure>
{% endfor %}
{% endmacro %}
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>{{ style }}</style></head><body>
<h1>{{ title }}</h1>
{{ shown(figures) }}
<h2>{{ heading }}</h2>
{{ shown(plots) }}
{% for listing in listings %}
<h2>{{ listing.name }}</h2>
<table>
<tr>{% for column in listing.columns %}<th>{{ column }}</th>{% endfor %}</tr>
{% for row in listing.rows %}
<tr>{% for field in row %}<td>{{ field }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endfor %}
<h2>Settings and versions</h2>
<table>
{% for name, fact in facts.items() %}
<tr><th>{{ name }}</th><td>{{ fact }}</td></tr>
{% endfor %}
</table>
</body></html>
"""


def report_html(report: RunReport) -> str:
    """The whole page."""
    figures = [
        (name, Markup('<img alt="{}" src="{}">').format(name, _data_url(picture)))
        for name, picture in report.pictures.items()
    ]
    plots = [(curve.name, Markup(_curve(curve))) for curve in report.curves]
    if report.histogram:
        plots.append(("outliers found, input - restored", Markup(_bars(report.histogram))))
    page = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    return page.render(title=report.title, style=_STYLE, figures=figures, plots=plots, facts=report.facts,
                       heading=report.plots, listings=report.listings)  # fmt: skip


def _data_url(picture: Tensor) -> str:
    small = (thumbnail(picture).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return "data:image/png;base64," + base64.b64encode(encode(small, Metadata(), "PNG")).decode()


def _curve(curve: Curve) -> str:
    values = [math.log10(max(value, 1e-12)) for value in curve.values] if curve.log else curve.values
    low, high, first, last = min(values), max(values), curve.steps[0], curve.steps[-1]
    points = " ".join(
        f"{_across((step - first) / ((last - first) or 1)):.1f},{_down((value - low) / ((high - low) or 1)):.1f}"
        for step, value in zip(curve.steps, values, strict=True)
    )
    line = f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="1.5"/>'
    return _svg(line, f"{first:g}", f"{last:g} {curve.unit}", f"{min(curve.values):.3g}", f"{max(curve.values):.3g}")


def _bars(counts: list[int]) -> str:
    top = max(counts) or 1
    wide = (WIDTH - LEFT - RIGHT) / len(counts)
    bars = "".join(
        f'<rect x="{LEFT + index * wide:.1f}" y="{_down(count / top):.1f}" width="{wide - 1:.1f}" '
        f'height="{_down(0) - _down(count / top):.1f}" fill="#06c"/>'
        for index, count in enumerate(counts)
    )
    return _svg(bars, "-1", "1", "0", f"{max(counts)}")


def _svg(drawing: str, left: str, right: str, bottom: str, top: str) -> str:
    base, end = HEIGHT - BASE, WIDTH - RIGHT
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">{drawing}'
        f'<path d="M{LEFT} {TOP}V{base}H{end}" fill="none" stroke="#999"/>'
        f'<text x="{LEFT}" y="{base + 16}">{left}</text>'
        f'<text x="{end}" y="{base + 16}" text-anchor="end">{right}</text>'
        f'<text x="{LEFT - 4}" y="{base}" text-anchor="end">{bottom}</text>'
        f'<text x="{LEFT - 4}" y="{TOP + 4}" text-anchor="end">{top}</text></svg>'
    )


def _across(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _down(share: float) -> float:
    return HEIGHT - BASE - share * (HEIGHT - TOP - BASE)
