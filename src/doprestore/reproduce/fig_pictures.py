"""Fig. 1b, 3 and 4: pictures with salt-and-pepper noise, section 4.2. All PSNR are of the network's own output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from doprestore.metrics import psnr
from doprestore.report.plots import picture_grid
from doprestore.reproduce.figure import Cell, Figure, Plan, Row, Verdict
from doprestore.reproduce.picture_cells import (
    AMOUNTS,
    DIP,
    DIP_L1,
    DOP,
    FALLS,
    LARGER,
    RUNS,
    SIDE,
    SMALLER,
    STAYS,
    against_oracles,
    by_amount,
    clean_picture,
    damage,
    ends,
    first,
    never_falls,
    picture_cell,
    plot_curves,
    scope,
    scores_by,
)


def _width(plan: Plan) -> str:
    return f"width {128 if plan.scale == 'full' else 32}"


# Fig. 1b


# Channels of the narrow and the wide network of fig. 1b at each scale.
NARROW_AND_WIDE = {"quick": (8, 64), "small": (8, 32), "full": (16, 128)}


def _cells_1b(plan: Plan) -> list[Cell]:
    narrow, wide = NARROW_AND_WIDE[plan.scale]
    return [picture_cell(plan, first(plan), method, side=SMALLER, width=width) for method, width in
            ((DIP_L1, narrow), (DIP_L1, wide), (DOP, wide))]  # fmt: skip


def _named_1b(row: Row) -> str:
    return f"{row['method']}, width {row['width']}"


def _verdict_1b(rows: list[Row]) -> Verdict:
    named = ends(rows, _named_1b)
    narrow, wide, dop = named.values()
    agrees = wide.loss > FALLS and dop.loss <= STAYS and dop.last > max(narrow.last, wide.last)
    return Verdict(
        agrees, "; ".join(f"{name}: {end.last:.1f} dB in the end, {end.best:.1f} at best" for name, end in named.items())
    )


FIG1B = Figure(
    claim="DIP-l1 in a wide network overfits, DOP in the same network does not and ends higher",
    runs=RUNS,
    cells=_cells_1b,
    scope=lambda plan: scope(plan, _cells_1b(plan), "50 %"),
    verdict=_verdict_1b,
    plot=plot_curves(_named_1b),
)


# Fig. 3


def _largest(plan: Plan, picture: str) -> int:
    return LARGER if picture == first(plan) else SIDE


def _cells_3(plan: Plan) -> list[Cell]:
    return [picture_cell(plan, picture, method, side=_largest(plan, picture))
            for picture in plan.pictures for method in (DIP, DIP_L1, DOP)]  # fmt: skip


def by_picture(row: Row) -> str:
    picture: str = row["picture"]
    return picture


def _plot_3(rows: list[Row], plan: Plan, title: str, restored: Callable[[Cell], Tensor]) -> bytes:
    scores = scores_by(rows, by_picture)
    grid: dict[str, list[tuple[str, np.ndarray]]] = {}
    for cell in _cells_3(plan):
        picture, method = cell["picture"], cell["method"]
        clean = clean_picture(plan, cell)
        if picture not in grid:
            damaged = damage(clean, cell)
            grid[picture] = [(picture, clean.numpy()), (f"damaged {psnr(damaged, clean):.1f} dB", damaged.numpy())]
        oracle = "" if method == DOP else " (oracle)"
        grid[picture].append((f"{method}{oracle} {scores[picture][method]:.1f} dB", restored(cell).numpy()))
    return picture_grid(list(grid.values()), title=title)


FIG3 = Figure(
    claim="DOP beats DIP and DIP-l1 on every picture, even with their stopping time chosen by an oracle",
    runs=RUNS,
    cells=_cells_3,
    scope=lambda plan: scope(plan, _cells_3(plan), f"50 %, {_width(plan)}"),
    verdict=lambda rows: against_oracles(rows, by_picture),
    plot=_plot_3,
)


# Fig. 4


def _cells_4a(plan: Plan) -> list[Cell]:
    return [picture_cell(plan, picture, DOP, side=_largest(plan, picture)) for picture in plan.pictures]


def _cells_4b(plan: Plan) -> list[Cell]:
    return [picture_cell(plan, first(plan), DOP, amount=amount) for amount in AMOUNTS]


FIG4A = Figure(
    claim="one α for all pictures, and no curve falls again",
    runs=RUNS,
    cells=_cells_4a,
    scope=lambda plan: scope(plan, _cells_4a(plan), f"50 %, {_width(plan)}"),
    verdict=lambda rows: never_falls(rows, by_picture),
    plot=plot_curves(by_picture),
)

FIG4B = Figure(
    claim="one α for all amounts of damage, and no curve falls again",
    runs=RUNS,
    cells=_cells_4b,
    scope=lambda plan: scope(plan, _cells_4b(plan), f"10 to 70 %, {_width(plan)}"),
    verdict=lambda rows: never_falls(rows, by_amount),
    plot=plot_curves(by_amount),
)
