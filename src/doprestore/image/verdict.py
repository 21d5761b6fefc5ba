"""Which values are damaged, how surely, and how many: a pure function of a picture and its unseen predictions.

Two groups are told apart. A whole value v lies about its prediction: its error e, over the scale σ of the errors around
it, has a density f that falls from 0 on. A damaged value has nothing to do with its place: it is drawn from a density h
of tones. With π the share of damage, the odds that a value is damaged are

    π h(v) / ((1 − π) f(e/σ)/σ)

All three are read off the picture. What an outlier's error would be like is known exactly, for predictions do not
depend on the value itself: put tones drawn from h anywhere and see (the decoys of proteomics, at no cost). π is the
least ratio of errors observed to errors of decoys beyond a bound, with room for chance, f what is left of the observed
errors without π of the decoys, h the tones of doubtless outliers, each in proportion to the places that show it. Tones that
stand out (salt and pepper, ink, dead lines) make a density of their own; the others share a smooth one, and have no more
damage than the tail of their own errors has room for. So the share, the tones and the errors compete in one formula, and an
undamaged picture has π = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from doprestore.image.scale import scale_of
from doprestore.image.windows import windows

# Tones that are told apart between black and white.
TONES = 256
# A value that is off by more than this, of 1, from its prediction, or by so many times σ, is an outlier without doubt; its
# tone counts for h [FAR 0.125 and 0.5, FAR_IN_SCALES 4 and 16: alike;
# tests/benchmarks/image_constants.py, here and below].
FAR, FAR_IN_SCALES = 0.25, 8.0
# Off by FAR, but not by FAR_IN_SCALES, it counts if the verdict before gives it more than this probability of being damaged:
# a share that has been taken for too small a moment ago must not make it smaller still [0.15 to 0.6: alike].
LIKELY = 0.3
# What all tones say of one counts as much as so large a share of the places [0.015 to 0.06: alike].
FEW_PLACES = 0.03
# The probability of damage that is given to values for which the share has no room.
UNSURE = 0.49
# Bins of log(e/σ).
BINS = 160
# The least and the greatest e/σ that they reach to.
LEAST, MOST = 0.01, 300.0
# π is read off at bounds beyond which such shares of the decoys lie [(0.05, 0.6), (0.2, 0.6), (0.1, 0.3) and
# (0.1, 0.8): alike].
TAIL = (0.1, 0.6)
# Quantiles that h is inverted at, for decoys to be drawn.
DRAWS = 1 << 16
# Rounds of h, π and f in turn [2 and 8: alike].
ROUNDS = 4
# Fewer values than this that are far off, or found, are no damage: a picture of any size has some by chance [1 to 6: alike].
FEW = 3
# A tone stands out that has so many times the doubtless outliers of the tones around it, and 8 more [2.5 to 10: alike].
STANDS_OUT = 5.0
# So many times the share of damage may be called damaged, for the share is the least of several; and of those in company
# [0.625: -8.3 dB of few, -8.3 dB, recall -0.273; 2.5: alike].
SLACK = 1.25
# And so many standard deviations of chance more. The share of few is uncertain, and that of hot pixels too low, for they are
# off by less than the decoys [0, 1.5 and 6: alike; 0: -1.2 dB of hot pixels on 1 %, the mean of 17 pictures of light.py].
CHANCE = 3.0
# Values that the densities are read off; of a larger picture every second pixel counts, every third, and so on.
MANY = 400_000
# The standard deviation, in tones, of the smooth part of h [8 and 32: alike].
SMOOTH = 16.0


@dataclass(frozen=True)
class Verdict:
    """What :func:`judge` finds.

    probability: (C, H, W), that a value is damaged. share: π. tones: bool (C, TONES), those that stand out.
    """

    probability: Tensor
    share: float
    tones: Tensor


def judge(
    y: Tensor,
    predicted: Tensor,
    before: Tensor | None,
    known: Tensor | None,
    generator: torch.Generator,
    *,
    late: bool,
    folds: Tensor | None = None,
    coupled: bool = True,
) -> Verdict:
    """The verdict on every value of ``y`` from its unseen prediction; all (C, H, W), in [0, 1].

    before: the probabilities of the verdict before this one, which weigh what is around; None in the first.
    known: bool, values known to be bad are False and count for nothing; None: all count. generator: of the decoys.
    late: whether predictions are good enough for the nearest errors to tell of σ. coupled: whether other channels tell, too.
    folds: uint8; no prediction, as far as it is of this round, has seen a value of its own fold. None: of all but itself.
    """
    counted = torch.ones_like(y, dtype=torch.bool) if known is None else known
    weight = counted.to(y.dtype) if before is None else (1 - before) * counted
    scale = scale_of((y - predicted).abs(), weight, folds, late, coupled)
    every = max(1, y.numel() // MANY)
    chosen = counted.flatten(1)[:, ::every]
    sizes = chosen.sum(1).tolist()

    def some(values: Tensor) -> Tensor:  # (N,), one channel after the other
        return values.flatten(1)[:, ::every][chosen]

    some_y, some_scale, some_predicted = map(some, (y, scale, predicted))
    some_error, some_tone = (some_y - some_predicted).abs(), tones_of(some_y)
    some_ratio = bins_of(some_error / some_scale)
    probability = None if before is None else some(before)
    observed = shares_of(some_ratio)
    share, tones = 0.0, torch.zeros(len(y), TONES, dtype=torch.bool, device=y.device)
    density = torch.empty(len(y), TONES, dtype=torch.float64, device=y.device)
    clean_density = torch.ones(BINS, device=y.device)

    def damaged(ratio: Tensor, scale: Tensor, h: Tensor) -> Tensor:
        clean = (1 - share) * clean_density[ratio] / (2 * scale)
        damage = share * TONES * h
        return (damage / (damage + clean)).to(y.dtype)

    def expected(density: Tensor) -> Tensor:  # (BINS,), of decoys
        decoys = _decoys(density, sizes, generator)
        return shares_of(bins_of((decoys - some_predicted).abs() / some_scale))

    for _ in range(ROUNDS):
        parts = [values.split(sizes) for values in (some_tone, some_predicted, some_error, some_scale)]
        before_parts = [None] * len(y) if probability is None else probability.split(sizes)
        for channel, part in enumerate(zip(*parts, before_parts, strict=True)):
            density[channel], tones[channel] = _tone_density(*part)
        decoys = expected(density)
        share = _share(observed, decoys, len(some_tone))
        struck = share * decoys
        others = torch.cat([~stands_out[tone] for stands_out, tone in zip(tones, parts[0], strict=True)])
        if share and tones.any() and others.any():
            # What the other tones have room for is read off these alone: details that are far off are no damage because
            # there is much of a few tones.
            theirs = torch.where(tones, 0.0, density)
            weights = theirs.sum(1)
            decoys = expected(theirs / weights[:, None])
            count = int(others.sum())
            room = _share(shares_of(some_ratio[others]), decoys, count) * count / len(some_tone)
            taken = share * float(weights @ weights.new_tensor(sizes)) / len(some_tone)
            if taken > room:
                struck -= (taken - room) * decoys
                density = share * torch.where(tones, density, density * (room / taken))
                share -= taken - room
                density /= share
        clean_density = falling_density(observed - struck)
        h = torch.cat([density[channel][tones] for channel, tones in enumerate(parts[0])])
        probability = _no_more_than(share, damaged(some_ratio, some_scale, h))
    judged = torch.empty_like(y)
    for *_, part in windows(y.shape):
        ratio = bins_of((y[part] - predicted[part]).abs() / scale[part])
        tone = tones_of(y[part])
        judged[part] = damaged(ratio, scale[part], density.gather(1, tone.flatten(1)).view_as(tone))
    return Verdict(torch.where(counted, _no_more_than(share, judged, counted), 1.0), share, tones)


def _tone_density(
    tone: Tensor, predicted: Tensor, error: Tensor, scale: Tensor, probability: Tensor | None
) -> tuple[Tensor, Tensor]:
    """h of one channel, and which tones stand out: (TONES,) each. The arguments are flat.

    Doubtless outliers of a tone are counted in proportion to how many places would show it as one. Where few do, the other
    tones tell.
    """
    device = tone.device
    if probability is None:
        own = torch.bincount(tone, minlength=TONES).double()
        return 0.5 * own / own.sum().clamp(min=1) + 0.5 / TONES, torch.zeros(TONES, dtype=torch.bool, device=device)
    surely = FAR_IN_SCALES * scale
    reach = surely.clamp(max=FAR)
    doubtless = (error > surely) | ((error > reach) & (probability > LIKELY))
    count = torch.bincount(tone[doubtless], minlength=TONES).double()
    above, below = (
        torch.bincount((tones * (TONES - 1)).ceil().long().clamp(0, TONES), minlength=TONES + 1).double().cumsum(0)
        for tones in (predicted + reach, predicted - reach)
    )
    seen = (1 + (above - below)[:TONES] / below[-1].clamp(min=1)).clamp(0, 1)
    stands_out = torch.zeros(TONES, dtype=torch.bool, device=device)
    for _ in range(3):
        usual = _smoothed(torch.where(stands_out, 0.0, count)) / _smoothed((~stands_out).double()).clamp(min=1e-3)
        stands_out = count > 8 + STANDS_OUT * usual
    others, places = (torch.where(stands_out, 0.0, values) for values in (count, seen))
    any_tone = (1 + others.sum()) / places.sum().clamp(min=1)
    smooth = (_smoothed(others) + FEW_PLACES * any_tone) / (_smoothed(places) + FEW_PLACES)
    density = torch.where(stands_out, count / seen.clamp(min=0.05), smooth)
    return density / density.sum(), stands_out


def _smoothed(values: Tensor) -> Tensor:
    reach = int(2.5 * SMOOTH)
    taps = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-((taps / SMOOTH) ** 2) / 2)
    return nn.functional.conv1d(values[None, None], (kernel / kernel.sum())[None, None], padding=reach)[0, 0]


def _decoys(density: Tensor, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """(N,): so many tones of each channel, drawn from its h by the inverse of its distribution.

    Drawn on the CPU: a seed is a seed anywhere.
    """
    drawn = []
    quantiles = (torch.arange(DRAWS, device=density.device) + 0.5) / DRAWS
    for h, size in zip(density, sizes, strict=True):
        inverse = torch.searchsorted(h.cumsum(0).float(), quantiles).clamp(max=TONES - 1)
        which = torch.randint(DRAWS, (size,), generator=generator, dtype=torch.int32)
        drawn.append(inverse[which.to(density.device)])
    return torch.cat(drawn).float() / (TONES - 1)


def _no_more_than(share: float, probability: Tensor, counted: Tensor | None = None) -> Tensor:
    """``probability``, but below one half for all but the surest values, of which there are as many as the share of all
    (counted) ones and chance allow.

    In print and charts, whose whole values have a few tones themselves, tones would vouch for one another's damage.
    """
    total = probability.numel() if counted is None else int(counted.sum())
    most = int(SLACK * share * total + CHANCE * math.sqrt(share * total))
    if most == 0:
        return probability.clamp(max=UNSURE)
    likely = probability > UNSURE
    likelier = probability.masked_select(likely if counted is None else likely & counted)
    if len(likelier) <= most:
        return probability
    bound = likelier.kthvalue(len(likelier) - most).values
    return torch.where(probability > bound, probability, probability.clamp(max=UNSURE))


def tones_of(values: Tensor) -> Tensor:
    """The tone of each value in [0, 1], 0 to TONES - 1."""
    return (values * (TONES - 1)).round().long()


def bins_of(ratio: Tensor) -> Tensor:
    position = (ratio.clamp(min=1e-6).log() - math.log(LEAST)) * (BINS / math.log(MOST / LEAST))
    return position.long().clamp(0, BINS - 1)


def shares_of(bins: Tensor) -> Tensor:
    """(BINS,): the share of each bin."""
    counts = torch.bincount(bins.flatten(), minlength=BINS).double()
    return counts / counts.sum().clamp(min=1)


def _share(observed: Tensor, expected: Tensor, count: int) -> float:
    """π: no more damage than the tail of the observed errors has room for, wherever the tail is cut off, except for chance;
    0 where fewer than :data:`FEW` of the ``count`` values are as far off as half of the decoys.

    Chance: the upper limit of a Poisson mean at one standard deviation (Gehrels, Astrophysical Journal 303, 336, 1986).
    """
    beyond, decoys = (shares.flip(0).cumsum(0).flip(0) for shares in (observed, expected))
    cuts = (decoys > TAIL[0]) & (decoys <= TAIL[1])
    if not cuts.any():
        cuts = decoys > TAIL[0] / 2
    half = int((decoys >= 0.5).nonzero().max())
    if float(beyond[half]) * count < FEW - 0.5:
        return 0.0
    most = beyond * count
    most = most + (most + 0.75).sqrt() + 1
    return min(0.98, float((most / decoys)[cuts].min()) / count)


def falling_density(mass: Tensor) -> Tensor:
    """f by bin, (BINS,): the density that fits ``mass`` best, falls from 0 on and, beyond σ, at least as fast as σ/e.

    So beyond σ an octave has no more than the one before. Were f free to be flat there, a few outliers more than the share
    has room for would make errors of any size likely. The mass of a bin may be below 0, where less damage was observed than
    expected; others make it good. Nothing is impossible: f is 1e-7 at least.
    """
    edges = torch.logspace(math.log10(LEAST), math.log10(MOST), BINS + 1, dtype=torch.float64)
    widths = edges.diff()
    # What a bin has of a density that falls no faster than it must.
    slowest = torch.where(edges[1:] > 1, widths.new_tensor(math.log(MOST / LEAST) / BINS), widths)
    pooled: list[list[float]] = []  # mass, width, bins
    for value, width in zip(mass.tolist(), slowest.tolist(), strict=True):
        pooled.append([value, width, 1])
        while len(pooled) > 1 and pooled[-2][0] / pooled[-2][1] <= pooled[-1][0] / pooled[-1][1]:
            last = pooled.pop()
            pooled[-1] = [one + other for one, other in zip(pooled[-1], last, strict=True)]
    ratio = torch.tensor([value / width for value, width, count in pooled for _ in range(int(count))], dtype=torch.float64)
    density = ratio * slowest / widths
    total = float((density * widths).sum())
    return (density / max(total, 1e-12)).clamp(min=1e-7).to(mass.device, torch.float32)
