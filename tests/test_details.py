"""Details that are taken for damage: values that are off in company are doubted, single ones are not."""

from __future__ import annotations

import torch

from doprestore.image.details import without_details

SIDE = 96
SURE, LESS_SURE = 0.95, 0.7


def struck(share: float, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Single values anywhere, (C, H, W) bool."""
    return torch.rand(channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) < share


def judged(probability: torch.Tensor, error: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return without_details(probability, error, 0.5, torch.Generator().manual_seed(seed))


def test_single_values_are_believed_as_before():
    """However many they are: the company that they keep is that of chance."""
    for share in (0.001, 0.05, 0.4):
        probability = torch.where(struck(share), SURE, 0.0)
        error = torch.randn(probability.shape, generator=torch.Generator().manual_seed(1))
        assert (judged(probability, error) > 0.5).sum() >= 0.97 * (probability > 0.5).sum()


def test_highlights_are_doubted():
    """All channels of a pixel, to the same side: by chance almost never."""
    damage = struck(0.02)
    highlights = struck(0.005, channels=1, seed=2).expand_as(damage)
    error = torch.where(highlights, 1.0, torch.randn(damage.shape, generator=torch.Generator().manual_seed(3)))
    probability = torch.where(damage, SURE, torch.where(highlights, LESS_SURE, 0.0))
    believed = judged(probability, error) > 0.5
    assert believed[highlights & ~damage].float().mean() < 0.1
    assert believed[damage & ~highlights].float().mean() > 0.95


def test_lines_are_doubted():
    """Neighbours in one channel, as those of a hair."""
    damage = struck(0.02, channels=1)
    hairs = torch.zeros_like(damage)
    hairs[0, 10::20, 10:80] = True
    error = torch.where(hairs, -1.0, torch.randn(damage.shape, generator=torch.Generator().manual_seed(4)))
    probability = torch.where(hairs, LESS_SURE, torch.where(damage, SURE, 0.0))
    believed = judged(probability, error) > 0.5
    assert believed[hairs].float().mean() < 0.2
    assert believed[damage & ~hairs].float().mean() > 0.95


def test_the_surest_of_those_in_company_stay():
    damage = struck(0.1)
    details = struck(0.02, channels=1, seed=5).expand_as(damage)
    error = torch.ones(damage.shape)
    probability = torch.where(damage, SURE, torch.where(details, LESS_SURE, 0.0))
    result = judged(probability, error)
    company = damage.sum(0, keepdim=True).expand_as(damage) > 1
    assert result[company & damage].mean() > result[details & ~damage].mean() + 0.2


def test_pictures_of_few_pixels_and_without_damage_are_returned_as_they_are():
    for shape in ((1, 1, 1), (3, 12, 80), (3, 40, 40)):
        probability = torch.zeros(shape) if shape[1] == 40 else torch.ones(shape)
        assert torch.equal(judged(probability, torch.ones(shape)), probability)
