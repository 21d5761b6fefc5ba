"""doprestore reproduce: figures of pictures end to end, and the long runs of the paper's pipeline."""

import csv
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
from doprestore.reproduce import FIGURES, fig_pictures, load, long_run, picture_cells
from doprestore.reproduce.figure import Plan
from doprestore.reproduce.originals import PAPER, read_pictures


@pytest.fixture
def gallery(tmp_path, monkeypatch, few_lessons):
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
    cell, compute = long_cell(method), picture_cells.RUNS.compute

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
        state = parts.runs / f"{picture_cells.run_name(cell)}.pt"
        state.rename(parts.runs / f"{picture_cells.run_name(cell | {'alpha': 250.0})}.pt")
        compute(cell | {"alpha": 250.0}, parts, lambda *_: None)


def test_a_long_run_is_that_of_the_plain_functions(tmp_path):
    clean = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    plan = Plan("small", "paper", "cpu", {"F16": clean}, tmp_path)
    settings = image_settings("paper", steps=8, width=4, device="cpu")
    for method, plain in (("DOP", None), ("DIP-l1", dip_l1), ("DIP", dip)):
        outcome = picture_cells.RUNS.compute(long_cell(method), plan, lambda *_: None)
        damaged = picture_cells.damage(clean, long_cell(method))
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
    every = {picture_cells.run_name(cell): cell for cells in by_figure.values() for cell in cells}
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
        write_csv(tmp_path / f"{picture_cells.run_name(cell)}.csv", long_run.COLUMNS, points)

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


def test_the_stored_curves_are_of_these_runs_and_rise_step_by_step(paper_images):
    plan = Plan("small", "paper", "cpu", read_pictures(list(paper_images.values()), "small"))
    steps = {picture_cells.run_name(cell): cell["steps"] for cell in paper.every_cell(plan)}
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
        assert len({row["picture"] for row in shared}) == 4 and all(row in all_of_them for row in shared)


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


def test_other_pictures_under_the_same_names_are_computed_again(run_cli, gallery, tmp_path):
    args = ("reproduce", "fig4a", "-o", tmp_path / "results", "--data", gallery, "--device", "cpu")
    run_cli(*args)
    write_picture(gallery / "F16.png", np.full((3, 64, 64), 0.5, np.float32))
    run_cli(*args)
    assert len(list((tmp_path / "results" / "pictures").iterdir())) == 5
