"""The paper's pipeline to its end, on crops that a CPU can do: what has been run, and what that says.

    python tests/benchmarks/paper.py FOLDER --data PICTURES          a table of the curves in FOLDER, and the verdicts
    python tests/benchmarks/paper.py FOLDER --data PICTURES --run    go on with the first run that is not finished, and
                                                                     so on to the last; several processes share them
    python tests/benchmarks/paper.py FOLDER --data PICTURES --fast   the fast preset on the same crops
    python tests/benchmarks/paper.py FOLDER --data PICTURES --draw PLOTS    PLOTS/fig1b.png and others, of the curves alone

--only F16-64 leaves all runs out but those of F16 at 64x64. PICTURES holds F16, Peppers, Baboon and kodim03.png. The
runs are those of `doprestore reproduce all --scale small`; in the order here a first answer comes early. A curve is
FOLDER/<run>.csv, the state of a run FOLDER/<run>.pt. tests/benchmarks/paper/ holds the curves so far; the table says which
of them are of unfinished runs.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from doprestore.errors import InputError
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.io.tables import read_csv
from doprestore.metrics import psnr
from doprestore.reproduce import load
from doprestore.reproduce.cells import draw as draw_figure
from doprestore.reproduce.figure import Cell, Plan, Row
from doprestore.reproduce.long_run import COLUMNS
from doprestore.reproduce.originals import find_pictures, read_pictures
from doprestore.reproduce.picture_cells import DOP, clean_picture, damage, point_rows, run_name

ORDER = ("fig1b", "widths", "alpha", "fig3", "fig4a", "fig4b", "oracles")


def every_cell(plan: Plan) -> list[Cell]:
    """The runs of all figures at scale "small", each once."""
    return list({run_name(cell): cell for name in ORDER for cell in load(name).cells(plan)}.values())


def points(path: Path) -> list[list[float]]:
    """Of a curve: a list of the numbers of :data:`COLUMNS` by point; none where there is no file."""
    if not path.exists():
        return []
    columns, rows = read_csv(path)
    if tuple(columns) != COLUMNS:
        raise SystemExit(f"{path}: is no curve of a long run")
    return [[float(row[name]) for name in COLUMNS] for row in rows]


def is_finished(cell: Cell, curve: list[list[float]]) -> bool:
    return bool(curve) and curve[-1][0] == cell["steps"]


def lines(plan: Plan, folder: Path) -> Iterator[str]:
    """The table of runs, then a line on every figure."""
    yield "| run | step | last | best | below its best | composed | processor seconds |\n|---|---|---|---|---|---|---|"
    curves = {run_name(cell): points(folder / f"{run_name(cell)}.csv") for cell in every_cell(plan)}
    for cell in every_cell(plan):
        curve = curves[run_name(cell)]
        ratio = f", α {cell['alpha']:g}" if cell["method"] == DOP else ""
        told = f"{cell['picture']} {cell['size']}, {cell['amount']:.0%}, {cell['method']}{ratio}, width {cell['width']}"
        if not curve:
            yield f"| {told} | not run | | | | | |"
            continue
        step, _, last, best, composed, _, seconds = curve[-1]
        state = f"{step:.0f}" if is_finished(cell, curve) else f"{step:.0f} of {cell['steps']}: unfinished"
        put_together = "" if math.isnan(composed) else f"{composed:.2f}"  # only s tells what to compose of
        took = "" if math.isnan(seconds) else f"{seconds:.0f}"  # paper_gpu.py does not know
        yield f"| {told} | {state} | {last:.2f} | {best:.2f} | {best - last:.2f} | {put_together} | {took} |"
    for name in ORDER:
        cells = load(name).cells(plan)
        done = [cell for cell in cells if is_finished(cell, curves[run_name(cell)])]
        if len(done) < len(cells):
            yield f"{name}: {len(done)} of {len(cells)} runs finished, no verdict yet"
        else:
            verdict = load(name).verdict([row for cell in cells for row in rows(plan, cell, curves[run_name(cell)])])
            answer = "agrees with the paper" if verdict.agrees else f"DISAGREES with the paper ({load(name).claim})"
            yield f"{name}: {verdict.sentence}: {answer}"


def rows(plan: Plan, cell: Cell, curve: list[list[float]]) -> list[Row]:
    clean = clean_picture(plan, cell)
    return [cell | row for row in point_rows(curve, psnr(damage(clean, cell), clean))]


def draw(plan: Plan, curves: Path, plots: Path) -> Iterator[str]:
    """Plot the figures whose runs are all finished; what shows restored pictures needs `doprestore reproduce`."""
    for name in ORDER:
        cells = load(name).cells(plan)
        own = {run_name(cell): points(curves / f"{run_name(cell)}.csv") for cell in cells}
        if all(is_finished(cell, own[run_name(cell)]) for cell in cells):
            found = [row for cell in cells for row in rows(plan, cell, own[run_name(cell)])]
            try:
                draw_figure(name, found, plan, load(name).verdict(found), plots)
                yield str(plots / f"{name}.png")
            except InputError as error:
                yield f"{name}: not drawn: {error}"


def chosen(plan: Plan, only: str) -> list[Cell]:
    """The cells of that picture and side; all of them for no words."""
    return [cell for cell in every_cell(plan) if only in ("", f"{cell['picture']}-{cell['side']}")]


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """The lock of a run, for as long as the block runs: whether it is ours and no other process's."""
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def run_all(plan: Plan, folder: Path, only: str) -> None:
    """Run what is not finished and what no other process is at."""
    torch.set_num_threads(1)
    for cell in chosen(plan, only):
        if is_finished(cell, points(folder / f"{run_name(cell)}.csv")):
            continue
        with held(folder / f"{run_name(cell)}.lock") as is_ours:
            if is_ours:
                print(run_name(cell), flush=True)
                load("fig3").runs.compute(cell, plan, lambda step, steps: print(f"  {step} of {steps}", flush=True))


def fast(plan: Plan, only: str) -> Iterator[str]:
    """The fast preset, one thread, on the crops and amounts of the DOP runs: network's output, composed, and time."""
    torch.set_num_threads(1)
    yield "| picture | damaged | network | composed | processor seconds |\n|---|---|---|---|---|"
    crops = {(cell["picture"], cell["side"], cell["amount"]): cell for cell in chosen(plan, only) if cell["method"] == DOP}
    for cell in crops.values():
        clean = clean_picture(plan, cell)
        damaged = damage(clean, cell)
        start = time.process_time()
        result = recover_image(damaged, image_settings(device="cpu"))
        seconds = time.process_time() - start
        qualities = " | ".join(f"{psnr(x, clean):.2f}" for x in (damaged, result.network, result.restored))
        yield f"| {cell['picture']} {cell['size']}, {cell['amount']:.0%} | {qualities} | {seconds:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--draw", type=Path, metavar="PLOTS")
    parser.add_argument("--only", default="", metavar="PICTURE-SIDE")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    plan = Plan("small", "paper", "cpu", read_pictures(find_pictures(args.data), "small"), args.folder)
    if args.run:
        run_all(plan, args.folder, args.only)
        return
    if args.draw:
        args.draw.mkdir(parents=True, exist_ok=True)
        said = draw(plan, args.folder, args.draw)
    else:
        said = fast(plan, args.only) if args.fast else lines(plan, args.folder)
    for line in said:
        print(line, flush=True)


if __name__ == "__main__":
    main()
