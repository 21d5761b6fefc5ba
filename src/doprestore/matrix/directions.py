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
2014), by reweighted least squares, and held to be sparse only if the space contains them to rounding error.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
# An entry of a vector of the space counts as 0 below this share of the largest one.
ZERO = {torch.float32: 1e-3, torch.float64: 1e-6}


def unearned(y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, level: float) -> tuple[Tensor, Tensor] | None:
    """The factors of U Vᵀ without the direction that it has earned least; None when all are earned.

    y, known: (rows, columns), known None: everywhere. u, v: (rows, rank) and (columns, rank), in any float type.
    level: |y − U Vᵀ| up to which an entry agrees.
    """
    rank, zero = u.shape[1], ZERO[y.dtype]
    if rank < 2:
        return None
    left, first = torch.linalg.qr(u.double())
    right, second = torch.linalg.qr(v.double())
    core = first @ second.T  # U Vᵀ = left core rightᵀ
    inverse = torch.linalg.inv(core)
    wrong = (y - u @ v.T).abs() > level
    wrong = (wrong if known is None else wrong & known).float()
    rows, columns = sparse_vectors(left, wrong.sum(1), zero), sparse_vectors(right, wrong.sum(0), zero)
    # A vector that is sparse on one side alone goes with the one on the other side that is nearest to it.
    pairs = [(w, q) for w in rows for q in columns]
    pairs += [(w, inverse @ w) for w in rows] + [(inverse.T @ q, q) for q in columns]
    worst, found = 0.0, None
    for w, q in pairs:
        # left (core − w qᵀ / t) rightᵀ has one rank less than U Vᵀ for this t alone.
        t = (q @ inverse @ w).item()
        if abs(t) < zero * (torch.linalg.matrix_norm(inverse, 2) * w.norm() * q.norm()).item():
            continue
        shortfall = _shortfall(y, known, u, v, left @ w, right @ q / t, level)
        if shortfall > worst:
            worst, found = shortfall, core - torch.outer(w, q) / t
    if found is None:
        return None
    a, sigma, b = torch.linalg.svd(found)
    keep = slice(0, rank - 1)
    return (left @ a)[:, keep] * sigma[keep], (right @ b.T)[:, keep]


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
    w = torch.cat([
        _least_absolute(basis[some], basis[order[:STARTS]]),
        _least_absolute(basis[some] * costs[some, None], basis[worst[:STARTS]]),
    ])  # fmt: skip
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


def _least_absolute(basis: Tensor, held: Tensor) -> Tensor:
    """(k, rank): w of the least ‖basis w‖_1 with ⟨held, w⟩ = 1, for each row of ``held``, by reweighted least squares."""
    w = held / held.square().sum(1, keepdim=True)
    for number in range(ROUNDS):
        x = (w @ basis.T).abs()
        weights = 1 / (x + FALLS**number * x.mean(1, keepdim=True) + 1e-300)
        gram = torch.einsum("sl,li,lj->sij", weights, basis, basis)
        gram.diagonal(dim1=1, dim2=2).add_(1e-14 * gram.diagonal(dim1=1, dim2=2).mean(1, keepdim=True))
        w = torch.linalg.solve_ex(gram, held)[0]
        w = torch.nan_to_num(w / (w * held).sum(1, keepdim=True))
    return w


def _shortfall(y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, x: Tensor, z: Tensor, level: float) -> float:
    """How many entries x zᵀ explains too few: its price minus those that agree with the fit thanks to it."""
    rows, columns = (vector.abs() > ZERO[y.dtype] * vector.abs().max() for vector in (x, z))
    price = sum(FOR_EACH * int(lines.sum()) + _choices(len(lines), int(lines.sum())) for lines in (rows, columns))
    across = _explained(y, known, u, v, x, z, rows, level)
    down = _explained(y.T, None if known is None else known.T, v, u, z, x, columns, level)
    return price - min(across, down)


def _explained(
    y: Tensor, known: Tensor | None, u: Tensor, v: Tensor, x: Tensor, z: Tensor, rows: Tensor, level: float
) -> int:
    """How many more entries of ``rows`` agree with the fit than without x zᵀ.

    A row can be made to agree in as many entries as there are directions, whatever they are: those that the other directions
    give it for nothing are not thanks to this one.
    """
    data, fit = y[rows].double(), u[rows].double() @ v.double().T
    seen = torch.ones_like(data, dtype=torch.bool) if known is None else known[rows]
    agree = (((data - fit).abs() <= level) & seen).sum(1)
    others = (((data - fit + torch.outer(x[rows], z)).abs() <= level) & seen).sum(1)
    return int((agree - torch.maximum(others, agree.clamp_max(u.shape[1] - 1))).sum())


def _choices(total: int, chosen: int) -> float:
    """The logarithm of the number of subsets."""
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
