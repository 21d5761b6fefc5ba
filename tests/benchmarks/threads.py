"""What the fast preset takes with 1, 2, ... threads, on this machine as it is and while other programs keep its cores busy.

    python tests/benchmarks/threads.py --sides 64 128 256 512 1024 --threads 1 2

Seconds a round of the search, the third, on a smooth picture with random values on 2 %; most of the time of a large picture
goes there. Threads that wait for each other either sleep after microseconds (as the command has it) or, as PyTorch has
it otherwise, keep their cores busy. Last the number of threads that the command would take. What else goes on counts: the
load is printed. Each figure is of a process of its own, and given up after --patience seconds, with the start of Python.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time

import torch

from doprestore import machine
from doprestore.cli import WAITING
from doprestore.drive import Progress
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings

ROUNDS = 3  # the first is of medians, the second warms up, the third counts
POLICIES = {"sleep": True, "spin": False}


def picture(side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    at = torch.linspace(0, side / 30, side)
    waves = torch.stack([0.5 + 0.3 * torch.sin(at[:, None] + at + shift) for shift in range(3)])
    struck = torch.rand(waves.shape, generator=generator) < 0.02
    return torch.where(struck, torch.rand(waves.shape, generator=generator), waves)


def seconds_a_round(side: int, threads: int) -> float:
    seen: list[Progress] = []
    with machine.working_threads(threads):
        recover_image(
            picture(side),
            image_settings(device="cpu", steps=1),
            callback=seen.append,
            should_stop=lambda: len(seen) >= ROUNDS,
            report_every=1,
        )
    return seen[ROUNDS - 1].seconds - seen[ROUNDS - 2].seconds


def measured(side: int, threads: int, sleep: bool, patience: float) -> str:
    """As text: the seconds, or that it took longer than anybody would wait."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    if sleep:
        environment |= WAITING
    command = [sys.executable, __file__, "--cell", str(side), str(threads)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return f">{patience:.0f}"
    return f"{float(done.stdout):.3f}"


def burn() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, 2, machine.threads()}))
    parser.add_argument("--patience", type=float, default=300.0)
    parser.add_argument("--as-it-is", action="store_true", help="without keeping the cores busy on purpose")
    parser.add_argument("--cell", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(seconds_a_round(*options.cell))
        return
    cells = [(count, how) for count in options.threads for how in POLICIES if count > 1 or how == "sleep"]
    names = "".join(f"{f'{count} {how}' if count > 1 else '1':>10}" for count, how in cells)
    print(f"{'machine':>10}{'load':>6}{'side':>6}{names}   the command would take")
    for load in ("as it is",) if options.as_it_is else ("as it is", "busy"):
        others = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() if load == "busy" else 0)]
        for other in others:
            other.start()
        time.sleep(1)
        for side in options.sides:
            told = "".join(f"{measured(side, count, POLICIES[how], options.patience):>10}" for count, how in cells)
            average = os.getloadavg()[0]
            print(f"{load:>10}{average:>6.1f}{side:>6}{told}{machine.fitting_threads(side**2):>10}", flush=True)
        for other in others:
            other.kill()


if __name__ == "__main__":
    main()
