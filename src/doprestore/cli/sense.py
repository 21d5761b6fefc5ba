"""doprestore sense: a low-rank matrix from linear measurements, some of them grossly wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.matrices import check_source, check_targets, exit_code, facts, matrix_options, run_with_bar, state_of
from doprestore.cli.options import FileName, file_option
from doprestore.errors import InputError
from doprestore.matrix.settings import matrix_settings


@click.command("sense", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="PROBLEM.npz", type=FileName(path_type=Path))
@file_option(
    "-o",
    "--output",
    metavar="FILE.npz",
    help="Write the arrays X and s here. [default: PROBLEM.recovered.npz beside PROBLEM]",
)
@matrix_options
def command(source: Path, output: Path | None, as_json: bool, force: bool, preset: str, symmetric: bool,
            **options: object) -> int:  # fmt: skip
    """Recover a low-rank X and sparse errors s from y_i = <A_i, X> + s_i.

    PROBLEM.npz holds A (m, rows, columns) and y (m,), and perhaps the true X, with which the error is
    reported; it never influences the result.

    \b
    Example:
      doprestore sense problem.npz -o answer.npz

    Exit code 3: not converged; 4: too few measurements to tell X. The output is written all the same.
    """
    settings = matrix_settings(preset, symmetric=symmetric or None, **options)
    check_source(source)
    target = output if output is not None else source.with_name(f"{source.stem}.recovered.npz")
    check_targets([target], source, force)

    from doprestore.io.arrays import read_problem, write_npz
    from doprestore.io.files import check_output
    from doprestore.matrix.sensing import sense
    from doprestore.metrics import relative_error

    check_output(target)
    problem = read_problem(source)
    truth = problem.get("X")
    if truth is not None and truth.shape != problem["A"].shape[1:]:
        raise InputError(f"{source}: X has shape {truth.shape}, the A_i {problem['A'].shape[1:]}; they must be equal")
    with Interrupt() as interrupt:
        try:
            result = run_with_bar(source.name, settings.steps, lambda show: sense(
                problem["A"], problem["y"], settings, show, interrupt.received))  # fmt: skip
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        write_npz(target, {"X": result.low_rank, "s": result.sparse})
    report = {
        "input": str(source),
        "output": str(target),
        "measurements": len(problem["y"]),
        "unknowns": result.unknowns,
        "solution": result.solution,
        "rows": result.low_rank.shape[0],
        "columns": result.low_rank.shape[1],
        "error": None if truth is None else relative_error(result.low_rank, truth),
        **facts(result, settings),
    }
    click.echo(json.dumps(report) if as_json else _summary(report))
    return exit_code(result, interrupt)


def _summary(report: dict[str, Any]) -> str:
    known = "" if report["error"] is None else f", error {report['error']:.1e}"
    return (
        f"{report['input']}: {report['measurements']} measurements of {report['rows']} x {report['columns']}, rank "
        f"{report['rank']}, relative residual {report['relative_residual']:.1e}{known}\n"
        f"{state_of(report)}: {_meaning(report)}; {report['steps']} steps, "
        f"{report['seconds']:.2f} s on {report['device']}\nwrote {report['output']}"
    )


def _meaning(report: dict[str, Any]) -> str:
    return {
        "exact": "agrees with the measurements to rounding error",
        "descent": "gradient descent",
        "underdetermined": f"underdetermined: {report['measurements']} measurements for {report['unknowns']} unknowns",
    }[report["solution"]]
