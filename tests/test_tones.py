"""Tones that outliers share stand out; those of the picture itself do not."""

from __future__ import annotations

import pytest
import torch

from doprestore.damage.make import corrupt
from doprestore.image.tones import is_paper, shared_tones


def smooth(channels: int, side: int = 128) -> torch.Tensor:
    """A picture of many tones, none of them black or white."""
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
    tones = shared_tones(damaged, clean, found)
    assert tones.explain and tones.explained == 1 and tones.settled
    assert torch.equal(tones.suspects, changed)
    assert not (tones.outright & ~changed).any() and tones.outright[changed].float().mean() > 0.99


@pytest.mark.parametrize(("kind", "amount"), [("random", 0.1), ("random", 0.5), ("random-pixel", 0.3), ("cosmic", 0.05)])
def test_outliers_of_any_tone_share_none(kind, amount):
    clean = smooth(3)
    for seed in range(4):
        damaged, changed = corrupt(clean, kind, amount, seed=seed)
        tones = shared_tones(damaged, clean, changed)
        assert not tones.explain
        assert tones.explained == 0 or kind == "cosmic"  # a track of those has one tone, and some have the same


@pytest.mark.parametrize(("sigma", "amount"), [(2, 0.1), (5, 0.5)])
def test_tones_smeared_by_dense_noise_are_known_to_their_tails(sigma, amount):
    clean = smooth(3)
    damaged, changed, _ = seen(clean, "salt-pepper", amount)
    damaged += sigma / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    damaged.clamp_(0, 1)
    found = changed & (torch.rand(changed.shape, generator=torch.Generator().manual_seed(1)) < 0.8)
    tones = shared_tones(damaged, clean, found)
    assert tones.explain and tones.settled
    assert tones.suspects[changed].float().mean() > 0.999 and tones.outright[changed].float().mean() > 0.99
    assert tones.outright[~changed].float().mean() < 0.001


def test_a_network_that_knows_little_finds_dark_areas_which_are_no_shared_tones():
    clean = smooth(3)
    clean[:, 40:] = (clean[:, 40:] * 255 / 16).round() / 255  # three quarters at a few tones near black
    damaged, changed = corrupt(clean, "salt-pepper", 0.3, seed=0)
    grey = torch.full_like(clean, 0.5)
    tones = shared_tones(damaged, grey, (damaged - grey).abs() > 0.25)
    assert tones.explain and tones.settled and torch.equal(tones.outright, changed)


def test_nor_is_a_black_background():
    clean = smooth(3)
    clean[:, 50:] = 0.0
    damaged = corrupt(clean, "salt-pepper", 0.3, seed=0).picture
    changed = damaged != clean
    grey = torch.full_like(clean, 0.5)
    tones = shared_tones(damaged, grey, (damaged - grey).abs() > 0.25)
    assert tones.explain and tones.settled
    assert not (tones.outright & ~changed)[:, 56:].any() and tones.outright[changed].float().mean() > 0.99


def test_a_tone_that_cannot_be_counted_in_a_dark_channel_is_known_from_the_others():
    clean = smooth(3)
    clean[2] *= 0.2  # nowhere far from black
    damaged, changed, found = seen(clean, "salt-pepper", 0.3)
    tones = shared_tones(damaged, clean, found)
    assert tones.explain and tones.settled and torch.equal(tones.outright, changed)
    alone = shared_tones(damaged[2:], clean[2:], found[2:])
    assert torch.equal(alone.outright, changed[2:] & (damaged[2:] == 1))
    ink = clean.clone()
    ink[:2, ::7] = 0.1  # in two channels alone
    tones = shared_tones(ink, clean, ink != clean)
    assert tones.outright[:2, ::7].all() and not tones.suspects[2].any()


def test_nothing_found_is_nothing_shared():
    clean = smooth(3)
    tones = shared_tones(clean, clean, torch.zeros_like(clean, dtype=torch.bool))
    assert not tones.explain and not tones.suspects.any() and not tones.outright.any()


def test_white_areas_of_the_picture_are_no_salt():
    clean = smooth(3)
    clean[:, 20:60, 30:70] = 1.0
    damaged, changed, found = seen(clean, "salt-pepper", 0.4)
    tones = shared_tones(damaged, clean, found)
    assert tones.explain and tones.settled
    inside = torch.zeros_like(changed)
    inside[:, 26:54, 36:64] = True
    assert not (tones.outright & inside & (damaged == 1)).any()
    assert tones.outright[changed].float().mean() > 0.99


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.7])
def test_a_black_edge_of_the_picture_is_no_dead_line_unless_there_are_others(amount):
    clean = smooth(3)
    clean[1, :, 0] = clean[2, -2:] = 0.0
    damaged, changed, found = seen(clean, "salt-pepper", amount)
    tones = shared_tones(damaged, clean, found)
    assert tones.explain and tones.settled
    assert not tones.outright[1, :, 0][damaged[1, :, 0] == 0].any()
    assert not tones.outright[2, -2:][damaged[2, -2:] == 0].any()
    assert tones.outright[:, :-2, 1:][changed[:, :-2, 1:]].all()

    dead = smooth(3)
    dead[:, [0, 40, 90]] = 0.0
    assert shared_tones(dead, smooth(3), dead == 0).outright[:, 0].all()


def test_a_tone_of_which_the_picture_has_more_is_suspect_but_not_left_out():
    clean = smooth(3)
    white = torch.rand(clean.shape, generator=torch.Generator().manual_seed(2)) < 0.2
    damaged, changed, found = seen(torch.where(white, 1.0, clean), "salt-pepper", 0.1)
    tones = shared_tones(damaged, torch.where(white, 1.0, clean), found)
    assert not tones.settled and tones.suspects[white & ~changed].all()
    assert not tones.outright[damaged == 1].any() and tones.outright[damaged == 0].all()


def test_hardly_anything_is_far_from_middle_grey():
    """Where outliers of a tone could not be told from the picture, those few that could are not multiplied."""
    clean = torch.full((1, 64, 64), 0.5)
    clean[:, :2] = 0.9  # 3 % of the picture
    damaged, found = clean.clone(), torch.zeros_like(clean, dtype=torch.bool)
    damaged[:, :2, :10], found[:, :2, :10] = 0.5, True
    assert not shared_tones(damaged, clean, found).outright.any()


def test_areas_of_one_tone_are_paper_and_damage_is_none():
    page = torch.full((1, 128, 128), 0.9)
    page[:, 40:44, 20:100] = 0.1
    assert is_paper(page)
    assert not is_paper(smooth(3))
    for kind, amount in (("salt-pepper", 0.9), ("salt-pepper-pixel", 0.9), ("text", 0.1), ("scratches", 0.3)):
        assert not is_paper(corrupt(smooth(3), kind, amount, seed=0).picture)
