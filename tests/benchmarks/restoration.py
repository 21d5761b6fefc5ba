"""The quality table: ours beside every baseline, over pictures, kinds and amounts of damage, and sizes.

    python tests/benchmarks/restoration.py --quick                       # minutes on a CPU
    python tests/benchmarks/restoration.py --full -o full.jsonl          # everything; for a GPU, or a night
    python tests/benchmarks/restoration.py --pictures F16 cat --kinds salt-pepper random --amounts 0.5 \
        --sizes 256 --methods ours known-mask -o mine.jsonl

Every result is appended to the -o file as soon as it is there; a rerun skips those and goes on, and the table is
printed from the file at the end (--table prints it without running anything). A result counts as the same only for
the same picture, size, damage, method and settings; --fresh-ours repeats "ours" after a change of the code. prec and
recall score the found outliers, steps and s (seconds, start to end) are of "ours". Pictures: the paper's four (from
$DOPRESTORE_DATA or ../shared/data, left out where absent) and the four of sample_images. A size is that of the centre
crop, 0 the whole picture; pictures smaller than it are left out. --resample shrinks or enlarges the whole square
centre to the size instead of cropping.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from results import read_results

from doprestore._version import __version__
from doprestore.baselines import METHODS, OURS
from doprestore.baselines.score import score, settings_of
from doprestore.damage.make import corrupt
from doprestore.image.settings import PRESETS
from doprestore.io.images import read_picture
from doprestore.metrics import psnr
from doprestore.reproduce.originals import PAPER, SAMPLES

ROOT = Path(__file__).resolve().parents[2]
AMOUNTS = {
    "salt-pepper": (0.1, 0.3, 0.5, 0.7),
    "salt-pepper-pixel": (0.1, 0.3, 0.5, 0.7),
    "random": (0.1, 0.3, 0.5),
    "lines": (0.1,),
    "scratches": (0.1,),
    "text": (0.1,),
    "cosmic": (0.05,),
}
IMPULSES_AT_THE_ENDS = {"salt-pepper", "salt-pepper-pixel", "lines", "scratches", "text"}  # where 0/255 gives them away
QUICK = {"pictures": ("F16", "Peppers", "cat"), "kinds": ("salt-pepper", "random", "text"), "amounts": (0.1, 0.3, 0.5),
         "sizes": (128,)}  # fmt: skip
FULL = {"pictures": PAPER + SAMPLES, "kinds": tuple(AMOUNTS), "amounts": None, "sizes": (128, 256, 512)}
ALL = (OURS, *METHODS)
SETTINGS = ("steps", "width", "alpha", "tau", "seed", "device", "precision", "output")


def load(name: str, size: int, resample: bool) -> torch.Tensor | None:
    """(C, H, W) in [0, 1], cut or resampled to ``size``; None when the file is absent or too small."""
    data = Path(os.environ.get("DOPRESTORE_DATA", ROOT.parent / "shared" / "data"))
    path = data / f"{name}.png" if name in PAPER else ROOT / "sample_images" / f"{name}.png"
    if not path.is_file():
        return None
    picture = torch.from_numpy(read_picture(path).pixels)
    height, width = picture.shape[1:]
    if size == 0:
        return picture
    side = min(height, width) if resample else size
    if side > min(height, width):
        return None
    top, left = (height - side) // 2, (width - side) // 2
    picture = picture[:, top : top + side, left : left + side]
    if resample and side != size:
        picture = torch.nn.functional.interpolate(picture[None], (size, size), mode="bicubic", antialias=True)[0]
        picture = (picture.clamp(0, 1) * 255).round() / 255
    return picture.contiguous()


def cases(args: argparse.Namespace) -> Iterator[dict]:
    for size in args.sizes:
        for kind in args.kinds:
            own = AMOUNTS[kind]
            # Drawn damage comes in one amount, whatever is asked for.
            for amount in own if args.amounts is None or len(own) == 1 else args.amounts:
                for name in args.pictures:
                    yield {"picture": name, "size": size, "resample": args.resample, "kind": kind, "amount": amount}


def key(case: dict, method: str, settings: dict | None) -> str:
    return json.dumps([case, method, settings], sort_keys=True)


def relevant(method: str, settings: dict) -> dict | None:
    """The settings that a result depends on: none for a filter."""
    return settings if method == OURS or METHODS[method].fits else None


def applies(method: str, case: dict) -> bool:
    return method != "interpolation" or case["kind"] in IMPULSES_AT_THE_ENDS


def measure(case: dict, method: str, settings) -> dict | None:
    clean = load(case["picture"], case["size"], case["resample"])
    if clean is None:
        return None
    damaged = corrupt(clean, case["kind"], case["amount"], seed=settings.seed).picture
    damaged = (damaged * 255).round() / 255  # as it would be read from an 8-bit file
    damaged = torch.where((damaged - clean).abs() < 0.5 / 255, clean, damaged)
    result = score(method, damaged, clean, settings)
    return {
        "case": case,
        "method": method,
        "settings": relevant(method, asdict(settings)),
        "noisy": psnr(damaged, clean),
        **{name: getattr(result, name) for name in ("psnr", "ssim", "steps", "seconds", "precision", "recall")},
        "version": __version__,
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor(),
        "threads": torch.get_num_threads(),
    }


def print_table(rows: list[dict], methods: list[str]) -> None:
    """A line a case, then the means over pictures; PSNR in dB."""
    grouped: dict[str, dict[str, dict]] = {}
    for row in rows:
        grouped.setdefault(json.dumps(row["case"]), {})[row["method"]] = row
    wide = max([len(method) for method in methods] + [len("12.34")]) + 1
    head = f"{'picture':<10}{'kind':<18}{'amount':>6}{'size':>6}{'noisy':>7}"
    head += "".join(f"{method:>{wide}}" for method in methods) + f"{'prec':>7}{'recall':>7}{'steps':>7}{'s':>8}"
    print(head)
    means: dict[tuple, list[dict[str, dict]]] = {}
    for text, by_method in grouped.items():
        case = json.loads(text)
        means.setdefault((case["kind"], case["amount"], case["size"]), []).append(by_method)
        print(line(case["picture"], case, [by_method], methods, wide))
    print("\nmeans over the pictures that have all the methods\n" + head)
    for (kind, amount, size), group in means.items():
        whole = [g for g in group if all(m in g or not applies(m, {"kind": kind}) for m in methods)]
        if whole:
            print(line(f"({len(whole)})", {"kind": kind, "amount": amount, "size": size}, whole, methods, wide))


def line(name: str, case: dict, group: list[dict[str, dict]], methods: list[str], wide: int) -> str:
    def mean(method: str, column: str) -> float | None:
        values = [g[method][column] for g in group if method in g and g[method][column] is not None]
        return sum(values) / len(values) if values else None

    def cell(value: float | None, width: int, digits: int) -> str:
        return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"

    noisy = sum(next(iter(g.values()))["noisy"] for g in group) / len(group)
    text = f"{name:<10}{case['kind']:<18}{case['amount']:>6.0%}{case['size']:>6}{noisy:>7.1f}"
    text += "".join(cell(mean(method, "psnr"), wide, 2) for method in methods)
    text += cell(mean(OURS, "precision"), 7, 3) + cell(mean(OURS, "recall"), 7, 3)
    return text + cell(mean(OURS, "steps"), 7, 0) + cell(mean(OURS, "seconds"), 8, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="three pictures at 128, three kinds (the default)")
    scale.add_argument("--full", action="store_true", help="all pictures, kinds and amounts at 128, 256 and 512")
    parser.add_argument("--pictures", nargs="+", choices=PAPER + SAMPLES)
    parser.add_argument("--kinds", nargs="+", choices=tuple(AMOUNTS))
    parser.add_argument("--amounts", nargs="+", type=float)
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--resample", action="store_true")
    parser.add_argument("--methods", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/restoration.jsonl"))
    parser.add_argument("--table", action="store_true", help="print what is in the file, run nothing")
    parser.add_argument("--fresh-ours", action="store_true", help="repeat ours even where the file has it")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fast")
    for name in SETTINGS:
        kind = {"steps": int, "width": int, "seed": int, "alpha": float, "tau": float}.get(name, str)
        parser.add_argument(f"--{name}" if name != "output" else "--answer", dest=f"set_{name}", type=kind)
    args = parser.parse_args()
    for name, value in (FULL if args.full else QUICK).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    overrides = {name: getattr(args, f"set_{name}") for name in SETTINGS}

    args.output.parent.mkdir(parents=True, exist_ok=True)
    results = read_results(args.output, lambda row: key(row["case"], row["method"], row["settings"]))
    shown = []
    for case in cases(args):
        for method in args.methods:
            settings = settings_of(method, args.preset, **overrides)
            this = key(case, method, relevant(method, asdict(settings)))
            fresh = args.fresh_ours and method == OURS
            if not args.table and applies(method, case) and (fresh or this not in results):
                row = measure(case, method, settings)
                if row is not None:
                    results[this] = row
                    with open(args.output, "a") as file:
                        file.write(json.dumps(row) + "\n")
                    told = f"{case['picture']} {case['kind']} {case['amount']:.0%} {case['size']}: {method}"
                    print(f"{told} {row['psnr']:.2f} dB, {row['seconds']:.1f} s", file=sys.stderr, flush=True)
            if this in results:
                shown.append(results[this])
    print_table(shown, list(args.methods))


if __name__ == "__main__":
    main()
