"""What can go wrong through no fault of the code: each message is one line that names the remedy.

With the checks that the settings of pictures and of matrices share. Imports no torch: `--help` reads settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Protocol, TypeVar


class DoprestoreError(Exception):
    """Base of the errors a user can cause; the command line prints it as one line and exits with 1."""


class UsageError(DoprestoreError):
    """A combination of settings that makes no sense; the command line exits with 2."""


class InputError(DoprestoreError):
    """A file that is missing, unreadable, or not what the command needs."""


class OutputError(DoprestoreError):
    """A result that cannot be written where it was asked for."""


class DestinationError(OutputError, UsageError):
    """A place where no result may go: the input, a file that exists, no folder, no known format; exits with 2."""


class NumericalError(DoprestoreError):
    """The optimisation produced NaN or infinity."""


class _Settings(Protocol):
    """A frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Settings = TypeVar("Settings", bound=_Settings)


def choose_settings(
    presets: Mapping[str, Settings], preset: str, unused: Mapping[str, Mapping[str, str]], overrides: Mapping[str, Any]
) -> Settings:
    """The settings of a preset with some of them replaced; ``None`` stands for the preset's own.

    unused: by preset the settings that it has no use for, each with what to say of it. Raises :class:`UsageError` for an
    unknown preset or setting and for an unused one.
    """
    if preset not in presets:
        raise UsageError(f"--preset {preset}: unknown; choose one of {', '.join(presets)}")
    given = {name: value for name, value in overrides.items() if value is not None}
    known = {field.name for field in fields(presets[preset])}
    for name in given:
        if name not in known:
            raise UsageError(f"unknown setting {name!r}; the settings are {', '.join(sorted(known))}")
        if name in unused.get(preset, {}):
            raise UsageError(f"{_flag(name)} is not used by --preset {preset}{unused[preset][name]}")
    return replace(presets[preset], **given)


def check_whole(settings: object, names: Sequence[str], least: int = 1) -> None:
    """Raise :class:`UsageError` unless each of these settings is a whole number from ``least`` on, or None."""
    for name in names:
        value = getattr(settings, name)
        if value is None:
            continue
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise UsageError(f"{_flag(name)} {value!r}: must be a whole number")
        if value < least:
            raise UsageError(f"{_flag(name)} {value}: must be at least {least}")


def check_positive(settings: object, names: Sequence[str]) -> None:
    """Raise :class:`UsageError` unless each of these settings is a positive, finite number, or None."""
    for name in names:
        value = getattr(settings, name)
        if value is None:
            continue
        if not isinstance(value, Real):
            raise UsageError(f"{_flag(name)} {value!r}: must be a number")
        if not 0 < float(value) < math.inf:
            raise UsageError(f"{_flag(name)} {value}: must be a positive number")


def check_seed(seed: object) -> None:
    """Raise :class:`UsageError` unless torch takes ``seed``."""
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise UsageError(f"--seed {seed!r}: must be a whole number")
    if not 0 <= int(seed) < 2**63:
        raise UsageError(f"--seed {seed}: must be between 0 and 2^63 - 1")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise :class:`UsageError` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise UsageError(f"{_flag(name)} {value}: choose one of {', '.join(choices)}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
