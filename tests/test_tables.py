"""Tables as people have them: what is recognised, what is carried through, and what is said of that."""

import csv
import io

import numpy as np
import pytest

from doprestore.errors import InputError
from doprestore.io.delimited import read_text_table
from doprestore.io.dialect import TableOptions

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _read(text, native=",", **told):
    data = text if isinstance(text, bytes) else text.encode()
    return read_text_table(data, "t.csv", native, TableOptions(**told))


def _rewritten(table, values=None, where=None, delimiter=None):
    file = io.BytesIO()
    table.write(file, table.values if values is None else values, where, delimiter)
    return file.getvalue()


def _nothing(table):
    return np.zeros(table.values.shape, bool)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("a;b\n1,5;2\n3;4,25\n", [[1.5, 2], [3, 4.25]]),
        ("a\tb\n1\t2\n3\t4\n", [[1, 2], [3, 4]]),
        ("1|2\n3|4\n", [[1, 2], [3, 4]]),
        ("1 2\n3 4\n", [[1, 2], [3, 4]]),
        ("1,5\n4,5\n", [[1, 5], [4, 5]]),
        ("x\ty\n1,5\t2,5\n1e3\tNA\n", [[1.5, 2.5], [1000, np.nan]]),
        ("# made by hand\n\na,b\r\n1,n/a\r\n# so far\r\n-3,None\r\n", [[1, np.nan], [-3, np.nan]]),
        ("1,2\n3,\n", [[1, 2], [3, np.nan]]),
        ('"a","b"\n"1","2"\n"3","4"\n', [[1, 2], [3, 4]]),
    ],
)
def test_delimiter_decimal_mark_comments_and_missing_entries_are_recognised(text, values):
    table = _read(text)
    np.testing.assert_array_equal(table.values, values)
    assert _rewritten(table, where=_nothing(table)) == text.encode()


@pytest.mark.parametrize(
    ("text", "columns", "index"),
    [
        ("time,a,b\n2026-01-01,1,2\n2026-01-02,3,4\n", ("a", "b"), ("2026-01-01", "2026-01-02")),
        (",a,b\n17,1,2\n4,3,4\n", ("a", "b"), ("17", "4")),
        ("id,a\n0,1\n1,3\n", ("a",), ("0", "1")),
        ("id,a\n1,1\n2,3\n", ("a",), ("1", "2")),
        ("n,a\n1,1\n3,3\n", ("n", "a"), None),
        ("country,2019,2020,2021\nA,1,2,3\nB,4,5,6\n", ("2019", "2020", "2021"), ("A", "B")),
        (",0,1\n0,5,6\n1,7,8\n", ("0", "1"), ("0", "1")),
        ("a,b\nx,1,2\ny,3,4\n", ("a", "b"), ("x", "y")),  # as R writes it
        ("#a,b\n1,2\n4,4\n", ("a", "b"), None),
        ("1,2\n4,4\n", None, None),
    ],
)
def test_names_of_columns_and_rows_are_recognised(text, columns, index):
    table = _read(text)
    assert (table.columns, table.index) == (columns, index)
    assert _rewritten(table, where=_nothing(table)) == text.encode()
    assert _rewritten(table).count(b"\n") == text.count("\n")


MIXED = 'day,site,a,note,b\n2026-01-01,"Köln, west",1.50,,2\n2026-01-02,Bonn,3.25,"said ""no""",4\n\n# end\n'


def test_text_and_dates_anywhere_are_carried_through_and_good_cells_keep_their_text():
    table = _read(MIXED)
    assert table.columns == ("a", "b") and table.data == (2, 4)
    np.testing.assert_array_equal(table.values, [[1.5, 2], [3.25, 4]])
    where = np.array([[False, True], [False, False]])
    expected = MIXED.replace(",,2\n", ",,7\n")
    assert _rewritten(table, np.full((2, 2), 7.0), where) == expected.encode()
    assert "no data, carried through: site, note" in table.notes


@pytest.mark.parametrize(
    ("encoding", "bom"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("latin-1", b""),
    ],
)
def test_every_encoding_comes_back_to_the_byte(encoding, bom):
    data = bom + MIXED.encode(encoding)
    table = _read(data)
    assert table.columns == ("a", "b")
    assert _rewritten(table, where=_nothing(table)) == data
    assert ("latin-1" in "".join(table.notes)) == (encoding == "latin-1")
    known = "utf-16" if bom[:1] in (b"\xff", b"\xfe") else encoding
    assert _read(data, encoding=known).columns == ("a", "b")
    assert "Köln" in _read(data, encoding=known).text


@pytest.mark.parametrize(
    ("data", "told", "words"),
    [
        ("1,2\n3,x\n", {}, "line 2: 'x' is not a number.*--missing 'x'.*--as-is '1'"),
        ("a,b\n1.5,2\n3,4\n", {"decimal": ","}, "line 2: '1.5'"),
        ("a,b\n1,2\n", {"index_col": "c"}, "--index-col c: there is no such column; there are a, b"),
        ("1,2\n3,4\n", {"as_is": ("2",)}, "numbers from 0 to 1"),
        ("a,b\nx,y\n", {}, "no numbers, but words like 'y' in line 2"),
        ('a,b\n"1,234.5","2,345.6"\n', {}, "'2,345.6' in line 2; write them without .* marks between thousands"),
        (b"\x89PNG\r\n\x1a\n\0\0", {}, "is it a table"),
        ("1,2\n".encode("utf-16-le"), {}, "--encoding utf-16"),
        ("é".encode("latin-1"), {"encoding": "utf-8"}, "no utf-8 text .* --encoding"),
        ("1,2\n", {"encoding": "klingon"}, "klingon: is unknown"),
        ("1,2\n", {"encoding": "zlib"}, "zlib: is unknown"),
        ("1,2\n3,1_000\n", {}, "1_000"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_remedy(data, told, words):
    with pytest.raises(InputError, match=words):
        _read(data, **told)


def test_options_say_what_is_not_recognised():
    text = "year,a,b,c\n2020,1,ERR,7\n2021,-9,2,8\n"
    table = _read(text, index_col="year", missing=("ERR", "-9"), as_is=("c",))
    np.testing.assert_array_equal(table.values, [[1, np.nan], [np.nan, 2]])
    assert table.index == ("2020", "2021") and table.columns == ("a", "b")
    assert _read("0,5\n1,6\n", index_col="none").index is None
    assert _read("a,b\n1,2\n4,4\n", header=True).columns == ("a", "b")
    assert _read("1,2\n4,4\n", header=True).columns == ("1", "2")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_another_delimiter_writes_every_row_again(delimiter):
    table = _read(MIXED)
    written = _rewritten(table, where=_nothing(table), delimiter=delimiter).decode()
    rows = [row for row in csv.reader(io.StringIO(written), delimiter=delimiter) if row and row[0] != "# end"]
    assert rows == [row for row in csv.reader(io.StringIO(MIXED)) if row and row[0] != "# end"]


def test_a_random_table_is_the_same_but_for_what_is_replaced():
    """Any quoting, any line ends, any text: what csv reads before and after differs in the replaced cells alone."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows, columns = rng.integers(2, 6, 2)
        texts = ["x,y", 'a "b" c', "", " two\nlines ", "ü", "#5"]
        cells = [["t" + texts[rng.integers(6)], *(f"{rng.normal():.3f}" for _ in range(columns))] for _ in range(rows)]
        file = io.StringIO(newline="")
        end, quoting = [("\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL)][rng.integers(2)]
        csv.writer(file, lineterminator=end, quoting=quoting).writerows(cells)
        table = _read(file.getvalue(), header=False)
        where = rng.random(table.values.shape) < 0.3
        written = list(csv.reader(io.StringIO(_rewritten(table, np.full(where.shape, 0.5), where).decode(), newline="")))
        expected = [[row[0], *("0.5" if wrong else text for text, wrong in zip(row[1:], wrongs, strict=True))]
                    for row, wrongs in zip(cells, where, strict=True)]  # fmt: skip
        assert written == expected


def _rows(values, form="{:.3f}"):
    return [",".join(form.format(value) for value in row) for row in values]


def test_a_row_that_begins_with_excels_mark_of_a_missing_entry_is_no_comment():
    text = "a,b\n#N/A,2\n# N/A is what Excel writes\n3,4\n#n/a,5\n"
    table = _read(text)
    np.testing.assert_array_equal(table.values, [[np.nan, 2], [3, 4], [np.nan, 5]])
    assert _rewritten(table, where=_nothing(table)) == text.encode()


def test_blank_lines_may_hold_blanks_and_excel_may_name_the_delimiter():
    text = "sep=;\na;b\n1;2\n   \n3;4\n"
    table = _read(text)
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])
    assert table.columns == ("a", "b")
    assert _rewritten(table, where=_nothing(table)) == text.encode()


@pytest.mark.parametrize("mark", [",", "."])
def test_marks_between_thousands_are_refused_rather_than_taken_for_decimal_marks(mark):
    text = f"a;b\n1{mark}920;5\n980;7\n12{mark}993;6\n"
    with pytest.raises(InputError, match=rf"^t.csv: '1\{mark}920' and '980'.* --decimal \{mark} "):
        _read(text, ";")
    np.testing.assert_array_equal(_read(text, ";", decimal=mark).values[:, 0], [1.92, 980, 12.993])


@pytest.mark.parametrize("code", ["-999", "0", "999", "-1", "", "NA", "7.5"])
def test_three_decimals_beside_a_code_are_no_thousands(code):
    table = _read(f"a,b\n1.920,5.001\n{code},7.250\n12.993,6.125\n")
    assert table.values[0, 0] == 1.92


def test_thousands_with_decimals_are_named_as_such():
    with pytest.raises(InputError, match=r"line 3: '1,652\.2': write numbers without marks between thousands"):
        _read('a,b\n980.5,5\n"1,652.2",7\n')


def test_a_first_row_of_wavelengths_names_the_columns():
    """It rises, and next to no row below does."""
    values = np.random.default_rng(0).uniform(1, 2, (30, 8))
    waves = "400.5,410,425,450,500.5,600,800,1000"
    for head, rows in (("sample," + waves, [f"s{i},{row}" for i, row in enumerate(_rows(values))]), (waves, _rows(values))):
        table = _read("\n".join([head, *rows]) + "\n")
        assert table.values.shape == (30, 8)
        assert table.columns == tuple(waves.split(","))
        assert "columns named by the numbers in the first row" in table.notes
    rising = np.sort(values, axis=1)
    assert _read("\n".join(_rows(rising)) + "\n").values.shape == (30, 8)  # as all rows do: data
    assert _read("\n".join(_rows(values)) + "\n").values.shape == (30, 8)


def test_missing_numbers_are_told_by_their_value():
    text = "a,b\n-999.00,2\n1,-999\n"
    np.testing.assert_array_equal(_read(text, missing=("-999",)).values, [[np.nan, 2], [1, np.nan]])


def test_words_for_missing_entries_do_not_make_whole_numbers_fractions():
    table = _read("a,b\n1,None\n2,5\nn.a.,6\n", missing=("n.a.",))
    assert table.whole.tolist() == [True, True]


def test_what_is_no_table_of_fields_is_said_with_a_remedy():
    with pytest.raises(InputError, match="line 3: has 1 field where 2 are expected; mend it, or put # before it"):
        _read("a,b\n1,2\nend\n")
    with pytest.raises(InputError, match="not by several spaces"):
        _read("a    b\n1.5  2.5\n10   7\n", "\t")
