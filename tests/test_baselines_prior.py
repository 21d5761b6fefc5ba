"""The deep image prior and the known-mask oracle, on a picture small enough for seconds."""

import pytest
import torch

from doprestore.baselines.deep_prior import dip, dip_l1, known_mask, prior_fit, prior_settings
from doprestore.baselines.score import settings_of
from doprestore.damage.make import corrupt
from doprestore.image.paper import PaperRecovery
from doprestore.image.settings import image_settings
from doprestore.metrics import psnr

SETTINGS = prior_settings(steps=60, width=8, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def pair():
    rows, columns = torch.linspace(0, 1, 64)[:, None], torch.linspace(0, 1, 64)[None]
    clean = torch.stack([0.3 + 0.4 * rows * columns, 0.7 - 0.3 * rows + 0 * columns, 0.5 + 0.2 * columns + 0 * rows])
    return clean, corrupt(clean, "salt-pepper", 0.4, seed=0).picture


@pytest.mark.parametrize("method", [dip, dip_l1])
def test_oracle_stopping_returns_the_best_reported_moment(pair, method):
    clean, noisy = pair
    seen = []
    best = method(noisy, clean, SETTINGS, callback=seen.append)
    assert [report.step for report in seen] == list(range(1, 61))
    assert psnr(best, clean) == pytest.approx(max(report.psnr for report in seen))
    assert psnr(best, clean) > psnr(noisy, clean) + 5


def test_the_l1_loss_resists_outliers_better_than_the_l2_loss(pair):
    clean, noisy = pair
    assert psnr(dip_l1(noisy, clean, SETTINGS), clean) > psnr(dip(noisy, clean, SETTINGS), clean)


def test_the_known_mask_keeps_the_clean_values_and_is_above_dip(pair):
    clean, noisy = pair
    restored = known_mask(noisy, clean, image_settings(steps=20, width=8, device="cpu"))
    trusted = noisy == clean
    assert torch.equal(restored[trusted], clean[trusted])
    assert (restored[~trusted] != noisy[~trusted]).all()
    assert psnr(restored, clean) > psnr(dip_l1(noisy, clean, SETTINGS), clean)


def test_the_objectives(pair):
    clean, noisy = pair
    residual = noisy - clean
    for loss, expected in (("l1", residual.abs().mean()), ("l2", residual.square().mean())):
        assert prior_fit(noisy, SETTINGS, loss).objective(residual) == expected


def test_with_the_preset_of_the_paper_the_network_is_that_of_the_restoration(pair):
    """Same start, input, noise and optimiser: after one step, where s is still next to nothing in both, the same output."""
    _, noisy = pair
    settings = image_settings("paper", steps=1, width=8, device="cpu")
    fit, ours = prior_fit(noisy, settings, "l2"), PaperRecovery(noisy, settings)
    fit.step()
    ours.step()
    assert torch.equal(fit.network_output(), ours.network_output())
    fit.step()
    assert not fit.found_outliers().any()


def test_the_settings_of_a_method():
    assert (settings_of("dip").steps, settings_of("dip-l1").width) == (800, 32)
    assert settings_of("dip", steps=5, width=None, seed=None) == prior_settings(steps=5)
    assert settings_of("ours") == settings_of("known-mask") == image_settings()
    assert settings_of("dip", "paper") == image_settings("paper")


def test_any_size(pair):
    clean, noisy = (picture[:1, :13, :50] for picture in pair)
    assert dip(noisy, clean, prior_settings(steps=2, width=4, device="cpu")).shape == (1, 13, 50)
    assert known_mask(noisy, clean, image_settings(steps=2, width=4, device="cpu")).shape == (1, 13, 50)
