"""Phase transition, Fig. 2b and 2c of the paper: over which ranks and shares of outliers is X recovered?

    python tests/benchmarks/rpca_phase.py                     n = 50, 100 cells of 10 trials, ours and the convex program
    python tests/benchmarks/rpca_phase.py --quick             25 cells
    python tests/benchmarks/rpca_phase.py --results cells.jsonl --minutes 5      in pieces: repeat until it is done
    python tests/benchmarks/rpca_phase.py --methods literal --trials 3 --results cells.jsonl   2·10⁴ steps a trial

Problems as in section 4.1: X = U Uᵀ, U from N(0, 1), N(0, 10²) on a share p of the entries; success is
‖X̂ − X‖_F / ‖X‖_F < 0.1. The convex program is (8) with X ⪰ 0 and λ = 1/√n, solved to 1e-7. A cell shows
successes; the last lines compare success rates cell by cell.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from rpca_problems import papers_problem

from doprestore import rpca
from doprestore.matrix.convex import ConvexRPCA

N = 50


def convex(y: np.ndarray) -> np.ndarray:
    solver = ConvexRPCA(torch.from_numpy(y), None, N**-0.5, psd=True)
    while not solver.done and solver.steps < 3000:
        solver.step()
    return solver.low_rank.numpy()


def grid(quick: bool) -> list[tuple[int, float]]:
    if quick:
        return [(rank, share) for rank in range(2, 20, 4) for share in (0.1, 0.2, 0.3, 0.4, 0.5)]
    return [(rank, share / 20) for rank in range(2, 22, 2) for share in range(1, 11)]


def count(name: str, rank: int, share: float, trials: int) -> dict:
    """Successes of a method in one cell."""
    cell = {"method": name, "rank": rank, "share": share, "trials": trials, "hits": 0, "exact": 0, "seconds": 0.0}
    for trial in range(trials):
        y, x = papers_problem(N, rank, share, seed=1000 * rank + trial)
        start = time.perf_counter()
        error = np.linalg.norm(METHODS[name](y) - x) / np.linalg.norm(x)
        cell["seconds"] += time.perf_counter() - start
        cell["hits"] += int(error < 0.1)
        cell["exact"] += int(error < 1e-6)
    return cell


METHODS = {
    "ours": lambda y: rpca(y, symmetric=True).low_rank,
    "convex": convex,
    "literal": lambda y: rpca(y, preset="paper", symmetric=True).low_rank,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="25 cells instead of 100")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["ours", "convex"])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--results", type=Path, help="JSON lines: cells that are in it are not run again")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; go on with the same line")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = grid(options.quick)
    done = {}
    if options.results is not None and options.results.exists():
        for line in options.results.read_text().splitlines():
            cell = json.loads(line)
            done[cell["method"], cell["rank"], cell["share"]] = cell
    limit = time.monotonic() + 60 * options.minutes
    for (rank, share), name in itertools.product(cells, options.methods):
        if (name, rank, share) in done:
            continue
        if time.monotonic() > limit:
            print("out of time: run the same line again to go on")
            break
        done[name, rank, share] = count(name, rank, share, options.trials)
        if options.results is not None:
            with options.results.open("a") as file:
                file.write(json.dumps(done[name, rank, share]) + "\n")
    report(done, cells)


def report(done: dict, cells: list[tuple[int, float]]) -> None:
    names = [name for name in METHODS if any(key[0] == name for key in done)]
    for name in names:
        mine = [cell for cell in done.values() if cell["method"] == name]
        trials = sum(cell["trials"] for cell in mine)
        seconds, hits, exact = (sum(cell[what] for cell in mine) for what in ("seconds", "hits", "exact"))
        print(f"{name}: {len(mine)} of {len(cells)} cells, {trials} trials, {seconds / trials:.2f} s each; "
              f"error below 0.1 in {hits}, below 1e-6 in {exact}")  # fmt: skip
    print("successes: " + " | ".join(names))
    shares = sorted({share for _, share in cells})
    print("  r \\ p " + "".join(f"{share:>10.0%}" for share in shares))
    for rank in sorted({rank for rank, _ in cells}):
        row = ["|".join(str(done[name, rank, share]["hits"]) if (name, rank, share) in done else "-" for name in names)
               for share in shares]  # fmt: skip
        print(f"{rank:7d} " + "".join(f"{cell:>10s}" for cell in row))
    for name in names:
        pairs = [(done[("ours", *cell)], done[(name, *cell)]) for cell in cells
                 if name != "ours" and ("ours", *cell) in done and (name, *cell) in done]  # fmt: skip
        if pairs:
            rates = [(mine["hits"] / mine["trials"], other["hits"] / other["trials"]) for mine, other in pairs]
            print(f"ours against {name}, {len(pairs)} cells: worse in {sum(a < b for a, b in rates)}, "
                  f"better in {sum(a > b for a, b in rates)}")  # fmt: skip


if __name__ == "__main__":
    main()
