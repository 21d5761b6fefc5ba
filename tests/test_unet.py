"""The network: its sizes, its gradient, its start."""

from __future__ import annotations

import pytest
import torch
from plain_unet import PlainUNet

from doprestore.image.optimizer import MuonAndAdam, muon_step, orthogonalised
from doprestore.image.unet import INPUT_CHANNELS, SMALL, Doubled, Reflected, UNet


@pytest.mark.parametrize(("channels", "width", "height", "side"), [(1, 4, 64, 96), (3, 8, 96, 64)])
def test_a_picture_of_the_size_of_the_input_in_0_to_1(channels, width, height, side, device):
    x = UNet(channels, width).to(device)(torch.rand(1, INPUT_CHANNELS, height, side, device=device))
    assert x.shape == (1, channels, height, side)
    assert x.min() > 0 and x.max() < 1


def test_the_network_of_the_paper_has_the_published_number_of_parameters():
    """Counted from the published architecture: every convolution and two per batch-norm channel; the biases of
    convolutions before a batch norm are without effect, and left out."""
    width, skip = 128, 4
    total = 0
    for inputs in (32, 128, 128, 128, 128):
        total += inputs * skip + 2 * skip  # skip, 1x1
        total += 9 * inputs * width + 2 * width + 9 * width * width + 2 * width  # down
        total += 2 * (skip + width) + 9 * (skip + width) * width + 2 * width  # norm, up 3x3
        total += width * width + 2 * width  # up 1x1
    total += (width + 1) * 3
    assert sum(parameter.numel() for parameter in UNet(3, width).parameters()) == total


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_the_plain_network_in_value_and_gradient(padding, layout, device):
    ours, plain = UNet(3, 8, padding).double().to(device), PlainUNet(3, 8, padding).double().to(device)
    missing, unknown = plain.load_state_dict(ours.state_dict(), strict=False)
    assert unknown == []
    assert all(name.endswith(".0.bias") for name in missing)  # of no effect before a batch norm
    ours.to(memory_format=layout)
    assert 64 * 96 > SMALL > 32 * 48  # both forms of a scale
    z = torch.rand(1, INPUT_CHANNELS, 64, 96, device=device, dtype=torch.float64)
    weight = torch.randn(1, 3, 64, 96, device=device, dtype=torch.float64)
    theirs = plain(z)
    mine = ours(z.to(memory_format=layout))
    torch.testing.assert_close(mine, theirs)
    (theirs * weight).sum().backward()
    (mine * weight).sum().backward()
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_doubling_has_the_gradient_of_bilinear_upsampling(layout, device):
    x = torch.randn(1, 3, 5, 8, device=device).to(memory_format=layout).requires_grad_()
    weight = torch.randn(1, 3, 10, 16, device=device)
    plain = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    ours = Doubled.apply(x)
    assert torch.equal(ours, plain)
    (expected,) = torch.autograd.grad((plain * weight).sum(), x)
    (got,) = torch.autograd.grad((ours * weight).sum(), x)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("sides", [(2, 2), (3, 5), (9, 6)])
def test_reflection_in_place_is_that_of_pytorch_in_value_and_gradient(sides, layout, device):
    x = torch.randn(2, 4, *sides, device=device).to(memory_format=layout).requires_grad_()
    plain = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    ours = Reflected.apply(x)
    assert torch.equal(ours, plain)
    weight = torch.randn_like(plain)
    (expected,) = torch.autograd.grad((plain * weight).sum(), x)
    (got,) = torch.autograd.grad((ours * weight).sum(), x)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (6, 6)])
def test_orthogonalising_keeps_the_singular_vectors_and_levels_the_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalised(matrix) @ vh.T
    assert inner.diagonal().min() > 0.6 and inner.diagonal().max() < 1.3
    assert (inner - inner.diagonal().diag()).abs().max() < 1e-3
    torch.testing.assert_close(orthogonalised(100 * matrix), orthogonalised(matrix), rtol=1e-3, atol=1e-4)


def test_muon_descends_and_its_step_has_the_length_of_its_rate():
    weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
    before = weight.detach().clone()
    (weight**2).sum().backward()
    with torch.no_grad():
        muon_step([weight], torch.zeros(1, *weight.shape), 0.01)
    step = (weight.detach() - before).flatten(1)
    assert (step * before.flatten(1)).sum() < 0
    values = torch.linalg.svdvals(step)
    assert values.min() > 0.006 and values.max() < 0.013


def test_what_is_thin_moves_as_by_adam():
    ours, plain = (torch.nn.BatchNorm2d(5) for _ in range(2))
    optimizer = MuonAndAdam(ours, 0.1)
    adam = torch.optim.Adam(plain.parameters(), lr=0.03, betas=(0.9, 0.99))
    x = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(4):
        for network in (ours, plain):
            network.zero_grad()
            (network(x) - 1).abs().sum().backward()
        optimizer.step()
        adam.step()
    for mine, its in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, its)
