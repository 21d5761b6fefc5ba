"""Error over the size of dense noise, beside the convex program and an oracle.

    python tests/benchmarks/rpca_noise.py

n = 200, rank 5, N(0, 1) factors, U[-10, 10] added to 10 % of the entries, and N(0, σ²) to all. The convex program is
(8) with λ = 1/√n; the oracle is the best rank-5 fit of the matrix without its outliers.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch
from rpca_problems import low_rank_plus_sparse

from doprestore import rpca
from doprestore.matrix.convex import ConvexRPCA

N, RANK = 200, 5


def convex(y: np.ndarray) -> np.ndarray:
    solver = ConvexRPCA(torch.from_numpy(y), None, 1 / math.sqrt(N))
    while not solver.done and solver.steps < 2000:
        solver.step()
    return solver.low_rank.numpy()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    y, low_rank = low_rank_plus_sparse(N, N, RANK, 0.1, seed=0)
    dense = np.random.default_rng(1).standard_normal(y.shape)
    clean = low_rank
    print("  sigma    oracle   doprestore    convex   rank  solution")
    for sigma in (0, 1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0):
        u, s, vt = np.linalg.svd(clean + sigma * dense)
        oracle = (u[:, :RANK] * s[:RANK]) @ vt[:RANK]
        result = rpca(y + sigma * dense)
        errors = [np.linalg.norm(x - clean) / np.linalg.norm(clean)
                  for x in (oracle, result.low_rank, convex(y + sigma * dense))]  # fmt: skip
        oracle, ours, program = errors
        print(f"{sigma:7g}  {oracle:8.1e}     {ours:8.1e}  {program:8.1e}   {result.rank:4d}  {result.solution}", flush=True)


if __name__ == "__main__":
    main()
