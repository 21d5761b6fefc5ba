"""How good the times of --dry-run are: estimated and taken, by the command itself, one right after the other.

    python tests/benchmarks/estimates.py --sides 64 128 256 --damage undamaged random-1 salt-pepper-50
    python tests/benchmarks/estimates.py --processor       on a machine that other programs use, too

Each picture is the middle of a photograph (light_problems.py), with each damage in turn. For a damaged one there is a range
beside the estimate; "off by" is the factor between the time taken and the estimate. Seconds are of the whole command, from
its start to its end, by the clock; with --processor both the estimate and what is taken are seconds of the processor, with
one thread.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from light_problems import clean, problem

from doprestore.io.images import write_picture

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
TIME = r"((?:[\d.]+ (?:s|min|h|d) ?)+)"
UNDAMAGED, DAMAGED = rf"about {TIME}(?:if undamaged|,)", rf"undamaged, {TIME}if damaged \({TIME}to {TIME}\)"
BY_PROCESSOR = "import os, time; time.perf_counter = lambda: sum(os.times()[:4]); from doprestore.cli import main; main()"
HALF = 30  # per cent, the amount in a name from which salt and pepper are made here, for light_problems.py has no such


def picture(source: str, side: int, damage: str) -> torch.Tensor:
    if damage == "undamaged":
        return clean(source, side)
    kind, amount = damage.rsplit("-", 1)
    if kind == "salt-pepper" and float(amount) >= HALF:
        original, generator = clean(source, side), torch.Generator().manual_seed(0)
        struck = torch.rand(original.shape, generator=generator) < float(amount) / 100
        return torch.where(struck, (torch.rand(original.shape, generator=generator) < 0.5).float(), original)
    return problem(source, side, damage).damaged


def seconds(text: str) -> float:
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+) (s|min|h|d)", text))


def taken(command: list[str], by_processor: bool) -> float:
    """The seconds of a command, from its start to its end."""

    def now() -> float:
        return sum(os.times()[2:4]) if by_processor else time.perf_counter()

    begin = now()
    subprocess.run(command, capture_output=True, check=True)
    return now() - begin


def estimated(line: str, damage: str) -> list[float]:
    """Of the last line of --dry-run: the seconds of an undamaged picture; of a damaged one, and its range."""
    found = re.search(DAMAGED, line) if damage != "undamaged" else None
    return [seconds(text) for text in (found or re.search(UNDAMAGED, line)).groups()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="coffee")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--damage", nargs="+", default=["undamaged", "random-1", "salt-pepper-50"])
    parser.add_argument("--options", default="", help="more options of `doprestore image`, in one string")
    parser.add_argument("--processor", action="store_true", help="seconds of the processor, with one thread")
    options = parser.parse_args()
    program = [sys.executable, *(["-c", BY_PROCESSOR] if options.processor else ["-m", "doprestore"])]
    if options.processor:
        os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{'side':>6} {'damage':<16}{'estimated, s':>14}{'range':>12}{'taken, s':>10}{'off by':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            for damage in options.damage:
                source, output = Path(folder, f"{side}.png"), Path(folder, f"{side}.{damage}.png")
                write_picture(source, picture(options.source, side, damage).numpy())
                command = [*program, "image", str(source), str(output), *options.options.split()]
                told = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True).stdout
                expected, *ends = estimated(told.splitlines()[-1], damage)
                took = taken(command, options.processor)
                off = max(expected / took, took / expected)
                text = " to ".join(f"{number:g}" for number in ends)
                print(f"{side:>6} {damage:<16}{expected:>14g}{text:>12}{took:>10.1f}{off:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
