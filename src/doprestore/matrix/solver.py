"""The fast RPCA as one machine that is stepped: flow → refit → noisy fit → convex limit, each with its verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.convex import ConvexRPCA
from doprestore.matrix.flow import Flow
from doprestore.matrix.noise import FLOOR, NoisyFit, levels
from doprestore.matrix.refit import AGREES, MOST_STEPS, SAMPLE, Refit, support
from doprestore.matrix.tail import LIMIT, Law, fit_law, threshold
from doprestore.matrix.verdict import SPARE, SURPLUS, Evidence, is_exact, is_noise

# After so many steps of the flow, a refit whose threshold falls by this factor a step. The first is fast and serves
# large easy matrices; small or hard ones need a slower threshold.
ATTEMPTS = ((10, 0.5), (20, 0.7), (40, 0.85))
POLISH_DECAY = 0.7  # of the refit that starts from the noisy fit
LAST_DECAY = 0.9  # of the refit that starts from the convex limit
PRIVATE = 0.2  # of a line's share in the fit, beyond 4 times the usual: a line that may have a direction of its own
DOUBTFUL, SMALL = 0.05, 10_000  # the share of outliers, and the entries, from which and up to which a fit is looked at twice
LONELY = 1e-6  # that the others have in its directions; with less it is
SOME_LINES = 4000  # from which the noise levels around the convex answer are taken
BINS = 60  # of the histogram that the law of the noise is fitted to
PENALTY_GROWTH = 1.2  # a step, of the convex solver
MIN_GAP = 1.5  # between neighbouring singular values, for a guess of the rank
FLOW_FLOOR = 0.01  # singular values below this share of the first say nothing yet
CONVEX_FLOOR = 1e-5
CLIP = 10.0  # the flow sees entries clipped at this times their 75 % quantile: gross outliers must not set its scale
_STATE = ("steps", "attempt", "solution", "done", "flow_target", "spare", "polishing", "simplest")


@dataclass
class Split:
    """The answer as it stands. rest: ‖y − low_rank − sparse‖_F. level: the noise level of each entry of which it is known,
    in a shape that goes with y (None: rounding error). expected: how many of the outliers are expected to be noise.
    empty: the rows and the columns, bool, that too few entries determine; they are NaN in low_rank."""

    low_rank: Tensor
    sparse: Tensor
    rank: int
    rest: float
    level: Tensor | None = None
    expected: float = 0.0
    empty: tuple[Tensor, Tensor] | None = None


class FastSolver:
    """RPCA of ``y`` (rows, columns), float32 or float64, with zeros where ``known`` is False (None: all known).

    data, seen: the same with the entries that are judged but not fitted to (None: there are none), see
    :mod:`doprestore.matrix.codes`.

    Call :meth:`step` until :attr:`done`. :attr:`solution` then says where the answer comes from: "exact" (a refit that
    agrees with the data to rounding error, row by row and column by column), "noise" (a fit up to dense noise), or
    "convex" (the solution of (8)); :attr:`converged` is False when the convex solver was stopped before its tolerance.
    """

    def __init__(self, y: Tensor, known: Tensor | None, alpha: float, *, symmetric: bool, seed: int,
                 data: Tensor | None = None, seen: Tensor | None = None):  # fmt: skip
        self.y = y
        self.known = known
        self.data = y if data is None else data
        self.seen = known if data is None else seen
        self.alpha = alpha
        self.symmetric = symmetric
        self.seed = seed
        self.steps = 0
        self.attempt = 0
        self.spare: tuple[Tensor, Tensor] | None = None  # an exact fit with lines that may have directions of their own
        self.polishing = False  # the refit starts from the noisy fit
        self.scaling: Tensor | None = None  # of the lines in the refit
        self.simplest: tuple[Tensor, Tensor] | None = None  # the exact fit of lowest rank, while a lower one is tried
        self.solution = ""
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
        self.noisy: NoisyFit | None = None
        self.convex: ConvexRPCA | None = None

    @property
    def stage(self) -> str:
        stages = {"refit": self.refit, "convex": self.convex, "noise": self.noisy}
        return next((name for name, stage in stages.items() if stage is not None), "flow")

    @property
    def converged(self) -> bool:
        return self.done and (self.solution != "convex" or self.convex.done)

    def residual(self) -> float:
        """‖y − X − s‖_F / ‖y‖_F as the current stage sees it; NaN before its first step."""
        if self.refit is not None:
            noise = self.refit.noise
            return noise * math.sqrt(self.refit.total) / self.norm if noise < math.inf else math.nan
        if self.convex is not None:
            return self.convex.primal if self.convex.steps else math.nan
        if self.noisy is not None:
            return self.noisy.noise()
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
        elif self.noisy is not None:
            self.noisy.step()
            if self.noisy.done:
                self._judge_noisy()
        else:
            self.flow.step()
            if self.flow.steps == self.flow_target:
                if self.flow.grow():
                    self.flow_target += 5
                else:
                    self._try_refit(*self.flow.spectrum())

    def split(self) -> Split:
        """The answer as it stands."""
        if self.done:
            self.flow = self.coarse = None  # free their memory
        if self.refit is not None:
            return self._split_refit()
        if self.convex is not None:
            return self._split_convex()
        if self.noisy is not None:
            return self._split_noisy()
        u, sigma, v = self.flow.spectrum()
        low_rank = ((u * sigma) @ v.T).to(self.y.dtype)
        sparse = self.flow.outliers.to(self.y.dtype)
        rest = torch.sub(self.y, low_rank).sub_(sparse)
        if self.known is not None:
            rest.mul_(self.known)
        return Split(low_rank, sparse, guess_rank(sigma, FLOW_FLOOR), torch.linalg.vector_norm(rest).item())

    def _split_refit(self) -> Split:
        low_rank, rank = self._fit(), self.refit.rank
        level = self._level() if self.solution == "exact" else self.refit.threshold
        levels = torch.full((1, 1), level, dtype=self.y.dtype, device=self.y.device)
        levels = (levels if self.scaling is None else levels * self.scaling).expand(self.y.shape)
        sparse = self._difference(low_rank)
        squares = 0.0
        across, down = [], torch.zeros(self.y.shape[1], dtype=torch.long, device=self.y.device)
        for index, (block, level) in enumerate(zip(blocks(sparse), blocks(levels), strict=True)):
            rest = block.abs() <= level
            squares += block[rest].double().square().sum().item()
            block.masked_fill_(rest, 0)
            if self.known is not None:
                rest &= blocks(self.known)[index]
            across.append(rest.sum(1))
            down = down + rest.sum(0)
        empty = None
        if self.solution == "exact":
            lonely = _lonely(self.refit.u, self.refit.v)
            rank -= sum(int(lines.sum()) for lines in lonely)
            empty = (torch.cat(across) < rank + SPARE) | lonely[0], (down < rank + SPARE) | lonely[1]
            leave_empty(low_rank, sparse, empty)
        return Split(low_rank, sparse, rank, math.sqrt(squares), empty=empty)

    def _split_noisy(self) -> Split:
        noisy = self.noisy
        law, at, expected = self._threshold()
        turn = (lambda x: x.T) if noisy.wide else (lambda x: x)
        low_rank, sparse = torch.empty_like(self.data), torch.zeros_like(self.data)
        fits, wrongs, data = turn(low_rank), turn(sparse), turn(self.data)
        squares, start = 0.0, 0
        across, down = [], 0
        for size, seen, fit in noisy.deviations(self.data, self.seen):
            rows = slice(start, start + len(fit))
            start += len(fit)
            fits[rows] = fit.to(low_rank.dtype)
            difference = data[rows] - fit
            wrong = seen & (size > at)
            wrongs[rows] = torch.where(wrong, difference, 0).to(sparse.dtype)
            good = seen & ~wrong
            squares += difference[good].square().sum().item()
            across.append(good.sum(1))
            down = down + good.sum(0)
        # A line says something only with more entries that agree than it has unknowns; one set apart, with most of them.
        known = turn(self.known) if self.known is not None else torch.ones_like(data, dtype=torch.bool)
        lonely = _lonely(noisy.u, noisy.v)
        rank = noisy.rank - sum(int(lines.sum()) for lines in lonely)
        empty = []
        for counts, dim in ((torch.cat(across), 1), (down, 0)):
            possible = known.sum(dim)
            apart = noisy.apart[1 - dim] & (2 * counts < possible)
            empty.append((torch.minimum(counts, possible) <= rank) | apart | lonely[1 - dim])
        if noisy.wide:
            empty.reverse()
        leave_empty(low_rank, sparse, tuple(empty))
        level = noisy.level * noisy.unit * law.scale
        return Split(low_rank, sparse, rank, math.sqrt(squares), level[:, None] if noisy.wide else level[None],
                     expected, tuple(empty))  # fmt: skip

    def _split_convex(self) -> Split:
        """Of the s of (8), only what stands out of a robust noise level: soft thresholding makes s of dense noise, too."""
        low_rank, rank = self.convex.low_rank, self.convex.rank
        sparse = self._difference(low_rank)
        wide = sparse.shape[0] < sparse.shape[1]
        lines = sparse.T if wide else sparse
        seen = torch.ones_like(sparse, dtype=torch.bool) if self.seen is None else self.seen
        seen = seen.T if wide else seen
        some = slice(None, None, max(1, len(lines) // SOME_LINES))
        level = levels(lines[some].double(), seen[some]).clamp_min(1e-7 * self.norm / math.sqrt(self.y.numel()))
        counts, large, total = np.zeros(BINS), [], 0
        for block, known in zip(blocks(lines), blocks(seen), strict=True):
            size = (block.abs() / level)[known]
            counts += torch.histc(size.clamp_max(2 * LIMIT), 2 * BINS, 0, 2 * LIMIT)[:BINS].cpu().numpy()
            large.append(size[size > LIMIT].cpu().numpy())
            total += len(size)
        law = fit_law(counts)
        at, expected = threshold(law, np.concatenate(large), total)
        squares = 0.0
        for block in blocks(lines):
            rest = block.abs() <= at * level
            squares += block[rest].double().square().sum().item()
            block.masked_fill_(rest, 0)
        empty = None
        if self.known is not None:
            empty = ~self.known.any(1), ~self.known.any(0)
            leave_empty(low_rank, sparse, empty)
        level = level * law.scale
        return Split(low_rank, sparse, rank, math.sqrt(squares), level[:, None] if wide else level[None], expected, empty)

    def _difference(self, low_rank: Tensor) -> Tensor:
        """The data minus the low-rank part, 0 where there is no data."""
        difference = torch.sub(self.data, low_rank)
        return difference if self.seen is None else difference.mul_(self.seen)

    def _threshold(self) -> tuple[Law, float, float]:
        """The law of the noise around the noisy fit, from where on a deviation is an outlier, and the mistakes expected."""
        counts, large, total = np.zeros(BINS), [], 0
        for sizes, seen, _ in self.noisy.deviations(self.y, self.known):
            size = sizes[seen]
            counts += torch.histc(size.clamp_max(2 * LIMIT), 2 * BINS, 0, 2 * LIMIT)[:BINS].cpu().numpy()
            large.append(size[size > LIMIT].cpu().numpy())
            total += len(size)
        law = fit_law(counts)
        return law, *threshold(law, np.concatenate(large), total)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, beside the data and the settings: a dict of tensors and numbers."""
        stages = {name: getattr(self, name) for name in ("flow", "refit", "noisy", "convex")}
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
        elif state["noisy"] is not None:
            self._start_noisy()
            self.noisy.load_state_dict(state["noisy"])
        else:
            self.flow.load_state_dict(state["flow"])
        if state["refit"] is not None:
            u, v = state["refit"]["u"].to(self.y), state["refit"]["v"].to(self.y)
            self._start_refit(u.to(self.y), torch.ones(u.shape[1]).to(self.y), v.to(self.y), state["refit"]["decay"])
            self.refit.load_state_dict(state["refit"])

    def _level(self) -> float:
        return AGREES[self.y.dtype] * self.refit.scale

    def _fit(self) -> Tensor:
        fit = self.refit.u @ self.refit.v.T
        return fit if self.scaling is None else fit.mul_(self.scaling)

    def _try_refit(self, u: Tensor, sigma: Tensor, v: Tensor) -> None:
        rank = guess_rank(sigma, CONVEX_FLOOR if self.convex is not None else FLOW_FLOOR)
        if rank == 0 or rank >= min(self.y.shape):
            return self._reject()
        decay = LAST_DECAY if self.convex is not None else ATTEMPTS[self.attempt][1]
        if self.flow is not None:
            self.flow.release()
        self._start_refit(u[:, :rank], sigma[:rank], v[:, :rank], decay)

    def _restart(self, u: Tensor, v: Tensor, rank: int | None = None) -> None:
        """A refit from U Vᵀ, or from its leading directions."""
        left, first = torch.linalg.qr(u)
        right, second = torch.linalg.qr(v)
        a, sigma, b = torch.linalg.svd(first @ second.T)
        keep = slice(0, rank)
        self._start_refit((left @ a)[:, keep], sigma[keep], (right @ b.T)[:, keep], POLISH_DECAY)

    def _start_refit(self, u: Tensor, sigma: Tensor, v: Tensor, decay: float) -> None:
        known = self.known
        coarse = self.coarse if self.y.dtype != torch.float32 and not self.polishing else None
        if self.polishing and self.noisy is not None and any(bool(lines.any()) for lines in self.noisy.apart):
            rows, columns = self.noisy.lines_apart()
            known = ~rows[:, None] & ~columns if known is None else known & ~rows[:, None] & ~columns
        self.scaling = self.noisy.scaling().to(self.y) if self.polishing and self.noisy is not None else None
        y = self.y if self.scaling is None else self.y / self.scaling
        self.refit = Refit(y, coarse, known, self.sample, u, sigma, v, decay)

    def _judge(self) -> None:
        """Keep the refit only when every row and column of the data supports it."""
        refit = self.refit
        if self.symmetric:
            _make_psd(refit)
        evidence = support(refit.target, refit.residual(), refit.known, refit.rank, self._level())
        if not is_exact(evidence):
            if self.simplest is None:
                self._reject()
            else:
                self._restart(*self.simplest)
                self.solution, self.done = "exact", True
        elif self.noisy is None and self.convex is None and self._doubtful(evidence):
            # Right, or a few outliers that were taken for directions: the noisy fit may need fewer.
            self.spare = refit.u, refit.v
            self.attempt = len(ATTEMPTS)
            self._reject()
        elif self.noisy is not None and refit.rank > 1:
            # Where much is unknown, a rank too high agrees with the data as well, and is wrong elsewhere.
            self.simplest = refit.u, refit.v
            self._restart(refit.u, refit.v, refit.rank - 1)
        else:
            self.solution, self.done = "exact", True

    def _doubtful(self, evidence: Evidence) -> bool:
        """Whether an exact fit may hold directions that are outliers of a few lines, or fit what is not known or a small
        matrix by chance."""
        uncertain = self.known is not None or self.y.numel() <= SMALL or self.refit.steps >= MOST_STEPS
        many = uncertain and evidence.agreeing < (1 - DOUBTFUL) * evidence.known
        return evidence.rank > 1 and (many or _private(self.refit.u, self.refit.v))

    def _judge_noisy(self) -> None:
        """Exact after all, where the noise is next to nothing; else up to noise, if that is what is left."""
        noisy = self.noisy
        if not self.polishing and noisy.rank and (noisy.at_floor or noisy.floor < FLOOR):
            self.polishing = True
            u, v = noisy.factors()
            u, v = (u / noisy.scaling(), v) if noisy.wide else (u, v / noisy.scaling().T)
            self._restart(u, v)
            return
        self.polishing = False
        if noisy.at_floor:
            noisy.lower_floor()
            return
        if self.spare is not None and noisy.rank >= self.spare[0].shape[1]:
            self._restart(*self.spare)
            self.solution, self.done = "exact", True
            return
        if self.symmetric:
            noisy.make_psd()
        evidence = self._noisy_evidence()
        if is_noise(evidence):
            self.solution, self.done = "noise", True
        else:
            self.noisy = None
            self._start_convex()

    def _noisy_evidence(self) -> Evidence:
        noisy = self.noisy
        law, at, _ = self._threshold()
        agreeing, known, across, down, possible_down, possible_across = 0, 0, [], 0, 0, []
        for size, seen, _ in noisy.deviations(self.y, self.known):
            good = seen & (size <= at)
            agreeing += int(good.sum())
            known += int(seen.sum())
            across.append(good.sum(1))
            possible_across.append(seen.sum(1))
            down, possible_down = down + good.sum(0), possible_down + seen.sum(0)
        lines = 1.0
        for counts, possible in ((torch.cat(across), torch.cat(possible_across)), (down, possible_down)):
            enough = counts >= noisy.rank + SPARE + SURPLUS * (possible - noisy.rank)
            lines = min(lines, enough.double().mean().item())
        rows, columns = noisy.y.shape
        return Evidence(rows, columns, noisy.rank, known, agreeing, lines, noisy.white, law.degrees)

    def _reject(self) -> None:
        self.refit = None
        if self.convex is not None:
            self.solution, self.done = "convex", True
            return
        if self.noisy is not None:
            self._judge_noisy()
            return
        self.attempt += 1
        if self.attempt < len(ATTEMPTS):
            self.flow_target = max(ATTEMPTS[self.attempt][0], self.flow.steps + 1)
            return
        self._start_noisy()

    def _start_noisy(self) -> None:
        self.flow = self.coarse = None  # free their memory
        self.noisy = NoisyFit(self.y, self.known)

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


def leave_empty(low_rank: Tensor, sparse: Tensor, empty: tuple[Tensor, Tensor]) -> None:
    """NaN in the rows and columns that nothing determines, and nothing said of their entries."""
    rows, columns = empty
    low_rank[rows] = math.nan
    sparse[rows] = 0
    low_rank[:, columns] = math.nan
    sparse[:, columns] = 0


def _shares(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The share of each row, and of each column, in the directions of U Vᵀ: 1 for the only one that has some direction."""
    return torch.linalg.qr(u)[0].square().sum(1), torch.linalg.qr(v)[0].square().sum(1)


def _private(u: Tensor, v: Tensor) -> bool:
    """Whether a line has so large a share in the fit that it may be the only one with some direction."""
    rank = u.shape[1]
    return any(share.max().item() > PRIVATE + 4 * rank / len(share) for share in _shares(u, v))


def _lonely(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and the columns that nearly alone have some direction: such a line agrees with whatever it holds."""
    rows, columns = _shares(u, v)
    most, rank = 1 - LONELY, u.shape[1]
    return (rows > most) & (len(rows) >= 4 * rank), (columns > most) & (len(columns) >= 4 * rank)


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
