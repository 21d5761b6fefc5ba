"""The results of light.py in a table, and every target beside what was reached."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from light_pictures import SOURCES

FILL = "fill"  # the method that is told the true mask


def key(case: dict, method: str) -> str:
    return json.dumps([case, method], sort_keys=True)


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


def cells(cases: list[dict], results: dict[str, dict], trivials: Iterable[str], name: str, old: str) -> list[Cell]:
    """Those cases of which the file has anything. name, old: the methods of the columns ours and 0.1.0."""
    found = []
    for case in cases:
        trivial = {method: results[key(case, method)] for method in trivials if key(case, method) in results}
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
