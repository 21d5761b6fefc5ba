"""A photograph of 12 megapixels from end to end: time, memory and PSNR. It may be stopped and started again.

    python tests/benchmarks/big.py big/                   4000x3000, salt-and-pepper 30 %
    python tests/benchmarks/big.py big/ --amount 0.02     the same, lightly damaged

Makes big/clean.png, a mosaic of the sample pictures and their mirror images at twice their size, as sharp as photographs
of that many pixels are, and big/damaged.png, and restores it by ``doprestore image`` with a checkpoint; options that are
not its own it passes on.
After Ctrl-C the same line goes on; the times of all its runs are added up.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from restoration import ROOT, SAMPLES

from doprestore.damage.make import corrupt
from doprestore.io.images import read_picture, write_picture
from doprestore.metrics import psnr


def enlarged(picture: np.ndarray) -> np.ndarray:
    """At twice the size, in 8 bits."""
    large = torch.nn.functional.interpolate(torch.from_numpy(picture.copy())[None], scale_factor=2, mode="bicubic")
    return (large[0].clamp(0, 1) * 255).round().numpy() / 255


def mosaic(width: int, height: int) -> np.ndarray:
    """(3, height, width): rows of the enlarged samples, shifted by one from row to row, with mirrored continuation."""
    tiles = [read_picture(ROOT / "sample_images" / f"{name}.png").pixels for name in SAMPLES]
    tiles = [enlarged(np.broadcast_to(tile, (3, *tile.shape[1:]))) for tile in tiles]
    row = [np.concatenate([tiles[(k + shift) % 4] for k in range(4)], axis=2) for shift in range(4)]
    block = np.concatenate(row, axis=1)
    rest = [(0, 0), (0, max(0, height - block.shape[1])), (0, max(0, width - block.shape[2]))]
    return np.pad(block, rest, mode="symmetric")[:, :height, :width]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="4000x3000")
    parser.add_argument("--amount", type=float, default=0.3)
    options, more = parser.parse_known_args()
    width, height = map(int, options.size.split("x"))
    options.folder.mkdir(exist_ok=True, parents=True)
    clean, damaged, restored = (options.folder / f"{name}.png" for name in ("clean", "damaged", "restored"))
    runs = options.folder / "runs.jsonl"
    if not damaged.exists():
        picture = mosaic(width, height)
        write_picture(clean, picture)
        write_picture(damaged, corrupt(torch.from_numpy(picture), "salt-pepper", options.amount, 0).picture.numpy())
    if not restored.exists():
        start = time.time()
        command = [sys.executable, "-m", "doprestore", "image", str(damaged), str(restored), *more]
        process = subprocess.Popen([*command, "--checkpoint", str(options.folder / "run.ckpt"), "--resume"])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command has it, too, and saves
        code = process.wait()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        with runs.open("a") as file:
            file.write(json.dumps({"code": code, "hours": (time.time() - start) / 3600, "gb": usage.ru_maxrss / 1e6,
                                   "cpu_hours": (usage.ru_utime + usage.ru_stime) / 3600}) + "\n")  # fmt: skip
        if code:
            sys.exit(code)
    parts = [json.loads(line) for line in runs.read_text().splitlines()]
    x, y, found = (torch.from_numpy(read_picture(path).pixels) for path in (clean, damaged, restored))
    print(f"{options.size}, {len(parts)} run(s): {sum(p['hours'] for p in parts):.2f} h by the clock, "
          f"{sum(p['cpu_hours'] for p in parts):.2f} h of processor time, {max(p['gb'] for p in parts):.1f} GB; "
          f"{psnr(y, x):.2f} -> {psnr(found, x):.2f} dB")  # fmt: skip


if __name__ == "__main__":
    main()
