"""What a search leaves to the fit."""

from __future__ import annotations

import torch

from doprestore.kept import whole_pixels_lost


def test_values_lost_one_by_one_are_told_from_whole_pixels():
    random = torch.Generator().manual_seed(0)
    for share in (0.1, 0.5, 0.7):
        assert not whole_pixels_lost((torch.rand(3, 64, 64, generator=random) > share).float())
        pixels = (torch.rand(64, 64, generator=random) > share).float().expand(3, 64, 64).clone()
        assert whole_pixels_lost(pixels)
        missed = torch.rand(3, 64, 64, generator=random) < 0.1  # a tenth of the values was right, or not found
        assert whole_pixels_lost(torch.where(missed, 1.0, pixels))
    assert not whole_pixels_lost(torch.ones(3, 64, 64))
