"""What a figure consists of: cells to compute, a plot of their numbers, and a verdict on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

Cell = dict[str, Any]  # texts and numbers: all that decides the outcome of one computation
Row = dict[str, Any]  # texts and numbers: the settings of its cell, and numbers
Note = Callable[[int, int], None]  # of the step and the steps in all


@dataclass(frozen=True)
class Plan:
    """What was asked for: "quick", "small" or "full"; preset and device for the pictures; the clean ones by name,
    (C, H, W). runs: the folder where long runs keep curves and states."""

    scale: str
    preset: str = "fast"
    device: str = "auto"
    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    runs: Path | None = None

    @property
    def quick(self) -> bool:
        return self.scale == "quick"


class Outcome(NamedTuple):
    """Of one cell: numbers by name, a row or several; and the restored picture (C, H, W), where there is one."""

    rows: list[dict[str, float]]
    picture: Tensor | None = None


@dataclass(frozen=True)
class Runs:
    """One kind of computation: the settings and the numbers that make a row, and how to get from one to the other.

    Figures with the same :class:`Runs` share the cells that they have in common.
    """

    settings: tuple[str, ...]
    numbers: tuple[str, ...]
    compute: Callable[[Cell, Plan, Note], Outcome]
    picture_name: Callable[[Cell], str] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.settings, *self.numbers)


class Verdict(NamedTuple):
    """Whether the numbers agree with the paper, and a sentence that says which they are."""

    agrees: bool
    sentence: str


@dataclass(frozen=True)
class Figure:
    """One figure of the paper.

    claim: what the paper says, in a phrase. scope: what was run, in a phrase. plot: the PNG; its last argument gives
    the restored picture of a cell.
    """

    claim: str
    runs: Runs
    cells: Callable[[Plan], list[Cell]]
    scope: Callable[[Plan], str]
    verdict: Callable[[list[Row]], Verdict]
    plot: Callable[[list[Row], Plan, str, Callable[[Cell], Tensor]], bytes]
