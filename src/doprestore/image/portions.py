"""A picture within the memory that there is: in pieces, and smaller ones, where it does not suffice for the whole."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from doprestore.errors import DoprestoreError
from doprestore.image.memory import ANSWER_VALUE, light_bytes, paper_bytes
from doprestore.image.pieces import places, recover_pieces
from doprestore.image.recovery import ImageResult, recover_image
from doprestore.image.settings import ImageSettings
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
    """How one picture is worked on; :attr:`piece` is the side of the pieces that are recovered one after the other, None for
    the whole. The paper's preset takes pictures as a whole alone: its network is one for the picture.

    shape: (C, H, W). jobs: how many pictures share the memory. tell: gets what a person should know.
    Raises :class:`DoprestoreError` for what this machine has no memory for.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        settings: ImageSettings,
        *,
        jobs: int = 1,
        tell: Callable[[str], None] = lambda text: None,
    ):
        self._shape, self._settings, self._jobs, self._tell = shape, settings, jobs, tell
        self.piece = self._first_piece()

    @property
    def pieces(self) -> int:
        """How many parts the picture is recovered in."""
        return 1 if self.piece is None else len(list(places(self._shape[1], self._shape[2], self.piece)))

    def recover(self, picture: Tensor, **options: Any) -> ImageResult:
        """One attempt, in the pieces as they are now; options: see :func:`recover_image`."""
        if (resume := options.get("resume")) is not None:
            self.piece = resume.get("piece")  # whatever memory there was then: the result is to be the same
        if self.piece is None:
            return recover_image(picture, self._settings, **options)
        return recover_pieces(picture, self._settings, self.piece, recover_image, **options)

    def repeat(
        self,
        attempt: Callable[[], ImageResult],
        may_shrink: Callable[[], bool] = lambda: True,
        shrunk: Callable[[], None] = lambda: None,
    ) -> ImageResult:
        """The result of ``attempt``, made again in pieces of half the side each time that the memory does not suffice.

        may_shrink: whether that is allowed. shrunk: called when the pieces have become smaller.
        Raises :class:`DoprestoreError` where they cannot.
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
        """The side of the pieces for a picture that would not fit into the memory as a whole."""
        free = self._free()
        if free is None:
            return None
        if self._settings.is_paper:
            needed = paper_bytes(self._shape, self._settings, choose_device(self._settings.device))
            if needed > free:
                raise DoprestoreError(
                    f"{self._size} at width {self._settings.width} need {needed / 2**30:.1f} GB with --preset paper, and "
                    f"{free / 2**30:.1f} GB of the free memory are for them; use a smaller --width, or --preset fast"
                )
            return None
        if max(self._shape[1:]) <= MIN_PIECE or light_bytes(self._shape) <= free:
            return None
        left = free - ANSWER_VALUE * math.prod(self._shape)
        sides = range(MIN_PIECE, max(self._shape[1:]), PIECE_STEP)
        sides_that_fit = [side for side in sides if light_bytes(self._piece_shape(side)) <= left]
        if not sides_that_fit:
            needed = ANSWER_VALUE * math.prod(self._shape) + light_bytes(self._piece_shape(MIN_PIECE))
            raise DoprestoreError(
                f"{self._size} need {needed / 2**30:.1f} GB, even in pieces, and "
                f"{free / 2**30:.1f} GB of the free memory are for them; close other programs, or crop the picture"
            )
        self._tell(
            f"needs more than its {free / 2**30:.1f} GB of the free memory; working in pieces of {sides_that_fit[-1]}"
        )
        return sides_that_fit[-1]

    def _piece_shape(self, side: int) -> tuple[int, ...]:
        """(C, H, W) of a piece of at most that side."""
        return (self._shape[0], min(side, self._shape[1]), min(side, self._shape[2]))

    @property
    def _size(self) -> str:
        return f"{self._shape[2]}x{self._shape[1]} pixels"

    def _free(self) -> int | None:
        """How many bytes this picture may take, or None where that is unknown."""
        free = free_memory(choose_device(self._settings.device))
        return None if free is None else int(free * SHARE_OF_FREE / self._jobs)

    def _shrink(self, reason: Exception, allowed: bool) -> None:
        """Halve the pieces, or raise ``reason``, an out-of-memory error, as one for people."""
        side = self.piece or max(self._shape[1:])
        if self._settings.is_paper or not allowed or side <= MIN_PIECE:
            remedy = "--preset fast" if self._settings.is_paper else "crop the picture"
            raise DoprestoreError(
                f"out of memory for {self._size} at width {self._settings.width}; "
                f"close other programs, use a smaller --width, or {remedy}"
            ) from reason
        self.piece = max(MIN_PIECE, side // 2 // PIECE_STEP * PIECE_STEP)
        self._tell(f"out of memory; going on in pieces of {self.piece}")
        release_memory(choose_device(self._settings.device))


def recover(picture: Tensor, settings: ImageSettings, **options: Any) -> ImageResult:
    """The recovery of a picture (C, H, W) in [0, 1], as a whole or in pieces; options: see :func:`recover_image`."""
    portions = Portions(tuple(picture.shape), settings)
    return portions.repeat(lambda: portions.recover(picture, **options))
