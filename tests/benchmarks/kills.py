"""Kill -9 runs of both wings at random moments, resume them each time, and compare the file with that of an undisturbed run.

    python tests/benchmarks/kills.py [--kills 40] [--command rpca] [--seed 0]

Prints a line a kill: how long the process had lived and whether a checkpoint was there. Exit code 1 when the files
differ, or something is left behind.
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

# command -> the names of its data and of its output, and what makes the run long enough to be killed
WINGS = {
    "image": ("in.png", "out.png", ["--steps", "200", "--width", "4", "--device", "cpu"]),
    "rpca": ("in.npy", "out.npz", ["--preset", "paper", "--steps", "4000"]),
}


def data_of(command: str, path: Path) -> None:
    """Write random data for the command."""
    chance = np.random.default_rng(0)
    if command == "image":
        Image.fromarray(chance.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    else:
        np.save(path, chance.standard_normal((100, 100)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="shared out among the commands")
    parser.add_argument("--command", choices=WINGS, action="append", help="only this one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    bad = 0
    commands = options.command or list(WINGS)
    for number, command in enumerate(commands):
        share = (options.kills + number) // len(commands)
        with tempfile.TemporaryDirectory() as folder:
            bad += compare(command, Path(folder), share, chance)
    return 1 if bad else 0


def compare(command_name: str, folder: Path, kills: int, chance: random.Random) -> int:
    names, options = WINGS[command_name][:2], WINGS[command_name][2]
    source, out = (folder / name for name in names)
    whole, ckpt = out.with_stem("whole"), folder / "run.ckpt"
    data_of(command_name, source)

    def call(output: Path) -> list[str]:
        where = [str(source), str(output)] if command_name == "image" else [str(source), "-o", str(output)]
        return [sys.executable, "-m", "doprestore", command_name, *where, *options]

    start = time.perf_counter()
    subprocess.run(call(whole), check=True, capture_output=True)
    length = time.perf_counter() - start
    command = [*call(out), "--checkpoint", str(ckpt), "--checkpoint-every", "0.1s", "--resume"]
    print(f"{command_name}, undisturbed: {length:.1f} s", flush=True)
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
            print(f"kill {done:2}: after {lived:4.1f} s, checkpoint {'there' if ckpt.exists() else 'not there'}")
            if ckpt.exists() or not out.exists():
                continue
        if process.returncode not in (0, -signal.SIGKILL):
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
    return 0 if same and left == sorted(path.name for path in (source, out, whole)) else 1


if __name__ == "__main__":
    sys.exit(main())
