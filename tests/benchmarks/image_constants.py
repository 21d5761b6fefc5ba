"""Every numeric constant of the fast preset at half and at twice its value, everything else as it is: which of them matter?

    python tests/benchmarks/image_constants.py --all -o constants.jsonl       # an hour or two; goes on where it was stopped
    python tests/benchmarks/image_constants.py fill.GRADIENT=0.03 verdict.SLACK=1.5     # some values of one's own
    python tests/benchmarks/image_constants.py --all --table -o constants.jsonl         # the table of what is there

A constant is MODULE.NAME of doprestore.image. Whole numbers are rounded, shares stay below 1: where twice were 1 or more,
half of what is missing from 1. Modules that a picture goes through are imported anew with the other value, so what follows
from a constant follows. image_constants_fields.py lists those that are not varied, and why; each of the others is measured
in a field, on damage that it has to do with: the centres of pictures of light_pictures.py to tune on. In most fields the
search of damaged ones is by fills alone, and what it finds is filled; in "fit", "network" and "crops" all is as usual.

A line a value: by how many dB the gain over the damaged picture changes, on average over the kinds of the field that
strike 1 % ("few", where a value or two that are missed make a dB) and over the others ("many"); the same of recall and
precision, over all kinds; the share of the values of undamaged pictures that are changed (where the field has any), on
average and at worst. "seed" are other random numbers of the search: what changes by chance. A value is alike if all of it
is within :data:`ALIKE`, or in a field that chance changes by more, within that.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.machinery
import math
import sys
import time
from pathlib import Path
from statistics import mean
from types import CodeType
from typing import Any

import torch
from image_constants_fields import FIELDS, MODULES, STRUCTURAL, VALUES, WHOLE_SIDE, Field, field_of
from light_damage import DAMAGE, with_noise
from light_pictures import clean, quantised
from results import append_result, read_results
from torch import Tensor

import doprestore
from doprestore.damage.make import corrupt
from doprestore.metrics import precision_recall, psnr

PACKAGE = Path(doprestore.__file__).parent / "image"
# What a value may change to be alike: dB of few and of many, recall, precision, share of undamaged values changed.
ALIKE = (0.1, 0.1, 0.01, 0.01, 0.0001)
# Other random numbers of the search.
SEEDS = (1, 2, 3, 4)


def names_of(node: ast.Assign | ast.AnnAssign) -> list[str]:
    """What is assigned to."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return [part.id for part in ast.walk(target) if isinstance(part, ast.Name)]


class _Changing(importlib.machinery.SourceFileLoader):
    """Loads a module with another value of a constant. changed: its name, and the value."""

    changed: tuple[str, Any]

    def get_code(self, fullname: str) -> CodeType:
        name, value = self.changed
        tree = ast.parse(self.get_data(self.path))
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = names_of(node)
                if name in targets and len(targets) > 1:
                    node.value.elts[targets.index(name)] = ast.parse(repr(value), mode="eval").body
                elif name in targets:
                    node.value = ast.parse(repr(value), mode="eval").body
        return compile(ast.fix_missing_locations(tree), self.path, "exec")


class _Finder:
    def __init__(self, module: str, name: str, value: Any):
        self._module, self._changed = f"doprestore.image.{module}", (name, value)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        loader = _Changing(fullname, str(PACKAGE / f"{fullname.rpartition('.')[2]}.py"))
        loader.changed = self._changed
        return importlib.machinery.ModuleSpec(fullname, loader, origin=loader.path)


def import_anew(constant: str, value: Any) -> None:
    """All of doprestore.image with another value of the constant; "": as it stands."""
    for name in [name for name in sys.modules if name.startswith("doprestore.image")]:
        del sys.modules[name]
    finder = [_Finder(*constant.split("."), value)] if constant else []
    sys.meta_path[:0] = finder
    importlib.import_module("doprestore.image.light")
    del sys.meta_path[: len(finder)]


def constants() -> dict[str, Any]:
    """The constants of the fast preset that can be varied, and their values."""
    import_anew("", None)
    found = {}
    for module in MODULES:
        loaded = importlib.import_module(f"doprestore.image.{module}")
        for node in ast.parse(Path(loaded.__file__).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                names = [name for name in names_of(node) if name.isupper() and name[0] != "_"]
                found.update({f"{module}.{name}": getattr(loaded, name) for name in names})
    unknown = (STRUCTURAL.keys() | VALUES.keys()) - found.keys()
    assert not unknown, f"no such constants: {unknown}"
    return {name: value for name, value in found.items() if name not in STRUCTURAL}


def others(name: str, value: Any) -> tuple[Any, ...]:
    """The values to be tried: half and twice."""
    if name in VALUES:
        return VALUES[name]
    if isinstance(value, int):
        return max(1, value // 2), 2 * value
    return value / 2, (1 + value) / 2 if 0.5 <= value < 1 else 2 * value


def picture(name: str, side: int) -> Tensor:
    """A picture to tune on; "corner" and "framed" ones have edge lines of their own, "print" is text."""
    if name == "noise":
        return quantised(0.3 + 0.4 * torch.rand(3, side, side, generator=torch.Generator().manual_seed(0)))
    if name == "print":
        return clean("text", 4 * side)[:, :side, :side].contiguous()
    source, _, how = name.partition(" ")
    if how == "corner":
        return clean(source, 1 << 16)[:, :side, :side].contiguous()
    whole = clean(source, side)
    if how == "framed":
        whole = whole.clone()
        whole[:, 0] = whole[:, :, -1] = 0
    return whole


def damaged(whole: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """By name, as light_damage.py has it; the same in more amounts, lettering and lines as of ``doprestore corrupt``."""
    if kind in DAMAGE:
        return DAMAGE[kind](whole, 0)
    name, _, percent = kind.removeprefix("noise-").rpartition("-")
    name, amount = (name, float(percent) / 100) if name else (kind, 0.05)
    base = with_noise(whole, torch.Generator().manual_seed(0)) if kind.startswith("noise-") else whole
    struck, bad = corrupt(base, name, amount, seed=0)
    return quantised(struck), bad


def restored(y: Tensor, field: Field, seed: int) -> tuple[Tensor, Tensor]:
    """The answer, and what was taken for damage."""
    load = importlib.import_module
    fills, screening, settings = (load(f"doprestore.image.{name}") for name in ("fill", "screening", "settings"))
    doubt = screening.DOUBT
    screening.DOUBT = doubt if field.network else math.inf
    job = load("doprestore.image.light").Light(y, settings.image_settings(device="cpu", seed=seed), None)
    while not (job.done if field.network else job.screening.done):
        job.step()
    screening.DOUBT = doubt
    if field.network:
        return job.restored().clamp(0, 1), job.found
    seen = (~job.found).to(y.dtype)
    start, whitening = fills.smoothed(job.y, seen), job.screening.choose_whitening()
    filled = fills.fill(job.y, fills.CERTAIN * seen, whitening, start=start)
    return torch.where(job.found, filled.clamp(0, 1), y), job.found


def scored(field: Field, seed: int = 0) -> dict[str, Any]:
    """By kind, on average over the pictures: the gain in dB, recall, precision; what is changed of undamaged pictures."""
    start = time.process_time()
    score: dict[str, Any] = {"kinds": {}}
    for kind in field.kinds:
        told = []
        for name in field.pictures:
            whole = picture(name, field.side)
            y, bad = damaged(whole, kind)
            answer, found = restored(y, field, seed)
            told.append((psnr(answer, whole) - psnr(y, whole), *reversed(precision_recall(found, bad))))
        score["kinds"][kind] = [mean(column) for column in zip(*told, strict=True)]
    as_usual = field._replace(network=True)
    shares = [float(restored(picture(name, WHOLE_SIDE), as_usual, seed)[1].float().mean()) for name in field.whole]
    score["changed"] = [mean(shares), max(shares)] if shares else None
    score["seconds"] = round(time.process_time() - start, 1)
    return score


def differences(score: dict[str, Any], base: dict[str, Any]) -> list[float]:
    """Of dB of few and of many, recall, precision, and the share of undamaged values that are changed."""
    by_kind = {}
    for kind, of in score["kinds"].items():
        by_kind[kind] = [one - other for one, other in zip(of, base["kinds"][kind], strict=True)]
    few, many = ([gain for kind, (gain, *_) in by_kind.items() if kind.endswith("-1") == ends] for ends in (True, False))
    recall, precision = (mean(of[part] for of in by_kind.values()) for part in (1, 2))
    more = score["changed"][0] - base["changed"][0] if score["changed"] else 0.0
    return [mean(few) if few else 0.0, mean(many) if many else 0.0, recall, precision, more]


def is_alike(score: dict[str, Any], base: dict[str, Any], chance: list[dict[str, Any]]) -> bool:
    by_chance = [differences(other, base) for other in chance]
    limits = [max([limit, *(abs(other[part]) for other in by_chance)]) for part, limit in enumerate(ALIKE)]
    return all(abs(change) <= limit for change, limit in zip(differences(score, base), limits, strict=True))


def told(score: dict[str, Any], base: dict[str, Any]) -> str:
    """The line of the table."""
    few, many, recall, precision, _ = differences(score, base)
    line = f"few {few:+.2f} dB, many {many:+.2f} dB; recall {recall:+.3f}, precision {precision:+.3f}"
    if score["changed"]:
        line += f"; changed {score['changed'][0]:.3%}, {score['changed'][1]:.3%} at worst"
    return line


class Results:
    """What has been measured, by field and value, in memory and, if there is a path, in a file."""

    def __init__(self, path: Path | None, run: bool):
        self.path, self._run = path, run
        self.rows = {} if path is None else read_results(path, lambda row: (row["field"], row["value"]))

    def get(self, title: str, name: str, value: Any) -> dict[str, Any] | None:
        """The score of a constant's value, or of "seed", or of all as they stand (""); measured if need be."""
        key = title, f"{name}={value}"
        if key not in self.rows and self._run:
            import_anew("" if name == "seed" else name, value)
            row = {"field": title, "value": key[1], **scored(FIELDS[title], value if name == "seed" else 0)}
            self.rows[key] = row
            if self.path:
                append_result(self.path, row)
        return self.rows.get(key)


def print_field(title: str, values: list[tuple[str, Any]], now: dict[str, Any], results: Results) -> dict[str, bool]:
    """The part of the table; for each constant whether all of its values are alike."""
    alike: dict[str, bool] = {}
    base = results.get(title, "", None)
    if base is None:
        return alike
    kinds = ", ".join(f"{kind} {of[0]:.2f}" for kind, of in base["kinds"].items())
    print(f"\n{title}: dB gained {kinds}; {base['seconds']:.0f} s a value")
    chance = []
    for seed in SEEDS:
        score = results.get(title, "seed", seed)
        if score:
            chance.append(score)
            print(f"  seed {seed}: {told(score, base)}", flush=True)
    for name, value in values:
        score = results.get(title, name, value)
        if score:
            good = is_alike(score, base, chance)
            alike[name] = alike.get(name, True) and good
            print(f"  {'alike  ' if good else 'MATTERS'} {name} {now[name]} -> {value}: {told(score, base)}", flush=True)
    return alike


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("values", nargs="*", metavar="MODULE.NAME=VALUE")
    parser.add_argument("--all", action="store_true", help="half and twice each constant")
    parser.add_argument("--fields", nargs="+", choices=FIELDS, default=list(FIELDS), help="of these fields alone")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("-o", "--results", type=Path, help="a line of JSON for each value, which a rerun does not repeat")
    args = parser.parse_args()
    now = constants()
    wanted = [(name, other) for name, value in now.items() for other in others(name, value) if args.all]
    wanted += [(name, ast.literal_eval(value)) for name, _, value in (given.partition("=") for given in args.values)]
    results = Results(args.results, run=not args.table)
    alike: dict[str, bool] = {}
    for title in args.fields:
        here = [(name, value) for name, value in wanted if field_of(name) == title]
        if here:
            alike |= print_field(title, here, now, results)
    matter = [name for name, is_so in alike.items() if not is_so]
    print(f"\n{len(STRUCTURAL)} are structural, {len(alike) - len(matter)} alike, {len(matter)} matter: {', '.join(matter)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
