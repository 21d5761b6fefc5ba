"""The smoothest completion: exact where it must be, and the Laplacian behind it."""

from __future__ import annotations

import pytest
import torch

from doprestore.image.fill import CERTAIN, choose_whitening, fill, laplacian, smoothed


def plane(channels: int = 3, side: int = 24) -> torch.Tensor:
    """A linear ramp of a colour of its own in each channel."""
    across = torch.linspace(0.2, 0.7, side).expand(side, side)
    down = torch.linspace(0.0, 0.2, side)[:, None].expand(side, side)
    return torch.stack([across * (1 - 0.2 * k) + down for k in range(channels)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rounds", [1, 3])
def test_trusted_values_stay_and_ramps_are_continued(channels, rounds):
    y = plane(channels)
    trusted = (torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    damaged = torch.where(trusted > 0, y, 0.9)
    whitening = choose_whitening(damaged, trusted, torch.Generator().manual_seed(1))
    filled = fill(damaged, CERTAIN * trusted, whitening, start=smoothed(damaged, trusted), steps=200, rounds=rounds)
    assert torch.equal(filled[trusted > 0], y[trusted > 0])
    # At the border the repeated values bend a ramp a little.
    assert (filled - y)[:, 2:-2, 2:-2].abs().max() < 0.005 and (filled - y).abs().max() < 0.03


def test_the_laplacian_is_symmetric_and_knows_no_ramps():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 9, 11, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.allclose((a * laplacian(b)).sum(), (laplacian(a) * b).sum())
    assert laplacian(plane())[:, 1:-1, 1:-1].abs().max() < 1e-5


def test_other_channels_tell_of_a_missing_value():
    """With an edge where one channel is missing, the fill follows the edge of the others; one channel alone cannot."""
    y = torch.zeros(3, 32, 32)
    y[:, :, 16:] = torch.tensor([0.8, 0.7, 0.6])[:, None, None]
    y += 0.02 * torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    trusted = torch.ones_like(y)
    trusted[0, :, 12:20] = 0
    coloured = choose_whitening(y, trusted, torch.Generator().manual_seed(1))
    start = smoothed(y, trusted)
    together = fill(y, CERTAIN * trusted, coloured, start=start, steps=60, rounds=1)
    alone = fill(y, CERTAIN * trusted, torch.eye(3), start=start, steps=60, rounds=1)
    assert (together - y).square().mean() < 0.25 * (alone - y).square().mean()


def test_a_picture_of_one_colour():
    y = torch.full((3, 16, 16), 0.4)
    trusted = torch.ones_like(y)
    trusted[:, 4:6, 4:6] = 0
    whitening = choose_whitening(y, trusted, torch.Generator().manual_seed(0))
    assert torch.allclose(fill(y, CERTAIN * trusted, whitening, start=smoothed(y, trusted), steps=10), y, atol=1e-5)


def test_few_steps_are_enough_however_the_channels_are_coupled():
    """The preconditioner knows each pixel's channels: a dozen steps of conjugate gradients are at the solution."""
    generator = torch.Generator().manual_seed(0)
    y = plane() + 0.05 * torch.rand(1, 24, 24, generator=generator)  # the channels differ little, so T stretches a lot
    trusted = (torch.rand(y.shape, generator=generator) < 0.6).float()
    whitening = torch.tensor([[1.0, 1.0, 1.0], [20.0, -20.0, 0.0], [0.0, 20.0, -20.0]])
    start = smoothed(y, trusted)
    few, solved = (fill(y, CERTAIN * trusted, whitening, start=start, steps=steps) for steps in (12, 2000))
    assert (few - solved).square().mean() < 0.05**2 * (start - solved).square().mean()


def test_the_first_guess_reaches_into_large_gaps():
    y = plane(1, 64)
    trusted = torch.ones_like(y)
    trusted[:, 16:48, 16:48] = 0
    guess = smoothed(torch.where(trusted > 0, y, 9.0), trusted)
    assert (guess - y)[trusted == 0].abs().max() < 0.25 * (y.max() - y.min()) + 0.1
