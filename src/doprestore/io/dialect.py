"""What a table of text is written in: encoding, delimiter, decimal mark, header. Recognised where nobody says it."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from doprestore.errors import InputError

# Between fields; where several divide a file equally well, the one that its name promises, then the first of these.
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", " ": "spaces"}
# Texts that mark a missing entry, in upper or lower case.
MISSING = frozenset(["", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"])
# A line that begins so is a comment, unless that is Excel's mark of a missing entry; and so is a first line of Excel's that
# names the delimiter.
COMMENT = "#"
_NO_COMMENT = re.compile(r"#n/a *[\t,;|\r\n]", re.IGNORECASE)
_EXCEL = re.compile(r"sep=.[\r\n]*", re.IGNORECASE)
# Numbers with marks between thousands. What looks like one may also have three decimals.
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}")
_MANY_GROUPS = re.compile(r"[+-]?\d{1,3}(([.,'’ \u00a0\u202f])\d{3})(\2\d{3})*([.,]\d+)?")
# Numbers that a first row holds at least, rising or falling, to be taken for names, and the share of the rows below that may
# do the same: of so many numbers chance puts one row in 360 in order.
ORDERED, ALIKE = 6, 0.1
# Rows that delimiter and decimal mark are recognised by.
SAMPLE = 100
# First bytes of a text that name its encoding.
BOMS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


@dataclass(frozen=True)
class TableOptions:
    """What the user says about a table; None: it is recognised.

    index_col: name of the column that names the rows, or its number from 0, or "none". as_is: columns, named the same way,
    that are carried through. missing: words that mark a missing entry, beside :data:`MISSING`.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    index_col: str | None = None
    as_is: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dialect:
    """How a table is written. bom: the byte-order mark that it begins with, if any. notes: what was recognised that the user
    should know."""

    bom: bytes
    encoding: str
    delimiter: str
    decimal: str
    notes: tuple[str, ...]


class Record(NamedTuple):
    """One row of a table: its first line (from 1), the comments and blank lines before it, its own text, and its fields
    (none where comments follow the last row)."""

    line: int
    before: str
    text: str
    fields: list[str]


def records(text: str, delimiter: str) -> Iterator[Record]:
    """The rows of a table."""
    skipped: list[str] = []
    taken: list[str] = []
    line = 0

    def feed() -> Iterator[str]:
        nonlocal line
        for piece in io.StringIO(text, newline=""):
            line += 1
            if not taken and (not piece.strip(" \r\n") or _is_comment(piece) or (line == 1 and _EXCEL.fullmatch(piece))):
                skipped.append(piece)
            else:
                taken.append(piece)
                yield piece

    for fields in csv.reader(feed(), delimiter=delimiter):
        yield Record(line - len(taken) + 1, "".join(skipped), "".join(taken), fields)
        skipped.clear()
        taken.clear()
    if skipped:
        yield Record(line, "".join(skipped), "", [])


def _is_comment(line: str) -> bool:
    return line.startswith(COMMENT) and not _NO_COMMENT.match(line)


def recognise(data: bytes, name: str, native: str, told: TableOptions) -> tuple[str, Dialect]:
    """The text of a table and how it is written; ``native`` is the delimiter that its name promises.

    Raises :class:`InputError`, naming the file ``name``, for what is no text.
    """
    bom, encoding, text, notes = _decode(data, name, told.encoding)
    lines = [record.text for record in islice(records(text, native), SAMPLE) if record.fields]
    decimals = [told.decimal] if told.decimal else [".", ","]
    delimiter = told.delimiter or _delimiter(lines, native, decimals)
    rows = _split(lines, delimiter)
    decimal = max(decimals, key=lambda mark: share_of_numbers(rows, mark))
    if not told.decimal:
        _refuse_thousands(rows[1:], decimal, name)  # the first may be names
    if delimiter != native and not told.delimiter:
        notes.append(f"fields separated by {DELIMITERS[delimiter]}")
    if decimal != "." and not told.decimal:
        notes.append("decimal comma")
    return text, Dialect(bom, encoding, delimiter, decimal, tuple(notes))


def _refuse_thousands(rows: list[list[str]], decimal: str, name: str) -> None:
    """Raise :class:`InputError` where what looks like a decimal mark stands between thousands: in some column three digits
    follow it everywhere, and the numbers without it are whole and below 1000, as 980 beside 1,920. Codes for nothing, such
    as -999, -1 or 0, do not count."""
    for column in range(max(map(len, rows), default=0)):
        fields = [row[column].strip() for row in rows if column < len(row)]
        numbers = [field for field in fields if is_number(field, decimal) and field.lower() not in MISSING]
        marked = [field for field in numbers if decimal in field]
        others = [field for field in numbers if decimal not in field]
        whole = all(re.fullmatch(r"[+-]?\d{1,3}", field) for field in others)
        if len(marked) < 2 or not whole or not all(_GROUPED.fullmatch(field) for field in marked):
            continue
        sign = "-?" if any(field.startswith("-") for field in marked) else ""
        small = [field for field in others if re.fullmatch(sign + r"(?!999)[1-9]\d\d", field)]
        if small:
            raise InputError(
                f"{name}: {marked[0]!r} and {small[0]!r} in one column look like numbers with marks between thousands; "
                f"write them without, or say --decimal {decimal} if that is what it is"
            )


def number(field: str, decimal: str, missing: Collection[str | float] = ()) -> float:
    """The number that a field holds, NaN where it marks a missing entry: it is one of the words in ``missing`` or of the
    numbers there. Raises :class:`ValueError` for other text."""
    text = field.strip()
    if text.lower() in MISSING or text in missing:
        return math.nan
    if decimal != ".":
        if "." in text:
            raise ValueError(text)
        text = text.replace(decimal, ".")
    if "_" in text:  # Python's own way to group digits
        raise ValueError(text)
    value = float(text)
    return math.nan if value in missing else value


def has_thousands(field: str) -> bool:
    """Whether a field is a number with marks between thousands."""
    return _MANY_GROUPS.fullmatch(field.strip()) is not None


def is_number(field: str, decimal: str) -> bool:
    try:
        number(field, decimal)
    except ValueError:
        return False
    return True


def share_of_numbers(rows: list[list[str]], decimal: str) -> float:
    """The share of fields that are numbers or mark missing entries."""
    fields = [field for row in rows for field in row]
    return sum(is_number(field, decimal) for field in fields) / max(1, len(fields))


def is_header(row: list[str], decimal: str, below: list[list[str]] | None = None) -> bool:
    """Whether a first row names the columns: no field is a number; or the first is none and the others are whole numbers in
    equal steps: years, or the numbers that pandas gives to columns without names; or they rise or fall throughout, as
    wavelengths do, which next to no row ``below`` does."""
    named = [field for field in row if field.strip()]
    if not named:
        return False
    if not any(is_number(field, decimal) or has_thousands(field) for field in named):
        return True
    alike = sum(_is_ordered(other, decimal) for other in below or [])
    if below and _is_ordered(row, decimal) and alike <= ALIKE * len(below):
        return True
    counts = [field.strip() for field in row[1:]]
    if is_number(row[0].strip() or "x", decimal) or not all(re.fullmatch(r"-?\d{1,9}", count) for count in counts):
        return False
    steps = np.diff([int(count) for count in counts])
    return len(steps) == 0 or bool((steps == steps[0]).all() and steps[0] != 0)


def _is_ordered(row: list[str], decimal: str) -> bool:
    """Whether all but a first name are numbers that rise or fall throughout."""
    values = [number(field, decimal) if is_number(field, decimal) else math.nan for field in row]
    steps = np.diff(values if math.isfinite(values[0]) else values[1:])
    return len(steps) >= ORDERED - 1 and bool((steps > 0).all() or (steps < 0).all())


def commented_header(record: Record, dialect: Dialect) -> list[str] | None:
    """Names in the comment right before the first row, where they are as many as the row has fields."""
    lines = record.before.splitlines()
    if not lines or not lines[-1].startswith(COMMENT):
        return None
    names = next(csv.reader([lines[-1].lstrip(COMMENT + " ")], delimiter=dialect.delimiter), [])
    return names if len(names) == len(record.fields) > 1 and is_header(names, dialect.decimal) else None


def _decode(data: bytes, name: str, told: str | None) -> tuple[bytes, str, str, list[str]]:
    """The byte-order mark, the encoding, the text, and notes."""
    bom = next((mark for mark in BOMS if data.startswith(mark)), b"")
    try:
        encoding = codecs.lookup(told or BOMS.get(bom, "utf-8")).name
        if encoding in ("utf-8-sig", "utf-16"):
            family = encoding[:6] if encoding == "utf-16" else "utf-8"
            encoding = BOMS[bom] if BOMS.get(bom, "").startswith(family) else {"utf-16": "utf-16-le"}.get(family, family)
        if BOMS.get(bom) != encoding:
            bom = b""
        body = data[len(bom) :]
        text, notes = body.decode(encoding), []
    except LookupError as error:
        raise InputError(f"{name}: --encoding {told}: is unknown; try utf-8, utf-16 or latin-1") from error
    except UnicodeDecodeError as error:
        if told is not None or bom or b"\0" in data:
            remedy = "name another with --encoding" if told or bom else "is it a table at all?"
            raise InputError(f"{name}: is damaged or no {encoding} text (at byte {error.start}); {remedy}") from error
        # Every byte is a character of latin-1, so what is written back is the same, whatever it meant.
        encoding, text, notes = "latin-1", data.decode("latin-1"), ["no UTF-8, read as latin-1 (--encoding names another)"]
    if "\0" in text:
        raise InputError(f"{name}: is damaged or no text; if it is a table in UTF-16, say --encoding utf-16")
    return bom, encoding, text, notes


def _delimiter(lines: list[str], native: str, decimals: list[str]) -> str:
    """The one that gives every row equally many fields, and as many of them numbers as can be."""
    best, found = 0.0, native
    for mark in dict.fromkeys([native, *DELIMITERS]):
        first, *others = _split(lines, mark) or [[]]
        widths = {len(row) for row in others or [first]}
        # R's first row lacks a name for the first column.
        if len(widths) != 1 or min(widths) < 2 or len(first) not in (min(widths), min(widths) - 1):
            continue
        share = max(share_of_numbers(others or [first], decimal) for decimal in decimals)
        if share > best:
            best, found = share, mark
    return found


def _split(lines: list[str], delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return []
