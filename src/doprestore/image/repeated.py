"""More steps than one run has use for: several independent runs, and their vote.

A run that goes on for longer learns what it has missed, and gets no better. Runs from other random starts err in other
places, so a vote of several is better than any of them, and leaves out what one alone got wrong.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from doprestore.errors import InputError
from doprestore.image.grid import USUAL_TILE
from doprestore.image.settings import PRESETS, ImageSettings
from doprestore.image.step import ImageRecovery


def number_of_runs(settings: ImageSettings, height: int, width: int) -> int:
    """How many runs the steps are enough for. In the fast preset a run takes as many as its default has, and on what is
    larger than a usual tile more, in proportion to the side; the paper's preset is always one run."""
    usual = PRESETS["fast"].steps * max(1.0, math.sqrt(height * width) / USUAL_TILE)
    return 1 if settings.is_paper else max(1, int(settings.steps / usual))


RESULTS = ("network_output", "corruption", "found_outliers")  # what a run leaves, by the names of the methods


class RepeatedRecovery:
    """The recovery of one picture with its steps divided among :func:`number_of_runs` independent runs, one after
    another, the first of them from ``settings.seed`` itself. It is stepped and read like :class:`ImageRecovery`.

    The results are those of the runs at their end, or of the first on its way there: a value is an outlier where more
    than half of the runs say so, and φ(θ) and s are their medians.
    """

    def __init__(self, picture: Tensor, settings: ImageSettings, mask: Tensor | None = None):
        self.settings = settings
        self._picture, self._mask = picture, mask
        self.runs = number_of_runs(settings, *picture.shape[-2:])
        self._ended: list[dict[str, Tensor]] = []  # the results of the runs at their end
        self._begin(0)
        self.device = self._run.device
        self._y = picture.to(self.device, torch.float32)

    def _begin(self, index: int) -> None:
        """Start the run of that number, from 0."""
        self._run = None  # so that there are never two in memory
        self._first_step = self.settings.steps * index // self.runs
        steps = self.settings.steps * (index + 1) // self.runs - self._first_step
        seed = self.settings.seed
        if index:
            seed = int(torch.randint(2**62, (index,), generator=torch.Generator().manual_seed(seed))[-1])
        self._run = ImageRecovery(self._picture, replace(self.settings, steps=steps, seed=seed), self._mask)

    @property
    def step_number(self) -> int:
        return self._first_step + self._run.step_number

    @property
    def loss(self) -> Tensor:
        """The mean squared residual of the run at work."""
        return self._run.loss

    def step(self) -> None:
        """One step of the run at work, or the first one of the next."""
        if self._run.step_number == self._run.settings.steps:
            self._begin(len(self._ended))
        self._run.step()
        if self._run.step_number == self._run.settings.steps:
            self._ended.append({name: getattr(self._run, name)().clone() for name in RESULTS})

    def _results(self, name: str) -> Tensor:
        """(runs, C, H, W)"""
        return torch.stack([results[name] for results in self._ended] or [getattr(self._run, name)()])

    def network_output(self) -> Tensor:
        """φ(θ): (C, H, W)."""
        return _median(self._results("network_output"))

    def corruption(self) -> Tensor:
        """s: (C, H, W), the estimated corruption."""
        return _median(self._results("corruption"))

    def found_outliers(self) -> Tensor:
        """(C, H, W) bool: the values judged corrupted, those known to be bad among them."""
        found = self._results("found_outliers")
        return 2 * found.sum(dim=0) > len(found)

    def restored(self) -> Tensor:
        """The answer, (C, H, W), by ``settings.output``."""
        output = self.network_output()
        return torch.where(self.found_outliers(), output, self._y) if self.settings.output == "composed" else output

    def state_dict(self) -> dict[str, object]:
        """All that changes with the steps, for :meth:`load_state_dict`."""
        return {"ended": list(self._ended), "step_number": self.step_number, "run": self._run.state_dict()}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on where :meth:`state_dict` was taken; raises :class:`InputError` for a state of another picture or other
        settings."""
        try:
            ended = [{name: values.to(self.device) for name, values in results.items()} for results in state["ended"]]
            shapes = {results[name].shape for results in ended for name in RESULTS}
            step = int(state["step_number"])
            if shapes - {self._y.shape} or not 0 <= step <= self.settings.steps:
                raise ValueError
            run = next(k for k in range(self.runs) if step <= self.settings.steps * (k + 1) // self.runs)
            if len(ended) != run + (step == self.settings.steps * (run + 1) // self.runs):
                raise ValueError
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError("the saved state does not fit this picture and these settings; start anew") from error
        self._ended = ended
        if run:
            self._begin(run)
        self._run.load_state_dict(state["run"])


def _median(values: Tensor) -> Tensor:
    """Along the first dimension; of an even number, the mean of the middle two."""
    ordered = values.sort(dim=0).values
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
