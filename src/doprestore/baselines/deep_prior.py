"""The deep image prior without outlier variables, and the ceiling: our own network told which values are clean.

All three look at the undamaged picture, so they are oracles, to compare with and not to use. They run the
same network, start, optimiser and averaging as :mod:`doprestore.image.step`, only with s = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from doprestore.drive import Progress, StepsOf, drive
from doprestore.image.kept import COUPLED, channel_coupling
from doprestore.image.schedule import StoppedClock
from doprestore.image.settings import ImageSettings, image_settings
from doprestore.image.step import ImageRecovery
from doprestore.metrics import psnr

Callback = Callable[[Progress], None]


class PriorFit(ImageRecovery):
    """min over θ of the loss of φ(θ) − y, over the trusted values only if a mask of them is given."""

    def __init__(self, picture: Tensor, settings: ImageSettings, loss: str, trusted: Tensor | None = None):
        super().__init__(picture, replace(settings, output="network"))
        self.clock = StoppedClock()  # type: ignore[assignment]  # it stands in for a Clock
        self.loss_name = loss
        if trusted is None:
            trusted = torch.ones_like(picture)
        trusted = self.padding.pad(trusted.to(self.device, torch.float32))
        self.weight = trusted / trusted.mean().clamp(min=1 / trusted.numel())

    def objective(self, residual: Tensor) -> Tensor:
        size = residual.abs() if self.loss_name == "l1" else residual.square()
        return (size * self.weight).mean()


def dip(
    picture: Tensor, clean: Tensor, settings: ImageSettings | None = None, *, callback: Callback | None = None
) -> Tensor:
    """The deep image prior: min over θ of ‖φ(θ) − y‖², stopped where the PSNR against ``clean`` is highest (oracle).

    picture, clean: (C, H, W) in [0, 1]. settings: those of the fast preset unless given. callback: about 200
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
    """Our network fitted to the undamaged values alone, and used only for the damaged ones (oracle).

    The damaged values are those where ``picture`` and ``clean`` differ. A method that has to find them is not
    expected to do better with this network. It starts from the colours of the undamaged pixels, as a restoration does from
    those that its searches have found. Runs all ``settings.steps``; otherwise as :func:`dip`.
    """
    trusted = picture == clean
    fit = PriorFit(picture, settings or image_settings(), "l2", trusted)
    pixels = trusted.all(dim=0)
    if pixels.any():
        fit.network.know_colours(picture[:, pixels].to(fit.device), graded=channel_coupling(~trusted) < COUPLED)
    return _run(
        fit,
        clean,
        callback,
        lambda output: torch.where(trusted, picture, output),
        best=False,
    )


def _best_moment(
    picture: Tensor, clean: Tensor, settings: ImageSettings | None, loss: str, callback: Callback | None
) -> Tensor:
    fit = PriorFit(picture, settings or image_settings(), loss)
    return _run(fit, clean, callback, lambda output: output.clone(), best=True)


def _run(
    fit: PriorFit, clean: Tensor, callback: Callback | None, finish: Callable[[Tensor], Tensor], *, best: bool
) -> Tensor:
    """Run all steps; return the result of the best moment by PSNR, or else of the last one."""
    watched = _Watched(fit, clean, finish, best)
    # Where nobody listens, only those moments count that may be the answer.
    every = None if best or callback is not None else fit.settings.steps
    drive(watched, callback=callback or (lambda progress: None), report_every=every)
    return watched.chosen


class _Watched(StepsOf):
    """A fit as a job for :func:`doprestore.drive.drive`, which looks at the PSNR and remembers the answer."""

    remedy = "use a smaller --tau or --precision float32"

    def __init__(self, fit: PriorFit, clean: Tensor, finish: Callable[[Tensor], Tensor], best: bool):
        super().__init__(fit, fit.settings.steps)
        self.fit, self.clean, self.finish, self.best = fit, clean, finish, best
        self.chosen = clean
        self.chosen_psnr = -math.inf

    def report(self) -> dict[str, float]:
        result = self.finish(self.fit.network_output().to(self.clean.device)).clamp(0, 1)
        quality = psnr(result, self.clean)
        if not self.best or quality > self.chosen_psnr:
            self.chosen, self.chosen_psnr = result, quality
        return {"outlier_share": 0.0, "psnr": quality}
