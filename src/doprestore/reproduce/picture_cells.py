"""A cell of the paper's figures of pictures, section 4.2: what is damaged and restored, how, and what its curve says.

All PSNR are of the network's own output. Several figures share cells, and :mod:`fig_pictures` and :mod:`fig_claims` the
questions that are asked of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from torch import Tensor

from doprestore.baselines import METHODS, OURS
from doprestore.baselines.score import settings_of
from doprestore.damage.make import corrupt
from doprestore.drive import Progress
from doprestore.image.recovery import recover_image
from doprestore.image.settings import ImageSettings
from doprestore.metrics import psnr
from doprestore.report.plots import line_plot
from doprestore.reproduce.figure import Cell, Note, Outcome, Plan, Row, Runs, Verdict
from doprestore.reproduce.long_run import COLUMNS, LongRun, finish
from doprestore.reproduce.originals import centre

# The methods, as the plots name them.
DIP, DIP_L1, DOP = "DIP", "DIP-l1", "DOP"
# The names that `doprestore compare` has for the rivals.
BASELINES = {DIP: "dip", DIP_L1: "dip-l1"}
# The loss that each descends; None: that of eq. (9), with outliers.
LOSSES = {DOP: None, DIP: "l2", DIP_L1: "l1"}
# Shares of the values that are damaged.
AMOUNTS = (0.1, 0.3, 0.5, 0.7)
# Crops at scale "small": that of F16 in fig. 3 and 4a, those of the other pictures and amounts, and that of fig. 1b.
LARGER, SIDE, SMALLER = 128, 96, 64
# Steps at scale "small", where the preset has 150 000: by then the PSNR of these has clearly fallen.
SHORTER = {DIP: 30_000, DIP_L1: 50_000}
# A curve that ends no further than this below its best, in dB, has not overfitted.
STAYS = 0.5
# One that ends further than this below it, in dB, has.
FALLS = 1.0
# So many dB above the damaged picture count as recovered.
RECOVERED = 10.0

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


def cell_settings(cell: Cell, device: str) -> ImageSettings:
    """Of the network of a cell."""
    return settings_of(
        BASELINES.get(cell["method"], OURS),
        cell["preset"],
        output="network",
        device=device,
        **{name: cell[name] for name in ("width", "steps", "alpha", "seed")},
    )


def _run(cell: Cell, plan: Plan, note: Note) -> Outcome:
    clean = clean_picture(plan, cell)
    damaged = damage(clean, cell)
    settings = cell_settings(cell, plan.device)
    start = psnr(damaged, clean)
    if settings.is_paper:
        run = LongRun(damaged, clean, settings, LOSSES[cell["method"]])
        assert plan.runs is not None  # the folder of long runs
        finish(run, plan.runs / run_name(cell), cell, note)
        return Outcome(point_rows(run.points, start), run.picture())
    rows: list[dict[str, float]] = []

    def report(progress: Progress) -> None:
        assert progress.psnr is not None  # the undamaged picture is known
        best = max([progress.psnr, *(row["best"] for row in rows)])
        rows.append({"step": progress.step, "psnr": progress.psnr, "best": best, "damaged": start})
        note(progress.step, progress.steps)

    if cell["method"] == DOP:
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
    width = width or (128 if plan.scale == "full" else 32)
    settings = settings_of(BASELINES.get(method, OURS), plan.preset, width=width, alpha=alpha, steps=steps)
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


def curves_by(rows: list[Row], key: Callable[[Row], Key]) -> dict[Key, Curve]:
    """The curves of the rows, each under what ``key`` gives."""
    curves: dict[Key, Curve] = {}
    for row in rows:
        curves.setdefault(key(row), []).append((row["step"], row["psnr"]))
    return curves


def ends(rows: list[Row], key: Callable[[Row], Key]) -> dict[Key, End]:
    """By the name that ``key`` gives, how each curve ends; "best" is of all steps where they were all looked at."""
    best = {key(row): row["best"] for row in rows}  # the last row's
    return {name: End(curve[-1][1], best[name], curve[-1][1] - curve[len(curve) * 4 // 5 - 1][1])
            for name, curve in curves_by(rows, key).items()}  # fmt: skip


def plot_curves(key: Callable[[Row], str]) -> Callable[..., bytes]:
    return lambda rows, plan, title, restored: line_plot(curves_by(rows, key), "step", "PSNR (dB)", title=title)


def first(plan: Plan) -> str:
    """The name of the first picture: F16, where the paper's are at hand."""
    return next(iter(plan.pictures))


def scores_by(rows: list[Row], key: Callable[[Row], str]) -> dict[str, dict[str, float]]:
    """PSNR by what ``key`` gives and method: at the end for DOP, at the best step (oracle) for the others."""
    scores: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(key(row) for row in rows):
        by_method = ends([row for row in rows if key(row) == name], lambda row: row["method"])
        scores[name] = {method: end.last if method == DOP else end.best for method, end in by_method.items()}
    return scores


def against_oracles(rows: list[Row], key: Callable[[Row], str]) -> Verdict:
    """Whether DOP in the end is at least as good as the others at their best, for every name that ``key`` gives."""
    scores = scores_by(rows, key)
    wins = [name for name, by in scores.items() if by[DOP] >= max(by.values())]
    numbers = ", ".join(f"{name} {by[DOP]:.1f} | {by[DIP_L1]:.1f} | {by[DIP]:.1f}" for name, by in scores.items())
    oracle = "DOP | DIP-l1 | DIP, the latter two stopped at their best by an oracle"
    return Verdict(len(wins) == len(scores), f"{oracle}: {numbers} dB; DOP is best on {len(wins)} of {len(scores)}")


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
