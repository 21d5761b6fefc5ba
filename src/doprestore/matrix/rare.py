"""Does an exact fit spoil what little is known amid missing cells?

Where most cells of a large rectangle are missing, all others may agree with a fit that is wrong there: a direction can hide
on the rectangle, or what lies beside it and below it are two fits that have nothing to do with each other. The few cells
that are known in the rectangle then disagree, nearly all of them, which outliers do not: these are nowhere more frequent
because other cells of the same row and column are missing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Cells that are looked at, at most.
SAMPLE = 200_000
# The shares of the known cells, of those amid most missing ones, that are compared with all.
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
# At least so many cells of such a share disagree.
MANY = 0.5
# The logarithm of the chance of that, at most, were their places independent of what is missing.
CHANCE = -14.0


def spoils_the_rare(r: Tensor, known: Tensor | None, tolerance: float) -> bool:
    """Whether the known cells amid most missing ones disagree far more often than the others.

    r: (rows, columns), the data minus the fit, 0 where not ``known`` (None: all known). tolerance: |r| up to which a cell
    agrees.
    """
    if known is None:
        return False
    if r.numel() <= SAMPLE:
        cells = torch.arange(r.numel())
    else:
        cells = torch.randint(r.numel(), (SAMPLE,), generator=torch.Generator().manual_seed(0))
    cells = cells.to(r.device)
    cells = cells[known.reshape(-1)[cells]]
    rows, columns = cells // r.shape[1], cells % r.shape[1]
    company = known.sum(1)[rows] * known.sum(0)[columns]
    wrong = (r.reshape(-1)[cells].abs() > tolerance)[company.argsort(stable=True)].double()
    usual = wrong.mean().item()
    if usual == 0:
        return False
    for share in SHARES:
        some = wrong[: int(share * len(wrong))]
        if len(some) and some.mean() >= max(MANY, usual) and -len(some) * _divergence(some.mean().item(), usual) < CHANCE:
            return True
    return False


def _divergence(share: float, usual: float) -> float:
    """Of Bernoulli laws, in nats: exp(−n of it) bounds the chance of that share among n cells."""
    pairs = ((share, usual), (1 - share, 1 - usual))
    return sum(p * math.log(p / q) for p, q in pairs if p > 0)
