"""The fit of the fast preset: θ learns what the fill is off by at trusted values that were held out of it.

One network for the whole picture, trained on a few crops and applied to all that has to be replaced. The values held
out are chosen in the shapes of what is missing, so it learns to bridge what it will have to bridge.

Each step is one of eq. (10) on the values held out, r = φ(θ) + s − y with s = g∘g − h∘h in closed form: what the
verdict has missed goes into s and not into θ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.drive import State
from doprestore.image.corrector import STRIDE, Corrector, edge_marks, shown
from doprestore.image.fill import fill, smoothed
from doprestore.image.optimizer import muon_and_adam
from doprestore.image.settings import REFERENCE_ALPHA
from doprestore.image.unseen import windows
from doprestore.outliers import MirrorOutliers

STEPS = 60  # of a fit, at most; --steps may ask for fewer
RATE = 0.04  # of Muon, falling to 0
CROP = 128  # pixels a side of what the network is trained on
CROPS = 4  # of a picture that is larger
FOLDS = 8  # held out of a picture of one crop; 4 of each crop of several
HELD_OUT = 0.3  # of the trusted values at most
EDGE = 0.02  # ε of the objective √(r² + ε²): a fit through medians, for some of the trusted are wrong
GAMMA = 1e-5  # g = h at the start
CLOCK = 60.0  # the sum of the rates of g and h at α = 500: off by 0.18 throughout, a value becomes an outlier
FILL_STEPS, FILL_ROUNDS = 30, 3
TURNS = 8  # of the picture that the answer is the mean over, where it is one crop; 2 of larger ones


class Fit:
    """The fit of one picture: :meth:`step` for ``steps`` times, then :meth:`apply`.

    y: (C, H, W). trusted: bool. doubt: the probability that a value is damaged after all, which the rates of g and h are
    in proportion to: a detail that θ is slow at is no outlier. whitening: of the fills. alpha: 500 is the paper's.
    steps, seed: of the training.
    """

    def __init__(self, y: Tensor, trusted: Tensor, doubt: Tensor, whitening: Tensor, *, alpha: float, steps: int, seed: int):
        self.y, self.trusted, self.doubt, self.whitening = y, trusted, doubt, whitening
        self.step_number, self.steps = 0, steps
        self.generator = torch.Generator().manual_seed(seed)
        known = trusted.to(y.dtype)
        self._mean = ((y * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1))[:, None, None]
        self._marks = edge_marks(y.shape[1], y.shape[2], y.device)
        unwhitened = torch.linalg.inv(whitening)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Corrector(len(y), unwhitened / torch.linalg.matrix_norm(unwhitened, 2))
        self.network = network.to(y.device).to(memory_format=torch.channels_last)
        self.optimizers = muon_and_adam(self.network, RATE, y.device)
        self._base_rates = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        self._lessons = self._prepare()
        self.loss = torch.zeros((), device=y.device)
        # Each value is met in one of so many steps, and its clock is to run for CLOCK in all.
        self._rate = CLOCK * alpha / REFERENCE_ALPHA * len(self._lessons) / max(1, steps)
        self._order: list[int] = []

    def step(self) -> None:
        """One step of eq. (10) on one fold of one crop."""
        if not self._order:
            self._order = torch.randperm(len(self._lessons), generator=self.generator).tolist()
        lesson = self._lessons[self._order.pop()]
        square = lesson.y.shape[1] == lesson.y.shape[2]
        turn = int(torch.randint(8 if square else 4, (), generator=self.generator))
        groups = (group for optimizer in self.optimizers for group in optimizer.param_groups)
        for group, rate in zip(groups, self._base_rates, strict=True):
            group["lr"] = rate * (1 - self.step_number / self.steps)
        z, base, held, y, s = (turned(t, turn) for t in (lesson.z, lesson.filled, lesson.held, lesson.y, lesson.s.value()))
        out = self.network(z[None].contiguous(memory_format=torch.channels_last), base[None])[0]
        residual = (out + s - y) * held
        loss = ((residual.square() + EDGE**2).sqrt() - EDGE).sum() / held.sum().clamp(min=1)
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        lesson.s.step_(turned_back(residual.detach(), turn) * lesson.doubt, self._rate)
        self.loss = loss.detach()
        self.step_number += 1

    @torch.no_grad()
    def apply(self) -> Tensor:
        """(C, H, W): φ(θ) on the fill from all trusted values where a value is missing, ``y`` elsewhere."""
        answer = self.y.clone()
        small = max(self.y.shape[1:]) <= CROP
        for outer, inner, place in windows(*self.y.shape[1:]):
            missing = ~self.trusted[place]
            if not missing.any():
                continue
            part, known = self.y[outer], self.trusted[outer].to(self.y.dtype)
            filled = self._filled(part, known)
            z = shown(filled, known, self._mean, self._marks[outer])
            square = part.shape[1] == part.shape[2]
            turns = range(TURNS if square else 4) if small else (0, 3)
            answers = [turned_back(self._answer(turned(z, n), turned(filled, n)), n) for n in turns]
            told = torch.stack(answers).mean(0)
            answer[place] = torch.where(missing, told[inner], answer[place])
        return answer

    def _answer(self, z: Tensor, filled: Tensor) -> Tensor:
        """φ for sides of any length: padded at the lower and right border to multiples of the network's stride."""
        height, width = z.shape[1:]
        pad = (0, -width % STRIDE, 0, -height % STRIDE)
        z, filled = (torch.nn.functional.pad(t[None], pad, mode="replicate") for t in (z, filled))
        return self.network(z.contiguous(memory_format=torch.channels_last), filled)[0, :, :height, :width]

    def _filled(self, y: Tensor, known: Tensor) -> Tensor:
        start = smoothed(y, known)
        return fill(y, known, self.whitening, start=start, steps=FILL_STEPS, rounds=FILL_ROUNDS).clamp(0, 1)

    @torch.no_grad()
    def _prepare(self) -> list[_Lesson]:
        """The crops, each with several folds held out."""
        corners, height, width = self._crops()
        lessons = []
        for top, left in corners:
            place = (..., slice(top, top + height), slice(left, left + width))
            y, known = self.y[place], self.trusted[place].to(self.y.dtype)
            for _ in range(FOLDS if len(corners) == 1 else FOLDS // 2):
                held = held_out(known, self.generator)
                seen = known - held
                filled = self._filled(y, seen)
                lessons.append(
                    _Lesson(y, held, self.doubt[place], shown(filled, seen, self._mean, self._marks[place]), filled)
                )
        return lessons

    def _crops(self) -> tuple[list[tuple[int, int]], int, int]:
        """Corners of the crops and their sides, multiples of the stride: where most is missing, of some drawn at random."""
        full_height, full_width = self.y.shape[1:]
        height, width = (max(STRIDE, min(side, CROP) // STRIDE * STRIDE) for side in (full_height, full_width))
        if full_height <= CROP and full_width <= CROP:
            return [(0, 0)], height, width
        draws = []
        for _ in range(4 * CROPS):
            top, left = (
                int(torch.randint(full - side + 1, (), generator=self.generator))
                for full, side in ((full_height, height), (full_width, width))
            )
            missing = (~self.trusted[:, top : top + height, left : left + width]).float().mean().item()
            draws.append((missing, top, left))
        return [(top, left) for _, top, left in sorted(draws, reverse=True)[:CROPS]], height, width

    def state_dict(self) -> State:
        """All that the next step depends on."""
        return {
            "step_number": self.step_number,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "order": list(self._order),
            "outliers": [lesson.s.state_dict() for lesson in self._lessons],
            "loss": self.loss,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for lesson, saved in zip(self._lessons, state["outliers"], strict=True):
            lesson.s.load_state_dict(saved)
        self.generator.set_state(state["generator"])
        self._order = [int(index) for index in state["order"]]
        self.loss = state["loss"].to(self.y.device)
        self.step_number = int(state["step_number"])


class _Lesson:
    """A crop with a fold held out: y, what is held out, the doubt of it, what the network sees, the fill, and s there."""

    def __init__(self, y: Tensor, held: Tensor, doubt: Tensor, z: Tensor, filled: Tensor):
        self.y, self.held, self.doubt, self.z, self.filled = y, held, doubt, z, filled
        self.s = MirrorOutliers.zeros(y, GAMMA)


def held_out(trusted: Tensor, generator: torch.Generator) -> Tensor:
    """Trusted values to hold out, in the shapes of what is missing: the missing ones, flipped and shifted.

    trusted: (C, H, W), 1 or 0. Thinned to :data:`HELD_OUT`; a tenth at random where hardly any are missing.
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


def turned(t: Tensor, n: int) -> Tensor:
    """One of the eight symmetries of a square, of the last two dimensions."""
    t = t.flip(-1) if n & 1 else t
    t = t.flip(-2) if n & 2 else t
    return t.transpose(-1, -2) if n & 4 else t


def turned_back(t: Tensor, n: int) -> Tensor:
    """The inverse of :func:`turned`."""
    t = t.transpose(-1, -2) if n & 4 else t
    t = t.flip(-2) if n & 2 else t
    return t.flip(-1) if n & 1 else t
