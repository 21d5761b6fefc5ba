"""Impulses stand alone, drawn damage stands together."""

from __future__ import annotations

import pytest
import torch

from doprestore.damage.make import corrupt
from doprestore.image.strokes import stand_together


def damage(kind: str, amount: float, channels: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    clean = torch.linspace(0.2, 0.8, 128).expand(channels, 128, 128).contiguous()
    damaged = corrupt(clean, kind, amount, seed).picture
    return damaged != clean, (damaged - clean).abs()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "amount", "together"),
    [
        *(("salt-pepper", amount, False) for amount in (0.02, 0.1, 0.3, 0.5)),
        *(("salt-pepper-pixel", amount, False) for amount in (0.1, 0.3)),
        *(("random", amount, False) for amount in (0.1, 0.3)),
        ("text", 0.1, True),
        ("scratches", 0.1, True),
        ("lines", 0.1, True),
        ("cosmic", 0.05, True),
    ],
)
def test_impulses_stand_alone_and_drawn_damage_together(kind, amount, together, channels, seed):
    assert stand_together(*damage(kind, amount, channels, seed)) == together


def test_no_outliers_do_not_stand_together():
    assert not stand_together(torch.zeros(3, 8, 8, dtype=torch.bool), torch.zeros(3, 8, 8))


def test_one_solid_block_stands_together_and_weak_ones_around_single_values_do_not_count():
    outliers = torch.zeros(1, 64, 64, dtype=torch.bool)
    outliers[:, 20:30, 20:30] = True
    assert stand_together(outliers, outliers.float())
    outliers[:, ::4, ::4] = True
    strength = torch.full((1, 64, 64), 0.1)
    strength[:, ::4, ::4] = 0.5
    assert not stand_together(outliers, strength)
