"""Tables as people have them: a mean, scales, noise, fill codes, missing and wrong lines. Does the verdict hold?

    pip install pyrpca==1.0.1 tensorly
    python tests/benchmarks/rpca_tables.py --results tables.jsonl             all kinds, shapes up to 2000 x 100
    python tests/benchmarks/rpca_tables.py --results tables.jsonl --large     and 20 000 x 200
    python tests/benchmarks/rpca_tables.py --results tables.jsonl --show      the table of what is there already
    python tests/benchmarks/rpca_tables.py --exact 1000 --results exact.jsonl random problems; every wrong `exact`

Each problem is X + noise + outliers. Factors are N(0, 1); an outlier is 5 to 50 standard deviations of the noise of its
own cell, log-uniformly, of either sign unless the kind says otherwise. What is scored: rank - the number of singular
values of X (in units of the noise) above that of the noise alone; precision and recall - of the flagged cells, among
the known ones; error - the root mean square of X̂ − X in units of the noise (without noise: relative to X). Beside it:
pyrpca (flags where its sparse part is not 0), tensorly, and a column-wise filter: median ± 5 MAD.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SHAPES = [(100, 8), (100, 30), (200, 200), (2000, 100)]
LARGE = [(20_000, 200)]
SEEDS = range(3)


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


def doprestore(problem: Problem):
    from doprestore import rpca

    result = rpca(problem.data)
    solution = result.solution + ("" if getattr(result, "clear", True) else ", no clear split")
    return result.low_rank, result.sparse != 0, result.rank, solution + ("" if result.converged else ", NOT converged")


def filled(data: np.ndarray) -> np.ndarray:
    """For methods that know no missing entries: the median of the column."""
    return np.where(np.isnan(data), np.nan_to_num(np.nanmedian(data, axis=0)), data)


def pyrpca(problem: Problem):
    from pyrpca import rpca_pcp_ialm

    y = filled(problem.data)
    low_rank, sparse = rpca_pcp_ialm(y, 1 / math.sqrt(max(y.shape)), verbose=False)[:2]
    return low_rank, sparse != 0, numerical_rank(low_rank), ""


def tensorly(problem: Problem):
    from tensorly.decomposition import robust_pca

    y = filled(problem.data)
    low_rank, sparse = robust_pca(y, reg_E=2 / math.sqrt(max(y.shape)), n_iter_max=200, verbose=0)
    return low_rank, sparse != 0, numerical_rank(low_rank), ""


def median_mad(problem: Problem):
    y = problem.data
    centre = np.nanmedian(y, axis=0)
    mad = 1.4826 * np.nanmedian(abs(y - centre), axis=0)
    flagged = abs(y - centre) > 5 * mad
    return np.where(flagged | np.isnan(y), centre, y), flagged, -1, ""


def numerical_rank(low_rank: np.ndarray) -> int:
    values = np.linalg.svd(low_rank, compute_uv=False)
    return int((values > 1e-6 * values[0]).sum())


METHODS = {"doprestore": doprestore, "pyrpca": pyrpca, "tensorly": tensorly, "median ± 5 MAD": median_mad}


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


def run(options, results: Path) -> None:
    done = {tuple(line["key"]) for line in read(results)}
    shapes = SHAPES + LARGE * options.large
    for rows, columns in shapes:
        for kind in options.kinds:
            for seed in SEEDS if rows < 20_000 else [0]:
                for name in options.methods:
                    key = (kind, rows, columns, seed, name)
                    if key in done or (options.shape and options.shape != f"{rows}x{columns}"):
                        continue
                    problem = make(kind, rows, columns, seed)
                    start = time.perf_counter()
                    line = {"key": key}
                    try:
                        low_rank, flagged, rank, note = METHODS[name](problem)
                        line |= {"rank": rank, "note": note, **score(problem, low_rank, flagged)}
                    except Exception as error:
                        line["note"] = f"{type(error).__name__}: {error}"
                    line["seconds"] = time.perf_counter() - start
                    with open(results, "a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")


def read(results: Path) -> list[dict]:
    if not results.exists():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def show(results: Path) -> None:
    """A line for each kind, shape and method: means over the seeds, the worst rank."""
    groups = defaultdict(list)
    for line in read(results):
        kind, rows, columns, _, name = line["key"]
        groups[kind, f"{rows}x{columns}", name].append(line)
    print(
        f"{'kind':22s} {'shape':>9s} {'method':15s} {'rank':>9s} {'precision':>9s} "
        f"{'recall':>7s} {'error':>8s} {'s':>6s}  solution"
    )
    met = defaultdict(lambda: [0, 0])
    for (kind, shape, name), lines in sorted(groups.items()):
        seconds = np.mean([line["seconds"] for line in lines])
        notes = "; ".join(sorted({line["note"] for line in lines}))[:60]
        scored = [line for line in lines if "rank" in line]
        met[name][1] += len(lines)
        if not scored:
            print(f"{kind:22s} {shape:>9s} {name:15s} {'-':>9s} {'-':>9s} {'-':>7s} {'-':>8s} {seconds:6.2f}  {notes}")
            continue
        mean = {key: np.mean([line[key] for line in scored]) for key in ("precision", "recall", "error")}
        worst = max(scored, key=lambda line: abs(line["rank"] - line["true_rank"]))
        met[name][0] += sum(line["precision"] >= 0.9 and line["recall"] >= 0.9
                            and abs(line["rank"] - line["true_rank"]) <= 1 for line in scored)  # fmt: skip
        print(f"{kind:22s} {shape:>9s} {name:15s} {worst['rank']:4d} ({worst['true_rank']:2d}) {mean['precision']:9.2f} "
              f"{mean['recall']:7.2f} {mean['error']:8.1e} {seconds:6.2f}  {notes}")  # fmt: skip
    for name, (good, total) in met.items():
        print(f"{name}: precision and recall >= 0.9 and the rank within 1 in {good} of {total}")


def exact_claims(count: int, results: Path) -> None:
    """Random problems of all kinds, small: how often `exact` is claimed, and every time that it is wrong."""
    from doprestore import rpca

    done = {line["seed"] for line in read(results)}
    for seed in range(count):
        if seed in done:
            continue
        rng = np.random.default_rng(seed)
        kind = KINDS[seed % len(KINDS)]
        rows, columns = (int(side) for side in np.exp(rng.uniform(np.log(6), np.log(80), 2)))
        problem = make(kind, rows, columns, seed, share=float(rng.uniform(0, 0.3)))
        line = {"seed": seed, "kind": kind, "rows": rows, "columns": columns}
        try:
            result = rpca(problem.data)
            seen = problem.judged & np.isfinite(result.low_rank)
            size = np.sqrt(np.mean(problem.truth[seen] ** 2)) if seen.any() else 1.0
            error = np.sqrt(np.mean((result.low_rank - problem.truth)[seen] ** 2)) / size if seen.any() else 0.0
            line |= {"solution": result.solution, "error": float(error)}
        except Exception as error:
            line["solution"] = f"{type(error).__name__}: {error}"
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    lines = read(results)
    solutions = defaultdict(int)
    for line in lines:
        solutions[line["solution"]] += 1
        if line["solution"] == "exact" and line["error"] > 1e-6:
            print("wrong `exact`:", json.dumps(line))
    print(f"{len(lines)} problems: " + ", ".join(f"{solution} {number}" for solution, number in sorted(solutions.items())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="a line for each result; what is there is not run again")
    parser.add_argument("--large", action="store_true", help="20 000 x 200, too")
    parser.add_argument("--shape", help="only this one, like 100x8")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--exact", type=int, metavar="PROBLEMS")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in ("pyrpca", "tensorly"):
        if name in options.methods and importlib.util.find_spec(name) is None:
            print(f"not installed, left out: {name}")
            options.methods.remove(name)
    if options.exact:
        exact_claims(options.exact, options.results)
        return
    if not options.show:
        run(options, options.results)
    show(options.results)


if __name__ == "__main__":
    main()
