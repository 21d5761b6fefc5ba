"""doprestore reproduce: the table that continues, and small figures end to end."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from doprestore.errors import InputError
from doprestore.matrix.descent import Descent
from doprestore.reproduce import FIGURES, cells, fig_matrices, fig_theorem, load
from doprestore.reproduce.figure import Outcome, Plan, Runs
from doprestore.reproduce.originals import SAMPLES

QUICK = Plan("quick")


# The table


@pytest.fixture
def squares(monkeypatch):
    """fig1a made cheap: cells are numbers, and their rows the square and the cube; the list of computed cells."""
    computed = []

    def compute(cell, plan, note):
        if cell["x"] == 13:
            raise KeyboardInterrupt
        computed.append(cell["x"])
        note(1, 1)
        return Outcome([{"value": cell["x"] ** power} for power in (2, 3)])

    def use(*numbers, name="fig1a"):
        figure = replace(load(name), runs=runs, cells=lambda plan: [{"x": x} for x in numbers])
        monkeypatch.setattr(fig_matrices, name.upper(), figure)
        return computed

    runs = Runs(("x",), ("value",), compute)
    return use


def test_what_is_computed_is_kept_and_not_computed_again(squares, tmp_path):
    computed = squares(1, 2, 0.5)
    first = cells.run("fig1a", QUICK, tmp_path)
    assert [row["value"] for row in first] == [1, 1, 4, 8, 0.25, 0.125]
    squares(3, 0.5, 2)
    seen = []
    again = cells.run("fig1a", QUICK, tmp_path, seen.append)
    assert computed == [1, 2, 0.5, 3]
    assert [row["value"] for row in again] == [9, 27, 0.25, 0.125, 4, 8]  # the cells asked for, and no others
    assert seen[-1].cell == seen[-1].cells == 3
    assert [row["seconds"] for row in again if row["x"] == 2] == [row["seconds"] for row in first if row["x"] == 2]


def test_figures_share_what_they_have_in_common(squares, tmp_path):
    computed = squares(1, 2)
    cells.run("fig1a", QUICK, tmp_path)
    squares(2, 3, name="fig2a")
    assert [row["value"] for row in cells.run("fig2a", QUICK, tmp_path)] == [4, 8, 9, 27]
    assert computed == [1, 2, 3]
    with open(tmp_path / "fig2a.csv") as file:
        assert [row["x"] for row in csv.DictReader(file)] == ["2", "2", "3", "3"]


def test_an_interrupted_run_keeps_what_it_has(squares, tmp_path, run_cli):
    computed = squares(1, 2, 13, 4)
    code, stdout, stderr = run_cli("reproduce", "fig1a", "-o", tmp_path)
    assert code == 130 and stdout == "" and stderr.strip() == "doprestore: error: interrupted"
    squares(1, 2)
    cells.run("fig1a", QUICK, tmp_path)
    assert computed == [1, 2]


def test_numbers_of_another_version_do_not_count(squares, tmp_path, monkeypatch):
    computed = squares(1)
    cells.run("fig1a", QUICK, tmp_path)
    monkeypatch.setattr(cells, "__version__", "99.0")
    cells.run("fig1a", QUICK, tmp_path)
    assert computed == [1, 1]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"version,x,value,seconds\n0.1.0,1\n",
                                     b"version,x,value,seconds\n0.1.0,1,many,1\n"])  # fmt: skip
def test_a_foreign_table_is_not_touched(squares, tmp_path, monkeypatch, content):
    squares(1)
    monkeypatch.setattr(cells, "__version__", "0.1.0")
    path = tmp_path / "fig1a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"fig1a\.csv: .* move it away"):
        cells.run("fig1a", QUICK, tmp_path)
    assert path.read_bytes() == content


# End to end


@pytest.fixture
def small(monkeypatch):
    """The matrix figures in a second each, with a larger step; the verdicts must still be right."""

    def cells(n, **more):
        return {"n": n, "r": 1, "p": 0.1, "steps": 1500, "tau": 2e-3, **more}

    replacements = {
        "FIG1A": lambda plan: [cells(30, trial=0, method=m)
                               for m in (fig_matrices.EXACT, fig_matrices.FULL, fig_matrices.DOP)],
        "FIG2A": lambda plan: [cells(20, trial=trial, alpha_by_sqrt_n=factor)
                               for factor in (0.25, 0.5, 1.0, 2.0, 4.0) for trial in range(2)],
        "FIG2B": lambda plan: [cells(20, trial=0, method=fig_matrices.CONVEX) | {"r": r, "p": p}
                               for r in (1, 8) for p in (0.1, 0.5)],
        "FIG2C": lambda plan: [cells(20, trial=0, method=m) | {"r": r, "p": p}
                               for m in (fig_matrices.CONVEX, fig_matrices.DOP) for r in (1, 8) for p in (0.1, 0.5)],
    }  # fmt: skip
    for name, replacement in replacements.items():
        monkeypatch.setattr(fig_matrices, name, replace(getattr(fig_matrices, name), cells=replacement))
    one = [{"seed": 2, "alpha": 2.0, "tau": 0.02, "steps": 4000}]
    monkeypatch.setattr(fig_theorem, "THEOREM1", replace(fig_theorem.THEOREM1, cells=lambda plan: one))


@pytest.fixture
def swapped(monkeypatch):
    """A solver that has α the wrong way round."""
    correct = Descent.__init__

    def wrong(self, *args, alpha, **kwargs):
        correct(self, *args, alpha=1 / alpha, **kwargs)

    monkeypatch.setattr(Descent, "__init__", wrong)


@pytest.mark.parametrize("name", ["theorem1", "fig1a", "fig2a", "fig2b", "fig2c"])
def test_a_right_solver_agrees(run_cli, small, tmp_path, name):
    code, stdout, stderr = run_cli("reproduce", name, "-o", tmp_path)
    assert code == 0 and stdout.count("\n") == 1
    assert stdout.startswith(f"{name} (quick: ") and stdout.endswith("agrees with the paper\n")
    with open(tmp_path / f"{name}.csv") as file:
        assert len(list(csv.DictReader(file))) > 0
    if "matplotlib" not in stderr:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["theorem1", "fig1a", "fig2a"])
def test_alpha_the_wrong_way_round_turns_the_verdict_red(run_cli, small, swapped, tmp_path, name):
    code, stdout, _ = run_cli("reproduce", name, "-o", tmp_path)
    assert code == 1 and "DISAGREES" in stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["fig9", "-o", "out"], 2, "fig9"),
        (["fig2a"], 2, "--output"),
        (["fig2a", "-o", "a_file"], 1, "a_file"),
        (["fig3", "-o", "out"], 1, "--data"),
        (["fig3", "-o", "out", "--data", "absent"], 1, "absent"),
        (["all", "-o", "out", "--data", "."], 1, "F16"),
        (["fig2a", "-o", "out", "--device", "toaster"], 2, "toaster"),
        (["fig2a", "-o", "out", "--scale", "huge"], 2, "--scale"),
        (["fig2a", "-o", "out", "--scale", "small"], 2, "--scale small"),
        (["alpha", "-o", "out"], 2, "--scale quick"),
    ],
)
def test_bad_input_is_one_line(run_cli, tmp_path, monkeypatch, args, code, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOPRESTORE_DATA", raising=False)
    (tmp_path / "a_file").write_text("")
    result = run_cli("reproduce", *args)
    assert result.code == code and result.stdout == ""
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_checkout_has_pictures_to_start_from():
    folder = Path(__file__).parent.parent / "sample_images"
    assert all((folder / f"{name}.png").is_file() for name in SAMPLES)


def test_without_matplotlib_the_remedy_is_named_and_the_numbers_stay(run_cli, small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, stderr = run_cli("reproduce", "fig2b", "-o", tmp_path)
    assert code == 0 and "pip install 'doprestore[figures]'" in stderr
    assert (tmp_path / "fig2b.csv").exists() and not (tmp_path / "fig2b.png").exists()


def test_help_needs_no_torch():
    code = "import sys; from doprestore.cli import run; run(['reproduce', '--help']); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and all(name in result.stdout for name in FIGURES)
