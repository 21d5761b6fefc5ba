"""The fit of the fast preset: θ learns what the fill is off by at trusted values that were held out of it.

One network for the whole picture, trained on a few crops and applied to all that has to be replaced. The values held
out are chosen in the shapes of what is missing, so it learns to bridge what it will have to bridge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.drive import State
from doprestore.image.corrector import edge_marks, shown
from doprestore.image.fill import CERTAIN, fill, smoothed
from doprestore.image.frame import Cuts, by_parts, cuts_of
from doprestore.image.learner import CROP, Learner, Lesson, choose_crops
from doprestore.image.settings import LEAST_SIDE, ImageSettings
from doprestore.image.windows import Place, windows

# Lessons with different values held out, of a picture of one crop; half as many of each crop of several [4 to 16: alike;
# tests/benchmarks/image_constants.py, here and below].
FOLDS = 8
# Of the trusted values at most so much is held out [0.6: -0.5 dB; 0.15: alike].
HELD_OUT = 0.3
# Where more than this share of the values is missing the fit takes twice the steps: there is more to learn [0.167: +0.2 dB;
# 0.667: alike].
MUCH = 1 / 3
# Rounds of the fills, from the second on with weights [1: -0.2 dB; 6: alike].
FILL_ROUNDS = 3
# Symmetries of the square that the answer is the mean over, where the picture is one crop; two of a larger one [1: -0.1 dB;
# 4: alike].
TURNS = 8


class Fit:
    """The fit of one picture: :attr:`learner` takes ``steps`` steps, then :meth:`apply`.

    y: (C, H, W). trusted: bool. doubt: the probability that a value is damaged after all. whitening, cuts: of the fills.
    begun: what the search has learnt with; θ goes on from there, with half of the steps. None: it begins anew.
    Pictures of few pixels are filled: there is nothing to learn from.
    """

    def __init__(
        self,
        y: Tensor,
        trusted: Tensor,
        doubt: Tensor,
        whitening: Tensor,
        cuts: Cuts,
        settings: ImageSettings,
        begun: Learner | None = None,
    ):
        self.cuts = cuts
        self.y, self.trusted, self.doubt, self.whitening = y, trusted, doubt, whitening
        known = trusted.to(y.dtype)
        self._mean = ((y * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1))[:, None, None]
        self._marks = edge_marks(y.shape[1], y.shape[2], y.device)
        self.learner = Learner(len(y), whitening, settings)
        if min(y.shape[1:]) >= LEAST_SIDE:
            if begun is not None:
                self.learner.go_on_from(begun)
            much = float((~trusted).float().mean()) > MUCH
            steps = settings.steps * (1 + much)
            self.learner.begin(self._lessons(), steps if begun is None else (steps + 1) // 2)

    @property
    def step_number(self) -> int:
        return self.learner.step_number

    @property
    def steps(self) -> int:
        return self.learner.steps

    @property
    def loss(self) -> Tensor:
        return self.learner.loss

    @torch.no_grad()
    def apply(self) -> Tensor:
        """(C, H, W): φ(θ) on the fill from all trusted values where a value is missing, ``y`` elsewhere."""
        answer = self.y.clone()
        small = max(self.y.shape[1:]) <= CROP
        for outer, inner, place in windows(self.y.shape):
            missing = ~self.trusted[place]
            if not missing.any():
                continue
            part, known = self.y[outer], self.trusted[outer].to(self.y.dtype)
            filled = self._filled(part, known, outer)
            if self.steps == 0:
                answer[place] = torch.where(missing, filled[inner], answer[place])
                continue
            z = shown(filled, known, self._mean, self._marks[outer])
            square = part.shape[1] == part.shape[2]
            turns = range(TURNS if square else 4) if small else (0, 3)
            answer[place] = torch.where(missing, self.learner.answer(z, filled, turns)[inner], answer[place])
        return answer

    def _filled(self, y: Tensor, known: Tensor, place: Place) -> Tensor:
        def filled(y: Tensor, known: Tensor) -> Tensor:
            start = smoothed(y, known)
            return fill(y, CERTAIN * known, self.whitening, start=start, rounds=FILL_ROUNDS)

        return by_parts(filled, cuts_of(self.cuts, place, *self.y.shape[1:]), y, known).clamp(0, 1)

    @torch.no_grad()
    def _lessons(self) -> list[Lesson]:
        """The crops, each with several folds held out."""
        generator = self.learner.generator
        places = choose_crops((~self.trusted).to(self.y.dtype), generator)
        lessons = []
        for place in places:
            y, known = self.y[place], self.trusted[place].to(self.y.dtype)
            for _ in range(FOLDS if len(places) == 1 else FOLDS // 2):
                held = held_out(known, generator)
                seen = known - held
                filled = self._filled(y, seen, place)
                z = shown(filled, seen, self._mean, self._marks[place])
                lessons.append(Lesson(y, held, self.doubt[place], z, filled))
        return lessons

    def state_dict(self) -> State:
        """All that the next step depends on."""
        return self.learner.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.learner.load_state_dict(state)


def held_out(trusted: Tensor, generator: torch.Generator) -> Tensor:
    """Trusted values to hold out, in the shapes of what is missing: the missing ones, flipped and shifted.

    trusted: (C, H, W), 1 or 0. Thinned to :data:`HELD_OUT`; a tenth at random where almost none are missing.
    """
    height, width = trusted.shape[1:]
    held, total = torch.zeros_like(trusted), float(trusted.sum())
    for _ in range(8):
        shape = 1 - trusted
        shape = shape.flip(-1) if torch.rand((), generator=generator) < 0.5 else shape
        shape = shape.flip(-2) if torch.rand((), generator=generator) < 0.5 else shape
        shift = tuple(int(torch.randint(side, (), generator=generator)) for side in (height, width))
        held = torch.maximum(held, shape.roll(shift, (1, 2)) * trusted)
        if float(held.sum()) > HELD_OUT * total:
            break
    share = float(held.sum()) / max(1.0, total)
    chance = torch.rand(trusted.shape, generator=generator).to(trusted.device)
    if share > HELD_OUT:
        return held * (chance < HELD_OUT / share)
    return held if share >= 0.02 else (chance < 0.1) * trusted
