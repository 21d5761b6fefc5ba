"""Dead and shifted lines: a row or column, or a long part of one, that has nothing to do with the rows on both its sides.

Two things give it away, neither of which a line of the picture does. A *dead* line has one tone, to the last bit, where
the lines on both sides vary; what its values are off by, over what is usual around, adds up to a score. A *shifted* line
lies on one and the same side of both its neighbours for more than half of its length, and these know nothing of it, where
a line that a lens has drawn, or a pen, reaches into them.

Where the picture is flat, as paper is, a drawn line looks the same as a dead one: only places where both neighbours
vary count, and print, charts and drawings are left alone. What is found here is shown to no prediction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from doprestore.image.scale import AROUND, FAINT, LOUD, REACH
from doprestore.image.verdict import TONES, bins_of, falling_density, shares_of, tones_of

# A neighbour varies where its values in a stretch of VARYING pixels differ by more than one of 256 tones [VARYING 9: +0.5
# dB, precision +0.017; 3: alike; tests/benchmarks/image_constants.py, here and below].
VARYING, TONE = 5, 1.5 / 255
# A tone that more than this share of a channel has is paper, on which lines are drawn: at most 0.13 in photographs, 0.24 and
# more in charts and drawings, noise and JPEG or not [0.1 to 0.4: alike].
PAPER = 0.2
# A shifted line stands out so many times as far as four fifths of the lines do, by the median of what each is off by: in a
# barcode, say, every other line does. Most lines of photographs are off by 0.006 at most [6: -0.3 dB, recall -0.018; 1.5:
# alike].
OUTDOES = 3.0
# Log odds beyond these are not believed of a single pixel [3: -3.4 dB, recall -0.024; 12: +0.5 dB, precision +0.017].
LOG_ODDS = 6.0
# The log odds of a dead line, at least: parts of 25 pixels have 70 to 150, whole photographs at most 82 [50: +0.5 dB,
# precision +0.017; 200: -4.7 dB, recall -0.042].
DEAD = 100.0
# So many lines that cross a dead one side by side are looked beyond for the rest of it [0 to 6: alike where none cross].
CROSSING = 3
# The least shift of a line, of 1: whole photographs have no line above 0.012 that their neighbours know nothing of [0.015 to
# 0.06: alike].
SHIFT = 0.03
# On so much of its length a shifted line has at least half of its shift: 0.7 to 1, where its values are not clipped [0.325
# to 0.825: alike].
STEADY = 0.65
# What its neighbours show of a shifted line is no more than this share of its shift [0.165: -0.2 dB, recall -0.028; 0.66:
# alike].
LEAK = 0.33
# Pictures with fewer pixels a side are not judged: their lines are too short to be told from details.
LEAST_SIDE = 32
# Edge lines that are not judged: scans and test pictures have defective ones of their own [1 to 4: alike].
EDGE = 2
# More lines than this share of them are the picture's own, such as blinds or rules; and no line goes by one of which more is
# hidden [0.075 to 0.3: alike].
MANY = 0.15
# The same of shifted lines, of which a grid may have as many [0.025 to 0.1: alike].
MANY_SHIFTED = 0.05
# Rounds of looking, each without the lines that are found already: the neighbours of a dead line look like lines, too [1 to
# 6: alike].
ROUNDS = 3
# Lines that are judged at a time, which bounds the memory, and lines that tell what errors are usual.
AT_A_TIME, ENOUGH = 256, 512


@dataclass
class _Compared:
    """Some rows of a channel and what is around them, (R, W) each."""

    line: Tensor
    above: Tensor  # the neighbours
    below: Tensor
    scale: Tensor  # errors that are usual around, of rows that are predicted without this one
    beyond: tuple[Tensor, Tensor]  # the rows beyond the neighbours

    @cached_property
    def error(self) -> Tensor:
        return self.line - (self.above + self.below) / 2

    @cached_property
    def varied(self) -> Tensor:
        """bool: where both neighbours vary."""
        return (_range(self.above) > TONE) & (_range(self.below) > TONE)

    @cached_property
    def outside(self) -> Tensor:
        """How far the row is outside of what its neighbours span; 0 where it is not."""
        upper, lower = self.line - self.above, self.line - self.below
        nearer = torch.where(upper.abs() < lower.abs(), upper, lower)
        return torch.where(upper * lower > 0, nearer, 0.0)

    @property
    def leaks(self) -> tuple[Tensor, Tensor]:
        """What the neighbours are off by from what the rows beyond them and on the other side say: two thirds of the nearer
        one, a third of the farther."""
        up, down = self.beyond
        return self.above - (self.below + 2 * up) / 3, self.below - (self.above + 2 * down) / 3


@dataclass(frozen=True)
class _Lines:
    """What stands out among the rows of a channel: parts of one tone (row, start, stop: (N, 3)) with their scores, (N,),
    and rows that are shifted, (H,) bool."""

    parts: Tensor
    scores: Tensor
    shifted: Tensor


def find_lines(y: Tensor, known: Tensor) -> Tensor:
    """(C, H, W) bool: values of dead and shifted lines.

    y: the picture in [0, 1]. known: bool, like y, False where it is known to be bad.
    """
    found = torch.zeros_like(known)
    if min(y.shape[1:]) < LEAST_SIDE:
        return found
    for _ in range(ROUNDS):
        hidden = found | ~known
        new = torch.zeros_like(found)
        for channel in range(len(y)):
            rows, columns = _find(y[channel], hidden[channel]), _find(y[channel].T.contiguous(), hidden[channel].T)
            _mark(new, y, channel, rows, columns)
            _mark(new.mT, y.mT, channel, columns, rows)
        # What most channels have at a place, all have: the tone of a dead line may be close to the picture in one.
        new = (new | (2 * new.sum(0, keepdim=True) > len(y))) & ~hidden
        if not new.any():
            break
        found |= new
    return found


def _mark(marked: Tensor, y: Tensor, channel: int, lines: _Lines, across: _Lines) -> None:
    """Mark what is damaged of the ``lines`` of a channel in (C, H, W) bool. across: what stands out in the other direction.

    Drawings and screens have thin lines in both directions, of about the same length: dead lines must stand out twice as
    much, except from edge to edge. Where others cross one, the rest of it is known by its tone. And in other channels, which
    may be too flat there to be judged, it is known by its two ends.
    """
    bar = max([DEAD, *(2 * across.scores).tolist()])
    whole = lines.parts[:, 2] - lines.parts[:, 1] == marked.shape[2]
    parts = lines.parts[(lines.scores >= bar) | (whole & (lines.scores >= DEAD))].tolist()
    if len({row for row, _, _ in parts}) <= MANY * len(marked[0]):
        for row, start, stop in parts:
            marked[channel, row] |= _continued(y[channel, row] == y[channel, row, start], start, stop)
            marked[_of_same_extent(y[:, row], start, stop), row, start:stop] = True
    if float(lines.shifted.float().mean()) <= MANY_SHIFTED:
        marked[channel, lines.shifted] = True


def _continued(toned: Tensor, start: int, stop: int) -> Tensor:
    """(W,) bool: what of ``toned``, (W,) bool, continues the part from ``start`` to ``stop`` beyond lines that cross it."""
    values = toned.tolist()
    for column in range(stop, len(values)):
        stop = column + 1 if values[column] and column - stop <= CROSSING else stop
    for column in range(start - 1, -1, -1):
        start = column if values[column] and start - column - 1 <= CROSSING else start
    rest = torch.zeros_like(toned)
    rest[start:stop] = toned[start:stop]
    return rest


def _of_same_extent(lines: Tensor, start: int, stop: int) -> Tensor:
    """(C,) bool: in which of ``lines``, (C, W), a part of one tone begins and ends there."""
    tone = lines[:, start]
    same = (lines[:, start:stop] == tone[:, None]).all(1)
    for outside in (start - 1, stop):
        if 0 <= outside < lines.shape[1]:
            same &= lines[:, outside] != tone
    return same


def _find(y: Tensor, hidden: Tensor) -> _Lines:
    """Of one channel, (H, W)."""
    whole = hidden.float().mean(1) <= MANY
    various, tone = ~_has_one_tone(y), tones_of(y)
    # Two dead lines side by side would each be the other's neighbour.
    above, below = _neighbours(whole & various)
    candidates = torch.arange(len(y), device=y.device)[EDGE:-EDGE][whole[EDGE:-EDGE]]
    some = candidates[:: max(1, len(candidates) // ENOUGH)]
    errors = (y - (y[above] + y[below]) / 2).abs().clamp(max=LOUD)
    sample = _compared(y, errors, above, below, some)
    parts, scores = [some.new_empty(0, 3)], [y.new_empty(0)]
    shifts, usual = torch.zeros(2, len(y), device=y.device)
    commonest = int(torch.bincount(tone.flatten(), minlength=TONES).max())
    if not sample.varied.any() or commonest > PAPER * tone.numel():
        return _Lines(parts[0], scores[0], shifts > 0)
    density = falling_density(shares_of(bins_of((sample.error.abs() / sample.scale)[sample.varied])))
    for rows in candidates.split(AT_A_TIME):
        compared = _compared(y, errors, above, below, rows)
        part, score = _of_one_tone(rows, compared, density)
        parts.append(part)
        scores.append(score)
        toned = torch.zeros_like(hidden)
        for row, start, stop in part.tolist():
            toned[row, start:stop] = True
        shifts[rows] = _shifts(compared, toned[rows])
        usual[rows] = _median(compared.error, compared.varied).abs()
    least = max(SHIFT, OUTDOES * float(usual[candidates].quantile(0.8)))
    found, score = torch.cat(parts), torch.cat(scores)
    sure = ~_are_clipped(found, tone, various)
    return _Lines(found[sure], score[sure], shifts >= least)


def _are_clipped(parts: Tensor, tone: Tensor, various: Tensor) -> Tensor:
    """(N,) bool: which parts are clipped light, black or white as the picture is elsewhere, and no dead line.

    Those of rows of which less than half is such parts, where less than half of the values at that tone are in them. Rows of
    one tone do not count, nor columns that are mostly at it: lines that cross. parts: (N, 3). tone: (H, W). various: (H,)
    bool, which rows have several tones.
    """
    row, start, stop = parts.T
    own = tone[row, start]
    clipped = torch.zeros_like(row, dtype=torch.bool)
    for extreme in (0, TONES - 1):
        of_row = torch.zeros_like(tone[:, 0]).index_add_(0, row, (stop - start) * (own == extreme))
        at = (own == extreme) & (2 * of_row[row] < tone.shape[1])
        extremes = tone == extreme
        extremes = extremes & (2 * extremes.sum(0) <= len(tone))
        before = nn.functional.pad(extremes.cumsum(1), (1, 0))  # how many are before each place of a row
        inside = before[row[at], stop[at]] - before[row[at], start[at]]
        clipped |= at & (2 * inside.sum() < extremes[various].sum())
    return clipped


def _neighbours(whole: Tensor) -> tuple[Tensor, Tensor]:
    """(H,) each: the nearest row above and below each that is ``whole``, itself where there is none."""
    rows = torch.arange(len(whole), device=whole.device)
    last = torch.where(whole, rows, -1).cummax(0).values
    next_ = torch.where(whole, rows, len(whole)).flip(0).cummin(0).values.flip(0)
    above = nn.functional.pad(last, (1, 0), value=-1)[:-1]
    below = nn.functional.pad(next_, (0, 1), value=len(whole))[1:]
    return torch.where(above < 0, rows, above), torch.where(below >= len(whole), rows, below)


def _has_one_tone(y: Tensor) -> Tensor:
    """(H,) bool: which rows are of one tone for half of their length."""
    change = nn.functional.pad(y[:, 1:] != y[:, :-1], (1, 0), value=True)
    places = torch.arange(y.shape[1], device=y.device)
    since = places - torch.where(change, places, 0).cummax(1).values
    return 2 * since.amax(1) >= y.shape[1]


def _compared(y: Tensor, errors: Tensor, above: Tensor, below: Tensor, rows: Tensor) -> _Compared:
    """y: one channel, (H, W). errors: what values are off by from the mean of both neighbours. above, below: the
    neighbours of each row."""
    up, down = above[rows], below[rows]
    further = above[up], below[down]
    usual = errors[further[0]] + errors[further[1]] + errors[above[further[0]]] + errors[below[further[1]]]
    scale = nn.functional.avg_pool1d(usual[:, None] / 4, AROUND, 1, REACH, count_include_pad=False)[:, 0] + FAINT
    return _Compared(y[rows], y[up], y[down], scale, (y[further[0]], y[further[1]]))


def _range(lines: Tensor) -> Tensor:
    """(R, W): by how much the values in a stretch around each differ."""
    extremes = nn.functional.max_pool1d(torch.stack([lines, -lines], 1), VARYING, 1, VARYING // 2)
    return extremes.sum(1)


def _of_one_tone(rows: Tensor, compared: _Compared, density: Tensor) -> tuple[Tensor, Tensor]:
    """Parts of one tone, (N, 3), and their scores, where these are large: dead lines.

    rows: (R,). density: of errors over their scale.
    """
    line, scale, varied = compared.line, compared.scale, compared.varied
    # The odds that a value has the one tone because it is dead, and not as the picture has it.
    odds = (math.log(255) - (density[bins_of(compared.error.abs() / scale)] / (2 * scale)).log()).clamp(-LOG_ODDS, LOG_ODDS)
    starts = torch.ones_like(varied)
    starts[:, 1:] = line[:, 1:] != line[:, :-1]
    part = starts.flatten().cumsum(0) - 1
    first = starts.flatten().nonzero()[:, 0]
    scores = torch.zeros(len(first), device=line.device).index_add_(0, part, (odds * varied).flatten())
    last = torch.cat([first[1:], first.new_tensor([line.numel()])]) - 1
    width = line.shape[1]
    chosen = scores >= DEAD / 2
    parts = torch.stack([rows[first // width], first % width, last % width + 1], 1)
    return parts[chosen], scores[chosen]


def _shifts(compared: _Compared, toned: Tensor) -> Tensor:
    """(R,): by how much each row is shifted for more than half of its length, 0 where it is not, or by less than SHIFT.

    toned: bool (R, W), parts of one tone, which do not count.
    """
    line, outside = compared.line, compared.outside
    counts = compared.varied & ~toned & (line > 0) & (line < 1)
    shift = _median(outside, counts)
    if not (shift.abs() >= SHIFT).any():
        return torch.zeros_like(shift)
    shifted = compared.error * shift.sign()[:, None] > shift.abs()[:, None] / 2
    steady = (shifted & counts).sum(1) / counts.sum(1).clamp(min=1)
    leak = torch.maximum(*(_median(leaks, counts).abs() for leaks in compared.leaks))
    return torch.where((steady >= STEADY) & (leak <= LEAK * shift.abs()), shift.abs(), 0.0)


def _median(values: Tensor, counts: Tensor) -> Tensor:
    """(R,): the median of each row's values that count, 0 where none do."""
    return torch.where(counts, values, torch.nan).nanmedian(1).values.nan_to_num(0)
