"""What ``rpca`` makes of a table: files and frames in, repaired ones and lists of outliers out. Imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from doprestore.io.arrays import Matrix, replaced, write_matrix, write_npz
from doprestore.io.files import write_file, write_text
from doprestore.io.frames import from_frame
from doprestore.io.tables import write_csv
from doprestore.matrix.api import RpcaResult, rpca
from doprestore.matrix.repair import outliers, repairs
from doprestore.report.html import report_html
from doprestore.report.matrix import matrix_png, matrix_report

if TYPE_CHECKING:
    import pandas


def repair(data: Any, **settings: Any) -> tuple[Any, RpcaResult]:
    """A table without its gross errors: the same except for wrong and missing entries, which become low-rank.

    data: a pandas frame, whose columns of text, dates and truth values and whose index are carried through, or a matrix
    (rows, columns). settings: as for :func:`doprestore.rpca`. Returns the repaired table, of the type of ``data``, and the
    split; where ``data`` is a frame, the columns of the split are its numeric ones.

    Raises as :func:`doprestore.rpca` does.
    """
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _repair_frame(data, settings)
    values = np.asarray(data)
    result = rpca(values, **settings)
    replacements, where = repairs(values, result, np.full(values.shape[1], values.dtype.kind in "biu"))
    return replaced(values, replacements, where), result


def _repair_frame(frame: pandas.DataFrame, settings: dict[str, Any]) -> tuple[pandas.DataFrame, RpcaResult]:
    table = from_frame(frame)
    result = rpca(table.values, **settings)
    return table.filled(*repairs(table.values, result, table.whole)), result


def row_name(matrix: Matrix, row: int) -> str:
    """The name of a row, or its number from 0."""
    index = None if matrix.table is None else matrix.table.index
    return str(row) if index is None else index[row]


def column_name(matrix: Matrix, column: int) -> str:
    """The name of a data column, or its number in the file, from 0."""
    if matrix.table is None:
        return str(column)
    return str(matrix.table.data[column]) if matrix.table.columns is None else matrix.table.columns[column]


def write_parts(targets: list[Path], result: RpcaResult, matrix: Matrix) -> None:
    """Both parts, to one .npz or to a file each."""
    if len(targets) == 1:
        write_npz(targets[0], {"low_rank": result.low_rank, "sparse": result.sparse})
    else:
        for path, values in zip(targets, (result.low_rank, result.sparse), strict=True):
            write_matrix(path, values, matrix)


def write_repaired(path: Path, result: RpcaResult, matrix: Matrix) -> None:
    """The data, with wrong and missing entries replaced."""
    replacements, where = repairs(matrix.values, result, matrix.whole)
    write_matrix(path, replacements, matrix, where)


def write_outliers(path: Path, result: RpcaResult, matrix: Matrix) -> None:
    """A table of the wrong entries, the surest first."""
    found = outliers(matrix.values, result)
    replacements, _ = repairs(matrix.values, result, matrix.whole)
    new = replacements[found.rows, found.columns]
    rows = zip(found.rows.tolist(), found.columns.tolist(), found.old.tolist(), new.tolist(),
               found.deviations.tolist(), found.sure.tolist(), strict=True)  # fmt: skip
    write_csv(
        path,
        ["row", "column", "row_name", "column_name", "old", "new", "deviation", "sure"],
        ([row, column, row_name(matrix, row), column_name(matrix, column), old, new, f"{deviation:.4g}", f"{sure:.6f}"]
         for row, column, old, new, deviation, sure in rows),
    )  # fmt: skip


def write_report(path: Path, facts: dict[str, Any], result: RpcaResult, matrix: Matrix) -> None:
    """A page or a picture that shows the split."""
    replacements, where = repairs(matrix.values, result, matrix.whole)
    report = matrix_report(
        f"doprestore: {facts['input']}, rank {facts['rank']}, {facts['outlier_share']:.2%} outliers",
        result.low_rank,
        result.sparse,
        np.where(where, replacements, matrix.values),
        lambda row: row_name(matrix, row),
        lambda column: column_name(matrix, column),
        facts,
    )
    if path.suffix.lower() == ".png":
        write_file(path, matrix_png(report))
    else:
        write_text(path, report_html(report))
