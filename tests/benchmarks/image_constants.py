"""Constants of the picture wing varied one by one, everything else as it is: what is gained, found, and changed by mistake.

    python tests/benchmarks/image_constants.py fill.GRADIENT=0.03 fill.GRADIENT=0.3 verdict.SLACK=1.5

A constant is MODULE.NAME of doprestore.image, of the search by fills or of the fills themselves; the line marked * has
all as they stand. The pictures are the centres of sample pictures, undamaged and with random values on 1 and 20 %, salt
and pepper on 10 %, lettering and dead lines on 5 %. The search is by fills alone, and what it finds is filled. Columns:
how many dB more than the damaged picture, on average over the pictures; recall and precision of what is taken for
damage; the share of the values of undamaged pictures that are changed; processor seconds.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import math
import pkgutil
import time
from statistics import mean
from types import ModuleType

import torch
from restoration import SAMPLES, load
from torch import Tensor

import doprestore.image
from doprestore.damage.make import corrupt
from doprestore.image import screening
from doprestore.image.fill import CERTAIN, fill, smoothed
from doprestore.image.light import Light
from doprestore.image.settings import image_settings
from doprestore.image.unseen import FILL_STEPS
from doprestore.metrics import precision_recall, psnr

KINDS = (("random", 0.01), ("random", 0.2), ("salt-pepper", 0.1), ("text", 0.05), ("lines", 0.05))


def holders(name: str, value: object) -> list[ModuleType]:
    """The modules that have the constant, its own and those that import it."""
    modules = [
        importlib.import_module(f"doprestore.image.{entry.name}")
        for entry in pkgutil.iter_modules(doprestore.image.__path__)
    ]
    return [module for module in modules if getattr(module, name, None) is value]


def restored(damaged: Tensor) -> tuple[Tensor, Tensor]:
    """The answer, and what was taken for damage."""
    job = Light(damaged, image_settings(device="cpu"), None)
    while not job.screening.done:
        job.step()
    seen = (~job.found).to(damaged.dtype)
    filled = fill(job.y, CERTAIN * seen, job.screening.choose_whitening(), start=smoothed(job.y, seen), steps=FILL_STEPS)
    return torch.where(job.found, filled.clamp(0, 1), damaged), job.found


def scored(pictures: list[str], side: int) -> str:
    """The line of the constants as they are now."""
    start = time.process_time()
    whole = [load(name, side, False) for name in pictures]
    changed = mean(float(restored(clean)[1].float().mean()) for clean in whole)
    told, scores = [], []
    for kind, amount in KINDS:
        gains = []
        for clean in whole:
            damaged, bad = corrupt(clean, kind, amount, seed=0)
            answer, found = restored(damaged)
            gains.append(psnr(answer, clean) - psnr(damaged, clean))
            scores.append(precision_recall(found, bad))
        told.append(f"{mean(gains):6.2f}")
    precision, recall = (mean(score[part] for score in scores) for part in (0, 1))
    took = time.process_time() - start
    return f"{'  '.join(told)}  recall {recall:.3f}  precision {precision:.3f}  changed {changed:.3%}  {took:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("values", nargs="+", metavar="MODULE.NAME=VALUE")
    parser.add_argument("--pictures", nargs="+", choices=SAMPLES, default=list(SAMPLES))
    parser.add_argument("--side", type=int, default=96, help="pixels a side [96]")
    args = parser.parse_args()
    screening.DOUBT = math.inf  # no network in the search
    width = max(map(len, args.values))
    print(" " * width, "  ".join(f"{kind[:3]}{100 * amount:3g}" for kind, amount in KINDS), "(dB)")
    print(f"{'*':<{width}} {scored(args.pictures, args.side)}", flush=True)
    for told in args.values:
        where, value = told.split("=")
        module, name = where.split(".")
        old = getattr(importlib.import_module(f"doprestore.image.{module}"), name)
        among = holders(name, old)
        for holder in among:
            setattr(holder, name, ast.literal_eval(value))
        print(f"{told:<{width}} {scored(args.pictures, args.side)}", flush=True)
        for holder in among:
            setattr(holder, name, old)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
