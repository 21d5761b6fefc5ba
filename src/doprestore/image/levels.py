"""The levels that outliers share: salt and pepper, the ink of a scratch or of lettering, the black of a dead line.

Much sparse damage has only a few levels. Nobody has to say which: they stand out among the values that a search has
found. Then the level of a value says more than how far it is off, and what shares it needs no further search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Levels that are told apart between black and white.
LEVELS = 256
# So far off its prediction, of 1, what was found is an outlier without doubt.
FAR = 0.25
# A level stands out that holds at least LEAST of the outliers and CONCENTRATED times its even share of them.
CONCENTRATED = 10.0
LEAST = 8
# Levels to either side of one that stands out that may belong to it, as dense noise smears it, at most.
SMEAR = 16
# Less than this share of the picture FAR from a level, and its outliers cannot be counted.
REACHED = 0.05
# Areas of the picture at one level are looked for only where this share of it is at the level.
AREA = 0.02
# The values at a level must be as many as in the other channels, up to this factor, for the outliers of those to be lent.
ALIKE = 0.9
# Levels explain what is wrong with a picture if they hold this share of the doubtless outliers.
EXPLAINED = 0.9
# Pixels a side of the neighbourhood that is the picture's own where more than half of it is at one level, and by so many
# standard deviations more than outliers would have it by chance.
NEIGHBOURHOOD = 11
DEVIATIONS = 5.0


@dataclass(frozen=True)
class SharedLevels:
    """What :func:`shared_levels` finds.

    suspects: bool (C, H, W), the values at a level that stands out.
    outright: bool (C, H, W), those at a level where outliers are the majority, but for areas and frames of the picture.
    explained: the share of the doubtless outliers that are suspects, or else near the values around them.
    settled: whether every level that stands out is one of these.
    """

    suspects: Tensor
    outright: Tensor
    explained: float
    settled: bool

    @property
    def explain(self) -> bool:
        """Whether such levels are what is wrong with the picture."""
        return self.explained >= EXPLAINED


def shared_levels(y: Tensor, picture: Tensor, found: Tensor) -> SharedLevels:
    """y: the damaged picture; picture: what the network makes of it; found: bool, what was judged an outlier. All
    (C, H, W).

    The outliers of a level are those found FAR from the picture and from what is around, in proportion to how much is.
    """
    level = _quantised(y)
    doubtless = found & ((y - picture).abs() >= FAR)
    rates, stand_out, tails = map(torch.stack, zip(*map(_standing_out, y, level, doubtless), strict=True))
    _borrow(rates, tails, torch.stack([_histogram(channel) for channel in level]) / y[0].numel())
    suspects, outright = torch.zeros_like(found), torch.zeros_like(found)
    settled = True
    for channel, value in tails.nonzero().tolist():
        at = level[channel] == value
        suspects[channel] |= at
        rate = float(rates[channel, value])
        open_to_it = (_density(at) <= _dense(rate, NEIGHBOURHOOD**2)) & ~_frame(at, rate)
        sparse = at & open_to_it
        if 2 * rate * open_to_it.sum() >= sparse.sum():
            outright[channel] |= sparse
        elif stand_out[channel, value]:
            settled = False
    shared = int((doubtless & suspects).sum())
    others = doubtless & ~suspects
    around = torch.stack([_medians(*channel) for channel in zip(y, ~suspects, strict=True)])
    others &= (y - around).abs() >= FAR  # else it is the network that is far off, as it is at first
    return SharedLevels(suspects, outright, shared / max(1, shared + int(others.sum())), settled)


def _quantised(values: Tensor) -> Tensor:
    """The level of each value, 0 to LEVELS - 1."""
    return (values * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long()


def _histogram(levels: Tensor) -> Tensor:
    return torch.bincount(levels.flatten(), minlength=LEVELS)


def _far_from(picture: Tensor) -> Tensor:
    """(LEVELS,): the share of the values, NaN among them, FAR from each level; NaN where too small to count on."""
    histogram = _histogram(_quantised(picture[~picture.isnan()]))
    below = nn.functional.pad(histogram.cumsum(0), (1, 0))  # [k]: how many are at a level less than k
    level = torch.arange(LEVELS, device=histogram.device)
    reach = int(FAR * (LEVELS - 1))
    near = below[(level + reach + 1).clamp(max=LEVELS)] - below[(level - reach).clamp(min=0)]
    far = 1 - near / max(1, picture.numel())
    return torch.where(far >= REACHED, far, torch.nan)


def _standing_out(y: Tensor, level: Tensor, doubtless: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of one channel, (LEVELS,) each: the share of the values that are outliers of a level, NaN where they cannot be
    counted; whether the level stands out; whether it does or is one over which dense noise smears such.

    Level by level: a network that knows little as yet is far off in whole areas, and so is what it has found. But the
    values there are near the median of those around, once the levels that stand out most are left out of that.
    """
    stands_out = torch.zeros(LEVELS, dtype=torch.bool, device=y.device)
    mixed = ~_uniform(level)
    while True:
        around = _medians(y, ~stands_out[level])
        far = ~((y - around).abs() < FAR)  # NaN, where nothing else is around, is far
        counted = _histogram(level[doubtless & far & mixed])
        outliers = counted / _far_from(around[mixed])
        share = outliers * LEVELS / outliers.nansum()  # as a multiple of an even one
        more = (counted >= LEAST) & (share > CONCENTRATED) & ~stands_out
        if not more.any():
            return outliers / mixed.sum(), *_spread(stands_out, share > 1)
        stands_out |= more & (share >= 0.5 * share[more].max())


def _uniform(level: Tensor) -> Tensor:
    """(H, W): areas of the picture at one level, such as a black background. They tell nothing of the outliers."""
    uniform = torch.zeros_like(level, dtype=torch.bool)
    for value in (_histogram(level) > AREA * level.numel()).nonzero().flatten():
        uniform |= _density(level == value) > 0.5
    return uniform


def _borrow(rates: Tensor, levels: Tensor, shares: Tensor) -> None:
    """Where outliers of a level cannot be counted, as of black in a channel that is dark throughout, but there are
    values enough: as many, but for chance, as in the channels where it is one of ``levels``. All (C, LEVELS), the last
    the share of the values that are at the level; changes the first two."""
    elsewhere = torch.where(levels, rates, torch.nan).nanmean(0)
    lent = rates.isnan() & (shares >= ALIKE * elsewhere)
    rates[:] = torch.where(lent, elsewhere, rates)
    levels |= lent


def _spread(levels: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
    """``levels`` and, a neighbour at a time, those that are in ``onto``: dense noise smears a level over others. Then
    the same with as many neighbours again, whatever they are: the tails."""
    steps = 0
    while steps < SMEAR and not torch.equal(wider := levels | onto & _with_neighbours(levels), levels):
        levels, steps = wider, steps + 1
    tails = levels
    for _ in range(steps):
        tails = _with_neighbours(tails)
    return levels, tails


def _with_neighbours(levels: Tensor) -> Tensor:
    return nn.functional.max_pool1d(levels.float()[None], 3, 1, 1)[0] > 0


def _medians(y: Tensor, known: Tensor) -> Tensor:
    """(H, W): the median of the known values among the 5x5 around each; NaN where there are none. A channel at a time, for
    it takes 25 times the memory."""
    padded = nn.functional.pad(torch.where(known, y, torch.nan)[None, None], (2, 2, 2, 2), value=torch.nan)
    around = nn.functional.unfold(padded, 5)  # (1, 25, H·W)
    return around.nanmedian(dim=1).values.view_as(y)


def _dense(share: float, count: int) -> float:
    """From which density on an area of so many values is the picture's own, where outliers have this share of the whole."""
    share = min(1.0, share)
    return max(0.5, share + DEVIATIONS * math.sqrt(share * (1 - share) / count))


def _frame(at: Tensor, share: float) -> Tensor:
    """(H, W): the rows and columns along the edges of the picture that are dense, unless there are such inside it, too: a
    frame, or the defective edge line of many a test picture, and no dead line."""
    frame = torch.zeros_like(at)
    for lines, marked in ((at, frame), (at.T, frame.T)):
        dense = lines.float().mean(dim=1) > _dense(share, lines.shape[1])
        outer = dense.cumprod(0) + dense.flip(0).cumprod(0).flip(0) > 0
        outer[NEIGHBOURHOOD // 2 : -(NEIGHBOURHOOD // 2)] = False  # what is thicker is an area
        if (dense & ~outer).any():
            return torch.zeros_like(at)
        marked[outer] = True
    return frame & at


def _density(at: Tensor) -> Tensor:
    """(H, W): the share of each neighbourhood, as far as it is in the picture, that is in the mask."""
    values = at.float()[None, None]
    return nn.functional.avg_pool2d(values, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False)[0, 0]
