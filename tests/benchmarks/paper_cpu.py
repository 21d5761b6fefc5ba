"""The small runs of paper.py on one thread of a processor, two to seven times as fast as PyTorch there.

    python tests/benchmarks/paper_cpu.py FOLDER --data PICTURES                      all that are not finished, to their ends
    python tests/benchmarks/paper_cpu.py FOLDER --data PICTURES --seconds 3600       stop then; the same command goes on
    python tests/benchmarks/paper_cpu.py FOLDER --data PICTURES --only 0.5-DOP,DIP   those with such a word in their names,
                                                                                     by the order of the words
    python tests/benchmarks/paper_cpu.py FOLDER --data PICTURES --time               milliseconds a step, and PyTorch's

It needs a C++ compiler (paper_native.py). Several processes share the runs. Curves and states are those of paper.py and
paper_gpu.py: what one has begun, another goes on with.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from paper import every_cell, held
from paper_native import NativeSteps
from paper_runs import OnDisk, left

from doprestore.reproduce.figure import Plan
from doprestore.reproduce.long_run import SAVE_EVERY
from doprestore.reproduce.originals import find_pictures, read_pictures
from doprestore.reproduce.picture_cells import run_name


def go_on(member: OnDisk, until: float) -> None:
    """Make the steps of a run, to its end or until that time."""
    run, native = member.run, NativeSteps(member.run)
    saved = time.monotonic()
    while not run.done and time.monotonic() < until:
        start = time.process_time()
        native.make(min(member.every - run.step_number % member.every, run.steps - run.step_number))
        run.cpu_seconds += time.process_time() - start
        member.add_point()
        if time.monotonic() - saved > SAVE_EVERY:
            saved = time.monotonic()
            member.write()
            print(member.line(), flush=True)
    member.write()
    print(f"{'done' if run.done else 'stopped'} {member.line()}", flush=True)


def timings(plan: Plan, folder: Path) -> Iterator[str]:
    """A table of the milliseconds of a step, for each size and width of the runs."""
    yield "| side | width | here, ms a step | PyTorch |\n|---|---|---|---|"
    kinds = {(cell["side"], cell["width"]): cell for cell in every_cell(plan)}
    for (side, width), cell in sorted(kinds.items()):
        run = OnDisk(cell, plan, folder).run
        native = NativeSteps(run)
        here = min(milliseconds(lambda native=native: native.make(20)) for _ in range(3)) / 20
        there = min(milliseconds(run.step) for _ in range(5))
        yield f"| {side} | {width} | {here:.1f} | {there:.1f} |"


def milliseconds(work: Callable[[], None]) -> float:
    """Of the processor."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", action="append", metavar="WORD,...", help="of the runs, those with a word in their name")
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--time", action="store_true")
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    plan = Plan("small", "paper", "cpu", read_pictures(find_pictures(args.data), "small"), args.folder)
    if args.time:
        for line in timings(plan, args.folder):
            print(line, flush=True)
        return
    for cell in left(plan, args.folder, ",".join(args.only or [""]).split(",")):
        if time.monotonic() > until:
            break
        with held(args.folder / f"{run_name(cell)}.lock") as is_ours:
            # Another process may have come to its end meanwhile.
            if is_ours and left(plan, args.folder, [run_name(cell)]):
                print(run_name(cell), flush=True)
                go_on(OnDisk(cell, plan, args.folder), until)


if __name__ == "__main__":
    main()
