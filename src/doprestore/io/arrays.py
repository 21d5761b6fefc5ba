"""Matrices in files: .npy, .npz, tables of text and .parquet. Nothing is ever unpickled."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from doprestore.errors import InputError, OutputError, UsageError
from doprestore.io.delimited import TextTable, read_text_table
from doprestore.io.dialect import TableOptions
from doprestore.io.files import replacing
from doprestore.io.frames import FrameTable, as_type, read_parquet
from doprestore.machine import free_memory

# Extensions of tables of text, and the delimiter that each promises.
TEXT = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
# Extensions of everything that a matrix is read from.
EXTENSIONS = (".npy", ".npz", *TEXT, ".parquet")
# First bytes of what comes without a name, and what it is; else it is text.
STARTS = {b"\x93NUMPY": ".npy", b"PK\3\4": ".npz", b"PAR1": ".parquet"}
# The peak of the memory, in units of the matrix as it is computed with: 3.1 to 6.6 measured, for 2000x2000 to 20 000x200
# (tests/benchmarks/rpca_peers.py --memory).
MEMORY_FACTOR = 6


@dataclass(frozen=True)
class Matrix:
    """values: (rows, columns) usually, as stored (.npy is memory-mapped copy-on-write). kind: the ending of its file's name.
    table: where it is one, its names and all that is not data."""

    values: np.ndarray
    kind: str = ".npy"
    table: TextTable | FrameTable | None = None

    @property
    def whole(self) -> np.ndarray:
        """Which columns hold whole numbers alone."""
        if self.table is not None:
            return self.table.whole
        return np.full(self.values.shape[1], self.values.dtype.kind in "biu")


def read_matrix(path: Path, key: str | None = None, told: TableOptions | None = None) -> Matrix:
    """Read the array of a file, "-" being standard input; ``key`` names it in an .npz that holds several.

    Raises :class:`InputError` naming the file for whatever is no readable array of numbers, and when computing with
    it would need more memory than there is; :class:`UsageError` for ``key`` or ``told`` on another kind of file.
    """
    told = told or TableOptions()
    if str(path) == "-":
        path, data = Path("standard input"), sys.stdin.buffer.read()
        kind = next((kind for start, kind in STARTS.items() if data.startswith(start)), ".csv")
        file: IO[bytes] = io.BytesIO(data)
        del data
        _check_options(kind, key, told)
    else:
        kind = path.suffix.lower()
        if kind not in EXTENSIONS:
            raise InputError(f"{path}: unknown kind of file; give {', '.join(EXTENSIONS)}")
        _check_options(kind, key, told)
        with _reading(path):
            file = open(path, "rb")  # noqa: SIM115  # closed below
    with _reading(path), file:
        if kind == ".npy":
            _check_header(path, file)
            if isinstance(file, io.BytesIO):
                file.seek(0)
                return Matrix(np.load(file, allow_pickle=False))
            return Matrix(np.load(path, mmap_mode="c", allow_pickle=False))
        if kind == ".npz":
            return Matrix(_read_npz(path, file, key))
        table: TextTable | FrameTable
        if kind == ".parquet":
            table = read_parquet(
                file.read(), str(path), told, lambda shape: _check_memory(path, shape, np.dtype(np.float64))
            )
        else:
            _check_text(path, file)
            table = read_text_table(file.read(), str(path), TEXT[kind], told)
        _check_memory(path, table.values.shape, table.values.dtype)
        return Matrix(table.values, kind, table)


def _check_options(kind: str, key: str | None, told: TableOptions) -> None:
    if key is not None and kind != ".npz":
        raise UsageError(f"--key {key}: only an .npz file has keys; leave it out")
    of_text = {"--delimiter": told.delimiter, "--decimal": told.decimal, "--encoding": told.encoding,
               "--header": told.header, "--missing": told.missing}  # fmt: skip
    of_tables = {"--index-col": told.index_col, "--as-is": told.as_is}
    for flag, value in (of_text | of_tables).items():
        if value in (None, ()) or kind in TEXT or (kind == ".parquet" and flag in of_tables):
            continue
        raise UsageError(f"{flag}: {kind} files have no such thing; leave it out")


def _check_text(path: Path, file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    free = free_memory()
    if free is not None and size * 8 > free * 2:
        raise InputError(f"{path}: {size / 2**30:.1f} GB of text is too large for memory; give a part of it")


def read_problem(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a sensing problem: A and y, and X when it is there. Raises :class:`InputError`."""
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: must be an .npz file with the arrays A (m, rows, columns) and y (m,)")
    with _reading(path):
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
        missing = {"A", "y"} - names
        if missing:
            raise InputError(f"{path}: has no array {sorted(missing)[0]}; it needs A (m, rows, columns) and y (m,)")
        with open(path, "rb") as file:
            return {name: _read_npz(path, file, name) for name in ("A", "y", "X") if name in names}


def write_matrix(path: Path, values: np.ndarray, like: Matrix, where: np.ndarray | None = None) -> None:
    """Write an array in the place of that of ``like``, whole or not at all; "-" is standard output.

    The kind of file is that of the name of ``path``, and on standard output that of ``like``. Tables get all that the one of
    ``like`` has beside its data. With ``where`` only those entries of ``like`` are replaced.
    """
    if str(path) == "-":
        buffer = io.BytesIO()
        _write(buffer, like.kind, values, like, where)
        sys.stdout.buffer.write(buffer.getvalue())
        return
    with replacing(path) as temporary, open(temporary, "wb") as file:
        _write(file, path.suffix.lower(), values, like, where)


def replaced(values: np.ndarray, by: np.ndarray, where: np.ndarray) -> np.ndarray:
    """A copy of an array, of its type, with the entries of ``where`` replaced; large whole numbers keep all their digits."""
    copy = np.array(values)
    copy[where] = as_type(by[where], values.dtype)
    return copy


def check_kind(flag: str, path: Path, source: Path) -> None:
    """Raise :class:`UsageError` when ``path`` is of no kind that the data of ``source`` can be written to."""
    kinds = [".npy", ".csv", ".tsv", *({source.suffix.lower()} & {".txt", ".parquet"})]
    if str(path) != "-" and path.suffix.lower() not in kinds:
        raise UsageError(f"{flag} {path}: must end in {', '.join(kinds[:-1])} or {kinds[-1]}")


def _write(file: IO[bytes], kind: str, values: np.ndarray, like: Matrix, where: np.ndarray | None) -> None:
    table = like.table
    if isinstance(table, TextTable) and kind in TEXT:
        table.write(file, values, where, None if kind == like.kind else TEXT[kind])
        return
    if isinstance(table, FrameTable) and kind != ".npy":
        table.write(file, kind, values, where)
        return
    if where is not None:
        values = replaced(like.values, values, where)
    if kind == ".npy":
        np.save(file, values, allow_pickle=False)
        return
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    # The repr of a float is exact.
    csv.writer(text, delimiter=TEXT[kind], lineterminator="\n").writerows(row.tolist() for row in values)
    text.detach()


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
        if error.strerror is None:  # pyarrow says so of damaged files
            raise InputError(f"{path}: is damaged or not what its name says ({_line(error)})") from error
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (MemoryError, OverflowError) as error:
        raise InputError(f"{path}: too large for memory; give a part of it") from error
    except Exception as error:
        raise InputError(f"{path}: is damaged or not what its name says ({_line(error)})") from error


def _line(error: Exception) -> str:
    """What an error says, in one line."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _read_npz(path: Path, source: IO[bytes], key: str | None) -> np.ndarray:
    with zipfile.ZipFile(source) as file:
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
