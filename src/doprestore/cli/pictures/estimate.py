"""What a run will take, before it starts: seconds from a few steps on this machine, bytes from the formula that the
run itself goes by. Imports torch.

The one place that knows how the cost of a picture follows from its size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch

from doprestore import machine
from doprestore.cli.pictures.jobs import Choices
from doprestore.drive import REPORTS, Progress
from doprestore.image.grid import BYTES_KEPT, Grid, tiles_at_a_time, usual_tile
from doprestore.image.memory import bytes_needed
from doprestore.image.recovery import recover_image
from doprestore.image.settings import ImageSettings

# Sides in pixels of the two pictures that are timed; the time of a step is taken to be linear in the pixels
# (tests/benchmarks/estimates.py compares the estimates with what the work took).
SMALL, LARGE = 64, 192
# Steps that do not count, because libraries set up their kernels in them, and steps that are timed.
WARM_UP, TIMED = 4, 12


@dataclass(frozen=True)
class Estimate:
    """seconds: of a picture that is damaged heavily; one that is hardly damaged takes a fraction of that, and which it is
    only the run can tell. bytes: at the peak, beside Python and PyTorch."""

    seconds: float
    bytes: int


class Estimator:
    """The cost of pictures under these settings and choices; the first estimate takes some seconds of calibration."""

    def __init__(self, settings: ImageSettings, choices: Choices):
        self._settings = settings
        self._tile = choices.tile
        self._jobs = choices.jobs
        self._asked = choices.threads
        self._device = machine.choose_device(settings.device)

    def __call__(self, shape: tuple[int, ...]) -> Estimate:
        """Of a picture (C, H, W)."""
        tile = (
            usual_tile(shape, self._settings) if self._tile == "auto" else None if self._tile == "none" else int(self._tile)
        )
        threads = self._threads(shape[1] * shape[2])
        if tile is None or max(shape[1:]) <= tile:
            seconds = self._settings.steps * _seconds_a_step(self._settings, shape[1] * shape[2], threads)
            return Estimate(seconds, bytes_needed(shape, self._settings, self._device))
        grid = Grid(shape[1], shape[2], tile)
        tiles, size = len(grid.corners()), grid.size
        free = machine.free_memory(self._device)
        workers = tiles_at_a_time(shape, tile, self._settings, 2**62 if free is None else free)
        workers = max(1, min(workers, tiles, threads))
        rounds = -(-tiles // workers)
        each = _seconds_a_step(self._settings, size[0] * size[1], max(1, threads // workers), workers)
        needed = workers * bytes_needed((shape[0], *size), self._settings, self._device) + BYTES_KEPT * shape[1] * shape[2]
        return Estimate(rounds * self._settings.steps * each, needed)

    def _threads(self, pixels: int) -> int:
        if self._asked is not None or self._jobs > 1:
            return max(1, (self._asked or machine.threads()) // self._jobs)
        return machine.fitting_threads(pixels) if self._device.type == "cpu" else machine.threads()


def _seconds_a_step(settings: ImageSettings, pixels: int, threads: int, at_once: int = 1) -> float:
    """Of a picture of so many pixels, where ``at_once`` of them are worked on, each by ``threads`` threads."""
    small, large = (_timed(settings, side, threads) for side in (SMALL, LARGE))
    slope = max(0.0, large - small) / (LARGE**2 - SMALL**2)
    return max(small / 4, small + slope * (pixels - SMALL**2))


@cache
def _timed(settings: ImageSettings, side: int, threads: int) -> float:
    """The seconds of a step, measured on noise."""
    picture = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    seen: list[Progress] = []

    def enough() -> bool:
        return len(seen) >= WARM_UP + TIMED

    with machine.working_threads(threads):
        few = replace(settings, steps=min(settings.steps, REPORTS))  # so few that each is reported
        recover_image(picture, few, callback=seen.append, should_stop=enough)
    first = seen[min(WARM_UP, len(seen)) - 1]
    last = seen[-1]
    if last.step == first.step:
        return last.seconds / last.step
    return (last.seconds - first.seconds) / (last.step - first.step)
