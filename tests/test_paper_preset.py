"""`--preset paper` is the published pipeline and stays as it is: whatever else changes, these numbers must not.

Two independent guards. The first is a plain transcription of the published step, held against ours for many steps, each
from where ours stands. The second is what version 0.1.0 gave, kept in paper_preset.txt; `python
tests/test_paper_preset.py > tests/paper_preset.txt` writes it again, which only a deliberate correction may do.

No hash, and few steps: floating-point sums differ between processors, and SGD at rate 1 through batch norms is chaotic at
the start. After five steps in a row, 1e-7 has become 1e-2 (one processor, other instruction sets:
ATEN_CPU_CAPABILITY=default, ONEDNN_MAX_CPU_ISA=SSE41). The stored runs are as short as keeps that below a fifth of TIGHT.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_unet import PlainUNet
from torch import Tensor

from doprestore.baselines.deep_prior import dip, dip_l1
from doprestore.image.paper import PaperRecovery
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.metrics import psnr

pytestmark = pytest.mark.usefixtures("one_thread")
STORED = Path(__file__).with_name("paper_preset.txt")
TIGHT = 5e-5


def waves(channels: int = 3, height: int = 64, width: int = 64) -> Tensor:
    """(C, H, W), smooth, in [0.1, 0.9]."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    return torch.stack([0.5 + 0.4 * torch.sin(3 * y + 5 * x * (1 + c) + c) for c in range(channels)])


def speckled(clean: Tensor) -> Tensor:
    """The same with every third value black or white, by a rule that no generator decides."""
    index = torch.arange(clean.numel()).view_as(clean)
    return torch.where(index * 7 % 11 < 3, (index % 2).float(), clean)


def settings(**more: object):
    return image_settings("paper", **{"steps": 2, "width": 8, "device": "cpu", "precision": "float32"} | more)


def test_many_steps_are_the_published_ones():
    """SGD at rate 1 for θ and alpha for g and h (scaled for the size), by autograd on the mean squared residual of the
    plain network; every step adds noise of standard deviation 1/30 to the input."""
    y = speckled(waves())
    recovery = PaperRecovery(y, settings(steps=30))
    # Larger g and h than 1e-5, so that they move the signal from the first step on.
    recovery.outliers.g.mul_(1e4)
    recovery.outliers.h.mul_(1e4)
    torch.manual_seed(0)  # the biases that norms take away again stay as they are drawn here
    network, z = PlainUNet(3, 8), recovery.z.clone()
    g, h = (torch.zeros_like(y).requires_grad_() for _ in range(2))
    alpha = 500 * math.sqrt(64 * 64) / 512
    optimizer = torch.optim.SGD([{"params": network.parameters(), "lr": 1.0}, {"params": [g, h], "lr": alpha}])
    random = torch.Generator().manual_seed(0)
    for _ in range(recovery.settings.steps):
        network.load_state_dict(recovery.network.state_dict(), strict=False)
        g.data.copy_(recovery.outliers.g)
        h.data.copy_(recovery.outliers.h)
        noise = torch.randn((1, 64, 64, 32), generator=random).permute(0, 3, 1, 2)
        x = network(z + noise / 30)[0]
        loss = torch.nn.functional.mse_loss(x + g**2 - h**2, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recovery.step()
        torch.testing.assert_close(recovery.loss, loss.detach(), rtol=1e-5, atol=0)
        torch.testing.assert_close(recovery.network_output(), x.detach(), rtol=0, atol=TIGHT)
        torch.testing.assert_close(recovery.outliers.g, g.detach(), rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(recovery.outliers.h, h.detach(), rtol=1e-5, atol=1e-7)
        plain = dict(network.named_parameters())
        for name, mine in recovery.network.named_parameters():
            torch.testing.assert_close(mine, plain[name], rtol=0, atol=TIGHT)


def numbers() -> Iterator[tuple[str, np.ndarray]]:
    """Short runs by name, each as a flat array: the losses of its steps, then the output at every eighth pixel."""
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[10:20, 30:50] = True
    slow = {"tau": 0.001, "steps": 5}  # of several steps that stay together
    cases = {
        "colour": (waves(), {}, None),
        "slow": (waves(), slow, None),
        "grey": (waves(1), slow, None),
        "padded": (waves(3, 50, 70), slow, None),
        "seed": (waves(), slow | {"width": 7, "seed": 3}, None),
        "ratio": (waves(), slow | {"alpha": 20_000.0}, None),
        "masked": (waves(), slow, mask),
    }
    for name, (clean, more, bad) in cases.items():
        losses: list[float] = []
        result = recover_image(
            speckled(clean),
            settings(**more),
            mask=bad,
            report_every=1,
            callback=lambda now, all=losses: all.append(now.loss),
        )
        yield name, np.array([*losses, *result.network[:, ::8, ::8].flatten().tolist()])
        # s is of the order of 1e-10 after so few steps; relative to its start that tells the rates of g and h.
        yield f"{name}-outliers", 1e10 * result.outliers[:, ::8, ::8].flatten().double().numpy()
    for name, method in (("dip", dip), ("dip-l1", dip_l1)):
        reports: list[float] = []
        output = method(
            speckled(waves()), waves(), settings(), callback=lambda now, all=reports: all.extend((now.loss, now.psnr / 100))
        )
        yield name, np.array([*reports, psnr(output, waves()) / 100, *output[:, ::8, ::8].flatten().tolist()])


def stored() -> dict[str, np.ndarray]:
    lines = (line.split() for line in STORED.read_text().splitlines())
    return {name: np.array(values, dtype=float) for name, *values in lines}


def test_the_numbers_of_the_first_version_come_out_again():
    expected = stored()
    found = dict(numbers())
    assert found.keys() == expected.keys()
    for name, values in found.items():
        rtol, atol = (1e-4, 1e-3) if name.endswith("-outliers") else (0, TIGHT)
        np.testing.assert_allclose(values, expected[name], rtol=rtol, atol=atol, err_msg=name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for label, values in numbers():
        sys.stdout.write(" ".join([label, *(f"{value:.7g}" for value in values)]) + "\n")
