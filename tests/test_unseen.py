"""Predictions that do not see what they predict."""

from __future__ import annotations

import pytest
import torch

import doprestore.image.unseen as unseen
from doprestore.image.crossfit import CrossFit
from doprestore.image.fill import CERTAIN
from doprestore.image.medians import median_around
from doprestore.image.settings import image_settings
from doprestore.image.unseen import first_guesses, pixel_folds, predict, value_folds
from doprestore.image.windows import windows

NO_CUTS = (False, False, False, False)


def picture(channels: int, height: int = 40, width: int = 56) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    base = torch.linspace(0.1, 0.9, width).expand(height, width)
    return (base + 0.1 * torch.rand(channels, height, width, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("how", ["guess", "values", "pixels"])
def test_a_value_has_no_influence_on_its_own_prediction(channels, how):
    y = picture(channels)
    trust = torch.full_like(y, CERTAIN)
    make = {"values": value_folds, "pixels": pixel_folds}.get(how)
    folds = make(y.shape, torch.Generator().manual_seed(1)) if make else None

    def predicted(y):
        return first_guesses(y, NO_CUTS)[0] if how == "guess" else predict(y, trust, folds, torch.eye(channels), NO_CUTS)

    other = y.clone()
    other[0, 20, 30] = 1.0
    if how == "pixels":  # no channel of the pixel has any
        other[:, 20, 30] = 1.0
    before, after = predicted(y), predicted(other)
    assert before[0, 20, 30] == after[0, 20, 30]
    assert not torch.equal(before, after)  # but on those around


def test_what_is_not_trusted_has_no_influence():
    y = picture(3)
    trusted = torch.rand(y.shape, generator=torch.Generator().manual_seed(2)) < 0.8
    folds = value_folds(y.shape, torch.Generator().manual_seed(1))
    trust = CERTAIN * trusted
    other = torch.where(trusted, y, 0.0)
    assert torch.equal(predict(y, trust, folds, torch.eye(3), NO_CUTS), predict(other, trust, folds, torch.eye(3), NO_CUTS))


def test_windows_change_next_to_nothing(monkeypatch):
    y = picture(3, 64, 80)
    trust = torch.full_like(y, CERTAIN)
    folds = value_folds(y.shape, torch.Generator().manual_seed(1))
    whole, guess = predict(y, trust, folds, torch.eye(3), NO_CUTS), first_guesses(y, NO_CUTS)[0]
    monkeypatch.setattr(unseen, "windows", lambda shape, **how: windows(shape, **{**how, "side": 32}))
    assert (predict(y, trust, folds, torch.eye(3), NO_CUTS) - whole).abs().max() < 0.02
    assert torch.equal(first_guesses(y, NO_CUTS)[0], guess)


def test_windows_cover_a_picture_once():
    covered = torch.zeros(1, 700, 350)
    for outer, inner, place in windows((700, 350)):
        covered[place] += 1
        assert covered[outer][inner].shape == covered[place].shape
    assert (covered == 1).all()


@pytest.mark.parametrize("by_pixel", [False, True])
def test_the_network_of_the_search_is_not_shown_what_it_predicts(by_pixel, monkeypatch):
    """An impulse changes its own prediction only by what it does to those of others, which θ learns from."""
    monkeypatch.setattr("doprestore.image.crossfit.STEPS", 3)
    y = picture(3, 32, 32)
    folds = (pixel_folds if by_pixel else value_folds)(y.shape, torch.Generator().manual_seed(1))
    other = y.clone()
    other[slice(None) if by_pixel else 0, 20, 10] = 1.0
    probability = torch.zeros_like(y)
    probability[:, 20, 10] = 1.0  # it teaches nothing
    trust = torch.full_like(y, CERTAIN)
    predicted = []
    for values in (y, other):
        network = CrossFit(values, torch.eye(3), NO_CUTS, image_settings(seed=3))
        predicted.append(float(network.predict(trust, probability, folds)[0, 20, 10]))
    assert predicted[0] == pytest.approx(predicted[1], abs=0.02)


def test_a_prediction_of_the_search_is_a_mean_over_rounds(monkeypatch):
    monkeypatch.setattr("doprestore.image.crossfit.STEPS", 2)
    y = picture(1, 32, 32)
    trust, probability = torch.full_like(y, CERTAIN), torch.zeros_like(y)
    generator = torch.Generator().manual_seed(1)
    folds = [value_folds(y.shape, generator) for _ in range(3)]

    def rounds(before: float) -> list[torch.Tensor]:
        monkeypatch.setattr("doprestore.image.crossfit.BEFORE", before)
        network = CrossFit(y, torch.eye(1), NO_CUTS, image_settings(seed=3))
        return [network.predict(trust, probability, fold) for fold in folds]

    alone, mean = rounds(0.0), rounds(0.5)
    assert torch.equal(mean[0], alone[0])
    assert torch.allclose(mean[1], (alone[0] + alone[1]) / 2, atol=1e-6)
    assert torch.allclose(mean[2], (mean[1] + alone[2]) / 2, atol=1e-6)
    assert not torch.equal(alone[1], alone[2])


def test_doubtful_values_count_by_their_odds():
    y = torch.full((1, 32, 32), 0.5)
    y[0, 16, 16] = 1.0
    folds = torch.zeros(1, 32, 32, dtype=torch.uint8)
    folds[0, 16, 17] = 1
    beside = []
    for odds in (0.0, 0.3, 3.0, CERTAIN):
        trust = torch.full_like(y, CERTAIN)
        trust[0, 16, 16] = odds
        beside.append(float(predict(y, trust, folds, torch.eye(1), NO_CUTS)[0, 16, 17]))
    assert beside[0] == pytest.approx(0.5, abs=1e-3)
    assert beside == sorted(beside) and beside[3] > beside[1] + 0.05


def test_medians_are_those_of_sorting():
    tones = (torch.rand(2, 30, 41, generator=torch.Generator().manual_seed(3)) * 9).round()  # with many alike
    padded = torch.nn.functional.pad(tones[None], (2, 2, 2, 2), mode="replicate")[0]
    around = padded.unfold(1, 5, 1).unfold(2, 5, 1).reshape(2, 30, 41, 25)
    around = torch.cat([around[..., :12], around[..., 13:]], -1)
    assert torch.equal(median_around(tones), around.sort(-1).values[..., 11])
