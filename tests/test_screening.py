"""The search for damage: are whole pixels lost, or single values?"""

from __future__ import annotations

import pytest
import torch

from doprestore.image.screening import COUPLED, channel_coupling


def test_values_lost_one_by_one_are_told_from_whole_pixels():
    random = torch.Generator().manual_seed(0)
    for share in (0.1, 0.5, 0.7):
        single = torch.rand(3, 64, 64, generator=random) < share
        assert channel_coupling(single) == pytest.approx(0, abs=0.05)
        whole = (torch.rand(64, 64, generator=random) < share).expand(3, 64, 64)
        assert channel_coupling(whole) == pytest.approx(1)
        found = whole & (torch.rand(3, 64, 64, generator=random) < 0.9)  # a tenth of the values was right, or not found
        assert COUPLED < channel_coupling(found) < 1
    assert channel_coupling(torch.zeros(3, 8, 8, dtype=torch.bool)) == 0
    assert channel_coupling(torch.ones(3, 8, 8, dtype=torch.bool)) == 1
    one_channel = (torch.eye(8, dtype=torch.bool)[None], torch.zeros(1, 8, 8, dtype=torch.bool))
    assert [channel_coupling(lost) for lost in one_channel] == [1, 1]
