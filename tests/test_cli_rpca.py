"""doprestore rpca and sense on the command line."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _problem(rows=50, columns=40, rank=2):
    rng = np.random.default_rng(0)
    low_rank = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return low_rank, low_rank + rng.uniform(-10, 10, low_rank.shape) * (rng.random(low_rank.shape) < 0.05)


def _error(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_writes_both_parts_beside_the_data_and_reports(folder, run_cli):
    low_rank, data = _problem()
    np.save("data.npy", data.astype(np.float32))
    code, stdout, stderr = run_cli("rpca", "data.npy")
    assert (code, stderr) == (0, "")
    assert "50 x 40 float32, rank 2" in stdout and "converged" in stdout
    found, sparse = np.load("data.low_rank.npy"), np.load("data.sparse.npy")
    assert found.dtype == np.float32
    assert _error(found, low_rank) < 1e-5
    np.testing.assert_allclose(found + sparse, data, atol=1e-4)


def test_how_often_to_save_needs_a_place_to_save_at(folder, run_cli):
    np.save("data.npy", _problem()[1])
    for option in (("--checkpoint-every", "60s"), ("--resume",)):
        code, stdout, stderr = run_cli("rpca", "data.npy", *option)
        assert (code, stdout) == (2, "") and stderr.count("\n") == 1
        assert f"{option[0]} " in stderr and "with --checkpoint FILE" in stderr
    assert [path.name for path in folder.iterdir()] == ["data.npy"]


def test_json_npz_and_key(folder, run_cli):
    low_rank, data = _problem()
    np.savez("data.npz", first=data, second=np.zeros((2, 2)))
    assert "'first', 'second'" in run_cli("rpca", "data.npz").stderr
    assert "third" in run_cli("rpca", "data.npz", "--key", "third").stderr
    code, stdout, _ = run_cli("rpca", "data.npz", "--key", "first", "-o", "out.npz", "--json")
    report = json.loads(stdout)
    assert code == 0
    assert (report["rank"], report["rows"], report["columns"], report["converged"]) == (2, 50, 40, True)
    assert report["settings"]["preset"] == "fast"
    with np.load("out.npz") as parts:
        assert _error(parts["low_rank"], low_rank) < 1e-9


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.tsv", "\t")])
def test_tables_keep_their_header_and_empty_fields_are_missing(folder, run_cli, name, delimiter):
    low_rank, data = _problem()
    rows = [[repr(value) for value in row] for row in data.tolist()]
    rows[3][5] = ""
    rows[4][6] = "NA"
    header = delimiter.join(f"c{i}" for i in range(40))
    (folder / name).write_text("\n".join([header, *(delimiter.join(row) for row in rows)]) + "\n")
    assert run_cli("rpca", name).code == 0
    lines = (folder / name.replace("t.", "t.low_rank.")).read_text().splitlines()
    assert lines[0] == header
    found = np.array([[float(field) for field in line.split(delimiter)] for line in lines[1:]])
    assert _error(found, low_rank) < 1e-9


@pytest.mark.parametrize(
    ("corner", "names"),
    [
        ("", [str(i) for i in range(50)]),  # as pandas writes a frame
        ("id", [str(i + 1) for i in range(50)]),
        ("day", [f"2026-01-{i:02d}" for i in range(50)]),
        ("", [str(7 * i) for i in range(50)]),
    ],
)
def test_the_index_column_of_a_table_is_no_data(folder, run_cli, corner, names):
    low_rank, data = _problem()
    rows = [[name, *map(repr, row)] for name, row in zip(names, data.tolist(), strict=True)]
    header = [corner, *(f"c{i}" for i in range(40))]
    (folder / "t.csv").write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    assert run_cli("rpca", "t.csv").code == 0
    assert run_cli("rpca", "t.csv", "--repaired", "good.csv").code == 0
    for name in ("t.low_rank.csv", "good.csv"):
        lines = [line.split(",") for line in (folder / name).read_text().splitlines()]
        assert lines[0] == header and [line[0] for line in lines[1:]] == names
        assert _error(np.array([line[1:] for line in lines[1:]], float), low_rank) < 1e-9


def test_repaired_is_the_data_but_for_what_is_wrong_or_missing(folder, run_cli):
    low_rank, data = _problem()
    data[3, 5] = np.nan
    wrong = ~(data == low_rank)
    np.save("data.npy", data)
    assert run_cli("rpca", "data.npy", "--repaired", "good.npy").code == 0
    repaired = np.load("good.npy")
    assert np.array_equal(repaired[~wrong], data[~wrong])  # to the bit
    assert _error(repaired, low_rank) < 1e-9
    assert run_cli("rpca", "data.npy", "--repaired", "good.npy").code in (1, 2)  # exists
    assert run_cli("rpca", "data.npy", "--repaired", "good.xls", "--force").code == 2


def test_never_overwrites_without_force(folder, run_cli):
    np.save("data.npy", _problem()[1])
    (folder / "data.sparse.npy").write_bytes(b"precious")
    code, _, stderr = run_cli("rpca", "data.npy")
    assert code == 2 and "--force" in stderr and stderr.count("\n") == 1
    assert (folder / "data.sparse.npy").read_bytes() == b"precious"
    assert not (folder / "data.low_rank.npy").exists()
    assert run_cli("rpca", "data.npy", "--force").code == 0
    np.savez("d.npz", a=np.ones((3, 3)))
    assert run_cli("rpca", "d.npz", "-o", "d.npz", "--force").code == 2  # not even then onto the input


def _bad_files():
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    good = io.BytesIO()
    np.save(good, np.ones((4, 4)))
    empty = io.BytesIO()
    np.savez(empty)
    huge = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    huge += b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000), }".ljust(117) + b"\n"
    return {
        "missing.npy": (None, "no such file"),
        "text.npy": (b"hello", "damaged"),
        "zero.npy": (b"", "damaged"),
        "cut.npy": (good.getvalue()[:-20], "damaged"),
        "pickle.npy": (buffer.getvalue(), "never loaded"),
        "huge.npy": (huge, "memory"),
        "notzip.npz": (b"PK\x03\x04garbage", "damaged"),
        "words.csv": (b"1,2\n3,four\n", "line 2: 'four'"),
        "typo.csv": (b"1,x\n3,4\n", "'x'"),
        "none.npz": (empty.getvalue(), "no arrays"),
        "ragged.csv": (b"1,2\n3\n", "line 2"),
        "empty.csv": (b"", "no numbers"),
        "binary.csv": (b"\xff\xfe\x00\x01\x00", "damaged"),
        "nul.csv": (b"1,2\n3,\x00\n", "damaged"),
        "what.mat": (b"1", "unknown kind"),
    }


@pytest.mark.parametrize("name", _bad_files())
def test_bad_files_are_one_clear_line_and_nothing_is_written(folder, run_cli, name):
    content, words = _bad_files()[name]
    if content is not None:
        (folder / name).write_bytes(content)
    before = sorted(folder.iterdir())
    code, stdout, stderr = run_cli("rpca", name)
    assert code == 1 and stdout == ""
    assert name in stderr and words in stderr and stderr.count("\n") == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(("array", "words"), [
    (np.ones(5), "reshape"), (np.ones((2, 3, 4)), "reshape"), (np.ones((2, 2)) * 1j, "complex"),
    (np.array([[np.inf, 1]]), "infinite"), (np.full((2, 2), np.nan), "missing"), (np.zeros((0, 3)), "empty"),
    (np.array([["a"]]), "no numbers"),
])  # fmt: skip
def test_arrays_that_are_no_matrix(folder, run_cli, array, words):
    np.save("a.npy", array)
    code, _, stderr = run_cli("rpca", "a.npy")
    assert code == 1 and "a.npy" in stderr and words in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize("args", [
    ["--tau", "1e-3"], ["--rank-bound", "3"], ["--alpha", "0"], ["-o", "x.npy"], ["--key", "a"], ["--preset", "x"],
    ["--checkpoint-every", "5s"], ["--decimal", ","], ["--delimiter", "ab"], ["--index-col", "0"], ["--outliers", "x.txt"],
    ["--repaired", "x.parquet"], ["--repaired", "-", "--json"],
])  # fmt: skip
def test_options_that_make_no_sense(folder, run_cli, args):
    np.save("a.npy", np.ones((3, 3)))
    code, _, stderr = run_cli("rpca", "a.npy", *args)
    assert code == 2 and stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["rpca", "sense"])
def test_a_folder_is_no_matrix(folder, run_cli, command):
    for name in (".", str(folder)):
        code, _, stderr = run_cli(command, name)
        assert code == 1 and "folder" in stderr and stderr.count("\n") == 1


def test_output_folder_that_is_not_there(folder, run_cli):
    np.save("a.npy", np.ones((3, 3)))
    assert "does not exist" in run_cli("rpca", "a.npy", "-o", "no/such.npz").stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_run_writes_the_current_split_and_can_be_resumed(folder, run_cli, start_cli, number, code):
    np.save("a.npy", np.random.default_rng(0).standard_normal((100, 100)))
    args = ["rpca", "a.npy", "--preset", "paper", "--steps", "100000", "--checkpoint", "c.ckpt", "--json"]
    process = start_cli(*args, "--checkpoint-every", "0.1")
    limit = time.monotonic() + 60
    while not (folder / "c.ckpt").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    process.send(number)
    seen, stdout, stderr = process.outcome()
    assert seen == code, stderr
    if number != signal.SIGKILL:
        assert json.loads(stdout)["interrupted"] is True
        assert np.load("a.low_rank.npy").shape == (100, 100) and (folder / "a.sparse.npy").exists()
        done = json.loads(stdout)["steps"]
    else:
        done = torch.load("c.ckpt", weights_only=True)["state"]["steps"]
    common = ["rpca", "a.npy", "--preset", "paper", "--steps", done + 5, "--json"]
    report = json.loads(run_cli(*common, "--checkpoint", "c.ckpt", "--resume").stdout)
    assert report["steps"] == done + 5
    assert not list(folder.glob("c.ckpt*"))
    resumed = np.load("a.low_rank.npy")
    run_cli(*common, "--force")
    assert np.array_equal(resumed, np.load("a.low_rank.npy"))


def test_checkpoints_of_another_run_are_refused(folder, run_cli, monkeypatch):
    for name, seed in (("a.npy", 0), ("b.npy", 1)):
        np.save(name, np.random.default_rng(seed).standard_normal((40, 40)))
    keep = ("--checkpoint", "c", "--checkpoint-every", "0s")
    with monkeypatch.context() as patch:
        patch.setattr("doprestore.io.checkpoint.remove_checkpoint", lambda path: None)  # as if killed before it
        assert run_cli("rpca", "a.npy", *keep).code == 4  # noise alone: no clear split
    assert "add --resume" in run_cli("rpca", "a.npy", *keep, "--force").stderr
    assert "another input" in run_cli("rpca", "b.npy", *keep, "--resume").stderr
    assert "alpha" in run_cli("rpca", "a.npy", *keep, "--resume", "--alpha", "3").stderr
    assert run_cli("rpca", "a.npy", "--resume").code == 2
    np.savez("precious.npz", 1.0)
    for other in (("-o", "precious.npz"), ("--repaired", "b.npy")):  # no outputs of the session to go on with
        before = (folder / other[1]).read_bytes()
        code, _, stderr = run_cli("rpca", "a.npy", *keep, "--resume", *other)
        assert code == 2 and f"{' '.join(other)}: exists already" in stderr and (folder / other[1]).read_bytes() == before
    assert run_cli("rpca", "a.npy", *keep, "--resume").code == 4
    assert not (folder / "c").exists()
    (folder / "c").write_text("text")
    assert "not a checkpoint" in run_cli("rpca", "a.npy", *keep, "--resume").stderr


def _sensing(share=0.05):
    rng = np.random.default_rng(0)
    x = np.outer(rng.standard_normal(8), rng.standard_normal(6))
    a = rng.standard_normal((200, 8, 6))
    y = np.einsum("mij,ij->m", a, x) + rng.normal(0, 30, 200) * (rng.random(200) < share)
    return a, y, x


def test_sense_recovers_and_reports_the_error(folder, run_cli):
    a, y, x = _sensing()
    np.savez("p.npz", A=a, y=y, X=x)
    code, stdout, _ = run_cli("sense", "p.npz", "--json")
    report = json.loads(stdout)
    assert code == 0 and report["converged"] and report["rank"] == 1
    assert report["error"] < 1e-6
    with np.load("p.recovered.npz") as found:
        assert _error(found["X"], x) == pytest.approx(report["error"], rel=1e-6)
        np.testing.assert_allclose(np.einsum("mij,ij->m", a, found["X"]) + found["s"], y, atol=1e-4)
    assert run_cli("sense", "p.npz").code == 2


def test_sense_truth_never_influences_the_result(folder, run_cli):
    a, y, x = _sensing()
    np.savez("with.npz", A=a, y=y, X=x)
    np.savez("without.npz", A=a, y=y)
    for name in ("with", "without"):
        assert run_cli("sense", f"{name}.npz").code == 0
    with np.load("with.recovered.npz") as one, np.load("without.recovered.npz") as other:
        assert np.array_equal(one["X"], other["X"]) and np.array_equal(one["s"], other["s"])


@pytest.mark.parametrize(("arrays", "words"), [
    ({"y": np.ones(3)}, "no array A"),
    ({"A": np.ones((3, 2, 2))}, "no array y"),
    ({"A": np.ones((3, 2, 2)), "y": np.ones(4)}, "as many"),
    ({"A": np.ones((3, 2)), "y": np.ones(3)}, "(m, rows, columns)"),
    ({"A": np.ones((3, 2, 2)), "y": np.array([1, np.nan, 1])}, "NaN"),
    ({"A": np.ones((3, 2, 2)), "y": np.ones(3), "X": np.ones((3, 3))}, "equal"),
])  # fmt: skip
def test_sense_bad_problems(folder, run_cli, arrays, words):
    np.savez("p.npz", **arrays)
    code, _, stderr = run_cli("sense", "p.npz")
    assert code == 1 and words in stderr and "p.npz" in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["rpca", "sense"])
def test_help_imports_no_torch(command):
    code = f"import sys; from doprestore.cli import run; run(['{command}', '--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
