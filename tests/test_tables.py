"""Tables as people have them: what is recognised, what is carried through, and what is said of that."""

import csv
import io
import subprocess
import sys

import numpy as np
import pytest

from doprestore.errors import InputError
from doprestore.io.delimited import read_text_table
from doprestore.io.dialect import TableOptions

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
        ("a,b\nx,y\n", {}, "no numbers"),
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


# On the command line


def _problem(rows=50, columns=20):
    rng = np.random.default_rng(0)
    good = rng.standard_normal((rows, 2)) @ rng.standard_normal((2, columns))
    wrong = rng.random(good.shape) < 0.05
    return good, np.where(wrong, good + 10, good), wrong


def _table(data):
    days = [f"2026-01-{day + 1:02d} 00:00" for day in range(len(data))]
    header = "day;" + ";".join(f"s{i}" for i in range(data.shape[1])) + ";comment"
    rows = [
        ";".join([day, *(repr(x).replace(".", ",") for x in row), f"ok, {day}"])
        for day, row in zip(days, data.tolist(), strict=True)
    ]
    return "\n".join(["# sensors", header, *rows]) + "\n"


def test_a_table_with_dates_text_and_decimal_commas_is_repaired(folder, run_cli):
    good, data, wrong = _problem()
    (folder / "t.csv").write_text(_table(data))
    code, stdout, _ = run_cli("rpca", "t.csv", "--repaired", "r.csv", "--outliers", "o.csv")
    assert code == 0 and "decimal comma" in stdout and "rows named by column day" in stdout and "comment" in stdout
    assert sorted(path.name for path in folder.iterdir()) == ["o.csv", "r.csv", "t.csv"]
    before, after = ([line.split(";") for line in (folder / name).read_text().splitlines()] for name in ("t.csv", "r.csv"))
    changed = np.array([[x != y for x, y in zip(*rows, strict=True)] for rows in zip(before[2:], after[2:], strict=True)])
    assert before[:2] == after[:2] and np.array_equal(changed[:, 1:-1], wrong) and not changed[:, [0, -1]].any()
    found = np.array([[float(x.replace(",", ".")) for x in row[1:-1]] for row in after[2:]])
    np.testing.assert_allclose(found, good, atol=1e-9)

    listed = list(csv.DictReader(io.StringIO((folder / "o.csv").read_text())))
    assert len(listed) == wrong.sum()
    for entry in listed:
        row, column = int(entry["row"]), int(entry["column"])
        assert wrong[row, column] and (entry["row_name"], entry["column_name"]) == (before[row + 2][0], f"s{column}")
        assert float(entry["old"]) == data[row, column] and float(entry["sure"]) == 1
        assert abs(float(entry["new"]) - good[row, column]) < 1e-9


def test_how_sure_an_outlier_is_says_how_many_are_wrong(folder, run_cli):
    good, _, wrong = _problem(200, 60)
    rng = np.random.default_rng(1)
    np.save("a.npy", good + 0.1 * rng.standard_normal(good.shape) + wrong * rng.uniform(0.3, 1, good.shape))
    assert run_cli("rpca", "a.npy", "--outliers", "o.csv").code == 0
    listed = list(csv.DictReader(io.StringIO((folder / "o.csv").read_text())))
    right = np.array([wrong[int(entry["row"]), int(entry["column"])] for entry in listed])
    sure = np.array([float(entry["sure"]) for entry in listed])
    assert np.all(np.diff(sure) <= 1e-6) and sure[0] > 0.9999
    assert right.mean() >= sure[-1] - 0.05
    assert np.all(np.diff([float(entry["deviation"]) for entry in listed]) <= 0)


def test_whole_numbers_stay_whole_and_missing_ones_are_filled(folder, run_cli):
    rng = np.random.default_rng(0)
    counts = np.outer(rng.integers(1, 9, 40), rng.integers(1, 9, 12)) + 0
    damaged = counts.copy()
    damaged[rng.random(counts.shape) < 0.05] += 1000
    rows = [[str(x) for x in row] for row in damaged]
    rows[3][4] = ""
    (folder / "t.csv").write_text("\n".join(",".join(row) for row in rows))
    assert run_cli("rpca", "t.csv", "--repaired", "r.csv").code == 0
    assert (folder / "r.csv").read_text() == "\n".join(",".join(map(str, row)) for row in counts)


class _Stream:
    def __init__(self, data=b""):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_standard_input_and_output(folder, run_cli, monkeypatch, kind):
    _, data, _ = _problem()
    file = io.BytesIO(_table(data).encode())
    if kind == "npy":
        file = io.BytesIO()
        np.save(file, data)
    monkeypatch.setattr(sys, "stdin", _Stream(file.getvalue()))
    code = run_cli("rpca", "-", "--repaired", "r.csv" if kind == "csv" else "r.npy").code
    assert code == 0
    expected = next(folder.iterdir()).read_bytes()
    command = [sys.executable, "-c", "from doprestore.cli import main; main()", "rpca", "-", "--repaired", "-"]
    done = subprocess.run(command, input=file.getvalue(), capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout == expected
    assert b"rank 2" in done.stderr
    monkeypatch.setattr(sys, "stdin", _Stream(file.getvalue()))
    assert run_cli("rpca", "-").code == 2


def test_the_report_shows_both_parts_singular_values_and_the_worst_lines(folder, run_cli):
    _, data, _ = _problem()
    data[7, 2:6] = 99
    data[3:, 4] = np.nan
    (folder / "t.csv").write_text(_table(data))
    run_cli("rpca", "t.csv", "--report", "r.html")
    page = (folder / "r.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and page.count("<polyline") == 1
    worst = page[page.index("Rows with the most outliers") :]
    assert worst.index("<td>2026-01-08 00:00</td>") < worst.index("<td>s")
    assert "outlier_share" in page and "Learning curves" not in page
    pytest.importorskip("matplotlib")
    run_cli("rpca", "t.csv", "--report", "r.png", "--repaired", "r.csv")
    from PIL import Image

    with Image.open("r.png") as picture:
        assert picture.size[0] > 1000
    assert run_cli("rpca", "t.csv", "--report", "r.pdf").code == 2


def test_heat_maps_show_single_outliers_of_a_large_matrix():
    from doprestore.report.matrix import matrix_report

    sparse = np.zeros((5000, 30))
    sparse[1234, 7], sparse[10, 3] = 5, -0.01
    low_rank = np.outer(np.arange(5000.0), np.ones(30))
    report = matrix_report("t", low_rank, sparse, low_rank, str, str, {})
    shown = list(report.pictures.values())[1]
    red, blue = (shown[0] > shown[2]), (shown[2] > shown[0])
    assert shown.shape[1:] == (360, 360) and red.sum() > 0 and blue.sum() > 0 and (red | blue).float().mean() < 0.001
    assert report.curves[0].values[0] == pytest.approx(np.linalg.norm(low_rank / (0.98 * 4999)), rel=1e-6)
    assert report.listings[0].rows[0][:2] == ("10", 1)


def test_singular_values_show_the_rank_without_what_is_not_known():
    from doprestore.report.matrix import matrix_report

    low_rank, repaired, _ = _problem()
    low_rank, repaired = low_rank.copy(), low_rank * np.logspace(-9, 9, 20)
    low_rank[7], low_rank[:, 4] = np.nan, np.nan
    repaired[7] = 1e9
    values = matrix_report("t", low_rank * np.logspace(-9, 9, 20), 0 * repaired, repaired, str, str, {}).curves[0].values
    assert 1 < values[0] / values[1] < 100 and values[2] < 1e-7 * values[0]


# pandas


def _frame(data):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(data, columns=[f"s{i}" for i in range(data.shape[1])])
    frame.insert(3, "when", pandas.date_range("2026-01-01", periods=len(frame)))
    frame["site"] = [f"site {i}" for i in range(len(frame))]
    frame["good"] = True
    return frame


def test_a_frame_is_repaired_and_keeps_everything_else():
    pandas = pytest.importorskip("pandas")
    from doprestore import repair

    good, data, wrong = _problem()
    frame = _frame(data).set_index("site")
    frame["count"] = pandas.array([5, None] * 25, dtype="Int64")
    frame["single"] = data[:, 0].astype(np.float32)
    before = frame.copy()
    repaired, result = repair(frame)
    pandas.testing.assert_frame_equal(frame, before)
    assert list(repaired.dtypes) == list(frame.dtypes) and repaired.index.equals(frame.index)
    numbers = repaired[[f"s{i}" for i in range(20)]].to_numpy()
    assert np.array_equal(numbers[~wrong], data[~wrong])
    np.testing.assert_allclose(numbers, good, atol=1e-5)
    pandas.testing.assert_frame_equal(repaired[["when", "good"]], frame[["when", "good"]])
    assert result.low_rank.shape == (50, 22)


def test_repair_takes_arrays_too():
    from doprestore import repair

    good, data, _ = _problem()
    data[1, 1] = np.nan
    np.testing.assert_allclose(repair(data)[0], good, atol=1e-9)
    whole = np.outer(np.arange(1, 23), np.arange(1, 12)).astype(np.uint8)
    damaged = whole.copy()
    damaged[3, 4] = 255
    assert np.array_equal(repair(damaged)[0], whole)


def test_parquet_in_and_out(folder, run_cli):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    good, data, wrong = _problem()
    frame = _frame(data)
    frame.to_parquet("t.parquet")
    code, stdout, _ = run_cli("rpca", "t.parquet", "--repaired", "r.parquet", "--as-is", "s0")
    assert code == 0 and "carried through: s0, when, site, good" in stdout
    repaired = pandas.read_parquet("r.parquet")
    assert list(repaired.columns) == list(frame.columns) and repaired["s0"].equals(frame["s0"])
    numbers = repaired[[f"s{i}" for i in range(1, 20)]].to_numpy()
    np.testing.assert_allclose(numbers, good[:, 1:], atol=1e-9)
    assert np.array_equal(numbers[~wrong[:, 1:]], data[:, 1:][~wrong[:, 1:]])
    assert run_cli("rpca", "t.parquet").code == 0
    assert "when" in pandas.read_parquet("t.low_rank.parquet").columns


def test_without_pandas_the_error_names_the_extra(folder, run_cli, monkeypatch):
    (folder / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pandas", None)
    code, _, stderr = run_cli("rpca", "t.parquet")
    assert code == 1 and "doprestore[tables]" in stderr and stderr.count("\n") == 1
