"""The recovery of one picture as the command line wants it: with bar, log, checkpoints and within the memory.

Imports torch.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from doprestore.cli.checkpoints import Keeper
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.jobs import Choices, Files
from doprestore.cli.screen import Meter, say
from doprestore.drive import Progress
from doprestore.errors import DoprestoreError
from doprestore.image.grid import MIN_TILE, Grid, largest_tile, tiles_at_a_time, usual_tile
from doprestore.image.recovery import ImageResult, recover_image
from doprestore.image.settings import ImageSettings
from doprestore.image.tiles import recover_tiles
from doprestore.io.log import COLUMNS, LogWriter
from doprestore.machine import choose_device, free_memory, freed_memory_kept, release_memory

SHARE_OF_FREE = 0.85  # of the memory that is free; the rest is for what else goes on


@dataclass(frozen=True)
class Inputs:
    """What the recovery works on; ``data`` is the fingerprint that ties a checkpoint to it."""

    name: str
    damaged: Tensor
    mask: Tensor | None
    clean: Tensor | None
    data: str


class Run:
    """One run. Making it checks the log and, as far as it can, the checkpoint; :meth:`recover` does the work."""

    def __init__(
        self,
        inputs: Inputs,
        settings: ImageSettings,
        choices: Choices,
        files: Files,
        interrupt: Interrupt,
        nested: bool,
    ):
        self.inputs = inputs
        self.settings = settings
        self.rows: list[dict[str, object]] = []
        self._choices = choices
        self._files = files
        self._interrupt = interrupt
        self._nested = nested
        self._writer = LogWriter(files.log) if files.log is not None else None
        self._tile = self._first_tile()
        self._keeper = self._make_keeper(choices.resume)

    def recover(self) -> ImageResult:
        """Do the work; smaller tiles take over when the memory does not suffice and --tile allows it."""
        while True:
            try:
                with freed_memory_kept():
                    return self._attempt()
            except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
                # Neither the CPU's allocator nor cuDNN's has an exception of its own.
                words = ("allocate memory", "out of memory", "ALLOC_FAILED")
                if type(error) is RuntimeError and not any(word in str(error) for word in words):
                    raise
                traceback.clear_frames(error.__traceback__)  # they hold what fills the memory
                reason = error
            self._fall_back(reason)

    @property
    def tiles(self) -> int:
        """How many parts the picture is recovered in."""
        return 1 if self._tile is None else len(Grid(*self.inputs.damaged.shape[1:], self._tile).corners())

    def finished(self, result: ImageResult) -> None:
        """The result is written: the checkpoint can go, unless there is more to do."""
        if self._keeper is not None and not result.interrupted:
            self._keeper.finished()

    def _attempt(self) -> ImageResult:
        steps = self.settings.steps
        hidden = self._choices.quiet or self._choices.jobs > 1  # the bars of several processes overwrite each other
        bar = Meter(
            self.inputs.name,
            steps,
            "step",
            quiet=hidden,
            verbose=self._choices.verbose,
            nested=self._nested,
            resumed=self._keeper is not None and self._keeper.state is not None,
        )

        def show(progress: Progress) -> None:
            shown = {"loss": f"{progress.loss:.2e}", "outliers": f"{progress.outlier_share:.1%}"}
            if progress.psnr is not None:
                shown["PSNR"] = f"{progress.psnr:.2f} dB"
            bar.show(progress.step, progress.steps, **shown)
            self.rows.append({name: getattr(progress, name) for name in COLUMNS})
            if self._writer is not None:
                self._writer.write(self.rows[-1])

        self.rows = [] if self._keeper is None else self._keeper.rows
        options = {
            "mask": self.inputs.mask,
            "clean": self.inputs.clean,
            "callback": show,
            "should_stop": self._interrupt.received,
            "resume": None if self._keeper is None else self._keeper.state,
            "keep": self._keeper,
        }
        with bar, self._writer or contextlib.nullcontext():
            for row in self.rows if self._writer is not None else []:  # of the run that this one goes on with
                self._writer.write(row)
            if self._tile is None:
                return recover_image(self.inputs.damaged, self.settings, **options)
            free, shape = self._free(), self.inputs.damaged.shape
            workers = None if free is None else tiles_at_a_time(shape, self._tile, self.settings, free)
            return recover_tiles(self.inputs.damaged, self.settings, self._tile, **options, workers=workers)

    def _make_keeper(self, resume: bool) -> Keeper | None:
        if self._files.checkpoint is None:
            return None
        identity = {
            "kind": "image",
            "data": self.inputs.data,
            "settings": asdict(self.settings) | {"tile": self._tile or "none"},
        }
        return Keeper(
            self._files.checkpoint,
            identity,
            every=self._choices.checkpoint_every,
            resume=resume,
            interrupt=self._interrupt,
        )

    def _first_tile(self) -> int | None:
        shape, choice = self.inputs.damaged.shape, self._choices.tile
        if choice == "none":
            return None
        if choice != "auto":
            return choice if max(shape) > choice else None
        usual = usual_tile(shape, self.settings)
        free = self._free()
        if free is None:
            return usual
        tile = largest_tile(shape, self.settings, free)
        if usual is not None and (tile is None or tile >= usual):
            return usual
        if tile is not None:
            self._tell(f"needs more than its {free / 2**30:.1f} GB of the free memory; working in tiles of {tile}")
        return tile

    def _free(self) -> int | None:
        """How many bytes this run may take, or None where that is unknown."""
        free = free_memory(choose_device(self.settings.device))
        return None if free is None else int(free * SHARE_OF_FREE / self._choices.jobs)

    def _fall_back(self, reason: Exception) -> None:
        """Go to tiles of half the side after ``reason``, an out-of-memory error, or raise it as one for people."""
        shape = self.inputs.damaged.shape
        side = self._tile or max(shape[1:])
        smaller = max(MIN_TILE, side // 2 // 32 * 32)
        begun = self._keeper is not None and os.path.exists(self._keeper.path)
        if self._choices.tile != "auto" or begun or side <= MIN_TILE:
            raise DoprestoreError(
                f"out of memory for a picture of {shape[2]}x{shape[1]} at width {self.settings.width}; "
                "use a smaller --width or --tile, --device cpu, or a smaller picture"
            ) from reason
        self._tell(f"out of memory; going on in tiles of {smaller}")
        self._tile = smaller
        release_memory(choose_device(self.settings.device))
        self._keeper = self._make_keeper(resume=False)

    def _tell(self, text: str) -> None:
        if not self._choices.quiet:
            say(f"doprestore: {self.inputs.name}: {text}", error=True)
