"""How good the times of --dry-run are: estimated and taken, by the command itself, one right after the other.

    python tests/benchmarks/estimates.py --sides 64 128 256 --damage undamaged random-1 salt-pepper-50

Each picture is the middle of a photograph (light_problems.py), with each damage in turn; the estimate is that of its class,
undamaged, lightly or heavily damaged. Seconds and memory are of the recovery, without Python's and PyTorch's own start.
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
CLASSES = {
    "undamaged": rf"about {TIME}if undamaged",
    "light": rf"undamaged, {TIME}if lightly",
    "heavy": rf"(?:and|about) {TIME}(?:if heavily|,)",
}
HEAVY = 30  # per cent, the amount in a name from which damage is heavy


def class_of(damage: str) -> str:
    return "undamaged" if damage == "undamaged" else "heavy" if int(damage.rsplit("-", 1)[1]) >= HEAVY else "light"


def picture(source: str, side: int, damage: str) -> torch.Tensor:
    if damage == "undamaged":
        return clean(source, side)
    if damage.startswith("salt-pepper") and class_of(damage) == "heavy":
        original, generator = clean(source, side), torch.Generator().manual_seed(0)
        struck = torch.rand(original.shape, generator=generator) < int(damage.rsplit("-", 1)[1]) / 100
        return torch.where(struck, (torch.rand(original.shape, generator=generator) < 0.5).float(), original)
    return problem(source, side, damage).damaged


def seconds(text: str) -> int:
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+) (s|min|h|d)", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="coffee")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--damage", nargs="+", default=["undamaged", "random-1", "salt-pepper-50"])
    parser.add_argument("--options", default="", help="more options of `doprestore image`, in one string")
    options = parser.parse_args()
    print(f"{'side':>6} {'damage':<16}{'estimated, s':>14}{'taken, s':>10}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            for damage in options.damage:
                source, output = Path(folder, f"{side}.png"), Path(folder, f"{side}.{damage}.png")
                write_picture(source, picture(options.source, side, damage).numpy())
                command = [sys.executable, "-m", "doprestore", "image", str(source), str(output), *options.options.split()]
                told = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True).stdout
                found = re.search(CLASSES[class_of(damage)], told.splitlines()[0])
                estimated = seconds(found[1])
                done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                taken = float(re.search(r"([\d.]+) s on", done)[1])
                print(f"{side:>6} {damage:<16}{estimated:>14}{taken:>10.1f}{estimated / taken:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
