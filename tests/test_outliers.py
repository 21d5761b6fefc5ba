"""The outlier pair: its step is the gradient's, and both forms are one flow."""

from __future__ import annotations

import pytest
import torch

from doprestore.outliers import MirrorOutliers, OutlierPair


def test_a_step_is_gradient_descent_on_the_quarter_square():
    """eq. (3): f = 1/4 ‖x + g∘g − h∘h − y‖² with rate alpha·tau."""
    generator = torch.Generator().manual_seed(0)
    residual_free = torch.randn(5, 7, generator=generator, dtype=torch.float64)  # x - y
    pair = OutlierPair.normal(residual_free, 1.0, generator)
    g, h = pair.g.clone().requires_grad_(), pair.h.clone().requires_grad_()
    (0.25 * (residual_free + g**2 - h**2).square().sum()).backward()
    rate = 0.03
    pair.step_(residual_free + pair.value(), rate)
    torch.testing.assert_close(pair.g, (g - rate * g.grad).detach())
    torch.testing.assert_close(pair.h, (h - rate * h.grad).detach())


def test_the_mirror_form_is_the_pair_in_the_limit_of_small_steps():
    residual = torch.linspace(-1, 1, 11, dtype=torch.float64)
    gamma, rate, steps = 1e-3, 1e-4, 50_000
    pair = OutlierPair(torch.full_like(residual, gamma), torch.full_like(residual, gamma))
    mirror = MirrorOutliers.zeros(residual, gamma)
    assert torch.count_nonzero(mirror.value()) == 0
    for _ in range(steps):
        pair.step_(residual, rate)
    mirror.step_(residual, rate * steps)
    torch.testing.assert_close(mirror.value(), pair.value(), rtol=1e-2, atol=1e-9)


def test_the_start_is_small_equal_on_request_and_fixed_by_the_seed():
    like = torch.empty(1000)
    pair = OutlierPair.normal(like, 1e-5, torch.Generator().manual_seed(3), equal=True)
    assert torch.equal(pair.g, pair.h)
    assert 0.9e-5 < pair.g.std() < 1.1e-5
    free = OutlierPair.normal(like, 1e-5, torch.Generator().manual_seed(3))
    assert torch.equal(free.g, pair.g)
    assert not torch.equal(free.g, free.h)


def test_the_mirror_form_never_overflows():
    mirror = MirrorOutliers.zeros(torch.zeros(2), 1e-5)
    for _ in range(100):
        mirror.step_(torch.tensor([1e6, -1e6]), 10.0)
    assert torch.isfinite(mirror.value()).all()


@pytest.mark.parametrize("make", [MirrorOutliers.zeros, lambda like, scale: OutlierPair(like + scale, like + scale)])
def test_the_rate_may_be_a_number_or_a_tensor(make, device):
    residual = torch.linspace(-1, 1, 11, device=device)
    one, other = make(torch.zeros_like(residual), 1e-3), make(torch.zeros_like(residual), 1e-3)
    one.step_(residual, 0.25)
    other.step_(residual, torch.tensor(0.25, device=device))
    assert torch.equal(one.value(), other.value())
    assert one.value().abs().max() > 0
