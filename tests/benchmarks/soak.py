"""Many small pictures in one process: does its memory stay where it is?

    python tests/benchmarks/soak.py --pictures 500

Restores a folder of undamaged, lightly and heavily damaged pictures with few steps each, as `doprestore image in out -r`
does, with log, report, JSON and panel, and samples the process's resident memory all the while. Exit code 1 where the last
tenth of the run needs over 10 % more than the second tenth did, after the first, in which libraries warm up.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

GROWTH = 0.1
SHARES = (0.0, 0.02, 0.6)  # of the values struck, in turn: so every stage has its share of the pictures


def resident(process: int) -> float:
    """In MB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def picture(chance: np.random.Generator, height: int, width: int, share: float) -> np.ndarray:
    """(height, width, 3) uint8: smooth, with random values on that share."""
    down, across = np.linspace(0, height / 16, height)[:, None, None], np.linspace(0, width / 16, width)[:, None]
    waves = 128 + 80 * np.sin(down + across + np.arange(3)) + chance.normal(0, 2, (height, width, 3))
    struck = chance.random(waves.shape) < share
    return np.where(struck, chance.integers(0, 256, waves.shape), waves).clip(0, 255).astype(np.uint8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--options", default="--steps 4 --width 8 --device cpu", help="of `doprestore image`, in one string")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        chance = np.random.default_rng(0)
        for number in range(options.pictures):
            height, width = chance.integers(20, 60, 2)
            Image.fromarray(picture(chance, height, width, SHARES[number % 3])).save(
                folder / "in" / f"{number:04}.{'png' if number % 2 else 'jpg'}"
            )
        beside = [word for flag in ("log", "json", "report", "panel") for word in (f"--{flag}", str(folder / flag))]
        command = [sys.executable, "-m", "doprestore", "image", str(folder / "in"), str(folder / "out"), "-r", *beside]
        start = time.perf_counter()
        samples: list[tuple[int, float]] = []  # pictures done, MB
        with open(folder / "messages", "w+b") as messages:
            process = subprocess.Popen([*command, *options.options.split()], stdout=messages, stderr=messages)
            while process.poll() is None:
                done = len(list((folder / "json").glob("*"))) if (folder / "json").exists() else 0
                samples.append((done, resident(process.pid)))
                time.sleep(0.2)
            messages.seek(0)
            last = messages.read().decode().splitlines()[-1]
    tenth = options.pictures / 10
    early = statistics.median(memory for done, memory in samples if tenth <= done < 2 * tenth)
    late = statistics.median(memory for done, memory in samples if 9 * tenth <= done)
    print(f"{last}; {time.perf_counter() - start:.0f} s")
    print(f"memory: {early:.0f} MB in the second tenth, {late:.0f} MB in the last: {late / early - 1:+.1%}")
    return 0 if process.returncode == 0 and late <= (1 + GROWTH) * early else 1


if __name__ == "__main__":
    sys.exit(main())
