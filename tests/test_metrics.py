"""Metrics against their definitions, known answers and, where installed, scikit-image."""

import math

import numpy as np
import pytest
import torch

from doprestore.metrics import precision_recall, psnr, relative_error, ssim


def picture(*shape, seed=0, **kwargs):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), **kwargs)


def test_psnr_of_a_constant_offset(device):
    x = picture(3, 8, 9).to(device) / 2
    assert psnr(x + 0.1, x) == pytest.approx(20, abs=1e-4)
    assert psnr(x + 0.01, x) == pytest.approx(40, abs=1e-3)


def test_psnr_is_infinite_for_equal_pictures():
    assert psnr(picture(1, 4, 4), picture(1, 4, 4)) == math.inf


def test_psnr_of_bytes_does_not_wrap_around():
    x = np.array([[[0, 255]]], dtype=np.uint8)
    assert psnr(x, 255 - x, data_range=255) == pytest.approx(0)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_data_range_only_sets_the_unit(metric):
    x, y = picture(3, 16, 16, dtype=torch.float64), picture(3, 16, 16, seed=1, dtype=torch.float64)
    assert metric(x * 255, y * 255, data_range=255) == pytest.approx(metric(x, y))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_symmetric_and_equal_for_arrays_and_tensors(metric):
    x, y = picture(3, 16, 16), picture(3, 16, 16, seed=1)
    assert metric(x, y) == pytest.approx(metric(y, x), rel=1e-5)
    assert metric(x.numpy(), y.numpy()) == metric(x, y)


def test_ssim_is_one_only_for_equal_pictures(device):
    x = picture(3, 32, 24).to(device)
    assert ssim(x, x) == pytest.approx(1, abs=1e-5)
    mild, strong = (x + 0.05).clamp(0, 1), picture(3, 32, 24, seed=1).to(device)
    assert 0.9 < ssim(mild, x) < 1
    assert ssim(strong, x) < 0.3


def test_ssim_of_constants_is_the_luminance_term():
    a, b = 0.2, 0.7
    c1 = 0.01**2
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    x = torch.full((1, 20, 20), a, dtype=torch.float64)
    assert ssim(x, torch.full_like(x, b)) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_an_11x11_picture_is_the_formula_at_its_one_window():
    x, y = (picture(11, 11, seed=seed, dtype=torch.float64).numpy() for seed in (0, 3))
    i = np.arange(-5, 6)
    w = np.exp(-(i[:, None] ** 2 + i[None] ** 2) / (2 * 1.5**2))
    w /= w.sum()
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy, cov = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum(), (w * (x - mx) * (y - my)).sum()
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert ssim(x[None], y[None]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_and_psnr_agree_with_scikit_image(channels):
    metrics = pytest.importorskip("skimage.metrics")
    x = picture(channels, 40, 50, dtype=torch.float64)
    y = (x + 0.3 * picture(channels, 40, 50, seed=1, dtype=torch.float64)).clamp(0, 1)
    theirs = metrics.structural_similarity(
        x.numpy(), y.numpy(), channel_axis=0, data_range=1.0, gaussian_weights=True, use_sample_covariance=False
    )
    assert ssim(x, y) == pytest.approx(theirs, abs=1e-6)
    assert psnr(x, y) == pytest.approx(metrics.peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1.0))


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11"):
        ssim(picture(3, 10, 30), picture(3, 10, 30))


@pytest.mark.parametrize("metric", [psnr, ssim, relative_error, precision_recall])
def test_unequal_shapes_are_refused(metric):
    with pytest.raises(ValueError, match="shapes differ"):
        metric(picture(1, 12, 12), picture(3, 12, 12))


def test_relative_error():
    x = picture(5, 4, dtype=torch.float64)
    assert relative_error(1.25 * x, x) == pytest.approx(0.25)
    assert relative_error(x, torch.zeros_like(x)) == math.inf
    assert relative_error(torch.zeros_like(x), torch.zeros_like(x)) == 0


def test_precision_and_recall_of_masks():
    actual = torch.tensor([1, 1, 1, 1, 0, 0], dtype=torch.bool)
    found = torch.tensor([1, 1, 0, 0, 1, 0], dtype=torch.bool)
    assert precision_recall(found, actual) == (2 / 3, 2 / 4)
    assert precision_recall(actual, actual) == (1, 1)
    nothing = torch.zeros(6, dtype=torch.bool)
    assert precision_recall(nothing, actual) == (1, 0)
    assert precision_recall(found, nothing) == (0, 1)
