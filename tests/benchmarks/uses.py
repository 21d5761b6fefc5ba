"""Three real uses, each beside the tool that people take for it: files in, files out, as a user would.

    python tests/benchmarks/uses.py                      all three; --use rays --side 128 for one of them, smaller
    apt-get install imagemagick; pip install astroscrappy      where they are missing their rows are left out

    rays   cosmic rays in a FITS frame of stars, beside astroscrappy (van Dokkum 2001, told gain and read noise)
    hot    hot pixels in a long exposure, beside the rule of darktable and RawTherapee: what is several times its brightest
           neighbour of 3x3 is set to that
    dust   dust and hairs on a scan, beside ImageMagick's -despeckle and -median, and a 3x3 median of our own

"with a mask" is `doprestore image --mask` with the values that the specialist (astroscrappy, the hot-pixel rule) has
changed; for dust, which has no specialist here, with the very values that are damaged, as somebody would paint them.
PSNR in dB over all values, capped at 99; changed: the share of the undamaged values that were changed by more than 2/255.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from light import la_cosmic
from light_problems import Problem, problem
from torch import Tensor

from doprestore.baselines.filters import median
from doprestore.io.images import Picture, read_picture, write_picture
from doprestore.metrics import psnr

CASES = {
    "rays": ("stars", "rays-1", ".fits"),
    "hot": ("stars", "hot-1", ".fits"),
    "dust": ("coffee", "dust-hairs-3", ".png"),
}
STRENGTH = 2.0  # how many times brighter than its neighbours a hot pixel is
OURS, MASKED = "doprestore image", "with a mask"
COUNTS, BIAS = 4000.0, 100.0  # of a FITS frame


def hot_pixel_rule(damaged: Tensor) -> Tensor:
    """Each value that is STRENGTH times the brightest of its eight neighbours becomes that; (C, H, W)."""
    padded = torch.nn.functional.pad(damaged, (1, 1, 1, 1), value=0.0)
    height, width = damaged.shape[1:]
    around = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    brightest = torch.stack(around).amax(dim=0)
    return torch.where(damaged > STRENGTH * brightest, brightest, damaged)


def image_magick() -> str | None:
    """The command, where it is ImageMagick's: others have a `convert`, too."""
    for name in ("magick", "convert"):
        path = shutil.which(name)
        if path and "Copyright" in subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout:
            return path
    return None


def by_command(*words: str) -> Callable[[Path, Path], None]:
    def run(source: Path, output: Path) -> None:
        subprocess.run([image_magick(), str(source), *words, str(output)], check=True)

    return run


def ours(source: Path, output: Path, mask: Path | None = None) -> None:
    command = [sys.executable, "-m", "doprestore", "image", str(source), str(output), "--quiet"]
    if source.suffix == ".fits":
        command += ["--range", str(BIAS), str(BIAS + COUNTS)]
    if mask is not None:
        command += ["--mask", str(mask)]
    subprocess.run(command, check=True)


def with_mask(bad: Tensor) -> Callable[[Path, Path], None]:
    """Ours, told which values are bad, bool (C, H, W)."""

    def run(source: Path, output: Path) -> None:
        mask = output.with_suffix(".mask.npy")
        np.save(mask, bad.permute(1, 2, 0).squeeze(-1).numpy())
        ours(source, output, mask)

    return run


def in_memory(method: Callable[[Tensor], Tensor], black_white: tuple[float, float] | None) -> Callable[[Path, Path], None]:
    def run(source: Path, output: Path) -> None:
        picture = read_picture(source, black_white=black_white)
        write_picture(output, method(torch.from_numpy(picture.pixels)).numpy(), picture)

    return run


def peers(use: str, source: str, black_white: tuple[float, float] | None) -> dict[str, Callable[[Path, Path], None]]:
    found: dict[str, Callable[[Path, Path], None]] = {
        "median 3x3": in_memory(lambda damaged: median(damaged, 3), black_white)
    }
    if use == "rays" and importlib.util.find_spec("astroscrappy"):
        found["astroscrappy"] = in_memory(lambda damaged: la_cosmic(damaged, source), black_white)
    if use == "hot":
        found["hot-pixel rule"] = in_memory(hot_pixel_rule, black_white)
    if use == "dust" and image_magick():
        found |= {"-despeckle": by_command("-despeckle"), "-median 3": by_command("-median", "3")}
    return {"nothing": shutil.copy} | found | {OURS: ours}


def measure(this: Problem, restored: Tensor) -> str:
    quality = min(99.0, psnr(restored, this.reference))
    changed = ((restored - this.damaged).abs() > 2 / 255)[this.whole].float().mean().item()
    return f"{quality:>9.2f}{changed:>10.2%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--use", choices=CASES, action="append")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--no-ours", action="store_true", help="only the other tools")
    options = parser.parse_args()
    print(f"{'use':<6}{'tool':<18}{'PSNR, dB':>9}{'changed':>10}{'seconds':>9}")
    for use in options.use or CASES:
        source, damage, extension = CASES[use]
        this = problem(source, options.side, damage)
        with tempfile.TemporaryDirectory() as name:
            damaged = Path(name, f"damaged{extension}")
            black_white = None
            if extension == ".fits":  # counts, as a camera of 16 bits gives them
                black_white = (BIAS, BIAS + COUNTS)
                samples = (this.damaged.numpy() * COUNTS + BIAS).round().astype(np.uint16)
                write_picture(
                    damaged, Picture(samples, black_white=black_white).pixels, Picture(samples, black_white=black_white)
                )
            else:
                write_picture(damaged, this.damaged.numpy())
            tools = peers(use, source, black_white)
            specialist = tools.get({"rays": "astroscrappy", "hot": "hot-pixel rule"}.get(use, ""))
            if use == "dust":
                tools[MASKED] = with_mask(this.bad)
            elif specialist is not None:
                found = Path(name, f"found{extension}")
                specialist(damaged, found)
                changed = torch.from_numpy(read_picture(found, black_white=black_white).pixels) - this.damaged
                tools[MASKED] = with_mask(changed.abs() > 2 / 255)
            for tool, run in tools.items():
                if tool in (OURS, MASKED) and options.no_ours:
                    continue
                output = Path(name, f"{tool.replace(' ', '_')}{extension}")
                start = time.perf_counter()
                run(damaged, output)
                seconds = time.perf_counter() - start
                restored = torch.from_numpy(read_picture(output, black_white=black_white).pixels)
                print(f"{use:<6}{tool:<18}{measure(this, restored)}{seconds:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
