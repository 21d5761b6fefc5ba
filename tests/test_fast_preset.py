"""The fast preset from end to end: it does no harm, finds what is damaged, and goes on where it was."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from doprestore import restore_image
from doprestore.damage.make import corrupt
from doprestore.drive import drive
from doprestore.errors import UsageError
from doprestore.image.fit import held_out
from doprestore.image.learner import CLOCK, CROP, GAMMA, choose_crops, turned, turned_back
from doprestore.image.light import Light
from doprestore.image.screening import FILL_ROUNDS, ROUNDS
from doprestore.image.settings import image_settings
from doprestore.metrics import psnr


def sample(name: str, side: int = 64) -> torch.Tensor:
    pixels = np.asarray(Image.open(ROOT / "sample_images" / f"{name}.png"), np.float32) / 255
    data = torch.from_numpy(pixels)
    data = data[None] if data.ndim == 2 else data.permute(2, 0, 1)
    top, left = ((full - side) // 2 for full in data.shape[1:])
    return data[:, top : top + side, left : left + side].contiguous()


@pytest.mark.parametrize("name", ["coffee", "astronaut", "cat", "camera"])
def test_a_whole_picture_comes_back_as_it_was(name):
    clean = sample(name, 96)
    result = restore_image(clean)
    assert torch.equal(result.restored, clean)
    assert not result.found.any()
    assert result.details.damage == ()


@pytest.mark.parametrize(
    ("name", "kind", "amount", "better"),
    [
        ("coffee", "random", 0.01, 8),
        ("coffee", "salt-pepper", 0.1, 20),
        ("camera", "salt-pepper", 0.1, 10),
        ("coffee", "salt-pepper-pixel", 0.05, 12),
        ("cat", "scratches", 0.1, 15),
    ],
)
def test_light_damage_is_mended(name, kind, amount, better):
    clean = sample(name)
    damaged, changed = corrupt(clean, kind, amount, seed=0)
    result = restore_image(damaged)
    assert psnr(result.restored, clean) > psnr(damaged, clean) + better
    assert result.found[~changed].float().mean() < 0.02
    assert torch.equal(result.restored[~result.found], damaged[~result.found])
    assert result.details.damage


def test_sensitivity_is_the_odds_that_are_asked_for(few_lessons):
    clean = sample("camera")
    damaged, bad = corrupt(clean, "random", 0.05, seed=0)
    found = [restore_image(damaged, sensitivity=odds, steps=2).found for odds in (0.1, 1, 10)]
    for fewer, more in itertools.pairwise(found):
        assert not (fewer & ~more).any()
        assert more[bad].sum() > fewer[bad].sum()
    assert found[0][~bad].sum() < found[2][~bad].sum()
    assert not restore_image(clean, sensitivity=100).found.any()


def test_sensitivity_is_refused_where_nothing_is_judged():
    with pytest.raises(UsageError, match="--sensitivity is not used by --preset paper"):
        image_settings("paper", sensitivity=2)
    with pytest.raises(UsageError, match="--sensitivity"):
        image_settings(sensitivity=0)


def test_the_kind_is_told(few_lessons):
    clean = sample("cat", 96)
    kinds = {
        "random": "single values",
        "salt-pepper-pixel": "whole pixels",
    }
    for kind, told in kinds.items():
        found = restore_image(corrupt(clean, kind, 0.05, seed=0).picture, steps=2).details.damage
        assert found[0].kind == told
        assert found[0].share == pytest.approx(0.05, rel=0.3)


def test_pixels_and_single_values_are_damaged_at_once(few_lessons):
    """The search by the network goes on by pixels, and forgets nothing of the single values."""
    clean = sample("cat")
    by_pixel, pixels = corrupt(clean, "salt-pepper-pixel", 0.05, seed=0)
    by_value, values = corrupt(clean, "random", 0.05, seed=1)
    values &= ~pixels
    damaged = torch.where(values, by_value, by_pixel)
    result = restore_image(damaged)
    assert result.found[pixels].float().mean() > 0.95
    assert result.found[values].float().mean() > 0.5
    assert psnr(result.restored, clean) > psnr(damaged, clean) + 12


def test_bfloat16_is_what_the_convolutions_are_in(few_lessons):
    kinds = set()

    def watch(module, inputs, output):
        kinds.add(output.dtype)

    clean = sample("cat", 40)
    damaged = corrupt(clean, "salt-pepper", 0.1, seed=0).picture
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *args: watch(module, *args) if isinstance(module, torch.nn.Conv2d) else None
    )
    try:
        result = restore_image(damaged, precision="bfloat16")
    finally:
        handle.remove()
    assert torch.bfloat16 in kinds
    assert psnr(result.restored, restore_image(damaged, precision="float32").restored) > 45


def test_print_is_left_alone():
    page = torch.ones(1, 96, 96)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        top, left = (int(torch.randint(4, 88, (), generator=generator)) for _ in range(2))
        page[0, top, left : left + 5] = 0
        page[0, top : top + 5, left] = 0
    assert torch.equal(restore_image(page).restored, page)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_left_alone(seed):
    """Where nothing around a value tells of it, nothing can be called damaged."""
    noise = (0.5 + 0.125 * torch.randn(40, 40, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)
    assert torch.equal(restore_image(noise).restored, noise)


@pytest.mark.parametrize("channels", [1, 3])
def test_nor_is_noise_of_some_tones_random_values(channels):
    noise = 0.3 + 0.4 * torch.rand(channels, 64, 64, generator=torch.Generator().manual_seed(64))
    result = restore_image(noise)
    assert torch.equal(result.restored, noise)
    assert result.details.undecided


def test_a_state_goes_on_bit_for_bit(few_lessons):
    damaged = corrupt(sample("coffee"), "random", 0.05, seed=0).picture
    settings = image_settings(steps=12)
    straight = Light(damaged, settings, None)
    drive(straight)
    for stop in (2, 5, straight.steps - 5):
        first = Light(damaged, settings, None)
        for _ in range(stop):
            first.step()
        second = Light(damaged, settings, None)
        drive(second, resume=copy.deepcopy(first.state_dict()))
        assert torch.equal(second.answer, straight.answer)


def test_a_seed_fixes_the_answer(few_lessons):
    damaged = corrupt(sample("coffee"), "random", 0.05, seed=0).picture
    one, other = (restore_image(damaged, steps=8).restored for _ in range(2))
    assert torch.equal(one, other)


def test_known_damage_is_filled_and_the_rest_judged():
    clean = sample("cat", 96)
    mask = torch.rand(1, *clean.shape[1:], generator=torch.Generator().manual_seed(0))[0] < 0.2
    damaged = torch.where(mask, 1.0, clean)
    result = restore_image(damaged, mask=mask)
    assert torch.equal(result.found, mask.expand(clean.shape))
    assert psnr(result.restored, clean) > 30


def test_the_network_learns_what_the_fill_is_off_by(few_lessons):
    clean = sample("astronaut")
    damaged = corrupt(clean, "salt-pepper", 0.3, seed=0).picture
    barely, fitted = (psnr(restore_image(damaged, steps=steps).restored, clean) for steps in (1, 60))
    assert fitted > barely


def test_a_value_off_by_0_18_throughout_becomes_an_outlier():
    """|s| = 2γ² sinh(2 · CLOCK · r) passes |r|/2 near r = 0.18."""
    off = torch.linspace(0.05, 0.4, 1000, dtype=torch.float64)
    taken = 2 * GAMMA**2 * torch.sinh(2 * CLOCK * off) > off / 2
    assert off[taken].min().item() == pytest.approx(0.18, abs=0.02)


def test_turns_are_undone():
    t = torch.rand(2, 5, 5)
    for n in range(8):
        assert torch.equal(turned_back(turned(t, n), n), t)


def test_what_is_held_out_is_trusted_and_not_all():
    trusted = (torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0)) < 0.7).float()
    held = held_out(trusted, torch.Generator().manual_seed(1))
    assert (held <= trusted).all()
    assert 0.05 < held.sum() / trusted.sum() < 0.5


def test_crops_lie_in_the_picture_and_have_two_corners_of_it_and_what_is_missing():
    missing = torch.zeros(1, 300, 500)
    missing[:, 100:200, 200:300] = 1
    places = choose_crops(missing, torch.Generator().manual_seed(0))
    assert all(missing[place].shape == (1, CROP, CROP) for place in places)
    assert places[0][1].start == places[0][2].start == 0
    assert (places[1][1].stop, places[1][2].stop) == (300, 500)
    assert all(missing[place].any() for place in places[2:])
    assert choose_crops(missing[:, :21, :70], torch.Generator()) == [(..., slice(0, 16), slice(0, 64))]


def test_impulses_on_half_of_all_values(few_lessons):
    clean = sample("cat")
    damaged = corrupt(clean, "salt-pepper", 0.5, seed=0).picture
    result = restore_image(damaged)
    assert psnr(result.restored, clean) > 30
    assert result.found.float().mean() == pytest.approx(0.5, abs=0.02)


def test_the_fit_goes_on_from_the_network_of_the_search(few_lessons):
    """Half of the steps, from where θ is; where there was no network, all of them, from the fill."""
    damaged = corrupt(sample("coffee"), "random", 0.05, seed=0).picture
    light = Light(damaged, image_settings(steps=8), None)
    while light.fit is None:
        light.step()
    assert light.screening.network is not None
    assert light.fit.steps == 4
    head = light.fit.learner.network.head.weight
    assert head.abs().max() > 0
    assert not torch.equal(head, light.screening.network.learner.network.head.weight)  # its own, and one step on


def test_the_fit_begins_anew_where_most_is_found_by_its_tone(few_lessons):
    """The search has taught its network by verdicts in which that was not found."""
    damaged = corrupt(sample("coffee"), "random", 0.1, seed=0).picture
    light = Light(damaged, image_settings(seed=0, device="cpu", steps=40), None)
    while not light.screening.done:
        light.step()
    assert light.screening.network is not None
    assert light._new_fit().steps == 20
    light.screening.toned[:, 20:30] = True
    assert light._new_fit().steps == 40


def test_the_network_of_the_search_predicts_better_than_fills():
    """The search goes on with φ(θ) where the fills leave doubts; its predictions are as unseen as theirs."""
    clean = sample("astronaut")
    job = Light(corrupt(clean, "random", 0.3, seed=0).picture, image_settings(seed=1), None)
    while job.screening.round < FILL_ROUNDS:
        job.step()
    by_fills = psnr(job.screening.predicted, clean)
    while job.screening.round < FILL_ROUNDS + 2:
        job.step()
    assert psnr(job.screening.predicted, clean) > by_fills + 0.2


def test_fills_go_on_until_the_verdict_stands_still():
    """Where so much is damaged four rounds leave no doubts, and yet more is found by every further one."""
    damaged, bad = corrupt(sample("astronaut", 96), "salt-pepper", 0.7, seed=0)
    job = Light(damaged, image_settings(), None)
    missed = []
    while not job.screening.done and job.screening.round < ROUNDS:
        job.step()
        missed.append(int((bad & ~job.found).sum()))
    assert job.screening.network is None
    assert len(missed) > FILL_ROUNDS
    assert missed[-1] < 0.9 * missed[FILL_ROUNDS - 1]


def test_freed_memory_is_given_back_in_every_round_of_the_search(monkeypatch):
    job = Light(corrupt(sample("coffee"), "salt-pepper", 0.1, seed=0).picture, image_settings(device="cpu"), None)
    given_back = []
    monkeypatch.setattr("doprestore.image.light.release_memory", given_back.append)
    rounds = 0
    while not job.screening.done:
        job.step()
        rounds += 1
    assert rounds > FILL_ROUNDS
    assert given_back == rounds * [job.device]


@pytest.mark.parametrize("side", [1, 2, 5, 9, 15])
def test_pictures_of_few_pixels_are_filled(side):
    y = torch.full((3, side, side), 0.5)
    mask = torch.zeros(side, side, dtype=torch.bool)
    if side > 1:
        mask[side // 2, side // 2] = True
        y[:, side // 2, side // 2] = 1
    result = restore_image(y, mask=mask)
    assert result.restored == pytest.approx(torch.full_like(y, 0.5), abs=0.01)
