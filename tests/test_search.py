"""What a search for outliers leaves to the next one, and to the fits, when it ends."""

from __future__ import annotations

import copy

import pytest
import torch

from doprestore.image.schedule import INPUT_NOISE, SEARCHES, last_noise, light_pace
from doprestore.image.settings import image_settings
from doprestore.image.step import DETAIL, ImageRecovery
from doprestore.outliers import shared_part


def picture(channels=3, height=64, width=64):
    return torch.rand((channels, height, width), generator=torch.Generator().manual_seed(0))


def tiny(**settings):
    return image_settings(**{"steps": 3, "width": 4, "device": "cpu", "precision": "float32"} | settings)


def test_a_second_search_leaves_every_neighbourhood_something_to_go_by():
    recovery = ImageRecovery(picture(), tiny(steps=20))
    recovery.average.copy_(recovery.y)  # so that any s at all counts as an outlier
    for search, left in ((1, 0.0), (2, 1.0)):
        recovery.sampling.fill_(1.0)
        recovery.outliers.restart_()
        recovery.outliers.q[:, 20:44, 20:44] = 8.0  # a solid block
        recovery.outliers.q[:, 5, 5] = 8.0  # and a single value
        recovery.step_number = search * recovery.clock.search_steps
        recovery._end_search(recovery._levels())
        assert (recovery.sampling[:, 26:38, 26:38] == left).all()
        assert (recovery.sampling[:, 5, 5] == 0).all() and (recovery.sampling[:, 50:, 50:] == 1).all()


def searched(value_wrong, mask=None, channels=3):
    """A recovery at the end of its first search, which has found out the values of that index."""
    recovery = ImageRecovery(picture(channels), tiny(steps=20), mask)
    recovery.average.copy_(recovery.y)  # so that any s at all counts as an outlier
    recovery.outliers.q[value_wrong] = 8.0
    recovery.step_number = recovery.clock.search_steps
    recovery._end_search(recovery._levels())
    return recovery


@pytest.mark.parametrize(
    ("wrong", "committed"),
    [
        ((slice(None), slice(None, None, 4), slice(None, None, 4)), False),  # few, each by itself
        ((slice(None), slice(None, None, 8)), True),  # lines
    ],
)
def test_few_outliers_that_stand_alone_are_searched_again_at_a_slower_pace(wrong, committed):
    recovery = searched(wrong)
    share = 1 - float(recovery.sampling.mean())
    assert (recovery.outliers.q == 0).all()
    if committed:
        assert (recovery.sampling[wrong] == 0).all() and recovery.clock.found == pytest.approx(share)
        assert recovery.clock.pace == 1
    else:
        assert share == 0 and recovery.clock.pace == pytest.approx(light_pace(1 / 16)) and recovery.clock.pace < 1
        resumed = ImageRecovery(picture(), tiny(steps=20))
        resumed.load_state_dict(recovery.state_dict())
        assert resumed.clock.pace == recovery.clock.pace


def test_where_the_first_search_finds_very_many_the_second_follows_the_median():
    many = (slice(None), slice(None, None, 2))
    recovery = searched(many)
    assert (recovery.sampling == 1).all() and recovery.clock.searches == SEARCHES and recovery.clock.pace == 1
    residual = torch.tensor([0.0, 0.0, 0.5])
    assert recovery.objective(residual) == pytest.approx(0.5 / 3, abs=0.02)  # |r|, but for the neighbourhood of 0
    assert not searched((slice(None), slice(None, None, 8))).clock.robust
    resumed = ImageRecovery(picture(), tiny(steps=20))
    resumed.load_state_dict(copy.deepcopy(recovery.state_dict()))
    for each in (recovery, resumed):
        each.step()
    assert torch.equal(resumed.average, recovery.average)


def test_where_there_is_time_the_first_search_is_made_twice_and_what_one_alone_has_found_is_spared():
    def at_the_end_of(recovery, search, *wrong):
        for value in wrong:
            recovery.outliers.q[value] = 8.0
        recovery.average.copy_(recovery.y)  # so that any s at all counts as an outlier
        recovery.step_number = search * recovery.clock.search_steps
        recovery._end_search(recovery._levels())

    once, both, late = (slice(None), slice(0, 8)), (slice(None), slice(None, None, 4)), (slice(None), 21)
    recovery, resumed = (ImageRecovery(picture(), tiny(steps=800)) for _ in range(2))
    assert recovery.clock.searches == 3
    at_the_end_of(recovery, 1, once, both)
    assert (recovery.sampling == 1).all() and recovery.clock.pace == 1
    resumed.load_state_dict(copy.deepcopy(recovery.state_dict()))
    for each in (recovery, resumed):
        at_the_end_of(each, 2, both)
        assert (each.sampling[both] == 0).all() and each.sampling.mean() == 0.75
        at_the_end_of(each, 3, late)
        assert (each.sampling[late] == 0).all() and each.sampling.mean() < 0.75


@pytest.mark.parametrize(("every", "fits", "robust"), [(2, 2, True), (6, 2, False), (16, 1, False)])
def test_where_the_searches_find_many_the_fit_is_made_twice_and_very_many_by_the_robust_objective(every, fits, robust):
    recovery = ImageRecovery(picture(), tiny(steps=20))
    wrong = (slice(None), slice(None, None, every))  # rows: they stand together
    for search in (1, 2):
        recovery.outliers.q[wrong] = 12.0
        recovery.average.copy_(recovery.y - 0.01)
        recovery.step_number = search * recovery.clock.search_steps
        recovery._end_search(recovery._levels())
    begin = recovery.step_number
    assert recovery.clock.fits == fits and recovery.clock.robust == robust
    residual = torch.tensor([0.5])
    assert recovery.objective(residual) == pytest.approx(0.5 if robust else 0.25, abs=1e-3)
    rates = [recovery.clock.rate(step) for step in range(begin, 20)]
    assert [step for step in range(21) if recovery.clock.ends_first_of_two_fits(step)] == [begin + 5][: fits - 1]
    assert [step for step, rate in enumerate(rates) if rate == 0] == [0, 5][:fits]  # each rises from nothing
    resumed = ImageRecovery(picture(), tiny(steps=20))
    resumed.load_state_dict(copy.deepcopy(recovery.state_dict()))
    assert [resumed.clock.rate(step) for step in range(begin, 20)] == rates
    if fits == 1:
        return
    # What the first has found is left out of the second, unless it is hardly off.
    recovery._compute = lambda: None
    recovery.step_number = begin + 4
    recovery.outliers.q[:, 31] = recovery.outliers.q[:, 33] = 12.0
    recovery.average.copy_(recovery.y)
    recovery.average[:, 31] += 0.2
    recovery.average[:, 33] += 0.04
    start = {name: value.clone() for name, value in recovery.network.state_dict().items()}
    recovery.step()
    assert (recovery.sampling[:, 31] == 0).all() and (recovery.sampling[:, 33] == 1).all()
    assert (recovery.sampling[wrong] == 0).all() and (recovery.outliers.q == 0).all()
    assert not torch.equal(recovery.network.state_dict()["head.weight"], start["head.weight"])


def test_the_noise_of_the_last_fit_grows_with_what_is_unexplained_and_with_what_is_missing():
    assert last_noise(0.0, 1.0, 3) == last_noise(0.03, 0.5, 3) == 0
    assert last_noise(0.04, 0.5, 3) == pytest.approx(0.25 * (0.08 - 0.065))
    assert last_noise(0.04, 0.5, 3) < last_noise(0.04, 0.4, 3) < last_noise(0.05, 0.4, 3) < INPUT_NOISE
    assert last_noise(0.04, 0.5, 3) < last_noise(0.04, 0.5, 1)  # a grey pixel says less
    assert last_noise(0.5, 0.5, 3) == last_noise(0.0, 0.0, 3) == INPUT_NOISE


def test_what_the_last_search_leaves_unexplained_brakes_the_last_fit():
    recovery = ImageRecovery(picture(), tiny(steps=20))
    for search in (1, 2):
        recovery.average.copy_(recovery.y - 0.05)
        recovery.outliers.q[:, ::2] = 12.0  # half of the values have been found out, the others are off by 0.05
        recovery.step_number = search * recovery.clock.search_steps
        recovery._end_search(recovery._levels())
        assert recovery.input_noise == (0 if search == 1 else pytest.approx(last_noise(0.05, 0.5, 3)))
    state = copy.deepcopy(recovery.state_dict())
    resumed, free = (ImageRecovery(picture(), tiny(steps=20)) for _ in range(2))
    resumed.load_state_dict(state)
    free.load_state_dict(state | {"input_noise": 0.0})
    for _ in range(2):
        for each in (recovery, resumed, free):
            each.step()
    assert torch.equal(resumed.average, recovery.average) and torch.equal(resumed.outliers.q, recovery.outliers.q)
    assert not torch.equal(free.average, recovery.average)


def test_the_shares_of_outliers_that_the_clock_knows_are_those_of_the_known_values():
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[:32] = True
    recovery = searched((slice(None), slice(None, None, 4)), mask)
    assert recovery.clock.found == pytest.approx(0.25)
    resumed = ImageRecovery(picture(), tiny(steps=20), mask)
    resumed.load_state_dict(recovery.state_dict())
    assert resumed.clock.found == recovery.clock.found
    few = (torch.rand((3, 64, 64), generator=torch.Generator().manual_seed(0)) < 0.1) & ~mask
    assert searched(few, mask).clock.pace == pytest.approx(light_pace(float(few[:, 32:].float().mean())))


@pytest.mark.parametrize(
    ("wrong", "channels", "singly"),
    [
        ((0, slice(None, None, 4), slice(None, None, 4)), 3, True),  # few, each by itself,
        ((slice(None), slice(None, None, 4), slice(None, None, 4)), 3, False),  # but whole pixels,
        ((0, slice(None, None, 4), slice(None, None, 4)), 1, False),  # or of a grey picture
        ((0, slice(None, None, 8)), 3, False),  # and not lines, if in one channel
        (picture() < 0.45, 3, True),  # very many
        ((picture(1) < 0.45).expand(3, 64, 64), 3, False),
    ],
)
def test_outliers_that_strike_channels_singly_are_known_as_such(wrong, channels, singly):
    recovery = searched(wrong, channels=channels)
    assert recovery.clock.singly == singly
    resumed = ImageRecovery(picture(channels), tiny(steps=20))
    resumed.load_state_dict(copy.deepcopy(recovery.state_dict()))
    assert resumed.clock.singly == singly


def test_where_they_do_what_all_channels_are_off_by_drives_no_outlier():
    y = picture()
    y[:, :32] = 0  # all channels of φ are above
    recovery = ImageRecovery(y, tiny(steps=20))
    recovery.clock.singly = True
    recovery.step()
    r = (recovery.average - recovery.y) * recovery.clock.rate(0)
    most = DETAIL * recovery.clock.rate(0)
    torch.testing.assert_close(recovery.outliers.q, r - shared_part(r).clamp(-most, most))
    assert (recovery.outliers.q[:, :32] < r[:, :32]).all()


@pytest.mark.parametrize("below", [0.0, 1.0])
def test_then_what_lies_under_the_mask_tells_nothing_either(below):
    y, bad = picture(), picture()[[1, 0, 2]] < 0.3
    answers = []
    for under in (0.5, below):
        recovery = ImageRecovery(torch.where(bad, under, y), tiny(steps=20), bad)
        recovery.clock.singly = True
        recovery.step()
        answers.append(recovery.outliers.q)
    assert answers[0].any() and torch.equal(*answers)


@pytest.mark.parametrize(("every", "first", "second"), [(2, False, False), (5, True, False), (16, True, True)])
def test_in_the_fits_only_while_they_are_few(every, first, second):
    recovery = ImageRecovery(picture(), tiny(steps=20))
    recovery.clock.singly = True
    recovery.average.copy_(recovery.y)
    recovery.outliers.q[:2, ::every] = 8.0
    recovery.step_number = 2 * recovery.clock.search_steps
    recovery._end_search(recovery._levels())
    assert recovery.clock.singly == first
    recovery._compute = lambda: None
    while recovery.step_number < 20:
        recovery.step()
    assert recovery.clock.singly == second
