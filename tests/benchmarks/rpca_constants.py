"""One constant of the matrix wing varied, everything else as it is: how many problems are solved, how well, how fast.

    python tests/benchmarks/rpca_constants.py flow.DAMPING 0.1 0.3 1
    python tests/benchmarks/rpca_constants.py refit.SLOW 2 4 8
    python tests/benchmarks/rpca_constants.py sensing.REFIT_DECAY 0.7 0.8 0.9
    python tests/benchmarks/rpca_constants.py narrow_fit.ENOUGH 1.05 1.2

A constant is MODULE.NAME of doprestore.matrix; its value as it stands is always tried, too, and marked *. Two kinds of
problem, each of several shapes and seeds. Exact ones have rank 2 to 10, outliers of N(0, 10²) on 10 to 30 % and in some
a fifth of the entries missing; they count as solved when the answer says `exact` and is right to 1e-6. Noisy ones have
columns in units of their own, a mean, and noise of 2 % of a column; they count as solved when the rank is found to
within 1. Columns: solved of each kind, the median error ‖X̂ − X‖_F / ‖X‖_F of the noisy ones, processor seconds of all.

Modules that these would not reach have problems of their own. sensing: general measurements. narrow, narrow_fit and
relations: tables of 100x8 of rpca_table_problems.py, solved where precision and recall are 0.9 or more and the rank is
right to within 1. tall: exact matrices of 20 000x200, rank 20. readings: tables of 40x50 and 120x40 with a constant of
1000, off by 100 on 30 % of their cells; a claim of `exact` is right or wrong. split and data: tables of two directions, a
mean and noise of 1 %, none or 5 % of the cells wrong, in units from 1e-3 to 1e3, and one more column of which the others say
nothing, where what is rare is right (rain, a flag, a skewed law) or wrong (noise with 2 % of gross errors).
"""

from __future__ import annotations

import argparse
import ast
import importlib
import pkgutil
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
from rpca_problems import low_rank_plus_sparse
from rpca_table_problems import ENOUGH, make
from rpca_table_problems import score as table_score

import doprestore.matrix
from doprestore import rpca, sense
from doprestore.matrix.settings import matrix_settings

EXACT = ((100, 100, 5, 0.1, 0.0), (100, 100, 5, 0.3, 0.0), (300, 40, 3, 0.2, 0.0), (60, 200, 2, 0.2, 0.2),
         (200, 200, 10, 0.2, 0.0))  # rows, columns, rank, share of outliers, share missing  # fmt: skip
NOISY = ((200, 200, 5, 0.1), (500, 30, 3, 0.05), (100, 100, 2, 0.1))  # the same without missing entries
NARROW = ("mean", "unequal noise", "fill 5%", "exact plain")  # kinds of tables
TALL = (0.1, 0.3)  # shares of outliers
SHIFTED = ((40, 50), (120, 40))  # rows, columns
STRANGE = {
    "rain": lambda rng, rows: np.where(rng.random(rows) < 0.85, 0, rng.exponential(2, rows)),
    "rare rain": lambda rng, rows: np.where(rng.random(rows) < 0.97, 0, rng.exponential(2, rows)),
    "flag": lambda rng, rows: (rng.random(rows) < 0.1).astype(float),
    "skewed": lambda rng, rows: np.exp(1.5 * rng.standard_normal(rows)),
}  # columns of which no cell is wrong
SENSED = ((8, 8, 2, 200), (10, 6, 1, 120))  # rows, columns, rank, measurements


def modules() -> list:
    return [
        importlib.import_module(f"doprestore.matrix.{entry.name}")
        for entry in pkgutil.iter_modules(doprestore.matrix.__path__)
    ]


def put(name: str, old: object, new: object) -> None:
    """Give the constant its value wherever it has been imported to."""
    for module in modules():
        if getattr(module, name, None) is old:
            setattr(module, name, new)


def low_rank(rows: int, columns: int, rank: int, generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=(rows, rank)) @ generator.normal(size=(columns, rank)).T


def exact(seeds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for rows, columns, rank, share, missing in EXACT:
        for seed in range(seeds):
            generator = np.random.default_rng(seed)
            x = low_rank(rows, columns, rank, generator)
            y = x + (generator.random(x.shape) < share) * generator.normal(size=x.shape) * 10
            y[generator.random(x.shape) < missing] = np.nan
            yield x, y


def noisy(seeds: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """The data, what it would be without noise and outliers, and the rank of that."""
    for rows, columns, rank, share in NOISY:
        for seed in range(seeds):
            generator = np.random.default_rng(seed)
            unit = 10 ** generator.uniform(-1, 1, columns)
            x = (low_rank(rows, columns, rank, generator) + generator.uniform(-5, 5, columns)) * unit
            noise = 0.02 * x.std(0) * generator.normal(size=x.shape)
            yield x + noise + (generator.random(x.shape) < share) * generator.normal(size=x.shape) * 10 * unit, x, rank + 1


def score(seeds: int) -> str:
    """The line of the constants as they are now."""
    start = time.process_time()
    rights, ranks, errors = [], [], []
    for x, y in exact(seeds):
        result = rpca(y)
        rights.append(result.solution == "exact" and np.linalg.norm(result.low_rank - x) <= 1e-6 * np.linalg.norm(x))
    for y, x, rank in noisy(seeds):
        result = rpca(y)
        ranks.append(abs(result.rank - rank) <= 1)
        errors.append(np.linalg.norm(np.nan_to_num(result.low_rank) - x) / np.linalg.norm(x))
    seconds = time.process_time() - start
    return (f"exact {sum(rights)} of {len(rights)}, noisy {sum(ranks)} of {len(ranks)}, "
            f"error {statistics.median(errors):.2e}, {seconds:.1f} s")  # fmt: skip


def score_sensing(seeds: int) -> str:
    start = time.process_time()
    rights = []
    for rows, columns, rank, count in SENSED:
        for seed in range(seeds):
            generator = np.random.default_rng(seed)
            x = low_rank(rows, columns, rank, generator)
            a = generator.normal(size=(count, rows, columns))
            y = np.einsum("mij,ij->m", a, x)
            y += (generator.random(count) < 0.1) * generator.normal(size=count) * 10
            result = sense(a, y, matrix_settings())
            rights.append(result.solution == "exact" and np.linalg.norm(result.low_rank - x) <= 1e-6 * np.linalg.norm(x))
    return f"exact {sum(rights)} of {len(rights)}, {time.process_time() - start:.1f} s"


def score_narrow(seeds: int) -> str:
    start = time.process_time()
    met = []
    for kind in NARROW:
        for seed in range(seeds):
            problem = make(kind, 100, 8, seed)
            result = rpca(problem.data)
            found = table_score(problem, result.low_rank, result.sparse != 0)
            close = abs(result.rank - found["true_rank"]) <= 1
            met.append(close and min(found["precision"], found["recall"]) >= ENOUGH)
    return f"met {sum(met)} of {len(met)}, {time.process_time() - start:.1f} s"


def score_tall(seeds: int) -> str:
    rights, seconds = [], 0.0
    for share in TALL:
        for seed in range(seeds):
            y, x = low_rank_plus_sparse(20_000, 200, 20, share, seed)
            start = time.process_time()
            result = rpca(y)
            seconds += time.process_time() - start
            rights.append(result.solution == "exact" and np.linalg.norm(result.low_rank - x) <= 1e-6 * np.linalg.norm(x))
    return f"exact {sum(rights)} of {len(rights)}, {seconds:.1f} s"


def score_shifted(seeds: int) -> str:
    start = time.process_time()
    rights, empty = [], 0
    for rows, columns in SHIFTED:
        for seed in range(seeds):
            problem = make("exact shift", rows, columns, seed, share=0.3)
            result = rpca(problem.data + 1000)
            if result.solution == "exact":
                rights.append(np.nanmax(np.abs(result.low_rank - problem.truth - 1000)) < 1e-6)
                empty += len(result.empty_rows) + len(result.empty_columns)
    return (f"exact {len(rights)} of {len(SHIFTED) * seeds}, of these right {sum(rights)}, lines left empty {empty}, "
            f"{time.process_time() - start:.1f} s")  # fmt: skip


def score_strange(seeds: int) -> str:
    start = time.process_time()
    spoilt, found, flagged, right = [], [], 0, 0
    for name in (*STRANGE, "noise"):
        for rows, columns, share in ((200, 10, 0.0), (200, 10, 0.05), (500, 30, 0.05)):
            for seed in range(seeds):
                rng = np.random.default_rng([seed, rows, columns])
                good = low_rank(rows, columns, 2, rng) + rng.normal(size=columns) + 0.01 * rng.normal(size=(rows, columns))
                wrong = rng.random((rows, columns + 1)) < share
                if name == "noise":
                    extra = rng.normal(size=rows)
                    wrong[:, -1] = rng.random(rows) < 0.02
                else:
                    extra = STRANGE[name](rng, rows)
                    wrong[:, -1] = False
                table = np.column_stack([good, extra])
                table[wrong] += 20
                result = rpca(table * 10 ** rng.uniform(-3, 3, columns + 1))
                bad = result.sparse != 0
                flagged += int((bad & ~wrong)[:, :-1].sum())
                right += int((~wrong)[:, :-1].sum())
                if name == "noise":
                    found.append(bad[wrong[:, -1], -1].mean())
                else:
                    spoilt.append(bad[:, -1].mean())
    return (f"of strange columns {np.mean(spoilt):.2%} spoilt, in {np.count_nonzero(spoilt)} of {len(spoilt)}; of wrong "
            f"cells in noise {np.mean(found):.0%} found; of right ones elsewhere {flagged / right:.2%} flagged; "
            f"{time.process_time() - start:.1f} s")  # fmt: skip


SCORES = {"sensing": score_sensing, "narrow": score_narrow, "narrow_fit": score_narrow, "relations": score_narrow,
          "tall": score_tall, "readings": score_shifted, "split": score_strange, "data": score_strange}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("constant", metavar="MODULE.NAME")
    parser.add_argument("values", nargs="+", type=ast.literal_eval)
    parser.add_argument("--seeds", type=int, default=3, help="problems of each shape")
    args = parser.parse_args()
    module, name = args.constant.split(".")
    now = getattr(importlib.import_module(f"doprestore.matrix.{module}"), name)
    last = now
    for value in sorted({now, *args.values}):
        put(name, last, value)
        last = value
        line = SCORES.get(module, score)(args.seeds)
        print(f"{args.constant} = {value!r:>10}{'*' if value == now else ' '} {line}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
