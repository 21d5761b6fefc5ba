"""Lines of an exact fit that can be read in two ways.

Where 30 % of the cells of a table are off by one and the same amount, some row of 40 cells has 22 such cells by chance. If
the fit can follow that row either way (a constant is among its directions), most cells agree with the wrong reading, and no
count of agreement tells. But the cells that disagree give it away: they agree with each other, on another reading of the
line, which outliers of unrelated sizes do not.

What decides is chance: where a share q of the cells is on the second reading, a line with a on the first and b on the
second was read the wrong way round with odds of (q / (1 − q))^(a − b). The likeliest such lines are left empty, until no
more than MISREAD of the others is expected to be wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.lines import fit_lines
from doprestore.matrix.verdict import MOST_LINES, SPARE

# The lines of a table that may be expected to be misread, of all that are not left empty. Of 60 tables of 20 to 150 rows and
# columns with a constant of 1000 that are off by 100 on 30 % of their cells, 41 are claimed to be exact at 0.01 (where one
# in a hundred would be wrong), 30 at 0.001 and 24 at 0.0001.
MISREAD = 0.001
# Those that are certain without another look may be this share of these [0.01 to 0.5, by
# `tests/benchmarks/rpca_constants.py readings.CERTAIN 0.01 0.5 --seeds 6`: 9 of 12 tables are claimed, rightly].
CERTAIN = 0.1
# The least share of the cells that second readings are taken to hold: few lines say little of it [0.03 to 0.2: the same 9].
LEAST_SHARE = 0.1


def read_in_two_ways(r: Tensor, known: Tensor | None, u: Tensor, v: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """The rows, and the columns, bool, that may be misread by an exact fit U Vᵀ.

    r: (rows, columns), the data minus the fit, 0 where not ``known`` (None: all known). u, v: (rows, rank), (columns, rank).
    tolerance: |r| up to which a cell agrees.
    """
    rows = _lines(r, known, v, tolerance)
    return rows, _lines(r.T, None if known is None else known.T, u, tolerance)


def are_few(lines: tuple[Tensor, Tensor]) -> bool:
    """Whether most rows and most columns are left."""
    return all(int((~some).sum()) >= MOST_LINES * len(some) for some in lines)


def _lines(r: Tensor, known: Tensor | None, basis: Tensor, tolerance: float) -> Tensor:
    """Of the rows of ``r``, which consist of ``basis`` (columns, rank)."""
    least = basis.shape[1] + SPARE  # cells that a reading has to agree with
    # Never where nothing is known.
    disagreeing = torch.cat([(block.abs() > tolerance).sum(1) for block in blocks(r)])
    possible = torch.full_like(disagreeing, r.shape[1]) if known is None else known.sum(1)
    agreeing = possible - disagreeing
    outliers = disagreeing.sum().item() / possible.sum().item()
    found = torch.zeros(len(r), dtype=torch.bool, device=r.device)
    # No more cells are on second readings than there are outliers.
    doubtful = _odds(max(LEAST_SHARE, outliers), agreeing - disagreeing) * len(r) > CERTAIN * MISREAD
    lines = (doubtful & (disagreeing >= least)).nonzero()[:, 0]
    if lines.numel() == 0:
        return found
    first, left = agreeing[lines], r[lines].T.double()
    wrong, basis = left.abs() > tolerance, torch.linalg.qr(basis.double())[0]
    second = (wrong & ((left - basis @ fit_lines(left, basis, wrong)[0]).abs() <= tolerance)).sum(0)
    second = torch.where(second >= least, second, 0)
    # These lines have more outliers than others, of which the same part is on second readings.
    number = outliers * second.sum().item() / disagreeing[lines].sum().item()
    share = max(LEAST_SHARE, number / (1 - outliers + number))
    odds = torch.where(second > 0, _odds(share, first - second), 0)
    order = odds.argsort()
    found[lines[order[odds[order].cumsum(0) > MISREAD]]] = True
    return found


def _odds(share: float, more: Tensor) -> Tensor:
    """That so many more cells of a line are on its wrong reading than on the right one; share: on second readings."""
    return (share / (1 - share)) ** more.clamp_min(0).double()
