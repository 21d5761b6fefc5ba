"""Tables as people have them: a mean, scales, noise, fill codes, missing and wrong lines. Does the verdict hold?

    pip install pyrpca==1.0.1 tensorly
    python tests/benchmarks/rpca_tables.py --results tables.jsonl             all kinds, shapes up to 2000 x 100
    python tests/benchmarks/rpca_tables.py --results tables.jsonl --large     and 20 000 x 200
    python tests/benchmarks/rpca_tables.py --results tables.jsonl --show      the table of what is there already

The problems, and what is identifiable, are in rpca_table_problems.py. What is scored: rank - the number of singular
values of X (in units of the noise) above that of the noise alone; precision and recall - of the flagged cells, among
the known ones; error - the root mean square of X̂ − X in units of the noise (without noise: relative to X). Beside it:
pyrpca (flags where its sparse part is not 0), tensorly, and a column-wise filter: median ± 5 MAD. Peers that are not
installed are named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from results import append_result, read_results
from rpca_table_problems import ENOUGH, KINDS, Problem, is_identifiable, make, score

SHAPES = [(100, 8), (100, 30), (200, 200), (2000, 100)]
LARGE = [(20_000, 200)]
SEEDS = range(3)


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
ORACLE = "oracle"  # in the results: whether the problem is identifiable


def run(options, results: Path) -> None:
    done = read_results(results, _key)
    shapes = SHAPES + LARGE * options.large
    for rows, columns in shapes:
        for kind in options.kinds:
            for seed in SEEDS if rows < 20_000 else [0]:
                for name in (ORACLE, *options.methods):
                    key = (kind, rows, columns, seed, name)
                    if key in done or (options.shape and options.shape != f"{rows}x{columns}"):
                        continue
                    problem = make(kind, rows, columns, seed)
                    start = time.perf_counter()
                    line = {"key": key}
                    try:
                        if name == ORACLE:
                            append_result(results, line | {"identifiable": is_identifiable(problem)})
                            continue
                        low_rank, flagged, rank, note = METHODS[name](problem)
                        line |= {"rank": rank, "note": note, **score(problem, low_rank, flagged)}
                    except Exception as error:
                        line["note"] = f"{type(error).__name__}: {error}"
                    line["seconds"] = time.perf_counter() - start
                    append_result(results, line)


def _key(line: dict) -> tuple:
    return tuple(line["key"])


def show(results: Path) -> None:
    """A line for each kind, shape and method: means over the seeds, the worst rank."""
    groups = defaultdict(list)
    identifiable = {
        tuple(line["key"][:4]): line["identifiable"]
        for line in read_results(results, _key).values()
        if line["key"][4] == ORACLE
    }
    for line in read_results(results, _key).values():
        kind, rows, columns, _, name = line["key"]
        if name == ORACLE:
            continue
        line["identifiable"] = identifiable.get(tuple(line["key"][:4]), True)
        groups[kind, f"{rows}x{columns}", name].append(line)
    print(
        f"{'kind':22s} {'shape':>9s} {'method':15s} {'rank':>9s} {'precision':>9s} "
        f"{'recall':>7s} {'error':>8s} {'s':>6s}  solution"
    )
    met = defaultdict(lambda: [0, 0, 0, 0])  # met and all, met and all that are identifiable
    for (kind, shape, name), lines in sorted(groups.items()):
        seconds = np.mean([line["seconds"] for line in lines])
        notes = "; ".join(sorted({line["note"] for line in lines}))[:60]
        scored = [line for line in lines if "rank" in line]
        for line in lines:
            for place, counts in enumerate(
                (met_by(line), True, met_by(line) and line["identifiable"], line["identifiable"])
            ):
                met[name, shape][place] += counts
        if not scored:
            print(f"{kind:22s} {shape:>9s} {name:15s} {'-':>9s} {'-':>9s} {'-':>7s} {'-':>8s} {seconds:6.2f}  {notes}")
            continue
        mean = {key: np.mean([line[key] for line in scored]) for key in ("precision", "recall", "error")}
        worst = max(scored, key=lambda line: abs(line["rank"] - line["true_rank"]))
        print(f"{kind:22s} {shape:>9s} {name:15s} {worst['rank']:4d} ({worst['true_rank']:2d}) {mean['precision']:9.2f} "
              f"{mean['recall']:7.2f} {mean['error']:8.1e} {seconds:6.2f}  {notes}")  # fmt: skip
    print("precision and recall >= 0.9 and the rank within 1, of all problems and of those that are identifiable:")
    for (name, shape), (good, total, known_good, known) in sorted(met.items()):
        print(f"{name:15s} {shape:>9s} {good:4d} of {total}, {known_good:4d} of {known}")


def met_by(line: dict) -> bool:
    return ("rank" in line and line["precision"] >= ENOUGH and line["recall"] >= ENOUGH
            and abs(line["rank"] - line["true_rank"]) <= 1)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="a line for each result; what is there is not run again")
    parser.add_argument("--large", action="store_true", help="20 000 x 200, too")
    parser.add_argument("--shape", help="only this one, like 100x8")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in ("pyrpca", "tensorly"):
        if name in options.methods and importlib.util.find_spec(name) is None:
            print(f"not installed, left out: {name}")
            options.methods.remove(name)
    if not options.show:
        run(options, options.results)
    show(options.results)


if __name__ == "__main__":
    main()
