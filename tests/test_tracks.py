"""Bright tracks: what is found of cosmic rays, and what is left alone that looks a little like them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from doprestore import restore_image
from doprestore.image.tracks import find_tracks
from doprestore.metrics import precision_recall, psnr

SIDE = 96


def scene(seed: int, side: int = SIDE, channels: int = 1) -> Tensor:
    """Smooth waves with fine noise, about 0.3."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.linspace(0, 6, side)
    waves = 0.3 + 0.1 * torch.sin(places)[:, None] * torch.cos(1.7 * places)[None]
    picture = waves + 0.01 * torch.randn(channels, side, side, generator=generator)
    return (picture.clamp(0, 1) * 255).round() / 255


def with_tracks(picture: Tensor, seed: int, count: int = 12, length: int = 9, charge: float = 0.4) -> tuple[Tensor, Tensor]:
    """Straight tracks of a pixel's width that add ``charge`` to all channels alike, and where they are, (C, H, W) bool."""
    generator = torch.Generator().manual_seed(seed)
    added = torch.zeros(picture.shape[1:])
    for row, column, turn in torch.rand(count, 3, generator=generator).tolist():
        for step in range(length):
            down, right = step * math.sin(math.pi * turn), step * math.cos(math.pi * turn)
            y, x = round(row * picture.shape[1] + down), round(column * picture.shape[2] + right)
            if 0 <= y < picture.shape[1] and 0 <= x < picture.shape[2]:
                added[y, x] = charge
    struck = (added > 0).expand_as(picture)
    return ((picture + added).clamp(0, 1) * 255).round() / 255, struck


def everything_known(picture: Tensor) -> Tensor:
    return torch.ones_like(picture, dtype=torch.bool)


@pytest.mark.parametrize("channels", [1, 3])
def test_tracks_are_found_and_nothing_else(channels):
    clean = scene(0, channels=channels)
    damaged, struck = with_tracks(clean, seed=1)
    precision, recall = precision_recall(find_tracks(damaged, everything_known(damaged)), struck)
    assert precision > 0.9
    assert recall > 0.9
    assert not find_tracks(clean, everything_known(clean)).any()


def test_what_is_found_is_mended_and_named():
    clean = scene(2)
    damaged, _ = with_tracks(clean, seed=3)
    result = restore_image(damaged, device="cpu", steps=5)
    assert [damage.kind for damage in result.details.damage] == ["bright tracks"]
    assert psnr(result.restored, clean) > psnr(damaged, clean) + 10


def test_as_many_dark_ones_are_the_picture_s_own():
    """Dark specks are the decoys of bright ones: of a texture of both nothing can be said."""
    bright, struck = with_tracks(scene(4), seed=5, charge=0.2)
    negative, _ = with_tracks(1 - bright, seed=6, charge=0.2)
    both = 1 - negative
    assert not find_tracks(both, everything_known(both)).any()
    assert find_tracks(bright, everything_known(bright))[struck].float().mean() > 0.9


def test_stars_are_left_alone():
    """Points of light through optics have a halo, and lie in no line, however sharp they are."""
    generator = torch.Generator().manual_seed(7)
    rows, columns = (torch.randint(4, SIDE - 4, (60,), generator=generator) for _ in range(2))
    points = torch.zeros(1, SIDE, SIDE)
    points[0, rows, columns] = 0.6
    taps = torch.tensor([0.2, 1.0, 0.2])
    blurred = torch.nn.functional.conv2d(points[None], taps.outer(taps)[None, None], padding=1)[0]
    for stars in (points, blurred):
        picture = (scene(8) + stars).clamp(0, 1)
        assert not find_tracks(picture, everything_known(picture)).any()


@pytest.mark.parametrize(("stars", "are_found"), [(60, True), (500, False)])
def test_a_crowded_field_of_stars_has_lines_by_chance(stars, are_found):
    """Where most specks lie in no line, a few that do are no sign of tracks."""
    side = 2 * SIDE
    damaged, _ = with_tracks(scene(15, side), seed=16, count=20)
    rows, columns = torch.randint(side, (2, stars), generator=torch.Generator().manual_seed(17))
    damaged[0, rows, columns] = 0.9
    assert bool(find_tracks(damaged, everything_known(damaged)).any()) == are_found


def test_one_scratch_is_too_little():
    damaged, _ = with_tracks(scene(9), seed=10, count=1)
    assert not find_tracks(damaged, everything_known(damaged)).any()


def test_drawn_lines_on_paper_are_left_alone():
    """White on black: a slate, a star chart, the inverse of a page."""
    damaged, _ = with_tracks(torch.zeros(1, SIDE, SIDE), seed=11, charge=1.0)
    assert not find_tracks(damaged, everything_known(damaged)).any()


def test_nothing_is_said_of_what_is_known_to_be_bad():
    damaged, _ = with_tracks(scene(12), seed=13)
    known = everything_known(damaged)
    known[:, : SIDE // 2] = False
    found = find_tracks(damaged, known)
    assert found[:, SIDE // 2 :].any()
    assert not found[:, : SIDE // 2].any()


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 5, 70), (1, 1, 40)])
def test_pictures_of_few_pixels(shape):
    picture = torch.rand(shape, generator=torch.Generator().manual_seed(14))
    assert find_tracks(picture, everything_known(picture)).shape == shape
