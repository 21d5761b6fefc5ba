"""A low-rank matrix below dense noise and outliers: how many directions stand out of the noise, and what they are.

Flow and refit (:mod:`doprestore.matrix.flow`, :mod:`doprestore.matrix.refit`) are made for data that is exact. A table
that somebody measured has a mean, columns in different units, noise of another size in each, and weak factors beside
strong ones. Here every column (of a wide table: every row) has its own unit and its own noise, and the rank is
whatever stands out of that noise:

1. start from a robust centre of each column, which is a matrix of rank one;
2. add the singular directions of the trusted residual that are above the largest that noise alone would have,
   √rows + √columns (Marchenko and Pastur), with a margin for chance (Tracy and Widom);
3. fit again by reweighted least squares (:mod:`doprestore.matrix.weighted`): first as for least absolute values, then with
   Tukey's bisquare weights;
4. when nothing stands out any more, leave out the last direction as long as nothing stands out without it;
5. lines that carry a direction of their own (a sensor that measured something else) are set apart, if the rank falls.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from doprestore.matrix.weighted import FLOOR, FLOOR_FALLS, WIDE, WeightedFit

# Sweeps of least squares between two looks at the residual.
SWEEPS = 12
# Looks at the residual at most, where noise and rank do not settle.
MOST_ROUNDS = 12
# They have settled when no unit changes by more than this (of its logarithm) from round to round.
SETTLED = 0.1
# Directions added in a round at most; a matrix that has as many every time has no low rank.
MANY = 16
# The share of a line in a direction from which on the line may be the only one that has it.
PRIVATE = 0.5

_STATE = (
    "u",
    "v",
    "unit",
    "noise",
    "base",
    "phase",
    "sweep",
    "round",
    "added",
    "coming_nearer",
    "last",
    "floor",
    "top",
    "done",
)


class NoisyFit(WeightedFit):
    """Fit U Vᵀ to ``y`` (rows, columns) where ``known`` (None: everywhere), at the rank that stands out of the noise.

    Step until :attr:`done`. ``white`` then says whether nothing stands out of the trusted residual any more.
    """

    def __init__(self, y: Tensor, known: Tensor | None):
        super().__init__(y, known)
        self.added = 0  # directions, in this round
        self.coming_nearer = False  # the noise is still falling fast
        self.last = math.inf  # the noise after the last round
        self.before: dict[str, Tensor] = {}  # the fit to go back to

    def lower_floor(self) -> None:
        """Go on with a lower floor of the noise."""
        self.floor /= FLOOR_FALLS
        self.round, self.coming_nearer, self.last = 1, True, math.inf
        self.phase, self.done = "grow", False

    def step(self) -> None:
        """One sweep of least squares; after the last of a round, a look at what is left."""
        if self.sweep == 0 and self.phase == "grow":
            self._grow()
        if self.rank:
            self._sweep(wide=self.sweep < WIDE)
        self.sweep += 1
        if self.sweep < SWEEPS and self.rank:
            return
        self.sweep = 0
        self.noise = self._column_noise()
        {"grow": self._after_growth, "fewer": self._after_fewer, "apart": self._after_apart}[self.phase]()

    def state_dict(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in _STATE}, "apart": list(self.apart), "before": self.before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])
        self.apart, self.before = list(state["apart"]), state["before"]

    # What comes next

    def _grow(self) -> None:
        self.round += 1
        self.added = 0
        if self.coming_nearer:  # what is left is not reached yet rather than a direction of its own
            return
        left, sigma, right, limit = self._outstanding(MANY)
        self.top = sigma[0].item() / limit
        self.added = max(0, min(int((sigma > limit).sum()), self.most - self.rank))
        if self.added:
            self.u = torch.cat([self.u, left[:, : self.added] * sigma[: self.added]], dim=1)
            self.v = torch.cat([self.v, right[:, : self.added]], dim=1)

    def _after_growth(self) -> None:
        if self.added or self.round == 1:
            self._try_fewer()
        else:
            self._end_round()

    def _try_fewer(self) -> None:
        """Leave out the weakest direction and fit again."""
        self.phase = "fewer"
        self._save()
        self._keep(self.rank - 1)

    def _after_fewer(self) -> None:
        if self._stands_out():
            self._back()
            self._end_round()
        elif self.rank:
            self._try_fewer()
        else:
            self._end_round()

    def _end_round(self) -> None:
        """Go on, perhaps with the lines that need a direction of their own; or end."""
        self.phase = "grow"
        change = self._choose_units()
        self.coming_nearer = self.floor < FLOOR and self.typical_noise() < self.last / 2
        self.last = self.typical_noise()
        if self.coming_nearer:
            return
        if self.round < MOST_ROUNDS and (self.added or change > SETTLED):
            return
        self._stands_out()
        if not any(bool(lines.any()) for lines in self.apart) and self._set_apart():
            self.phase = "apart"
        else:
            self.done = True

    def _set_apart(self) -> bool:
        """Leave out the lines that may be the only ones with some direction, and those directions."""
        if self.rank < 2:
            return False
        self._save()
        for index, factor in enumerate((self.u, self.v)):
            if len(factor) >= 4 * self.rank:
                lines = torch.linalg.qr(factor)[0].square().sum(1) > PRIVATE
                if int(lines.sum()) <= max(1, len(lines) // 10):
                    self.apart[index] = lines
        count = sum(int(lines.sum()) for lines in self.apart)
        if count:
            self._keep(max(0, self.rank - count))
        return count > 0

    def _after_apart(self) -> None:
        """Without these lines, is the rank lower? Then they stay apart."""
        if self._stands_out():
            if self.rank < self.before["u"].shape[1] - 2:
                left, sigma, right, _ = self._outstanding(1)
                self.u = torch.cat([self.u, left * sigma], dim=1)
                self.v = torch.cat([self.v, right], dim=1)
                return
            self.apart = [torch.zeros_like(lines) for lines in self.apart]
            self._back()
            self._stands_out()
        self.done = True

    def _stands_out(self) -> bool:
        """Whether a direction of the trusted residual is more than noise."""
        _, sigma, _, limit = self._outstanding(1)
        self.top = sigma[0].item() / limit
        return self.top > 1

    def _save(self) -> None:
        self.before = {name: getattr(self, name) for name in ("u", "v", "noise")}

    def _back(self) -> None:
        for name, value in self.before.items():
            setattr(self, name, value)
