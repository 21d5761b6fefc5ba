"""What a step takes with 1, 2, ... threads, on this machine as it is and while other programs keep all of its cores busy.

    python tests/benchmarks/threads.py --sides 64 128 192 --threads 1 2

Seconds a step of the fast preset on noise, in one piece; a figure of more than --patience seconds a step is given up.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from dataclasses import replace

import torch

from doprestore import machine
from doprestore.drive import REPORTS, Progress
from doprestore.image.api import recover
from doprestore.image.settings import image_settings

WARM_UP, TIMED = 3, 8  # steps


def seconds_a_step(side: int, threads: int, patience: float) -> float:
    settings = replace(image_settings(device="cpu"), steps=REPORTS)
    picture = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    seen: list[Progress] = []
    start = time.perf_counter()

    def enough() -> bool:
        late = len(seen) > WARM_UP and time.perf_counter() - start > patience * len(seen)
        return len(seen) >= WARM_UP + TIMED or late

    with machine.working_threads(threads):
        recover(picture, settings, tile=None, callback=seen.append, should_stop=enough)
    first, last = seen[WARM_UP - 1], seen[-1]
    return (last.seconds - first.seconds) / (last.step - first.step)


def burn() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 192, 512, 1024])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, 2, machine.threads()}))
    parser.add_argument("--patience", type=float, default=10.0)
    options = parser.parse_args()
    print(
        f"{'machine':>10}{'side':>6}"
        + "".join(f"{count:>5} thr." for count in options.threads)
        + "   the command would take"
    )
    for load in ("as it is", "busy"):
        others = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() if load == "busy" else 0)]
        for other in others:
            other.start()
        for side in options.sides:
            told = "".join(f"{seconds_a_step(side, count, options.patience):>10.3f}" for count in options.threads)
            print(f"{load:>10}{side:>6}{told}{machine.fitting_threads(side**2):>10}", flush=True)
        for other in others:
            other.kill()


if __name__ == "__main__":
    main()
