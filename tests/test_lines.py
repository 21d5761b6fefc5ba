"""Dead and shifted lines are found where the picture around them varies, and nothing else is."""

from __future__ import annotations

import pytest
import torch
from conftest import ROOT
from torch import nn

from doprestore.damage.make import corrupt
from doprestore.image.light import Light
from doprestore.image.lines import find_lines
from doprestore.image.settings import image_settings
from doprestore.io.images import read_picture

SIDE = 96


def _picture(channels: int, seed: int = 0) -> torch.Tensor:
    """Smooth, with some grain, (C, SIDE, SIDE), rounded to 256 tones."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(channels, 6, 6, generator=random)
    smooth = nn.functional.interpolate(coarse[None], size=(SIDE, SIDE), mode="bicubic", align_corners=True)[0]
    grain = 0.01 * torch.randn(channels, SIDE, SIDE, generator=random)
    return ((0.2 + 0.6 * smooth + grain).clamp(0, 1) * 255).round() / 255


def _found(picture: torch.Tensor) -> torch.Tensor:
    return find_lines(picture, torch.ones_like(picture, dtype=torch.bool))


def test_dead_lines_are_found_to_the_pixel():
    for channels in (1, 3):
        picture = _picture(channels)
        bad = torch.zeros_like(picture, dtype=torch.bool)
        for row, tone in ((20, 0.9), (21, 0.1), (60, 0.5)):
            picture[:, row], bad[:, row] = round(255 * tone) / 255, True
        picture[:, 80, 30:70], bad[:, 80, 30:70] = 250 / 255, True
        assert not find_lines(picture, ~bad).any()  # what is known need not be found
        found = _found(picture)
        assert found[bad].float().mean() > 0.98 and (found & ~bad).float().mean() < 0.001
        assert torch.equal(_found(picture.mT.contiguous()).mT, found)


def test_shifted_lines_are_found_in_their_channels():
    picture = _picture(3)
    picture[0, 30] += 0.1
    picture[:, :, 50] -= 0.12
    picture = picture.clamp(0, 1)
    bad = torch.zeros_like(picture, dtype=torch.bool)
    bad[0, 30] = bad[:, :, 50] = True
    assert torch.equal(_found(picture), bad)


def test_whole_pictures_have_no_lines():
    picture = _picture(3)
    assert not _found(picture).any()
    assert not _found(picture[:, :8]).any() and not _found(torch.zeros(1, SIDE, SIDE)).any()
    step = picture.clone()
    step[:, 40:] = (step[:, 40:] - 0.1).clamp(0, 1)
    assert not _found(step).any()  # a horizon
    # A line that a lens has drawn reaches into its neighbours.
    wire = picture.clone()
    for row, by in ((39, 0.05), (40, 0.1), (41, 0.05)):
        wire[:, row] -= by
    assert not _found(wire.clamp(0, 1)).any()
    blinds = picture.clone()
    blinds[:, ::4] = (blinds[:, ::4] - 0.1).clamp(0, 1)
    assert not _found(blinds).any()


def test_lines_drawn_on_paper_are_no_damage():
    page = _picture(1)
    page[:, :, : SIDE // 2] = 1
    page[:, 30], page[:, 60, 10:] = 0.1, 0.3
    assert not _found(page).any()


def test_what_is_found_is_filled_and_named():
    clean = _picture(1)
    picture = clean.clone()
    picture[:, 33], picture[:, 70] = 1 / 255, 240 / 255
    light = Light(picture, image_settings(steps=1, seed=1), None)
    while not light.done:
        light.step()
    assert [damage.kind for damage in light.damage()] == ["lines"]
    assert abs(light.damage()[0].share - 2 / SIDE) < 1e-6 and bool(light.found[:, 33].all())
    whole = [row for row in range(SIDE) if row not in (33, 70)]
    assert torch.equal(light.answer[:, whole], picture[:, whole])
    assert (light.answer - clean)[:, [33, 70]].abs().mean() < 0.03


def test_what_repeats_is_the_picture():
    random = torch.Generator().manual_seed(1)
    noise = 0.3 + 0.05 * torch.randn(1, SIDE, SIDE, generator=random)
    bars = 0.6 * (torch.rand(1, 1, SIDE, generator=random) < 0.5).float()
    assert not _found((noise + bars).clamp(0, 1)).any()  # a barcode
    grid = noise.clone()
    grid[:, 4::16] += 0.15
    grid[:, :, 4::16] += 0.15
    assert not _found(grid).any()


def test_clipped_highlights_are_no_dead_lines():
    picture = _picture(1)
    for row, start in ((20, 10), (50, 40)):
        picture[:, row, start : start + 40] = 1  # a glint that touches the brightest tone in one row
    assert _found(picture)[:, 20, 10:50].all()
    light = picture.clone()
    light[:, 70:74, 20:60] = 1  # and where the picture has more of that tone it is the picture's own
    assert not _found(light).any()
    light[:, 30] = 1
    assert _found(light)[:, 30].float().mean() > 0.9  # but a whole line is dead


def test_a_part_of_a_dead_line_is_known_by_its_ends_in_channels_that_are_flat_there():
    picture = _picture(3)
    picture[1:, 30:50] = 3 / 255  # dark throughout
    picture[1, 40, 20] = 4 / 255
    picture[:, 40, 25:65] = torch.tensor([0.9, 0.8, 0.7])[:, None]
    found = _found(picture)
    assert found[:, 40, 25:65].all() and found.sum() == 3 * 40


def test_a_dead_line_goes_on_beyond_lines_that_cross_it_and_its_tone_elsewhere_is_the_pictures_own():
    picture = _picture(1)
    picture[:, 40, 10:] = 230 / 255
    picture[:, 30:52, 86] = 51 / 255
    picture[:, 30:52, 87] = 190 / 255
    picture[:, 40, 3] = 230 / 255
    found = _found(picture)[0, 40]
    assert found[10:86].all() and found[88:].all() and not found[:10].any()


def test_a_dead_row_and_a_dead_column_of_a_sensor_are_both_found():
    picture = _picture(3)
    bad = torch.zeros_like(picture, dtype=torch.bool)
    picture[:, 40], bad[:, 40] = 230 / 255, True
    picture[:, :, 70], bad[:, :, 70] = 20 / 255, True
    assert torch.equal(_found(picture), bad)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera"])
def test_black_and_white_lines_that_cross_one_another_are_all_found(name):
    """Pieces of less than half of a row each, in pictures that have black of their own."""
    samples = read_picture(ROOT / "sample_images" / f"{name}.png").pixels
    clean = torch.from_numpy(samples)[:, 64:192, 64:192].contiguous()
    damaged, bad = corrupt(clean, "lines", 0.1, seed=0)
    found = _found(damaged)
    assert found[bad].float().mean() > 0.98
    assert found[~bad].float().mean() < 0.005  # on the lines, where the picture is black itself
    assert not _found(clean).any()
