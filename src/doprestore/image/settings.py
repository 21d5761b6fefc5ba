"""Settings of the image recovery and their two presets. Imports no torch: `--help` reads the defaults here."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

from doprestore.errors import UsageError, check_choice, check_positive, check_seed, check_whole, choose_settings

# The ratio of the learning rates in the paper, for colour pictures of 512x512, and their side in pixels.
REFERENCE_ALPHA = 500.0
REFERENCE_SIDE = 512
PRECISIONS = ("auto", "float32", "bfloat16")
OUTPUTS = ("composed", "network")


@dataclass(frozen=True)
class ImageSettings:
    """How eq. (9)-(10) is integrated. Take one from :func:`image_settings`.

    steps: optimisation steps; enough for several runs, in the fast preset, they are several
        (:mod:`doprestore.image.repeated`). It skips those that it does not need.
    width: channels of every layer of the U-Net.
    alpha: the ratio of the learning rates at 512x512; scaled by sqrt(H·W)/512 for other sizes.
    tau: learning rate of θ, of SGD on the mean squared residual (paper) or of Adam (fast).
    seed: fixes the network's start, its input and every later random number.
    device: "auto" (CUDA where present, else CPU), "cpu", "cuda", "cuda:1", "mps".
    precision: of the convolutions; "auto" is bfloat16 where the device is fast at it (fast preset only).
        g, h, s and the loss are float32 always.
    output: "composed" keeps the input where it is judged clean; "network" is φ(θ) alone, as in the paper.
    average: decay of the running average of the network's output; 0 = the raw last output.
    """

    preset: str
    steps: int
    width: int
    alpha: float
    tau: float
    seed: int
    device: str
    precision: str
    output: str
    average: float

    @property
    def is_paper(self) -> bool:
        return self.preset == "paper"

    @property
    def convolutions(self) -> str:
        """The precision to ask for: the paper preset never takes bfloat16 by itself."""
        return "float32" if self.is_paper and self.precision == "auto" else self.precision


PRESETS = {
    "fast": ImageSettings(
        preset="fast",
        steps=800,
        width=32,
        alpha=500.0,
        tau=0.01,
        seed=0,
        device="auto",
        precision="auto",
        output="composed",
        average=0.98,
    ),
    "paper": ImageSettings(
        preset="paper",
        steps=150_000,
        width=128,
        alpha=500.0,
        tau=1.0,
        seed=0,
        device="auto",
        precision="auto",
        output="network",
        average=0.0,
    ),
}

_UNUSED_BY = {"paper": {"average": ": the published pipeline reports the raw last output; leave it out"}}


def image_settings(preset: str = "fast", **overrides: Any) -> ImageSettings:
    """The settings of a preset with some of them replaced; ``None`` stands for the preset's own.

    Raises :class:`UsageError` for an unknown preset or setting, a value out of range, or a setting
    that the preset does not use.
    """
    settings = choose_settings(PRESETS, preset, _UNUSED_BY, overrides)
    check_whole(settings, ("steps", "width"))
    check_positive(settings, ("alpha", "tau"))
    check_seed(settings.seed)
    check_choice("precision", settings.precision, PRECISIONS)
    check_choice("output", settings.output, OUTPUTS)
    if not isinstance(settings.average, Real):
        raise UsageError(f"--average {settings.average!r}: must be a number")
    if not 0 <= settings.average < 1:
        raise UsageError(f"--average {settings.average}: must be at least 0 and below 1")
    return settings
