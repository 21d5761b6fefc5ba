"""Levels that outliers share stand out; those of the picture itself do not."""

from __future__ import annotations

import pytest
import torch

from doprestore.damage.make import corrupt
from doprestore.image.levels import shared_levels


def smooth(channels: int, side: int = 128) -> torch.Tensor:
    """A picture of many levels, none of them black or white."""
    rows, columns = torch.linspace(0.2, 0.7, side)[:, None], torch.linspace(0, 0.15, side)
    return (rows + columns).expand(channels, side, side).contiguous()


def seen(clean: torch.Tensor, kind: str, amount: float, share: float = 1.0):
    """A damaged picture, where it is so, and of that what a search has found: a random share."""
    damaged, changed = corrupt(clean, kind, amount, seed=0)
    found = changed & (torch.rand(changed.shape, generator=torch.Generator().manual_seed(1)) < share)
    return damaged, changed, found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("kind", "amount"),
    [("salt-pepper", 0.05), ("salt-pepper", 0.7), ("salt-pepper-pixel", 0.3), ("text", 0.1), ("scratches", 0.1),
     ("lines", 0.1)],
)  # fmt: skip
def test_where_some_of_the_outliers_are_found_all_are_known(kind, amount, channels):
    clean = smooth(channels)
    damaged, changed, found = seen(clean, kind, amount, share=0.6)
    levels = shared_levels(damaged, clean, found)
    assert levels.explain and levels.explained == 1 and levels.settled
    assert torch.equal(levels.suspects, changed)
    assert not (levels.outright & ~changed).any() and levels.outright[changed].float().mean() > 0.99


@pytest.mark.parametrize(("kind", "amount"), [("random", 0.1), ("random", 0.5), ("random-pixel", 0.3), ("cosmic", 0.05)])
def test_outliers_of_any_level_share_none(kind, amount):
    clean = smooth(3)
    for seed in range(4):
        damaged, changed = corrupt(clean, kind, amount, seed=seed)
        levels = shared_levels(damaged, clean, changed)
        assert not levels.explain
        assert levels.explained == 0 or kind == "cosmic"  # a track of those has one level, and some have the same


@pytest.mark.parametrize(("sigma", "amount"), [(2, 0.1), (5, 0.5)])
def test_levels_smeared_by_dense_noise_are_known_to_their_tails(sigma, amount):
    clean = smooth(3)
    damaged, changed, _ = seen(clean, "salt-pepper", amount)
    damaged += sigma / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    damaged.clamp_(0, 1)
    found = changed & (torch.rand(changed.shape, generator=torch.Generator().manual_seed(1)) < 0.8)
    levels = shared_levels(damaged, clean, found)
    assert levels.explain and levels.settled
    assert levels.suspects[changed].float().mean() > 0.999 and levels.outright[changed].float().mean() > 0.99
    assert levels.outright[~changed].float().mean() < 0.001


def test_a_network_that_knows_little_finds_dark_areas_which_are_no_shared_levels():
    clean = smooth(3)
    clean[:, 40:] = (clean[:, 40:] * 255 / 16).round() / 255  # three quarters at a few levels near black
    damaged, changed = corrupt(clean, "salt-pepper", 0.3, seed=0)
    grey = torch.full_like(clean, 0.5)
    levels = shared_levels(damaged, grey, (damaged - grey).abs() > 0.25)
    assert levels.explain and levels.settled and torch.equal(levels.outright, changed)


def test_nor_is_a_black_background():
    clean = smooth(3)
    clean[:, 50:] = 0.0
    damaged = corrupt(clean, "salt-pepper", 0.3, seed=0).picture
    changed = damaged != clean
    grey = torch.full_like(clean, 0.5)
    levels = shared_levels(damaged, grey, (damaged - grey).abs() > 0.25)
    assert levels.explain and levels.settled
    assert not (levels.outright & ~changed)[:, 56:].any() and levels.outright[changed].float().mean() > 0.99


def test_a_level_that_cannot_be_counted_in_a_dark_channel_is_known_from_the_others():
    clean = smooth(3)
    clean[2] *= 0.2  # nowhere far from black
    damaged, changed, found = seen(clean, "salt-pepper", 0.3)
    levels = shared_levels(damaged, clean, found)
    assert levels.explain and levels.settled and torch.equal(levels.outright, changed)
    alone = shared_levels(damaged[2:], clean[2:], found[2:])
    assert torch.equal(alone.outright, changed[2:] & (damaged[2:] == 1))
    ink = clean.clone()
    ink[:2, ::7] = 0.1  # in two channels alone
    levels = shared_levels(ink, clean, ink != clean)
    assert levels.outright[:2, ::7].all() and not levels.suspects[2].any()


def test_nothing_found_is_nothing_shared():
    clean = smooth(3)
    levels = shared_levels(clean, clean, torch.zeros_like(clean, dtype=torch.bool))
    assert not levels.explain and not levels.suspects.any() and not levels.outright.any()


def test_white_areas_of_the_picture_are_no_salt():
    clean = smooth(3)
    clean[:, 20:60, 30:70] = 1.0
    damaged, changed, found = seen(clean, "salt-pepper", 0.4)
    levels = shared_levels(damaged, clean, found)
    assert levels.explain and levels.settled
    inside = torch.zeros_like(changed)
    inside[:, 26:54, 36:64] = True
    assert not (levels.outright & inside & (damaged == 1)).any()
    assert levels.outright[changed].float().mean() > 0.99


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.7])
def test_a_black_edge_of_the_picture_is_no_dead_line_unless_there_are_others(amount):
    clean = smooth(3)
    clean[1, :, 0] = clean[2, -2:] = 0.0
    damaged, changed, found = seen(clean, "salt-pepper", amount)
    levels = shared_levels(damaged, clean, found)
    assert levels.explain and levels.settled
    assert not levels.outright[1, :, 0][damaged[1, :, 0] == 0].any()
    assert not levels.outright[2, -2:][damaged[2, -2:] == 0].any()
    assert levels.outright[:, :-2, 1:][changed[:, :-2, 1:]].all()

    dead = smooth(3)
    dead[:, [0, 40, 90]] = 0.0
    assert shared_levels(dead, smooth(3), dead == 0).outright[:, 0].all()


def test_a_level_of_which_the_picture_has_more_is_suspect_but_not_left_out():
    clean = smooth(3)
    white = torch.rand(clean.shape, generator=torch.Generator().manual_seed(2)) < 0.2
    damaged, changed, found = seen(torch.where(white, 1.0, clean), "salt-pepper", 0.1)
    levels = shared_levels(damaged, torch.where(white, 1.0, clean), found)
    assert not levels.settled and levels.suspects[white & ~changed].all()
    assert not levels.outright[damaged == 1].any() and levels.outright[damaged == 0].all()


def test_hardly_anything_is_far_from_middle_grey():
    """Where outliers of a level could not be told from the picture, those few that could are not multiplied."""
    clean = torch.full((1, 64, 64), 0.5)
    clean[:, :2] = 0.9  # 3 % of the picture
    damaged, found = clean.clone(), torch.zeros_like(clean, dtype=torch.bool)
    damaged[:, :2, :10], found[:, :2, :10] = 0.5, True
    assert not shared_levels(damaged, clean, found).outright.any()
