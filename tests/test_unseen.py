"""Predictions that do not see what they predict."""

from __future__ import annotations

import pytest
import torch

import doprestore.image.unseen as unseen
from doprestore.image.unseen import first_guess, pixel_folds, predict, value_folds


def picture(channels: int, height: int = 40, width: int = 56) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    base = torch.linspace(0.1, 0.9, width).expand(height, width)
    return (base + 0.1 * torch.rand(channels, height, width, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("how", ["guess", "values", "pixels"])
def test_a_value_has_no_influence_on_its_own_prediction(channels, how):
    y = picture(channels)
    trusted = torch.ones_like(y, dtype=torch.bool)
    make = {"values": value_folds, "pixels": pixel_folds}.get(how)
    folds = make(y.shape, torch.Generator().manual_seed(1)) if make else None

    def predicted(y):
        return first_guess(y) if how == "guess" else predict(y, trusted, folds, torch.eye(channels))

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
    other = torch.where(trusted, y, 0.0)
    assert torch.equal(predict(y, trusted, folds, torch.eye(3)), predict(other, trusted, folds, torch.eye(3)))


def test_windows_change_next_to_nothing(monkeypatch):
    y = picture(3, 64, 80)
    trusted = torch.ones_like(y, dtype=torch.bool)
    folds = value_folds(y.shape, torch.Generator().manual_seed(1))
    whole, guess = predict(y, trusted, folds, torch.eye(3)), first_guess(y)
    monkeypatch.setattr(unseen, "WINDOW", 32)
    assert (predict(y, trusted, folds, torch.eye(3)) - whole).abs().max() < 0.02
    assert torch.equal(first_guess(y), guess)


def test_windows_cover_a_picture_once():
    covered = torch.zeros(1, 700, 350)
    for outer, inner, place in unseen.windows(700, 350):
        covered[place] += 1
        assert covered[outer][inner].shape == covered[place].shape
    assert (covered == 1).all()
