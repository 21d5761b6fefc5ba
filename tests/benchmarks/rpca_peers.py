"""Accuracy and speed of doprestore.rpca beside other packages, on the same matrices in one run.

    pip install pyrpca==1.0.1 tensorly skpcp
    python tests/benchmarks/rpca_peers.py                  n = 100 to 2000 and 20 000 x 200, 10 % and 30 % outliers
    python tests/benchmarks/rpca_peers.py --quick          up to n = 500
    python tests/benchmarks/rpca_peers.py --only n=500 --peers pyrpca AccAltProj
    python tests/benchmarks/rpca_peers.py --memory         peak memory of ours, in units of the input ("noise": no low
                                                           rank, so that it is the convex program; 45 steps)
    python tests/benchmarks/rpca_peers.py --memory 8000x8000      the same of one matrix of that size, in float32

Low rank: products of N(0, 1) factors; outliers: U[-10, 10] added to a share p of the entries. The time is that of the
call, in this process, with as many threads as OMP_NUM_THREADS and the BLAS variables allow: processor seconds with one
thread, which other programs on the machine disturb little, else those of the clock. AccAltProj is told the
true rank; everyone else is told nothing. Peers that are not installed are named and left out, and those that need
over --patience seconds on one matrix are left out of the larger ones.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
from rpca_problems import accaltproj, low_rank_plus_sparse

from doprestore import rpca

CASES = [(100, 100, 5), (500, 500, 10), (1000, 1000, 5), (1000, 1000, 50), (2000, 2000, 20), (20_000, 200, 20)]


def ours(y, rank):
    result = rpca(y)
    return result.low_rank, f"rank {result.rank}, {result.solution}" + ("" if result.converged else ", NOT converged")


def pyrpca(y, rank):
    from pyrpca import rpca_pcp_ialm

    return rpca_pcp_ialm(y, 1 / math.sqrt(max(y.shape)), verbose=False)[0], ""


def pyrpca_tight(y, rank):
    from pyrpca import rpca_pcp_ialm

    return rpca_pcp_ialm(y, 1 / math.sqrt(max(y.shape)), rho=1.2, tol=1e-10, verbose=False)[0], "rho 1.2, tol 1e-10"


def tensorly(y, rank):
    from tensorly.decomposition import robust_pca

    low_rank, _ = robust_pca(y, reg_E=2 / math.sqrt(max(y.shape)), n_iter_max=1000, tol=1e-9, verbose=0)
    return low_rank, "reg_E 2/sqrt(n), tol 1e-9"


def skpcp(y, rank):
    from skpcp import PCP

    return PCP().fit_transform(y), ""


def told_the_rank(y, rank):
    return accaltproj(torch.from_numpy(y), rank)[0].numpy(), "told the rank"


PEERS = {"pyrpca": pyrpca, "pyrpca tight": pyrpca_tight, "tensorly": tensorly, "skpcp": skpcp,
         "AccAltProj": told_the_rank}  # fmt: skip
PACKAGES = {"pyrpca": "pyrpca", "pyrpca tight": "pyrpca", "tensorly": "tensorly", "skpcp": "skpcp"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to n = 500")
    parser.add_argument("--only", help="cases whose name contains this, for example n=1000")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--shares", type=float, nargs="*", default=[0.1, 0.3])
    parser.add_argument("--patience", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--memory", nargs="?", const="", metavar="ROWSxCOLUMNS")
    options = parser.parse_args()
    cases = [case for case in CASES if not options.quick or case[0] <= 500]
    cases = [case for case in cases if options.only is None or options.only in name_of(*case)]
    if options.memory is not None:
        if options.memory:
            rows, columns = map(int, options.memory.split("x"))
            return measure_memory(rows, columns, 20, "float32")
        return memory()

    warnings.simplefilter("ignore")
    peers = {}
    for name in options.peers:
        if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
            print(f"not installed, left out: {name} (pip install {PACKAGES[name]})")
        else:
            peers[name] = PEERS[name]
    print(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}, numpy {np.__version__}")
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for method in (ours, *peers.values()):  # what the first call costs, imports and all, is not the solver's
        method(low_rank_plus_sparse(30, 30, 1, 0.05, seed=9)[0], 1)
    print(f"{'case':28s} {'p':>4s}  {'method':13s} {'error':>8s} {'seconds':>8s} {'slower by':>9s}  note")
    for rows, columns, rank in cases:
        for share in options.shares:
            y, low_rank = low_rank_plus_sparse(rows, columns, rank, share, seed=0)
            base = None
            for name, method in {"doprestore": ours, **peers}.items():
                start = clock()
                found, note = method(y, rank)
                seconds = clock() - start
                base = base or seconds
                error = np.linalg.norm(found - low_rank) / np.linalg.norm(low_rank)
                times = f"{seconds / base:.1f}x" if name != "doprestore" else ""
                print(f"{name_of(rows, columns, rank):28s} {share:4.0%}  {name:13s} {error:8.1e} {seconds:8.3f} "
                      f"{times:>9s}  {note}", flush=True)  # fmt: skip
                if seconds > options.patience and name in peers:
                    print(f"{'':28s}       {name}: over --patience, left out from here on")
                    del peers[name]
                    break
    return None


def name_of(rows: int, columns: int, rank: int) -> str:
    return (f"n={rows}" if rows == columns else f"{rows} x {columns}") + f" r={rank}"


MEASURE = """
import resource, sys, numpy as np
from doprestore import rpca
from rpca_problems import large_problem, low_rank_plus_sparse
rows, columns, rank, kind = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rpca(low_rank_plus_sparse(60, 60, 2, 0.1, seed=9)[0])
if kind == "noise":  # no structure: the longest way, through the convex program
    y = np.random.default_rng(0).standard_normal((rows, columns))
else:
    y = large_problem(rows, columns, rank, 0.1, 0, kind)
def resident():  # bytes, now
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
import threading, time
base, peak, going = resident(), 0, True
def watch():
    global peak
    while going:
        peak = max(peak, resident())
        time.sleep(0.001)
watcher = threading.Thread(target=watch); watcher.start()
start = time.process_time()
result = rpca(y, steps=45 if kind == "noise" else None)
seconds = time.process_time() - start
going = False; watcher.join()
print(f"peak {1 + (peak - base) / y.nbytes:.1f} x the input, {seconds:.1f} processor seconds", result.solution)
"""


def memory() -> None:
    for rows, columns, rank in [(2000, 2000, 20), (3000, 3000, 20), (20_000, 200, 20)]:
        for kind in ("float64", "float32", "noise") if rows != 3000 else ("float64", "float32"):
            measure_memory(rows, columns, rank, kind)


def measure_memory(rows: int, columns: int, rank: int, kind: str) -> None:
    """Peak resident memory of a run above the interpreter's own, the input counted as 1, in a fresh process."""
    command = [sys.executable, "-c", MEASURE, str(rows), str(columns), str(rank), kind]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    print(f"{name_of(rows, columns, rank):24s} {kind}: {out.strip()}", flush=True)


if __name__ == "__main__":
    main()
