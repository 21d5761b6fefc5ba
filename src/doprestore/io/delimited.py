"""Tables as text (.csv, .tsv): numbers with names, dates and other text beside them, and the same text with cells replaced.

The csv module of the standard library finds the fields, so a table reads the same whatever else is installed. What is
written back keeps every byte of the table except for the cells that are replaced.
"""

from __future__ import annotations

import csv
import io
import math
import re
from array import array as packed
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import IO

import numpy as np

from doprestore.errors import InputError
from doprestore.io.dialect import (
    SAMPLE,
    Dialect,
    Record,
    TableOptions,
    commented_header,
    has_thousands,
    is_header,
    is_number,
    number,
    recognise,
    records,
)


@dataclass(frozen=True)
class TextTable:
    """A table as it was read: values (rows, data columns) with NaN for missing entries, their names, and the text itself.

    data: the numbers of the data columns, from 0. whole: which of them hold whole numbers alone. header: its first row is
    names. notes: what was recognised that the user should know.
    """

    values: np.ndarray
    columns: tuple[str, ...] | None
    index: tuple[str, ...] | None
    data: tuple[int, ...]
    whole: np.ndarray
    header: bool
    notes: tuple[str, ...]
    dialect: Dialect
    text: str = field(repr=False)

    def write(
        self, file: IO[bytes], values: np.ndarray, where: np.ndarray | None = None, delimiter: str | None = None
    ) -> None:
        """Write the same text with ``values`` in its data cells, or only in those of ``where``; NaN becomes an empty field.

        With another ``delimiter`` every row is written again.
        """
        own = self.dialect.delimiter
        again = delimiter not in (None, own)
        file.write(self.dialect.bom)
        out = io.TextIOWrapper(file, encoding=self.dialect.encoding, newline="")
        row = -1 if self.header else 0
        for record in records(self.text, own):
            out.write(record.before)
            changed = bool(record.fields) and row >= 0 and (where is None or bool(where[row].any()))
            if not again and not changed:
                out.write(record.text)
            elif record.fields:
                cells, end = (record.fields, "\n") if again else _cells(record.text, own)
                if changed:
                    self._replace(cells, values[row], None if where is None else where[row], quote=not again)
                if again:
                    csv.writer(out, delimiter=delimiter or own, lineterminator=end).writerow(cells)
                else:
                    out.write(own.join(cells) + end)
            row += 1
        out.detach()  # flushes; the file stays open

    def _replace(self, cells: list[str], values: np.ndarray, where: np.ndarray | None, *, quote: bool) -> None:
        for place, (column, value) in enumerate(zip(self.data, values.tolist(), strict=True)):
            if where is None or where[place]:
                text = self._written(value, bool(self.whole[place]))
                cells[column] = f'"{text}"' if quote and self.dialect.delimiter in text else text

    def _written(self, value: float, whole: bool) -> str:
        if math.isnan(value):
            return ""
        text = str(int(value)) if whole and value == int(value) else repr(value)  # the repr of a float is exact
        return text.replace(".", self.dialect.decimal)


def read_text_table(data: bytes, name: str, native: str, told: TableOptions) -> TextTable:
    """Read a table; ``native`` is the delimiter that its name promises. Raises :class:`InputError` naming ``name``."""
    text, dialect = recognise(data, name, native, told)
    reader = _Reader(name, text, dialect, told)
    reader.read()
    return reader.table()


class _Reader:
    """Reads all fields as numbers, counting for each column how many are none; then decides which columns are data."""

    def __init__(self, name: str, text: str, dialect: Dialect, told: TableOptions):
        self.name, self.text, self.dialect, self.told = name, text, dialect, told
        self.missing: frozenset[str | float] = frozenset(told.missing) | {
            number(word, dialect.decimal) for word in told.missing if is_number(word, dialect.decimal)
        }
        self.values = packed("d")
        self.header: list[str] | None = None
        self.headed = False  # the header is the first row, not a comment
        self.rows = 0
        self.numbers: list[int] = []  # fields that are, by column
        self.words: list[int] = []
        self.first_word: dict[int, tuple[int, str]] = {}  # its line, and itself
        self.sample: list[list[str]] = []
        self.below: list[list[str]] = []  # of the same, all but the first, before it is known to be a header

    def read(self) -> None:
        plain = self.dialect.decimal == "." and not self.told.missing
        fast = 0
        rows = records(self.text, self.dialect.delimiter)
        first = list(islice(rows, SAMPLE))
        self.below = [record.fields for record in first[1:] if record.fields]
        for record in chain(first, rows):
            fields = record.fields
            if not fields or (self.rows == 0 and not self.headed and self._take_header(record)):
                continue
            if self.rows == 0:
                self._begin(len(fields), record.line)
            if len(fields) != len(self.numbers):
                raise self._ragged(record.line, len(fields), len(self.numbers))
            self.rows += 1
            if len(self.sample) < SAMPLE:
                self.sample.append(fields)
            if plain and "_" not in record.text:
                try:
                    self.values.extend([float(text) for text in fields])
                    fast += 1
                    continue
                except ValueError:
                    pass
            self._take(fields, record.line)
        if not self.rows:
            raise InputError(f"{self.name}: holds no numbers")
        self.numbers = [count + fast for count in self.numbers]

    def _take_header(self, record: Record) -> bool:
        """Whether this is a header; one in a comment before it is noted as well."""
        told = self.told.header
        if is_header(record.fields, self.dialect.decimal, self.below) if told is None else told:
            self.header, self.headed = record.fields, True
        elif told is None:
            self.header = commented_header(record, self.dialect)
        return self.headed

    def _begin(self, columns: int, line: int) -> None:
        if self.header is not None and len(self.header) == columns - 1:
            self.header = ["", *self.header]  # R has no name for the names of rows
        if self.header is not None and len(self.header) != columns:
            raise self._ragged(line, columns, len(self.header))
        self.numbers, self.words = [0] * columns, [0] * columns

    def _take(self, fields: list[str], line: int) -> None:
        for column, text in enumerate(fields):
            try:
                value = number(text, self.dialect.decimal, self.missing)
                self.numbers[column] += value == value  # not NaN, which is missing
            except ValueError:
                value = math.nan
                self.words[column] += 1
                self.first_word.setdefault(column, (line, text))
            self.values.append(value)

    def _ragged(self, line: int, fields: int, expected: int) -> InputError:
        count = "1 field" if fields == 1 else f"{fields} fields"
        remedy = "mend it, or put # before it if it is a comment"
        return InputError(f"{self.name}, line {line}: has {count} where {expected} are expected; {remedy}")

    def table(self) -> TextTable:
        columns = len(self.numbers)
        table = np.frombuffer(self.values, dtype=np.float64).reshape(self.rows, columns)
        index = self._index(table)
        as_is = {self._column("--as-is", told) for told in self.told.as_is}
        data = [column for column in range(columns) if column != index and column not in as_is and self._is_data(column)]
        if not data:
            line, text = self.first_word.get(columns - 1, (1, ""))
            seen = f", but words like {text[:20]!r} in line {line}" if text else ""
            remedy = "write them without units and marks between thousands"
            if re.search(r"\S {2,}\S", text):
                remedy = "separate the fields of a line by one mark, not by several spaces"
            raise InputError(f"{self.name}: holds no numbers{seen}; {remedy}")
        chosen = table if len(data) == columns else np.ascontiguousarray(table[:, data])
        others = [self._called(column) for column in range(columns) if column not in data and column != index]
        notes = [*self.dialect.notes]
        if self.headed and self.told.header is None and self.header and is_number(self.header[-1], self.dialect.decimal):
            notes.append("columns named by the numbers in the first row")
        if index is not None:
            notes.append(f"rows named by column {self._called(index)}")
        if others:
            notes.append(f"no data, carried through: {', '.join(others)}")
        return TextTable(
            values=chosen,
            columns=None if self.header is None else tuple(self.header[column] for column in data),
            index=None if index is None else self._texts(index),
            data=tuple(data),
            whole=np.array([self._is_whole(chosen[:, place], column) for place, column in enumerate(data)]),
            header=self.headed,
            notes=tuple(notes),
            dialect=self.dialect,
            text=self.text,
        )

    def _index(self, table: np.ndarray) -> int | None:
        """The column that names the rows: the one that is told; else the first, where the header has no name for it or it
        holds text or counts from 0 or 1."""
        told = self.told.index_col
        if told is not None:
            return None if told == "none" else self._column("--index-col", told)
        rows, columns = table.shape
        if columns == 1:
            return None
        if (self.header is not None and not self.header[0].strip()) or self.words[0] > self.numbers[0]:
            return 0
        counts = rows > 1 and all(re.fullmatch(r"\s*\d+\s*", row[0]) for row in self.sample)
        if counts and any(np.array_equal(table[:, 0], np.arange(first, rows + first)) for first in (0, 1)):
            return 0
        return None

    def _is_data(self, column: int) -> bool:
        """Whether a column holds numbers; one without any holds text, and where both occur somebody has to say."""
        if self.words[column] and self.numbers[column]:
            line, word = self.first_word[column]
            if has_thousands(word):
                raise InputError(f"{self.name}, line {line}: {word[:40]!r}: write numbers without marks between thousands")
            raise InputError(
                f"{self.name}, line {line}: {word[:40]!r} is not a number, but others in column {self._called(column)} are; "
                f"if it marks a missing entry, say --missing {word[:40]!r}; "
                f"if the column is no data, --as-is {self._called(column)!r}"
            )
        nameless = self.header is not None and not self.header[column].strip() and not self.numbers[column]
        return not self.words[column] and not nameless

    def _column(self, flag: str, told: str) -> int:
        """The number of a column by its name, or by its number."""
        named = [] if self.header is None else [text.strip() for text in self.header]
        if told in named:
            return named.index(told)
        columns = len(self.numbers)
        if told.isdecimal() and int(told) < columns:
            return int(told)
        known = ", ".join(named[:8]) + (", ..." if len(named) > 8 else "") if named else f"numbers from 0 to {columns - 1}"
        raise InputError(f"{self.name}: {flag} {told}: there is no such column; there are {known}")

    def _called(self, column: int) -> str:
        """A column in messages: its name, or its number from 0."""
        return (self.header[column].strip() if self.header is not None else "") or str(column)

    def _texts(self, column: int) -> tuple[str, ...]:
        rows = islice(records(self.text, self.dialect.delimiter), int(self.headed), None)
        return tuple(record.fields[column] for record in rows if record.fields)

    def _is_whole(self, values: np.ndarray, column: int) -> bool:
        """Whether a column holds whole numbers, written as such."""
        known = values[~np.isnan(values)]
        if len(known) == 0 or not np.array_equal(known, np.rint(known)):
            return False
        written = [row[column] for row in self.sample if is_number(row[column], self.dialect.decimal)]
        return not any(re.search(r"\d.*[.,eE]", text) for text in written)


def _cells(text: str, delimiter: str) -> tuple[list[str], str]:
    """The fields of one row as they are written, quotes and all, and the end of its line."""
    body = text.rstrip("\r\n")
    mark = re.escape(delimiter)
    pattern = re.compile(rf'"(?:[^"]|"")*"?[^{mark}]*|[^{mark}]*')
    cells, at = [], 0
    while at <= len(body):
        found = pattern.match(body, at)
        assert found is not None  # an empty field matches
        cells.append(found.group())
        at = found.end() + 1
    return cells, text[len(body) :]
