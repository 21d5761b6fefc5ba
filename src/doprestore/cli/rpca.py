"""doprestore rpca: a matrix file into its low-rank and sparse parts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.matrices import check_source, check_targets, exit_code, facts, matrix_options, run_with_bar, state_of
from doprestore.cli.options import Duration, check_checkpoint
from doprestore.errors import InputError, UsageError
from doprestore.matrix.settings import MatrixSettings, matrix_settings

# What the answer is, for people; and, in --json, the equation of the paper that it solves.
MEANING = {
    "exact": "agrees with the data to rounding error",
    "noise": "agrees with the data up to dense noise",
    "convex": "no clear split; this is the low rank of least nuclear norm",
    "descent": "plain gradient descent",
    "trivial": "all entries are zero",
    "unfinished": "stopped before there was an answer",
}
EQUATION = {"exact": "(3)", "noise": "(3)", "convex": "(8)", "descent": "(6)"}


@click.command("rpca", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="DATA", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Write one file with the arrays low_rank and sparse. [default: DATA.low_rank.npy and "
    "DATA.sparse.npy beside DATA; .csv and .tsv stay so]",
)
@click.option(
    "--repaired",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the data (.npy, .csv, .tsv), the same but for its outliers and missing entries, which become low-rank.",
)
@click.option("--key", help="Which array of an .npz file.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Save the run here now and then, and when interrupted; deleted once the outputs are written.",
)
@click.option("--checkpoint-every", type=Duration(), default="60s", show_default=True, help="Seconds, or like 90s, 10m, 1h.")
@click.option("--resume", is_flag=True, help="Go on from --checkpoint; without one yet, start.")
@matrix_options
def command(source: Path, output: Path | None, repaired: Path | None, key: str | None, checkpoint: Path | None,
            checkpoint_every: float, resume: bool, as_json: bool, force: bool, preset: str, symmetric: bool,
            **options: object) -> int:  # fmt: skip
    """Split the matrix in DATA (.npy, .npz, .csv, .tsv) into low-rank + sparse.

    For tables with many wrong entries of any size: sensor tables, stacked video frames, spectra. Needs no rank, no
    share of outliers and no other tuning. NaN or an empty field is a missing entry, and is filled in.

    \b
    Example:
      doprestore rpca table.csv --repaired repaired.csv
      doprestore rpca table.csv -o parts.npz --json

    Exit code 3: not converged; 4: no clear split into low rank and outliers. The outputs are written all the same.
    """
    check_checkpoint(click.get_current_context(), checkpoint)
    settings = matrix_settings(preset, symmetric=symmetric or None, **options)
    check_source(source)
    targets = _targets(source, output)
    if repaired is not None:
        if repaired.suffix.lower() not in (".npy", ".csv", ".tsv"):
            raise UsageError(f"--repaired {repaired}: must end in .npy, .csv or .tsv")
        targets.append(repaired)
    unfinished = (
        resume and checkpoint is not None and os.path.exists(checkpoint)
    )  # the outputs, if any, are those of the interrupted run
    check_targets(targets, source, force or unfinished)
    if checkpoint is not None and checkpoint in (source, *targets):
        raise UsageError(f"--checkpoint {checkpoint}: is also the data or an output; give another name")

    from doprestore.io.checkpoint import remove_checkpoint
    from doprestore.io.files import check_output

    for path in (*targets, *([checkpoint] if checkpoint else [])):
        check_output(path)
    with Interrupt() as interrupt:
        result, matrix = _solve(source, key, settings, interrupt, checkpoint, checkpoint_every, resume)
        _write(targets, result, matrix, repaired)
        if checkpoint is not None and not result.interrupted:
            remove_checkpoint(checkpoint)
    report = {
        "input": str(source),
        "outputs": [str(path) for path in targets],
        "rows": result.low_rank.shape[0],
        "columns": result.low_rank.shape[1],
        "dtype": str(result.low_rank.dtype),
        "outlier_share": result.outlier_share,
        "solution": result.solution,
        "equation": EQUATION.get(result.solution),
        "empty_rows": result.empty_rows,
        "empty_columns": result.empty_columns,
        "codes": result.codes,
        "expected_mistakes": result.expected_mistakes,
        **facts(result, settings),
    }
    click.echo(json.dumps(report) if as_json else _summary(report))
    return exit_code(result, interrupt)


def _targets(source: Path, output: Path | None) -> list[Path]:
    if output is not None:
        if output.suffix.lower() != ".npz":
            raise UsageError(f"-o {output}: must end in .npz; without -o two files are written beside the data")
        return [output]
    suffix = source.suffix if source.suffix.lower() in (".csv", ".tsv") else ".npy"
    return [source.with_name(f"{source.stem}.{part}{suffix}") for part in ("low_rank", "sparse")]


def _solve(source, key, settings: MatrixSettings, interrupt: Interrupt, checkpoint, every: float, resume: bool):
    from doprestore.cli.checkpoints import open_checkpoint
    from doprestore.io.arrays import read_matrix
    from doprestore.io.checkpoint import fingerprint, save_checkpoint
    from doprestore.matrix.api import checked_array, solve  # imports torch

    matrix = read_matrix(source, key)
    try:
        values = checked_array(matrix.values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    save = state = None
    if checkpoint is not None:
        # More steps, or another device, go on with the same run.
        decisive = {name: value for name, value in vars(settings).items() if name not in ("steps", "device")}
        identity: dict[str, Any] = {"kind": "rpca", "data": fingerprint(values), "settings": decisive}
        state = open_checkpoint(checkpoint, identity, resume)

        def save(state: dict) -> None:
            save_checkpoint(checkpoint, state, **identity)

    result = run_with_bar(source.name, settings.steps, lambda show: solve(
        values, settings, show, interrupt.received, save, every, state))  # fmt: skip
    return result, matrix


def _write(targets: list[Path], result, matrix, repaired: Path | None) -> None:
    import numpy as np

    from doprestore.io.arrays import write_matrix, write_npz

    parts = targets if repaired is None else targets[:-1]
    if len(parts) == 1:
        write_npz(parts[0], {"low_rank": result.low_rank, "sparse": result.sparse})
    else:
        for path, values in zip(parts, (result.low_rank, result.sparse), strict=True):
            write_matrix(path, values, matrix.header, matrix.index)
    if repaired is not None:
        values = np.array(matrix.values)
        wrong = (result.sparse != 0) | np.isnan(values)
        replaced = result.low_rank[wrong]
        values[wrong] = np.rint(replaced) if values.dtype.kind in "biu" else replaced
        write_matrix(repaired, values, matrix.header, matrix.index)


def _summary(report: dict) -> str:
    lines = [
        f"{report['input']}: {report['rows']} x {report['columns']} {report['dtype']}, rank {report['rank']}, "
        f"{report['outlier_share']:.2%} outliers, relative residual {report['relative_residual']:.1e}",
        f"{state_of(report)}: {MEANING[report['solution']]}; {report['steps']} "
        f"steps, {report['seconds']:.2f} s on {report['device']}",
    ]
    if report["expected_mistakes"] >= 1:
        lines.append(f"about {report['expected_mistakes']:.0f} of the outliers are expected to be noise")
    if report["codes"]:
        values = ", ".join(f"{code:g}" for code in report["codes"])
        lines.append(f"taken for a fill code or saturation, as it is repeated too often: {values}")
    for name in ("rows", "columns"):
        if report[f"empty_{name}"]:
            lines.append(f"left empty, as too little is known of them: {name} {_listed(report[f'empty_{name}'])}")
    lines.append("wrote " + ", ".join(report["outputs"]))
    return "\n".join(lines)


def _listed(numbers: tuple[int, ...]) -> str:
    """Counted from 0, as in the arrays."""
    return ", ".join(map(str, numbers[:10])) + (f" and {len(numbers) - 10} more" if len(numbers) > 10 else "")
