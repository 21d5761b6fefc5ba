"""The recovery of one picture as the command line wants it: with bar, log, checkpoints and within the memory.

Imports torch.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from doprestore.cli.checkpoints import Checkpoint
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.jobs import Choices, Job
from doprestore.cli.screen import Meter, say
from doprestore.drive import Progress
from doprestore.image.portions import Portions
from doprestore.image.recovery import ImageResult
from doprestore.image.settings import ImageSettings
from doprestore.io.log import COLUMNS, LogWriter
from doprestore.machine import choose_device, fitting_threads, threads, working_threads


@dataclass(frozen=True)
class Inputs:
    """What the recovery works on; ``data`` is the fingerprint that ties a checkpoint to it."""

    name: str
    damaged: Tensor
    mask: Tensor | None
    clean: Tensor | None
    data: str


class Session:
    """One picture at work. Making it checks the log and, as far as it can, the checkpoint; :meth:`recover` does the work."""

    def __init__(
        self,
        inputs: Inputs,
        settings: ImageSettings,
        choices: Choices,
        job: Job,
        interrupt: Interrupt,
        nested: bool,
    ):
        self.inputs = inputs
        self.settings = settings
        self.rows: list[dict[str, Any]] = []
        self._choices = choices
        self._job = job
        self._interrupt = interrupt
        self._nested = nested
        self._writer = LogWriter(job.files.log) if job.files.log is not None else None
        self._portions = Portions(
            tuple(inputs.damaged.shape),
            settings,
            jobs=choices.jobs,
            tell=self._tell,
        )
        self.threads = threads()
        self._checkpoint = self._new_checkpoint(choices.resume)

    def recover(self) -> ImageResult:
        """Do the work; smaller pieces take over when the memory does not suffice."""
        self.threads = self._threads()
        with working_threads(self.threads):
            return self._portions.repeat(self._attempt, may_shrink=self._is_fresh, shrunk=self._start_again)

    @property
    def own(self) -> frozenset[str]:
        """The real paths of what the session that this one goes on with has written, or would have."""
        return frozenset() if self._checkpoint is None else self._checkpoint.outputs

    @property
    def pieces(self) -> int:
        """How many parts the picture is recovered in."""
        return self._portions.pieces

    def finished(self, result: ImageResult) -> None:
        """The result is written: the checkpoint can go, unless there is more to do."""
        if self._checkpoint is not None and not result.interrupted:
            self._checkpoint.remove()

    def _threads(self) -> int:
        """How many threads to work with: those asked for, or as many as this picture and this machine have use for."""
        choices = self._choices
        pixels = self.inputs.damaged.shape[1] * self.inputs.damaged.shape[2]
        if choices.threads is not None:
            return max(1, choices.threads // choices.jobs)
        if choose_device(self.settings.device).type != "cpu":
            return threads()
        # The other processes of --jobs are no strangers that one would have to make room for.
        return threads() if choices.jobs > 1 else fitting_threads(pixels)

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
            resumed=self._checkpoint is not None and self._checkpoint.state is not None,
        )

        def show(progress: Progress) -> None:
            shown = {"loss": f"{progress.loss:.2e}", "outliers": f"{progress.outlier_share:.1%}"}
            if progress.psnr is not None:
                shown["PSNR"] = f"{progress.psnr:.2f} dB"
            # A round of the search may take as long as all steps of the fit.
            bar.steady = progress.stage != "search" or self.pieces > 1
            bar.show(progress.step, progress.steps, **shown)
            self.rows.append({name: getattr(progress, name) for name in COLUMNS})
            if self._writer is not None:
                self._writer.write(self.rows[-1])

        self.rows = [] if self._checkpoint is None else self._checkpoint.rows
        options = {
            "mask": self.inputs.mask,
            "clean": self.inputs.clean,
            "callback": show,
            "should_stop": self._interrupt.received,
            "resume": None if self._checkpoint is None else self._checkpoint.state,
            "save": self._checkpoint,
        }
        with bar, self._writer or contextlib.nullcontext():
            if self._writer is not None:
                for row in self.rows:  # of the session that this one goes on with
                    self._writer.write(row)
            return self._portions.recover(self.inputs.damaged, **options)

    def _is_fresh(self) -> bool:
        """Whether no checkpoint would be lost by other pieces."""
        return self._checkpoint is None or not os.path.exists(self._checkpoint.path)

    def _start_again(self) -> None:
        self._checkpoint = self._new_checkpoint(resume=False)

    def _new_checkpoint(self, resume: bool) -> Checkpoint | None:
        if self._job.files.checkpoint is None:
            return None
        identity = {
            "kind": "image",
            "data": self.inputs.data,
            "settings": asdict(self.settings),
        }
        return Checkpoint(
            self._job.files.checkpoint,
            identity,
            every=self._choices.checkpoint_every,
            resume=resume,
            interrupt=self._interrupt,
            outputs=[self._job.output, *self._job.targets().values()],
        )

    def _tell(self, text: str) -> None:
        if not self._choices.quiet:
            say(f"doprestore: {self.inputs.name}: {text}", error=True)
