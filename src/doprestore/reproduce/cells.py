"""Compute what a figure still lacks, keep it in a table, draw the figure, and judge the numbers."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from doprestore._version import __version__
from doprestore.errors import InputError
from doprestore.io.files import check_output, make_folder, write_file
from doprestore.io.images import read_picture, write_picture
from doprestore.io.tables import read_csv, write_csv
from doprestore.reproduce import load, sharing
from doprestore.reproduce.figure import Cell, Plan, Row, Runs, Verdict

# Characters in a line of the title of a plot.
_TITLE = 80
# The folder of the restored pictures, within that of the results.
PICTURES = "pictures"


@dataclass(frozen=True)
class CellProgress:
    """Cell ``cell`` of ``cells`` is at ``step`` of ``steps``; 0 of 0 for a cell without steps, or one done before."""

    cell: int
    cells: int
    step: int
    steps: int


def prepare(names: list[str], folder: Path) -> None:
    """Make the folder of the results, and see that these figures can be written there. Raises :class:`OutputError`."""
    make_folder(folder)
    for name in names:
        check_output(folder / f"{name}.csv")
        check_output(folder / f"{name}.png")


def run(name: str, plan: Plan, folder: Path, note: Callable[[CellProgress], None] = lambda progress: None) -> list[Row]:
    """The rows of figure ``name``; every cell is on disk, in ``folder``/``name``.csv, as soon as it is computed.

    Cells that are there already are not computed again: those of an earlier session, or of a figure that shares them.
    Rows of other settings or of another version stay in the table but do not count.
    Raises :class:`InputError` for a table that is not one of ours, and :class:`OutputError`.
    """
    figure = load(name)
    runs = figure.runs
    if plan.runs is not None:
        make_folder(plan.runs)
    table = _Table(folder / f"{name}.csv", runs)
    tables = [table] + [_Table(folder / f"{other}.csv", runs) for other in sharing(name) if other != name]
    cells = figure.cells(plan)
    result: list[Row] = []
    for number, cell in enumerate(cells):
        picture = folder / PICTURES / runs.picture_name(cell) if runs.picture_name else None
        complete = picture is None or picture.exists()
        rows = next((found for one in tables if complete and (found := one.rows(cell))), None)
        if rows is None:
            start = time.perf_counter()
            outcome = runs.compute(cell, plan, lambda *steps, number=number: note(CellProgress(number, len(cells), *steps)))
            seconds = time.perf_counter() - start
            rows = [{**cell, **{key: float(value) for key, value in numbers.items()}, "seconds": seconds}
                    for numbers in outcome.rows]  # fmt: skip
            if picture is not None and outcome.picture is not None:
                make_folder(picture.parent)
                write_picture(picture, outcome.picture.numpy())
        table.put(cell, rows)
        result += rows
        note(CellProgress(number + 1, len(cells), 0, 0))
    return result


def draw(name: str, rows: list[Row], plan: Plan, verdict: Verdict, folder: Path) -> None:
    """Write ``folder``/``name``.png. Raises :class:`UsageError` without matplotlib."""
    figure = load(name)

    def restored(cell: Cell) -> Tensor:
        assert figure.runs.picture_name is not None  # only figures with pictures ask
        return torch.from_numpy(read_picture(folder / PICTURES / figure.runs.picture_name(cell)).pixels)

    title = textwrap.fill(f"{name}, {plan.scale}: {figure.scope(plan)}", _TITLE)
    png = figure.plot(rows, plan, f"{title}\n{'agrees' if verdict.agrees else 'DISAGREES'} with the paper", restored)
    write_file(folder / f"{name}.png", png)


def line(name: str, plan: Plan, verdict: Verdict) -> str:
    """The verdict in one line."""
    figure = load(name)
    answer = "agrees with the paper" if verdict.agrees else f"DISAGREES with the paper ({figure.claim})"
    return f"{name} ({plan.scale}: {figure.scope(plan)}): {verdict.sentence}: {answer}"


class _Table:
    """The CSV of a figure: settings, version, numbers and seconds a row; a cell has one row or several."""

    def __init__(self, path: Path, runs: Runs):
        self.path = path
        self.runs = runs
        self.columns = ("version", *runs.settings, *runs.numbers, "seconds")
        self._cells: dict[tuple[str, ...], list[dict[str, str]]] = {}
        if not path.exists():
            return
        columns, lines = read_csv(path)
        if tuple(columns) != self.columns:
            raise InputError(f"{path}: is no table of this version of doprestore; move it away, or give another -o")
        for entry in lines:
            key = tuple(entry[name] for name in ("version", *runs.settings))
            self._cells.setdefault(key, []).append(entry)

    def rows(self, cell: Cell) -> list[Row]:
        """The rows of the cell; none when it has not been computed."""
        try:
            return [{**cell, **{name: float(entry[name]) for name in (*self.runs.numbers, "seconds")}}
                    for entry in self._cells.get(self._key(cell), [])]  # fmt: skip
        except ValueError as error:
            raise InputError(f"{self.path}: holds something that is no number ({error}); move it away") from error

    def put(self, cell: Cell, rows: list[Row]) -> None:
        """Have these as the rows of the cell, on disk."""
        lines = [{name: str(row.get(name, __version__)) for name in self.columns} for row in rows]
        if self._cells.get(self._key(cell)) == lines:
            return
        self._cells[self._key(cell)] = lines
        every = [[entry[name] for name in self.columns] for lines in self._cells.values() for entry in lines]
        write_csv(self.path, self.columns, every)

    def _key(self, cell: Cell) -> tuple[str, ...]:
        return (__version__, *(str(cell[name]) for name in self.runs.settings))
