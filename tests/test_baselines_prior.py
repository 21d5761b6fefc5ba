"""The deep image prior and the known-mask oracle, on a picture small enough for seconds."""

import pytest
import torch

from doprestore.baselines.deep_prior import PriorFit, dip, dip_l1, known_mask
from doprestore.damage.make import corrupt
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.metrics import psnr

SETTINGS = image_settings(steps=60, width=8, device="cpu", precision="float32")


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
    restored = known_mask(noisy, clean, SETTINGS)
    trusted = noisy == clean
    assert torch.equal(restored[trusted], clean[trusted])
    assert (restored[~trusted] != noisy[~trusted]).all()
    assert psnr(restored, clean) > psnr(dip_l1(noisy, clean, SETTINGS), clean)


def test_the_objective_ignores_values_that_are_not_trusted(pair):
    clean, noisy = pair
    fit = PriorFit(noisy, SETTINGS, "l2", trusted=noisy == clean)
    residual = (noisy - clean).requires_grad_()  # zero exactly on the trusted values
    assert fit.objective(residual).item() == 0
    plain = PriorFit(noisy, SETTINGS, "l1")
    assert plain.objective(residual).item() == pytest.approx((noisy - clean).abs().mean().item(), rel=1e-5)


def test_the_network_is_the_one_of_the_restoration(pair):
    """Same start, input and optimiser: after one step, where s is still 0 in both, the output is the same."""
    _, noisy = pair
    fit = PriorFit(noisy, SETTINGS, "l2")
    fit.step()
    ours = recover_image(noisy, SETTINGS, should_stop=lambda: True)
    assert ours.steps == 1
    assert torch.equal(fit.network_output(), ours.network)


def test_any_size(pair):
    clean, noisy = (picture[:1, :13, :50] for picture in pair)
    assert dip(noisy, clean, image_settings(steps=2, width=4, device="cpu")).shape == (1, 13, 50)
