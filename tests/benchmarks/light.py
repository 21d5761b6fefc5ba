"""First, do no harm: light and realistic damage, and none, beside every trivial method and the true-mask ceiling.

    python tests/benchmarks/light.py -o light.jsonl                                   # ours, all of it: hours
    python tests/benchmarks/light.py --sizes 128 --set tune --damage none random-1 -o light.jsonl
    python tests/benchmarks/light.py --function prototype:restore -o light.jsonl      # score something else
    python tests/benchmarks/light.py --table -o light.jsonl                           # print, run nothing
    python tests/benchmarks/light.py --trivial -o light.jsonl                         # all but ours
    PYTHONPATH=checkout/of/0.1.0/src python tests/benchmarks/light.py --as 0.1.0 --damage dust-1 lettering -o light.jsonl

The problems are those of light_problems.py. Every result is appended to the -o file as soon as it is there; the last line
above adds those of version 0.1.0, to be compared with. A rerun skips what the file has, but for the methods named after
--fresh ("ours", "fill"): an interrupted run goes on where it was. Then follow a line a case, the means of each
damage, and the targets, each with what was reached and the cells that are worst. --function takes ``module:function``,
found on PYTHONPATH: (damaged) -> (answer, found, share), share the estimated share of damaged values.

An answer is scored as the 8-bit file that it would become, with one thread.
    damaged, ours, best, fill   PSNR in dB against the reference of light_problems.py; identical pictures count as 99.
        best: of doing nothing, the 3x3 and the 5x5 median, the adaptive median, the median of 3x3 where it differs by
        more than 20/255 or 40/255, and L.A.Cosmic (where astroscrappy is installed and the picture is grey): an oracle.
        fill: of least curvature, told the true mask; likewise an oracle.
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
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from light_problems import DAMAGE, SIDES, SOURCES, STAR_GAIN, STAR_READ_NOISE, Problem, problem, quantised, sources
from torch import Tensor

from doprestore.baselines.filters import adaptive_median, median
from doprestore.metrics import precision_recall, psnr

OURS = "ours"
FILL = "fill"
CEILING = None  # of the package, as module:function, (damaged, bad) -> answer
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


def methods(args: argparse.Namespace) -> dict[str, Callable[[Problem, str], Answer]]:
    """What is to be run, by the name that its rows have."""
    table: dict[str, Callable[[Problem, str], Answer]] = {
        name: lambda this, source, run=run: Answer(run(this.damaged, source)) for name, run in TRIVIAL.items()
    }
    if args.ceiling:
        fill = load(args.ceiling)
        table[FILL] = lambda this, source: Answer(fill(this.damaged, this.bad))
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
    # What is hardly off may be overlooked: left out of the PSNR of the gross errors.
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


def key(case: dict, method: str) -> str:
    return json.dumps([case, method], sort_keys=True)


def read_results(path: Path) -> dict[str, dict]:
    """The last result of each key; a line cut short by an interruption is left out."""
    results = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        results[key(row["case"], row["method"])] = row
    return results


# -------------------------------------------------------------------------------------------------------------- table


class Cell(NamedTuple):
    """One case with the rows of its methods; what is absent is None."""

    case: dict
    ours: dict | None
    trivial: dict[str, dict]
    fill: dict | None
    old: dict | None

    @property
    def best(self) -> str:
        return max(self.trivial, key=lambda name: self.trivial[name]["psnr"])

    @property
    def gain(self) -> float:
        """Ours over doing nothing, dB."""
        return self.ours["psnr"] - self.trivial["nothing"]["psnr"]

    @property
    def lead(self) -> float:
        """Ours over the best trivial method, doing nothing among them, dB."""
        return self.ours["psnr"] - self.trivial[self.best]["psnr"]

    def shows(self, *what: str) -> bool:
        return SOURCES[self.case["source"]].shows in what

    def damage(self, *starts: str) -> bool:
        return self.case["damage"].startswith(starts)

    @property
    def name(self) -> str:
        half = "" if SOURCES[self.case["source"]].half == "tune" else "*"
        return f"{self.case['source']}{half} {self.case['side']} {self.case['damage']}"


def cells(cases: list[dict], results: dict[str, dict], name: str, old: str) -> list[Cell]:
    """Those cases of which the file has anything."""
    found = []
    for case in cases:
        trivial = {method: results[key(case, method)] for method in TRIVIAL if key(case, method) in results}
        if "nothing" in trivial:
            rest = (results.get(key(case, method)) for method in (name, FILL, old))
            mine, fill, former = rest
            found.append(Cell(case, mine, trivial, fill, former))
    return found


HEAD = (f"{'picture':<14}{'side':>5} {'damage':<21}{'damaged':>8}{'ours':>7}{'best':>7} {'which':<12}{'fill':>6}"
        f"{'changed':>9}{'altered':>9}{'recall':>8}{'prec':>7}{'share':>8}{'true':>8}{'s':>8}")  # fmt: skip


def cell_text(value: float | None, width: int, digits: int, percent: bool = False) -> str:
    if value is None:
        return f"{'-':>{width}}"
    return f"{value:>{width}.{digits}{'%' if percent else 'f'}}"


def mean(values: list[float | None]) -> float | None:
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None


def line(name: str, group: list[Cell]) -> str:
    """The means over a group of cells, which may be one."""

    def of(rows: list[dict | None], column: str) -> float | None:
        return mean([row[column] for row in rows if row is not None])

    mine = [cell.ours for cell in group]
    best = group[0].best if len(group) == 1 else ""
    text = f"{name:<14}{group[0].case['side']:>5} {group[0].case['damage']:<21}"
    text += cell_text(of([cell.trivial["nothing"] for cell in group], "psnr"), 8, 2) + cell_text(of(mine, "psnr"), 7, 2)
    text += cell_text(of([cell.trivial[cell.best] for cell in group], "psnr"), 7, 2) + f" {best:<12}"
    text += cell_text(of([cell.fill for cell in group], "psnr"), 6, 2)
    text += cell_text(of(mine, "changed"), 9, 3, True) + cell_text(of(mine, "altered"), 9, 3, True)
    text += cell_text(of(mine, "recall"), 8, 3) + cell_text(of(mine, "precision"), 7, 3)
    text += cell_text(of(mine, "share"), 8, 2, True)
    text += cell_text(of([cell.trivial["nothing"] for cell in group], "true_share"), 8, 2, True)
    return text + cell_text(of(mine, "seconds"), 8, 1)


def print_table(found: list[Cell]) -> None:
    """A line a cell, those to report on marked *; then means; then noise and JPEG against the clean picture."""
    print(HEAD)
    groups: dict[tuple, list[Cell]] = {}
    for cell in found:
        half = SOURCES[cell.case["source"]].half
        print(line(cell.case["source"] + ("*" if half == "report" else ""), [cell]))
        groups.setdefault((cell.case["damage"], cell.case["side"]), []).append(cell)
    print("\nmeans, identical pictures at 99 dB; over the cells that ours has where it has any\n" + HEAD)
    for group in groups.values():
        scored = [cell for cell in group if cell.ours is not None] or group
        print(line(f"({len(scored)})", scored))
    dense = [cell for cell in found if cell.damage("jpeg", "noise") and cell.ours is not None]
    if dense:
        print("\nagainst the clean picture, dB: damaged, ours, best trivial, fill")
    for cell in dense:
        best = max(row["psnr_clean"] for row in cell.trivial.values())
        fill = None if cell.fill is None else cell.fill["psnr_clean"]
        numbers = (cell.trivial["nothing"]["psnr_clean"], cell.ours["psnr_clean"], best, fill)
        print(f"{cell.name:<42}" + "".join(cell_text(number, 8, 2) for number in numbers))


# ------------------------------------------------------------------------------------------------------------ targets


SINGLE = tuple(f"{kind}-{amount}" for kind in ("random", "salt-pepper") for amount in ("0.1", "1", "5"))
HIT = ("hot-0.1", "hot-1", "rays-1", "dead-rows", "dead-rows-part")
DRAWN = ("dust-1", "hairs-2", "dust-hairs-3", "lettering")
COUNTED = tuple(f"{kind}-{amount}" for kind in ("random", "salt-pepper") for amount in ("1", "5", "20"))


def verdict(text: str, measured: list[tuple[float, str]], limit: float, unit: str = "dB", *, at_most: bool = False) -> None:
    """Print whether all of (value, cell) keep the limit, and those that are worst."""
    if not measured:
        print(f"  ....  {text}: nothing measured")
        return
    ordered = sorted(measured, reverse=at_most)
    kept = sum(value <= limit if at_most else value >= limit for value, _ in measured)
    percent = unit == "%"

    def said(value: float) -> str:
        return f"{value:.3%}" if percent else f"{value:.2f} {unit}".rstrip()

    print(f"  {'pass' if kept == len(measured) else 'FAIL'}  {text}: {kept} of {len(measured)}")
    for value, name in ordered[: 5 if kept < len(measured) else 1]:
        print(f"          {said(value):>10}  {name}")


def overall(text: str, measured: float | None, limit: float, unit: str = "dB", *, at_most: bool = False) -> None:
    """Print whether one number keeps its limit."""
    if measured is None:
        print(f"  ....  {text}: nothing measured")
        return
    kept = measured <= limit if at_most else measured >= limit
    value = f"{measured:.3%}" if unit == "%" else f"{measured:.2f} {unit}"
    print(f"  {'pass' if kept else 'FAIL'}  {text}: {value}")


def print_targets(found: list[Cell]) -> None:
    """Every target with its worst cells. Whatever is not print or drawn counts as a photograph, the stars among them."""
    found = [cell for cell in found if cell.ours is not None]

    def each(value: Callable[[Cell], float], keep: Callable[[Cell], bool]) -> list[tuple[float, str]]:
        return [(value(cell), cell.name) for cell in found if keep(cell)]

    def exactly(names: tuple[str, ...]) -> Callable[[Cell], bool]:
        return lambda cell: cell.case["damage"] in names

    photograph = ("photograph", "stars")
    whole = [cell for cell in found if cell.damage("none") and cell.shows(*photograph)]
    altered = [cell.ours["altered"] for cell in whole]
    middle = float(np.median([cell.ours["psnr"] for cell in whole])) if whole else None
    print("\nundamaged (a value counts as changed when its 8-bit value is another)")
    overall("photographs, values changed on average, at most 0.1 %", mean(altered), 0.001, "%", at_most=True)
    verdict("photographs, values changed, at most 0.5 %", [(cell.ours["altered"], cell.name) for cell in whole], 0.005, "%",
            at_most=True)  # fmt: skip
    overall("photographs, the median picture, at least 50 dB", middle, 50)
    verdict("photographs, every picture, at least 42 dB", [(cell.ours["psnr"], cell.name) for cell in whole], 42)
    verdict("print and drawings, values changed, at most 1 %",
            each(lambda cell: cell.ours["altered"], lambda cell: cell.damage("none") and cell.shows("print")), 0.01, "%",
            at_most=True)  # fmt: skip
    print("light damage")
    verdict("over the best trivial method or nothing, at least -0.1 dB",
            each(lambda cell: cell.lead, lambda cell: not cell.damage("none")), -0.1)  # fmt: skip
    verdict("photographs, single values 0.1 to 5 %, over doing nothing, at least 8 dB",
            each(lambda cell: cell.gain, lambda cell: exactly(SINGLE)(cell) and cell.shows(*photograph)), 8)  # fmt: skip
    verdict("the same, errors above 0.2 only, over the true-mask fill, at least -3 dB",
            each(lambda cell: cell.ours["psnr_gross"] - cell.fill["psnr_gross"],
                 lambda cell: exactly(SINGLE)(cell) and cell.shows(*photograph) and cell.fill is not None), -3)  # fmt: skip
    verdict("hot pixels, rays, dead rows, over doing nothing, at least 6 dB", each(lambda cell: cell.gain, exactly(HIT)), 6)
    verdict("dust, hairs, lettering, over doing nothing, above 0 dB",
            each(lambda cell: cell.gain, exactly(DRAWN)), math.ulp(0.0))  # fmt: skip
    verdict("dust, hairs, lettering, whole values changed, at most 0.3 %",
            each(lambda cell: cell.ours["changed"], exactly(DRAWN)), 0.003, "%", at_most=True)  # fmt: skip
    drawn = [cell for cell in found if exactly(DRAWN)(cell) and cell.old is not None]
    overall("dust, hairs, lettering, over 0.1.0 on average, above 0 dB",
            mean([cell.ours["psnr"] - cell.old["psnr"] for cell in drawn]), math.ulp(0.0))  # fmt: skip
    print("share of damage")
    verdict("single values 1 to 20 %, off by at most a fifth of the truth",
            each(lambda cell: abs(cell.ours["share"] / cell.ours["true_share"] - 1),
                 lambda cell: exactly(COUNTED)(cell) and cell.ours["share"] is not None), 0.2, "%",
            at_most=True)  # fmt: skip
    verdict("undamaged photographs, at most 0.05 %",
            [(cell.ours["share"], cell.name) for cell in whole if cell.ours["share"] is not None], 0.0005, "%",
            at_most=True)  # fmt: skip
    print("seconds of one thread, on average")
    for side in sorted({cell.case["side"] for cell in found}):
        print(f"        {side}x{side}: {mean([cell.ours['seconds'] for cell in found if cell.case['side'] == side]):.1f}")


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
    parser.add_argument("--ceiling", metavar="MODULE:FUNCTION", default=CEILING, help="(damaged, true mask) -> answer")
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
    results = read_results(args.output)
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
    found = cells(cases, results, args.name, args.against)
    if not args.summary:
        print_table(found)
    print_targets(found)


if __name__ == "__main__":
    torch.set_num_threads(1)  # for seconds that can be compared
    main()
