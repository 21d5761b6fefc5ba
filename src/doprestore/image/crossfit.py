"""The search by φ(θ): predictions of every value by a network that is not shown it then.

The folds are those of :mod:`doprestore.image.unseen`, drawn anew in each round. Each is left out of the fill in turn, and θ
learns what the fill is off by there (:mod:`doprestore.image.learner`); what it then says of the fold is its prediction, and
so are, with less weight, what it said in the rounds before. However long it runs, θ cannot copy an outlier: there is no race
between θ and s that would have to be stopped in time.

θ is trained on a few crops of a large picture, and applied to all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from doprestore.drive import State
from doprestore.image.corrector import edge_marks, shown
from doprestore.image.frame import Cuts, cuts_of
from doprestore.image.learner import CROP, Learner, Lesson, choose_crops
from doprestore.image.settings import ImageSettings
from doprestore.image.unseen import FOLDS, fill_without
from doprestore.image.windows import Place, windows

# A course of a round; θ goes on from where the round before has left it [20 to 80: alike;
# tests/benchmarks/image_constants.py, here and below].
STEPS = 40
# Symmetries of the square that a prediction is the mean over: all turns without transposing, none of a large picture, where
# two more are worth 0.07 and -0.03 dB (random values on 1 and 20 % of six pictures, 256x256) and a tenth of the time [((0),
# (0)), ((0, 1, 2, 3, 4, 5, 6, 7), (0)): alike].
TURNS: tuple[Sequence[int], Sequence[int]] = ((0, 1, 2, 3), (0,))
# The weight of the rounds before in a prediction. What chance has to do with one round, by its folds and its course, is not
# in the others [0.2: alike; 0.8: -1.0 dB, recall -0.020].
BEFORE = 0.4


class CrossFit:
    """The network of the search in one picture. y: (C, H, W). whitening, cuts: of the fills."""

    def __init__(self, y: Tensor, whitening: Tensor, cuts: Cuts, settings: ImageSettings):
        self.y, self.whitening, self.cuts = y, whitening, cuts
        self.learner = Learner(len(y), whitening, settings)
        self.told: Tensor | None = None  # the predictions of the round before
        self._marks = edge_marks(y.shape[1], y.shape[2], y.device)

    def predict(self, trust: Tensor, probability: Tensor, folds: Tensor) -> Tensor:
        """(C, H, W) in [0, 1], after another course. trust: the odds that a value is whole, 0 where it counts for nothing.
        probability: that it is damaged. folds: of this round, uint8, like y."""
        whole = 1 - probability
        mean = ((self.y * whole).sum((1, 2)) / whole.sum((1, 2)).clamp(min=1))[:, None, None]

        def shown_without(fold: int, place: Place) -> tuple[Tensor, Tensor]:
            hidden = folds[place] == fold
            cuts = cuts_of(self.cuts, place, *self.y.shape[1:])
            filled = fill_without(self.y[place], trust[place], hidden, self.whitening, cuts).clamp(0, 1)
            return shown(filled, whole[place] * ~hidden, mean, self._marks[place]), filled

        lessons = []
        for place, fold in _exercises(choose_crops(probability, self.learner.generator)):
            z, filled = shown_without(fold, place)
            held = whole[place] * (folds[place] == fold)
            lessons.append(Lesson(self.y[place], held, probability[place], z, filled))
        self.learner.begin(lessons, STEPS)
        with torch.enable_grad():
            for _ in range(STEPS):
                self.learner.step()
        self.learner.begin((), 0)
        turns = TURNS[max(self.y.shape[1:]) > CROP]
        predicted = torch.empty_like(self.y)
        for outer, inner, place in windows(self.y.shape):
            found = torch.zeros_like(self.y[outer])
            for fold in range(FOLDS):
                answer = self.learner.answer(*shown_without(fold, outer), turns)
                found = torch.where(folds[outer] == fold, answer, found)
            predicted[place] = found[inner]
        predicted = predicted.clamp(0, 1)
        self.told = predicted if self.told is None else predicted.lerp(self.told, BEFORE)
        return self.told

    def state_dict(self) -> State:
        """Between two rounds."""
        return {"learner": self.learner.state_dict(), "told": self.told}

    def load_state_dict(self, state: State) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.learner.load_state_dict(state["learner"])
        self.told = None if state["told"] is None else state["told"].to(self.y.device)


def _exercises(places: list[Place]) -> list[tuple[Place, int]]:
    """Which fold is left out where: all of them in a picture of one crop, two of each crop of several."""
    if len(places) == 1:
        return [(places[0], fold) for fold in range(FOLDS)]
    return [(place, (2 * index + fold) % FOLDS) for index, place in enumerate(places) for fold in range(2)]
