"""θ, and how it moves: a step of eq. (10) on values that φ(θ) is not shown.

Each step takes a lesson: a fill that some values were held out of, and what these values are. r = φ(θ) + s − y with
s = g∘g − h∘h in closed form, θ moves by √(r² + ε²) of the values held out, g and h by their own, discrepant rate: what
the verdict has missed goes into s and not into θ.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor

from doprestore.drive import State
from doprestore.image.corrector import STRIDE, Corrector
from doprestore.image.optimizer import MuonAndAdam
from doprestore.image.settings import REFERENCE_ALPHA, ImageSettings
from doprestore.image.windows import Place
from doprestore.machine import uses_bfloat16
from doprestore.outliers import MirrorOutliers

# ε of the objective √(r² + ε²): a fit through medians, for some of the trusted values are wrong [0.01 to 0.04: alike;
# tests/benchmarks/image_constants.py, here and below].
EDGE = 0.02
# The size of g = h at the start.
GAMMA = 1e-5
# The sum of the rates of g and h over a course at α = 500: off by 0.18 throughout, a value becomes an outlier [30 to 120:
# alike].
CLOCK = 60.0
# Pixels a side of what θ is trained on, a multiple of the network's stride [64: -0.7 dB; 256: alike].
CROP = 128
# Crops of a picture that is larger [2 to 8: alike].
CROPS = 4


class Lesson:
    """y, (C, H, W); ``held``, how much each value counts that φ is not shown; ``doubt``, which the rates of g and h are
    in proportion to: a detail that θ is slow at is no outlier; ``z``, what φ is shown (see
    :func:`doprestore.image.corrector.shown`); the fill; and s."""

    def __init__(self, y: Tensor, held: Tensor, doubt: Tensor, z: Tensor, filled: Tensor):
        self.y, self.held, self.doubt, self.z, self.filled = y, held, doubt, z, filled
        self.s = MirrorOutliers.zeros(y, GAMMA)


class Learner:
    """φ(θ) and its steps. channels: of the picture. whitening: of the fills. settings: width, rates and seed.

    :meth:`begin` a course of lessons, :meth:`step` through it, :meth:`answer`.
    """

    def __init__(self, channels: int, whitening: Tensor, settings: ImageSettings):
        device = whitening.device
        self.generator = torch.Generator().manual_seed(settings.seed)
        unwhitened = torch.linalg.inv(whitening)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = Corrector(channels, unwhitened / torch.linalg.matrix_norm(unwhitened, 2), settings.width)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        bfloat16 = uses_bfloat16(settings.convolutions, device)
        self._precision = torch.autocast(device.type, torch.bfloat16) if bfloat16 else contextlib.nullcontext()
        self.optimizer = MuonAndAdam(self.network, settings.tau)
        self._alpha_ratio = settings.alpha / REFERENCE_ALPHA
        self.step_number, self.steps = 0, 0
        self.loss = torch.zeros((), device=device)
        self._lessons: Sequence[Lesson] = ()
        self._order: list[int] = []

    def go_on_from(self, other: Learner) -> None:
        """Take over θ, and how it was moving; not the colour axes, which are this one's own."""
        axes = self.network.axes
        self.network.load_state_dict({**other.network.state_dict(), "axes": axes})
        self.optimizer.load_state_dict(other.optimizer.state_dict())

    def begin(self, lessons: Sequence[Lesson], steps: int) -> None:
        """A course of so many steps, from where θ is."""
        self._lessons, self._order = lessons, []
        self.step_number, self.steps = 0, steps
        # Each value is met in one of so many steps, and its clock is to run for CLOCK in all.
        self._rate = CLOCK * self._alpha_ratio * len(lessons) / max(1, steps)

    def step(self) -> None:
        """One step of eq. (10) on one lesson, turned or mirrored at random."""
        if not self._order:
            self._order = torch.randperm(len(self._lessons), generator=self.generator).tolist()
        lesson = self._lessons[self._order.pop()]
        square = lesson.y.shape[1] == lesson.y.shape[2]
        turn = int(torch.randint(8 if square else 4, (), generator=self.generator))
        z, base, held, y, s = (turned(t, turn) for t in (lesson.z, lesson.filled, lesson.held, lesson.y, lesson.s.value()))
        out = self._phi(z[None], base[None])[0]
        residual = (out + s - y) * held
        loss = ((residual.square() + EDGE**2).sqrt() - EDGE).sum() / held.sum().clamp(min=1)
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step(1 - self.step_number / self.steps)  # the rate falls to 0 over a course
        lesson.s.step_(turned_back(residual.detach(), turn) * lesson.doubt, self._rate)
        self.loss = loss.detach()
        self.step_number += 1

    @torch.no_grad()
    def answer(self, z: Tensor, filled: Tensor, turns: Sequence[int]) -> Tensor:
        """(C, H, W): φ, the mean over some of the symmetries of a square."""
        answers = [turned_back(self._answer(turned(z, n), turned(filled, n)), n) for n in turns]
        return torch.stack(answers).mean(0)

    def _answer(self, z: Tensor, filled: Tensor) -> Tensor:
        """φ for sides of any length: padded at the lower and right border to multiples of the network's stride."""
        height, width = z.shape[1:]
        pad = (0, -width % STRIDE, 0, -height % STRIDE)
        z, filled = (torch.nn.functional.pad(t[None], pad, mode="replicate") for t in (z, filled))
        return self._phi(z, filled)[0, :, :height, :width]

    def _phi(self, z: Tensor, filled: Tensor) -> Tensor:
        with self._precision:
            picture: Tensor = self.network(z.contiguous(memory_format=torch.channels_last), filled)
            return picture

    def state_dict(self) -> State:
        """All that the next step depends on."""
        return {
            "step_number": self.step_number,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "order": list(self._order),
            "outliers": [lesson.s.state_dict() for lesson in self._lessons],
            "loss": self.loss,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on where :meth:`state_dict` was taken, in the same course, if in any."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for lesson, saved in zip(self._lessons, state["outliers"], strict=True):
            lesson.s.load_state_dict(saved)
        self.generator.set_state(state["generator"])
        self._order = [int(index) for index in state["order"]]
        self.loss = state["loss"].to(self.loss.device)
        self.step_number = int(state["step_number"])


def choose_crops(missing: Tensor, generator: torch.Generator) -> list[Place]:
    """Places to train on: the whole of a small picture, else two corners and those where most is missing, of some drawn at
    random.

    missing: (C, H, W), in [0, 1]. Sides are multiples of the stride, except of pictures smaller than that.
    """
    sides = [min(CROP, max(side // STRIDE * STRIDE, min(side, STRIDE))) for side in missing.shape[1:]]
    if max(missing.shape[1:]) <= CROP:
        return [(..., slice(0, sides[0]), slice(0, sides[1]))]
    low, high = (0, 0), tuple(full - side for full, side in zip(missing.shape[1:], sides, strict=True))
    corners = [low, high]  # the edges of a picture are unlike all the rest: frames, defective lines
    draws = []
    for number in range(4 * CROPS):
        corner = tuple(int(torch.randint(most + 1, (), generator=generator)) for most in high)
        draws.append((-float(missing[_crop(corner, sides)].mean()), number, corner))
    corners += [corner for *_, corner in sorted(draws)[: CROPS - len(corners)]]
    return [_crop(corner, sides) for corner in corners]


def _crop(corner: Sequence[int], sides: Sequence[int]) -> Place:
    rows, columns = (slice(start, start + side) for start, side in zip(corner, sides, strict=True))
    return ..., rows, columns


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
