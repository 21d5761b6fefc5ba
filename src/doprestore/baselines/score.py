"""Run a method on a damaged picture whose original is known, and score it: ours and every baseline alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from doprestore.baselines import METHODS, OURS
from doprestore.baselines.deep_prior import prior_settings
from doprestore.drive import Progress
from doprestore.image.portions import recover
from doprestore.image.settings import ImageSettings, image_settings
from doprestore.metrics import SSIM_SIDE, precision_recall, psnr, ssim

# What has settings of its own beside the fast preset.
PRIORS = ("dip", "dip-l1")


@dataclass(frozen=True)
class Score:
    """One method's answer and how good it is.

    psnr in dB; ssim, or None for a side under 11; steps: those run, or the best one of an oracle stop, or None for a
    filter; seconds: start to end; precision, recall: of the found outliers (ours only); curve: (step, PSNR)
    as far as it was asked for.
    """

    method: str
    restored: Tensor
    psnr: float
    ssim: float | None
    steps: int | None
    seconds: float
    precision: float | None = None
    recall: float | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)


def settings_of(name: str, preset: str = "fast", **overrides: Any) -> ImageSettings:
    """Settings for a method that fits a network; ``overrides`` as for :func:`image_settings`."""
    if preset == "fast" and name in PRIORS:
        return prior_settings(**overrides)
    return image_settings(preset, **overrides)


def score(
    name: str,
    damaged: Tensor,
    clean: Tensor,
    settings: ImageSettings,
    callback: Callable[[Progress], None] | None = None,
) -> Score:
    """Restore ``damaged`` (C, H, W) by "ours" or a name of :data:`METHODS`, and compare with ``clean``.

    settings: see :func:`settings_of`. ``callback`` makes the methods that fit a network report as they go, and costs
    them a little time.
    """
    curve: list[tuple[int, float]] = []

    def note(progress: Progress) -> None:
        if progress.psnr is not None:
            curve.append((progress.step, progress.psnr))
        if callback is not None:
            callback(progress)

    start = time.perf_counter()
    steps = precision = recall = None
    if name == OURS:
        result = recover(damaged, settings, clean=clean, callback=note if callback else None)
        restored, steps = result.restored, result.steps
        precision, recall = precision_recall(result.found, damaged != clean)
    else:
        method = METHODS[name]
        truth = [clean] if method.oracle else []
        if method.fits:
            # The best step is read off the reports, so these always make them.
            restored = method.load()(damaged, *truth, settings, callback=note)
            stops_early = name != "known-mask"
            steps = max(curve, key=lambda point: point[1])[0] if stops_early else settings.steps
        else:
            restored = method.load()(damaged, *truth)
    seconds = time.perf_counter() - start
    similarity = ssim(restored, clean) if min(clean.shape[1:]) >= SSIM_SIDE else None
    return Score(name, restored, psnr(restored, clean), similarity, steps, seconds, precision, recall, curve)
