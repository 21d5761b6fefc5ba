"""Matrices in files: .npy, .npz, .csv and .tsv. Nothing is ever unpickled."""

from __future__ import annotations

import csv
import math
import os
import zipfile
from array import array as packed
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import IO

import numpy as np

from doprestore.errors import InputError, OutputError, UsageError
from doprestore.io.files import replacing
from doprestore.machine import free_memory

DELIMITERS = {".csv": ",", ".tsv": "\t"}
NAMES = {",": "commas", "\t": "tabs"}
EXTENSIONS = (".npy", ".npz", *DELIMITERS)
MEMORY_FACTOR = 6  # the peak of a run, in units of the matrix as it is computed with


@dataclass(frozen=True)
class Matrix:
    """values: (rows, columns) usually, as stored (.npy is memory-mapped copy-on-write). header: of a .csv or .tsv.
    index: its first column, where that names the rows rather than holding data; the header names it, too."""

    values: np.ndarray
    header: tuple[str, ...] | None = None
    index: tuple[str, ...] | None = None


def read_matrix(path: Path, key: str | None = None) -> Matrix:
    """Read the array of a file; ``key`` names it in an .npz that holds several.

    Raises :class:`InputError` naming the file for whatever is no readable array of numbers, and when computing with
    it would need more memory than there is; :class:`UsageError` for ``key`` on another kind of file.
    """
    suffix = path.suffix.lower()
    if suffix not in EXTENSIONS:
        raise InputError(f"{path}: unknown kind of file; give {', '.join(EXTENSIONS)}")
    if key is not None and suffix != ".npz":
        raise UsageError(f"--key {key}: only an .npz file has keys; leave it out")
    with _reading(path):
        if suffix == ".npy":
            with open(path, "rb") as file:
                _check_header(path, file)
            return Matrix(np.load(path, mmap_mode="c", allow_pickle=False))
        if suffix == ".npz":
            return Matrix(_read_npz(path, key))
        return _read_table(path, DELIMITERS[suffix])


def read_problem(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a sensing problem: A and y, and X when it is there. Raises :class:`InputError`."""
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: must be an .npz file with the arrays A (m, rows, columns) and y (m,)")
    with _reading(path):
        with zipfile.ZipFile(path) as file:
            names = {name.removesuffix(".npy") for name in file.namelist()}
        missing = {"A", "y"} - names
        if missing:
            raise InputError(f"{path}: has no array {sorted(missing)[0]}; it needs A (m, rows, columns) and y (m,)")
        return {name: _read_npz(path, name) for name in ("A", "y", "X") if name in names}


def write_matrix(
    path: Path, values: np.ndarray, header: tuple[str, ...] | None = None, index: tuple[str, ...] | None = None
) -> None:
    """Write one array by the extension of ``path`` (.npy, .csv, .tsv), whole or not at all; names to a table only."""
    with replacing(path) as temporary:
        if path.suffix.lower() == ".npy":
            with open(temporary, "wb") as file:
                np.save(file, values, allow_pickle=False)
            return
        delimiter = DELIMITERS[path.suffix.lower()]
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            if header is not None:
                writer.writerow(header)
            names = repeat([]) if index is None else ([name] for name in index)
            # The repr of a float is exact.
            writer.writerows([*name, *row.tolist()] for name, row in zip(names, values, strict=False))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write several named arrays into one .npz, whole or not at all."""
    if path.suffix.lower() != ".npz":
        raise OutputError(f"{path}: must end in .npz")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is named like its other parameter


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or hostile file provokes into one line that names it."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the name") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (MemoryError, OverflowError) as error:
        raise InputError(f"{path}: too large for memory; give a part of it") from error
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: is damaged or not what its name says ({reason[:200]})") from error


def _read_npz(path: Path, key: str | None) -> np.ndarray:
    with zipfile.ZipFile(path) as file:
        members = {name.removesuffix(".npy"): name for name in file.namelist() if name.endswith(".npy")}
        if not members:
            raise InputError(f"{path}: holds no arrays")
        if key is None:
            if len(members) != 1:
                raise InputError(f"{path}: holds {_names(members)}; choose one with --key")
            key = next(iter(members))
        if key not in members:
            raise InputError(f"{path}: has no array {key}; it holds {_names(members)}")
        with file.open(members[key]) as member:
            _check_header(path, member)
        with file.open(members[key]) as member:
            return np.lib.format.read_array(member, allow_pickle=False)


def _names(members: dict[str, str]) -> str:
    shown = ", ".join(repr(name) for name in list(members)[:8])
    return shown + (", ..." if len(members) > 8 else "")


def _check_header(path: Path, file: IO[bytes]) -> None:
    """Refuse, by the header alone, pickled objects and what is too large."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise InputError(f"{path}: holds pickled Python objects, which are never loaded; save it as a float array")
    _check_memory(path, shape, dtype)


def _check_memory(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    width = 4 if dtype.kind == "f" and dtype.itemsize <= 4 else 8
    needed = math.prod(shape) * width * MEMORY_FACTOR
    free = free_memory()
    if free is not None and needed > free:
        size = " x ".join(str(side) for side in shape)
        raise InputError(f"{path}: a matrix of {size} needs about {needed / 2**30:.1f} GB of memory and "
                         f"{free / 2**30:.1f} GB are free; give a part of it, or float32")  # fmt: skip


def _read_table(path: Path, delimiter: str) -> Matrix:
    """A table of numbers with an optional first row of names; an empty field, NA and nan are missing entries.

    The first column names the rows when the header has no name for it, or when it holds text or counts from 0 or 1.
    """
    values = packed("d")
    header: tuple[str, ...] | None = None
    names: list[str] = []
    columns = 0
    size = os.path.getsize(path)
    free = free_memory()
    if free is not None and size * 8 > free * 2:
        raise InputError(f"{path}: {size / 2**30:.1f} GB of text is too large for memory; give a part of it")
    with open(path, encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter=delimiter), 1):
            if not row:
                continue
            if columns == 0 and header is None and _is_header(row):
                header = tuple(row)
                continue
            named = len(row) > 1 and not _is_number(row[0])
            try:
                numbers = [math.nan, *map(_number, row[1:])] if named else [_number(field) for field in row]
            except ValueError:
                text = next(field for field in row[named:] if not _is_number(field))
                remedy = "remove names and other text"
                if ";" in text or ("," in text and delimiter != ","):
                    remedy = f"a {path.suffix} file has its fields separated by {NAMES[delimiter]}"
                raise InputError(f"{path}, line {number}: {text[:40]!r} is not a number; {remedy}") from None
            columns = columns or (len(numbers) if header is None else len(header))
            if len(numbers) != columns:
                raise InputError(f"{path}, line {number}: has {len(numbers)} fields where {columns} are expected")
            values.extend(numbers)
            names.append(row[0])
    if not values:
        raise InputError(f"{path}: holds no numbers")
    table = np.frombuffer(values, dtype=np.float64).reshape(-1, columns)
    _check_memory(path, table.shape, table.dtype)
    if columns > 1 and _are_names(names, header):
        return Matrix(np.ascontiguousarray(table[:, 1:]), header, tuple(names))
    return Matrix(table, header)


def _is_header(row: list[str]) -> bool:
    """Whether a first row names the columns: no field is a number, or the first is empty and the others count them."""
    named = [field for field in row if field.strip()]
    if not named or not row:
        return False
    counted = not row[0].strip() and [field.strip() for field in row[1:]] == [str(count) for count in range(len(row) - 1)]
    return counted or not any(_is_number(field) for field in named)


def _are_names(names: list[str], header: tuple[str, ...] | None) -> bool:
    """Whether a first column names the rows."""
    if header is not None and not header[0].strip():
        return True
    if any(not _is_number(name) for name in names):
        return True
    texts = [name.strip() for name in names]
    return len(texts) > 1 and any(texts == [str(count + first) for count in range(len(texts))] for first in (0, 1))


def _number(field: str) -> float:
    text = field.strip()
    return math.nan if text.lower() in ("", "na", "nan", "null") else float(text)


def _is_number(field: str) -> bool:
    try:
        _number(field)
    except ValueError:
        return False
    return True
