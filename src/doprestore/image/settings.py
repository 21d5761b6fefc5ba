"""Settings of the image recovery and their two presets. Imports no torch: `--help` reads the defaults here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from doprestore.errors import check_choice, check_positive, check_seed, check_whole, choose_settings

# The ratio of the learning rates in the paper, for colour pictures of 512x512.
REFERENCE_ALPHA = 500.0
# The side of these pictures in pixels.
REFERENCE_SIDE = 512
# Pixels a side from which on a network has enough to learn from; smaller pictures are filled.
LEAST_SIDE = 16
# What --precision takes.
PRECISIONS = ("auto", "float32", "bfloat16")
# What --output takes.
OUTPUTS = ("composed", "network")


@dataclass(frozen=True)
class ImageSettings:
    """How eq. (9)-(10) is integrated. Take one from :func:`image_settings`.

    steps: of the optimisation; in the fast preset those of the fit, after the rounds of the search.
    width: channels of every layer of the U-Net.
    alpha: the ratio of the learning rates; in the paper's preset that at 512x512, scaled by sqrt(H·W)/512 for other sizes.
    tau: learning rate of θ, of SGD on the mean squared residual (paper) or of Muon at the start (fast).
    seed: fixes the network's start, its input and every later random number.
    device: "auto" (CUDA where present, else CPU), "cpu", "cuda", "cuda:1", "mps".
    precision: of the convolutions; "auto" is bfloat16 where the device is fast at it (fast preset only).
        g, h, s and the loss are float32 always.
    output: "composed" keeps the input where it is judged clean; "network" is φ(θ) alone, as in the paper.
    sensitivity: a value is replaced where the odds that it is damaged are above 1 / sensitivity (fast preset only).
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
    sensitivity: float = 1.0

    @property
    def is_paper(self) -> bool:
        return self.preset == "paper"

    @property
    def convolutions(self) -> str:
        """The precision to ask for: the paper preset never takes bfloat16 by itself."""
        return "float32" if self.is_paper and self.precision == "auto" else self.precision


# The settings that --preset stands for.
PRESETS = {
    "fast": ImageSettings(
        preset="fast",
        steps=60,
        width=16,
        alpha=500.0,
        tau=0.04,
        seed=0,
        device="auto",
        precision="auto",
        output="composed",
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
    ),
}


def image_settings(preset: str = "fast", **overrides: Any) -> ImageSettings:
    """The settings of a preset with some of them replaced; ``None`` stands for the preset's own.

    Raises :class:`UsageError` for an unknown preset or setting, a value out of range, or a setting
    that the preset does not use.
    """
    unused = {"paper": {"sensitivity": ", which judges nothing"}}
    settings = choose_settings(PRESETS, preset, unused, overrides)
    check_whole(settings, ("steps", "width"))
    check_positive(settings, ("alpha", "tau", "sensitivity"))
    check_seed(settings.seed)
    check_choice("precision", settings.precision, PRECISIONS)
    check_choice("output", settings.output, OUTPUTS)
    return settings
