"""The compiled steps of the paper's preset are those of PyTorch, and what one has begun the other goes on with."""

from __future__ import annotations

import ctypes
import math

import paper
import paper_cpu
import paper_native
import paper_runs
import pytest
import torch
from conftest import long_run, waves

from doprestore.errors import InputError
from doprestore.image.paper import INPUT_NOISE
from doprestore.image.settings import image_settings
from doprestore.reproduce.figure import Plan
from doprestore.reproduce.long_run import LongRun
from doprestore.reproduce.picture_cells import RUNS, picture_cell, run_name

pytestmark = pytest.mark.skipif(paper_native.compiler() is None, reason="this machine has no C++ compiler")


def everything(run: LongRun) -> dict[str, torch.Tensor]:
    """All that a step changes."""
    outliers = run.fit.outliers
    found = {"g": outliers.g, "h": outliers.h, "output": run.fit.output, "best": run._best, "least": run._least}
    weights = {name: p.detach() for name, p in run.fit.network.named_parameters()}
    return {name: value.clone() for name, value in (found | weights | {"loss": run.loss}).items()}


@pytest.mark.parametrize(("width", "loss", "steps"), [(16, None, 3), (16, "l1", 2), (16, "l2", 2), (64, None, 1)])
def test_in_double_precision_the_steps_are_those_of_pytorch(width, loss, steps):
    here, there = (long_run(loss, width=width) for _ in range(2))
    start = everything(here)
    paper_native.NativeSteps(here, "-O1").make(steps)
    for _ in range(steps):
        there.step()
    assert here.step_number == steps
    torch.testing.assert_close(everything(here), everything(there), rtol=1e-9, atol=1e-9)
    moved = [name for name, value in everything(here).items() if not torch.equal(value, start[name])]
    assert len(moved) == len(start) - (2 if loss else 0)  # g and h stay without outliers


def test_a_step_in_single_precision_is_as_near_to_the_truth_as_that_of_pytorch():
    truth, here, there = (long_run(None, width=32, alpha=500.0, double=double) for double in (True, False, False))
    paper_native.NativeSteps(here).make(1)
    truth.step()
    there.step()
    wanted = everything(truth)
    errors = [
        {name: (value - wanted[name]).square().mean().sqrt().item() for name, value in everything(run).items()}
        for run in (here, there)
    ]
    assert errors[0]["output"] < 1e-5 and max(errors[0].values()) < 1e-3
    assert sum(errors[0].values()) < 5 * sum(errors[1].values())


def normal(seed: int, step: int, count: int = 1 << 20) -> torch.Tensor:
    values = torch.empty(count)
    draw = paper_native.library(torch.float32, 32).standard_normal
    draw(ctypes.c_uint64(seed), ctypes.c_uint64(step), ctypes.c_void_p(values.data_ptr()), ctypes.c_int64(count))
    return values.double()


def test_the_noise_is_normal_and_fresh_at_every_step():
    """Every number here is of deviation 1, so that 5 is never met by chance."""
    drawn = torch.stack([normal(0, 0), normal(0, 1), normal(0, 2), normal(1, 1)])
    root = math.sqrt(drawn.shape[1])
    assert (drawn.mean(1) * root).abs().max() < 5
    assert ((drawn.square().mean(1) - 1) * root / math.sqrt(2)).abs().max() < 5
    assert ((drawn.pow(4).mean(1) - 3) * root / math.sqrt(96)).abs().max() < 5
    assert (torch.corrcoef(drawn) - torch.eye(4)).abs().max() * root < 5
    assert (torch.corrcoef(drawn.square()) - torch.eye(4)).abs().max() * root < 5
    for lag in (1, 2, 32, 64 * 32, drawn.shape[1] // 2):
        assert ((drawn[:, lag:] * drawn[:, :-lag]).mean(1) * root).abs().max() < 5
    steps = (0.5 * (1 + torch.erf(drawn[0].sort().values / math.sqrt(2))) - torch.linspace(0, 1, drawn.shape[1])).abs()
    assert steps.max() * root < 2.5  # Kolmogorov and Smirnov
    assert torch.equal(drawn[3], normal(1, 1))


def test_a_run_goes_on_bit_for_bit():
    whole, begun, rest = (long_run(None, width=32, double=False) for _ in range(3))
    for run in (whole, begun, rest):
        run.fit.input_noise = INPUT_NOISE
    paper_native.NativeSteps(whole).make(4)
    paper_native.NativeSteps(begun).make(3)
    rest.load_state_dict(begun.state_dict())
    paper_native.NativeSteps(rest).make(1)
    torch.testing.assert_close(everything(rest), everything(whole), rtol=0, atol=0)
    silent = long_run(None, width=32, double=False)
    paper_native.NativeSteps(silent).make(4)
    assert not torch.equal(silent.fit.output, whole.fit.output)


def test_the_best_is_that_of_all_steps():
    goal, run = (long_run("l2", width=32, double=False) for _ in range(2))
    goal.fit.input_noise = run.fit.input_noise = INPUT_NOISE
    paper_native.NativeSteps(goal).make(5)
    run.clean.copy_(goal.fit.output)
    paper_native.NativeSteps(run).make(9)
    assert run._least == 0 and torch.equal(run._best, goal.fit.output)
    assert not torch.equal(run.fit.output, goal.fit.output)


def test_what_it_cannot_do_is_refused():
    clean = waves(3, 60, 64)
    with pytest.raises(InputError, match="multiples of 32"):
        paper_native.NativeSteps(LongRun(clean, clean, image_settings("paper", width=8, device="cpu")))
    with pytest.raises(InputError, match="width 12"):
        paper_native.NativeSteps(long_run(None, width=12, double=False))


def test_runs_are_those_of_paper_py(tmp_path, monkeypatch):
    plan = Plan("small", "paper", "cpu", {"F16": waves(3, 64, 64)}, tmp_path)
    cells = [picture_cell(plan, "F16", method, side=64, width=32) | {"steps": 6} for method in ("DOP", "DIP-l1")]
    monkeypatch.setattr(paper_runs, "every_cell", lambda _: cells)
    assert paper_runs.left(plan, tmp_path, ["DIP-l1", ""]) == cells[::-1]
    begun = paper_runs.OnDisk(cells[0], plan, tmp_path)
    paper_native.NativeSteps(begun.run).make(3)
    begun.add_point()
    begun.write()
    seen: list[int] = []
    RUNS.compute(cells[0], plan, lambda step, _: seen.append(step))
    assert seen == [4, 5, 6] and paper_runs.left(plan, tmp_path, [""]) == cells[1:]
    paper_cpu.go_on(paper_runs.OnDisk(cells[1], plan, tmp_path), until=0.0)
    assert paper_runs.left(plan, tmp_path, [""]) == cells[1:]
    paper_cpu.go_on(paper_runs.OnDisk(cells[1], plan, tmp_path), until=math.inf)
    assert paper_runs.left(plan, tmp_path, [""]) == []
    curve = paper.points(tmp_path / f"{run_name(cells[1])}.csv")
    assert [point[0] for point in curve] == [1, 2, 3, 4, 5, 6] and curve[-1][-1] > 0


def test_a_run_is_of_one_process_at_a_time(tmp_path):
    with paper.held(tmp_path / "run.lock") as one, paper.held(tmp_path / "run.lock") as other:
        assert one and not other
    with paper.held(tmp_path / "run.lock") as again:
        assert again
