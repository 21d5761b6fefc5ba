"""A picture within the memory that there is: which tiles to work in, and smaller ones where it does not suffice."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from doprestore.drive import Progress
from doprestore.errors import DoprestoreError, UsageError
from doprestore.image.grid import MIN_TILE, Grid, largest_tile, tiles_at_a_time, usual_tile
from doprestore.image.light import suits
from doprestore.image.memory import ANSWER_VALUE, light_bytes
from doprestore.image.pieces import places, recover_pieces
from doprestore.image.recovery import ImageResult, recover_image, recover_light
from doprestore.image.settings import ImageSettings
from doprestore.image.tiles import recover_tiles
from doprestore.machine import choose_device, free_memory, hold_freed_memory, release_memory

# The share of the free memory that pictures may take; the rest is for whatever else goes on.
SHARE_OF_FREE = 0.85
# Pixels a side of a piece at least, margins included: smaller ones would be mostly margin.
MIN_PIECE = 512
# Pixels that sides of pieces are multiples of.
PIECE_STEP = 64
# What torch's messages say when memory does not suffice: its allocators have no exception of their own.
OUT_OF_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED")


class Portions:
    """How one picture is worked on; :attr:`tile` is the side of its tiles, :attr:`piece` that of the pieces that are
    searched one after the other and may be worked on in tiles each; None for the whole.

    shape: (C, H, W). tile: "auto" for tiles of the usual size, or smaller ones where the memory demands it; None for the
    whole; or the side, which then stays. jobs: how many pictures share the memory. tell: gets what a person should know.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        settings: ImageSettings,
        tile: int | str | None = "auto",
        *,
        jobs: int = 1,
        tell: Callable[[str], None] = lambda text: None,
    ):
        self._shape, self._settings, self._choice, self._jobs, self._tell = shape, settings, tile, jobs, tell
        self.piece = self._first_piece()
        self.tile = self._first_tile()

    @property
    def tiles(self) -> int:
        """How many parts the picture is recovered in."""
        if self.piece is not None:
            return len(list(places(self._shape[1], self._shape[2], self.piece)))
        return 1 if self.tile is None else len(Grid(self._shape[1], self._shape[2], self.tile).corners())

    def recover(self, picture: Tensor, **options: Any) -> ImageResult:
        """One attempt, in the pieces and tiles as they are now; options: see :func:`recover_image`."""
        if (resume := options.get("resume")) is not None:
            self.piece = resume.get("piece")  # whatever memory there was then: the result is to be the same
        if self.piece is None:
            return self._recover(picture, **options)
        return recover_pieces(picture, self._settings, self.piece, self._recover, **options)

    def _recover(self, picture: Tensor, **options: Any) -> ImageResult:
        """A whole picture, or a piece of one."""
        shape = tuple(picture.shape)
        callback, save, resume = (options.pop(name, None) for name in ("callback", "save", "resume"))
        searched = 0 if resume is None else int(resume.get("searched", 0))

        def report(progress: Progress) -> None:
            nonlocal searched
            searched = progress.step
            callback(progress)

        light = recover_light(picture, self._settings, **options, callback=callback and report, save=save, resume=resume)
        if light is not None:
            if self.piece is None:
                self.tile = None
            return light
        if callback is not None:
            # The rounds of the search count as steps of what goes on from there.
            options["callback"] = lambda one: callback(replace(one, step=one.step + searched, steps=one.steps + searched))
        if save is not None:
            options["save"] = lambda state: save(lambda: state() | {"searched": searched})
        if resume is not None and "screening" not in resume:
            options["resume"] = resume
        if self.tile is None or max(shape[1:]) <= self.tile:
            return recover_image(picture, self._settings, **options)
        free = self._free()
        workers = None if free is None else tiles_at_a_time(shape, self.tile, self._settings, free)
        return recover_tiles(picture, self._settings, self.tile, **options, workers=workers)

    def repeat(
        self,
        attempt: Callable[[], ImageResult],
        may_shrink: Callable[[], bool] = lambda: True,
        shrunk: Callable[[], None] = lambda: None,
    ) -> ImageResult:
        """The result of ``attempt``, made again in tiles of half the side each time that the memory does not suffice.

        may_shrink: whether that is allowed, beside a ``tile`` of "auto". shrunk: called when the tiles have become
        smaller. Raises :class:`DoprestoreError` where they cannot.
        """
        while True:
            try:
                with hold_freed_memory():
                    return attempt()
            except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
                # Neither the CPU's allocator nor cuDNN's has an exception of its own.
                if type(error) is RuntimeError and not any(words in str(error) for words in OUT_OF_MEMORY):
                    raise
                traceback.clear_frames(error.__traceback__)  # they hold what fills the memory
                reason = error
            self._shrink(reason, may_shrink())
            shrunk()

    def _first_piece(self) -> int | None:
        """The side of the pieces that a picture is searched in whose search as a whole would not fit into the memory."""
        free = self._free()
        if self._choice is None or free is None or not suits(self._shape, self._settings):
            return None
        if max(self._shape[1:]) <= MIN_PIECE or light_bytes(self._shape) <= free:
            return None
        left = free - ANSWER_VALUE * math.prod(self._shape)
        sides = range(MIN_PIECE, max(self._shape[1:]), PIECE_STEP)
        sides_that_fit = [side for side in sides if light_bytes(self._piece_shape(side)) <= left]
        if not sides_that_fit:
            needed = ANSWER_VALUE * math.prod(self._shape) + light_bytes(self._piece_shape(MIN_PIECE))
            raise DoprestoreError(
                f"{self._shape[2]}x{self._shape[1]} pixels need {needed / 2**30:.1f} GB, even in pieces, and "
                f"{free / 2**30:.1f} GB of the free memory are for them; close other programs, or crop the picture"
            )
        self._tell(
            f"needs more than its {free / 2**30:.1f} GB of the free memory; working in pieces of {sides_that_fit[-1]}"
        )
        return sides_that_fit[-1]

    def _piece_shape(self, side: int) -> tuple[int, ...]:
        """(C, H, W) of a piece of at most that side."""
        return (self._shape[0], min(side, self._shape[1]), min(side, self._shape[2]))

    def _first_tile(self) -> int | None:
        if self._choice is None:
            return None
        shape = self._piece_shape(self.piece or max(self._shape[1:]))
        if isinstance(self._choice, int):
            return self._choice if max(shape[1:]) > self._choice else None
        if self._choice != "auto":
            raise UsageError(f'tile {self._choice!r}: must be "auto", None or a number of pixels')
        usual = usual_tile(shape, self._settings)
        free = self._free()
        if free is None:
            return usual
        tile = largest_tile(shape, self._settings, free)
        if usual is not None and (tile is None or tile >= usual):
            return usual
        if tile is not None:
            self._tell(f"needs more than its {free / 2**30:.1f} GB of the free memory; working in tiles of {tile}")
        return tile

    def _free(self) -> int | None:
        """How many bytes this picture may take, or None where that is unknown."""
        free = free_memory(choose_device(self._settings.device))
        return None if free is None else int(free * SHARE_OF_FREE / self._jobs)

    def _shrink(self, reason: Exception, allowed: bool) -> None:
        """Halve the pieces, then the tiles, or raise ``reason``, an out-of-memory error, as one for people."""
        side = self.piece or max(self._shape[1:])
        if self._choice == "auto" and allowed and side > MIN_PIECE and suits(self._shape, self._settings):
            self.piece = max(MIN_PIECE, side // 2 // PIECE_STEP * PIECE_STEP)
            self._tell(f"out of memory; going on in pieces of {self.piece}")
            release_memory(choose_device(self._settings.device))
            return
        side = self.tile or max(self._shape[1:])
        smaller = max(MIN_TILE, side // 2 // 32 * 32)
        if self._choice != "auto" or not allowed or side <= MIN_TILE:
            raise DoprestoreError(
                f"out of memory for a picture of {self._shape[2]}x{self._shape[1]} at width {self._settings.width}; "
                "use a smaller --width or --tile, --device cpu, or a smaller picture"
            ) from reason
        self._tell(f"out of memory; going on in tiles of {smaller}")
        self.tile = smaller
        release_memory(choose_device(self._settings.device))


def recover(picture: Tensor, settings: ImageSettings, *, tile: int | str | None = "auto", **options: Any) -> ImageResult:
    """The recovery of a picture (C, H, W) in [0, 1], as a whole or in tiles; ``tile`` as in :class:`Portions`."""
    portions = Portions(tuple(picture.shape), settings, tile)
    return portions.repeat(lambda: portions.recover(picture, **options))
