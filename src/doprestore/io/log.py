"""The log of a session: one row per reported step, readable while the session goes on."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from doprestore.errors import OutputError, UsageError
from doprestore.io.files import check_output

# What a line of a log holds.
COLUMNS = ("step", "loss", "psnr", "outlier_share", "seconds")


def check_log(path: Path) -> None:
    """Raise :class:`UsageError` unless the extension says which kind of log it is to be."""
    if path.suffix.lower() not in {".csv", ".jsonl"}:
        raise UsageError(f"--log {path}: must end in .csv or .jsonl")


def is_log(path: Path) -> bool:
    """Whether the file is one of these logs by its first line, or empty, as it is for a moment after its start."""
    try:
        with open(path, "rb") as file:
            first = file.readline(1000).rstrip()
    except OSError:
        return False
    return first in (b"", ",".join(COLUMNS).encode()) or first.startswith(f'{{"{COLUMNS[0]}": '.encode())


class LogWriter:
    """Write rows to ``path``, as CSV or as JSON lines by its extension (.csv, .jsonl).

    Constructing it checks the name and the folder; entering it starts the file (an old one is replaced
    only then), and every row is on disk when :meth:`write` returns. Keys outside ``columns`` are
    an error; missing or None values are an empty field or null, as is in JSON what is not finite. Raises
    :class:`UsageError` for another extension and :class:`OutputError` when the file cannot be written.
    """

    def __init__(self, path: Path | str, columns: tuple[str, ...] = COLUMNS) -> None:
        self.path = Path(path)
        self.columns = columns
        check_log(self.path)
        check_output(self.path)

    def __enter__(self) -> LogWriter:
        try:
            self._file = open(self.path, "w", encoding="utf-8", newline="")
        except OSError as error:
            raise self._failed(error) from error
        if self._is_csv:
            self._append(self.columns)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, row: Mapping[str, float | int | None]) -> None:
        """Append one row and flush it."""
        unknown = set(row) - set(self.columns)
        if unknown:
            raise ValueError(f"unknown columns {sorted(unknown)}")
        values = {name: row.get(name) for name in self.columns}
        if self._is_csv:
            self._append(values.values())
        else:  # JSON knows no infinity, the PSNR of equal pictures
            known = {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
            self._append(known)

    @property
    def _is_csv(self) -> bool:
        return self.path.suffix.lower() == ".csv"

    def _append(self, row: Iterable[object]) -> None:
        try:
            if self._is_csv:
                csv.writer(self._file).writerow(row)
            else:
                self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"--log {self.path}: cannot be written ({error.strerror or error}); choose another place")
