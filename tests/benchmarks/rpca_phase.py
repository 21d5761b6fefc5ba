"""Phase transition, Fig. 2b and 2c of the paper: over which ranks and shares of outliers is X recovered?

    python tests/benchmarks/rpca_phase.py                     n = 50, 10 trials a cell, fast preset and convex program
    python tests/benchmarks/rpca_phase.py --quick             fewer cells, 3 trials
    python tests/benchmarks/rpca_phase.py --paper --quick     the literal preset too (2·10⁴ steps a trial)

Problems as in section 4.1: X = U Uᵀ, U from N(0, 1), N(0, 10²) on a share p of the entries; success is
‖X̂ − X‖_F / ‖X‖_F < 0.1. The convex program is (8) with X ⪰ 0 and λ = 1/√n, solved to 1e-7. A cell shows successes
of ours | convex (| literal); the last line says whether ours holds in every cell at least as often as the convex.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from rpca_problems import papers_problem

from doprestore import rpca
from doprestore.convex import ConvexRPCA

N = 50


def convex(y: np.ndarray) -> np.ndarray:
    solver = ConvexRPCA(torch.from_numpy(y), None, N**-0.5, psd=True)
    while not solver.done and solver.steps < 3000:
        solver.step()
    return solver.low_rank.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--paper", action="store_true", help="run the literal preset too")
    parser.add_argument("--trials", type=int)
    options = parser.parse_args()
    ranks = range(2, 20, 4) if options.quick else range(2, 27, 3)
    shares = (0.1, 0.2, 0.3, 0.4, 0.5) if options.quick else np.arange(0.05, 0.55, 0.05)
    trials = options.trials or (3 if options.quick else 10)
    methods = {"ours": lambda y: rpca(y, symmetric=True).low_rank, "convex": convex}
    if options.paper:
        methods["literal"] = lambda y: rpca(y, preset="paper", symmetric=True).low_rank
    torch.set_num_threads(1)
    seconds = dict.fromkeys(methods, 0.0)
    contained, wins, exact = True, 0, 0
    print(f"successes of {trials}: {' | '.join(methods)}")
    print("  r \\ p " + "".join(f"{share:>12.0%}" for share in shares))
    for rank in ranks:
        cells = []
        for share in shares:
            hits = dict.fromkeys(methods, 0)
            for trial in range(trials):
                y, x = papers_problem(N, rank, share, seed=1000 * rank + trial)
                for name, method in methods.items():
                    start = time.perf_counter()
                    error = np.linalg.norm(method(y) - x) / np.linalg.norm(x)
                    seconds[name] += time.perf_counter() - start
                    hits[name] += error < 0.1
                    exact += name == "ours" and error < 1e-6
            contained &= hits["ours"] >= hits["convex"]
            wins += hits["ours"] > hits["convex"]
            cells.append("|".join(str(hit) for hit in hits.values()))
        print(f"{rank:7d} " + "".join(f"{cell:>12s}" for cell in cells), flush=True)
    count = len(ranks) * len(shares) * trials
    print("seconds a trial: " + ", ".join(f"{name} {value / count:.2f}" for name, value in seconds.items()))
    print(f"ours recovers to 1e-6 in {exact} of {count} trials")
    print(f"ours {'contains' if contained else 'DOES NOT contain'} the convex program's region in every cell; "
          f"better in {wins} of {len(ranks) * len(shares)} cells")  # fmt: skip


if __name__ == "__main__":
    main()
