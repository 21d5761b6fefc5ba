"""The search for damage: rounds of unseen predictions and verdicts on them, until these no longer change.

First by fills (:mod:`doprestore.image.unseen`), which are quick; where these leave doubts, by φ(θ) on the fills
(:mod:`doprestore.image.crossfit`).

Three kinds compete. *Single values*: predicted from values of other folds, the other channels of their pixel among them.
*Whole pixels* (in colour): predicted without any channel of their pixel. *Shared tones*: strokes, lettering and dead
lines of a few tones, which neighbours of their own tone would vouch for, found by their tones
(:mod:`doprestore.image.tones`) among what whole pixels are predicted without. What one kind has found, no prediction
of another sees.
"""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.drive import State
from doprestore.image.crossfit import CrossFit
from doprestore.image.details import surely_coupled, without_details
from doprestore.image.fill import CERTAIN, choose_whitening
from doprestore.image.frame import detached_edges
from doprestore.image.settings import LEAST_SIDE, ImageSettings
from doprestore.image.tones import is_paper, shared_tones
from doprestore.image.undecided import ENOUGH, is_blind, is_clustered
from doprestore.image.unseen import first_guesses, pixel_folds, predict, value_folds
from doprestore.image.verdict import FAR, FEW, UNSURE, judge

# Rounds of predictions by fills and verdicts on them, after which the network is asked where there are doubts; where there
# are none, fills go on until the verdict stands still. Where nothing is damaged two are enough [2 to 8: alike;
# tests/benchmarks/image_constants.py, here and below].
FILL_ROUNDS = 4
# Rounds of predictions by φ(θ) and verdicts on them, at most. The more is damaged, the more of them pay [6 to 24: alike].
NET_ROUNDS = 12
# Rounds of both sorts, at most.
ROUNDS = FILL_ROUNDS + NET_ROUNDS
# Rounds of looking for shared tones among what is left, at most [2 to 8: alike].
TONE_ROUNDS = 4
# A verdict stands still once what three quarters of the values that are not found are off by, at most, falls by no more than
# this share of it in a round: θ has little more to learn. Of what fills find no more than this share may change, too; new
# folds change some 0.05 of few values by themselves, so with θ that does not count
# [0.02: +0.2 dB, recall +0.010; 0.08: -0.8 dB].
STILL = 0.04
# Where no more than this share of what is found is expected to be judged wrongly, the network is not asked [0.01 to 0.04:
# alike].
DOUBT = 0.02
# Up to this probability of being damaged a value is shown to predictions of others, by its odds: most doubtful values are
# details, which vouch for one another. Measured from 0.5 to 0.93 with random values on 1 to 50 %: all alike up to 0.82 where
# little is damaged; at 50 % 0.5 loses 0.9 to 1.7 dB, and from 0.88 on outliers vouch for one another [0.4: -0.3 dB,
# precision -0.012; 0.9: alike].
TRUST = 0.8
# A value is damaged above this probability: what is likelier to be damaged than whole costs less if it is replaced.
BOUND = 0.5
# From this round on predictions are good enough for errors nearby to tell of the scale [3: -0.1 dB; 1: alike].
LATE = 2
# Pixels a side of the middle of the picture that the whitening of the colours is chosen on.
SAMPLE = 192
# The search draws its random numbers from the seed plus this. Damage that was made with the seed itself, as in benchmarks,
# would share them; on a CPU no more than 32 bits of a seed count.
OWN_SEEDS = 24_301
# The channel coupling from which on it is whole pixels that are damaged. Photographs with single values on 1 % and more have
# at most 0.29, with whole pixels 0.65 and more, with as much of both 0.5; where few values are found up to 0.53, which is
# within two deviations [0.2 to 0.8: alike].
COUPLED = 0.4


class Screening:
    """The search in one picture, a round at a time: :meth:`step` until :attr:`done`.

    y: (C, H, W) in [0, 1]. known: bool of that shape, False where values are known to be bad. settings: of the network;
    and the seed of folds and decoys.
    """

    rounds = ROUNDS + TONE_ROUNDS

    def __init__(self, y: Tensor, known: Tensor, settings: ImageSettings):
        self.y = y
        self.known = known
        self.round = self.made = 0  # made: without those that were not needed
        self._settings = settings
        self.generator = self._new_generator()
        self._folds = value_folds(y.shape, self.generator).to(y.device)
        self._pixel_folds = pixel_folds(y.shape, self.generator).to(y.device)
        self.network: CrossFit | None = None
        self._network_by_pixel = False
        self.cuts = detached_edges(y)
        self.whitening = torch.eye(len(y), device=y.device)
        self.predicted = torch.zeros_like(y)
        self.probability = torch.where(known, 0.0, 1.0)  # that a value is damaged
        self.toned = torch.zeros_like(known)  # found by its tone
        self._suspects = torch.zeros_like(known)  # at a tone that stands out
        self.shares = {"single values": 0.0, "whole pixels": 0.0}
        self.undecided = False  # nothing can be said of it, see undecided.py
        self.done = False

    @property
    def found(self) -> Tensor:
        """(C, H, W) bool: damaged, those known to be bad among them."""
        return (self.probability > BOUND) | self.toned | ~self.known

    @property
    def replaced(self) -> Tensor:
        """The same by the odds that the settings ask for."""
        return (self.probability > 1 / (1 + self._settings.sensitivity)) | self.toned | ~self.known

    @property
    def by_pixel(self) -> bool:
        """Whether it is whole pixels that are damaged."""
        return self.shares["whole pixels"] > 0

    @torch.no_grad()
    def step(self) -> None:
        """One more round."""
        self.made += 1
        if self.round >= ROUNDS:
            self.done = (self.round == ROUNDS and is_paper(self.y)) or not self._look_for_tones()
            self.round += 1
            self.done |= self.round >= self.rounds
            return
        before, error = self.found, self._usual_error()
        fills = self.network is None
        told = self.network is not None and self.network.told is not None  # by θ in the round before
        self._judge(*(first_guesses(self.y, self.cuts) if self.round == 0 else self._predictions()))
        self.undecided = self.round >= LATE and is_clustered(self.found & self.known)
        kept = int((self.found ^ before).sum()) <= STILL * int((self.found & self.known).sum())
        still = self.round >= LATE and (kept if fills else told) and self._usual_error() >= (1 - STILL) * error
        doubts = fills and (still or self.round + 1 >= FILL_ROUNDS) and self._has_doubts()
        ended = still or doubts or self.round + 1 == ROUNDS
        self.undecided |= fills and ended and is_blind(self.y, self.predicted, self.found, self.known, self.generator)
        if self.undecided:
            self.probability = torch.where(self.known, 0.0, 1.0)
            self.shares = dict.fromkeys(self.shares, 0.0)
        if self.round + 1 >= LATE and sum(self.shares.values()) == 0:
            self.round = ROUNDS  # there is nothing to judge
        elif doubts:
            self.round = max(FILL_ROUNDS, self.round + 1)
            self.whitening = self.choose_whitening()
            self._network_by_pixel = self.by_pixel
            self.network = self._new_network()
        else:
            self.round = ROUNDS if ended else self.round + 1

    def _usual_error(self) -> float:
        """What three quarters of the values that are not found are off by, at most."""
        some = slice(None, None, max(1, self.y.numel() // ENOUGH))
        y, predicted, found = (values.flatten()[some] for values in (self.y, self.predicted, self.found))
        error = (y - predicted).abs()[~found]
        return float(error.sort().values[3 * len(error) // 4]) if len(error) else 0.0

    def _has_doubts(self) -> bool:
        """Whether enough values may have been judged wrongly for better predictions to be worth their while."""
        if min(self.y.shape[1:]) < LEAST_SIDE:
            return False
        wrong = torch.minimum(self.probability, 1 - self.probability)[self.known].sum()
        return bool(wrong > DOUBT * (self.found & self.known).sum())

    def _predictions(self) -> tuple[Tensor, Tensor | None]:
        """Predictions by value, and by pixel where that may be the kind of damage."""
        trust = self.trust
        if self.round == 1:
            self.whitening = self.choose_whitening()
        told = None
        if self.network is not None:
            folds = self._draw_folds()
            told = self.network.predict(trust, self.probability, folds)
            if not self._network_by_pixel:
                return told, None
        by_value = predict(self.y, trust, self._folds, self.whitening, self.cuts)
        if told is None and len(self.y) > 1 and (self.by_pixel or self.round == 1):
            told = predict(self.y, trust, self._pixel_folds, self.whitening, self.cuts)
        return by_value, told

    def _draw_folds(self) -> Tensor:
        """New folds, of pixels or values as the network takes them."""
        if self._network_by_pixel:
            self._pixel_folds = pixel_folds(self.y.shape, self.generator).to(self.y.device)
            return self._pixel_folds
        self._folds = value_folds(self.y.shape, self.generator).to(self.y.device)
        return self._folds

    def _new_network(self) -> CrossFit:
        return CrossFit(self.y, self.whitening, self.cuts, self._settings)

    @property
    def trust(self) -> Tensor:
        """(C, H, W): the odds that a value is whole, 0 where it is too doubtful to vouch for others."""
        odds = ((1 - self.probability) / self.probability.clamp(min=1 / (1 + CERTAIN))).clamp(max=CERTAIN)
        return odds * (self.known & (self.probability <= TRUST) & ~self.toned)

    def _judge(self, by_value: Tensor, by_pixel: Tensor | None) -> None:
        """The verdict on all values as single values and, in colour, as pixels."""
        late, before = self.round >= LATE, None if self.round == 0 else self.probability
        self.predicted = by_value
        folds = None if self.round == 0 else self._folds  # medians have none
        verdict = judge(self.y, by_value, before, self.known, self.generator, late=late, folds=folds)
        self.probability = verdict.probability
        self.shares = {"single values": verdict.share, "whole pixels": 0.0}
        if by_pixel is not None and len(self.y) > 1:
            self._judge_pixels(by_pixel)
        if late and not self.by_pixel:
            known = self.probability * self.known  # what is known to be bad tells of no company
            judged = without_details(known, self.y - by_value, BOUND, self._new_generator())
            if int((judged > BOUND).sum()) < FEW:
                judged = judged.clamp(max=UNSURE)
            self.probability = torch.where(self.known, judged, self.probability)

    def _judge_pixels(self, by_pixel: Tensor) -> None:
        """The verdict on all values as pixels, beside that as single values."""
        folds, late = None if self.round == 0 else self._pixel_folds, self.round >= LATE
        pixels = judge(self.y, by_pixel, self.probability, self.known, self.generator, late=late, folds=folds, coupled=False)
        if pixels.share and surely_coupled((pixels.probability > BOUND) & self.known, COUPLED):
            # At least two of three channels must say so.
            whole = pixels.probability.median(0, keepdim=True).values
            self.probability = 1 - (1 - self.probability) * (1 - whole)
            self.shares["whole pixels"] = pixels.share

    def _look_for_tones(self) -> bool:
        """Find what shares tones, if these explain what is far off; whether another look may tell more.

        What is suspected of a tone is not shown to the next look. Once all tones that stand out are of outliers in the
        main, all values at them are found, except in areas of the picture; until then only those that are far off.
        """
        trusted = self.known & (self.probability <= BOUND)
        predicted = predict(self.y, self.trust * ~self._suspects, self._pixel_folds, self.whitening, self.cuts)
        far = ((self.y - predicted).abs() >= FAR) & trusted
        # What is found already says nothing of the tones.
        tones = shared_tones(torch.where(trusted, self.y, predicted), predicted, far)
        if not tones.explain:
            return False
        self.undecided = False
        self._suspects = tones.suspects
        toned = (tones.outright if tones.settled else tones.outright | (far & tones.suspects)) & trusted
        # Ink is ink in all channels, in those, too, that are nearly as dark as it.
        self.toned = toned | (tones.suspects & toned.any(0, keepdim=True) & trusted)
        # And where all channels of a pixel have that very tone, for in some too little is far from it to stand out.
        tone = torch.where(toned, self.y, 0.0).amax(0)
        self.toned |= toned.any(0) & (self.y == tone).all(0) & trusted
        return not tones.settled

    def choose_whitening(self) -> Tensor:
        """The whitening of the fills, by what is trusted now: see :func:`doprestore.image.fill.choose_whitening`."""
        return choose_whitening(self._sample(self.y), self._sample((self.trust > 0).float()), self._new_generator())

    def _new_generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._settings.seed + OWN_SEEDS)

    def _sample(self, values: Tensor) -> Tensor:
        top, left = ((side - min(side, SAMPLE)) // 2 for side in values.shape[1:])
        return values[:, top : top + SAMPLE, left : left + SAMPLE]

    def state_dict(self) -> State:
        """All that the next round depends on."""
        return {
            "round": self.round,
            "made": self.made,
            "done": self.done,
            "generator": self.generator.get_state(),
            "shares": self.shares,
            "undecided": self.undecided,
            "network": None if self.network is None else self.network.state_dict(),
            "network_by_pixel": self._network_by_pixel,
            **{name: getattr(self, name) for name in _TENSORS},
        }

    def load_state_dict(self, state: State) -> None:
        """Go on where :meth:`state_dict` was taken."""
        for name in _TENSORS:
            value = state[name]
            if value.shape != getattr(self, name).shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}")
            setattr(self, name, value.to(self.y.device))
        self.generator.set_state(state["generator"])
        self.shares = dict(state["shares"])
        self.undecided = bool(state["undecided"])
        self._network_by_pixel = bool(state["network_by_pixel"])
        if state["network"] is not None:
            self.network = self._new_network()
            self.network.load_state_dict(state["network"])
        self.round, self.made, self.done = int(state["round"]), int(state["made"]), bool(state["done"])


_TENSORS = ("whitening", "predicted", "probability", "toned", "_suspects", "_folds", "_pixel_folds")
