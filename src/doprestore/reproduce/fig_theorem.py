"""Theorem 1: for symmetric commuting A_i and U0 = γI, g0 = h0 = γ1, the limit of the flow of eq. (6) tends, as γ → 0,
to a solution of the convex program (8) with λ = 1/α."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from statistics import median

import torch

from doprestore.baselines.robust_pca import convex_program
from doprestore.matrix.descent import Descent
from doprestore.matrix.operators import Stack
from doprestore.outliers import OutlierPair
from doprestore.report.plots import line_plot
from doprestore.reproduce.figure import Cell, Figure, Note, Outcome, Plan, Row, Runs, Verdict

# Rows of X, and measurements.
SIDE, MEASUREMENTS = 6, 5
# The scales γ of the start.
GAMMAS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# The loss ¼‖r‖² at which the flow has arrived.
FITTED = 1e-14
# The relative gap of the objective at the least γ that still counts as the limit; the gap falls like 1/log(1/γ).
CLOSE = 0.1
# ‖A(X) + s − y‖ / ‖y‖ that counts as fitting the data.
FITS = 0.01
# A relative gap below this need not fall any further: there the ends of the two iterations themselves show.
FLOOR = 1e-3


def problem(seed: int) -> tuple[Stack, torch.Tensor]:
    """Symmetric commuting A_i (5, 6, 6) and y = A(X) + s, X of rank 1, one outlier."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn((SIDE, SIDE), generator=generator, dtype=torch.float64))[0]
    eigenvalues = torch.randn((MEASUREMENTS, SIDE), generator=generator, dtype=torch.float64)
    y = 2 * eigenvalues[:, 0]  # of X = 2 b bᵀ, b the first of the basis
    y[1] += 1.5
    return Stack(torch.einsum("ik,mk,jk->mij", basis, eigenvalues, basis)), y


def limit(operator: Stack, y: torch.Tensor, gamma: float, alpha: float, tau: float, steps: int) -> Descent:
    """Eq. (6) from U0 = γI, g0 = h0 = γ1, in small steps, until it fits the data."""
    start = torch.full_like(y, gamma)
    u = gamma * torch.eye(SIDE, dtype=torch.float64)
    descent = Descent(operator, y, u, None, OutlierPair(start, start.clone()), alpha=alpha, tau=tau)
    while descent.steps < steps:
        descent.step()
        if descent.steps % 100 == 0 and descent.loss < FITTED:
            break
    return descent


def objective(x: torch.Tensor, s: torch.Tensor, alpha: float) -> float:
    """‖X‖_* + λ‖s‖_1 of eq. (8) with λ = 1/α."""
    return float(torch.linalg.matrix_norm(x, "nuc") + s.abs().sum() / alpha)


def optimum(operator: Stack, y: torch.Tensor, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """X and s of (8) for X ⪰ 0 and λ = 1/α, with an objective within 1e-4 of the least."""
    solution = convex_program(y, 1 / alpha, operator=operator, psd=True, relative_mu=1e-6, steps=20_000, tolerance=1e-4)
    return solution.low_rank, solution.sparse


def _gaps(cell: Cell, plan: Plan, note: Note) -> Outcome:
    operator, y = problem(cell["seed"])
    x, s = optimum(operator, y, cell["alpha"])
    least = objective(x, s, cell["alpha"])
    norm = torch.cat([x.flatten(), s]).norm()
    rows = []
    for number, gamma in enumerate(GAMMAS):
        descent = limit(operator, y, gamma, cell["alpha"], cell["tau"], cell["steps"])
        found, outliers = descent.low_rank(), descent.outliers.value()
        distance = torch.cat([(found - x).flatten(), outliers - s]).norm() / norm
        residual = (operator.apply(found) + outliers - y).norm() / y.norm()
        gap = objective(found, outliers, cell["alpha"]) / least - 1
        rows.append({"gamma": gamma, "gap": abs(gap), "distance": distance.item(), "residual": residual.item()})
        note(number + 1, len(GAMMAS))
    return Outcome(rows)


def _cells(plan: Plan) -> list[Cell]:
    return [{"seed": seed, "alpha": alpha, "tau": 0.02, "steps": 60_000}
            for seed in range(4 if plan.quick else 20) for alpha in (0.5, 1.0, 2.0)]  # fmt: skip


def _lines(rows: list[Row]) -> dict[tuple[int, float], list[tuple[float, float]]]:
    """(γ, gap) by problem and α, γ falling."""
    lines = defaultdict(list)
    for row in rows:
        lines[row["seed"], row["alpha"]].append((row["gamma"], row["gap"]))
    return {case: sorted(line, reverse=True) for case, line in lines.items()}


def _verdict(rows: list[Row]) -> Verdict:
    lines = _lines(rows)
    worst = max(line[-1][1] for line in lines.values())
    shrinks = sum(all(late < max(early, FLOOR) for (_, early), (_, late) in pairwise(line))
                  for line in lines.values())  # fmt: skip
    first, last = (median(line[end][1] for line in lines.values()) for end in (0, -1))
    least, greatest = (end(row["gamma"] for row in rows) for end in (min, max))
    fits = all(row["residual"] < FITS for row in rows)
    sentence = (
        f"objective above the convex optimum by {first:.2%} at γ = {greatest:g} and {last:.2%} at {least:g} "
        f"(median; at worst {worst:.2%}), shrinking with γ in {shrinks} of {len(lines)} problems"
        f"{'' if fits else ', and the data is NOT fitted'}"
    )
    return Verdict(fits and shrinks == len(lines) and worst < CLOSE, sentence)


def _plot(rows: list[Row], plan: Plan, title: str, restored: object) -> bytes:
    lines = {f"problem {seed}, α = {alpha:g}": line for (seed, alpha), line in _lines(rows).items()}
    return line_plot(lines, "γ", "relative gap to the optimum of (8)", title=title, log="xy", points="o")


THEOREM1 = Figure(
    claim="the limit is the solution of the convex program (8) with λ = 1/α",
    runs=Runs(("seed", "alpha", "tau", "steps"), ("gamma", "gap", "distance", "residual"), _gaps),
    cells=_cells,
    scope=lambda plan: f"{4 if plan.quick else 20} random problems, n = {SIDE}, m = {MEASUREMENTS}, α = 0.5, 1, 2",
    verdict=_verdict,
    plot=_plot,
)
