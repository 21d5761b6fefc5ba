"""The figures one after the other: bars, verdicts, exit code. Imports torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from doprestore.cli.screen import Meter
from doprestore.errors import UsageError
from doprestore.machine import choose_device
from doprestore.reproduce import FIGURES, load
from doprestore.reproduce.cells import CellProgress, draw, line, prepare, run
from doprestore.reproduce.figure import Plan
from doprestore.reproduce.originals import find_pictures, read_pictures

# The folder of the curves and states of long runs, within that of the results.
RUNS = "runs"


def reproduce(names: list[str], folder: Path, scale: str, data: Path | None, preset: str, device: str) -> int:
    """Run the figures, print a verdict for each, and return the exit code: 0 when all agree, else 1."""
    choose_device(device)
    for name in names:
        if scale not in FIGURES[name].scales:
            raise UsageError(f"--scale {scale}: {name} has only {' and '.join(FIGURES[name].scales)}; choose that")
    pictures = {}
    if any(FIGURES[name].needs_pictures for name in names):
        pictures = read_pictures(find_pictures(data), scale)
    plan = Plan(scale, preset, device, pictures, folder / RUNS)
    prepare(names, folder)
    agree = []
    for name in names:
        with Meter(name, None, "cell") as meter:
            rows = run(name, plan, folder, partial(_show, meter))
        verdict = load(name).verdict(rows)
        agree.append(verdict.agrees)
        click.echo(line(name, plan, verdict))
        try:
            draw(name, rows, plan, verdict, folder)
        except UsageError as error:
            click.echo(f"no {name}.png: {error}", err=True)
    if len(names) > 1:
        click.echo(f"{sum(agree)} of {len(agree)} figures agree with the paper; numbers and plots are in {folder}")
    return 0 if all(agree) else 1


def _show(meter: Meter, progress: CellProgress) -> None:
    within = {"step": f"{progress.step} of {progress.steps}"} if progress.steps else {}
    meter.show(progress.cell, progress.cells, **within)
