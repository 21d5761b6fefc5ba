"""What a restoration will take, before it starts: seconds from short ones on this machine, bytes from the formulas that
the restoration itself goes by. Imports torch.

The one place that knows how the cost of a picture follows from its size. How much of a picture is damaged only its
restoration can tell, so there are three answers: undamaged, where it ends with the search; lightly damaged, where a fit
follows; and heavily, where the race does.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from functools import cache

import torch
from torch import Tensor

from doprestore import machine
from doprestore.cli.pictures.jobs import Choices
from doprestore.drive import REPORTS, Progress
from doprestore.image.fit import STEPS
from doprestore.image.grid import BYTES_KEPT, Grid, tiles_at_a_time
from doprestore.image.light import suits
from doprestore.image.memory import ANSWER_VALUE, bytes_needed, light_bytes
from doprestore.image.portions import Portions
from doprestore.image.recovery import recover_image, recover_light
from doprestore.image.settings import ImageSettings

# Sides in pixels of the two pictures that the race is timed on; the time of a step is taken to be linear in the pixels
# (tests/benchmarks/estimates.py compares the estimates with what the work took).
SMALL, LARGE = 64, 192
# Steps that do not count, because libraries set up their kernels in them, and steps that are timed.
WARM_UP, TIMED = 4, 12
# Sides of the pictures that the search and the fit are timed on; above the second, the time is taken to be linear.
SIDES = (64, 160, 256)
# Steps of the fit that are made for that; the others are taken to be as long.
FEW = 4
# The share of the steps of the race that is made where the search comes before it: all where the damage is of any tone, and
# about 0.6 where it is of a few tones (the figures of tests/benchmarks/estimates.py); this is within a third of both.
MADE = 0.8
# The share of damaged values in these pictures.
STRUCK = 0.02


@dataclass(frozen=True)
class Estimate:
    """Seconds by what the picture turns out to be; ``undamaged`` and ``light`` are None where there is no search and all
    pictures take as long as heavily damaged ones. bytes: at the peak, beside Python and PyTorch."""

    undamaged: float | None
    light: float | None
    heavy: float
    bytes: int


@dataclass(frozen=True)
class Stages:
    """Seconds of the search where nothing is found, of the search where something is, and of the fit with all about it."""

    quick_search: float
    search: float
    fit: float


class Estimator:
    """The cost of pictures under these settings and choices; the first estimates take some seconds of calibration."""

    def __init__(self, settings: ImageSettings, choices: Choices):
        self._settings = settings
        self._tile = None if choices.tile == "none" else choices.tile
        self._jobs = choices.jobs
        self._asked = choices.threads
        self._device = machine.choose_device(settings.device)

    def __call__(self, shape: tuple[int, ...]) -> Estimate:
        """Of a picture (C, H, W). Raises :class:`DoprestoreError` for what this machine has no memory for."""
        portions = Portions(shape, self._settings, self._tile, jobs=self._jobs)
        race, needed = self._race(shape, portions)
        if not suits(shape, self._settings):
            return Estimate(None, None, race, needed)
        pixels = shape[1] * shape[2]
        side = portions.piece or max(shape[1:])
        worked_on = (shape[0], min(side, shape[1]), min(side, shape[2]))
        searched = light_bytes(worked_on)
        if portions.piece is not None:
            answer = ANSWER_VALUE * math.prod(shape)
            needed, searched = needed + answer, searched + answer
        stages = _stages(self._settings, shape[0], pixels, self._threads(pixels))
        light = stages.search + stages.fit
        return Estimate(stages.quick_search, light, stages.search + MADE * race, max(needed, searched))

    def _race(self, shape: tuple[int, ...], portions: Portions) -> tuple[float, int]:
        """Seconds and bytes where the race is all there is."""
        tile, pieces = portions.tile, 1
        if portions.piece is not None:
            pieces = portions.tiles
            shape = (shape[0], min(shape[1], portions.piece), min(shape[2], portions.piece))
        threads = self._threads(shape[1] * shape[2])
        if tile is None or max(shape[1:]) <= tile:
            seconds = self._settings.steps * _seconds_a_step(self._settings, shape[1] * shape[2], threads)
            return pieces * seconds, bytes_needed(shape, self._settings, self._device)
        grid = Grid(shape[1], shape[2], tile)
        tiles, size = len(grid.corners()), grid.size
        free = machine.free_memory(self._device)
        workers = tiles_at_a_time(shape, tile, self._settings, 2**62 if free is None else free)
        workers = max(1, min(workers, tiles, threads))
        rounds = -(-tiles // workers)
        each = _seconds_a_step(self._settings, size[0] * size[1], max(1, threads // workers))
        needed = workers * bytes_needed((shape[0], *size), self._settings, self._device) + BYTES_KEPT * shape[1] * shape[2]
        return pieces * rounds * self._settings.steps * each, needed

    def _threads(self, pixels: int) -> int:
        if self._asked is not None or self._jobs > 1:
            return max(1, (self._asked or machine.threads()) // self._jobs)
        return machine.fitting_threads(pixels) if self._device.type == "cpu" else machine.threads()


def _seconds_a_step(settings: ImageSettings, pixels: int, threads: int) -> float:
    """Of the race on a picture of so many pixels."""
    small, large = (_timed(settings, side, threads) for side in (SMALL, LARGE))
    slope = max(0.0, large - small) / (LARGE**2 - SMALL**2)
    return max(small / 4, small + slope * (pixels - SMALL**2))


@cache
def _timed(settings: ImageSettings, side: int, threads: int) -> float:
    """The seconds of a step of the race, measured on noise."""
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


def _stages(settings: ImageSettings, channels: int, pixels: int, threads: int) -> Stages:
    """Of a picture of so many pixels, by a line through the two nearest that were timed."""
    if pixels <= SIDES[0] ** 2:
        least = astuple(_timed_stages(settings, channels, SIDES[0], threads))
        return Stages(*(max(0.25, pixels / SIDES[0] ** 2) * seconds for seconds in least))
    below, above = (SIDES[0], SIDES[1]) if pixels <= SIDES[1] ** 2 else (SIDES[1], SIDES[2])
    small, large = (astuple(_timed_stages(settings, channels, side, threads)) for side in (below, above))
    along = (pixels - below**2) / (above**2 - below**2)
    return Stages(*(one + along * max(0.0, other - one) for one, other in zip(small, large, strict=True)))


@cache
def _timed_stages(settings: ImageSettings, channels: int, side: int, threads: int) -> Stages:
    """Measured on a picture that is undamaged, and on the same with random values on :data:`STRUCK`."""
    whole = _waves(channels, side)
    generator = torch.Generator().manual_seed(0)
    struck = torch.rand(whole.shape, generator=generator) < STRUCK
    damaged = torch.where(struck, torch.rand(whole.shape, generator=generator), whole)
    steps = min(STEPS, settings.steps)
    few = replace(settings, steps=min(FEW, steps))
    with machine.working_threads(threads):
        recover_light(_waves(channels, 32), replace(settings, steps=1))  # libraries loaded
        quick = _seconds(recover_light(whole, few))
        seen: list[Progress] = []
        total = _seconds(recover_light(damaged, few, callback=seen.append))
    search = max((one.seconds for one in seen if one.stage == "search"), default=total)
    fit = [one.seconds for one in seen if one.stage == "fit"]
    if len(fit) < 3:
        return Stages(quick, search, (total - search) * steps / few.steps)
    # The first step of the fit is preceded by its preparation, the last followed by its use.
    each = (fit[-2] - fit[0]) / (len(fit) - 2)
    return Stages(quick, search, total - search + (steps - few.steps) * each)


def _seconds(result) -> float:
    return 0.0 if result is None else result.seconds


def _waves(channels: int, side: int) -> Tensor:
    """(channels, side, side): smooth, with a little noise, and in colour."""
    at = torch.linspace(0, side / 30, side)
    waves = torch.stack([0.5 + 0.3 * torch.sin(at[:, None] + at + shift) for shift in range(channels)])
    noise = torch.randn(waves.shape, generator=torch.Generator().manual_seed(1))
    return (waves + 0.01 * noise).clamp(0, 1)
