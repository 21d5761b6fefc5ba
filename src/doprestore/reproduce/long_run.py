"""A run of many thousand steps whose curve and state are on disk, and which goes on after any interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from doprestore.baselines.deep_prior import prior_fit
from doprestore.drive import Saver, StepsOf, drive
from doprestore.image.paper import PaperRecovery
from doprestore.image.settings import ImageSettings
from doprestore.io.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from doprestore.io.tables import write_csv
from doprestore.metrics import psnr
from doprestore.reproduce.figure import Note

# Points of a curve.
POINTS = 300
# Seconds from one checkpoint to the next.
SAVE_EVERY = 120.0
# Of one point of the curve. loss: what θ descends. psnr: of the network's last output, in dB. best: the highest psnr of
# all steps so far, each of them looked at. composed: psnr of the answer that keeps the values judged clean. share: of the
# values, judged outliers. seconds: of the processor, so far. composed and share are nan without outliers.
COLUMNS = ("step", "loss", "psnr", "best", "composed", "share", "seconds")


class LongRun(StepsOf):
    """DOP, or (``loss`` "l1" or "l2") the deep image prior alone, on a picture whose undamaged form is known: a job for
    :func:`doprestore.drive.drive`, each of whose reports adds a point to the curve.

    damaged, clean: (C, H, W) in [0, 1]. The clean one is for the curve and for the oracle's choice alone.
    """

    remedy = "use --preset fast"

    def __init__(self, damaged: Tensor, clean: Tensor, settings: ImageSettings, loss: str | None = None):
        self.fit = PaperRecovery(damaged, settings) if loss is None else prior_fit(damaged, settings, loss)
        super().__init__(self.fit, settings.steps)
        self.is_dop = loss is None
        self.damaged, self.clean = damaged.to(self.fit.device), clean.to(self.fit.device)
        self.points: list[list[float]] = []
        self.cpu_seconds = 0.0
        self._least = torch.full((), math.inf, device=self.fit.device)  # mean squared error, over all steps
        self._best = torch.zeros_like(self.clean)

    def step(self) -> None:
        """One step, and a look at its picture. It does not wait for the device."""
        start = time.process_time()
        self.fit.step()
        output = self.fit.network_output()
        error = (output - self.clean).square().mean()
        self._best.copy_(torch.where(error < self._least, output, self._best))
        self._least.copy_(torch.minimum(error, self._least))
        self.cpu_seconds += time.process_time() - start

    def report(self) -> dict[str, float]:
        """Add a point to the curve."""
        output = self.fit.network_output()
        quality, best = psnr(output, self.clean), -10 * math.log10(self._least.item())
        composed = share = math.nan
        if self.is_dop:
            found = self.fit.found_outliers()
            composed = psnr(torch.where(found, output, self.damaged), self.clean)
            share = found.float().mean().item()
        self.points.append([self.step_number, self.loss.item(), quality, best, composed, share, self.cpu_seconds])
        return {"psnr": quality}

    def picture(self) -> Tensor:
        """The answer, (C, H, W): the last output of DOP, that of the best step (an oracle's choice) of the others."""
        return (self.fit.network_output() if self.is_dop else self._best).cpu().clamp(0, 1)

    def state_dict(self) -> dict[str, Any]:
        return {
            "fit": self.fit.state_dict(),
            "points": self.points,
            "cpu_seconds": self.cpu_seconds,
            "least": self._least,
            "best": self._best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, bit for bit the same on the same processor."""
        self.fit.load_state_dict(state["fit"])
        self.points, self.cpu_seconds = list(state["points"]), float(state["cpu_seconds"])
        self._least.copy_(state["least"])
        self._best.copy_(state["best"])


class Files:
    """Curve and state of a run: ``path``.csv and ``path``.pt.

    cell: the settings that the state belongs to.
    """

    def __init__(self, run: LongRun, path: Path, cell: Mapping[str, object]):
        self._run, self._cell = run, dict(cell)
        self._state, self._curve = path.with_name(f"{path.name}.pt"), path.with_name(f"{path.name}.csv")
        self._data = fingerprint(run.damaged.cpu().numpy(), run.clean.cpu().numpy())

    def load(self) -> dict[str, Any] | None:
        """The state, where there is one. Raises :class:`InputError` for a state of another run."""
        if not self._state.exists():
            return None
        return load_checkpoint(self._state, kind="reproduce", data=self._data, settings=self._cell)

    def write(self, state: dict[str, Any]) -> None:
        save_checkpoint(self._state, state, kind="reproduce", data=self._data, settings=self._cell)
        write_csv(self._curve, COLUMNS, [[f"{value:.6g}" for value in point] for point in self._run.points])


def finish(run: LongRun, path: Path, cell: Mapping[str, object], note: Note) -> None:
    """Run to the end from where its :class:`Files` stand. Raises :class:`InputError` for a state of another run."""
    files = Files(run, path, cell)
    save = Saver(files.write, SAVE_EVERY)
    drive(
        run,
        callback=lambda progress: note(progress.step, progress.steps),
        save=lambda state: save.write(state) if run.done else save(state),
        resume=files.load(),
        report_every=max(1, run.steps // POINTS),
    )
