"""Tables with known truth: the problems of rpca_tables.py and rpca_exact.py, what is scored, and what can be known at all.

Each problem is X + noise + outliers. Factors are N(0, 1); an outlier is 5 to 50 standard deviations of the noise of its
own cell, log-uniformly, of either sign unless the kind says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

ENOUGH = 0.9  # of precision, and of recall, for a problem to count as met


@dataclass
class Problem:
    """data: NaN where missing. truth: X. wrong: the outliers. sigma: (1, columns), noise of each column (0: none).
    judged: the cells that count; a cell that no method can know does not."""

    data: np.ndarray
    truth: np.ndarray
    wrong: np.ndarray
    sigma: np.ndarray
    judged: np.ndarray = field(default=None)

    def rank(self) -> int:
        scale = np.where(self.sigma > 0, self.sigma, 1.0)
        values = np.linalg.svd((self.truth / scale)[self.judged.any(1)][:, self.judged.any(0)], compute_uv=False)
        rows, columns = self.truth.shape
        edge = math.sqrt(rows) + math.sqrt(columns) if (self.sigma > 0).any() else 1e-9 * values[0]
        return int((values > edge).sum())


def make(kind: str, rows: int, columns: int, seed: int, share: float = 0.03) -> Problem:
    rng = np.random.default_rng([seed, rows, columns, sum(map(ord, kind))])
    rank = 2 if columns < 20 else 3
    exact = kind.startswith("exact ")
    kind = kind.removeprefix("exact ")
    left, right = rng.standard_normal((rows, rank)), rng.standard_normal((rank, columns))
    if kind == "weak factor":
        left = left * np.array([30.0] + [1.0] * (rank - 1))
    truth = left @ right
    sigma = np.full((1, columns), 0.1)
    scale = np.ones((1, columns))
    if kind == "mean":
        truth = truth + 20
    if kind in ("offsets", "scales"):
        truth = truth + rng.normal(0, 50, columns)
    if kind == "scales":
        scale = 10 ** rng.uniform(-2, 2, (1, columns))
    if kind == "unequal noise":
        sigma = 10 ** rng.uniform(-2, -0.3, (1, columns))
    noise = rng.standard_normal(truth.shape)
    if kind == "heavy tails":
        noise = rng.standard_t(3, truth.shape) / 1.13  # so that its median |value| is that of N(0, 1)
    if kind == "shift":
        share = 0.3
    wrong = rng.random(truth.shape) < share
    size = 5 * 10 ** rng.uniform(0, 1, truth.shape) * sigma
    sign = np.ones(truth.shape) if kind == "one-sided" else rng.choice([-1.0, 1.0], truth.shape)
    data = truth + noise * sigma * (not exact) + wrong * size * sign
    if kind == "shift":
        data = truth + noise * sigma * (not exact) + wrong * 100
    truth, data, sigma = truth * scale, data * scale, sigma * scale
    clear = np.full(truth.shape, 5.0 * sigma)  # a cell at a code counts as wrong where it is that far from the truth
    cells = rng.random(truth.shape)
    judged = np.ones(truth.shape, bool)
    if kind.startswith("fill"):
        code = cells < int(kind.split()[1].removesuffix("%")) / 100
        data[code], wrong = 999, wrong | code
    if kind == "zeros":
        code = cells < 0.2
        data[code], wrong = 0, wrong | (code & (abs(truth) > clear))
        judged &= ~(code & (abs(truth) <= clear))
    if kind.startswith("saturation"):
        limit = np.quantile(data, 1 - int(kind.split()[1].removesuffix("%")) / 100)
        high = data > limit
        wrong = (wrong & ~high) | (high & (truth - limit > clear))
        judged &= ~(high & (truth - limit <= clear))
        data = np.minimum(data, limit)
    if kind == "missing":
        data[cells < 0.15] = np.nan
        data[3] = np.nan
        data[5, 1:] = np.nan
    if kind == "wrong lines":
        lines = rng.choice(rows, max(1, rows // 100), replace=False)
        data[lines] = rng.normal(0, 3, (len(lines), columns))
        wrong[lines] = True
        judged[lines] = False
        if columns >= 20:
            data[:, 4], wrong[:, 4], judged[:, 4] = rng.normal(0, 3, rows), True, False
    return Problem(data, truth, wrong, sigma * (not exact), judged & ~np.isnan(data))


KINDS = ["plain", "mean", "offsets", "scales", "weak factor", "unequal noise", "one-sided", "heavy tails", "fill 5%",
         "fill 30%", "saturation 5%", "saturation 20%", "zeros", "shift", "missing", "wrong lines", "exact plain",
         "exact mean", "exact scales", "exact weak factor", "exact fill 30%", "exact saturation 20%", "exact zeros",
         "exact shift", "exact missing", "exact wrong lines"]  # fmt: skip


def score(problem: Problem, low_rank: np.ndarray, flagged: np.ndarray) -> dict[str, float]:
    judged = problem.judged
    flagged, wrong = flagged[judged], problem.wrong[judged]
    hits = int((flagged & wrong).sum())
    difference = (low_rank - problem.truth) / np.where(problem.sigma > 0, problem.sigma, 1.0)
    difference = difference[judged & np.isfinite(low_rank)]
    error = float(np.sqrt(np.mean(difference**2))) if len(difference) else math.nan
    if not (problem.sigma > 0).any():
        error /= float(np.sqrt(np.mean(problem.truth[judged] ** 2)))
    return {"true_rank": problem.rank(), "precision": hits / flagged.sum() if flagged.any() else 1.0,
            "recall": hits / wrong.sum() if wrong.any() else 1.0, "error": error,
            "empty": float(np.mean(~np.isfinite(low_rank[judged])))}  # fmt: skip


def is_identifiable(problem: Problem) -> bool:
    """Whether an oracle passes the check of precision and recall: whether the data hold what is asked for.

    The oracle is told X as a start, its rank, the noise of each column and every true outlier. It fits matrices of that
    rank by least squares to the good cells alone, divides each cell's deviation by the standard deviation that it has
    without (an outlier) or within (a good cell) the fit, and is given the best threshold there is, in hindsight. Where it
    fails at every threshold, outliers cannot be told from noise: rows of so few cells that what is left of an outlier beside
    the fit is below the noise, or noise whose own tails are as heavy. No result of ours enters.
    """
    judged, wrong = problem.judged, problem.wrong[problem.judged]
    if not wrong.any():
        return True
    size = oracle_deviations(problem)[judged]
    hits = np.cumsum(wrong[np.argsort(-size)])
    return bool((np.minimum(hits / np.arange(1, len(hits) + 1), hits / wrong.sum()) >= ENOUGH).any())


def oracle_deviations(problem: Problem, sweeps: int = 20) -> np.ndarray:
    """|data - fit| in standard deviations, see :func:`is_identifiable`."""
    unit = np.where(problem.sigma > 0, problem.sigma, np.abs(problem.truth).mean(axis=0))
    data, truth = np.nan_to_num(problem.data / unit), problem.truth / unit
    good = problem.judged & ~problem.wrong
    rank = problem.rank()
    left, sigma, right = np.linalg.svd(truth, full_matrices=False)
    u, v = left[:, :rank] * sigma[:rank], right[:rank].T
    for _ in range(sweeps):
        u, rows = _least_squares(good, v, data)
        v, columns = _least_squares(good.T, u, data.T)
    leverage = np.einsum("ci,rij,cj->rc", v, rows, v) + np.einsum("ri,cij,rj->rc", u, columns, u)
    spread = np.where(good, np.maximum(1 - leverage, 0.05), 1 + leverage)
    return np.abs(data - u @ v.T) / np.sqrt(spread)


def _least_squares(good: np.ndarray, factor: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of ``data``, its coefficients on ``factor`` by the good cells, and the inverse of their Gram matrix."""
    rank = factor.shape[1]
    products = (factor[:, :, None] * factor[:, None, :]).reshape(-1, rank * rank)
    gram = (good @ products).reshape(-1, rank, rank) + 1e-9 * np.mean(factor**2) * np.eye(rank)
    return np.linalg.solve(gram, ((good * data) @ factor)[:, :, None])[:, :, 0], np.linalg.inv(gram)
