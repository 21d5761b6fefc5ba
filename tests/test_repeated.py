"""Several runs and their vote."""

from __future__ import annotations

import copy

import pytest
import torch

from doprestore.damage.make import corrupt
from doprestore.errors import InputError
from doprestore.image import repeated
from doprestore.image.recovery import recover_image
from doprestore.image.repeated import RepeatedRecovery, number_of_runs
from doprestore.image.settings import image_settings
from doprestore.image.step import ImageRecovery

SETTINGS = image_settings(steps=26, width=4, alpha=5000, device="cpu", precision="float32")


@pytest.fixture
def y() -> torch.Tensor:
    clean = torch.rand((3, 40, 64), generator=torch.Generator().manual_seed(0))
    return corrupt(clean, "salt-pepper", 0.5, 0).picture


@pytest.fixture
def three(monkeypatch) -> None:
    monkeypatch.setattr(repeated, "number_of_runs", lambda settings, height, width: 3)


def test_as_many_runs_as_the_steps_are_enough_for():
    def runs(steps, height, width, preset="fast"):
        return number_of_runs(image_settings(preset, steps=steps), height, width)

    assert [runs(steps, 192, 192) for steps in (1, 800, 1599, 1600, 2400)] == [1, 1, 1, 2, 3]
    assert runs(2400, 64, 96) == 3
    assert [runs(steps, 384, 384) for steps in (2400, 3200)] == [1, 2]  # the searches take longer there
    assert runs(150_000, 512, 512, "paper") == 1


def test_one_run_is_the_plain_recovery(y):
    alone, voted = ImageRecovery(y, SETTINGS), RepeatedRecovery(y, SETTINGS)
    for step in range(1, 27):
        alone.step()
        voted.step()
        assert voted.step_number == step and voted.loss == alone.loss
        if step in (5, 26):
            for name in ("restored", "network_output", "corruption", "found_outliers"):
                assert torch.equal(getattr(voted, name)(), getattr(alone, name)()), name


def test_runs_share_the_steps_and_vote(y, three):
    recovery = RepeatedRecovery(y, SETTINGS)
    ends, outputs, found, s, seeds = [], [], [], [], set()
    for step in range(1, 27):
        recovery.step()
        assert recovery.step_number == step
        run = recovery._run
        if run.step_number == run.settings.steps:
            ends.append(step)
            seeds.add(run.settings.seed)
            outputs.append(run.network_output())
            found.append(run.found_outliers())
            s.append(run.corruption())
        if step == 14:  # between two ends nothing changes
            assert torch.equal(recovery.network_output(), outputs[0])
        if step == 17:
            torch.testing.assert_close(recovery.network_output(), (outputs[0] + outputs[1]) / 2)
            assert torch.equal(recovery.found_outliers(), found[0] & found[1])
    assert ends == [8, 17, 26] and len(seeds) == 3 and SETTINGS.seed in seeds
    assert torch.equal(recovery.network_output(), torch.stack(outputs).median(dim=0).values)
    assert torch.equal(recovery.corruption(), torch.stack(s).median(dim=0).values)
    majority = (found[0] & found[1]) | (found[0] & found[2]) | (found[1] & found[2])
    assert 0 < majority.sum() < majority.numel()
    assert torch.equal(recovery.found_outliers(), majority)
    assert torch.equal(recovery.restored()[~majority], y[~majority])
    assert torch.equal(recovery.restored()[majority], recovery.network_output()[majority])


def test_every_run_knows_the_mask(y, three):
    mask = torch.zeros((40, 64), dtype=torch.bool)
    mask[10:20, 30:40] = True
    results = [recover_image(torch.where(mask, value, y), SETTINGS, mask=mask) for value in (0.0, 1.0)]
    assert results[0].found[:, mask].all()
    assert torch.equal(results[0].restored, results[1].restored)  # what lies under it never matters


@pytest.mark.parametrize("stop", [3, 8, 9, 17, 25, 26])
def test_resumed_runs_end_bit_identical(y, three, stop):
    saved = []
    whole = recover_image(y, SETTINGS, save=lambda state: saved.append(copy.deepcopy(state())))
    resumed = recover_image(y, SETTINGS, resume=saved[stop - 1])
    assert resumed.steps == whole.steps == 26
    for name in ("restored", "network", "outliers", "found"):
        assert torch.equal(getattr(whole, name), getattr(resumed, name)), name


def test_a_state_with_other_runs_is_refused(y, three):
    recovery = RepeatedRecovery(y, SETTINGS)
    for _ in range(12):
        recovery.step()
    state = recovery.state_dict()
    for wrong in ({"ended": []}, {"step_number": 27}, {"step_number": 7}, {"ended": [{"network_output": y}]}):
        with pytest.raises(InputError, match="does not fit"):
            RepeatedRecovery(y, SETTINGS).load_state_dict(state | wrong)
    with pytest.raises(InputError, match="does not fit"):
        RepeatedRecovery(y[:, :32].contiguous(), SETTINGS).load_state_dict(state)


def test_stopped_within_a_later_run_it_is_the_vote_of_the_others(y, three):
    count = iter(range(1, 27))
    stopped = recover_image(y, SETTINGS, should_stop=lambda: next(count) == 20)
    recovery = RepeatedRecovery(y, SETTINGS)
    for _ in range(17):
        recovery.step()
    assert stopped.interrupted and stopped.steps == 20
    assert torch.equal(stopped.network, recovery.network_output().clamp(0, 1))
