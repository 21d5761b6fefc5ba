"""What a restoration will take, before it starts: seconds from short ones on this machine, bytes from the formulas that
the restoration itself goes by. Imports torch.

The one place that knows how the cost of a picture follows from its size. What is damaged only its restoration can tell, so
there are several answers: undamaged, where it ends with the search; and of damaged pictures the least, where a fit follows a
search by fills that leaves no doubts, the usual, where some rounds of the search by the network come between them, and the
most, where all of them do, or the fit is the longer one. The paper's preset takes the same time for all.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import cache, cached_property

import torch
from torch import Tensor

from doprestore import machine
from doprestore.cli.pictures.jobs import Choices
from doprestore.drive import REPORTS, Progress
from doprestore.image.memory import ANSWER_VALUE, light_bytes, paper_bytes
from doprestore.image.portions import Portions
from doprestore.image.recovery import recover_image
from doprestore.image.screening import FILL_ROUNDS, NET_ROUNDS
from doprestore.image.settings import ImageSettings

# Sides in pixels of the two pictures that a step of the paper's preset is timed on; the time of a step is taken to be
# linear in the pixels (tests/benchmarks/estimates.py compares the estimates with what the work took).
SMALL, LARGE = 64, 192
# Steps that do not count, because libraries set up their kernels in them, and steps that are timed.
WARM_UP, TIMED = 4, 12
# Sides of the pictures that the fast preset is timed on; above the second, the time is taken to be linear.
SIDES = (64, 160, 256)
# Side of the picture that libraries set themselves up with.
TINY = 32
# Steps of the fit that are made for that; the others are taken to be as long.
FEW = 4
# The share of damaged values in the picture that the fit is timed on, and in the one that the search is timed on, so that
# fills leave doubts there.
LIGHT, HEAVY = 0.02, 0.4
# Rounds of the search by the network that the usual damaged picture is taken to need. Salt and pepper, lettering and dead
# lines mostly need none, single random values up to 5, and those on half of a picture all there are.
USUAL_ROUNDS = 2
# What a session loads before its first picture.
LOADED = "doprestore.cli.pictures.batch"


@dataclass(frozen=True)
class Estimate:
    """Seconds by what the picture turns out to be: undamaged, and damaged at least, usually and at most; these are one and
    the same where there is no search. bytes: at the peak, beside Python and PyTorch."""

    undamaged: float
    least: float
    usual: float
    most: float
    bytes: int


@dataclass(frozen=True)
class Stages:
    """Seconds of the search by fills where nothing is found, of that where something is, of a round of the search by the
    network, and of the fit with all about it."""

    quick_search: float
    search: float
    net_round: float
    fit: float


class Estimator:
    """The cost of pictures under these settings and choices; the first estimates take some seconds of calibration."""

    def __init__(self, settings: ImageSettings, choices: Choices):
        self._settings = settings
        self._jobs = choices.jobs
        self._asked = choices.threads
        self._device = machine.choose_device(settings.device)

    def __call__(self, shape: tuple[int, ...]) -> Estimate:
        """Of a picture (C, H, W). Raises :class:`DoprestoreError` for what this machine has no memory for."""
        portions = Portions(shape, self._settings, jobs=self._jobs)
        pixels = shape[1] * shape[2]
        threads = self._threads(pixels)
        if self._settings.is_paper:
            seconds = self._settings.steps * _seconds_a_step(self._settings, pixels, threads)
            return Estimate(seconds, seconds, seconds, seconds, paper_bytes(shape, self._settings, self._device))
        side = portions.piece or max(shape[1:])
        needed = light_bytes((shape[0], min(side, shape[1]), min(side, shape[2])))
        if portions.piece is not None:
            needed += ANSWER_VALUE * math.prod(shape)
        stages = _stages(self._settings, shape[0], pixels, threads)
        # Where much is missing the fit takes twice the steps; after a search by the network half as many.
        longest = max(2 * stages.fit, NET_ROUNDS * stages.net_round + stages.fit)
        usual = USUAL_ROUNDS * stages.net_round + stages.fit / 2
        least, usual, most = (stages.search + further for further in (stages.fit, usual, longest))
        return Estimate(stages.quick_search, least, usual, most, needed)

    @cached_property
    def start(self) -> float:
        """The seconds of a session that no picture counts: Python and PyTorch are loaded, and set up with the first one."""
        loading = _seconds(lambda: subprocess.run([sys.executable, "-c", f"import {LOADED}"], check=True))
        return loading + (0.0 if self._settings.is_paper else _setting_up(self._settings))

    def _threads(self, pixels: int) -> int:
        if self._asked is not None or self._jobs > 1:
            return max(1, (self._asked or machine.threads()) // self._jobs)
        if self._device.type != "cpu":
            return machine.threads()
        return 1 if pixels <= machine.LITTLE else self._threads_of_many

    @cached_property
    def _threads_of_many(self) -> int:
        """Asked for once: to see which cores are idle takes a moment, and there may be thousands of pictures."""
        return machine.fitting_threads(machine.LITTLE + 1)


def _seconds(work: Callable[[], object]) -> float:
    """By the clock."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@cache
def _setting_up(settings: ImageSettings) -> float:
    """The seconds that the first picture of a session takes more than the next."""
    few = replace(settings, steps=min(FEW, settings.steps))
    first, second = (_seconds(lambda: recover_image(_waves(3, TINY), few)) for _ in range(2))
    return max(0.0, first - second)


def _seconds_a_step(settings: ImageSettings, pixels: int, threads: int) -> float:
    """Of the paper's preset on a picture of so many pixels."""
    small, large = (_timed(settings, side, threads) for side in (SMALL, LARGE))
    slope = max(0.0, large - small) / (LARGE**2 - SMALL**2)
    return max(small / 4, small + slope * (pixels - SMALL**2))


@cache
def _timed(settings: ImageSettings, side: int, threads: int) -> float:
    """The seconds of a step of the paper's preset, measured on noise."""
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
    """Measured on a picture that is undamaged, on the same with random values on much of it as far as the first round of the
    network, and on the same where a few values are known to be bad, so that a fit follows the quick search."""
    whole = _waves(channels, side)
    few = replace(settings, steps=min(FEW, settings.steps))
    with machine.working_threads(threads):
        _setting_up(settings)
        begin = time.perf_counter()
        searched = recover_image(whole, few).seconds
        quick = time.perf_counter() - begin
        search, net_round = _timed_search(_struck(whole, HEAVY), few)
        search += quick - searched  # what precedes the first round, such as the look for lines
        seen: list[Progress] = []
        total = recover_image(whole, few, mask=_struck(whole, LIGHT) != whole, callback=seen.append).seconds
    fit = [one.seconds for one in seen if one.stage == "fit"]
    before = max((one.seconds for one in seen if one.stage == "search"), default=0.0)
    if len(fit) < 3:
        return Stages(quick, search, net_round, (total - before) * settings.steps / few.steps)
    # The first step of the fit is preceded by its preparation, the last followed by its use.
    each = (fit[-2] - fit[0]) / (len(fit) - 2)
    return Stages(quick, search, net_round, total - before + (settings.steps - few.steps) * each)


def _timed_search(damaged: Tensor, settings: ImageSettings) -> tuple[float, float]:
    """The seconds of the search by fills and of a round of that by the network, 0 where fills leave no doubts."""
    seen: list[Progress] = []

    def enough() -> bool:
        return len(seen) > 0 and (seen[-1].step > FILL_ROUNDS or seen[-1].stage == "fit")

    total = recover_image(damaged, settings, callback=seen.append, should_stop=enough).seconds
    fills = [one.seconds for one in seen if one.stage == "search" and one.step <= FILL_ROUNDS]
    search = max(fills, default=total)
    rounds = [one.seconds for one in seen if one.stage == "search" and one.step > FILL_ROUNDS]
    return search, rounds[0] - search if rounds else 0.0


def _struck(picture: Tensor, share: float) -> Tensor:
    """With random values on so much of it."""
    generator = torch.Generator().manual_seed(0)
    struck = torch.rand(picture.shape, generator=generator) < share
    return torch.where(struck, torch.rand(picture.shape, generator=generator), picture)


def _waves(channels: int, side: int) -> Tensor:
    """(channels, side, side): smooth, with a little noise, and in colour."""
    at = torch.linspace(0, side / 30, side)
    waves = torch.stack([0.5 + 0.3 * torch.sin(at[:, None] + at + shift) for shift in range(channels)])
    noise = torch.randn(waves.shape, generator=torch.Generator().manual_seed(1))
    return (waves + 0.01 * noise).clamp(0, 1)
