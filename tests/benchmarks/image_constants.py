"""Every numeric constant of the fast preset at half and at twice its value, everything else as it is: which of them matter?

    python tests/benchmarks/image_constants.py --all -o constants.jsonl       # an hour or two; goes on where it was stopped
    python tests/benchmarks/image_constants.py fill.GRADIENT=0.03 verdict.SLACK=1.5     # some values of one's own
    python tests/benchmarks/image_constants.py --all --table -o constants.jsonl         # the table of what is there

A constant is MODULE.NAME of doprestore.image. Whole numbers are rounded, shares stay below 1: where twice were 1 or more,
half of what is missing from 1. Modules that a picture goes through are imported anew with the other value, so what follows
from a constant follows. Those of :data:`STRUCTURAL` are not varied, for the reasons given there; each of the others is
measured in a field, on damage that it has to do with: the centres of pictures of light_pictures.py to tune on. In most
fields the search is by fills alone, and what it finds is filled; in "network" and "crops" all is as in a restoration.

A line a value: by how many dB the gain over the damaged picture changes, on average over the kinds of the field, and in the
kind in which it changes most; the same of recall and precision, on average; the share of the values of undamaged pictures
that are changed (where the field has any), on average and at worst. A value is alike if these are within :data:`ALIKE`.
"seed" are other random numbers of the search: what changes by chance.
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
from typing import Any, NamedTuple

import torch
from light_damage import DAMAGE, with_noise
from light_pictures import clean, quantised
from results import append_result, read_results
from torch import Tensor

import doprestore
from doprestore.damage.make import corrupt
from doprestore.metrics import precision_recall, psnr

PACKAGE = Path(doprestore.__file__).parent / "image"
# The modules that decide in the fast preset. The others are the paper's, or hold, cut, count and plan.
MODULES = (
    *("corrector", "crossfit", "details", "fill", "fit", "frame", "learner", "lines", "medians", "optimizer", "scale"),
    *("screening", "tones", "tracks", "undecided", "unseen", "verdict"),
)
# What a value may change to be alike: dB on average over the kinds, dB of a kind, recall and precision, share of undamaged
# values that are changed.
ALIKE = (0.1, 0.3, 0.01, 0.0001)

BOUND = "bounds time or memory, from where on more changes nothing"
NUMERICS = "numerics: a floor, a cap or a count that is as good as without end"
MEANING = "its meaning, not a choice"
SHAPE = "the shape of the network or of a filter"
STRUCTURAL = {
    "corrector.GAINS": "make the spreads of the inputs alike",
    "corrector.STRIDE": "follows from HALVINGS",
    "details.HALVINGS": NUMERICS,
    "details.LEAST_LOG_ODDS": NUMERICS,
    "details.SHIFTS": "an average over so many draws",
    "fill.CERTAIN": NUMERICS,
    "fill.SELF": "follows from GRADIENT",
    "learner.GAMMA": "the start of g and h, as in the paper: as good as 0",
    "lines.AT_A_TIME": BOUND,
    "lines.ENOUGH": BOUND,
    "lines.LEAST_SIDE": "pictures too small to be judged",
    "lines.TONE": MEANING,
    "medians.REACH": SHAPE,
    "optimizer.BETAS": "the reference's",
    "optimizer.EPSILON": NUMERICS,
    "optimizer.MOMENTUM": "the reference's",
    "scale.REACH": "follows from AROUND",
    "screening.BOUND": MEANING,
    "screening.OWN_SEEDS": "any number",
    "screening.ROUNDS": "follows from the rounds of both sorts",
    "screening.SAMPLE": BOUND,
    "tones.AT_A_TIME": BOUND,
    "tracks.BOUNDS": "a grid of values that are tried in turn",
    "tracks.DIRECTIONS": SHAPE,
    "tracks.NARROW": MEANING,
    "tracks.HALO": MEANING,
    "undecided.ENOUGH": BOUND,
    "unseen.GUESSED": BOUND,
    "verdict.BINS": "a grid, fine enough",
    "verdict.DRAWS": "a grid, fine enough",
    "verdict.LEAST": "the ends of a grid",
    "verdict.MANY": BOUND,
    "verdict.MOST": "the ends of a grid",
    "verdict.TONES": MEANING,
    "verdict.UNSURE": MEANING,
}
# Values that half and twice say nothing of.
VALUES: dict[str, tuple[Any, ...]] = {
    "corrector.HALVINGS": (2, 4),
    "crossfit.TURNS": (((0,), (0,)), ((0, 1, 2, 3, 4, 5, 6, 7), (0,))),
    "fit.TURNS": (1, 4),
    "lines.VARYING": (3, 9),
    "scale.AROUND": (5, 17),
    "screening.LATE": (1, 3),
    "tones.NEIGHBOURHOOD": (5, 21),
    "tracks.AROUND": (11, 41),
    "verdict.TAIL": ((0.05, 0.6), (0.2, 0.6), (0.1, 0.3), (0.1, 0.8)),
}


class Field(NamedTuple):
    """What constants are measured on: ``kinds`` of damage of each of the ``pictures``; and ``whole`` ones, of 128x128."""

    pictures: tuple[str, ...]
    kinds: tuple[str, ...]
    whole: tuple[str, ...] = ()
    side: int = 96
    network: bool = False


PHOTOGRAPHS = ("camera", "coffee", "F16")
WHOLE_SIDE = 128
WHOLE = ("astronaut", "camera", "coffee", "brick", "cell", "F16", "Baboon", "stars", "drawing")
SINGLE = ("random-1", "random-20", "salt-pepper-5", "hot-1", "salt-pepper-pixel-20", "noise-random-20")
FIELDS = {
    "single": Field(PHOTOGRAPHS, SINGLE, WHOLE),
    "tones": Field(PHOTOGRAPHS, ("text", "lines", "salt-pepper-30", "salt-pepper-pixel-20", "noise-salt-pepper-20"), WHOLE),
    "lines": Field(PHOTOGRAPHS, ("dead-rows", "dead-rows-part", "offset-lines"), WHOLE),
    "tracks": Field(("camera", "coffee", "cell", "stars"), ("rays-1",), WHOLE, 128),
    "edges": Field(("F16 corner", "coffee framed"), ("random-5", "random-20"), ("F16 corner", "coffee framed", *WHOLE)),
    "undecided": Field(PHOTOGRAPHS, ("random-20", "random-50", "salt-pepper-60", "text"), ("noise", "print", *WHOLE)),
    "network": Field(("coffee", "F16"), ("random-20", "salt-pepper-30"), side=64, network=True),
    "crops": Field(("F16",), ("random-20",), side=192, network=True),
}
FIELD_OF_MODULE = {
    **dict.fromkeys(("corrector", "crossfit", "fit", "learner", "optimizer"), "network"),
    **{"frame": "edges", "lines": "lines", "tones": "tones", "tracks": "tracks", "undecided": "undecided"},
}
FIELD_OF = {
    "learner.CROP": "crops",
    "learner.CROPS": "crops",
    **{f"screening.{name}": "network" for name in ("DOUBT", "NET_ROUNDS", "SLOW", "STILL")},
    "screening.TONE_ROUNDS": "tones",
}


class _Changing(importlib.machinery.SourceFileLoader):
    """Loads a module with another value of a constant. changed: its name, and the value."""

    changed: tuple[str, Any]

    def get_code(self, fullname: str) -> CodeType:
        name, value = self.changed
        tree = ast.parse(self.get_data(self.path))
        for node in tree.body:
            if isinstance(node, ast.Assign):
                targets = [part.id for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name)]
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
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                names = [part.id for part in ast.walk(target) if isinstance(part, ast.Name)]
                found.update(
                    {f"{module}.{name}": getattr(loaded, name) for name in names if name.isupper() and name[0] != "_"}
                )
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
    modules = (load(f"doprestore.image.{name}") for name in ("fill", "screening", "settings", "unseen"))
    fills, screening, settings, unseen = modules
    if not field.network:
        screening.DOUBT = math.inf
    job = load("doprestore.image.light").Light(y, settings.image_settings(device="cpu", seed=seed), None)
    while not (job.done if field.network else job.screening.done):
        job.step()
    if field.network:
        return job.restored().clamp(0, 1), job.found
    seen = (~job.found).to(y.dtype)
    start, whitening = fills.smoothed(job.y, seen), job.screening.choose_whitening()
    filled = fills.fill(job.y, fills.CERTAIN * seen, whitening, start=start, steps=unseen.FILL_STEPS)
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
    shares = [float(restored(picture(name, WHOLE_SIDE), field, seed)[1].float().mean()) for name in field.whole]
    score["changed"] = [mean(shares), max(shares)] if shares else None
    score["seconds"] = round(time.process_time() - start, 1)
    return score


def compared(score: dict[str, Any], base: dict[str, Any]) -> tuple[bool, str]:
    """Whether a value is alike, and its line of the table."""
    changes = {
        kind: [one - other for one, other in zip(of, base["kinds"][kind], strict=True)]
        for kind, of in score["kinds"].items()
    }
    gain, recall, precision = (mean(column) for column in zip(*changes.values(), strict=True))
    kind, (most, *_) = max(changes.items(), key=lambda item: abs(item[1][0]))
    more = score["changed"][0] - base["changed"][0] if score["changed"] else 0.0
    alike = abs(gain) <= ALIKE[0] and abs(most) <= ALIKE[1] and max(abs(recall), abs(precision)) <= ALIKE[2]
    told = f"{gain:+.2f} dB, {kind} {most:+.2f}; recall {recall:+.3f}, precision {precision:+.3f}"
    if score["changed"]:
        told += f"; changed {score['changed'][0]:.3%}, {score['changed'][1]:.3%} at worst"
    return alike and abs(more) <= ALIKE[3], told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("values", nargs="*", metavar="MODULE.NAME=VALUE")
    parser.add_argument("--all", action="store_true", help="half and twice each constant, and two other seeds")
    parser.add_argument("--fields", nargs="+", choices=FIELDS, default=list(FIELDS), help="of these fields alone")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("-o", "--results", type=Path, help="a line of JSON for each value, which a rerun does not repeat")
    args = parser.parse_args()
    now = constants()
    wanted = [(name, other) for name, value in now.items() for other in others(name, value) if args.all]
    for told in args.values:
        name, _, value = told.partition("=")
        wanted.append((name, ast.literal_eval(value)))
    done = read_results(args.results, lambda row: (row["field"], row["value"])) if args.results else {}
    alike: dict[str, bool] = {}
    for title, field in FIELDS.items():
        here = [(name, value) for name, value in wanted if field_of(name) == title]
        if title not in args.fields or not here:
            continue
        seeds: list[tuple[str, Any]] = [("seed", 1), ("seed", 2)] if args.all else []
        for name, value in [("", None), *seeds, *here]:
            key = title, f"{name}={value}"
            if key not in done and not args.table:
                import_anew("" if name == "seed" else name, value)
                done[key] = {"field": title, "value": key[1], **scored(field, value if name == "seed" else 0)}
                if args.results:
                    append_result(args.results, done[key])
            if key not in done:
                continue
            if not name:
                kinds = ", ".join(f"{kind} {of[0]:.2f}" for kind, of in done[key]["kinds"].items())
                print(f"\n{title} ({kinds} dB gained; {done[key]['seconds']:.0f} s)")
            is_alike, line = compared(done[key], done[title, "=None"])
            if name:
                print(f"  {'alike  ' if is_alike else 'MATTERS'} {name} {now.get(name, 0)} -> {value}: {line}", flush=True)
                alike[name] = alike.get(name, True) and is_alike
    alike.pop("seed", None)
    matter = [name for name, is_alike in alike.items() if not is_alike]
    print(f"\n{len(STRUCTURAL)} are structural, {len(alike) - len(matter)} alike, {len(matter)} matter: {', '.join(matter)}")


def field_of(name: str) -> str:
    return FIELD_OF.get(name) or FIELD_OF_MODULE.get(name.partition(".")[0], "single")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
