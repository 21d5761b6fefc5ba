"""A whole recovery of one picture: all the steps, reports on the way, the answer at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from doprestore.drive import Ended, Job, StepsOf, drive
from doprestore.image.light import Damage, Light
from doprestore.image.masks import check_picture
from doprestore.image.paper import PaperRecovery
from doprestore.image.settings import ImageSettings
from doprestore.metrics import psnr


@dataclass(frozen=True)
class ImageResult:
    """What :func:`recover_image` returns; pictures are float32 (C, H, W) on the CPU.

    restored: the answer, in [0, 1]. network: φ(θ) alone; with the fast preset what is predicted of each value unseen.
    outliers: s of y = x + s: g∘g − h∘h with the paper's preset, y − x at the values replaced with the fast one.
    found: bool, the values found damaged. interrupted: stopped early. steps: how many were made.
    damage: what was found by kind, where the search told (:mod:`doprestore.image.light`).
    undecided: print, a drawing or noise looks like damage, or damage like these, and nothing was called damaged.
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
    undecided: bool = False

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
    """Run the recovery of a (C, H, W) picture in [0, 1] and return the result: by the search for damage and a fit of what
    it found (:mod:`doprestore.image.light`), or with the paper's preset by its pipeline (:mod:`doprestore.image.paper`).

    mask: True where a value is known to be bad, (H, W) or (C, H, W).
    clean: the undamaged picture, for the PSNR in the reports alone; it never influences the result.
    driving: callback, should_stop, save, resume and report_every, as :func:`doprestore.drive.drive` has them; should_stop
        ends the recovery with what there is.
    Raises :class:`InputError`, :class:`UsageError`, and :class:`NumericalError` when the loss is not finite.
    """
    check_picture(picture, clean)

    def driven(job: Job) -> Ended:
        return drive(job, **driving)

    if settings.is_paper:
        paper = _Paper(PaperRecovery(picture, settings, mask), clean)
        return paper.result(driven(paper))
    light = Light(picture, settings, mask, clean)
    return _result(light, driven(light))


def _result(light: Light, ended: Ended) -> ImageResult:
    """Of the fast preset."""
    if ended.interrupted:
        light.compose()
    # What an interrupted search has found so far has not been replaced.
    found = light.found if light.fit is not None else ~light.known
    return ImageResult(
        restored=light.restored().cpu().clamp(0, 1),
        network=light.network_output().cpu().clamp(0, 1),
        outliers=torch.where(found, light.picture - light.answer, 0.0).cpu(),
        found=found.cpu(),
        settings=light.settings,
        device=str(light.device),
        steps=light.step_number,
        loss=float(light.loss),
        seconds=ended.seconds,
        interrupted=ended.interrupted,
        damage=light.damage(),
        undecided=light.screening.undecided,
    )


class _Paper(StepsOf):
    """The paper's pipeline as a job for :func:`doprestore.drive.drive`, held against the undamaged picture where that is
    known."""

    remedy = "use a smaller --tau or --precision float32"

    def __init__(self, recovery: PaperRecovery, clean: Tensor | None):
        super().__init__(recovery, recovery.settings.steps)
        self.recovery = recovery
        self.clean = None if clean is None else clean.to(recovery.device, torch.float32)

    def report(self) -> Mapping[str, float | None]:
        quality = None if self.clean is None else psnr(self.recovery.restored(), self.clean)
        return {"outlier_share": self.recovery.found_outliers().float().mean().item(), "psnr": quality}

    def result(self, ended: Ended) -> ImageResult:
        recovery = self.recovery
        return ImageResult(
            restored=recovery.restored().cpu().clamp(0, 1),
            network=recovery.network_output().cpu().clamp(0, 1),
            outliers=recovery.outlier_values().cpu(),
            found=recovery.found_outliers().cpu(),
            settings=recovery.settings,
            device=str(recovery.device),
            steps=recovery.step_number,
            loss=recovery.loss.item(),
            seconds=ended.seconds,
            interrupted=ended.interrupted,
        )
