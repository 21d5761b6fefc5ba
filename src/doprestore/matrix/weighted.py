"""A low-rank fit by weighted least squares, in which every column has its own unit, noise and outliers.

The noise is taken from residuals that are divided by √(1 − leverage); without that, a column whose noise is a little low
is trusted more, fitted better, and ends with no noise at all (the Heywood case of factor analysis). Which directions the
fit has is decided in :mod:`doprestore.matrix.noise`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from doprestore.matrix.columns import column_noise, shorth
from doprestore.matrix.linalg import leading, leading_of, psd_part, svd_of_product

# Entries worked on at a time: a block in float64 and its weights stay small beside the matrix.
ENTRIES = 2**20
# The first sweeps of a round have weights as for least absolute values, which forget where they started.
WIDE = 4
# Tukey's constant of the bisquare weights, in standard deviations: 95 % efficiency beside Gaussian noise.
BISQUARE = 4.685
# What is beyond so many standard deviations does not count as a direction of the residual.
TRUSTED = 3.0
# What is within so many standard deviations counts as fitted to, for leverage.
FITTED = 3.5
# A direction counts as above the noise from so many times the limit on, beside the margin for chance.
MARGIN = 1.03
# Rows, evenly spread, that the noise of the columns is taken from.
NOISE_ROWS = 4000
# In units of a column's spread, no noise is taken to be smaller than this at first: a fit that is still coming nearer
# must not lose what it has not reached yet. Where there is no more noise than that, :meth:`NoisyFit.lower_floor`.
FLOOR = 1e-3
# Where there is no more noise than the floor, it falls by this factor, to no less than that share of a column's spread.
FLOOR_FALLS, LEAST = 100.0, 1e-7
# What a residual may reach of the limit and still be called noise, where rank and noise go round in circles.
WHITE = 1.2
# The price of an outlier in a row of a narrow table, in squared standard deviations: 3.5 of them [9 to 16: the same].
PRICE = 12.25
# Least squares takes no column to be better than this share of the typical noise.
BETTER = 0.25


class WeightedFit:
    """U Vᵀ, fitted to ``y`` (rows, columns) where ``known`` (None: everywhere), at first a robust centre of each column.

    ``apart`` are lines set apart, (rows,) and (columns,) bool. All inner arrays are those of the taller orientation: columns
    are lines along the longer side, and each has its own unit and noise.
    """

    def __init__(self, y: Tensor, known: Tensor | None):
        self.wide = y.shape[0] < y.shape[1]
        self.y = y.T if self.wide else y
        self.known = known.T if self.wide and known is not None else known
        rows, columns = self.y.shape
        device = y.device
        self.apart = [torch.zeros(size, dtype=torch.bool, device=device) for size in (rows, columns)]
        stride = max(1, -(-rows // NOISE_ROWS))
        self.some = torch.arange(0, rows, stride, device=device)
        centre = shorth(*self._rows(self.some))
        data, seen = self._rows(self.some)
        self.base = column_noise(data - centre, seen)
        self.unit = self.base.clone()
        self.u = torch.ones((rows, 1), dtype=torch.float64, device=device)
        self.v = (centre / self.unit)[:, None]
        self.floor = FLOOR  # of the noise, in units of a column's spread
        self.sweep = 0  # of this round
        self.good: Tensor | None = None  # of a narrow table, (rows, columns) bool: all but the outliers
        self.noise = self._column_noise(first=True)
        self.most = max(1, min(y.shape) // 2)  # directions
        self.phase = "grow"
        self.round = 0
        self.top = math.inf  # the largest singular value of the trusted residual, in units of noise's own
        self.done = False

    @property
    def white(self) -> bool:
        return self.top <= WHITE

    @property
    def at_floor(self) -> bool:
        """Whether there is no more noise than the floor, so that it may be less."""
        return self.rank > 0 and self.typical_noise() <= 2 * self.floor and self.floor > 1.5 * LEAST

    @property
    def rank(self) -> int:
        return self.u.shape[1]

    def factors(self) -> tuple[Tensor, Tensor]:
        """(rows, rank) and (columns, rank) of the fit, in the orientation and units of the data."""
        pair = self.u, self.v * self.unit[:, None]
        return (pair[1], pair[0]) if self.wide else pair

    def scaling(self) -> Tensor:
        """The spread of the lines as powers of two, in a shape that goes with the data."""
        scaling = torch.exp2(self.base.log2().round())
        return scaling[:, None] if self.wide else scaling[None]

    def scaled_factors(self) -> tuple[Tensor, Tensor]:
        """The same as :meth:`factors`, of the fit to data / scaling."""
        u, v = self.factors()
        return (u / self.scaling(), v) if self.wide else (u, v / self.scaling().T)

    def without_lines_apart(self, known: Tensor | None) -> Tensor | None:
        """``known`` in the orientation of the data (None: all), without the rows and columns that are set apart."""
        if not any(bool(lines.any()) for lines in self.apart):
            return known
        rows, columns = (self.apart[1], self.apart[0]) if self.wide else (self.apart[0], self.apart[1])
        others = ~rows[:, None] & ~columns
        return others if known is None else known & others

    def typical_noise(self) -> float:
        """Median noise over the lines, in units of a line's own spread."""
        return (self.noise * self.unit / self.base).median().item()

    def deviations(self, data: Tensor, known: Tensor | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For blocks of rows of the taller orientation: |data − fit| in standard deviations, corrected for leverage; where
        the data is known; and the fit in units of the data. ``data`` and ``known`` as at the start, perhaps with more known.
        """
        data = data.T if self.wide else data
        more = known.T if self.wide and known is not None else known
        factor = self.v * self._column_weights()[:, None]
        products = _products(factor)
        for rows, z, fitted in self._blocks():
            fit = self.u[rows] @ self.v.T
            seen = torch.ones_like(fitted) if more is None else more[rows]
            size = (data[rows] / self.unit - fit).abs() / self.noise
            if self.rank:
                trusted = fitted & ((z - fit).abs() <= FITTED * self.noise if self.good is None else self.good[rows])
                gram = (trusted.to(z) @ products).reshape(-1, self.rank, self.rank)
                gram.diagonal(dim1=1, dim2=2).add_(_ridge(factor))
                leverage = torch.linalg.inv(gram).flatten(1) @ products.T
                # What was fitted is nearer than it should be, what was not is farther.
                size = size / torch.where(trusted, (1 - leverage).clamp_min(0.05), 1 + leverage).sqrt()
            yield size, seen, fit * self.unit

    def _column_weights(self) -> Tensor:
        """(columns,): what each column counts for in the fit of a row, beside the weights of the single entries."""
        return torch.ones_like(self.noise)

    def make_psd(self) -> None:
        """Replace the fit by the positive semidefinite part of its symmetric part."""
        values, vectors = psd_part(*self.factors())
        large = values > 1e-6 * values[0]
        self.u, self.v = vectors[:, large] * values[large], vectors[:, large] / self.unit[:, None]

    def _sweep(self, *, wide: bool) -> None:
        self.v, triangle = torch.linalg.qr(self.v)
        self.u = self.u @ triangle.T
        products = _products(self.v)
        for rows, z, seen in self._blocks():
            residual = z - self.u[rows] @ self.v.T
            weights = self._weights(residual, seen, wide)
            self.u[rows] += self._solve(self._gram(weights, products), (weights * residual) @ self.v)
        self.u, triangle = torch.linalg.qr(self.u)
        self.v = self.v @ triangle.T
        rank = self.rank
        gram = torch.zeros((len(self.v), rank * rank), dtype=torch.float64, device=self.v.device)
        right = torch.zeros_like(self.v)
        for rows, z, seen in self._blocks():
            residual = z - self.u[rows] @ self.v.T
            weights = self._weights(residual, seen, wide)
            gram += weights.T @ _products(self.u[rows])
            right += (weights * residual).T @ self.u[rows]
        gram = gram.reshape(-1, rank, rank)
        gram.diagonal(dim1=1, dim2=2).add_(_ridge(self.u))
        self.v = self.v + self._solve(gram, right)
        if wide or self.sweep % 4 == 3:
            self.noise = self._column_noise(first=wide)

    def _blocks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Row blocks: where, the data in units (float64), and which entries count."""
        rows, columns = self.y.shape
        size = max(1, ENTRIES // columns)
        for start in range(0, rows, size):
            block = slice(start, min(rows, start + size))
            data, seen = self._rows(block)
            seen = seen & ~self.apart[0][block, None] & ~self.apart[1]
            yield block, data / self.unit, seen

    def _rows(self, which: slice | Tensor) -> tuple[Tensor, Tensor]:
        data = self.y[which].double()
        seen = torch.ones_like(data, dtype=torch.bool) if self.known is None else self.known[which]
        return data, seen

    def _column_noise(self, first: bool = False) -> Tensor:
        """The noise of each column, in its unit; ``first``: without the correction for leverage."""
        data, seen = self._rows(self.some)
        seen = seen & ~self.apart[0][self.some, None] & ~self.apart[1]
        u = self.u[self.some]
        residual = data / self.unit - u @ self.v.T
        if not first and self.rank:
            weights = self._weights(residual, seen, False)
            products = _products(self.v)
            leverage = torch.linalg.inv(self._gram(weights, products)).flatten(1) @ products.T
            if len(self.some) == len(self.u):  # else the share of a row in a column is nothing
                products = _products(u)
                gram = (weights.T @ products).reshape(-1, self.rank, self.rank)
                gram.diagonal(dim1=1, dim2=2).add_(_ridge(u))
                leverage = leverage + (torch.linalg.inv(gram).flatten(1) @ products.T).T
            residual = residual / (1 - weights * leverage).clamp_min(0.1).sqrt()
        return column_noise(residual, seen).maximum(self.floor * self.base / self.unit)

    def _weights(self, residual: Tensor, seen: Tensor, wide: bool) -> Tensor:
        size = residual.abs() / self.noise
        bisquare = (1 - (size / BISQUARE).square()).clamp_min(0).square()
        weights = 1 / (size + 0.3) if wide else bisquare + 1e-6 / (size + 1)
        return weights.masked_fill(~seen, 0)

    def _gram(self, weights: Tensor, products: Tensor) -> Tensor:
        gram = (weights @ products).reshape(-1, self.rank, self.rank)
        gram.diagonal(dim1=1, dim2=2).add_(_ridge(self.v))
        return gram

    @staticmethod
    def _solve(gram: Tensor, right: Tensor) -> Tensor:
        """The change of the lines that least squares asks for, from their Gram matrices and what is left of the data.

        Solved for the lines themselves, the ridge would pull them to zero by 1e-9 of their size: of a large mean, that is
        more than the noise.
        """
        factor = torch.linalg.cholesky_ex(gram)[0]
        found = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        return torch.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)

    def _outstanding(self, count: int) -> tuple[Tensor, Tensor, Tensor, float]:
        """The leading singular vectors and values of the trusted residual, and the value that noise may reach."""
        rows, columns = self.y.shape
        generator = torch.Generator().manual_seed(0)
        if rows * columns <= ENTRIES:
            residual = torch.cat([z for _, z, _ in self._trusted()])
            return *leading(residual, count, generator), self._limit()

        def times(v: Tensor) -> Tensor:
            return torch.cat([z @ v for _, z, _ in self._trusted()])

        def transposed_times(u: Tensor) -> Tensor:
            product = torch.zeros((columns, u.shape[1]), dtype=u.dtype, device=u.device)
            for block, z, _ in self._trusted():
                product += z.T @ u[block]
            return product

        like = self.u.new_zeros(1).expand(rows, columns)
        return *leading_of(times, transposed_times, like, count, generator), self._limit()

    def _trusted(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for block, z, seen in self._blocks():
            residual = z - self.u[block] @ self.v.T
            trusted = seen & (residual.abs() <= TRUSTED * self.noise)
            yield block, residual.masked_fill(~trusted, 0), trusted

    def _limit(self) -> float:
        """What the largest singular value of noise alone may be: of N(0, σ²) noise, σ (√rows + √columns); of noise of
        unequal size or with gaps, at most the root of the largest sums of squares along rows and along columns."""
        across = squares = expected = 0.0
        power = self.noise.square()
        down = torch.zeros_like(power)
        for _, residual, trusted in self._trusted():
            profile = trusted * power
            across = max(across, profile.sum(1).max().item())
            down = down + profile.sum(0)
            squares += residual.square().sum().item()
            expected += profile.sum().item()
        rows, columns = self.y.shape
        base = math.sqrt(rows) + math.sqrt(columns)
        chance = 1.5 * (1 / math.sqrt(rows) + 1 / math.sqrt(columns)) ** (1 / 3) / base
        bound = (math.sqrt(across) + math.sqrt(down.max().item())) * math.sqrt(squares / max(expected, 1e-300))
        least = self.floor * float((self.base / self.unit).median()) * base
        return float(max(bound * (MARGIN + chance), least))

    def _keep(self, count: int) -> None:
        """Leave out the weakest directions."""
        u, sigma, v = svd_of_product(self.u, self.v)
        self.u, self.v = (u * sigma)[:, :count], v[:, :count]

    def _choose_units(self) -> float:
        """Units towards the noise, so that least squares weighs the columns as their noise deserves: fully where
        there are many columns, not at all where there are few, whose noise is too uncertain. The largest change."""
        columns = self.y.shape[1]
        share = max(0.0, (columns - 4 * self.rank) / columns)
        ratio = (self.unit * self.noise / self.base).log()
        ratio = ratio.clamp_min(ratio.median().item() + math.log(BETTER))
        unit = self.base * ((1 - share) * ratio.median() + share * ratio).exp()
        change = unit / self.unit
        self.v, self.noise, self.unit = self.v / change[:, None], self.noise / change, unit
        return change.log().abs().max().item()


def _products(factor: Tensor) -> Tensor:
    """(lines, rank²): the outer product of each row with itself."""
    return (factor[:, :, None] * factor[:, None, :]).flatten(1)


def _ridge(factor: Tensor) -> float:
    return 1e-9 * factor.square().sum().item() / max(1, factor.shape[1]) + 1e-300
