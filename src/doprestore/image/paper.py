"""The paper's preset: eq. (9)-(10), y = φ(θ) + g∘g − h∘h, by the published pipeline to the letter.

Each step, with r = φ(θ) + s − y and s = g∘g − h∘h, makes

    θ ← θ − τ ∇θ mean(r²)          (SGD; φ's fixed random input with fresh noise on top)
    g ← g − c r∘g,   h ← h + c r∘h

The published code gives SGD on the *mean* of r² the rates 1 (θ) and 500 (g, h); that is eq. (10)
with τ rescaled by 4/(C·H·W), and c = 4·500/(C·H·W). See :func:`outlier_rate` for other sizes.
"""

from __future__ import annotations

import contextlib
import math

import torch
from torch import Tensor

from doprestore.drive import State
from doprestore.errors import InputError
from doprestore.image.canvas import Padding
from doprestore.image.graphs import Replayed
from doprestore.image.masks import check_picture, checked_mask
from doprestore.image.optimizer import Descent, MuonAndAdam
from doprestore.image.settings import REFERENCE_ALPHA, REFERENCE_SIDE, ImageSettings
from doprestore.image.unet import INPUT_CHANNELS, UNet
from doprestore.machine import choose_device, uses_bfloat16
from doprestore.outliers import OutlierPair

# Standard deviation of g and h at the start.
INITIAL_SCALE = 1e-5
# The network's fixed input is uniform between 0 and this.
INPUT_AMPLITUDE = 0.1
# Standard deviation of the noise that is added to the network's input at every step.
INPUT_NOISE = 1 / 30


def outlier_rate(alpha: float, height: int, width: int) -> float:
    """c: how far a step with residual r moves log g and log h, g ← g·(1 − c·r).

    At 512x512x3 that is the published 4·α/(3·512²). At other sizes c ∝ 1/sqrt(H·W), whatever the number of channels,
    so that the α of the published convention is 500·sqrt(H·W)/512: the rule α = sqrt(n) of an n x n matrix.
    """
    published = 4 * REFERENCE_ALPHA / (3 * REFERENCE_SIDE * math.sqrt(height * width))
    return published * (alpha / REFERENCE_ALPHA)


class PaperRecovery:
    """The recovery of one picture, a step at a time.

    picture: (C, H, W), C = 1 or 3, float in [0, 1].
    mask: bool, (H, W) or (C, H, W), True where the value is known to be bad: A of eq. (3) then samples the
        others, so that the network alone says what belongs there.
    """

    # Of the convolutions: "reflect" or "zeros".
    conv_padding = "reflect"
    # Standard deviation of the fresh noise on the network's input.
    input_noise = INPUT_NOISE

    def __init__(self, picture: Tensor, settings: ImageSettings, mask: Tensor | None = None):
        check_picture(picture)
        self.settings = settings
        self.device = choose_device(settings.device)
        self.padding = Padding(picture.shape[1], picture.shape[2])
        self.y = self.padding.pad(picture.to(self.device, torch.float32))
        self.sampling: Tensor | None = None  # A, as a factor
        if mask is not None:
            self.sampling = (~self.padding.pad(checked_mask(mask, picture).to(self.device))).float()
        self.rate = outlier_rate(settings.alpha, *self.padding.padded)
        self.step_number = 0

        bfloat16 = uses_bfloat16(settings.convolutions, self.device)
        self._precision = torch.autocast(self.device.type, torch.bfloat16) if bfloat16 else contextlib.nullcontext()
        random = torch.Generator().manual_seed(settings.seed)
        network, z = self._drawn(random)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.z = z.to(self.device, memory_format=torch.channels_last)
        self.optimizer = self._new_optimizer()
        self.noise = torch.Generator(self.device).manual_seed(settings.seed)
        self.outliers = OutlierPair.normal(self.y, INITIAL_SCALE, random)
        self.output = torch.zeros_like(self.y)
        self.loss = torch.zeros((), device=self.device)
        # Where a CUDA graph finds it.
        self._rate_now = torch.zeros((), device=self.device)
        # In z's order (channels last) but contiguous: on a CPU nothing else is drawn fast.
        self._fresh = torch.empty(self.z.permute(0, 2, 3, 1).shape, device=self.device) if self.input_noise else None
        self._update = Replayed(self.device)

    def _drawn(self, random: torch.Generator) -> tuple[UNet, Tensor]:
        """φ at PyTorch's initialisation and its input, (1, INPUT_CHANNELS, padded H, padded W), from the random numbers of
        a generator on the CPU."""
        with torch.random.fork_rng(devices=[]):
            # PyTorch's layers draw from the global generator.
            torch.manual_seed(int(torch.randint(2**62, (), generator=random)))
            network = UNet(len(self.y), self.settings.width, self.conv_padding)
        return network, torch.rand((1, INPUT_CHANNELS, *self.padding.padded), generator=random) * INPUT_AMPLITUDE

    def _new_optimizer(self) -> Descent | MuonAndAdam:
        return Descent(self.network, self.settings.tau)

    def step(self) -> None:
        """One step of eq. (10). It does not wait for the device."""
        if self._fresh is not None:
            self._fresh.normal_(generator=self.noise)
        self._rate_now.fill_(self.rate)
        self._update(self._compute)
        self.step_number += 1

    def _compute(self) -> None:
        """What a step computes on the device; a CUDA graph of it must go for every step, see :class:`Replayed`."""
        z = self.z
        if self._fresh is not None:
            z = torch.add(z, self._fresh.permute(0, 3, 1, 2), alpha=self.input_noise)
        with self._precision:
            x = self.network(z)
        x = x.squeeze(0)
        residual = x + self.outliers.value() - self.y
        if self.sampling is not None:
            residual = residual * self.sampling
        loss = self.objective(residual)
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.outliers.step_(residual.detach(), self._rate_now)
        self._look(x.detach())
        self.loss.copy_(loss.detach())

    def objective(self, residual: Tensor) -> Tensor:
        """What θ descends: the mean squared residual."""
        return residual.square().mean()

    def _look(self, x: Tensor) -> None:
        """Remember the output of this step."""
        self.output.copy_(x)

    def state_dict(self) -> State:
        """All that changes with the steps, for :meth:`load_state_dict`; the rest follows from picture and settings."""
        return {
            "step_number": self.step_number,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "outliers": self.outliers.state_dict(),
            "output": self.output,
            "loss": self.loss,
            "noise": self.noise.get_state(),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on where :meth:`state_dict` was taken, bit for bit the same on the same CPU.

        Raises :class:`InputError` for a state of another picture or other settings.
        """
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.outliers.load_state_dict(state["outliers"])
            self.output.copy_(state["output"])
            self.loss.copy_(state["loss"])
            self.noise.set_state(state["noise"])
            self.step_number = int(state["step_number"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError("the saved state does not fit this picture and these settings; start again") from error

    def network_output(self) -> Tensor:
        """φ(θ): (C, H, W), of the last step."""
        return self.padding.crop(self.output)

    def outlier_values(self) -> Tensor:
        """s: (C, H, W), the estimated outliers: g∘g − h∘h, and y − φ(θ) where the value is known to be bad."""
        s = self.outliers.value()
        if self.sampling is not None:
            s = torch.where(self.sampling == 0, self.y - self.output, s)
        return self.padding.crop(s)

    def found_outliers(self) -> Tensor:
        """(C, H, W) bool: the values that s explains better than the network does, and those known to be bad."""
        found = self.outliers.value().abs() > 0.5 * (self.y - self.output).abs()
        return self.padding.crop(found if self.sampling is None else found | (self.sampling == 0))

    def restored(self) -> Tensor:
        """The answer, (C, H, W) in [0, 1], by ``settings.output``."""
        output = self.network_output()
        if self.settings.output == "composed":
            output = torch.where(self.found_outliers(), output, self.padding.crop(self.y))
        return output
