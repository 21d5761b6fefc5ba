"""Details that are taken for damage: they come in company, as damage of single values does not.

Where single values are struck, one tells nothing of another. A highlight or a hair that is missed by the predictions is off
in all channels of a pixel, and beside it, to the same side. So the values that seem damaged are put into classes by how
many others that seem damaged, too, and to the same side, are in the other channels of their pixel and next to them. How
many a class would have by chance is known from decoys, the same map shifted against itself by some pixels, where share,
tones and surroundings are alike: of those that it has beyond that, the least sure ones are details.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from doprestore.image.scale import sums
from doprestore.image.verdict import SLACK

# Decoys are shifted by no less and no more than so many pixels, in so many ways [NEAREST 3 to 12: alike; FARTHEST 12: +0.2
# dB; 48: alike; tests/benchmarks/image_constants.py, here and below].
NEAREST, FARTHEST, SHIFTS = 6, 24, 6
# More company than this beside a value makes no difference [1: +0.1 dB; 6: alike].
COMPANY = 3
# Halvings of the interval in which the odds are looked for.
HALVINGS = 30
# Odds are no less than this to one.
LEAST_LOG_ODDS = -30.0


def without_details(probability: Tensor, error: Tensor, bound: float, generator: torch.Generator) -> Tensor:
    """(C, H, W): the probabilities of damage, less for those that are above ``bound`` in more company than by chance.

    probability: (C, H, W). error: of that shape, how far each value is above its prediction. generator: of the shifts.
    Pictures that are too small to be shifted are returned as they are.
    """
    seem = probability > bound
    reach = min(FARTHEST, min(seem.shape[1:]) // 2)
    if reach <= NEAREST or not seem.any():
        return probability
    sides = tuple((seem & side).to(torch.uint8) for side in (error > 0, error <= 0))
    own = _classes(sides, sides, sides)[seem]
    by_chance = torch.zeros(_most(len(seem)) + 1, dtype=torch.float64, device=seem.device)
    for _ in range(SHIFTS):
        shifts = [_shift(reach, generator) for _ in range(len(seem) + 1)]
        others = tuple(torch.stack([c.roll(by, (0, 1)) for c, by in zip(side, shifts, strict=False)]) for side in sides)
        around = tuple(side.roll(shifts[-1], (1, 2)) for side in sides)
        by_chance += torch.bincount(_classes(sides, others, around)[seem], minlength=len(by_chance)) / SHIFTS
    found = probability[seem].double()
    for company in range(len(by_chance)):
        these = own == company
        # And a standard deviation more. Places where damage is found more easily than elsewhere lie side by side.
        room = float(SLACK * by_chance[company] + by_chance[company].sqrt() + 1)
        if float(found[these].sum()) > room:
            found[these] = _adding_up_to(room, found[these])
    judged = probability.clone()
    judged[seem] = found.to(probability.dtype)
    return judged


def _most(channels: int) -> int:
    """The greatest class."""
    return channels - 1 + COMPANY * channels


def _shift(reach: int, generator: torch.Generator) -> tuple[int, int]:
    while True:
        down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        if max(abs(down), abs(right)) >= NEAREST:
            return down, right


def _classes(sides: tuple[Tensor, ...], others: tuple[Tensor, ...], around: tuple[Tensor, ...]) -> Tensor:
    """(C, H, W) uint8: the company of each value that seems damaged, 0 elsewhere.

    sides: uint8 (C, H, W), 1 where values seem damaged, of those above and below their predictions. others, around: the same
    for those that are looked up in the other channels and next to each value.
    """
    classes = torch.zeros_like(sides[0])
    for side, other, near in zip(sides, others, around, strict=True):
        beside = (sums(near, 3) - near).clamp(max=COMPANY)
        classes += side * (other.sum(0, keepdim=True, dtype=torch.uint8) - other + beside * len(side))
    return classes


def _adding_up_to(room: float, probability: Tensor) -> Tensor:
    """The probabilities with odds so much less, by one factor for all, that they add up to ``room``."""
    log_odds = probability.clamp(1e-6, 1 - 1e-6).logit()
    low, high = LEAST_LOG_ODDS, 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_much = float((log_odds + middle).sigmoid().sum()) > room
        low, high = (low, middle) if too_much else (middle, high)
    return (log_odds + low).sigmoid()


def channel_coupling(lost: Tensor) -> float:
    """How much it is whole pixels that are lost rather than single values: the share of the lost values that have company in
    their pixel, of what chance leaves: 0 as by chance, 1 where none is alone.

    lost: bool (C, H, W). 1 for a grey picture, whatever is lost; else 0 where nothing is.
    """
    if len(lost) == 1 or lost.all():
        return 1.0
    count = lost.sum(0)
    total = int(count.sum())
    if not total:
        return 0.0
    alone = int((count == 1).sum()) / total
    return 1 - alone / (1 - total / lost.numel()) ** (len(lost) - 1)


def surely_coupled(lost: Tensor, least: float) -> bool:
    """Whether the :func:`channel_coupling` of ``lost`` is above ``least`` by two standard deviations of chance."""
    coupling, pixels = channel_coupling(lost), int(lost.sum()) / len(lost)
    return pixels > 0 and coupling - 2 * math.sqrt(max(0.0, coupling * (1 - coupling)) / pixels) > least
