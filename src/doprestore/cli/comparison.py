"""One picture through several methods: read, damage, run with bars, print and write. Imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from doprestore.baselines import METHODS, OURS
from doprestore.baselines.score import Score, score, settings_of
from doprestore.cli.screen import Meter
from doprestore.damage.make import corrupt
from doprestore.drive import Progress
from doprestore.errors import InputError, UsageError
from doprestore.io.files import check_output, check_targets, make_folder, write_file
from doprestore.io.images import read_picture, write_picture
from doprestore.io.tables import write_csv
from doprestore.metrics import psnr, ssim
from doprestore.report.content import panel
from doprestore.report.plots import line_plot

_COLUMNS = ("method", "psnr", "ssim", "steps", "seconds")


def compare_file(
    picture: Path,
    clean: Path | None,
    damage: tuple[str, float] | None,
    methods: list[str],
    options: dict[str, Any],
    folder: Path | None,
    force: bool,
) -> None:
    """Print a line a method as it ends; then write the results to ``folder``, if one is given. options: settings of the
    methods that fit a network."""
    for name in methods:
        if name != OURS:
            METHODS[name].load()  # a missing extra is told before the work, not after
    given = torch.from_numpy(read_picture(picture).pixels)
    if damage is None:
        assert clean is not None  # either is given
        original, damaged = torch.from_numpy(read_picture(clean).pixels), given
        if original.shape != damaged.shape:
            raise InputError(f"--clean {clean}: has another size or other colours than {picture}; give its original")
    else:
        original, damaged = given, corrupt(given, *damage, options["seed"] or 0).picture
    if folder is not None:
        _prepare(folder, methods, {"PICTURE": picture} | ({} if clean is None else {"--clean": clean}), force)

    # Measured as for the methods: a row for what they all start from.
    similar = ssim(damaged, original) if min(original.shape[1:]) >= 11 else None
    click.echo(f"{'method':<16}{'PSNR':>8}{'SSIM':>8}{'steps':>8}{'seconds':>9}")
    click.echo(_row("damaged", psnr(damaged, original), similar, None, None))
    scores = []
    for name in methods:
        result = _run(name, damaged, original, options)
        click.echo(_row(name, result.psnr, result.ssim, result.steps, result.seconds, _is_oracle(name)))
        scores.append(result)
    if folder is not None:
        _write(folder, damaged, original, scores)
        click.echo(f"{folder}: panel.png shows original, damaged, {', '.join(methods)}, left to right")


def _run(name: str, damaged: Tensor, original: Tensor, options: dict[str, Any]) -> Score:
    fits = name == OURS or METHODS[name].fits
    settings = settings_of(name, **options)
    total = settings.steps if fits else None
    with Meter(name, total, "step", quiet=not fits) as meter:

        def show(progress: Progress) -> None:
            quality = {} if progress.psnr is None else {"PSNR": f"{progress.psnr:.2f} dB"}
            meter.show(progress.step, progress.steps, **quality)

        return score(name, damaged, original, settings, show)


def _is_oracle(name: str) -> bool:
    return name != OURS and METHODS[name].oracle


def _row(
    name: str, quality: float, similar: float | None, steps: int | None, seconds: float | None, oracle: bool = False
) -> str:
    cells = [f"{quality:.2f}", "-" if similar is None else f"{similar:.4f}", "-" if steps is None else f"{steps}"]
    cells.append("-" if seconds is None else f"{seconds:.1f}")
    return f"{name:<16}{cells[0]:>8}{cells[1]:>8}{cells[2]:>8}{cells[3]:>9}" + ("  oracle" if oracle else "")


def _prepare(folder: Path, methods: list[str], inputs: dict[str, Path], force: bool) -> None:
    make_folder(folder)
    pictures = [f"{name}.png" for name in ("original", "damaged", "panel", *methods)]
    for name in [*pictures, "table.csv", "curves.csv", "curves.png"]:
        check_output(folder / name)
        check_targets({"OUTPUT": folder / name}, inputs, force=force)


def _write(folder: Path, damaged: Tensor, original: Tensor, scores: list[Score]) -> None:
    pictures = {"original": original, "damaged": damaged} | {one.method: one.restored for one in scores}
    for name, picture in pictures.items():
        write_picture(folder / f"{name}.png", picture.numpy())
    write_picture(folder / "panel.png", panel(pictures).numpy())
    write_csv(folder / "table.csv", _COLUMNS, [[getattr(one, column) for column in _COLUMNS] for one in scores])
    curves = {one.method: one.curve for one in scores if one.curve}
    if not curves:
        return
    rows = [(name, *point) for name, curve in curves.items() for point in curve]
    write_csv(folder / "curves.csv", ("method", "step", "psnr"), rows)
    try:
        plot = line_plot(curves, "step", "PSNR (dB)")
    except UsageError as error:
        click.echo(f"no curves.png: {error}", err=True)
        return
    write_file(folder / "curves.png", plot)
