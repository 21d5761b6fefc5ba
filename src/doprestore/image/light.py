"""The plan of the fast preset: search → verdict → fit → compose.

    lines     dead and shifted ones (lines.py), and bright tracks (tracks.py), which no prediction sees
    search    unseen predictions of every value (unseen.py), round by round (screening.py)
    verdict   which values are damaged, how surely, what share (verdict.py; shared tones: tones.py)
    fit       φ(θ) from what is trusted, s = g∘g − h∘h beside it (fit.py, corrector.py, fill.py)
    compose   the input where it is whole, φ(θ) where it is not

Where nothing is found there is nothing to fit, and the answer is the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from doprestore.errors import InputError
from doprestore.image.fill import smoothed
from doprestore.image.fit import Fit
from doprestore.image.lines import find_lines
from doprestore.image.masks import checked_mask
from doprestore.image.screening import Screening
from doprestore.image.settings import LEAST_SIDE, ImageSettings
from doprestore.image.tracks import find_tracks
from doprestore.machine import choose_device, release_memory
from doprestore.metrics import psnr


@dataclass(frozen=True)
class Damage:
    """One kind of damage found: its name, the share of all values, and how many of these are expected to be whole."""

    kind: str
    share: float
    mistaken: float | None = None


class Light:
    """One picture, as a job for :func:`doprestore.drive.drive`. picture: (C, H, W) in [0, 1]; mask: True = known bad.

    clean: the undamaged picture, for the PSNR of reports alone.
    """

    remedy = "use --precision float32, or --preset paper"

    def __init__(self, picture: Tensor, settings: ImageSettings, mask: Tensor | None, clean: Tensor | None = None):
        self.device = choose_device(settings.device)
        self.settings = settings
        self.picture = self.y = picture.to(self.device, torch.float32)
        self.known = torch.ones_like(self.y, dtype=torch.bool)
        if mask is not None:
            self.known = (~checked_mask(mask, picture).to(self.device)).contiguous()
            self.y = _without(self.y, self.known)
        self.shapes: dict[str, Tensor] = {}  # by their names, (C, H, W) bool each
        for name, find in (("lines", find_lines), ("bright tracks", find_tracks)):
            found = find(self.y, self.known)
            if found.any():
                self.shapes[name] = found
                self.known = self.known & ~found
                self.y = _without(self.y, self.known)
        self.clean = None if clean is None else clean.to(self.device, torch.float32)
        self.screening = Screening(self.y, self.known, settings)
        self.fit: Fit | None = None
        self.answer = self.y
        self.finished = False
        self._fit_steps = settings.steps if min(self.y.shape[1:]) >= LEAST_SIDE else 0

    @property
    def steps(self) -> int:
        """At most; rounds of the search that were not needed do not count."""
        if self.finished:
            return self.step_number
        left = 0 if self.screening.done else self.screening.rounds - self.screening.round
        return self.screening.made + left + (self.fit.steps if self.fit else self._fit_steps)

    @property
    def step_number(self) -> int:
        return self.screening.made + (self.fit.step_number if self.fit else 0)

    @property
    def done(self) -> bool:
        return self.finished

    @property
    def loss(self) -> Tensor:
        """The objective of the fit; before that the mean square of what unseen predictions of whole values are off by."""
        if self.fit is not None and self.fit.step_number:
            return self.fit.loss
        whole = ~self.found
        return ((self.y - self.screening.predicted).square() * whole).sum() / whole.sum().clamp(min=1)

    @property
    def found(self) -> Tensor:
        """(C, H, W) bool: what is replaced."""
        return self.screening.replaced

    def step(self) -> None:
        """A round of the search, or a step of the fit."""
        if not self.screening.done:
            # What is held in between is in pieces that the next round cannot use: seen on the CPU alone.
            if self.device.type == "cpu":
                release_memory(self.device)
            self.screening.step()
            self.finished = self._ends_with_the_search()
            return
        if self.fit is None:
            self.fit = self._new_fit()
        if self.fit.step_number < self.fit.steps:  # a picture of few pixels is filled, in no step
            self.fit.learner.step()
        if self.fit.step_number == self.fit.steps:
            self.compose()

    def _ends_with_the_search(self) -> bool:
        return self.screening.done and not bool(self.found.any())

    def compose(self) -> None:
        """The answer as far as there is one."""
        if self.found.any() and self.screening.done:
            self.fit = self.fit or self._new_fit()
            self.answer = torch.where(self.found, self.fit.apply(), self.y)
        self.finished = True

    def network_output(self) -> Tensor:
        """(C, H, W): what is predicted of each value unseen; φ(θ) of the fit for those that were found damaged."""
        predicted = self.screening.predicted
        fitted = self.fit is not None and self.finished
        return torch.where(self.found, self.answer, predicted) if fitted else predicted

    def restored(self) -> Tensor:
        """The answer as far as there is one, by ``settings.output``."""
        return self.network_output() if self.settings.output == "network" else self.answer

    def damage(self) -> tuple[Damage, ...]:
        """What was found, by kind, as far as there is any."""
        screening = self.screening
        judged = self.found & self.known & ~screening.toned
        kinds = []
        if judged.any():
            kind = "whole pixels" if screening.by_pixel else "single values"
            mistaken = float((1 - screening.probability)[judged].sum()) / judged.numel()
            kinds.append(Damage(kind, float(judged.float().mean()), mistaken))
        kinds += [Damage(name, float(found.float().mean())) for name, found in self.shapes.items()]
        if screening.toned.any():
            kinds.append(Damage("shared tones", float(screening.toned.float().mean())))
        return tuple(kinds)

    def report(self) -> Mapping[str, Any]:
        stage = "search" if self.fit is None else "fit"
        quality = None if self.clean is None else psnr(self.restored(), self.clean)
        return {"stage": stage, "outlier_share": float(self.found.float().mean()), "psnr": quality}

    def _new_fit(self) -> Fit:
        screening = self.screening
        # What shares a tone is found last, when θ has learnt by other verdicts. Where that is the most, it begins anew.
        by_tone = 2 * int(screening.toned.sum()) > int(self.found.sum())
        begun = screening.network.learner if screening.network and not by_tone else None
        whitening = screening.choose_whitening()
        return Fit(self.y, ~self.found, screening.probability, whitening, screening.cuts, self.settings, begun)

    def state_dict(self) -> dict[str, Any]:
        fit = None if self.fit is None else self.fit.state_dict()
        return {"screening": self.screening.state_dict(), "fit": fit, "finished": self.finished}

    def load_state_dict(self, state: Any) -> None:
        """Raises :class:`InputError` for the state of another picture or other settings."""
        try:
            self.screening.load_state_dict(state["screening"])
            if state["fit"] is not None:
                self.fit = self._new_fit()
                self.fit.load_state_dict(state["fit"])
            self.finished = self._ends_with_the_search()
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError("the saved state does not fit this picture and these settings; start again") from error


def _without(y: Tensor, known: Tensor) -> Tensor:
    """``y`` as it is where it is known: what is known to be bad must not tell of anything."""
    return torch.where(known, y, smoothed(y, known.to(y.dtype)))
