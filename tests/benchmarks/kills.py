"""Kill -9 runs of both wings at random moments, resume them each time, and compare the file with an undisturbed run's.

    python tests/benchmarks/kills.py [--kills 40] [--wing rpca] [--seed 0]

Pictures damaged lightly and heavily, and a matrix. Prints a line a kill: how long the process had lived and whether a
checkpoint was there. Exit code 1 when the files differ, or something is left behind.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import doprestore.cli.pictures.one  # so that the processes have it, and PyTorch, from the start
import doprestore.matrix.api  # noqa: F401
from doprestore.cli import run

# name -> the command, the names of its data and of its output, and what makes the run long enough to be killed
WINGS = {
    "light": ("image", "in.png", "out.png", ["--device", "cpu"]),
    "heavy": ("image", "in.png", "out.png", ["--steps", "200", "--width", "4", "--device", "cpu"]),
    "rpca": ("rpca", "in.npy", "out.npz", ["--preset", "paper", "--steps", "4000"]),
}
# Exit codes of rpca on data that has no split: the file is written all the same.
NO_SPLIT = (3, 4)
SHARES = {"light": 0.03, "heavy": 0.6}  # of the values of a smooth picture, which become random


def data_of(name: str, path: Path) -> None:
    """Write data for the run of that name."""
    chance = np.random.default_rng(0)
    if name not in SHARES:
        np.save(path, chance.standard_normal((100, 100)))
        return
    at = np.linspace(0, 4, 64)
    waves = 128 + 80 * np.sin(at[:, None, None] + at[None, :, None] + np.arange(3)) + chance.normal(0, 2, (64, 64, 3))
    struck = chance.random(waves.shape) < SHARES[name]
    values = np.where(struck, chance.integers(0, 256, waves.shape), waves)
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)


def session(words: list[str]) -> multiprocessing.Process:
    """The command line in a process of its own; forked, so that it need not import PyTorch first."""
    process = multiprocessing.get_context("fork").Process(target=command_line, args=(words,))
    process.start()
    return process


def command_line(words: list[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(run(words))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="shared out among the wings")
    parser.add_argument("--wing", choices=WINGS, action="append", help="only this one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    bad = 0
    wings = options.wing or list(WINGS)
    for number, wing in enumerate(wings):
        share = (options.kills + number) // len(wings)
        with tempfile.TemporaryDirectory() as folder:
            bad += compare(wing, Path(folder), share, chance)
    return 1 if bad else 0


def compare(name: str, folder: Path, kills: int, chance: random.Random) -> int:
    subcommand, data, result, options = WINGS[name]
    source, out = folder / data, folder / result
    whole, ckpt = out.with_stem("whole"), folder / "run.ckpt"
    data_of(name, source)

    def call(output: Path) -> list[str]:
        where = [str(source), str(output)] if subcommand == "image" else [str(source), "-o", str(output)]
        return [subcommand, *where, *options]

    start = time.perf_counter()
    session(call(whole)).join()
    length = time.perf_counter() - start
    command = [*call(out), "--checkpoint", str(ckpt), "--checkpoint-every", "0.1s", "--resume"]
    print(f"{name}, undisturbed: {length:.1f} s", flush=True)
    done = 0
    while done < kills:
        process = session(command)
        lived = chance.uniform(0, length)
        process.join(lived)
        if process.is_alive():
            process.kill()
            process.join()
            done += 1
            print(f"kill {done:2}: after {lived:4.1f} s, checkpoint {'there' if ckpt.exists() else 'not there'}", flush=True)
            if ckpt.exists() or not out.exists():
                continue
        if process.exitcode not in (0, *NO_SPLIT, -signal.SIGKILL):
            return 1
        if out.read_bytes() != whole.read_bytes():
            break
        out.unlink()  # it came to its end between two kills: once more from the start
        print("         finished, identical; starting over", flush=True)
    else:
        session(command).join()
    same = out.read_bytes() == whole.read_bytes()
    left = sorted(path.name for path in folder.iterdir())
    print(f"{done} kills: the file is {'identical' if same else 'DIFFERENT'}; left behind: {left}")
    return 0 if same and left == sorted(path.name for path in (source, out, whole)) else 1


if __name__ == "__main__":
    sys.exit(main())
