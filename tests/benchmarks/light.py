"""First, do no harm: light and realistic damage, and none, beside every trivial method and the true-mask ceiling.

    python tests/benchmarks/light.py -o light.jsonl                                   # ours, all of it: hours
    python tests/benchmarks/light.py --sizes 128 --set tune --damage none random-1 -o light.jsonl
    python tests/benchmarks/light.py --function prototype:restore -o light.jsonl      # score something else
    python tests/benchmarks/light.py --table -o light.jsonl                           # print, run nothing
    python tests/benchmarks/light.py --trivial -o light.jsonl                         # all but ours
    PYTHONPATH=checkout/of/0.1.0/src python tests/benchmarks/light.py --as 0.1.0 --damage dust-1 lettering -o light.jsonl

The problems are those of light_problems.py. Every result is appended to the -o file as soon as it is there; the last line
above adds those of version 0.1.0, to be compared with. A rerun skips what the file has, except for the methods named after
--fresh ("ours", "fill"): an interrupted run goes on where it was. Then follow a line a case, the means of each
damage, and the targets, each with what was reached and the cells that are worst. --function takes ``module:function``,
found on PYTHONPATH: (damaged) -> (answer, found, share), share the estimated share of damaged values.

An answer is scored as the 8-bit file that it would become, with one thread.
    damaged, ours, best, fill   PSNR in dB against the reference of light_problems.py; identical pictures count as 99.
        best: of doing nothing, the 3x3 and the 5x5 median, the adaptive median, the median of 3x3 where it differs by
        more than 20/255 or 40/255, and L.A.Cosmic (where astroscrappy is installed and the picture is grey): an oracle.
        fill: of least curvature, told the true mask: also an oracle.
    changed   share of the whole values that the answer changed by more than 2/255
    altered   share of all values that are not what they were in the damaged picture
    recall, prec   of the values found, against those that the damage changed
    share, true    of damaged values: estimated and true
    s         seconds of processor time
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from light_damage import DAMAGE
from light_pictures import SOURCES, STAR_GAIN, STAR_READ_NOISE, quantised, sources
from light_problems import SIDES, Problem, problem
from light_table import FILL, cells, key, print_table, print_targets
from results import read_results
from torch import Tensor

from doprestore.baselines.filters import adaptive_median, median
from doprestore.metrics import precision_recall, psnr

OURS = "ours"
IDENTICAL = 99.0  # dB
GROSS = 0.2  # an error that nobody may overlook


class Answer(NamedTuple):
    """What a method gives: pictures (C, H, W), found bool or None, share of damage estimated or None."""

    restored: Tensor
    found: Tensor | None = None
    share: float | None = None


# ----------------------------------------------------------------------------------------------------------- methods


def switching(damaged: Tensor, step: int) -> Tensor:
    """The 3x3 median of what differs from it by more than ``step``/255."""
    middle = median(damaged, 3)
    return torch.where((damaged - middle).abs() > (step + 0.5) / 255, middle, damaged)


def la_cosmic(damaged: Tensor, source: str) -> Tensor:
    """van Dokkum 2001, as astroscrappy has it; told the gain and the read noise where they are known."""
    from astroscrappy import detect_cosmics

    known = {"gain": STAR_GAIN, "readnoise": STAR_GAIN * STAR_READ_NOISE * 255} if SOURCES[source].shows == "stars" else {}
    data = np.ascontiguousarray(damaged[0].numpy() * 255, np.float32)
    # Without a saturation level, or white areas would be taken for saturated stars and left out.
    _, cleaned = detect_cosmics(data, satlevel=np.inf, verbose=False, **known)
    return torch.from_numpy(cleaned / 255)[None].float()


TRIVIAL: dict[str, Callable[[Tensor, str], Tensor]] = {
    "nothing": lambda damaged, source: damaged,
    "median3": lambda damaged, source: median(damaged, 3),
    "median5": lambda damaged, source: median(damaged, 5),
    "adaptive": lambda damaged, source: adaptive_median(damaged),
    "switching20": lambda damaged, source: switching(damaged, 20),
    "switching40": lambda damaged, source: switching(damaged, 40),
    "lacosmic": la_cosmic,
}


def load(place: str) -> Callable:
    """The function that ``module:function`` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def ours(damaged: Tensor) -> tuple[Tensor, Tensor, float]:
    from doprestore import restore_image

    result = restore_image(damaged, device="cpu")
    return result.restored, result.found, result.details.outlier_share


def filled(damaged: Tensor, bad: Tensor) -> Tensor:
    """The fill that the fit of the fast preset starts from, told which values are bad."""
    from doprestore.image import fill, fit

    seen = (~bad).to(damaged.dtype)
    whitening = fill.choose_whitening(damaged, seen, torch.Generator().manual_seed(0))
    start = fill.smoothed(damaged, seen)
    answer = fill.fill(damaged, fill.CERTAIN * seen, whitening, start=start, rounds=fit.FILL_ROUNDS)
    return torch.where(bad, answer.clamp(0, 1), damaged)


def methods(args: argparse.Namespace) -> dict[str, Callable[[Problem, str], Answer]]:
    """What is to be run, by the name that its rows have."""
    table: dict[str, Callable[[Problem, str], Answer]] = {
        name: lambda this, source, run=run: Answer(run(this.damaged, source)) for name, run in TRIVIAL.items()
    }
    table[FILL] = lambda this, source: Answer(filled(this.damaged, this.bad))
    if not args.trivial:
        function = load(args.function) if args.function else ours
        table[args.name] = lambda this, source: Answer(*function(this.damaged))
    return table


def applies(method: str, source: str, side: int) -> bool:
    return method != "lacosmic" or (
        importlib.util.find_spec("astroscrappy") is not None and len(problem(source, side, "none").clean) == 1
    )


# ------------------------------------------------------------------------------------------------------------- scores


def capped(answer: Tensor, truth: Tensor) -> float:
    return min(IDENTICAL, psnr(answer, truth))


def measure(case: dict, method: str, run: Callable[[Problem, str], Answer]) -> dict:
    this = problem(case["source"], case["side"], case["damage"], case["seed"])
    start = time.process_time()
    answer = run(this, case["source"])
    seconds = time.process_time() - start
    restored = quantised(answer.restored)
    moved = (restored - this.damaged).abs()
    # What is off by little may be overlooked: left out of the PSNR of the gross errors.
    slight = this.bad & ((this.damaged - this.reference).abs() <= GROSS)
    found = moved > 0.5 / 255 if answer.found is None else answer.found
    precision, recall = precision_recall(found, this.bad)
    return {
        "case": case,
        "method": method,
        "psnr": capped(restored, this.reference),
        "psnr_clean": capped(restored, this.clean),
        "psnr_gross": capped(torch.where(slight, this.reference, restored), this.reference),
        "changed": (moved > 2.5 / 255)[this.whole].float().mean().item(),
        "altered": (moved > 0.5 / 255).float().mean().item(),
        "precision": precision,
        "recall": recall,
        "share": answer.share,
        "true_share": this.bad.float().mean().item(),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", nargs="+", choices=tuple(SOURCES), default=tuple(SOURCES))
    parser.add_argument("--sizes", nargs="+", type=int, default=SIDES)
    parser.add_argument("--damage", nargs="+", choices=tuple(DAMAGE), default=tuple(DAMAGE))
    parser.add_argument("--set", choices=("tune", "report", "all"), default="all", help="which half of the sources")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--function", metavar="MODULE:FUNCTION", help="score this instead of the package's restore_image")
    parser.add_argument("--as", dest="name", help="the name of its rows in the file [ours, or the function's]")
    parser.add_argument("--against", default="0.1.0", help="the name of the rows of the version before [0.1.0]")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/light.jsonl"))
    parser.add_argument("--trivial", action="store_true", help="run all methods but ours")
    parser.add_argument("--fresh", nargs="+", default=(), metavar="METHOD", help="repeat these even where the file has them")
    parser.add_argument("--table", action="store_true", help="print what is in the file, run nothing")
    parser.add_argument("--summary", action="store_true", help="print no line a case, only the targets")
    args = parser.parse_args()
    args.name = args.name or args.function or OURS

    at_hand = sources()
    names = [name for name in args.sources if name in at_hand and args.set in ("all", at_hand[name])]
    absent = [name for name in args.sources if name not in at_hand]
    if absent:
        print(f"not on this machine, left out: {', '.join(absent)}", file=sys.stderr)
    cases = [{"source": name, "side": side, "damage": damage, "seed": args.seed}
             for side in args.sizes for damage in args.damage for name in names]  # fmt: skip
    args.output.parent.mkdir(parents=True, exist_ok=True)
    results = read_results(args.output, lambda row: key(row["case"], row["method"]))
    for case in cases if not args.table else ():
        for method, run in methods(args).items():
            this = key(case, method)
            if this in results and method not in args.fresh:
                continue
            if not applies(method, case["source"], case["side"]):
                continue
            row = measure(case, method, run)
            results[this] = row
            with open(args.output, "a") as file:
                file.write(json.dumps(row) + "\n")
            told = f"{case['source']} {case['side']} {case['damage']}: {method}"
            print(f"{told} {row['psnr']:.2f} dB, {row['seconds']:.1f} s", file=sys.stderr, flush=True)
    found = cells(cases, results, TRIVIAL, args.name, args.against)
    if not args.summary:
        print_table(found)
    print_targets(found)


if __name__ == "__main__":
    torch.set_num_threads(1)  # for seconds that can be compared
    main()
