"""The fast RPCA as one machine that is stepped: flow → refit → verdict, and the convex limit when no refit is kept."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.convex import ConvexRPCA
from doprestore.matrix.flow import Flow
from doprestore.matrix.refit import AGREES, SAMPLE, Refit, is_white, supported

# After so many steps of the flow, a refit whose threshold falls by this factor a step. The first is fast and serves
# large easy matrices; small or hard ones need a slower threshold.
ATTEMPTS = ((10, 0.5), (20, 0.7), (40, 0.85))
LAST_DECAY = 0.9  # of the refit that starts from the convex limit
PENALTY_GROWTH = 1.2  # a step, of the convex solver
MIN_GAP = 1.5  # between neighbouring singular values, for a guess of the rank
FLOW_FLOOR = 0.01  # singular values below this share of the first say nothing yet
CONVEX_FLOOR = 1e-5
CLIP = 10.0  # the flow sees entries clipped at this times their 75 % quantile: gross outliers must not set its scale
_STATE = ("steps", "attempt", "candidates", "how", "done", "flow_target")


class FastSolver:
    """RPCA of ``y`` (rows, columns), float32 or float64, with zeros where ``known`` is False (None: all known).

    Call :meth:`step` until :attr:`done`. :attr:`how` then says where the answer comes from: "exact" (a refit that
    agrees with the data to rounding error, row by row and column by column), "noise" (a refit up to dense noise), or
    "convex" (the solution of (8)); :attr:`converged` is False when the convex solver was stopped before its tolerance.
    """

    def __init__(self, y: Tensor, known: Tensor | None, alpha: float, *, symmetric: bool, seed: int):
        self.y = y
        self.known = known
        self.alpha = alpha
        self.symmetric = symmetric
        self.seed = seed
        self.steps = 0
        self.attempt = 0
        self.candidates: list[tuple[int, float]] = []  # rank and noise of the refits that fit up to dense noise
        self.how = ""
        self.done = False
        self.norm = torch.linalg.vector_norm(y).item()
        generator = torch.Generator().manual_seed(seed)
        self.sample = _some_entries(known, y.numel(), generator).to(y.device)
        values = y.reshape(-1)[self.sample].abs()
        values = values[values > 0]
        self.clip = CLIP * values.quantile(0.75).item() if len(values) else 0.0
        if self.clip == 0:
            raise ValueError("y is zero")  # the caller answers that without a solver
        self.coarse = y.float().clamp(-self.clip, self.clip)
        self.flow: Flow | None = Flow(self.coarse, known, alpha, seed)
        self.flow_target = ATTEMPTS[0][0]
        self.refit: Refit | None = None
        self.convex: ConvexRPCA | None = None

    @property
    def stage(self) -> str:
        return "refit" if self.refit is not None else "convex" if self.convex is not None else "flow"

    @property
    def converged(self) -> bool:
        return self.done and (self.how != "convex" or self.convex.done)

    def residual(self) -> float:
        """‖y − X − s‖_F / ‖y‖_F as the current stage sees it; NaN before its first step."""
        if self.refit is not None:
            noise = self.refit.noise
            return noise * math.sqrt(self.refit.total) / self.norm if noise < math.inf else math.nan
        if self.convex is not None:
            return self.convex.primal if self.convex.steps else math.nan
        return self.flow.residual

    def step(self) -> None:
        self.steps += 1
        if self.refit is not None:
            self.refit.step()
            if self.refit.done:
                self._judge()
        elif self.convex is not None:
            self.convex.step()
            if self.convex.done:
                generator = torch.Generator().manual_seed(self.seed)
                self._try_refit(*_leading(self.convex.low_rank, self.convex.rank + 1, generator))
        else:
            self.flow.step()
            if self.flow.steps == self.flow_target:
                if self.flow.grow():
                    self.flow_target += 5
                else:
                    self._try_refit(*self.flow.spectrum())

    def split(self) -> tuple[Tensor, Tensor, int, float]:
        """The low-rank part, the sparse part, the rank, and the Frobenius norm of what is in neither."""
        if self.refit is not None:
            if self.done:
                self.flow = self.coarse = self.convex = None  # free their memory
            low_rank, r = self._fit(), self.refit.residual()
            level = self.refit.threshold if self.how != "exact" else self._level()
            squares = 0.0
            for block in blocks(r):
                rest = block.abs() <= level
                squares += block[rest].double().square().sum().item()
                block.masked_fill_(rest, 0)
            return low_rank, r, self.refit.rank, math.sqrt(squares)
        if self.convex is not None:
            sparse = self.convex.sparse()
            rest = torch.sub(self.y, self.convex.low_rank).sub_(sparse)
            if self.known is not None:
                rest.mul_(self.known)
            return self.convex.low_rank, sparse, self.convex.rank, torch.linalg.vector_norm(rest).item()
        u, sigma, v = self.flow.spectrum()
        low_rank = ((u * sigma) @ v.T).to(self.y.dtype)
        sparse = self.flow.outliers.to(self.y.dtype)
        rest = torch.sub(self.y, low_rank).sub_(sparse)
        if self.known is not None:
            rest.mul_(self.known)
        return low_rank, sparse, guess_rank(sigma, FLOW_FLOOR), torch.linalg.vector_norm(rest).item()

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, beside the data and the settings: a dict of tensors and numbers."""
        stages = {name: getattr(self, name) for name in ("flow", "refit", "convex")}
        return {
            **{name: getattr(self, name) for name in _STATE},
            **{name: None if stage is None else stage.state_dict() for name, stage in stages.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])
        if state["convex"] is not None:
            self._start_convex()
            self.convex.load_state_dict(state["convex"])
        else:
            self.flow.load_state_dict(state["flow"])
        if state["refit"] is not None:
            u, v = state["refit"]["u"], state["refit"]["v"]
            self._start_refit(u.to(self.y), torch.ones(u.shape[1]).to(self.y), v.to(self.y), state["refit"]["decay"])
            self.refit.load_state_dict(state["refit"])

    def _level(self) -> float:
        return AGREES[self.y.dtype] * self.refit.scale

    def _fit(self) -> Tensor:
        return self.refit.u @ self.refit.v.T

    def _try_refit(self, u: Tensor, sigma: Tensor, v: Tensor) -> None:
        rank = guess_rank(sigma, CONVEX_FLOOR if self.convex is not None else FLOW_FLOOR)
        if rank == 0 or rank >= min(self.y.shape):
            return self._reject()
        decay = LAST_DECAY if self.convex is not None else ATTEMPTS[self.attempt][1]
        if self.flow is not None:
            self.flow.release()
        self._start_refit(u[:, :rank], sigma[:rank], v[:, :rank], decay)

    def _start_refit(self, u: Tensor, sigma: Tensor, v: Tensor, decay: float) -> None:
        coarse = self.coarse if self.y.dtype != torch.float32 else None
        self.refit = Refit(self.y, coarse, self.known, self.sample, u, sigma, v, decay)

    def _judge(self) -> None:
        """Keep the refit only when every row and column of the data supports it."""
        refit = self.refit
        if self.symmetric:
            _make_psd(refit)
        r = refit.residual()
        if supported(self.y, r, self.known, refit.rank, self._level(), surplus=1.2):
            self.how, self.done = "exact", True
            return
        # Some lines may be outliers nearly throughout, as the pixels behind a face in a video.
        kept = supported(self.y, r, self.known, refit.rank, refit.threshold, surplus=3, spare=0.2, lines=0.8)
        for block in blocks(r):
            block.masked_fill_(block.abs() > refit.threshold, 0)
        if kept and self._stands_out() and is_white(r, self.seed):
            # Only two attempts that agree are believed: one alone may be a wrong rank that happens to fit.
            if any(rank == refit.rank and 0.9 < noise / refit.noise < 1.1 for rank, noise in self.candidates):
                self.how, self.done = "noise", True
                return
            self.candidates.append((refit.rank, refit.noise))
        self._reject()

    def _stands_out(self) -> bool:
        """Whether even the smallest singular value of the fit is well above those of its dense noise."""
        smallest = torch.linalg.svdvals(torch.linalg.qr(self.refit.u)[1])[-1].item()
        return smallest > 1.5 * self.refit.noise * (math.sqrt(self.y.shape[0]) + math.sqrt(self.y.shape[1]))

    def _reject(self) -> None:
        self.refit = None
        if self.convex is not None:
            self.how, self.done = "convex", True
            return
        self.attempt += 1
        if self.attempt < len(ATTEMPTS):
            self.flow_target = max(ATTEMPTS[self.attempt][0], self.flow.steps + 1)
            return
        self._start_convex()

    def _start_convex(self) -> None:
        self.flow = self.coarse = None  # free their memory
        self.convex = ConvexRPCA(self.y, self.known, 1 / self.alpha, psd=self.symmetric,
                                 growth=PENALTY_GROWTH, coarse=self.y.dtype == torch.float64, clip=self.clip,
                                 seed=self.seed)  # fmt: skip


def _some_entries(known: Tensor | None, total: int, generator: torch.Generator) -> Tensor:
    """Flat positions of up to SAMPLE known entries; a list of all positions would cost more memory than y itself."""
    if total <= SAMPLE:
        return torch.arange(total) if known is None else known.reshape(-1).nonzero()[:, 0].cpu()
    positions = torch.randint(total, (SAMPLE,), generator=generator)
    if known is None:
        return positions
    known = known.reshape(-1).cpu()
    kept = positions[known[positions]]
    return kept if len(kept) > SAMPLE // 20 else known.nonzero()[:, 0]


def guess_rank(sigma: Tensor, floor: float) -> int:
    """The position of the widest gap in the singular values above ``floor`` times the first; 0 when none stands out."""
    raised = torch.cat([sigma, sigma.new_zeros(1)]).clamp_min(floor * sigma[0])
    ratio = raised[:-1] / raised[1:]
    widest = int(ratio.argmax())
    return widest + 1 if ratio[widest] > MIN_GAP else 0


def _leading(matrix: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The ``count`` leading singular vectors and values of a matrix of about that rank, by subspace iteration."""
    count = min(count, *matrix.shape)
    v = torch.randn((matrix.shape[1], count), generator=generator).to(matrix)
    for _ in range(3):
        u = torch.linalg.qr(matrix @ v)[0]
        v, triangle = torch.linalg.qr(matrix.T @ u)
    a, sigma, b = torch.linalg.svd(triangle.T)
    return u @ a, sigma, v @ b.T


def _make_psd(refit: Refit) -> None:
    """Replace U Vᵀ by the positive semidefinite part of its symmetric part, of the same rank."""
    basis = torch.linalg.qr(torch.cat([refit.u, refit.v], dim=1))[0]
    core = (basis.T @ refit.u) @ (refit.v.T @ basis)
    values, vectors = torch.linalg.eigh((core + core.T) / 2)
    values, vectors = values[-refit.rank :].clamp_min(0), vectors[:, -refit.rank :]
    refit.v = basis @ vectors
    refit.u = refit.v * values
