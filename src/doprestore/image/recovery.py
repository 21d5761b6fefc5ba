"""A whole recovery of one picture: all the steps, reports on the way, the answer at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from doprestore.drive import StepsOf, drive
from doprestore.image.light import Damage, Light, suits
from doprestore.image.masks import check_picture
from doprestore.image.repeated import RepeatedRecovery
from doprestore.image.settings import ImageSettings
from doprestore.metrics import psnr


@dataclass(frozen=True)
class ImageResult:
    """What :func:`recover_image` returns; pictures are float32 (C, H, W) on the CPU.

    restored: the answer, in [0, 1]. network: φ(θ) alone. outliers: s = g∘g − h∘h,
    y = x + s. found: bool, the values found damaged. interrupted: stopped early. steps: how far it came,
    those that were skipped included. damage: what was found by kind, where the search told (:mod:`doprestore.image.light`).
    print_like: strokes of the picture itself look like damage, and nothing was called damaged.
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
    damage: tuple[Damage, ...] = ()
    print_like: bool = False

    @property
    def outlier_share(self) -> float:
        """Share of the values found damaged."""
        return self.found.float().mean().item()


def recover_image(
    picture: Tensor,
    settings: ImageSettings,
    *,
    mask: Tensor | None = None,
    clean: Tensor | None = None,
    **driving: Any,
) -> ImageResult:
    """Run the recovery of a (C, H, W) picture in [0, 1] and return the result.

    mask: True where a value is known to be bad, see :class:`doprestore.image.step.ImageRecovery`.
    clean: the undamaged picture, for the PSNR in the reports alone; it never influences the result.
    driving: callback, should_stop, save, resume and report_every, as :func:`doprestore.drive.drive` has them; should_stop
        ends the recovery with what there is.
    Raises :class:`InputError`, :class:`UsageError`, and :class:`NumericalError` when the loss is not finite.
    """
    check_picture(picture, clean)
    recovery = RepeatedRecovery(picture, settings, mask)
    if clean is not None:
        clean = clean.to(recovery.device, torch.float32)
    ended = drive(_Watched(recovery, clean), **driving)
    return ImageResult(
        restored=recovery.restored().cpu().clamp(0, 1),
        network=recovery.network_output().cpu().clamp(0, 1),
        outliers=recovery.corruption().cpu(),
        found=recovery.found_outliers().cpu(),
        settings=settings,
        device=str(recovery.device),
        steps=recovery.step_number,
        loss=recovery.loss.item(),
        seconds=ended.seconds,
        interrupted=ended.interrupted,
    )


def recover_light(
    picture: Tensor,
    settings: ImageSettings,
    *,
    mask: Tensor | None = None,
    clean: Tensor | None = None,
    **driving: Any,
) -> ImageResult | None:
    """As :func:`recover_image`, by the search for damage and a fit of what it found (:mod:`doprestore.image.light`).

    None where that is not for this picture: it is damaged too heavily, or ``resume`` is the state of another recovery.
    """
    resume = driving.get("resume")
    if not suits(tuple(picture.shape), settings) or (resume is not None and "screening" not in resume):
        return None
    check_picture(picture, clean)
    job = Light(picture, settings, mask, clean)
    ended = drive(job, **driving)
    if job.is_heavy:
        return None
    if ended.interrupted:
        job.compose()
    found = job.found if job.fit is not None else ~job.known
    return ImageResult(
        restored=job.answer.cpu().clamp(0, 1),
        network=torch.where(job.found, job.answer, job.screening.predicted).cpu().clamp(0, 1),
        outliers=torch.where(found, job.y - job.answer, 0.0).cpu(),
        found=found.cpu(),
        settings=settings,
        device=str(job.device),
        steps=job.step_number,
        loss=float(job.loss),
        seconds=ended.seconds,
        interrupted=ended.interrupted,
        damage=job.damage(),
        print_like=job.screening.print_like,
    )


class _Watched(StepsOf):
    """A recovery as a job for :func:`doprestore.drive.drive`, held against the undamaged picture where that is known."""

    remedy = "use a smaller --tau or --precision float32"

    def __init__(self, recovery: RepeatedRecovery, clean: Tensor | None):
        super().__init__(recovery, recovery.settings.steps)
        self.recovery, self.clean = recovery, clean

    def report(self) -> Mapping[str, float | None]:
        quality = None if self.clean is None else psnr(self.recovery.restored(), self.clean)
        return {"outlier_share": self.recovery.found_outliers().float().mean().item(), "psnr": quality}
