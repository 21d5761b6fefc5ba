"""Settings of the matrix recovery and their presets. Imports no torch: `--help` reads the defaults here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from doprestore.errors import check_positive, check_seed, check_whole, choose_settings


@dataclass(frozen=True)
class MatrixSettings:
    """How eq. (3) is solved. Take one from :func:`matrix_settings`.

    preset: "fast" (the engineered solver) or "paper" (literal eq. (6)).
    steps: paper: exactly so many; fast: at most so many, all stages together.
    alpha: ratio of the learning rates of s and of the low-rank part; λ = 1/alpha in eq. (8). None: the square root
        of the number of known entries per row or column, whichever is longer (√n for a full n x n matrix); for
        ``sense`` √(m/n). Smaller finds fewer outliers.
    symmetric: X = U Uᵀ (positive semidefinite) instead of X = U Vᵀ.
    seed: fixes every random number.
    device: "auto" (CUDA where present, else CPU), "cpu", "cuda", "cuda:1".
    tau, init, rank_bound: paper only. Learning rate of U; scale of the start of U, V, g and h; number of columns of
        U (None: as many as the matrix has rows or columns, no prior knowledge).
    """

    preset: str
    steps: int
    alpha: float | None
    symmetric: bool
    seed: int
    device: str
    tau: float | None
    init: float | None
    rank_bound: int | None


# The settings that --preset stands for.
PRESETS = {
    "fast": MatrixSettings("fast", 2000, None, False, 0, "auto", None, None, None),
    "paper": MatrixSettings("paper", 20_000, None, False, 0, "auto", 1e-4, 1e-4, None),
}

_UNUSED_BY = {"fast": dict.fromkeys(("tau", "init", "rank_bound"), "; leave it out or use --preset paper")}


def matrix_settings(preset: str = "fast", **overrides: Any) -> MatrixSettings:
    """The settings of a preset with some of them replaced; ``None`` stands for the preset's own.

    Raises :class:`UsageError` for an unknown preset or setting, a value out of range, or a setting that the
    preset does not use.
    """
    settings = choose_settings(PRESETS, preset, _UNUSED_BY, overrides)
    check_positive(settings, ("alpha", "tau", "init"))
    check_whole(settings, ("steps", "rank_bound"))
    check_seed(settings.seed)
    return settings
