"""Tables as pandas frames, in memory or in .parquet files. Needs the optional extra [tables]: pandas and pyarrow."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from doprestore.errors import InputError
from doprestore.io.dialect import TableOptions

if TYPE_CHECKING:
    import pandas

# The remedy where the packages for such files are absent.
INSTALL = "install it with: pip install 'doprestore[tables]'"


@dataclass(frozen=True)
class FrameTable:
    """A frame as numbers: as :class:`doprestore.io.delimited.TextTable`, with the frame instead of the text."""

    values: np.ndarray
    columns: tuple[str, ...]
    index: tuple[str, ...] | None
    data: tuple[int, ...]
    whole: np.ndarray
    notes: tuple[str, ...]
    frame: pandas.DataFrame = field(repr=False)

    def filled(self, values: np.ndarray, where: np.ndarray | None = None) -> pandas.DataFrame:
        """The frame with ``values`` in its data cells, or only in those of ``where``, in the types of its columns there."""
        import pandas

        result = self.frame.copy()
        for place, position in enumerate(self.data):
            if where is None:
                column = pandas.Series(values[:, place], index=result.index)
            else:
                column = result.iloc[:, position].copy()
                rows = np.flatnonzero(where[:, place])
                column.iloc[rows] = as_type(values[rows, place], _numpy_type(column))
            result.isetitem(position, column)
        return result

    def write(self, file: IO[bytes], suffix: str, values: np.ndarray, where: np.ndarray | None = None) -> None:
        """Write :meth:`filled` as .parquet, .csv or .tsv."""
        frame = self.filled(values, where)
        if suffix == ".parquet":
            frame.to_parquet(file)
        else:
            text = frame.to_csv(sep="\t" if suffix == ".tsv" else ",", index=self.index is not None, lineterminator="\n")
            file.write(text.encode())


def from_frame(frame: pandas.DataFrame, name: str = "the frame", told: TableOptions | None = None) -> FrameTable:
    """The numbers in a frame; its other columns (text, dates, truth values) are carried through.

    A first column that counts from 0 or 1 names the rows, unless the frame has an index of its own. Raises
    :class:`InputError`.
    """
    import pandas

    told = told or TableOptions()
    names = [str(label) for label in frame.columns]
    as_is = {_position("--as-is", column, names, name) for column in told.as_is}
    plain = isinstance(frame.index, pandas.RangeIndex)
    index = None
    if told.index_col not in (None, "none"):
        index = _position("--index-col", str(told.index_col), names, name)
    elif told.index_col is None and plain and len(names) > 1 and _counts(frame.iloc[:, 0]):
        index = 0
    data = [at for at in range(len(names)) if at != index and at not in as_is and _is_numeric(frame.dtypes.iloc[at])]
    if not data or not len(frame):
        raise InputError(f"{name}: holds no numbers")
    types = [_numpy_type(frame.iloc[:, at]) for at in data]
    dtype = np.result_type(*types) if all(one.kind == "f" for one in types) else np.dtype(np.float64)
    labels = frame.iloc[:, index] if index is not None else None if plain else frame.index
    others = [names[at] for at in range(len(names)) if at not in data and at != index]
    notes = [] if index is None else [f"rows named by column {names[index]}"]
    if others:
        notes.append(f"no data, carried through: {', '.join(others)}")
    return FrameTable(
        values=frame.iloc[:, data].to_numpy(dtype=dtype, na_value=np.nan),
        columns=tuple(names[at] for at in data),
        index=None if labels is None else tuple(str(label) for label in labels),
        data=tuple(data),
        whole=np.array([one.kind in "iu" for one in types]),
        notes=tuple(notes),
        frame=frame,
    )


def as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers as ones of that type: whole and within its range, where it is one of integers."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        most = float(limits.max)  # of 64 bits one too many, for want of digits
        values = np.rint(values).clip(limits.min, most if int(most) <= limits.max else np.nextafter(most, 0))
    typed: np.ndarray = values.astype(dtype)
    return typed


def read_parquet(data: bytes, name: str, told: TableOptions, check_size: Any) -> FrameTable:
    """Read a .parquet file; ``check_size`` gets (rows, columns) before it is unpacked. Raises :class:`InputError`."""
    try:
        import pandas
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"{name}: reading .parquet needs pandas and pyarrow; {INSTALL}") from error
    file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    check_size((file.metadata.num_rows, file.metadata.num_columns))
    return from_frame(pandas.read_parquet(io.BytesIO(data)), name, told)


def _position(flag: str, told: str, names: list[str], name: str) -> int:
    if told in names:
        return names.index(told)
    if told.isdecimal() and int(told) < len(names):
        return int(told)
    known = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise InputError(f"{name}: {flag} {told}: there is no such column; there are {known}")


def _is_numeric(dtype: Any) -> bool:
    from pandas.api import types

    return types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype) and not types.is_complex_dtype(dtype)


def _numpy_type(column: pandas.Series) -> np.dtype:
    """The NumPy type of a numeric column, nullable and Arrow ones too."""
    found: np.dtype = np.dtype(getattr(column.dtype, "numpy_dtype", column.dtype))
    return found


def _counts(column: pandas.Series) -> bool:
    if not _is_numeric(column.dtype) or _numpy_type(column).kind not in "iu" or column.isna().any() or len(column) < 2:
        return False
    return any(np.array_equal(column.to_numpy(), np.arange(first, len(column) + first)) for first in (0, 1))
