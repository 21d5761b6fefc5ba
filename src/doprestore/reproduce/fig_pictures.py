"""Fig. 1b, 3 and 4: pictures with salt-and-pepper noise, section 4.2. All PSNR are of the network's own output."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from torch import Tensor

from doprestore.baselines import METHODS
from doprestore.damage.make import corrupt
from doprestore.image.recovery import Progress, recover_image
from doprestore.image.settings import image_settings
from doprestore.metrics import psnr
from doprestore.report.plots import line_plot, picture_grid
from doprestore.reproduce.figure import Cell, Figure, Note, Outcome, Plan, Row, Runs, Verdict

DIP, DIP_L1, DOP = "DIP", "DIP-l1", "DOP"
BASELINES = {DIP: "dip", DIP_L1: "dip-l1"}
LEVELS = (0.1, 0.3, 0.5, 0.7)
STAYS = 0.5  # dB: a curve that ends no further below its best has not overfitted
FALLS = 1.0  # dB: one that ends further below has
RECOVERED = 10.0  # dB over the damaged picture

Curve = list[tuple[float, float]]  # (step, PSNR)


def _run(cell: Cell, plan: Plan, note: Note) -> Outcome:
    clean = plan.pictures[cell["picture"]]
    damaged = _damaged(clean, cell)
    settings = image_settings(cell["preset"], width=cell["width"], steps=cell["steps"], seed=cell["seed"],
                              device=plan.device, output="network")  # fmt: skip
    start = psnr(damaged, clean)
    rows: list[dict[str, float]] = []

    def report(progress: Progress) -> None:
        rows.append({"step": progress.step, "psnr": progress.psnr, "damaged": start})
        note(progress.step, progress.steps)

    if cell["method"] == DOP:  # the whole picture at once, as in the paper: no tiles
        return Outcome(rows, recover_image(damaged, settings, clean=clean, callback=report).restored)
    method = METHODS[BASELINES[cell["method"]]].load()
    return Outcome(rows, method(damaged, clean, settings, callback=report))


def _damaged(clean: Tensor, cell: Cell) -> Tensor:
    return corrupt(clean, "salt-pepper", cell["amount"], cell["seed"]).picture


def _picture_name(cell: Cell) -> str:
    return "-".join(str(cell[name]) for name in _SETTINGS).replace("/", "_") + ".png"


_SETTINGS = ("picture", "content", "size", "amount", "method", "preset", "width", "steps", "seed")
RUNS = Runs(_SETTINGS, ("step", "psnr", "damaged"), _run, _picture_name)


def _cell(plan: Plan, picture: str, amount: float, method: str, width: int | None = None) -> Cell:
    clean = plan.pictures[picture]
    settings = image_settings(plan.preset, width=width or (32 if plan.quick else 128))
    return {
        "picture": picture,
        "content": hashlib.sha256(clean.contiguous().numpy().tobytes()).hexdigest()[:8],
        "size": f"{clean.shape[2]}x{clean.shape[1]}",
        "amount": amount,
        "method": method,
        "preset": plan.preset,
        "width": settings.width,
        "steps": settings.steps,
        "seed": settings.seed,
    }


def _scope(plan: Plan, pictures: list[str], rest: str) -> str:
    steps = image_settings(plan.preset).steps
    size = " x ".join(str(side) for side in plan.pictures[pictures[0]].shape[:0:-1])
    crop = f"centre {size} of " if plan.quick else ""
    return f"{crop}{', '.join(pictures)}, {rest}, {plan.preset} preset, {steps} steps"


def _width(plan: Plan) -> str:
    return f"width {32 if plan.quick else 128}"


def _curves(rows: list[Row], key: Callable[[Row], str]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for row in rows:
        curves.setdefault(key(row), []).append((row["step"], row["psnr"]))
    return curves


def _best(curve: Curve) -> float:
    return max(quality for _, quality in curve)


def _loss(curve: Curve) -> float:
    """How far the end of the curve is below its best, in dB."""
    return _best(curve) - curve[-1][1]


def _plot_curves(key: Callable[[Row], str]) -> Callable[..., bytes]:
    return lambda rows, plan, title, restored: line_plot(_curves(rows, key), "step", "PSNR (dB)", title=title)


# Fig. 1b


def _widths(plan: Plan) -> tuple[int, int]:
    return (8, 64) if plan.quick else (16, 128)


def _first(plan: Plan) -> str:
    return next(iter(plan.pictures))


def _cells_1b(plan: Plan) -> list[Cell]:
    narrow, wide = _widths(plan)
    return [_cell(plan, _first(plan), 0.5, method, width) for method, width in
            ((DIP_L1, narrow), (DIP_L1, wide), (DOP, wide))]  # fmt: skip


def _named_1b(row: Row) -> str:
    return f"{row['method']}, width {row['width']}"


def _verdict_1b(rows: list[Row]) -> Verdict:
    curves = _curves(rows, _named_1b)
    narrow, wide, dop = curves.values()
    agrees = _loss(wide) > FALLS and _loss(dop) <= STAYS and dop[-1][1] > max(narrow[-1][1], wide[-1][1])
    ends = [f"{name}: {curve[-1][1]:.1f} dB in the end, {_best(curve):.1f} at best" for name, curve in curves.items()]
    return Verdict(agrees, "; ".join(ends))


FIG1B = Figure(
    claim="DIP-l1 in a wide network overfits, DOP in the same network does not and ends higher",
    runs=RUNS,
    cells=_cells_1b,
    scope=lambda plan: _scope(plan, [_first(plan)], "50 %"),
    verdict=_verdict_1b,
    plot=_plot_curves(_named_1b),
)


# Fig. 3


def _cells_3(plan: Plan) -> list[Cell]:
    return [_cell(plan, picture, 0.5, method) for picture in plan.pictures for method in (DIP, DIP_L1, DOP)]


def _scores(rows: list[Row]) -> dict[str, dict[str, float]]:
    """PSNR by picture and method: at the end for DOP, at the best step (oracle) for the others."""
    scores: dict[str, dict[str, float]] = {}
    for picture in dict.fromkeys(row["picture"] for row in rows):
        curves = _curves([row for row in rows if row["picture"] == picture], lambda row: row["method"])
        scores[picture] = {m: curve[-1][1] if m == DOP else _best(curve) for m, curve in curves.items()}
    return scores


def _verdict_3(rows: list[Row]) -> Verdict:
    scores = _scores(rows)
    wins = [picture for picture, by in scores.items() if by[DOP] >= max(by.values())]
    numbers = ", ".join(f"{picture} {by[DOP]:.1f} | {by[DIP_L1]:.1f} | {by[DIP]:.1f}" for picture, by in scores.items())
    oracle = "DOP | DIP-l1 | DIP, the latter two stopped at their best by an oracle"
    return Verdict(len(wins) == len(scores), f"{oracle}: {numbers} dB; DOP is best on {len(wins)} of {len(scores)}")


def _plot_3(rows: list[Row], plan: Plan, title: str, restored: Callable[[Cell], Tensor]) -> bytes:
    scores = _scores(rows)
    grid: dict[str, list[tuple[str, np.ndarray]]] = {}
    for cell in _cells_3(plan):
        picture, method = cell["picture"], cell["method"]
        clean = plan.pictures[picture]
        if picture not in grid:
            damaged = _damaged(clean, cell)
            grid[picture] = [(picture, clean.numpy()), (f"damaged {psnr(damaged, clean):.1f} dB", damaged.numpy())]
        oracle = "" if method == DOP else " (oracle)"
        grid[picture].append((f"{method}{oracle} {scores[picture][method]:.1f} dB", restored(cell).numpy()))
    return picture_grid(list(grid.values()), title=title)


FIG3 = Figure(
    claim="DOP beats DIP and DIP-l1 on every picture, even with their stopping time chosen by an oracle",
    runs=RUNS,
    cells=_cells_3,
    scope=lambda plan: _scope(plan, list(plan.pictures), f"50 %, {_width(plan)}"),
    verdict=_verdict_3,
    plot=_plot_3,
)


# Fig. 4


def _verdict_4(rows: list[Row], key: Callable[[Row], str]) -> Verdict:
    curves = _curves(rows, key)
    gain = min(curves[key(row)][-1][1] - row["damaged"] for row in rows)
    loss = max(_loss(curve) for curve in curves.values())
    ends = ", ".join(f"{name} {curve[-1][1]:.1f}" for name, curve in curves.items())
    sentence = (
        f"PSNR in the end {ends} dB, at least {gain:.1f} dB over the damaged picture and at most {loss:.2f} dB "
        "below the best of its curve"
    )
    return Verdict(loss <= STAYS and gain >= RECOVERED, sentence)


def _level(row: Row) -> str:
    return f"{row['amount']:.0%}"


FIG4A = Figure(
    claim="one α for all pictures, and no curve falls again",
    runs=RUNS,
    cells=lambda plan: [_cell(plan, picture, 0.5, DOP) for picture in plan.pictures],
    scope=lambda plan: _scope(plan, list(plan.pictures), f"50 %, {_width(plan)}"),
    verdict=lambda rows: _verdict_4(rows, lambda row: row["picture"]),
    plot=_plot_curves(lambda row: row["picture"]),
)

FIG4B = Figure(
    claim="one α for all levels of corruption, and no curve falls again",
    runs=RUNS,
    cells=lambda plan: [_cell(plan, _first(plan), amount, DOP) for amount in LEVELS],
    scope=lambda plan: _scope(plan, [_first(plan)], f"10 to 70 %, {_width(plan)}"),
    verdict=lambda rows: _verdict_4(rows, _level),
    plot=_plot_curves(_level),
)
