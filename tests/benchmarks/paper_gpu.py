"""The small runs of paper.py stacked on one GPU: many hours of one thread in minutes.

    python tests/benchmarks/paper_gpu.py FOLDER --data PICTURES                  all of them, to their ends
    python tests/benchmarks/paper_gpu.py FOLDER --data PICTURES --seconds 400    stop then; the same command goes on
    python tests/benchmarks/paper_gpu.py FOLDER --data PICTURES --device cpu --only 64x64 --seconds 20   shows that it works

A small network leaves a GPU nearly idle: what takes the time is the calling of operations. So the networks of all runs of
one size and width make their steps at once (paper_stack.py), and every such stack has a stream of its own. Curves and states
are those of paper.py, which reads them, but for the column of the processor's seconds, which means nothing here and is nan.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

from paper_runs import OnDisk, left
from paper_stack import TOGETHER, Stack

from doprestore.machine import choose_device
from doprestore.reproduce.figure import Plan
from doprestore.reproduce.originals import find_pictures, read_pictures

# Seconds from one line on stdout to the next.
SPEAK_EVERY = 20.0


def stacks_of(members: Sequence[OnDisk]) -> list[Stack]:
    alike: dict[tuple[int, ...], list[OnDisk]] = {}
    for member in members:
        alike.setdefault((*member.group, member.run.step_number), []).append(member)
    return [Stack(group) for group in alike.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="", help="of the runs, those with this in their name")
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    start = time.monotonic()
    args.folder.mkdir(parents=True, exist_ok=True)
    pictures = read_pictures(find_pictures(args.data), "small")
    plan = Plan("small", "paper", str(choose_device(args.device)), pictures, args.folder)
    members = [OnDisk(cell, plan, args.folder, TOGETHER) for cell in left(plan, args.folder, [args.only])]
    for member in members:
        member.run.cpu_seconds = math.nan
    stacks = stacks_of(members)
    print(f"{len(members)} runs to go on with, in {len(stacks)} stacks", flush=True)
    spoken = time.monotonic()
    while stacks and time.monotonic() - start < args.seconds:
        ready = [stack for stack in stacks if stack.ready]
        for stack in ready:
            stack.go_on()
        for stack in [stack for stack in ready if stack.ended]:
            stack.write()
            for member in stack.members:
                if member.run.done:
                    print(f"{time.monotonic() - start:.0f} s: done {member.line()}", flush=True)
            stacks.remove(stack)
            stacks += stacks_of(stack.rest())
        if not ready:
            time.sleep(1e-4)
        if time.monotonic() - spoken > SPEAK_EVERY:
            spoken = time.monotonic()
            told = "; ".join(f"{len(stack.members)} of {stack.z.shape[-1]}: step {stack.step_number}" for stack in stacks)
            print(f"{spoken - start:.0f} s: {told}", flush=True)
    for stack in stacks:
        stack.write()
        for member in stack.members:
            print(f"{time.monotonic() - start:.0f} s: {member.line()}", flush=True)


if __name__ == "__main__":
    main()
