"""Which values are damaged, how surely, and how many: a pure function of a picture and its unseen predictions.

Two groups are told apart. A whole value v lies about its prediction: its error e, over the scale σ of the errors around
it, has a density f that falls from 0 on. A damaged value has nothing to do with its place: it is drawn from a density h
of tones. With π the share of damage, the odds that a value is damaged are

    π h(v) / ((1 − π) f(e/σ)/σ)

All three are read off the picture. What an outlier's error would be like is known exactly, for predictions do not
depend on the value itself: put tones drawn from h anywhere and see (the decoys of proteomics, at no cost). π is the
least ratio of errors observed to errors of decoys beyond a bound, f what is left of the observed errors without π of
the decoys, h the tones of doubtless outliers, each in proportion to the places where it would be doubtless. Tones that
stand out (salt and pepper, ink, dead lines) make a density of their own; the others share a smooth one. So the share,
the tones and the errors compete in one formula, and an undamaged picture has π = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Tones that are told apart between black and white.
TONES = 256
# A value that is off by more than this, of 1, from its prediction is an outlier without doubt; its tone counts for h.
FAR = 0.25
# The least scale of errors, of 1: one of 256 tones.
FAINT = 0.004
# Errors count no further than this, of 1, for the scale of others.
LOUD = 0.2
# σ is the mean error around to this power in the first rounds, while outliers enlarge it, and to the power of 1 later.
SCALE_POWER = 0.75
# The probability of damage that is given to values for which the share has no room.
UNSURE = 0.49
# Bins of log(e/σ), and the least and the greatest e/σ that they reach to.
BINS = 160
LEAST, MOST = 0.01, 300.0
# π is read off at bounds beyond which such shares of the decoys lie.
TAIL = (0.1, 0.6)
# Rounds of h, π and f in turn.
ROUNDS = 4
# Fewer values than this that are far off are no damage: a picture of any size has some by chance.
FEW = 3
# A tone stands out that has so many times the doubtless outliers of the tones around it, and 8 more.
STANDS_OUT = 5.0
# So many times the share of damage may be called damaged, for the share is a lower bound.
SLACK = 1.25
# The standard deviation, in tones, of the smooth part of h.
# Values that the densities are read off; of a larger picture every second pixel counts, every third, and so on.
MANY = 2_000_000
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
    coupled: bool = True,
) -> Verdict:
    """The verdict on every value of ``y`` from its unseen prediction; all (C, H, W), in [0, 1].

    before: the probabilities of the verdict before this one, which weigh what is around; None in the first.
    known: bool, values known to be bad are False and count for nothing; None: all count. generator: of the decoys.
    late: whether predictions are good enough for the nearest errors to tell of σ; coupled: and those of the other channels.
    """
    weight = torch.ones_like(y) if before is None else 1 - before
    if known is not None:
        weight = weight * known
    error = (y - predicted).abs()
    scale = _scale(error, weight, late, coupled)
    counted = torch.ones_like(y, dtype=torch.bool) if known is None else known
    tone = (y * (TONES - 1)).round().long()
    every = max(1, y[0].numel() * len(y) // MANY)

    def some(values: Tensor) -> Tensor:
        return values.flatten(1)[:, ::every]

    some_error, some_scale, some_tone, some_counted = map(some, (error, scale, tone, counted))
    some_predicted, probability = some(predicted), None if before is None else some(before)
    observed = shares_of(some_error[some_counted] / some_scale[some_counted])
    share, tones = 0.0, torch.zeros(len(y), TONES, dtype=torch.bool, device=y.device)
    density = torch.empty(len(y), TONES, dtype=torch.float64, device=y.device)
    clean_density = torch.ones(BINS, device=y.device)

    def damaged(error: Tensor, scale: Tensor, tone: Tensor, counted: Tensor) -> Tensor:
        clean = (1 - share) * clean_density[bins_of(error / scale)] / (2 * scale)
        damage = share * TONES * density.gather(1, tone.flatten(1)).view_as(tone)
        judged = _no_more_than(SLACK * share, (damage / (damage + clean)).to(y.dtype), counted)
        return judged if known is None else torch.where(counted, judged, 1.0)

    for _ in range(ROUNDS):
        for channel in range(len(y)):
            here = some_counted[channel]
            density[channel], tones[channel] = _tone_density(
                some_tone[channel][here],
                some_predicted[channel][here],
                some_error[channel][here],
                None if probability is None else probability[channel][here],
            )
        decoys = _decoys(density, some_tone.shape, generator)
        expected = shares_of((decoys - some_predicted).abs()[some_counted] / some_scale[some_counted])
        share = _share(observed, expected, int(some_counted.sum()))
        clean_density = falling_density(observed - share * expected)
        probability = damaged(some_error, some_scale, some_tone, some_counted)
    return Verdict(damaged(error, scale, tone, counted), share, tones)


def _scale(error: Tensor, weight: Tensor, late: bool, coupled: bool) -> Tensor:
    """σ of each value from the errors of others: in 9x9 around, and ``late`` also next to it and in its other channels."""
    error = error.clamp(max=LOUD)
    wide = _around(error * weight, 9) / _around(weight, 9).clamp(min=0.02)
    if late:
        near = _around(error * weight, 3) / _around(weight, 3).clamp(min=0.1)
        wide = (wide + near) / 2
        if coupled and len(error) > 1:
            own = error * weight
            others = (own.sum(0) - own + 0.5 * wide) / (weight.sum(0) - weight + 0.5)
            wide = 0.7 * wide + 0.3 * others
    # Float errors would make roots of tiny negative numbers.
    return (wide.clamp(min=0) + FAINT) ** (1.0 if late else SCALE_POWER)


def _tone_density(tone: Tensor, predicted: Tensor, error: Tensor, probability: Tensor | None) -> tuple[Tensor, Tensor]:
    """h of one channel, and which tones stand out: (TONES,) each. The arguments are flat.

    Doubtless outliers of a tone are counted in proportion to how many places it is FAR from the prediction of, for
    elsewhere they would not be doubtless.
    """
    device = tone.device
    if probability is None:
        own = torch.bincount(tone, minlength=TONES).double()
        return 0.5 * own / own.sum().clamp(min=1) + 0.5 / TONES, torch.zeros(TONES, dtype=torch.bool, device=device)
    far = error > FAR
    count = torch.bincount(tone[far], weights=probability[far].double(), minlength=TONES).double()
    places = torch.bincount((predicted * (TONES - 1)).round().long(), minlength=TONES).double().cumsum(0)
    places = nn.functional.pad(places / places[-1].clamp(min=1), (1, 0))
    every = torch.arange(TONES, device=device)
    reach = int(FAR * (TONES - 1))
    seen = 1 - (places[(every + reach + 1).clamp(max=TONES)] - places[(every - reach).clamp(min=0)])
    rate = count / seen.clamp(min=0.05)
    stands_out = torch.zeros(TONES, dtype=torch.bool, device=device)
    for _ in range(3):
        usual = _smoothed(torch.where(stands_out, 0.0, count)) / _smoothed((~stands_out).double()).clamp(min=1e-3)
        stands_out = count > 8 + STANDS_OUT * usual
    even = (1 + 0.02 * float(count.sum())) / TONES  # as if so many more had been of any tone
    smooth = _smoothed(torch.where(stands_out, 0.0, rate)) / _smoothed((~stands_out).double()).clamp(min=1e-3) + even
    density = torch.where(stands_out, rate, smooth)
    return density / density.sum(), stands_out


def _smoothed(values: Tensor) -> Tensor:
    reach = int(2.5 * SMOOTH)
    taps = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-((taps / SMOOTH) ** 2) / 2)
    return nn.functional.conv1d(values[None, None], (kernel / kernel.sum())[None, None], padding=reach)[0, 0]


def _decoys(density: Tensor, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """(C, H, W): tones drawn from h, by the inverse of its distribution. Drawn on the CPU: a seed is a seed anywhere."""
    uniform = torch.rand(shape, generator=generator, dtype=torch.float32).to(density.device)
    rows = [
        torch.searchsorted(h.cumsum(0).float().contiguous(), u.contiguous()) for h, u in zip(density, uniform, strict=True)
    ]
    return torch.stack(rows).clamp(max=TONES - 1).float() / (TONES - 1)


def _no_more_than(share: float, probability: Tensor, counted: Tensor) -> Tensor:
    """``probability``, but below one half for all but the surest values, no more than their share of all.

    In print and charts, whose whole values have a few tones themselves, tones would vouch for one another's damage.
    """
    values = probability[counted]
    most = int(share * values.numel())
    if most == 0 or not values.numel():
        return probability.clamp(max=UNSURE)
    if most >= values.numel():
        return probability
    bound = values.kthvalue(values.numel() - most).values
    return torch.where(probability > bound, probability, probability.clamp(max=UNSURE))


def bins_of(ratio: Tensor) -> Tensor:
    position = (ratio.clamp(min=1e-6).log() - math.log(LEAST)) * (BINS / math.log(MOST / LEAST))
    return position.long().clamp(0, BINS - 1)


def shares_of(ratio: Tensor) -> Tensor:
    """(BINS,): the share of the ratios e/σ in each bin."""
    counts = torch.bincount(bins_of(ratio).flatten(), minlength=BINS).double()
    return counts / counts.sum().clamp(min=1)


def _share(observed: Tensor, expected: Tensor, count: int) -> float:
    """π: no more damage than the tail of the observed errors has room for, wherever the tail is cut off; 0 where fewer
    than :data:`FEW` of the ``count`` values are as far off as half of the decoys."""
    beyond, decoys = (shares.flip(0).cumsum(0).flip(0) for shares in (observed, expected))
    cuts = (decoys > TAIL[0]) & (decoys <= TAIL[1])
    if not cuts.any():
        cuts = decoys > TAIL[0] / 2
    half = int((decoys >= 0.5).nonzero().max())
    if float(beyond[half]) * count < FEW - 0.5:
        return 0.0
    return min(0.98, float((beyond / decoys)[cuts].min()))


def falling_density(mass: Tensor) -> Tensor:
    """f by bin, (BINS,): the density that fits ``mass`` best and falls from 0 on."""
    edges = torch.logspace(math.log10(LEAST), math.log10(MOST), BINS + 1, dtype=torch.float64)
    widths = edges.diff().tolist()
    pooled: list[list[float]] = []  # mass, width, bins
    for value, width in zip(mass.clamp(min=0).tolist(), widths, strict=True):
        pooled.append([value, width, 1])
        while len(pooled) > 1 and pooled[-2][0] / pooled[-2][1] <= pooled[-1][0] / pooled[-1][1]:
            last = pooled.pop()
            pooled[-1] = [one + other for one, other in zip(pooled[-1], last, strict=True)]
    density = torch.tensor([value / width for value, width, count in pooled for _ in range(int(count))])
    total = float((density * torch.tensor(widths)).sum())
    return (density / max(total, 1e-12)).clamp(min=1e-7).to(mass.device, torch.float32)


def _around(values: Tensor, side: int) -> Tensor:
    """(C, H, W): the mean of the square of that side around each value, its own left out."""
    mean = nn.functional.avg_pool2d(values[None], side, 1, side // 2, count_include_pad=False)[0]
    ones = torch.ones(1, 1, *values.shape[1:], device=values.device)
    count = (nn.functional.avg_pool2d(ones, side, 1, side // 2) * side**2).round()[0]
    return (mean * count - values) / (count - 1).clamp(min=1)
