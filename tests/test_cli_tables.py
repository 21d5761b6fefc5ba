"""Tables through the command line, and frames of pandas."""

import csv
import io
import subprocess
import sys

import numpy as np
import pytest

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


def test_a_damaged_parquet_file_is_one_clear_line(folder, run_cli):
    pytest.importorskip("pyarrow")
    (folder / "t.parquet").write_bytes(b"PAR1" + b"\0" * 20 + b"PAR1")
    code, _, stderr = run_cli("rpca", "t.parquet")
    assert code == 1 and "damaged" in stderr and "t.parquet" in stderr and stderr.count("\n") == 1


def test_without_pandas_the_error_names_the_extra(folder, run_cli, monkeypatch):
    (folder / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pandas", None)
    code, _, stderr = run_cli("rpca", "t.parquet")
    assert code == 1 and "doprestore[tables]" in stderr and stderr.count("\n") == 1
