"""Pictures in overlapping tiles, each recovered by itself, blended smoothly.

The search for the outliers takes steps in proportion to the side of the picture (see schedule.py), so a large picture
costs less as tiles, and each network knows its own part better. Memory stays that of a tile for each one at work.

All tiles have one size, one seed (hence one start of the network) and the scaling of the whole picture; the outlier
rate follows the size of the tile, for that is the picture that each network sees. On a CPU as many tiles are worked on
at a time as there are threads, each on its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

import torch
from torch import Tensor

from doprestore import machine
from doprestore.drive import Progress
from doprestore.errors import InputError, UsageError
from doprestore.image.grid import MIN_TILE, Grid
from doprestore.image.masks import checked_mask
from doprestore.image.recovery import ImageResult, recover_image
from doprestore.image.settings import ImageSettings


def recover_tiles(
    picture: Tensor,
    settings: ImageSettings,
    tile: int,
    *,
    mask: Tensor | None = None,
    clean: Tensor | None = None,
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: dict[str, object] | None = None,
    save: Callable[[Callable[[], dict[str, object]]], None] | None = None,
    workers: int | None = None,
) -> ImageResult:
    """As :func:`recover_image`, in tiles of side ``tile``. Each :class:`Progress` counts the steps of all tiles;
    its loss, share and PSNR are those of the tile that reports, and the loss of the result is that of the last tile.

    Where tiles overlap, their weights decide whether a value is kept as it was. After an early stop, what no tile has
    reached yet is as it was, too.

    workers: how many tiles at a time; by default as many as there are threads on a CPU, else 1. With as many
    workers as threads the result does not depend on their number. Callbacks come from one worker at a time.
    """
    if tile < MIN_TILE:
        raise UsageError(f"--tile {tile}: must be at least {MIN_TILE}")
    if mask is not None:
        mask = checked_mask(mask, picture)
    if clean is not None and clean.shape != picture.shape:
        raise InputError(f"the clean picture has shape {tuple(clean.shape)}, the damaged one {tuple(picture.shape)}")
    grid = Grid(picture.shape[1], picture.shape[2], tile)
    corners = grid.corners()
    run = _Run(picture, settings, len(corners), callback, save)
    if resume is not None:
        run.load_state_dict(resume)

    def work(index: int) -> None:
        top, left = corners[index]
        part = (..., slice(top, top + grid.size[0]), slice(left, left + grid.size[1]))
        if mask is not None and mask[part].all():
            return  # nothing to go by: stays as it is, but for what the neighbours reach
        with run.working(index) as saved:
            result = recover_image(
                picture[part].contiguous(),
                settings,
                mask=None if mask is None else mask[part],
                clean=None if clean is None else clean[part].contiguous(),
                callback=None if callback is None else lambda progress: run.report(index, progress),
                should_stop=lambda: run.failed or (should_stop is not None and should_stop()),
                resume=saved,
                save=None if save is None else lambda state: run.between_steps(index, state),
            )
            run.finished(index, result, part, grid.weight(top, left))

    todo = [index for index in range(len(corners)) if index not in run.done]
    on_cpu = machine.choose_device(settings.device).type == "cpu"
    threads = machine.threads()
    workers = min(workers or (threads if on_cpu else 1), max(1, len(todo)))
    if workers == 1:
        for index in todo:
            if not run.stopped:
                work(index)
    else:
        _in_parallel(work, todo, run, workers, threads)
    return run.result()


def _in_parallel(work: Callable[[int], None], todo: list[int], run: _Run, workers: int, threads: int) -> None:
    """``work`` on each of ``todo``, ``workers`` at a time, which share the ``threads``."""

    def guarded(index: int) -> None:
        if run.stopped or run.failed:
            return
        try:
            work(index)
        except BaseException:
            run.failed = True  # the others need not go on
            raise

    try:
        with ThreadPoolExecutor(workers, initializer=machine.use_threads, initargs=(max(1, threads // workers),)) as pool:
            try:
                for future in as_completed([pool.submit(guarded, index) for index in todo]):
                    future.result()
            except BaseException:  # a KeyboardInterrupt, say, which only this thread gets
                run.failed = True
                raise
    finally:
        machine.use_threads(threads)  # what new threads start with is one number for all of PyTorch


class _Run:
    """What the workers share: the sums over the tiles, and the states of those at work.

    A worker is either between two steps, where others may look at its state, or inside one.
    """

    def __init__(
        self,
        picture: Tensor,
        settings: ImageSettings,
        tiles: int,
        callback: Callable[[Progress], None] | None,
        save: Callable[[Callable[[], dict[str, object]]], None] | None,
    ):
        self.done: set[int] = set()
        self.stopped = self.failed = False
        self._picture, self._settings, self._tiles = picture, settings, tiles
        self._callback, self._save = callback, save
        self._sums = _Sums(picture)
        self._partial: list[tuple[ImageResult, tuple, Tensor]] = []  # of the tiles that an early stop cut short
        self._saved: dict[int, dict[str, object]] = {}  # where the tiles of an earlier run go on
        self._steps: dict[int, int] = {}  # done so far, by tile
        self._last: tuple[int, ImageResult] | None = None
        self._start = time.perf_counter()
        self._turn = threading.Condition()
        self._inside = 0  # workers that are inside a step
        self._looking = False  # somebody waits for that to become 0
        self._states: dict[int, Callable[[], dict[str, object]]] = {}

    @contextlib.contextmanager
    def working(self, index: int) -> Iterator[dict[str, object] | None]:
        """The time in which a worker is at the tile; gives the state to go on from, if there is one."""
        with self._turn:
            self._enter()
            saved = self._saved.get(index)
        try:
            yield saved
        finally:
            with self._turn:
                self._inside -= 1
                self._turn.notify_all()

    def between_steps(self, index: int, state: Callable[[], dict[str, object]]) -> None:
        """Let ``save`` have the state of everything, or another worker's ``save`` that of this one."""
        with self._turn:
            self._states[index] = state
            self._inside -= 1
            self._turn.notify_all()
            self._turn.wait_for(lambda: not self._looking)
            self._save(self._everything)
            self._enter()

    def report(self, index: int, progress: Progress) -> None:
        """Pass the progress of one tile on as that of all."""
        with self._turn:
            self._steps[index] = progress.step
            seconds = time.perf_counter() - self._start
            steps = self._settings.steps * self._tiles
            self._callback(replace(progress, step=sum(self._steps.values()), steps=steps, seconds=seconds))

    def finished(self, index: int, result: ImageResult, part: tuple, weight: Tensor) -> None:
        """Add the result of one tile to the sums."""
        with self._turn:
            self._steps[index] = result.steps
            self._last = max(self._last or (-1, None), (index, result), key=lambda pair: pair[0])
            if result.interrupted:
                # The sums that a checkpoint keeps hold whole tiles alone: the others go on from their states.
                self.stopped = True
                self._partial.append((result, part, weight))
            else:
                self._sums.add(result, part, weight)
                self.done.add(index)
                for states in (self._states, self._saved):
                    states.pop(index, None)

    def result(self) -> ImageResult:
        """The tiles put together."""
        for result, part, weight in self._partial:
            self._sums.add(result, part, weight)
        return replace(
            self._last[1],
            **self._sums.blended(self._picture, keep_clean=self._settings.output == "composed"),
            steps=sum(self._steps.values()),
            seconds=time.perf_counter() - self._start,
            interrupted=self.stopped,
        )

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on where the state given to ``save`` was taken. Raises :class:`InputError` when it does not fit."""
        try:
            self._sums.load_state_dict(state["sums"])
            self.done = set(state["done"])
            self._saved = dict(state["at_work"])
            self._steps = dict.fromkeys(self.done, self._settings.steps)
            self._start -= float(state["seconds"])
            if not all(type(index) is int and 0 <= index < self._tiles for index in self.done | self._saved.keys()):
                raise ValueError
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError("the saved state does not fit this picture and these tiles; start anew") from error

    def _enter(self) -> None:
        """Go inside a step; the caller holds the turn."""
        self._turn.wait_for(lambda: not self._looking)
        self._inside += 1

    def _everything(self) -> dict[str, object]:
        """The state of the run; the caller holds the turn, and waits here until nobody is inside a step."""
        self._looking = True
        self._turn.wait_for(lambda: self._inside == 0)
        self._looking = False
        self._turn.notify_all()  # they go on when the caller has let go of the turn
        return {
            "sums": self._sums.state_dict(),
            "done": sorted(self.done),
            "at_work": self._saved | {index: state() for index, state in self._states.items()},
            "seconds": time.perf_counter() - self._start,
        }


class _Sums:
    """What the finished tiles add up to: in whole numbers, so that their order does not matter."""

    UNIT = 2**-24
    BOUND = 2**4  # of the absolute values: up to four tiles meet in a value, and the sums have 32 bits

    def __init__(self, picture: Tensor):
        # Sums of weight times: restored where it is judged corrupted, network, outliers.
        self.pictures = torch.zeros((3, *picture.shape), dtype=torch.int32)
        self.votes = torch.zeros(picture.shape, dtype=torch.int32)  # the weight of the tiles that judge it corrupted
        self.weight = torch.zeros(picture.shape[1:], dtype=torch.int32)

    def add(self, result: ImageResult, part: tuple, weight: Tensor) -> None:
        votes = result.found * weight
        for total, values, by in zip(
            self.pictures, (result.restored, result.network, result.outliers), (votes, weight, weight), strict=True
        ):
            total[part] += self._whole(values.clamp(-self.BOUND, self.BOUND) * by)
        self.votes[part] += self._whole(votes)
        self.weight[part] += self._whole(weight)

    def _whole(self, values: Tensor) -> Tensor:
        return (values / self.UNIT).round().to(torch.int32)

    def blended(self, picture: Tensor, keep_clean: bool) -> dict[str, Tensor]:
        """The pictures of an :class:`ImageResult`."""
        reached = self.weight > 0
        # By weight, for a network is the worst judge of what lies at the border of its tile.
        found = (self.votes > 0) & (2 * self.votes >= self.weight)
        network, outliers = (total / self.weight.clamp_min(1) for total in self.pictures[1:])
        if keep_clean:
            restored = torch.where(found, self.pictures[0] / self.votes.clamp_min(1), picture)
        else:
            restored = torch.where(reached, network, picture)
        return {
            "restored": restored,
            "network": torch.where(reached, network, picture),
            "outliers": outliers,
            "found": found,
        }

    def state_dict(self) -> dict[str, Tensor]:
        return {"pictures": self.pictures, "votes": self.votes, "weight": self.weight}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, values in self.state_dict().items():
            values.copy_(state[name])
