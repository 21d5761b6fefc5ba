"""How good the times of --dry-run are: estimated and taken, by the command itself, one right after the other.

    python tests/benchmarks/estimates.py --sides 64 128 256 --damage undamaged random-1 salt-pepper-50

Each picture is the middle of a photograph (light_problems.py), with each damage in turn. The estimate is one number for an
undamaged picture and a range for a damaged one; "off by" is the factor between the time taken and the nearer end of it, 1
inside. Seconds are of the recovery, without Python's and PyTorch's own start.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from light_problems import clean, problem

from doprestore.io.images import write_picture

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
TIME = r"((?:\d+ (?:s|min|h|d) ?)+)"
UNDAMAGED, DAMAGED = rf"about {TIME}(?:if undamaged|,)", rf"undamaged, {TIME}to {TIME}if damaged"
HALF = 30  # per cent, the amount in a name from which salt and pepper are laid on anew, for light_problems.py has no such


def picture(source: str, side: int, damage: str) -> torch.Tensor:
    if damage == "undamaged":
        return clean(source, side)
    kind, amount = damage.rsplit("-", 1)
    if kind == "salt-pepper" and float(amount) >= HALF:
        original, generator = clean(source, side), torch.Generator().manual_seed(0)
        struck = torch.rand(original.shape, generator=generator) < float(amount) / 100
        return torch.where(struck, (torch.rand(original.shape, generator=generator) < 0.5).float(), original)
    return problem(source, side, damage).damaged


def seconds(text: str) -> int:
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+) (s|min|h|d)", text))


def estimated(line: str, damage: str) -> list[int]:
    """Of a line of --dry-run: the seconds of an undamaged picture, or the least and the most of a damaged one."""
    found = re.search(DAMAGED, line) if damage != "undamaged" else None
    return [seconds(text) for text in (found or re.search(UNDAMAGED, line)).groups()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="coffee")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--damage", nargs="+", default=["undamaged", "random-1", "salt-pepper-50"])
    parser.add_argument("--options", default="", help="more options of `doprestore image`, in one string")
    options = parser.parse_args()
    print(f"{'side':>6} {'damage':<16}{'estimated, s':>14}{'taken, s':>10}{'off by':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            for damage in options.damage:
                source, output = Path(folder, f"{side}.png"), Path(folder, f"{side}.{damage}.png")
                write_picture(source, picture(options.source, side, damage).numpy())
                command = [sys.executable, "-m", "doprestore", "image", str(source), str(output), *options.options.split()]
                told = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True).stdout
                told_seconds = estimated(told.splitlines()[0], damage)
                done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                taken = float(re.search(r"([\d.]+) s on", done)[1])
                off = max(1.0, told_seconds[0] / taken, taken / max(1, told_seconds[-1]))
                text = " to ".join(map(str, told_seconds))
                print(f"{side:>6} {damage:<16}{text:>14}{taken:>10.1f}{off:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
