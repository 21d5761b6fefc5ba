"""The answer as it stands, read off each stage of the fast solver: low-rank part, outliers, rank, noise, empty lines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.columns import column_noise
from doprestore.matrix.convex import ConvexRPCA
from doprestore.matrix.directions import FOR_EACH
from doprestore.matrix.flow import Flow
from doprestore.matrix.linalg import guess_rank
from doprestore.matrix.narrow_fit import NarrowFit
from doprestore.matrix.noise import NoisyFit
from doprestore.matrix.refit import Refit
from doprestore.matrix.tail import BINS, LEAST, LIMIT, Law, fit_law, threshold
from doprestore.matrix.verdict import SPARE

# A line is the only one with some direction if the others have less than this share of it (of its square). Rounding
# leaves 1e-20, a direction of two lines 1e-1.
LONELY = 1e-6
# A stranger has this share of far entries more than the typical column, and so many standard deviations of their number
# (`tests/benchmarks/rpca_constants.py split.NAME --seeds 2` spoils none of 24 strange columns with 0 to 0.02 and 1 to 3, one
# with 0.05 or 6; of wrong cells in a column of noise alone it finds 67 % with 0.01, 83 % with 0.02, all with 0.05).
SOME_FAR, BY_CHANCE = 0.02, 3.0
# From this share of equal entries on a column has no noise of its own (0.3 to 0.9: alike; without it 6 of 24 are spoilt).
SAME = 0.5
# Lines, evenly spread, that the noise around the convex answer is taken from; all, where there are no more.
SOME_LINES = 4000


@dataclass
class Data:
    """The table, (rows, columns). y: with zeros where not ``known`` (None: all known), which is what is fitted to.
    all, seen: the same with the entries that are judged but not fitted to, see :mod:`doprestore.matrix.codes`."""

    y: Tensor
    known: Tensor | None
    all: Tensor
    seen: Tensor | None

    def minus(self, low_rank: Tensor) -> Tensor:
        """All the data minus the low-rank part, 0 where there is no data."""
        difference = torch.sub(self.all, low_rank)
        return difference if self.seen is None else difference.mul_(self.seen)


@dataclass
class Split:
    """The answer as it stands. rest: ‖y − low_rank − sparse‖_F. noise: its standard deviation, where known, in a
    shape that goes with y (None: rounding error). expected: how many of the outliers are expected to be noise.
    empty: the rows and the columns, bool, that too few entries determine; they are NaN in low_rank. degrees: of freedom
    of the law of the noise."""

    low_rank: Tensor
    sparse: Tensor
    rank: int
    rest: float
    noise: Tensor | None = None
    expected: float = 0.0
    empty: tuple[Tensor, Tensor] | None = None
    degrees: float = math.inf


def split_flow(data: Data, flow: Flow, floor: float) -> Split:
    """Of a flow; singular values below ``floor`` times the first do not count for the rank."""
    u, sigma, v = flow.spectrum()
    low_rank = ((u * sigma) @ v.T).to(data.y.dtype)
    sparse = flow.outliers.to(data.y.dtype)
    rest = torch.sub(data.y, low_rank).sub_(sparse)
    if data.known is not None:
        rest.mul_(data.known)
    return Split(low_rank, sparse, guess_rank(sigma, floor), torch.linalg.vector_norm(rest).item())


def split_refit(data: Data, refit: Refit, scaling: Tensor | None) -> Split:
    """Of a refit to data / scaling; it is exact where it is known which of its lines may be misread."""
    misread = refit.misread
    refit.release()
    low_rank, rank = refit.u @ refit.v.T, refit.rank
    agrees = refit.threshold if misread is None else refit.tolerance
    limits = torch.full((1, 1), agrees, dtype=low_rank.dtype, device=low_rank.device)
    if scaling is not None:
        low_rank, limits = low_rank.mul_(scaling), limits * scaling
    sparse = data.minus(low_rank)
    squares = 0.0
    across, down = [], torch.zeros(sparse.shape[1], dtype=torch.long, device=sparse.device)
    for index, (block, limit) in enumerate(zip(blocks(sparse), blocks(limits.expand(sparse.shape)), strict=True)):
        rest = block.abs() <= limit
        squares += block[rest].double().square().sum().item()
        block.masked_fill_(rest, 0)
        if data.known is not None:
            rest &= blocks(data.known)[index]
        across.append(rest.sum(1))
        down = down + rest.sum(0)
    empty = None
    if misread is not None:
        alone = lonely(refit.u, refit.v)
        rank = shared_rank(refit.u, refit.v)
        empty = (
            (torch.cat(across) < rank + SPARE) | alone[0] | misread[0],
            (down < rank + SPARE) | alone[1] | misread[1],
        )
        leave_empty(low_rank, sparse, empty)
    return Split(low_rank, sparse, rank, math.sqrt(squares), empty=empty)


def split_noisy(data: Data, noisy: NoisyFit | NarrowFit) -> Split:
    """Of a fit up to dense noise."""
    # With the entries that were not fitted to: they may be the only outliers.
    law, at, expected, strangers = judge(noisy, Data(data.all, data.seen, data.all, data.seen))
    low_rank, sparse = torch.empty_like(data.all), torch.zeros_like(data.all)
    fits, wrongs, lines = (x.T if noisy.wide else x for x in (low_rank, sparse, data.all))
    squares, start = 0.0, 0
    across, down = [], torch.zeros(lines.shape[1], dtype=torch.long, device=lines.device)
    for size, seen, fit in noisy.deviations(data.all, data.seen):
        rows = slice(start, start + len(fit))
        start += len(fit)
        fits[rows] = fit.to(low_rank.dtype)
        difference = lines[rows] - fit
        wrong = seen & (size > at)
        wrongs[rows] = torch.where(wrong, difference, 0).to(sparse.dtype)
        good = seen & ~wrong
        squares += difference[good].square().sum().item()
        across.append(good.sum(1))
        down = down + good.sum(0)
    known = torch.ones_like(lines, dtype=torch.bool)
    if data.known is not None:
        known = data.known.T if noisy.wide else data.known
    alone = lonely(noisy.u, noisy.v)
    rank = shared_rank(noisy.u, noisy.v)
    # A line says something only with more entries that agree than it has unknowns; one set apart, with most of them.
    empty = []
    for counts, dim in ((torch.cat(across), 1), (down, 0)):
        possible = known.sum(dim)
        apart = noisy.apart[1 - dim] & (2 * counts < possible)
        empty.append((torch.minimum(counts, possible) <= rank) | apart | alone[1 - dim])
    empty[1] |= strangers
    if noisy.wide:
        empty.reverse()
    leave_empty(low_rank, sparse, (empty[0], empty[1]))
    noise = noisy.noise * noisy.unit * law.scale
    noise, lines_empty = _across(noise, noisy.wide), (empty[0], empty[1])
    return Split(low_rank, sparse, rank, math.sqrt(squares), noise, expected, lines_empty, law.degrees)


def split_convex(data: Data, convex: ConvexRPCA, smallest: float) -> Split:
    """Of the s of (8), only what stands out of a robust noise: soft thresholding makes s of dense noise, too.
    smallest: the least that is taken for noise, in units of the data."""
    low_rank, rank = convex.low_rank, convex.rank
    sparse = data.minus(low_rank)
    wide = sparse.shape[0] < sparse.shape[1]
    lines = sparse.T if wide else sparse
    seen = torch.ones_like(sparse, dtype=torch.bool) if data.seen is None else data.seen
    seen = seen.T if wide else seen
    told = seen & (lines.abs() > smallest)
    unknowns = rank * (sum(lines.shape) - rank)
    if int(seen.sum()) - int(told.sum()) >= FOR_EACH * unknowns:
        told = seen
    # Else the low rank follows the noise of the entries that it explains, and what noise there is shows in the others.
    some = slice(None, None, max(1, len(lines) // SOME_LINES))
    noise = column_noise(lines[some].double(), told[some]).clamp_min(smallest)
    gathered = _Deviations()
    for block, judged in zip(blocks(lines), blocks(told), strict=True):
        gathered.add((block.abs() / noise)[judged])
    law, at, expected = gathered.law()
    squares = 0.0
    for block in blocks(lines):
        rest = block.abs() <= at * noise
        squares += block[rest].double().square().sum().item()
        block.masked_fill_(rest, 0)
    empty = None
    if data.known is not None:
        empty = ~data.known.any(1), ~data.known.any(0)
        leave_empty(low_rank, sparse, empty)
    noise = _across(noise * law.scale, wide)
    return Split(low_rank, sparse, rank, math.sqrt(squares), noise, expected, empty, law.degrees)


class Judgement(NamedTuple):
    """What is an outlier of a noisy fit: the law of the noise, from where on a deviation is one, the mistakes expected; and
    the columns of the taller orientation, bool, of which that cannot be said, see :class:`_ByColumn`."""

    law: Law
    at: float
    expected: float
    strangers: Tensor


def judge(noisy: NoisyFit | NarrowFit, data: Data) -> Judgement:
    """Judge the deviations of all the data from a noisy fit."""
    gathered, by_column = _Deviations(), _ByColumn(noisy)
    for sizes, seen, fit in noisy.deviations(data.y, data.known):
        gathered.add(sizes[seen])
        by_column.add(sizes, seen, fit)
    strangers = by_column.strangers(data)
    if bool(strangers.any()):
        gathered = _Deviations()
        for sizes, seen, _ in noisy.deviations(data.y, data.known):
            gathered.add(sizes[seen & ~strangers])
    # The noise of a column is known no better than by so many squares.
    rows, columns = noisy.y.shape
    return Judgement(*gathered.law((rows - noisy.rank) * (columns - noisy.rank) / columns), strangers)


class _ByColumn:
    """What a noisy fit knows of each column, gathered a block at a time, to tell which are strangers.

    That are the columns of which the others say next to nothing, and which would hold far more outliers than others do, or
    any where most of their entries are the same, which is no noise to judge by. What is rare in such a column need not be
    wrong: hours with rain, a flag that is set, the tail of a skewed law.
    """

    def __init__(self, noisy: NoisyFit | NarrowFit):
        self.noisy = noisy
        self.centre = noisy.u.median(0).values @ noisy.v.T * noisy.unit
        zeros = noisy.v.new_zeros((4, len(noisy.v)), dtype=torch.float64)
        self.seen, self.far, self.sums, self.squares = zeros

    def add(self, sizes: Tensor, seen: Tensor, fit: Tensor) -> None:
        good = seen & (sizes <= LEAST)
        self.seen += seen.sum(0)
        self.far += (seen & ~good).sum(0)
        explained = (fit - self.centre) * good
        self.sums += explained.sum(0)
        self.squares += explained.square().sum(0)

    def strangers(self, data: Data) -> Tensor:
        """(columns,) bool, of the taller orientation."""
        noisy, near = self.noisy, (self.seen - self.far).clamp_min(1)
        untold = self.squares / near - (self.sums / near).square() < (noisy.noise * noisy.unit).square()
        typical = (self.far / self.seen.clamp_min(1)).median() * self.seen
        many = self.far > typical + BY_CHANCE * typical.sqrt() + SOME_FAR * self.seen
        values = (data.y.T if noisy.wide else data.y)[noisy.some]
        if data.known is not None:
            values = values.masked_fill(~(data.known.T if noisy.wide else data.known)[noisy.some], math.nan)
        same = values == values.nanmedian(0).values
        alike = same.sum(0) > SAME * (~values.isnan()).sum(0)
        strangers: Tensor = (many | (alike & (self.far > 0))) & untold
        return strangers


def leave_empty(low_rank: Tensor, sparse: Tensor, empty: tuple[Tensor, Tensor]) -> None:
    """NaN in the rows and columns that nothing determines, and nothing said of their entries."""
    rows, columns = empty
    low_rank[rows] = math.nan
    sparse[rows] = 0
    low_rank[:, columns] = math.nan
    sparse[:, columns] = 0


def shares(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The share of each row, and of each column, in the directions of U Vᵀ: 1 for the only one that has some direction."""
    return torch.linalg.qr(u)[0].square().sum(1), torch.linalg.qr(v)[0].square().sum(1)


def shared_rank(u: Tensor, v: Tensor) -> int:
    """The rank of U Vᵀ without directions that a single line has for itself; one of a single entry is that of two lines."""
    alone = sum(int(lines.sum()) for lines in lonely(u, v))
    return max(0, u.shape[1] - alone)


def lonely(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and the columns that nearly alone have some direction: such a line agrees with whatever it holds."""
    rows, columns = shares(u, v)
    most, rank = 1 - LONELY, u.shape[1]
    return (rows > most) & (len(rows) >= 4 * rank), (columns > most) & (len(columns) >= 4 * rank)


def _across(noise: Tensor, wide: bool) -> Tensor:
    return noise[:, None] if wide else noise[None]


class _Deviations:
    """|Deviations| in units of the noise, gathered a block at a time: a histogram of the small, a list of the large ones."""

    def __init__(self) -> None:
        self.counts, self.total = np.zeros(BINS), 0
        self.large: list[np.ndarray] = []

    def add(self, sizes: Tensor) -> None:
        self.counts += torch.histc(sizes.clamp_max(2 * LIMIT), 2 * BINS, 0, 2 * LIMIT)[:BINS].cpu().numpy()
        self.large.append(sizes[sizes > LIMIT].cpu().numpy())
        self.total += len(sizes)

    def law(self, most: float = math.inf) -> tuple[Law, float, float]:
        """The law, of at most so many degrees of freedom, and what :func:`threshold` says of it."""
        law = fit_law(self.counts)
        law = Law(min(law.degrees, max(1.0, most)), law.scale)
        return law, *threshold(law, np.concatenate(self.large), self.total)
