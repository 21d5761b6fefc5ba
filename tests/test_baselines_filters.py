"""Classical filters: known answers."""

import sys

import numpy as np
import pytest
import torch

from doprestore.baselines import METHODS
from doprestore.baselines.filters import MEDIAN_SIZES, adaptive_median, best_median, median
from doprestore.baselines.tv import best_tv_l1, tv_l1
from doprestore.damage.make import corrupt
from doprestore.errors import UsageError
from doprestore.metrics import psnr


def interpolate(picture):
    pytest.importorskip("scipy")
    return METHODS["interpolation"].load()(picture)


def smooth(channels=3, height=48, width=40):
    """A gentle ramp with a step edge, well inside (0, 1)."""
    rows, columns = torch.linspace(0, 0.3, height)[:, None], torch.linspace(0, 0.2, width)[None]
    plane = 0.2 + rows + columns
    plane[:, width // 2 :] += 0.25
    return torch.stack([plane * (1 - 0.1 * c) for c in range(channels)])


def one_impulse():
    picture = torch.full((2, 15, 17), 0.4)
    picture[0, 7, 8] = 1.0
    return picture


@pytest.mark.parametrize("method", [median, adaptive_median, tv_l1, interpolate])
def test_an_impulse_on_a_constant_vanishes(method, device):
    restored = method(one_impulse().to(device))
    assert restored.device.type == device.type
    assert torch.allclose(restored.cpu(), torch.full((2, 15, 17), 0.4), atol=2e-3)


@pytest.mark.parametrize("method", [median, adaptive_median, tv_l1, interpolate])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 9), (1, 33, 8)])
def test_any_shape_and_precision(method, shape):
    picture = corrupt(torch.rand(shape, dtype=torch.float64), "salt-pepper", 0.5, seed=0).picture
    restored = method(picture)
    assert restored.shape == shape and restored.dtype == torch.float64
    assert restored.isfinite().all()


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_median_is_that_of_each_window(size):
    picture = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(0))
    padded = np.pad(picture.numpy(), ((0, 0), (size // 2,) * 2, (size // 2,) * 2), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    assert np.array_equal(median(picture, size).numpy(), np.median(windows, axis=(3, 4)).astype(np.float32))


@pytest.mark.parametrize("size", [0, 4, -3])
def test_even_windows_are_refused(size):
    with pytest.raises(UsageError, match="odd"):
        median(smooth(), size)


def test_best_median_is_the_best_of_its_sizes():
    clean = smooth()
    noisy = corrupt(clean, "salt-pepper", 0.4, seed=0).picture
    assert psnr(best_median(noisy, clean), clean) == max(psnr(median(noisy, size), clean) for size in MEDIAN_SIZES)


def test_the_adaptive_median_keeps_what_is_not_extreme():
    clean = smooth()
    noisy, changed = corrupt(clean, "salt-pepper", 0.3, seed=0)
    restored = adaptive_median(noisy)
    assert (restored[changed] != noisy[changed]).all(), "every impulse goes"
    # On a ramp a clean value is between its neighbours, except where impulses of one kind surround it.
    assert (restored[~changed] == clean[~changed]).float().mean() > 0.8
    assert psnr(restored, clean) > psnr(best_median(noisy, clean), clean)


def test_the_adaptive_median_needs_large_windows_for_dense_impulses():
    clean = smooth()
    noisy = corrupt(clean, "salt-pepper", 0.7, seed=0).picture
    assert psnr(adaptive_median(noisy), clean) > psnr(adaptive_median(noisy, largest=5), clean) + 3


def test_interpolation_is_exact_on_a_plane():
    plane = (0.2 + torch.linspace(0, 0.3, 30)[:, None] + torch.linspace(0, 0.2, 40)[None])[None]
    noisy, changed = corrupt(plane, "salt-pepper", 0.5, seed=0)
    restored = interpolate(noisy)
    assert torch.equal(restored[~changed], plane[~changed])
    assert torch.allclose(restored[:, 3:-3, 3:-3], plane[:, 3:-3, 3:-3], atol=1e-6)


def test_interpolation_without_scipy_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.interpolate", None)
    monkeypatch.delitem(sys.modules, "doprestore.baselines.interpolation", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'doprestore\[baselines\]'"):
        METHODS["interpolation"].load()


def test_tv_l1_removes_small_things_and_keeps_large_ones_untouched():
    clean = torch.full((1, 40, 40), 0.2)
    clean[:, :, 20:] = 0.8  # a step edge
    noisy = clean.clone()
    noisy[0, 10, 5] = 1.0  # a pixel: perimeter 4 against area 1
    noisy[0, 25:31, 30:36] = 0.0  # a square of side 6: perimeter 24 against area 36
    restored = tv_l1(noisy, weight=1.0, steps=1000)
    assert restored[0, 10, 5].item() == pytest.approx(0.2, abs=0.01)
    assert torch.allclose(restored[:, :, 18:22], clean[:, :, 18:22], atol=0.01)
    assert restored[0, 27:29, 32:34].max() < 0.05, "4/6 < weight: the square stays"
    assert tv_l1(noisy, weight=0.5, steps=1000)[0, 27:29, 32:34].min() > 0.7, "4/6 > weight: the square goes"


def test_best_tv_l1_is_at_least_as_good_as_any_weight():
    clean = smooth()
    noisy = corrupt(clean, "random", 0.3, seed=0).picture
    assert psnr(best_tv_l1(noisy, clean), clean) >= psnr(tv_l1(noisy), clean) > psnr(noisy, clean) + 5
