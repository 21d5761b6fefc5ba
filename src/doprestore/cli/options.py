"""Kinds of option values that several commands share."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

# What --subsampling takes.
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
# The largest --quality.
MOST_QUALITY = 100
# What is said of a --range that is none.
NO_SAMPLE_VALUE = "is not a sample value like 4000 or a percentile like 1%"


class FileName(click.Path):
    """The name of a file or folder, as :class:`click.Path` takes it, which must be one.

    An empty one, as of a variable of the shell that is not set, would be the current folder to pathlib. "-" is refused
    unless ``allow_dash`` says that it is a standard stream here.
    """

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if not os.fspath(value):
            self.fail("'' is no name; give that of a file or folder, . for the current one", param, ctx)
        if not self.allow_dash and str(Path(value)) == "-":
            self.fail("'-', a standard stream, cannot be used here; name a file", param, ctx)
        return super().convert(value, param, ctx)


def file_option(*names: str, help: str, metavar: str = "FILE", dash: bool = False) -> Callable[[Command], Command]:
    """An option that names a file or folder; ``dash``: or "-", a standard stream."""
    return click.option(*names, type=FileName(path_type=Path, allow_dash=dash), metavar=metavar, help=help)


def checkpoint_options(function: Command) -> Command:
    """--checkpoint, --checkpoint-every and --resume; see :func:`check_checkpoint`."""
    resume = click.option("--resume", is_flag=True, help="Go on from --checkpoint; without one yet, start.")
    every = click.option(
        "--checkpoint-every", type=Duration(), default="60s", show_default=True, help="Seconds, or like 90s, 10m, 1h."
    )
    checkpoint = file_option(
        "--checkpoint",
        help="Save the state of the work here now and then, and when interrupted; deleted once the result is written.",
    )
    return checkpoint(every(resume(function)))


def check_checkpoint(context: click.Context, checkpoint: Path | None) -> None:
    """Refuse the options that are about a checkpoint where none is named."""
    if checkpoint is not None:
        return
    if context.get_parameter_source("checkpoint_every") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--checkpoint-every says how often to save; name the file with --checkpoint FILE", context)
    if context.params["resume"]:
        raise click.UsageError("--resume goes on from a checkpoint; name it with --checkpoint FILE", context)


class Shard(click.ParamType):
    """K/N: the K-th of N shares, from 1."""

    name = "K/N"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"{value!r} is not K/N with K from 1 to N, like 3/8", param, ctx)
        return int(match[1]), int(match[2])


class NumberOr(click.ParamType):
    """A whole number from 1, or one of some ``words``. what: what the number counts, for the message of refusal."""

    def __init__(self, *words: str, what: str):
        self.name = "|".join([*words, "N"])
        self._words, self._what = words, what

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value in self._words:
            return value
        if not re.fullmatch(r"[1-9]\d{0,5}", value):
            self.fail(f"{value!r} is not {', '.join(self._words)} or {self._what}", param, ctx)
        return int(value)


class Duration(click.ParamType):
    """A time in seconds: "60", "60s", "5m", "1h"."""

    name = "TIME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smh]?)", value)
        if match is None:
            self.fail(f"{value!r} is not a time like 60s, 10m or 1h", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


class Amount(click.FloatRange):
    """A share from 0 to 1, which NaN, neither below nor above, is not."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range 0<=x<=1", param, ctx)
        return number


class SampleValue(click.ParamType):
    """A sample value, or a percentile of the samples like "1%"; stays the text that it is."""

    name = "VALUE|P%"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_sample_value(value):
            self.fail(f"{value!r} {NO_SAMPLE_VALUE}", param, ctx)
        return value


def is_sample_value(value: str) -> bool:
    """Whether it is a finite number, or one from 0 to 100 with a percent sign."""
    number = value.removesuffix("%")
    try:
        sample = float(number)
    except ValueError:
        return False
    return math.isfinite(sample) and (number == value or 0 <= sample <= 100)
