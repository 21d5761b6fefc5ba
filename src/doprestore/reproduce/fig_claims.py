"""What section 4.2 claims of one α, of any width, and of stopping times, beyond its figures; at scale "small"."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from doprestore.image.settings import REFERENCE_ALPHA, REFERENCE_SIDE
from doprestore.report.plots import line_plot
from doprestore.reproduce.figure import Cell, Figure, Plan, Row, Verdict
from doprestore.reproduce.picture_cells import (
    AMOUNTS,
    DIP,
    DIP_L1,
    DOP,
    RUNS,
    SIDE,
    SMALLER,
    against_oracles,
    by_amount,
    ends,
    first,
    never_falls,
    picture_cell,
    plot_curves,
    scope,
)

# The ratios α that are tried at each side, in pixels.
ALPHAS = {SMALLER: (125.0, 250.0, 500.0, 1000.0, 2000.0), SIDE: (250.0, 500.0, 1000.0)}
# The factor within which the best α counts as the paper's.
NEAR = 2.0
# Channels of the networks that are tried.
WIDTHS_TRIED = (16, 32, 64)


# One α, in the convention of the preset, which scales it by √(H·W)


def _cells_alpha(plan: Plan) -> list[Cell]:
    return [picture_cell(plan, first(plan), DOP, side=side, alpha=alpha)
            for side, alphas in ALPHAS.items() for alpha in alphas]  # fmt: skip


def _by_alpha(rows: list[Row]) -> dict[int, list[tuple[float, float]]]:
    """By side: α and the PSNR in the end."""
    points: dict[int, list[tuple[float, float]]] = {}
    for (side, alpha), end in ends(rows, lambda row: (int(row["side"]), float(row["alpha"]))).items():
        points.setdefault(side, []).append((alpha, end.last))
    return points


def peak(points: list[tuple[float, float]]) -> float | None:
    """The α of the highest PSNR, by a parabola in log α through the best point and both that are next to it.

    None where the best is the first or the last: then the maximum is not among them.
    """
    points = sorted(points)
    best = max(range(len(points)), key=lambda k: points[k][1])
    if not 0 < best < len(points) - 1:
        return None
    alphas, qualities = zip(*points[best - 1 : best + 2], strict=True)
    curvature, slope, _ = np.polyfit(np.log(alphas), qualities, 2)
    return math.exp(-slope / (2 * curvature)) if curvature < 0 else None


def _verdict_alpha(rows: list[Row]) -> Verdict:
    """Best within NEAR of 500 at the smaller side; and from the smaller to the larger side α grows like a power of H·W
    that is nearer to 1/2 than to 0 (one α for all sizes) and to 1 (one rate of g and h for all sizes)."""
    points = _by_alpha(rows)
    peaks = {side: peak(of_side) for side, of_side in points.items()}
    best = {side: max(of_side, key=lambda point: point[1])[0] for side, of_side in points.items()}
    small, large = sorted(points)
    power = None
    if (low := peaks[small]) is not None and (high := peaks[large]) is not None:
        power = 0.5 + math.log(high / low) / math.log((large / small) ** 2)  # √(H·W) is in the preset's α already
    is_near = 1 / NEAR <= best[small] / REFERENCE_ALPHA <= NEAR
    told = "; ".join(
        f"{side} x {side}: " + ", ".join(f"α {alpha:g} {quality:.1f}" for alpha, quality in points[side]) for side in points
    )
    law = "no maximum inside at both sizes" if power is None else f"the best α grows like (H·W)^{power:.2f}"
    sentence = f"PSNR in the end at α, of a picture of {REFERENCE_SIDE} x {REFERENCE_SIDE}: {told} dB; {law}"
    return Verdict(is_near and power is not None and 0.25 < power < 0.75, sentence)


def _plot_alpha(rows: list[Row], plan: Plan, title: str, restored: Callable[[Cell], Tensor]) -> bytes:
    lines = {f"{side} x {side}": points for side, points in _by_alpha(rows).items()}
    return line_plot(lines, "α", "PSNR in the end (dB)", title=title, log="x")


ALPHA = Figure(
    claim="α = 500 is best within a factor of 2, and α goes with √(H·W)",
    runs=RUNS,
    cells=_cells_alpha,
    scope=lambda plan: scope(plan, _cells_alpha(plan), "50 %, width 32"),
    verdict=_verdict_alpha,
    plot=_plot_alpha,
)


# Widths


def _cells_widths(plan: Plan) -> list[Cell]:
    methods = [*((DOP, width) for width in WIDTHS_TRIED), (DIP, 32), (DIP_L1, 32)]
    return [picture_cell(plan, first(plan), method, side=SMALLER, width=width) for method, width in methods]


def _named_widths(row: Row) -> str:
    return f"{row['method']}, width {row['width']}"


def _verdict_widths(rows: list[Row]) -> Verdict:
    of_dop = [row for row in rows if row["method"] == DOP]
    falls = never_falls(of_dop, _named_widths)
    rivals = ends([row for row in rows if row["method"] != DOP], _named_widths)
    oracles = ", ".join(f"{name} {end.best:.1f}" for name, end in rivals.items())
    is_best = min(end.last for end in ends(of_dop, _named_widths).values()) >= max(end.best for end in rivals.values())
    return Verdict(falls.agrees and is_best, f"{falls.sentence}; without outliers at best (oracle): {oracles} dB")


WIDTHS = Figure(
    claim="no width to tune: every one recovers the picture, does not fall again, and beats DIP and DIP-l1 at their best",
    runs=RUNS,
    cells=_cells_widths,
    scope=lambda plan: scope(plan, _cells_widths(plan), "50 %, widths 16, 32 and 64"),
    verdict=_verdict_widths,
    plot=plot_curves(_named_widths),
)


# Amounts of damage against oracles


def _cells_oracles(plan: Plan) -> list[Cell]:
    return [picture_cell(plan, first(plan), method, amount=amount) for amount in AMOUNTS for method in (DIP, DIP_L1, DOP)]


ORACLES = Figure(
    claim="at every amount of damage DOP beats DIP and DIP-l1, even with their stopping time chosen by an oracle",
    runs=RUNS,
    cells=_cells_oracles,
    scope=lambda plan: scope(plan, _cells_oracles(plan), "10 to 70 %, width 32"),
    verdict=lambda rows: against_oracles(rows, by_amount),
    plot=plot_curves(lambda row: f"{row['method']}, {by_amount(row)}"),
)
