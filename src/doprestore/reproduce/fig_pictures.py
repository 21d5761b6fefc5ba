"""Fig. 1b, 3 and 4: pictures with salt-and-pepper noise, section 4.2. All PSNR are of the network's own output."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from torch import Tensor

from doprestore.baselines import METHODS
from doprestore.damage.make import corrupt
from doprestore.drive import Progress
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.metrics import psnr
from doprestore.report.plots import line_plot, picture_grid
from doprestore.reproduce.figure import Cell, Figure, Note, Outcome, Plan, Row, Runs, Verdict
from doprestore.reproduce.long_run import COLUMNS, LongRun, finish
from doprestore.reproduce.originals import centre

DIP, DIP_L1, DOP = "DIP", "DIP-l1", "DOP"
BASELINES = {DIP: "dip", DIP_L1: "dip-l1"}
LOSSES = {DOP: None, DIP: "l2", DIP_L1: "l1"}
AMOUNTS = (0.1, 0.3, 0.5, 0.7)
# Crops at scale "small": that of F16 in fig. 3 and 4a, those of the other pictures and amounts, and that of fig. 1b.
LARGER, SIDE, SMALLER = 128, 96, 64
SHORTER = {DIP: 30_000, DIP_L1: 50_000}  # steps at scale "small": by then the PSNR of these has clearly fallen
STAYS = 0.5  # dB: a curve that ends no further below its best has not overfitted
FALLS = 1.0  # dB: one that ends further below has
RECOVERED = 10.0  # dB over the damaged picture

Curve = list[tuple[float, float]]  # (step, PSNR)
Key = TypeVar("Key")  # what tells one curve from another


class End(NamedTuple):
    """How a curve ends, in dB. late: how much it has risen in the last fifth of its points."""

    last: float
    best: float
    late: float

    @property
    def loss(self) -> float:
        """How far it ends below its best."""
        return self.best - self.last


def _run(cell: Cell, plan: Plan, note: Note) -> Outcome:
    clean = clean_picture(plan, cell)
    damaged = damage(clean, cell)
    settings = image_settings(cell["preset"], width=cell["width"], steps=cell["steps"], alpha=cell["alpha"],
                              seed=cell["seed"], device=plan.device, output="network")  # fmt: skip
    start = psnr(damaged, clean)
    if settings.is_paper:
        run = LongRun(damaged, clean, settings, LOSSES[cell["method"]])
        assert plan.runs is not None  # where long runs are kept
        finish(run, plan.runs / run_name(cell), cell, note)
        return Outcome(point_rows(run.points, start), run.picture())
    rows: list[dict[str, float]] = []

    def report(progress: Progress) -> None:
        assert progress.psnr is not None  # the undamaged picture is known
        best = max([progress.psnr, *(row["best"] for row in rows)])
        rows.append({"step": progress.step, "psnr": progress.psnr, "best": best, "damaged": start})
        note(progress.step, progress.steps)

    if cell["method"] == DOP:  # the whole picture at once, as in the paper: no tiles
        return Outcome(rows, recover_image(damaged, settings, clean=clean, callback=report).restored)
    method = METHODS[BASELINES[cell["method"]]].load()
    return Outcome(rows, method(damaged, clean, settings, callback=report))


def clean_picture(plan: Plan, cell: Cell) -> Tensor:
    """What is damaged and restored in a cell, (C, H, W): the picture or its centre."""
    return centre(plan.pictures[cell["picture"]], cell["side"]) if cell["side"] else plan.pictures[cell["picture"]]


def damage(clean: Tensor, cell: Cell) -> Tensor:
    return corrupt(clean, "salt-pepper", cell["amount"], cell["seed"]).picture


def point_rows(points: list[list[float]], damaged: float) -> list[dict[str, float]]:
    """Of the points of a long run, what makes a row. damaged: PSNR of the damaged picture."""
    named = (dict(zip(COLUMNS, point, strict=True)) for point in points)
    return [{"damaged": damaged, **{name: point[name] for name in ("step", "psnr", "best")}} for point in named]


def run_name(cell: Cell) -> str:
    """A name for its files."""
    return "-".join(str(cell[name]) for name in _SETTINGS).replace("/", "_")


_SETTINGS = ("picture", "content", "size", "side", "amount", "method", "preset", "alpha", "width", "steps", "seed")
RUNS = Runs(_SETTINGS, ("step", "psnr", "best", "damaged"), _run, lambda cell: f"{run_name(cell)}.png")


def picture_cell(
    plan: Plan,
    picture: str,
    method: str,
    *,
    amount: float = 0.5,
    side: int = SIDE,
    width: int | None = None,
    alpha: float | None = None,
) -> Cell:
    """A run of a method. side: of the crop about the centre at scale "small"; the other scales take the picture whole."""
    steps = SHORTER.get(method) if plan.scale == "small" and plan.preset == "paper" else None
    settings = image_settings(plan.preset, width=width or (128 if plan.scale == "full" else 32), alpha=alpha, steps=steps)
    cell: Cell = {"picture": picture, "side": side if plan.scale == "small" else 0}
    clean = clean_picture(plan, cell)
    return cell | {
        "content": hashlib.sha256(clean.contiguous().numpy().tobytes()).hexdigest()[:8],
        "size": f"{clean.shape[2]}x{clean.shape[1]}",
        "amount": amount,
        "method": method,
        "preset": plan.preset,
        "alpha": settings.alpha,
        "width": settings.width,
        "steps": settings.steps,
        "seed": settings.seed,
    }


def scope(plan: Plan, cells: list[Cell], rest: str) -> str:
    """In words: which crops of which pictures, ``rest``, and the preset with the steps of the first method."""
    pictures = ", ".join(dict.fromkeys(cell["picture"] for cell in cells))
    sizes = ", ".join(dict.fromkeys(cell["size"].replace("x", " x ") for cell in cells))
    crop = "" if plan.scale == "full" else f"centre {sizes} of "
    return f"{crop}{pictures}, {rest}, {plan.preset} preset, {max(cell['steps'] for cell in cells)} steps"


def _width(plan: Plan) -> str:
    return f"width {128 if plan.scale == 'full' else 32}"


def _curves(rows: list[Row], key: Callable[[Row], Key]) -> dict[Key, Curve]:
    curves: dict[Key, Curve] = {}
    for row in rows:
        curves.setdefault(key(row), []).append((row["step"], row["psnr"]))
    return curves


def ends(rows: list[Row], key: Callable[[Row], Key]) -> dict[Key, End]:
    """By the name that ``key`` gives, how each curve ends; "best" is of all steps where they were all looked at."""
    best = {key(row): row["best"] for row in rows}  # the last row's
    return {name: End(curve[-1][1], best[name], curve[-1][1] - curve[len(curve) * 4 // 5 - 1][1])
            for name, curve in _curves(rows, key).items()}  # fmt: skip


def plot_curves(key: Callable[[Row], str]) -> Callable[..., bytes]:
    return lambda rows, plan, title, restored: line_plot(_curves(rows, key), "step", "PSNR (dB)", title=title)


# Fig. 1b


NARROW_AND_WIDE = {"quick": (8, 64), "small": (8, 32), "full": (16, 128)}


def first(plan: Plan) -> str:
    """The name of the first picture: F16, where the paper's are at hand."""
    return next(iter(plan.pictures))


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
    return row["picture"]


def _scores(rows: list[Row], key: Callable[[Row], str]) -> dict[str, dict[str, float]]:
    """PSNR by what ``key`` gives and method: at the end for DOP, at the best step (oracle) for the others."""
    scores: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(key(row) for row in rows):
        by_method = ends([row for row in rows if key(row) == name], lambda row: row["method"])
        scores[name] = {method: end.last if method == DOP else end.best for method, end in by_method.items()}
    return scores


def against_oracles(rows: list[Row], key: Callable[[Row], str]) -> Verdict:
    """Whether DOP in the end is at least as good as the others at their best, for every name that ``key`` gives."""
    scores = _scores(rows, key)
    wins = [name for name, by in scores.items() if by[DOP] >= max(by.values())]
    numbers = ", ".join(f"{name} {by[DOP]:.1f} | {by[DIP_L1]:.1f} | {by[DIP]:.1f}" for name, by in scores.items())
    oracle = "DOP | DIP-l1 | DIP, the latter two stopped at their best by an oracle"
    return Verdict(len(wins) == len(scores), f"{oracle}: {numbers} dB; DOP is best on {len(wins)} of {len(scores)}")


def _plot_3(rows: list[Row], plan: Plan, title: str, restored: Callable[[Cell], Tensor]) -> bytes:
    scores = _scores(rows, by_picture)
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


def never_falls(rows: list[Row], key: Callable[[Row], str]) -> Verdict:
    """Whether every curve recovers the picture, ends near its best, and has stabilised by then."""
    named = ends(rows, key)
    gain = min(named[key(row)].last - row["damaged"] for row in rows)
    loss = max(end.loss for end in named.values())
    late = max(end.late for end in named.values())
    numbers = ", ".join(f"{name} {end.last:.1f}" for name, end in named.items())
    sentence = (
        f"PSNR in the end {numbers} dB, at least {gain:.1f} dB over the damaged picture and at most {loss:.2f} dB "
        f"below the best of its curve; it rose by at most {late:.2f} dB in the last fifth of the steps"
    )
    is_long = all(row["preset"] == "paper" for row in rows)  # the fast preset may still be rising when it stops
    return Verdict(loss <= STAYS and gain >= RECOVERED and (late <= STAYS or not is_long), sentence)


def by_amount(row: Row) -> str:
    return f"{row['amount']:.0%}"


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
