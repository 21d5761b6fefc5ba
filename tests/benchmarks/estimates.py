"""How good the times of --dry-run are: estimated and taken, for pictures of several sizes, by the command itself.

    python tests/benchmarks/estimates.py --sides 64 128 192 256

Each picture is random noise with half of it destroyed, which takes all steps: few levels of damage may take half as long.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 192, 256])
    parser.add_argument("--options", default="", help="more options of `doprestore image`, in one string")
    options = parser.parse_args()
    print(f"{'side':>6}{'estimated, s':>14}{'taken, s':>10}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            source, output = Path(folder, f"{side}.png"), Path(folder, f"{side}.out.png")
            Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)).save(source)
            command = [sys.executable, "-m", "doprestore", "image", str(source), str(output), *options.options.split()]
            told = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True).stdout
            about = re.search(r"about ((?:\d+ (?:s|min|h|d) ?)+)", told.splitlines()[0])[1]
            estimated = sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+) (s|min|h|d)", about))
            done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            taken = float(re.search(r"([\d.]+) s on", done)[1])
            print(f"{side:>6}{estimated:>14}{taken:>10.1f}{estimated / taken:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
