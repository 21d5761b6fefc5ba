"""The verdict on problems whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from doprestore.image.fill import CERTAIN
from doprestore.image.scale import scale_of
from doprestore.image.unseen import predict, value_folds
from doprestore.image.verdict import BINS, LEAST, MOST, UNSURE, _no_more_than, falling_density, judge


def problem(share: float, *, tones: tuple[float, ...] = (), channels: int = 3, side: int = 96):
    """A prediction, a picture about it with errors of uneven size, and damage on some of the values."""
    generator = torch.Generator().manual_seed(0)
    shape = (channels, side, side)
    predicted = 0.2 + 0.6 * torch.rand(shape, generator=generator)
    size = torch.where(torch.arange(side) < side // 2, 0.01, 0.04)
    clean = (predicted + size * torch.randn(shape, generator=generator)).clamp(0, 1)
    bad = torch.rand(shape, generator=generator) < share
    drawn = torch.rand(shape, generator=generator)
    if tones:
        drawn = torch.tensor(tones)[(drawn * len(tones)).long()]
    y = torch.where(bad, drawn, clean)
    return (y * 255).round() / 255, predicted, bad


def settle(y, predicted, known=None):
    verdict = None
    for late in (False, False, True, True):
        before = None if verdict is None else verdict.probability
        verdict = judge(y, predicted, before, known, torch.Generator().manual_seed(1), late=late)
    return verdict


def test_nothing_is_found_where_nothing_is_damaged():
    verdict = settle(*problem(0.0)[:2])
    assert verdict.share == 0.0
    assert not (verdict.probability > 0.5).any()


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.4])
def test_the_share_is_estimated(share):
    y, predicted, bad = problem(share)
    verdict = settle(y, predicted)
    assert verdict.share == pytest.approx(bad.float().mean().item(), rel=0.2)


def test_damage_of_tones_near_those_of_the_picture_is_estimated():
    """Where the picture has few tones, outliers near them cannot be told by their size alone, but the other tones tell."""
    generator = torch.Generator().manual_seed(0)
    predicted = 0.25 + 0.02 * torch.randn(1, 128, 128, generator=generator)
    clean = predicted + 0.004 * torch.randn(1, 128, 128, generator=generator)
    bad = torch.rand(1, 128, 128, generator=generator) < 0.01
    y = torch.where(bad, torch.rand(1, 128, 128, generator=generator), clean)
    verdict = settle(y, predicted)
    assert verdict.share == pytest.approx(bad.float().mean().item(), rel=0.2)
    assert (verdict.probability > 0.5)[bad].float().mean() > 0.85
    assert (verdict.probability > 0.5)[~bad].float().mean() < 0.001


def test_an_outlier_does_not_vouch_for_itself():
    """What it spoils nearby is not the measure of its own error, unlike where that is big by itself."""
    generator = torch.Generator().manual_seed(0)
    y = 0.5 + 0.004 * torch.randn(1, 96, 96, generator=generator)
    bad = torch.rand(y.shape, generator=generator) < 0.01
    y = torch.where(bad, 0.8, y)
    folds = value_folds(y.shape, generator)
    whitening, cuts = torch.eye(1), (False,) * 4
    error = (y - predict(y, torch.full_like(y, CERTAIN), folds, whitening, cuts)).abs()
    told = [scale_of(error, torch.ones_like(y), seen, True, True) for seen in (folds, None)]
    typical = told[0][~bad].median()
    assert told[0][bad].median() < 2 * typical
    assert told[1][bad].median() > 3 * typical  # this is what it would be otherwise


def test_mistakes_are_no_more_than_the_probabilities_say():
    y, predicted, bad = problem(0.1)
    probability = settle(y, predicted).probability
    found = probability > 0.5
    expected = (1 - probability)[found].mean().item()
    assert (~bad)[found].float().mean().item() < expected + 0.02
    assert bad[found].float().sum() > 0.75 * bad.sum()


def test_tones_tell():
    """Salt and pepper near their prediction are found by their tone, where random values as near are not."""
    y, predicted, bad = problem(0.2, tones=(0.0, 1.0))
    salted = settle(y, predicted)
    assert salted.tones[:, [0, 255]].all()
    assert salted.tones.sum() == 2 * len(y)
    near = bad & ((y - predicted).abs() < 0.25)
    y, predicted, bad = problem(0.2)
    random = settle(y, predicted)
    assert not random.tones.any()
    alike = bad & ((y - predicted).abs() < 0.25)
    assert (salted.probability[near] > 0.5).float().mean() > (random.probability[alike] > 0.5).float().mean() + 0.2


def test_details_are_no_damage_because_there_is_salt_and_pepper():
    y, predicted, bad = problem(0.2, tones=(0.0, 1.0))
    generator = torch.Generator().manual_seed(2)
    details = (torch.rand(y.shape, generator=generator) < 0.02) & ~bad
    side = torch.where(torch.rand(y.shape, generator=generator) < 0.5, -1.0, 1.0)
    off = side * (0.12 + 0.13 * torch.rand(y.shape, generator=generator))
    y = torch.where(details, ((predicted + off).clamp(0.02, 0.98) * 255).round() / 255, y)
    found = settle(y, predicted).probability > 0.5
    assert found[bad].float().mean() > 0.99
    assert found[details].float().mean() < 0.05


def test_salt_and_pepper_leave_room_for_random_values():
    y, predicted, bad = problem(0.1, tones=(0.0, 1.0))
    generator = torch.Generator().manual_seed(2)
    more = (torch.rand(y.shape, generator=generator) < 0.1) & ~bad
    y = torch.where(more, torch.rand(y.shape, generator=generator), y)
    verdict = settle(y, predicted)
    found = verdict.probability > 0.5
    assert verdict.share == pytest.approx((bad | more).float().mean().item(), rel=0.1)
    assert found[bad].float().mean() > 0.99
    assert found[more].float().mean() > 0.75
    assert found[~(bad | more)].float().mean() < 0.005


def test_known_bad_values_count_for_nothing():
    y, predicted, _ = problem(0.0)
    known = torch.ones_like(y, dtype=torch.bool)
    known[:, :40] = False
    y[:, :40] = 1.0
    verdict = settle(y, predicted, known)
    assert verdict.share == 0.0
    assert (verdict.probability[~known] == 1).all()
    assert not (verdict.probability[known] > 0.5).any()


def test_the_density_of_clean_errors_falls_from_0_on():
    mass = torch.rand(BINS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    density = falling_density(mass)
    assert (density.diff() <= 1e-6).all()


def test_beyond_the_scale_no_octave_of_clean_errors_has_more_than_the_one_before():
    mass = torch.rand(BINS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    edges = torch.logspace(math.log10(LEAST), math.log10(MOST), BINS + 1)
    per_octave = falling_density(mass) * edges.diff()
    assert (per_octave[edges[1:] > 1].diff() <= 1e-6).all()


@pytest.mark.parametrize("sure, kept", [(150, 150), (400, 152)])
def test_no_more_values_are_damaged_than_their_share_and_chance_allow(sure, kept):
    """Of 49 152 values 0.2 % are 98, give or take 10: a quarter and three deviations more may be found, not 400."""
    probability = torch.linspace(0.001, 0.1, 49_152)
    probability[:sure] = torch.linspace(0.9, 0.99, sure)
    assert int((_no_more_than(0.002, probability) > UNSURE).sum()) == kept
