"""What ``rpca`` and ``sense`` share on the command line: options, checks, the bar, the common part of the report."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from doprestore._version import __version__
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.screen import Meter
from doprestore.errors import DestinationError, DoprestoreError, InputError, UsageError
from doprestore.io.files import same_file
from doprestore.matrix.settings import PRESETS, MatrixSettings

if TYPE_CHECKING:
    from doprestore.drive import Progress
    from doprestore.matrix.api import RpcaResult
    from doprestore.matrix.sensing import SenseResult

# The settings that the help text names as the paper's.
PAPER = PRESETS["paper"]


def matrix_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that solves eq. (3)."""
    options = [
        click.option("--preset", type=click.Choice(list(PRESETS)), default="fast", show_default=True,
                     help="fast: seconds, and exact where the data is. paper: eq. (6) word for word."),
        click.option("--alpha", type=float, help="Ratio of the learning rates, 1/lambda; smaller finds fewer outliers. "
                     "[default: from the shape, sqrt(n) for n x n]"),
        click.option("--symmetric", is_flag=True, help="X = U U^T, symmetric positive semidefinite."),
        click.option("--steps", type=int, help=f"At most so many (fast: {PRESETS['fast'].steps}), or exactly so many "
                     f"(paper: {PAPER.steps})."),
        click.option("--tau", type=float, help=f"Learning rate (paper only). [default: {PAPER.tau}]"),
        click.option("--init", type=float, help=f"Scale of the random start (paper only). [default: {PAPER.init}]"),
        click.option("--rank-bound", type=int, help="Columns of U (paper only). [default: as many as X has]"),
        click.option("--seed", type=int, help=f"The same seed gives the same result. [default: {PAPER.seed}]"),
        click.option("--device", metavar="auto|cpu|cuda[:N]", help=f"[default: {PAPER.device}]"),
        click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
        click.option("--force", is_flag=True, help="Replace outputs that exist."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def table_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a table of text is written, where that is not recognised; given to the command as ``table``, for TableOptions."""
    options = [
        click.option("--index-col", metavar="NAME|N|none", help="The column that names the rows, by name or by number from "
                     "0. [default: a first column of text or dates, without a name, or that counts from 0 or 1]"),
        click.option("--as-is", metavar="NAME|N", multiple=True, help="A column that is no data though it holds numbers, "
                     "carried through untouched; may be repeated."),
        click.option("--missing", metavar="TEXT", multiple=True, help="Marks a missing entry, besides an empty field, NA, "
                     "nan, null and the like; may be repeated."),
        click.option("--delimiter", metavar="CHARACTER|tab", help="Between the fields of a table. [default: recognised]"),
        click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark of a table. [default: recognised]"),
        click.option("--header/--no-header", default=None, help="Whether the first row names the columns. [default: "
                     "recognised]"),
        click.option("--encoding", metavar="NAME", help="Of a table, like utf-16 or latin-1. [default: recognised]"),
    ]  # fmt: skip

    @functools.wraps(function)
    def collected(*arguments: Any, delimiter: str | None, **given: Any) -> Any:
        if delimiter is not None:
            delimiter = {"tab": "\t", "\\t": "\t", "space": " "}.get(delimiter, delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n':
                raise UsageError(f"--delimiter {delimiter}: must be a single character, or tab")
        names = ("index_col", "as_is", "missing", "decimal", "header", "encoding")
        table = {"delimiter": delimiter, **{name: given.pop(name) for name in names}}
        return function(*arguments, table=table, **given)

    for option in reversed(options):
        collected = option(collected)
    return collected


def check_source(source: Path) -> None:
    """Refuse what is no file, before any work."""
    if str(source) == "-":
        return
    if not os.path.exists(source):
        raise InputError(f"{source}: no such file; check the name")
    if os.path.isdir(source):
        raise InputError(f"{source}: is a folder; give a file in it")


def check_targets(targets: list[Path], source: Path, force: bool) -> None:
    """Refuse to overwrite, before any work; the input never, whatever --force says."""
    for path in targets:
        if same_file(path, source):
            raise DestinationError(f"{path}: is also the input; give another name")
        if os.path.exists(path) and not force:
            raise DestinationError(f"{path}: exists already; give another name with -o, or --force to replace it")


def run_with_bar(label: str, steps: int, solve: Callable[[Callable[[Progress], None]], Any]) -> Any:
    """Call ``solve(callback)`` and show on stderr how far it is."""
    with Meter(label, steps, "step") as meter:

        def show(progress: Progress) -> None:
            meter.show(progress.step, stage=progress.stage, residual=f"{progress.loss:.1e}")

        try:
            return solve(show)
        except RuntimeError as error:  # torch's allocators have no common exception of their own
            if "memory" not in str(error):
                raise
            raise DoprestoreError(f"{label}: out of memory; use --device cpu, float32, or a part of the data") from error


def facts(result: RpcaResult | SenseResult, settings: MatrixSettings) -> dict[str, object]:
    """What the reports of both commands end with."""
    return {
        "rank": result.rank,
        "relative_residual": result.residual,
        "steps": result.steps,
        "seconds": result.seconds,
        "converged": result.converged,
        "clear": result.clear,
        "interrupted": result.interrupted,
        "device": result.device,
        "settings": vars(settings),
        "version": __version__,
    }


# Exit codes: the outputs are written, but are not what was asked for.
NOT_CONVERGED, NO_CLEAR_SPLIT = 3, 4


def exit_code(result: RpcaResult | SenseResult, interrupt: Interrupt) -> int:
    """What the command ends with, once its outputs are written."""
    if result.interrupted:
        return interrupt.exit_code
    if not result.converged:
        return NOT_CONVERGED
    return 0 if result.clear else NO_CLEAR_SPLIT


def state_of(report: dict[str, Any]) -> str:
    """The verdict in words."""
    state = "converged" if report["converged"] else "NOT converged"
    return f"{state} (interrupted)" if report["interrupted"] else state
