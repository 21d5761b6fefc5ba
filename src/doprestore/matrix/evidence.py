"""What a fit can show for itself: counts of what it explains, of which :mod:`doprestore.matrix.verdict` judges."""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.narrow_fit import NarrowFit
from doprestore.matrix.noise import NoisyFit
from doprestore.matrix.split import Data, judge, shared_rank
from doprestore.matrix.verdict import HALF, MOST_LINES, SPARE, SURPLUS, Evidence


def support(y: Tensor, r: Tensor, known: Tensor | None, rank: int, tolerance: float) -> Evidence:
    """The evidence for a fit of that rank that leaves the residual ``r`` of ``y``: what |r| <= tolerance agrees with.

    Zeros of y count as evidence of a line, but neither for nor against the whole. A line that has fewer known entries
    than it takes to determine it counts as determined, as long as four in five are; it will be left empty.
    """
    rows, columns = y.shape
    agreeing, total, across, down = 0, 0, [], y.new_zeros(columns, dtype=torch.float64)
    for index, (residual, data) in enumerate(zip(blocks(r), blocks(y), strict=True)):
        agrees = residual.abs() <= tolerance
        seen = data != 0
        if known is not None:
            agrees &= blocks(known)[index]
            seen &= blocks(known)[index]
        total += int(torch.count_nonzero(seen))
        agreeing += int(torch.count_nonzero(agrees & seen))
        ones = agrees.double()  # much faster to sum than booleans
        across.append(ones.sum(1))
        down = down + ones.sum(0)
    lines = 1.0
    for dim, counts in ((1, torch.cat(across)), (0, down)):
        if known is None:
            possible = torch.full_like(counts, y.shape[dim], dtype=torch.long)
        else:
            possible = torch.count_nonzero(known, dim)
        enough = counts >= rank + SPARE + SURPLUS * (possible - rank)
        empty = possible < rank + SPARE
        if int(empty.sum()) <= (1 - MOST_LINES) * len(counts):
            enough |= empty
        lines = min(lines, int(enough.sum()) / len(enough))
    return Evidence(rows, columns, rank, total, agreeing, lines)


def noisy_support(noisy: NoisyFit | NarrowFit, data: Data) -> Evidence:
    """The evidence for a fit up to dense noise: what is no outlier by the law of the noise around it."""
    law, at, _, strangers = judge(noisy, data)
    agreeing, known = 0, 0
    across, possible_across = [], []
    down = possible_down = torch.zeros(len(noisy.v), dtype=torch.long, device=noisy.v.device)
    for size, seen, _ in noisy.deviations(data.y, data.known):
        good = seen & (size <= at)
        agreeing += int(good.sum())
        known += int(seen.sum())
        across.append(good.sum(1))
        possible_across.append(seen.sum(1))
        down, possible_down = down + good.sum(0), possible_down + seen.sum(0)
    # Nothing is claimed where all directions are of a single line each, or of most columns nothing is said.
    lines = 1.0 if shared_rank(noisy.u, noisy.v) and strangers.double().mean().item() <= 1 - HALF else 0.0
    for counts, possible in ((torch.cat(across), torch.cat(possible_across)), (down, possible_down)):
        enough = counts - noisy.rank >= (SURPLUS * (possible - noisy.rank)).clamp_min(SPARE)
        undetermined = possible < noisy.rank + SPARE
        if undetermined.double().mean().item() <= 1 - MOST_LINES:
            enough |= undetermined
        lines = min(lines, enough.double().mean().item())
    rows, columns = noisy.y.shape
    return Evidence(rows, columns, noisy.rank, known, agreeing, lines, noisy.white, law.degrees)
