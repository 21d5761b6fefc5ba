"""doprestore reproduce: the table that continues, and small figures end to end."""

import csv
import subprocess
import sys
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import paper
import pytest
import torch

from doprestore.baselines.deep_prior import dip, dip_l1
from doprestore.errors import InputError
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.io.images import write_picture
from doprestore.io.tables import write_csv
from doprestore.matrix.descent import Descent
from doprestore.reproduce import FIGURES, cells, fig_matrices, fig_pictures, fig_theorem, load, long_run
from doprestore.reproduce.figure import Outcome, Plan, Runs
from doprestore.reproduce.originals import PAPER, SAMPLES, read_pictures

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


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    """A folder with four small pictures under the paper's names, and picture figures of a few steps."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    ramp = np.linspace(0.2, 0.8, 64, dtype=np.float32)
    for number, name in enumerate(PAPER):
        write_picture(folder / f"{name}.png", np.stack([ramp[:, None] + 0.1 * number * ramp] * 3).clip(0, 1))
    for name in ("FIG1B", "FIG3", "FIG4A", "FIG4B"):
        figure = getattr(fig_pictures, name)

        def cells(plan, figure=figure):
            return [cell | {"steps": 3, "width": cell["width"] // 8} for cell in figure.cells(plan)]

        monkeypatch.setattr(fig_pictures, name, replace(figure, cells=cells))
    monkeypatch.setattr(fig_pictures, "_cells_3", fig_pictures.FIG3.cells)
    return folder


class Killed(Exception):
    """What ends a run somewhere in its midst."""


def long_cell(method, **more):
    return {"picture": "F16", "content": "0", "size": "64x64", "side": 64, "amount": 0.5, "method": method,
            "preset": "paper", "alpha": 500.0, "width": 4, "steps": 8, "seed": 0} | more  # fmt: skip


@pytest.mark.parametrize("method", ["DOP", "DIP-l1", "DIP"])
def test_a_long_run_goes_on_where_it_was_killed_bit_for_bit(method, tmp_path, monkeypatch):
    monkeypatch.setattr(long_run, "SAVE_EVERY", 0.0)
    plan = Plan("small", "paper", "cpu", {"F16": torch.rand(3, 70, 66, generator=torch.Generator().manual_seed(0))})
    whole, parts = replace(plan, runs=tmp_path / "whole"), replace(plan, runs=tmp_path / "parts")
    for folder in (whole.runs, parts.runs):
        folder.mkdir()
    cell, compute = long_cell(method), fig_pictures.RUNS.compute

    def kill_at_6(step, steps):
        if step == 6:  # after the checkpoint of step 5
            raise Killed

    once = compute(cell, whole, lambda *_: None)
    with pytest.raises(Killed):
        compute(cell, parts, kill_at_6)
    seen = []
    again = compute(cell, parts, lambda step, steps: seen.append(step))
    assert seen == [6, 7, 8]
    assert once.rows == again.rows and torch.equal(once.picture, again.picture)
    assert [row["step"] for row in again.rows] == list(range(1, 9))
    assert compute(cell, parts, seen.append).rows == once.rows and seen == [6, 7, 8]  # done is done
    with pytest.raises(InputError, match="alpha"):
        state = parts.runs / f"{fig_pictures.run_name(cell)}.pt"
        state.rename(parts.runs / f"{fig_pictures.run_name(cell | {'alpha': 250.0})}.pt")
        compute(cell | {"alpha": 250.0}, parts, lambda *_: None)


def test_a_long_run_is_that_of_the_plain_functions(tmp_path):
    clean = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    plan = Plan("small", "paper", "cpu", {"F16": clean}, tmp_path)
    settings = image_settings("paper", steps=8, width=4, device="cpu")
    for method, plain in (("DOP", None), ("DIP-l1", dip_l1), ("DIP", dip)):
        outcome = fig_pictures.RUNS.compute(long_cell(method), plan, lambda *_: None)
        damaged = fig_pictures.damage(clean, long_cell(method))
        expected = plain(damaged, clean, settings) if plain else recover_image(damaged, settings).restored
        assert torch.equal(outcome.picture, expected)
        qualities = [row["psnr"] for row in outcome.rows]
        assert [row["best"] for row in outcome.rows] == pytest.approx(list(accumulate(qualities, max)), abs=1e-4)


def test_the_cells_of_scale_small():
    """The runs of the paper's pipeline: which, how long, and which of them the figures share."""
    pictures = {name: torch.rand(3, 512, 512) for name in PAPER}
    plan = Plan("small", "paper", "cpu", pictures)
    names = [name for name, entry in FIGURES.items() if "small" in entry.scales]
    by_figure = {name: load(name).cells(plan) for name in names}
    every = {fig_pictures.run_name(cell): cell for cells in by_figure.values() for cell in cells}
    assert names == ["fig1b", "fig3", "fig4a", "fig4b", "alpha", "widths", "oracles"]
    assert {(cell["method"], cell["steps"]) for cell in every.values()} == {
        ("DOP", 150_000), ("DIP-l1", 50_000), ("DIP", 30_000)
    }  # fmt: skip
    assert {cell["preset"] for cell in every.values()} == {"paper"}
    dop = {(cell["picture"], cell["side"], cell["amount"]) for cell in every.values() if cell["method"] == "DOP"}
    assert dop == {("F16", 64, 0.5), ("F16", 128, 0.5), *((name, 96, 0.5) for name in PAPER), *(
        ("F16", 96, amount) for amount in (0.1, 0.3, 0.7))}  # fmt: skip
    assert len(every) < sum(len(cells) for cells in by_figure.values())
    whole = load("fig3").cells(replace(plan, scale="full"))
    assert {cell["size"] for cell in whole} == {"512x512"} and {cell["steps"] for cell in whole} == {150_000}


def test_the_table_of_long_runs_tells_finished_from_unfinished(tmp_path, paper_images):
    """And no figure gets a verdict before all of its runs are at their end."""
    pictures = read_pictures(list(paper_images.values()), "small")
    plan = Plan("small", "paper", "cpu", pictures)

    def curve(cell, last_step, *qualities):
        best = list(accumulate(qualities, max))
        steps = [last_step * (k + 1) // len(qualities) for k in range(len(qualities))]
        points = [[step, 0.1, now, top, now, 0.5, 1.0] for step, now, top in zip(steps, qualities, best, strict=True)]
        write_csv(tmp_path / f"{fig_pictures.run_name(cell)}.csv", long_run.COLUMNS, points)

    narrow, wide, dop = load("fig1b").cells(plan)
    curve(narrow, 50_000, 20, 25)
    curve(wide, 50_000, 28, 15)
    curve(dop, 75_000, 20, 30)

    def told():
        return list(paper.lines(plan, tmp_path))

    assert "| F16 64x64, 50%, DIP-l1, width 32 | 50000 | 15.00 | 28.00 | 13.00 |" in "\n".join(told())
    assert any("75000 of 150000: unfinished" in line for line in told())
    assert "fig1b: 2 of 3 runs finished, no verdict yet" in told()
    curve(dop, 150_000, 20, 30)
    assert any(
        line.startswith("fig1b: ") and line.endswith(": agrees with the paper") for line in paper.lines(plan, tmp_path)
    )
    curve(dop, 150_000, 30, 20)
    assert any(line.startswith("fig1b: ") and "DISAGREES" in line for line in told())


def test_the_kept_curves_are_of_these_runs_and_rise_step_by_step(paper_images):
    plan = Plan("small", "paper", "cpu", read_pictures(list(paper_images.values()), "small"))
    steps = {fig_pictures.run_name(cell): cell["steps"] for cell in paper.every_cell(plan)}
    curves = list((Path(paper.__file__).parent / "paper").glob("*.csv"))
    assert curves
    for path in curves:
        made = [int(point[0]) for point in paper.points(path)]
        assert path.stem in steps and made == sorted(set(made)) and made[-1] <= steps[path.stem]


def test_picture_figures_run_and_share_their_runs(run_cli, gallery, tmp_path):
    out = tmp_path / "results"
    for name in ("fig3", "fig4a", "fig4b", "fig1b"):
        code, stdout, stderr = run_cli("reproduce", name, "-o", out, "--data", gallery, "--device", "cpu")
        assert code in (0, 1) and stdout.startswith(f"{name} (quick: centre 64 x 64 of F16")
        if "matplotlib" not in stderr:
            assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    # 12 runs in fig. 3; none more for 4a; three more amounts in 4b; three other widths in 1b.
    assert len(list((out / "pictures").iterdir())) == 12 + 3 + 3
    with open(out / "fig4a.csv") as file, open(out / "fig3.csv") as other:
        shared, all_of_them = list(csv.DictReader(file)), list(csv.DictReader(other))
        assert len(shared) == 4 * 3 and all(row in all_of_them for row in shared)


def test_scale_small_runs_the_published_pipeline_and_keeps_its_runs(run_cli, gallery, tmp_path):
    out = tmp_path / "results"
    args = ("reproduce", "fig4a", "--scale", "small", "-o", out, "--data", gallery, "--device", "cpu")
    code, stdout, _ = run_cli(*args)
    assert code == 1 and stdout.startswith("fig4a (small: centre 64 x 64 of F16, ")
    kept = sorted((out / "runs").iterdir())
    assert len(kept) == 8 and {path.suffix for path in kept} == {".csv", ".pt"}
    states = [path.read_bytes() for path in kept]
    (out / "fig4a.csv").unlink()
    assert run_cli(*args).stdout == stdout
    assert [path.read_bytes() for path in kept] == states  # they were at their end


def test_other_pictures_under_the_same_names_are_computed_anew(run_cli, gallery, tmp_path):
    args = ("reproduce", "fig4a", "-o", tmp_path / "results", "--data", gallery, "--device", "cpu")
    run_cli(*args)
    write_picture(gallery / "F16.png", np.full((3, 64, 64), 0.5, np.float32))
    run_cli(*args)
    assert len(list((tmp_path / "results" / "pictures").iterdir())) == 5


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
