"""doprestore rpca: a matrix file into its low-rank and sparse parts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.matrices import check_source, exit_code, facts, matrix_options, run_with_bar, state_of, table_options
from doprestore.cli.options import FileName, check_checkpoint, checkpoint_options, file_option
from doprestore.cli.video import Frames, refuse_options, split_clip
from doprestore.errors import InputError, UsageError
from doprestore.io.kinds import CLIPS
from doprestore.matrix.settings import MatrixSettings, matrix_settings

if TYPE_CHECKING:
    from doprestore.io.arrays import Matrix
    from doprestore.matrix.api import RpcaResult

# What the answer is, for people; and, in --json, the equation of the paper that it solves.
MEANING = {
    "exact": "agrees with the data to rounding error",
    "noise": "agrees with the data up to dense noise",
    "convex": "no clear split; this is the low rank of least nuclear norm",
    "descent": "plain gradient descent",
    "trivial": "all entries are zero",
    "unfinished": "stopped before there was an answer",
}
# The equation of the paper that each solution is one of.
EQUATION = {"exact": "(3)", "noise": "(3)", "convex": "(8)", "descent": "(6)"}


@click.command("rpca", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="DATA", type=FileName(path_type=Path, allow_dash=True))
@file_option(
    "--repaired",
    dash=True,
    help="Write the data again, the same except for its wrong and missing entries, which become low-rank. Tables keep "
    "all their text. - is standard output.",
)
@file_option(
    "--outliers",
    metavar="FILE.csv",
    help="List the wrong entries: row, column, their names, old and new value, how far apart in units of noise, how sure.",
)
@file_option(
    "--report",
    "page",
    help="Write FILE.html or FILE.png: heat maps of both parts, singular values, the worst rows and columns.",
)
@file_option(
    "-o",
    "--output",
    metavar="FILE.npz",
    help="Write one file with the arrays low_rank and sparse. [default, where no other output is named: "
    "DATA.low_rank.npy and DATA.sparse.npy beside DATA; tables stay tables]",
)
@click.option("--key", help="Which array of an .npz file.")
@file_option(
    "--background",
    help="Of a video: write what stands still, of the kind of DATA. [default, where no other output is named: "
    "DATA.background beside DATA, and DATA.foreground]",
)
@file_option("--foreground", help="Of a video: write what moves, on black.")
@click.option("--frames", type=Frames(), help="Of a video: only these, like 100:400, ::10 or 300 (the first 300).")
@table_options
@checkpoint_options
@matrix_options
def command(source: Path, repaired: Path | None, outliers: Path | None, page: Path | None, output: Path | None,
            key: str | None, background: Path | None, foreground: Path | None, frames: slice | None, table: dict[str, Any],
            checkpoint: Path | None, checkpoint_every: float, resume: bool,
            as_json: bool, force: bool, preset: str, symmetric: bool, **options: Any) -> int:  # fmt: skip
    """Split the matrix in DATA (.npy, .npz, .csv, .tsv, .txt, .parquet) into low-rank + sparse.

    Or a video, a clip (.mp4, .mkv, .avi and others) or a folder of frames, into background and foreground.

    For tables with many wrong entries of any size: sensor tables, stacked video frames, spectra. Needs no rank, no
    share of outliers and no other tuning. NaN, NA or an empty field is a missing entry, and is filled in. Columns of
    text and dates are no data; they, comments and names are carried through. - is standard input.

    \b
    Examples:
      doprestore rpca table.csv --repaired repaired.csv
      doprestore rpca table.csv --repaired repaired.csv --outliers outliers.csv
      doprestore rpca - --repaired - < table.csv > repaired.csv
      doprestore rpca matrix.npy -o parts.npz --json
      doprestore rpca clip.mp4
      doprestore rpca frames/ --background still --foreground moving

    Exit code 3: not converged; 4: no clear split into low rank and outliers. The outputs are written all the same.
    """
    check_checkpoint(click.get_current_context(), checkpoint)
    parts = {"--background": background, "--foreground": foreground}
    if source.suffix.lower() in CLIPS or os.path.isdir(source):
        refuse_options(
            click.get_current_context(), {"background", "foreground", "frames", "seed", "device", "as_json", "force"}
        )
        wanted = {flag: path for flag, path in parts.items() if path is not None}
        seed, device = options["seed"] or 0, options["device"] or "auto"
        return split_clip(source, wanted, frames, seed, device, as_json=as_json, force=force)
    for flag, given in (parts | {"--frames": frames}).items():
        if given is not None:
            raise UsageError(f"{flag}: is for videos, and {source} is none by its name; leave it out")
    settings = matrix_settings(preset, symmetric=symmetric or None, **options)
    check_source(source)
    named = {"--repaired": repaired, "--outliers": outliers, "--report": page, "-o": output}
    targets = {flag: path for flag, path in named.items() if path is not None}
    if not targets:
        targets = _default_targets(source)
    _check_targets(source, targets, checkpoint, as_json, force, resume)
    with Interrupt() as interrupt:
        result, matrix = _solve(source, key, table, settings, interrupt, checkpoint, checkpoint_every, resume, targets,
                                force)  # fmt: skip
        report = _report(source, targets, result, matrix, settings)
        _write(targets, result, matrix, report)
        if checkpoint is not None and not result.interrupted:
            from doprestore.io.checkpoint import remove_checkpoint

            remove_checkpoint(checkpoint)
    # A table on standard output is for another program, and has it to itself.
    click.echo(json.dumps(report) if as_json else _summary(report), err=str(repaired) == "-")
    return exit_code(result, interrupt)


def _default_targets(source: Path) -> dict[str, Path]:
    if str(source) == "-":
        raise UsageError("standard input has no folder to write to; name an output, like --repaired -")
    suffix = source.suffix if source.suffix.lower() in (".csv", ".tsv", ".txt", ".parquet") else ".npy"
    return {part: source.with_name(f"{source.stem}.{part}{suffix}") for part in ("low_rank", "sparse")}


def _check_targets(source: Path, targets: dict[str, Path], checkpoint: Path | None, as_json: bool, force: bool,
                   resume: bool) -> None:  # fmt: skip
    """Refuse what cannot be written, before any work."""
    from doprestore.io.arrays import check_kind
    from doprestore.io.files import check_output, check_targets

    for flag, endings in (("-o", (".npz",)), ("--outliers", (".csv",)), ("--report", (".html", ".png"))):
        if flag in targets and targets[flag].suffix.lower() not in endings:
            raise UsageError(f"{flag} {targets[flag]}: must end in {' or '.join(endings)}")
    if "--report" in targets and targets["--report"].suffix.lower() == ".png":
        from doprestore.report.plots import new_figure

        new_figure(1, 1)  # is matplotlib there?
    if "--repaired" in targets:
        check_kind("--repaired", targets["--repaired"], source)
        if as_json and str(targets["--repaired"]) == "-":
            raise UsageError("--json and --repaired - both go to standard output; name a file for one of them")
    # What is there may be of the session that this one goes on with; its checkpoint says so once it is read.
    unfinished = resume and checkpoint is not None and os.path.exists(checkpoint)
    beside = {} if checkpoint is None else {"--checkpoint": checkpoint}
    labelled = {"OUTPUT" if flag in ("low_rank", "sparse") else flag: path for flag, path in targets.items()}
    if len(labelled) < len(targets):  # both parts beside the data
        check_targets({"OUTPUT": targets["low_rank"]}, {"DATA": source}, force=force or unfinished)
    check_targets(labelled, {"DATA": source, **beside}, force=force or unfinished)
    for path in (*targets.values(), *beside.values()):
        if str(path) != "-":
            check_output(path)


def _solve(source: Path, key: str | None, table: dict[str, Any], settings: MatrixSettings, interrupt: Interrupt,
           checkpoint: Path | None, every: float, resume: bool, targets: dict[str, Path],
           force: bool) -> tuple[RpcaResult, Matrix]:  # fmt: skip
    from doprestore.cli.checkpoints import open_checkpoint, real_paths
    from doprestore.io.arrays import read_matrix
    from doprestore.io.checkpoint import fingerprint, save_checkpoint
    from doprestore.io.dialect import TableOptions
    from doprestore.io.files import refuse_existing
    from doprestore.matrix.api import solve  # imports torch
    from doprestore.matrix.data import checked_array

    matrix = read_matrix(source, key, TableOptions(**table))
    try:
        values = checked_array(matrix.values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    save = state = None
    if checkpoint is not None:
        # More steps, or another device, go on with the same work.
        decisive = {name: value for name, value in vars(settings).items() if name not in ("steps", "device")}
        identity: dict[str, Any] = {"kind": "rpca", "data": fingerprint(values), "settings": decisive}
        state = open_checkpoint(checkpoint, identity, resume)
        outputs = real_paths(targets.values())
        own = [] if state is None else state.pop("outputs", [])
        for flag, path in targets.items():
            if not force and os.path.realpath(path) not in own:
                refuse_existing({"OUTPUT" if flag in ("low_rank", "sparse") else flag: path})

        def save(state: dict[str, Any]) -> None:
            save_checkpoint(checkpoint, state | {"outputs": outputs}, **identity)

    result = run_with_bar(source.name, settings.steps, lambda show: solve(
        values, settings, show, interrupt.received, save, every, state))  # fmt: skip
    return result, matrix


def _write(targets: dict[str, Path], result: RpcaResult, matrix: Matrix, report: dict[str, Any]) -> None:
    from doprestore.cli.tables import write_outliers, write_parts, write_repaired, write_report

    if "--repaired" in targets:
        write_repaired(targets["--repaired"], result, matrix)
    if "--outliers" in targets:
        write_outliers(targets["--outliers"], result, matrix)
    if "--report" in targets:
        write_report(targets["--report"], report, result, matrix)
    if parts := [targets[flag] for flag in ("-o", "low_rank", "sparse") if flag in targets]:
        write_parts(parts, result, matrix)


def _report(
    source: Path, targets: dict[str, Path], result: RpcaResult, matrix: Matrix, settings: MatrixSettings
) -> dict[str, Any]:
    from doprestore.cli.tables import column_name, row_name

    return {
        "input": str(source),
        "outputs": [str(path) for path in targets.values()],
        "rows": result.low_rank.shape[0],
        "columns": result.low_rank.shape[1],
        "dtype": str(result.low_rank.dtype),
        "read_as": [] if matrix.table is None else list(matrix.table.notes),
        "outlier_share": result.outlier_share,
        "solution": result.solution,
        "equation": EQUATION.get(result.solution),
        "empty_rows": [row_name(matrix, row) for row in result.empty_rows],
        "empty_columns": [column_name(matrix, column) for column in result.empty_columns],
        "codes": result.codes,
        "expected_mistakes": result.expected_mistakes,
        **facts(result, settings),
    }


def _summary(report: dict[str, Any]) -> str:
    lines = [
        f"{report['input']}: {report['rows']} x {report['columns']} {report['dtype']}, rank {report['rank']}, "
        f"{report['outlier_share']:.2%} outliers, relative residual {report['relative_residual']:.1e}",
        f"{state_of(report)}: {MEANING[report['solution']]}; {report['steps']} "
        f"steps, {report['seconds']:.2f} s on {report['device']}",
    ]
    if report["read_as"]:
        lines.append("read as: " + "; ".join(report["read_as"]))
    if report["expected_mistakes"] >= 1:
        lines.append(f"about {report['expected_mistakes']:.0f} of the outliers are expected to be noise")
    if report["codes"]:
        values = ", ".join(f"{code:g}" for code in report["codes"])
        lines.append(f"taken for a fill code or saturation, as it is repeated too often: {values}")
    for name in ("rows", "columns"):
        if report[f"empty_{name}"]:
            lines.append(f"left as they are, as too little is known of them: {name} {_listed(report[f'empty_{name}'])}")
    lines.append("wrote " + ", ".join(report["outputs"]))
    return "\n".join(lines)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
