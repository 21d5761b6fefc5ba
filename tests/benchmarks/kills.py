"""Kill -9 a run at random moments, resume it each time, and compare the file with that of an undisturbed run.

    python tests/benchmarks/kills.py [--kills 20] [--seed 0]

Prints a line a kill: how long the process had lived and whether a checkpoint was there. Exit code 1 when the files
differ.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PICTURE = ("--steps", "400", "--width", "8", "--device", "cpu")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), options.kills, chance)


def compare(folder: Path, kills: int, chance: random.Random) -> int:
    source, whole, out, ckpt = (folder / name for name in ("in.png", "whole.png", "out.png", "run.ckpt"))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)).save(source)
    base = [sys.executable, "-m", "doprestore", "image", str(source)]
    start = time.perf_counter()
    subprocess.run([*base, str(whole), *PICTURE], check=True, capture_output=True)
    length = time.perf_counter() - start
    command = [*base, str(out), *PICTURE, "--checkpoint", str(ckpt), "--checkpoint-every", "0.1s", "--resume"]
    print(f"undisturbed run: {length:.1f} s")
    done = 0
    while done < kills:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        lived = chance.uniform(0, length)
        try:
            _, errors = process.communicate(timeout=lived)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            done += 1
            print(f"kill {done:2}: after {lived:4.1f} s, checkpoint {'there' if ckpt.exists() else 'not yet there'}")
            continue
        if process.returncode != 0:
            print(errors.decode())
            return 1
        if out.read_bytes() != whole.read_bytes():
            break
        out.unlink()  # it came to its end between two kills: once more from the start
        print("         finished, identical; starting over")
    else:
        subprocess.run(command, check=True, capture_output=True)
    same = out.read_bytes() == whole.read_bytes()
    left = sorted(path.name for path in folder.iterdir())
    print(f"{done} kills: the file is {'identical' if same else 'DIFFERENT'}; left behind: {left}")
    return 0 if same and left == ["in.png", "out.png", "whole.png"] else 1


if __name__ == "__main__":
    sys.exit(main())
