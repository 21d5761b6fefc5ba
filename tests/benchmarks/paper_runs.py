"""What paper_cpu.py and paper_gpu.py share: a run of paper.py with its curve and its state, and which of them are left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paper import every_cell, is_finished, points
from torch import Tensor

from doprestore.reproduce.figure import Cell, Plan
from doprestore.reproduce.long_run import POINTS, Files, LongRun
from doprestore.reproduce.picture_cells import LOSSES, cell_settings, clean_picture, damage, run_name


class OnDisk:
    """A run of one cell, with its curve and its state in the folder. together: steps that are made at once."""

    def __init__(self, cell: Cell, plan: Plan, folder: Path, together: int = 1):
        self.path = folder / run_name(cell)
        clean = clean_picture(plan, cell)
        self.run = LongRun(damage(clean, cell), clean, cell_settings(cell, plan.device), LOSSES[cell["method"]])
        self.is_l1 = LOSSES[cell["method"]] == "l1"
        self.group = (cell["side"], cell["width"])
        self.files = Files(self.run, self.path, cell)
        if (state := self.files.load()) is not None:
            self.run.load_state_dict(state)
        self.every = max(1, self.run.steps // POINTS // together) * together  # steps between two points of the curve

    def add_point(self) -> None:
        """To the curve, where one is due."""
        if self.run.step_number % self.every and not self.run.done:
            return
        self.run.report()
        if not math.isfinite(self.run.points[-1][1]):
            raise SystemExit(f"{self.path.name}: the loss became {self.run.points[-1][1]}")

    def write(self) -> None:
        self.files.write(alone(self.run.state_dict()) | {"seconds": 0.0})

    def line(self) -> str:
        last, best = self.run.points[-1][2:4] if self.run.points else (math.nan, math.nan)
        return f"{self.path.name} {self.run.step_number}/{self.run.steps}: {last:.2f}, best {best:.2f} dB"


def alone(state: Any) -> Any:
    """A state without the rest of a stack, which the file would hold, too: its tensors are views."""
    if isinstance(state, Mapping):
        return {key: alone(value) for key, value in state.items()}
    return state.clone() if isinstance(state, Tensor) else state


def left(plan: Plan, folder: Path, only: Sequence[str]) -> list[Cell]:
    """The cells whose runs are not finished and have one of those words in their names, in the order of the words."""
    cells = {run_name(cell): cell for word in only for cell in every_cell(plan) if word in run_name(cell)}
    return [cell for name, cell in cells.items() if not is_finished(cell, points(folder / f"{name}.csv"))]
