"""Has every direction of an exact fit been earned? The test behind the claim `exact` that counting alone does not make.

A fit X + E agrees with the data wherever E happens to turn outliers into agreement, and E of rank one can only do so
unnoticed where it is 0 on nearly all good entries: on a rectangle R x C of rows and columns. Outliers of one and the same
size are such a case: some block of a table holds mostly outliers, and a direction that lifts just that block explains
more entries than it spoils. To say that a direction is more than that, it must explain more entries than it has unknowns,
|R| + |C|, and than there are choices of R and C (in nats; without that price the best of all blocks would always pay).
Entries that the other directions could explain in its stead do not count: where many directions share a few rows, each
seems to be needed, and together they explain little more than they have unknowns.

Such a direction shows itself by sparse vectors in the row space and in the column space of the fit. They are found as
minimisers of ‖x‖_1 in that space with one entry held at 1 (Qu, Sun, Wright, "Finding a sparse vector in a subspace",
2014), by reweighted least squares, and held to be sparse only if the space contains them to rounding error. One of the two
is enough: where R is too large to be found, the columns C are fitted again without the direction, each by itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.linalg import svd_of_product
from doprestore.matrix.lines import fit_lines
from doprestore.matrix.verdict import SPARE

# Entries that a direction must explain for each of its unknowns; as for the fit as a whole (verdict.is_exact).
FOR_EACH = 1.2
# Lines from which sparse vectors are looked for: those with the largest share in the fit, and those with most wrong entries.
STARTS = 16
# Lines of a longer side: a third by their share, a third by their wrong entries, a third evenly spread.
LINES = 600
# What a line without wrong entries counts as, in units of the line with most of them.
PRIOR = 0.05
# Rounds of reweighting; in each the size below which entries count as equally small falls by so much, to 1e-8 of the mean.
ROUNDS, FALLS = 27, 0.5
# After so many rounds, a vector that is going to be sparse has at least this share of its entries below that share of the
# largest one. Of a vector of a generic space a tenth are.
HALFWAY, FEW, SMALL = 12, 0.3, 0.05
# A fit that is left when a direction is taken out is known no better than by so many times the tolerance: the lines that the
# direction spoils are themselves fitted to few entries. With 1 a wrong `exact` was claimed (test_matrix_tables.py); 10 to
# 1000 are alike there and by `tests/benchmarks/rpca_constants.py directions.LOOSE --seeds 1`.
LOOSE = 100
# An entry of a vector of the space counts as 0 below this share of the largest one.
ZERO = {torch.float32: 1e-3, torch.float64: 1e-6}


def unearned(y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, tolerance: float) -> tuple[Tensor, Tensor] | None:
    """The factors of U Vᵀ without the direction that it has earned least; None when all are earned.

    y, known: (rows, columns), known None: everywhere. u, v: (rows, rank) and (columns, rank), in any float type.
    tolerance: |y − U Vᵀ| up to which an entry agrees.
    """
    rank = u.shape[1]
    if rank < 2:
        return None
    disagreeing = _disagreeing(y, known, u, v, tolerance)
    rows, columns = _determined(known, y.shape, disagreeing, rank)
    if len(rows) == len(u) and len(columns) == len(v):
        return _least_earned(y, known, u, v, tolerance, disagreeing)
    # A line of which too little agrees can have whatever part of a direction, and hides that it is sparse on the others.
    left, sigma, right = svd_of_product(u[rows], v[columns])
    fewer: tuple[Tensor, Tensor] | None = (left[:, :-1] * sigma[:-1], right[:, :-1])
    if sigma[-1] > tolerance:  # else nothing of that direction is left: it belongs to lines that nothing determines
        some = (rows[:, None], columns)
        part = y[some], None if known is None else known[some], u[rows], v[columns], tolerance
        fewer = _least_earned(*part, _disagreeing(*part))
    if fewer is None:
        return None
    left, right = fewer[0].new_zeros(len(u), rank - 1), fewer[0].new_zeros(len(v), rank - 1)
    left[rows], right[columns] = fewer
    return left, right


def _determined(
    known: Tensor | None, shape: tuple[int, ...], disagreeing: tuple[Tensor, Tensor], rank: int
) -> tuple[Tensor, Tensor]:
    """Which rows, and which columns, hold enough agreeing entries to determine them; all the others will be left empty."""
    kept = []
    for dim, wrong in enumerate(disagreeing):
        possible = shape[1 - dim] if known is None else known.sum(1 - dim)
        kept.append((possible - wrong >= rank + SPARE).nonzero()[:, 0])
    return kept[0], kept[1]


def _least_earned(
    y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, tolerance: float, disagreeing: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor] | None:
    """See :func:`unearned`; disagreeing: how many entries of each row, and of each column, do not agree."""
    rank, zero = u.shape[1], ZERO[y.dtype]
    left, first = torch.linalg.qr(u.double())
    right, second = torch.linalg.qr(v.double())
    core = first @ second.T  # U Vᵀ = left core rightᵀ
    inverse = torch.linalg.inv(core)
    across, down = disagreeing
    rows, columns = sparse_vectors(left, across, zero), sparse_vectors(right, down, zero)
    # A vector that is sparse on one side alone goes with the one on the other side that is nearest to it.
    pairs = [(w, q) for w in rows for q in columns]
    pairs += [(w, inverse @ w) for w in rows] + [(inverse.T @ q, q) for q in columns]
    worst, found = 0.0, None
    for w, q in pairs:
        # left (core − w qᵀ / t) rightᵀ has one rank less than U Vᵀ for this t alone.
        t = (q @ inverse @ w).item()
        if abs(t) < zero * (torch.linalg.matrix_norm(inverse, 2) * w.norm() * q.norm()).item():
            continue
        shortfall = _shortfall(y, known, u, v, left @ w, right @ q / t, tolerance)
        if shortfall > worst:
            worst, found = shortfall, core - torch.outer(w, q) / t
    if found is not None:
        a, sigma, b = torch.linalg.svd(found)
        fewer = slice(0, rank - 1)
        return (left @ a)[:, fewer] * sigma[fewer], (right @ b.T)[:, fewer]
    for q in columns:
        shortfall, pair = _without(y, known, left @ core, right, q, tolerance)
        if shortfall > 0:
            return pair
    for w in rows:
        shortfall, pair = _without(y.T, None if known is None else known.T, right @ core.T, left, w, tolerance)
        if shortfall > 0:
            return pair[1], pair[0]
    return None


def _disagreeing(y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """How many entries of each row, and of each column, do not agree, in float32."""
    across, down = [], torch.zeros(y.shape[1], device=y.device)
    for index, (block, rows) in enumerate(zip(blocks(y), blocks(u, y), strict=True)):
        wrong = (block - rows @ v.T).abs() > tolerance
        wrong = (wrong if known is None else wrong & blocks(known)[index]).float()
        across.append(wrong.sum(1))
        down += wrong.sum(0)
    return torch.cat(across), down


def _without(
    y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, q: Tensor, tolerance: float
) -> tuple[float, tuple[Tensor, Tensor]]:
    """Leave out the direction of U Vᵀ that only the columns C with v q != 0 have, and fit these again, each by itself, by
    what the other columns consist of. How many entries that direction explains too few, and the factors that are left."""
    x = (v @ q).abs()
    columns = x > ZERO[y.dtype] * x.max()
    others = torch.linalg.svd(q[None])[2][1:].T  # (rank, rank - 1), orthogonal to q
    basis, triangle = torch.linalg.qr(u @ others)
    data = y[:, columns].double()
    seen = None if known is None else known[:, columns]
    coefficients = fit_lines(data, basis, seen)[0]
    fit, again = u @ v[columns].T, basis @ coefficients
    agree, agree_again = (data - fit).abs() <= tolerance, (data - again).abs() <= LOOSE * tolerance
    rows = ((fit - again).abs() > tolerance).any(1)
    if seen is not None:
        agree, agree_again = agree & seen, agree_again & seen
    rest = v @ others @ triangle.T
    rest[columns] = coefficients.T
    return _price(rows, columns) - int(agree.sum()) + int(agree_again.sum()), (basis, rest)


def sparse_vectors(basis: Tensor, wrong: Tensor, zero: float) -> list[Tensor]:
    """Coefficients w (rank,) of vectors ``basis`` w that are 0 on half of the lines at least; ``basis`` (lines, rank)
    orthonormal. wrong: (lines,), how many entries of each line disagree: where a direction spoils more than it explains,
    they are more on its lines than elsewhere. zero: of the largest entry of a vector, see ZERO."""
    lines = len(basis)
    share = basis.square().sum(1)
    order, worst = share.argsort(descending=True), wrong.argsort(descending=True)
    spread = torch.linspace(0, lines - 1, LINES // 3, device=basis.device).long()
    some = torch.cat([order[: LINES // 3], worst[: LINES // 3], spread]).unique()
    costs = 1 / (PRIOR + wrong.to(basis) / wrong.max().clamp_min(1))
    held = torch.cat([basis[order[:STARTS]], basis[worst[:STARTS]]])
    prices = torch.ones((len(held), len(some)), dtype=basis.dtype, device=basis.device)
    prices[len(order[:STARTS]) :] = costs[some]
    w = _least_absolute(basis[some], held, prices)
    sizes = (w @ basis.T).abs()
    found: list[Tensor] = []
    different: list[Tensor] = []
    for support in sizes > zero * sizes.amax(1, keepdim=True):
        if not 0 < int(support.sum()) <= lines // 2:
            continue
        # The vector of the space that is smallest off the support: 0 there, or it is no sparse one.
        _, _, vt = torch.linalg.svd(basis[~support], full_matrices=False)
        x = (basis @ vt[-1]).abs()
        exact = x > zero * x.max()
        if not bool((exact & ~support).any()) and not any(bool((exact == other).all()) for other in different):
            found.append(vt[-1])
            different.append(exact)
    return found


def _least_absolute(basis: Tensor, held: Tensor, costs: Tensor) -> Tensor:
    """(at most k, rank): w of the least Σ costs |basis w| with ⟨held, w⟩ = 1, for each row of ``held`` (k, rank) and of
    ``costs`` (k, lines), by reweighted least squares; without those that are seen to be dense after HALFWAY rounds."""
    rank = basis.shape[1]
    i, j = torch.triu_indices(rank, rank, device=basis.device)  # a Gram matrix has but half of its entries to be computed
    products = basis[:, i] * basis[:, j]
    w = held / held.square().sum(1, keepdim=True)
    for number in range(ROUNDS):
        x = (w @ basis.T).abs()
        if number == HALFWAY:
            hopeful = (x < SMALL * x.amax(1, keepdim=True)).double().mean(1) > FEW
            w, held, costs, x = w[hopeful], held[hopeful], costs[hopeful], x[hopeful]
            if not len(w):
                break
        x = x * costs
        weights = costs.square() / (x + FALLS**number * x.mean(1, keepdim=True) + 1e-300)
        gram = basis.new_empty(len(w), rank, rank)
        gram[:, i, j] = gram[:, j, i] = weights @ products
        gram.diagonal(dim1=1, dim2=2).add_(1e-14 * gram.diagonal(dim1=1, dim2=2).mean(1, keepdim=True))
        w = torch.linalg.solve_ex(gram, held)[0]
        w = torch.nan_to_num(w / (w * held).sum(1, keepdim=True))
    return w


def _shortfall(y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, x: Tensor, z: Tensor, tolerance: float) -> float:
    """How many entries x zᵀ explains too few: its price minus those that agree with the fit thanks to it."""
    rows, columns = (vector.abs() > ZERO[y.dtype] * vector.abs().max() for vector in (x, z))
    across = _explained(y, known, u, v, x, z, rows, tolerance)
    down = _explained(y.T, None if known is None else known.T, v, u, z, x, columns, tolerance)
    return _price(rows, columns) - min(across, down)


def _explained(
    y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, x: Tensor, z: Tensor, rows: Tensor, tolerance: float
) -> int:
    """How many more entries of ``rows`` agree with the fit than without x zᵀ.

    A row can be made to agree in as many entries as there are directions, whatever they are: those that the other directions
    give it for nothing are not thanks to this one.
    """
    data, fit = y[rows].double(), u[rows].double() @ v.double().T
    seen = torch.ones_like(data, dtype=torch.bool) if known is None else known[rows]
    agree = (((data - fit).abs() <= tolerance) & seen).sum(1)
    others = (((data - fit + torch.outer(x[rows], z)).abs() <= LOOSE * tolerance) & seen).sum(1)
    return int((agree - torch.maximum(others, agree.clamp_max(u.shape[1] - 1))).sum())


def _price(*sides: Tensor) -> float:
    """Of a direction that is 0 except in these rows and columns: its unknowns, and how many choices of them there are."""
    return sum(FOR_EACH * int(lines.sum()) + _choices(len(lines), int(lines.sum())) for lines in sides)


def _choices(total: int, chosen: int) -> float:
    """The logarithm of the number of subsets."""
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
