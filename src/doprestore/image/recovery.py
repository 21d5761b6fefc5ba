"""A whole recovery of one picture: all the steps, reports on the way, the answer at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from doprestore.errors import InputError, NumericalError
from doprestore.image.repeated import RepeatedRecovery
from doprestore.image.settings import ImageSettings
from doprestore.metrics import psnr


@dataclass(frozen=True)
class Progress:
    """One reported step. ``loss`` is the mean squared residual, ``outlier_share`` the share of values
    that s explains better than the network, ``psnr`` is in dB or None without a clean picture."""

    step: int
    steps: int
    loss: float
    outlier_share: float
    psnr: float | None
    seconds: float


@dataclass(frozen=True)
class ImageResult:
    """What :func:`recover_image` returns; pictures are float32 (C, H, W) on the CPU.

    restored: the answer, in [0, 1]. network: φ(θ) alone. outliers: the estimated corruption
    g∘g − h∘h, y = x + s. found: bool, the values judged corrupted. interrupted: stopped early. steps: how far it came,
    those that were skipped included.
    """

    restored: Tensor
    network: Tensor
    outliers: Tensor
    found: Tensor
    settings: ImageSettings
    device: str
    steps: int
    loss: float
    seconds: float
    interrupted: bool

    @property
    def outlier_share(self) -> float:
        """Share of the values judged corrupted."""
        return self.found.float().mean().item()


def recover_image(
    picture: Tensor,
    settings: ImageSettings,
    *,
    mask: Tensor | None = None,
    clean: Tensor | None = None,
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    report_every: int | None = None,
    resume: dict[str, object] | None = None,
    keep: Callable[[Callable[[], dict[str, object]]], None] | None = None,
) -> ImageResult:
    """Run the recovery of a (C, H, W) picture in [0, 1] and return the result.

    mask: True where a value is known to be bad, see :class:`doprestore.image.step.ImageRecovery`.
    clean: the undamaged picture, for the PSNR in the reports alone; it never influences the result.
    callback: called with a :class:`Progress` every ``report_every`` steps (default: about 200 reports) and at the end.
    should_stop: asked after every step; True ends the recovery with what there is.
    keep: called after every step with a function that returns the state of the run; a later call with ``resume``
        that state goes on from there.
    Raises :class:`InputError`, :class:`UsageError`, and :class:`NumericalError` when the loss is not finite.
    """
    recovery = RepeatedRecovery(picture, settings, mask)
    if clean is not None:
        if clean.shape != picture.shape:
            raise InputError(f"the clean picture has shape {tuple(clean.shape)}, the damaged one {tuple(picture.shape)}")
        clean = clean.to(recovery.device, torch.float32)
    start = time.perf_counter()
    if resume is not None:
        recovery.load_state_dict(resume)
        start -= float(resume["seconds"])
    every = report_every or max(1, settings.steps // 200)
    interrupted = False
    while recovery.step_number < settings.steps and not interrupted:
        recovery.step()
        interrupted = should_stop is not None and should_stop()
        last = interrupted or recovery.step_number == settings.steps
        if last or recovery.step_number % every == 0:
            loss = recovery.loss.item()
            if not math.isfinite(loss):
                raise NumericalError(
                    f"the loss became {loss} by step {recovery.step_number}; use a smaller --tau or --precision float32"
                )
            if callback is not None:
                quality = None if clean is None else psnr(recovery.restored(), clean)
                share = recovery.found_outliers().float().mean().item()
                seconds = time.perf_counter() - start
                callback(Progress(recovery.step_number, settings.steps, loss, share, quality, seconds))
        if keep is not None:
            keep(lambda: recovery.state_dict() | {"seconds": time.perf_counter() - start})
    return ImageResult(
        restored=recovery.restored().cpu().clamp(0, 1),
        network=recovery.network_output().cpu().clamp(0, 1),
        outliers=recovery.corruption().cpu(),
        found=recovery.found_outliers().cpu(),
        settings=settings,
        device=str(recovery.device),
        steps=recovery.step_number,
        loss=recovery.loss.item(),
        seconds=time.perf_counter() - start,
        interrupted=interrupted,
    )
