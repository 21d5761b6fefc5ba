"""The deep image prior without outlier variables, and the ceiling: our own fit told which values are clean.

All three look at the undamaged picture, so they are oracles, to compare with and not to use. DIP and DIP-l1 run the
network of :mod:`doprestore.image.paper` with s = 0: with the paper's preset by the published optimiser, with the fast one
by what makes them best in minutes. The ceiling is :mod:`doprestore.image.fit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from doprestore.drive import Progress, StepsOf, drive
from doprestore.image.corrector import edge_marks
from doprestore.image.fill import choose_whitening
from doprestore.image.fit import Fit
from doprestore.image.frame import detached_edges
from doprestore.image.optimizer import MuonAndAdam
from doprestore.image.paper import PaperRecovery
from doprestore.image.settings import ImageSettings, image_settings
from doprestore.image.unet import UNet
from doprestore.machine import choose_device
from doprestore.metrics import psnr

# Steps of DIP outside of the paper's preset: its best moment comes within the first few hundred.
STEPS = 800
# Channels of its network there: 16 give less detail, 64 take two and a half times the time for little more.
WIDTH = 32
# The rate of Muon there, at which the best moment is neither rushed through nor out of reach.
TAU = 0.01
# The decay a step of the running average of its output there, without which the best moment is a noisy one.
AVERAGE = 0.98

Callback = Callable[[Progress], None]


def prior_settings(**overrides: Any) -> ImageSettings:
    """Settings under which DIP and DIP-l1 are at their best in minutes; ``overrides`` as for :func:`image_settings`."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return image_settings("fast", **{"steps": STEPS, "width": WIDTH, "tau": TAU} | given)


class PriorFit(PaperRecovery):
    """min over θ of the mean of |φ(θ) − y| (loss "l1") or of its square ("l2"), as published."""

    def __init__(self, picture: Tensor, settings: ImageSettings, loss: str):
        super().__init__(picture, settings)
        self.loss_name = loss
        self.rate = 0.0  # g and h never leave their start, s = 0

    def objective(self, residual: Tensor) -> Tensor:
        return (residual.abs() if self.loss_name == "l1" else residual.square()).mean()


class QuickPriorFit(PriorFit):
    """The same in hundreds of steps: Muon, zero padding, the edges of the picture in φ's input, no noise on it, and a
    running average of the output."""

    conv_padding = "zeros"
    input_noise = 0.0

    def __init__(self, picture: Tensor, settings: ImageSettings, loss: str):
        super().__init__(picture, settings, loss)
        self._weight_now = torch.zeros((), device=self.device)  # where a CUDA graph finds it

    def _drawn(self, random: torch.Generator) -> tuple[UNet, Tensor]:
        network, z = super()._drawn(random)
        z[0, :4] = self.padding.pad(edge_marks(self.padding.height, self.padding.width, z.device))
        return network, z

    def _new_optimizer(self) -> MuonAndAdam:
        return MuonAndAdam(self.network, self.settings.tau)

    def step(self) -> None:
        # 1 - 1/(n+1) makes the early average a plain mean, instead of one biased to its start.
        self._weight_now.fill_(1 - min(AVERAGE, 1 - 1 / (self.step_number + 1)))
        super().step()

    def _look(self, x: Tensor) -> None:
        self.output.lerp_(x, self._weight_now)


def prior_fit(picture: Tensor, settings: ImageSettings, loss: str) -> PriorFit:
    """The deep image prior on ``picture``, by the preset of ``settings``."""
    return (PriorFit if settings.is_paper else QuickPriorFit)(picture, settings, loss)


def dip(
    picture: Tensor, clean: Tensor, settings: ImageSettings | None = None, *, callback: Callback | None = None
) -> Tensor:
    """The deep image prior: min over θ of ‖φ(θ) − y‖², stopped where the PSNR against ``clean`` is highest (oracle).

    picture, clean: (C, H, W) in [0, 1]. settings: :func:`prior_settings` unless given. callback: about 200
    reports, with the PSNR of the moment. Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", CVPR 2018.
    """
    return _best_moment(picture, clean, settings, "l2", callback)


def dip_l1(
    picture: Tensor, clean: Tensor, settings: ImageSettings | None = None, *, callback: Callback | None = None
) -> Tensor:
    """DIP-l1, section 4.2: as :func:`dip` with ‖φ(θ) − y‖_1, also with oracle early stopping."""
    return _best_moment(picture, clean, settings, "l1", callback)


def known_mask(
    picture: Tensor, clean: Tensor, settings: ImageSettings | None = None, *, callback: Callback | None = None
) -> Tensor:
    """The fit of the fast preset told which values are undamaged, and used only for the others (oracle).

    The damaged values are those where ``picture`` and ``clean`` differ. A method that has to find them is not
    expected to do better with this fit. settings: those of the fast preset unless given; otherwise as :func:`dip`, but the
    PSNR comes with the last report, for only then is there a picture.
    """
    job = _KnownMask(picture, clean, settings or image_settings())
    drive(job, callback=callback)
    return job.answer().clamp(0, 1)


class _KnownMask(StepsOf):
    """The fit as a job for :func:`doprestore.drive.drive`."""

    remedy = "use a smaller --tau"

    def __init__(self, picture: Tensor, clean: Tensor, settings: ImageSettings):
        self.picture, self.clean = picture, clean
        self.trusted = picture == clean
        y = picture.to(choose_device(settings.device), torch.float32)
        trusted = self.trusted.to(y.device)
        random = torch.Generator().manual_seed(settings.seed)
        whitening = choose_whitening(y, trusted.to(y.dtype), random)
        self.fit = Fit(y, trusted, torch.zeros_like(y), whitening, detached_edges(y), settings)
        super().__init__(self.fit.learner, self.fit.steps)

    def report(self) -> dict[str, float | None]:
        return {"outlier_share": 0.0, "psnr": psnr(self.answer(), self.clean) if self.done else None}

    def answer(self) -> Tensor:
        return torch.where(self.trusted, self.picture, self.fit.apply().to(self.picture.device))


def _best_moment(
    picture: Tensor, clean: Tensor, settings: ImageSettings | None, loss: str, callback: Callback | None
) -> Tensor:
    """Run all steps; return the output of the best reported moment by PSNR."""
    watched = _Watched(prior_fit(picture, settings or prior_settings(), loss), clean)
    drive(watched, callback=callback or (lambda progress: None))
    return watched.chosen


class _Watched(StepsOf):
    """A fit as a job for :func:`doprestore.drive.drive`, which looks at the PSNR and remembers the best picture."""

    remedy = "use a smaller --tau or --precision float32"

    def __init__(self, fit: PriorFit, clean: Tensor):
        super().__init__(fit, fit.settings.steps)
        self.fit, self.clean = fit, clean
        self.chosen = clean
        self.chosen_psnr = -math.inf

    def report(self) -> dict[str, float]:
        result = self.fit.network_output().to(self.clean.device).clamp(0, 1)
        quality = psnr(result, self.clean)
        if quality > self.chosen_psnr:
            self.chosen, self.chosen_psnr = result.clone(), quality
        return {"outlier_share": 0.0, "psnr": quality}
