"""The tones that outliers share: salt and pepper, the ink of a scratch or of lettering, the black of a dead line.

Much sparse damage has only a few tones. Nobody has to say which: they stand out among the values that a search has
found. Then the tone of a value says more than how far it is off, and what shares it needs no further search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from doprestore.image.frame import DEVIATIONS
from doprestore.image.verdict import FAR, MANY, TONES, tones_of

# A tone stands out that holds so many times its even share of the outliers, and at least LEAST of them [5 to 20: alike;
# tests/benchmarks/image_constants.py, here and below].
CONCENTRATED = 10.0
# Outliers of one tone that are more than chance, at least [4 to 16: alike].
LEAST = 8
# Tones to either side of one that stands out that may belong to it, as dense noise smears it, at most [8 to 32: alike].
SMEAR = 16
# Less than this share of the picture FAR from a tone, and its outliers cannot be counted [0.025 to 0.1: alike].
REACHED = 0.05
# Areas of the picture at one tone are looked for only where this share of it is at the tone [0.01 to 0.04: alike].
AREA = 0.02
# The values at a tone must be as many as in the other channels, up to this factor, for the outliers of those to be lent
# [0.45 to 0.95: alike].
ALIKE = 0.9
# Tones explain what is wrong with a picture if they hold this share of the doubtless outliers [0.45 to 0.95: alike].
EXPLAINED = 0.9
# Where more than so much of a picture is areas that have one tone in so many of their values, it is print or a drawing: ink
# on paper looks like damage of a few tones. Two tones that share damage, as salt and pepper, have half of an area each
# [PAPER 0.25 to 0.75: alike; BLANK 0.375 to 0.875: alike].
PAPER, BLANK = 0.5, 0.75
# Places whose neighbourhoods are looked at at a time, which bounds the memory.
AT_A_TIME = 1 << 16
# Pixels a side of the neighbourhood that is the picture's own where more than half of it is at one tone [5: -2.8 dB, recall
# -0.011; 21: alike].
NEIGHBOURHOOD = 11


@dataclass(frozen=True)
class SharedTones:
    """What :func:`shared_tones` finds.

    suspects: bool (C, H, W), the values at a tone that stands out.
    outright: bool (C, H, W), those at a tone where outliers are the majority, except in areas and frames of the picture.
    explained: the share of the doubtless outliers that are suspects, or else near the values around them.
    settled: whether every tone that stands out is one of these.
    """

    suspects: Tensor
    outright: Tensor
    explained: float
    settled: bool

    @property
    def explain(self) -> bool:
        """Whether such tones are what is wrong with the picture."""
        return self.explained >= EXPLAINED


def shared_tones(y: Tensor, picture: Tensor, found: Tensor) -> SharedTones:
    """y: the damaged picture; picture: what the network makes of it; found: bool, what was judged an outlier. All
    (C, H, W).

    The outliers of a tone are those found FAR from the picture and from what is around, in proportion to how much is.
    """
    tone = tones_of(y)
    doubtless = found & ((y - picture).abs() >= FAR)
    rates, stand_out, tails = map(torch.stack, zip(*map(_standing_out, y, tone, doubtless), strict=True))
    _borrow(rates, tails, torch.stack([_histogram(channel) for channel in tone]) / y[0].numel())
    suspects, outright = torch.zeros_like(found), torch.zeros_like(found)
    settled = True
    for channel, value in tails.nonzero().tolist():
        at = tone[channel] == value
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
    far = 0
    for values, known, places in zip(y, ~suspects, others, strict=True):
        # Else it is the network that is far off, as it is at first.
        far += int(((values[places] - _medians(values, known, places)).abs() >= FAR).sum())
    return SharedTones(suspects, outright, shared / max(1, shared + far), settled)


def is_paper(y: Tensor) -> bool:
    """Whether most of (C, H, W) is areas of one tone, of which tones tell nothing."""
    blank = 0.0
    for tone in tones_of(y):
        for value in (_histogram(tone) > AREA * tone.numel()).nonzero().flatten():
            blank += float((_density(tone == value) > BLANK).float().mean())
    return blank > PAPER * len(y)


def _histogram(tones: Tensor) -> Tensor:
    return torch.bincount(tones.flatten(), minlength=TONES)


def _far_from(picture: Tensor) -> Tensor:
    """(TONES,): the share of the values, NaN among them, FAR from each tone; NaN where too small to count on."""
    histogram = _histogram(tones_of(picture[~picture.isnan()]))
    below = nn.functional.pad(histogram.cumsum(0), (1, 0))  # [k]: how many are at a tone less than k
    tone = torch.arange(TONES, device=histogram.device)
    reach = int(FAR * (TONES - 1))
    near = below[(tone + reach + 1).clamp(max=TONES)] - below[(tone - reach).clamp(min=0)]
    far = 1 - near / max(1, picture.numel())
    return torch.where(far >= REACHED, far, torch.nan)


def _standing_out(y: Tensor, tone: Tensor, doubtless: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of one channel, (TONES,) each: the share of the values that are outliers of a tone, NaN where they cannot be
    counted; whether the tone stands out; whether it does or is one over which dense noise smears such.

    Tone by tone: a network that knows little as yet is far off in whole areas, and so is what it has found. But the
    values there are near the median of those around, once the tones that stand out most are left out of that.
    """
    stands_out = torch.zeros(TONES, dtype=torch.bool, device=y.device)
    mixed = ~_uniform(tone)
    sample = torch.zeros_like(mixed)
    sample.view(-1)[:: max(1, y.numel() // MANY)] = True
    places = mixed & (doubtless | sample)
    values, tones, doubtless, sample = (of[places] for of in (y, tone, doubtless, sample))
    while True:
        around = _medians(y, ~stands_out[tone], places)
        far = ~((values - around).abs() < FAR)  # NaN, where nothing else is around, is far
        counted = _histogram(tones[doubtless & far])
        outliers = counted / _far_from(around[sample])
        share = outliers * TONES / outliers.nansum()  # as a multiple of an even one
        more = (counted >= LEAST) & (share > CONCENTRATED) & ~stands_out
        if not more.any():
            return outliers / mixed.sum(), *_spread(stands_out, share > 1)
        stands_out |= more & (share >= 0.5 * share[more].max())


def _uniform(tone: Tensor) -> Tensor:
    """(H, W): areas of the picture at one tone, such as a black background. They tell nothing of the outliers."""
    uniform = torch.zeros_like(tone, dtype=torch.bool)
    for value in (_histogram(tone) > AREA * tone.numel()).nonzero().flatten():
        uniform |= _density(tone == value) > 0.5
    return uniform


def _borrow(rates: Tensor, tones: Tensor, shares: Tensor) -> None:
    """Where outliers of a tone cannot be counted, as of black in a channel that is dark throughout, but there are
    values enough: as many, within chance, as in the channels where it is one of ``tones``. All (C, TONES), the last
    the share of the values that are at the tone; changes the first two."""
    elsewhere = torch.where(tones, rates, torch.nan).nanmean(0)
    lent = rates.isnan() & (shares >= ALIKE * elsewhere)
    rates[:] = torch.where(lent, elsewhere, rates)
    tones |= lent


def _spread(tones: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
    """``tones`` and, a neighbour at a time, those that are in ``onto``: dense noise smears a tone over others. Then
    the same with as many neighbours again, whatever they are: the tails."""
    steps = 0
    while steps < SMEAR and not torch.equal(wider := tones | onto & _with_neighbours(tones), tones):
        tones, steps = wider, steps + 1
    tails = tones
    for _ in range(steps):
        tails = _with_neighbours(tails)
    return tones, tails


def _with_neighbours(tones: Tensor) -> Tensor:
    return nn.functional.max_pool1d(tones.float()[None], 3, 1, 1)[0] > 0


def _medians(y: Tensor, known: Tensor, places: Tensor) -> Tensor:
    """(N,): the median of the known values among the 5x5 around each of the ``places``, (H, W) bool; NaN where there are
    none."""
    padded = nn.functional.pad(torch.where(known, y, torch.nan), (2, 2, 2, 2), value=torch.nan)
    around = padded.unfold(0, 5, 1).unfold(1, 5, 1)  # (H, W, 5, 5), a view
    medians = []
    for rows, columns in zip(*(indices.split(AT_A_TIME) for indices in places.nonzero(as_tuple=True)), strict=True):
        medians.append(around[rows, columns].flatten(1).nanmedian(1).values)
    return torch.cat(medians) if medians else y.new_empty(0)


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
