"""The light-damage benchmark's problems: every kind strikes what its mask says, as much as it says, the same each time."""

from __future__ import annotations

import light_pictures
import pytest
import torch
from light_damage import DAMAGE
from light_pictures import Source, quantised
from light_problems import problem, reference

SINGLE = {"random-0.1": 0.001, "random-1": 0.01, "random-5": 0.05, "random-20": 0.2,
          "salt-pepper-0.1": 0.001, "salt-pepper-1": 0.01, "salt-pepper-5": 0.05, "salt-pepper-20": 0.2,
          "salt-pepper-pixel-3": 0.03, "salt-pepper-pixel-20": 0.2, "jpeg-3": 0.03,
          "noise-random-2": 0.02, "noise-random-20": 0.2}  # fmt: skip
AREA = {"dust-1": 0.01, "hairs-2": 0.02, "dust-hairs-3": 0.03, "rays-1": 0.01}
GREY = torch.full((1, 64, 64), 128 / 255)


@pytest.fixture
def colours() -> torch.Tensor:
    """A smooth picture (3, 64, 96) of 8-bit values between a fifth and four fifths."""
    rows, columns = torch.linspace(0, 1, 64)[:, None], torch.linspace(0, 1, 96)
    channels = [0.2 + 0.6 * rows * columns, 0.8 - 0.4 * rows + 0 * columns, 0.5 + 0.3 * (columns - rows)]
    return quantised(torch.stack(channels))


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_mask_is_what_the_sparse_damage_changed(kind, colours):
    damaged, bad = DAMAGE[kind](colours, 3)
    assert damaged.dtype == torch.float32 and bad.dtype == torch.bool and damaged.shape == bad.shape == colours.shape
    assert torch.equal(quantised(damaged), damaged)
    changed = damaged != reference(kind, colours, 3)
    if kind == "jpeg-3":  # what it spilled is changed, but not struck
        assert changed[bad].all() and 0 < bad.float().mean() < changed.float().mean()
    else:
        assert torch.equal(changed, bad)
    assert (kind == "none") == (not bad.any())


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_seed_means_one_damage(kind, colours):
    first, again, other = (DAMAGE[kind](colours, seed) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert (kind == "none") == torch.equal(first[0], other[0])


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_grey_picture_stays_one(kind):
    damaged, bad = DAMAGE[kind](GREY, 0)
    assert damaged.shape == bad.shape == GREY.shape


@pytest.mark.parametrize(("kind", "share"), SINGLE.items())
def test_amounts_of_single_values_are_exact(kind, share, colours):
    _, bad = DAMAGE[kind](colours, 1)
    count = bad.float().mean().item() * bad.numel()
    # A random value may be what was there before.
    assert 0.97 * share * bad.numel() - 1 <= count <= share * bad.numel() + 2


@pytest.mark.parametrize(("kind", "share"), AREA.items())
def test_areas_are_about_as_named(kind, share):
    grey = torch.full((1, 128, 128), 128 / 255)
    areas = [DAMAGE[kind](grey, seed)[1].float().mean().item() for seed in range(4)]
    assert all(0.95 * share <= area <= 1.6 * share for area in areas)


def test_hot_pixels_are_brighter_in_one_channel_of_a_share_of_the_pixels(colours):
    damaged, bad = DAMAGE["hot-1"](colours, 2)
    assert (damaged >= colours).all() and bad.sum(0).max() == 1
    assert bad.any(0).float().mean().item() == pytest.approx(0.01, abs=0.0005)


def test_damage_of_pixels_strikes_all_channels(colours):
    for kind in ("salt-pepper-pixel-3", "rays-1", "dead-rows", "dust-hairs-3"):
        damaged, bad = DAMAGE[kind](colours, 2)
        strong = (damaged - colours).abs().amax(0) > 0.3
        assert strong.any() and bad[:, strong].float().mean() > 0.95


def test_dust_is_half_to_fully_opaque_with_soft_edges_light_or_dark():
    grey = torch.full((1, 256, 256), 128 / 255)
    damaged, bad = DAMAGE["dust-hairs-3"](grey, 0)
    error = (damaged - grey)[bad]
    assert error.min() < -0.3 and error.max() > 0.3
    soft = (error.abs() < 0.15).float().mean()
    assert 0.05 < soft < 0.6


def test_dead_rows_have_a_tone_each_and_offset_lines_do_not():
    damaged, bad = DAMAGE["dead-rows"](GREY, 0)
    rows = bad[0].any(1).nonzero()[:, 0]
    assert len(rows) == 2 and bad[0, rows].all()
    assert len({damaged[0, row].unique().item() for row in rows}) == 2
    _, partly = DAMAGE["dead-rows-part"](GREY, 0)
    lengths = partly[0].sum(1)
    assert ((lengths == 0) | ((lengths >= 12) & (lengths <= 52))).all() and (lengths > 0).sum() == 3
    flicker, struck = DAMAGE["offset-lines"](GREY, 0)
    row = struck[0].float().mean(1).argmax()
    assert len(flicker[0, row].unique()) > 5


def test_lettering_lets_the_picture_through(colours):
    damaged, bad = DAMAGE["lettering"](colours, 0)
    assert 0.01 < bad.float().mean() < 0.3
    assert (damaged - colours).abs().max() <= 0.71 * 0.8 + 0.01


def test_problems_know_what_is_whole(monkeypatch):
    monkeypatch.setattr(light_pictures, "SOURCES", {"stars": Source("drawn", "tune", "stars")})
    for kind in ("none", "random-5", "jpeg-3", "noise-random-2"):
        one = problem("stars", 128, kind)
        assert one.clean.shape == (1, 128, 128) and torch.equal(quantised(one.clean), one.clean)
        assert not (one.whole & one.bad).any()
        assert ((one.damaged - one.reference).abs()[one.whole] < 2.5 / 255).all()
        if kind != "jpeg-3":
            assert torch.equal(one.whole, ~one.bad)
    assert not torch.equal(problem("stars", 128, "random-5").bad, problem("stars", 128, "random-5", seed=1).bad)


def test_sources_are_half_to_tune_on():
    halves = [source.half for source in light_pictures.SOURCES.values()]
    assert abs(halves.count("tune") - halves.count("report")) == 1 and len(halves) == 17
    assert {"stars", "drawing", "chart"} <= set(light_pictures.sources())


@pytest.mark.parametrize("name", light_pictures.SOURCES)
def test_clean_pictures_are_8_bit_crops_of_the_centre(name):
    if name not in light_pictures.sources():
        pytest.skip(f"{name} is not on this machine")
    small, large = light_pictures.clean(name, 128), light_pictures.clean(name, 256)
    assert small.shape[1:] == (128, 128) and small.dtype == torch.float32 and len(small) in (1, 3)
    assert torch.equal(quantised(large), large) and small.std() > 0.01
    top = (large.shape[1] - 128) // 2
    left = (large.shape[2] - 128) // 2
    assert torch.equal(large[:, top : top + 128, left : left + 128], small)
