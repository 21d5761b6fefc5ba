"""Settings of the matrix recovery and their presets. Imports no torch: `--help` reads the defaults here."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from doprestore.errors import UsageError


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


PRESETS = {
    "fast": MatrixSettings("fast", 2000, None, False, 0, "auto", None, None, None),
    "paper": MatrixSettings("paper", 20_000, None, False, 0, "auto", 1e-4, 1e-4, None),
}

_UNUSED_BY = {"fast": {"tau", "init", "rank_bound"}}


def matrix_settings(preset: str = "fast", **overrides: Any) -> MatrixSettings:
    """The settings of a preset with some of them replaced; ``None`` keeps the preset's own.

    Raises :class:`UsageError` for an unknown preset or setting, a value out of range, or a setting that the
    preset does not use.
    """
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: unknown; choose one of {', '.join(PRESETS)}")
    given = {name: value for name, value in overrides.items() if value is not None}
    known = {field.name for field in fields(MatrixSettings)}
    for name in given:
        if name not in known:
            raise UsageError(f"unknown setting {name!r}; the settings are {', '.join(sorted(known))}")
        if name in _UNUSED_BY.get(preset, ()):
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} is not used by --preset {preset}; leave it out or use --preset paper")
    settings = replace(PRESETS[preset], **given)
    for name in ("alpha", "tau", "init"):
        value = getattr(settings, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise UsageError(f"--{name} {value}: must be a positive number")
    for name in ("steps", "rank_bound"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    if not 0 <= settings.seed < 2**63:
        raise UsageError(f"--seed {settings.seed}: must be between 0 and 2^63 - 1")
    return settings
