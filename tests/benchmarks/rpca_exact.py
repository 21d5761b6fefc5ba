"""Is `exact` right? Random tables of all kinds, small, and every claim of `exact` beside the truth.

    python tests/benchmarks/rpca_exact.py --results exact.jsonl --problems 10000      goes on where it was stopped
    python tests/benchmarks/rpca_exact.py --results exact.jsonl --show                what is there already
    python tests/benchmarks/rpca_exact.py --results large.jsonl --large --problems 300      larger tables

Problem number n is of kind n mod 26 of rpca_table_problems.py, with 6 to 40 rows and columns (log-uniform) and up to 30 %
outliers; half of the kinds and more are noisy, so that `exact` would be wrong there at all. With --large: 40 to 2000 rows
and 20 to 200 columns, a second or two each; they need a file of results of their own. A claim is wrong where the root mean
square of X̂ − X over what is judged and not left empty is above 1e-6 of that of X. The exit status is 1 if one is.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from results import append_result, read_results
from rpca_table_problems import KINDS, Problem, make

from doprestore import rpca

SIDES = ((6, 40), (6, 40))  # the least and the most rows, and columns
LARGE = ((40, 2000), (20, 200))
WRONG = 1e-6


def problem_of(number: int, sides: tuple[tuple[int, int], tuple[int, int]] = SIDES) -> tuple[str, Problem]:
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    least, most = np.log(sides).T
    rows, columns = (int(side) for side in np.exp(rng.uniform(least, most)))
    return kind, make(kind, rows, columns, number, share=float(rng.uniform(0, 0.3)))


def claim(problem: Problem) -> tuple[str, float]:
    """Where the answer comes from, and its error relative to X."""
    result = rpca(problem.data)
    seen = problem.judged & np.isfinite(result.low_rank)
    if not seen.any():
        return result.solution, 0.0
    difference = (result.low_rank - problem.truth)[seen]
    return result.solution, float(np.sqrt(np.mean(difference**2) / np.mean(problem.truth[seen] ** 2)))


def run(problems: int, results: Path, sides: tuple[tuple[int, int], tuple[int, int]]) -> None:
    done = read_results(results, _number)
    for number in range(problems):
        if number in done:
            continue
        kind, problem = problem_of(number, sides)
        rows, columns = problem.data.shape
        line = {"number": number, "kind": kind, "rows": rows, "columns": columns}
        try:
            line["solution"], line["error"] = claim(problem)
        except Exception as error:
            line |= {"solution": type(error).__name__, "error": 0.0, "message": str(error)}
        append_result(results, line)


def _number(line: dict) -> int:
    return line["number"]


def show(results: Path) -> bool:
    """Whether all claims are right."""
    lines = read_results(results, _number).values()
    solutions, claims = defaultdict(int), defaultdict(int)
    wrong = [line for line in lines if line["solution"] == "exact" and not line["error"] <= WRONG]
    for line in lines:
        solutions[line["solution"]] += 1
        claims[line["kind"]] += line["solution"] == "exact"
    for line in wrong:
        print("wrong `exact`:", json.dumps(line))
    print(f"{len(lines)} problems: " + ", ".join(f"{solution} {number}" for solution, number in sorted(solutions.items())))
    print("`exact` by kind: " + ", ".join(f"{kind} {number}" for kind, number in sorted(claims.items()) if number))
    print(f"wrong `exact`: {len(wrong)} of {solutions['exact']}")
    return not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="a line for each problem; these are not run again")
    parser.add_argument("--problems", type=int, default=10_000)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if not options.show:
        run(options.problems, options.results, LARGE if options.large else SIDES)
    sys.exit(0 if show(options.results) else 1)


if __name__ == "__main__":
    main()
