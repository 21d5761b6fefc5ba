"""The fast RPCA as one machine that is stepped: flow → refit → noisy fit → convex limit, each with its verdict."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from doprestore.matrix import narrow, tall
from doprestore.matrix.convex import ConvexRPCA
from doprestore.matrix.directions import unearned
from doprestore.matrix.evidence import noisy_support, support
from doprestore.matrix.flow import Flow
from doprestore.matrix.linalg import guess_rank, leading, svd_of_product
from doprestore.matrix.narrow_fit import NarrowFit
from doprestore.matrix.noise import NoisyFit
from doprestore.matrix.rare import spoils_the_rare
from doprestore.matrix.readings import are_few, read_in_two_ways
from doprestore.matrix.refit import Refit, some_entries
from doprestore.matrix.split import Data, Split, split_convex, split_flow, split_noisy, split_refit
from doprestore.matrix.verdict import is_doubtful, is_exact, is_noise
from doprestore.matrix.weighted import FLOOR

# After so many steps of the flow, a refit whose threshold falls by this factor a step. The first is fast and serves
# large easy matrices; small or hard ones need a slower threshold.
ATTEMPTS = ((10, 0.5), (20, 0.7), (40, 0.85))
# The same factor for a refit that starts from the noisy fit or from an exact one, and from the convex limit.
POLISH_DECAY, LAST_DECAY = 0.7, 0.9
# Steps without progress after which a fit of one rank less than an exact one is given up: an exact one comes nearer at once.
BRIEF = 4
# Steps of the flow for columns that are new in it: after 5, rank 50 was tried as rank 32 first.
NEW_COLUMNS = 10
# The factor by which the penalty of the convex solver grows in a step.
PENALTY_GROWTH = 1.2
# Singular values below this share of the first say nothing: of the flow, and of the convex limit, computed to 1e-7.
FLOW_FLOOR, CONVEX_FLOOR = 0.01, 1e-5
# The flow sees entries clipped at so many times their 75 % quantile: gross outliers must not set its scale.
CLIP = 10.0
# The noise around the convex answer is at least this share of a typical entry: it is computed no more closely.
CONVEX_NOISE = 1e-7
_STATE = ("steps", "attempt", "solution", "done", "flow_target", "polishing")


class FastSolver:
    """RPCA of ``y`` (rows, columns), float32 or float64, with zeros where ``known`` is False (None: all known).

    data, seen: the same with the entries that are judged but not fitted to (None: none), see :mod:`doprestore.matrix.codes`.

    Call :meth:`step` until :attr:`done`. :attr:`solution` then says where the answer comes from: "exact" (a refit that
    agrees with the data to rounding error, row by row and column by column), "noise" (a fit up to dense noise), or
    "convex" (the solution of (8)); :attr:`converged` is False when the convex solver was stopped before its tolerance.
    """

    def __init__(self, y: Tensor, known: Tensor | None, alpha: float, *, symmetric: bool, seed: int,
                 data: Tensor | None = None, seen: Tensor | None = None):  # fmt: skip
        self.y = y
        self.known = known
        self.data = Data(y, known, y, known) if data is None else Data(y, known, data, seen)
        self.alpha = alpha
        self.symmetric = symmetric
        self.seed = seed
        self.steps = 0
        self.attempt = 0
        self.polishing = False  # the refit starts from the noisy fit
        self.scaling: Tensor | None = None  # of the lines in the refit
        self.simplest: Refit | None = None  # the exact fit of lowest rank, while a lower one is tried
        self.solution = ""
        self.done = False
        self.norm = torch.linalg.vector_norm(y).item()
        self.sample = some_entries(known, y.numel(), torch.Generator().manual_seed(seed)).to(y.device)
        values = y.reshape(-1)[self.sample].abs()
        values = values[values > 0]
        self.clip = CLIP * values.quantile(0.75).item() if len(values) else 0.0
        if self.clip == 0:
            raise ValueError("y is zero")  # the caller answers that without a solver
        self.coarse: Tensor | None = None
        self.flow: Flow | None = None
        self.flow_target = ATTEMPTS[0][0]
        self.refit: Refit | None = None
        self.noisy: NoisyFit | NarrowFit | None = None
        self.convex: ConvexRPCA | None = None
        self.part: FastSolver | None = self._part()  # of some of the rows
        if self.part is None:
            self._start_flow()

    @property
    def stage(self) -> str:
        stages = {"refit": self.refit, "convex": self.convex, "noise": self.noisy}
        here = (name for name, stage in stages.items() if stage is not None)
        return next(here, "flow") if self.part is None else self.part.stage

    @property
    def converged(self) -> bool:
        return self.done and (self.solution != "convex" or (self.convex is not None and self.convex.done))

    def residual(self) -> float:
        """‖y − X − s‖_F / ‖y‖_F as the current stage sees it; NaN before its first step."""
        if self.part is not None:
            return self.part.residual()
        if self.refit is not None:
            noise = self.refit.noise
            return noise * math.sqrt(self.refit.total) / self.norm if noise < math.inf else math.nan
        if self.convex is not None:
            return self.convex.primal if self.convex.steps else math.nan
        if self.noisy is not None:
            return self.noisy.typical_noise()
        assert self.flow is not None
        return self.flow.residual

    def step(self) -> None:
        self.steps += 1
        if self.part is not None:
            self._step_part(self.part)
        elif self.refit is not None:
            self.refit.step()
            if self.refit.done:
                self._judge(self.refit)
        elif self.convex is not None:
            self.convex.step()
            if self.convex.done:
                generator = torch.Generator().manual_seed(self.seed)
                self._try_refit(*leading(self.convex.low_rank, self.convex.rank + 1, generator), CONVEX_FLOOR, LAST_DECAY)
        elif self.noisy is not None:
            self.noisy.step()
            if self.noisy.done:
                self._judge_noisy(self.noisy)
        elif self.flow is not None:
            self.flow.step()
            if self.flow.steps == self.flow_target:
                if self.flow.grow():
                    self.flow_target += NEW_COLUMNS
                else:
                    self.flow.release()
                    self._try_refit(*self.flow.spectrum(), FLOW_FLOOR, ATTEMPTS[self.attempt][1])

    def split(self) -> Split:
        """The answer as it stands."""
        if self.done:
            self.flow = self.coarse = None  # free their memory
        if self.refit is not None:
            return split_refit(self.data, self.refit, self.scaling)
        if self.convex is not None:
            return split_convex(self.data, self.convex, CONVEX_NOISE * self.norm / math.sqrt(self.y.numel()))
        if self.noisy is not None:
            return split_noisy(self.data, self.noisy)
        if self.flow is None:
            self.part = None
            self._start_flow()
        assert self.flow is not None
        return split_flow(self.data, self.flow, FLOW_FLOOR)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, beside the data and the settings: a dict of tensors and numbers."""
        stages = {name: getattr(self, name) for name in ("flow", "refit", "noisy", "convex", "simplest")}
        return {
            **{name: getattr(self, name) for name in _STATE},
            **{name: None if stage is None else stage.state_dict() for name, stage in stages.items()},
            "part": None if self.part is None else self.part.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])
        if state["part"] is not None and self.part is not None:
            self.part.load_state_dict(state["part"])
        elif self.part is not None:
            self.part = None
            if state["flow"] is not None:
                self._start_flow()
        if state["convex"] is not None:
            self._start_convex().load_state_dict(state["convex"])
        elif state["noisy"] is not None:
            self._start_noisy().load_state_dict(state["noisy"])
        elif self.flow is not None and state["flow"] is not None:
            self.flow.load_state_dict(state["flow"])
        for name in ("simplest", "refit"):
            if state[name] is not None:
                u, v = state[name]["u"].to(self.y), state[name]["v"].to(self.y)
                refit = self._start_refit(u, torch.ones(u.shape[1]).to(u), v, state[name]["decay"])
                refit.load_state_dict(state[name])
                setattr(self, name, refit)

    def _part(self) -> FastSolver | None:
        """The solver of some of the rows (columns) of a much longer than wide matrix, where all is known."""
        if self.data.seen is not None or self.known is not None or self.symmetric:
            return None
        y = tall.some_lines(self.y)
        if y is None:
            return None
        alpha = self.alpha * math.sqrt(max(y.shape) / max(self.y.shape))
        return FastSolver(y, None, alpha, symmetric=False, seed=self.seed)

    def _step_part(self, part: FastSolver) -> None:
        part.step()
        if part.done and part.solution == "exact" and part.refit is not None:
            self.part = None
            self._start_refit(*tall.fit_all(self.y, part.refit.u, part.refit.v), POLISH_DECAY)
        elif part.done or part.noisy is not None or part.convex is not None:
            self.part = None
            self._start_flow()

    def _try_refit(self, u: Tensor, sigma: Tensor, v: Tensor, floor: float, decay: float) -> None:
        rank = guess_rank(sigma, floor)
        if rank == 0 or rank >= min(self.y.shape):
            self._reject()
        else:
            self._start_refit(u[:, :rank], sigma[:rank], v[:, :rank], decay)

    def _judge(self, refit: Refit) -> None:
        """Keep the refit only when every row and column of the data supports it, and every direction has been earned."""
        if self.symmetric:
            refit.make_psd()
        evidence = support(refit.target, refit.residual(), refit.known, refit.rank, refit.tolerance)
        simplest, self.simplest = self.simplest, None
        if not is_exact(evidence):
            self._reject() if simplest is None else self._claim(simplest)
            return
        fewer = unearned(refit.target, refit.known, refit.u, refit.v, refit.tolerance)
        if fewer is not None:
            self._start_refit(*svd_of_product(*fewer), POLISH_DECAY)
        elif refit.rank > 1 and is_doubtful(evidence, missing=self.known is not None):
            self.simplest = refit
            refit.release()
            u, sigma, v = svd_of_product(refit.u, refit.v)
            self._start_refit(u[:, :-1], sigma[:-1], v[:, :-1], POLISH_DECAY).patience = BRIEF
        else:
            self._claim(refit)

    def _claim(self, refit: Refit) -> None:
        """Exact, unless too many lines can be read in two ways, or what is known amid missing cells disagrees."""
        r = refit.residual()
        refit.misread = read_in_two_ways(r, refit.known, refit.u, refit.v, refit.tolerance)
        if are_few(refit.misread) and not spoils_the_rare(r, refit.known, refit.tolerance):
            self.refit, self.solution, self.done = refit, "exact", True
        else:
            self._reject()

    def _judge_noisy(self, noisy: NoisyFit | NarrowFit) -> None:
        """Exact after all, where the noise is next to nothing; else up to noise, if that is what is left."""
        if not self.polishing and noisy.rank and (noisy.at_floor or noisy.floor < FLOOR):
            self.polishing = True
            self._start_refit(*svd_of_product(*noisy.scaled_factors()), POLISH_DECAY)
            return
        self.polishing = False
        if noisy.at_floor:
            noisy.lower_floor()
            return
        if self.symmetric:
            noisy.make_psd()
        if is_noise(noisy_support(noisy, self.data)):
            self.solution, self.done = "noise", True
        else:
            self.noisy = None
            self._start_convex()

    def _reject(self) -> None:
        self.refit = None
        if self.convex is not None:
            self.solution, self.done = "convex", True
        elif self.noisy is not None:
            self._judge_noisy(self.noisy)
        elif self.flow is None:  # some of the rows were not like the others
            self._start_flow()
        else:
            self.attempt += 1
            if self.attempt < len(ATTEMPTS):
                self.flow_target = max(ATTEMPTS[self.attempt][0], self.flow.steps + 1)
            else:
                self._start_noisy()

    def _start_refit(self, u: Tensor, sigma: Tensor, v: Tensor, decay: float) -> Refit:
        y, known, coarse = self.y, self.known, None
        self.scaling = None
        if self.polishing and self.noisy is not None:
            self.scaling = self.noisy.scaling().to(y)
            y = y / self.scaling
            known = self.noisy.without_lines_apart(known)
        elif y.dtype != torch.float32:
            coarse = self.coarse
        self.refit = Refit(y, coarse, known, self.sample, u, sigma, v, decay)
        return self.refit

    def _start_flow(self) -> None:
        if self.y.dtype != torch.float32:
            self.coarse = self.y.float().clamp_(-self.clip, self.clip)
        self.flow = Flow(self.y if self.coarse is None else self.coarse, self.known, self.alpha, self.seed, self.clip)

    def _start_noisy(self) -> NoisyFit | NarrowFit:
        self.flow = self.coarse = None  # free their memory
        self.noisy = (NarrowFit if min(self.y.shape) <= narrow.COLUMNS else NoisyFit)(self.y, self.known)
        return self.noisy

    def _start_convex(self) -> ConvexRPCA:
        self.flow = self.coarse = None  # free their memory
        self.convex = ConvexRPCA(self.y, self.known, 1 / self.alpha, psd=self.symmetric,
                                 growth=PENALTY_GROWTH, coarse=self.y.dtype == torch.float64, clip=self.clip,
                                 seed=self.seed)  # fmt: skip
        return self.convex
