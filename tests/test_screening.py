"""The search for damage: are whole pixels lost, or single values, and what has the tone of ink?"""

from __future__ import annotations

import pytest
import torch
from conftest import ROOT

from doprestore.damage.make import corrupt
from doprestore.image.details import channel_coupling, surely_coupled
from doprestore.image.screening import COUPLED, FILL_ROUNDS, ROUNDS, Screening
from doprestore.image.settings import image_settings
from doprestore.io.images import read_picture


def test_values_lost_one_by_one_are_told_from_whole_pixels():
    random = torch.Generator().manual_seed(0)
    for share in (0.1, 0.5, 0.7):
        single = torch.rand(3, 128, 128, generator=random) < share
        assert channel_coupling(single) == pytest.approx(0, abs=0.05)
        whole = (torch.rand(128, 128, generator=random) < share).expand(3, 128, 128)
        assert channel_coupling(whole) == pytest.approx(1)
        found = whole & (torch.rand(3, 128, 128, generator=random) < 0.9)  # a tenth of the values was right, or not found
        assert COUPLED < channel_coupling(found) < 1 and surely_coupled(found, COUPLED)
    assert channel_coupling(torch.zeros(3, 8, 8, dtype=torch.bool)) == 0
    assert channel_coupling(torch.ones(3, 8, 8, dtype=torch.bool)) == 1
    one_channel = (torch.eye(8, dtype=torch.bool)[None], torch.zeros(1, 8, 8, dtype=torch.bool))
    assert [channel_coupling(lost) for lost in one_channel] == [1, 1]


def test_few_pixels_are_not_surely_coupled():
    lost = torch.zeros(3, 40, 40, dtype=torch.bool)
    lost[:, :5, 0] = lost[0, :5, 5] = True  # as chance may have it
    assert channel_coupling(lost) > 0.7 and not surely_coupled(lost, 0.5)
    assert not surely_coupled(torch.zeros_like(lost), 0.0)


def test_whole_pixels_are_found_where_grain_hides_some_of_their_channels():
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=random)
    clean = 0.25 + 0.5 * torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic")[0]
    clean = (clean + 0.06 * torch.randn(3, 96, 96, generator=random)).clamp(0, 1)
    bad, bright = (torch.rand(1, 96, 96, generator=random) < share for share in (0.03, 0.5))
    struck = torch.where(bright, 0.825, 0.175) + 0.05 * torch.randn(3, 96, 96, generator=random)
    search = Screening(
        torch.where(bad, struck, clean).clamp(0, 1), torch.ones_like(clean, dtype=torch.bool), image_settings()
    )
    while not search.done and search.round < FILL_ROUNDS:
        search.step()
    found = search.found
    assert search.by_pixel
    assert found[:, bad[0]].float().mean() > 0.8 and found[:, ~bad[0]].float().mean() < 0.005


def test_ink_is_ink_in_a_channel_that_is_as_dark():
    """Little of a dark channel is far from black, so black does not stand out there; but it does in the others."""
    rows, columns = torch.linspace(0.3, 0.7, 128)[:, None], torch.linspace(0, 0.15, 128)
    clean = torch.stack([rows + columns, rows + columns, 0.02 + 0.1 * (rows + columns)])
    clean[2, :, :12] += 0.4  # the one part that is far from black, where there happens to be no scratch
    damaged, bad = corrupt((clean * 255).round() / 255, "scratches", 0.1, seed=0)
    bad[:, :, :12] = False
    damaged = torch.where(bad, damaged, (clean * 255).round() / 255)
    search = Screening(damaged, torch.ones_like(bad), image_settings())
    while not search.done:
        search.step()
    assert search.found[bad].float().mean() > 0.99
    assert search.found[~bad].float().mean() < 0.002


def test_the_search_ends_though_new_folds_go_on_changing_what_is_found():
    """A few per cent of few found values change in each round, however well the network has learnt."""
    samples = read_picture(ROOT / "sample_images" / "camera.png").pixels
    clean = torch.from_numpy(samples)[:, 96:160, 96:160].contiguous()
    damaged, bad = corrupt(clean, "random", 0.01, seed=0)
    search = Screening(damaged, torch.ones_like(bad), image_settings())
    while not search.done and search.round < ROUNDS:
        search.step()
    assert search.network is not None
    assert search.made < ROUNDS
    assert search.found[bad].float().mean() > 0.5
