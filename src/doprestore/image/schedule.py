"""The clock of the outliers: how fast g and h move against θ, by the size of the picture and the step; and θ's brake."""

from __future__ import annotations

import math

from doprestore.image.settings import PRESETS, REFERENCE_ALPHA, REFERENCE_SIDE, ImageSettings

INPUT_NOISE = 1 / 30  # standard deviation of the noise that the paper's pipeline adds to φ's input at every step
FAST_CLOCK = 82.0  # how many published steps of g and h the first step of a search makes
# In a search the clock runs down as c / (1 + Q/CLOCK_FADE), Q being the sum of c over its steps so far, and
# stops at SEARCH: there a value off by ln(2e9)/(2·SEARCH) = 0.18 throughout has become an outlier.
CLOCK_FADE = 47.0
SEARCH = 60.0
SEARCHES = 2
SEARCH_SHARE = 0.5  # of the steps, at most, for all searches together
HURRY = 3.7  # at most so much faster to keep to that share
# The first search is made twice where the three fit into so much of the steps, hurried by no more than that.
TWICE_SHARE, TWICE_HURRY = 0.6, 1.15
# The last fit's clock rises from zero to so many times the rate a search begins with: the more outliers there are, the
# likelier it is that a value which the fit has trouble with is one.
RISE, RISE_BY_SHARE = 1.4, 2.0
LATE = 400.0  # and comes to this sum at most, in longer runs than usual to more, or θ would overtake it

FIT = 400  # steps are all that the fit makes, or half of more than 800, where levels that outliers share say it all

MANY = 0.1  # of the values left out after the searches, and the fit is made twice,
VERY_MANY = 0.2  # and so many, by the robust objective

# Where the first search has found less than HEAVY of the values, and these do not stand together, the second goes at
# this pace, by the share that the first has found: the fewer the outliers, the longer the details may take.
HEAVY = 0.38
PACE, PACE_BY_SHARE = 0.6, 1.0

# The noise on the network's input in the last fit: so much for every unit of roughness beyond SMOOTH, see last_noise.
SMOOTH, NOISE_BY_ROUGHNESS = 0.065, 0.25
LIGHT = 0.5  # so much of it where levels that outliers share say it all: only what lies between is made up


class Clock:
    """The rate of g and h at every step, and the steps at which a search for outliers ends.

    The published code gives every step the same rate. At 512x512x3 that is c = 4·α/(3·512²), where c says how far a
    step with residual r moves log g and log h, g ← g·(1 − c·r). At other sizes c ∝ 1/sqrt(H·W), whatever the number
    of channels, so that the α of the published convention is 500·sqrt(H·W)/512: the rule α = sqrt(n) of an n x n
    matrix. So goes the paper preset.

    The fast preset searches for outliers SEARCHES times, each time with a fresh network that no longer sees what the
    searches before have found, in the same flow but steps FAST_CLOCK times as large; more, up to HURRY times, where
    the searches would take more than SEARCH_SHARE of the steps. Where there is time for one search more, as on small
    pictures and in longer runs, the first is made twice, so that what only one has found is spared. What it is then
    left with it fits once more, the clock rising from zero: at first θ knows no detail yet, at last it would learn what
    the searches have missed.

    found: the share of the values that the searches have called outliers, to be set when they have; the last rates
        follow it.
    searches: how many there are, each of ``search_steps``. fits: how many follow them, each with its share of the steps
        that are left.
    robust: whether θ descends the robust objective from here on.
    singly: whether s leaves to θ what all channels of a pixel are off by.
    """

    _CHANGED = {"found": float, "pace": float, "searches": int, "search_steps": int, "fits": int} | dict.fromkeys(
        ("robust", "singly"), bool
    )

    def __init__(self, settings: ImageSettings, height: int, width: int):
        self._settings = settings
        self._share = settings.alpha / REFERENCE_ALPHA
        self.found = 0.0
        self.pace = 1.0
        self.searches = 0
        self.fits = 1
        self.robust = False
        self.singly = False
        published = 4 * REFERENCE_ALPHA / (3 * REFERENCE_SIDE * math.sqrt(height * width))
        if settings.is_paper:
            self._base = published
            self.search_steps = 0
            return
        length = CLOCK_FADE * math.expm1(SEARCH / CLOCK_FADE)  # c·n at which the sum of c over n steps is SEARCH
        natural = FAST_CLOCK * published
        longest = TWICE_SHARE * settings.steps / (SEARCHES + 1)
        self.searches = SEARCHES + 1
        if length / natural > TWICE_HURRY * longest:
            longest = SEARCH_SHARE * settings.steps / SEARCHES
            self.searches = SEARCHES
        self._base = natural * min(max(1.0, length / (longest * natural)), HURRY)
        self.search_steps = max(1, min(round(length / self._base), round(longest)))

    def slow_down(self, pace: float) -> None:
        """Make the second search, which is then the last, at this pace; see :func:`light_pace`."""
        self.pace, self.searches = pace, SEARCHES

    def end_searches(self, step: int) -> int:
        """Make the first search, which ends when ``step`` steps have been made, the last. Returns the step to go on from:
        those between are skipped."""
        self.searches, self.search_steps = 1, max(step, self._settings.steps - max(FIT, self._settings.steps // 2))
        return self.search_steps

    def is_halfway(self, step: int) -> bool:
        """Whether the first search is half over when ``step`` steps have been made."""
        return self.searches > 0 and step == max(1, self.search_steps // 2)

    def ends_first_of_two_fits(self, step: int) -> bool:
        """Whether a second fit begins when ``step`` steps have been made."""
        return self.fits == 2 and step == self._second_fit()

    def _second_fit(self) -> int:
        """The step at which the second fit begins, or the run ends."""
        searches, steps = self.searches * self.search_steps, self._settings.steps
        return searches + (steps - searches) // 2 if self.fits == 2 else steps

    def state_dict(self) -> dict[str, float]:
        """What the searches have changed, for :meth:`load_state_dict`."""
        return {name: getattr(self, name) for name in self._CHANGED}

    def load_state_dict(self, state: dict[str, float]) -> None:
        for name, kind in self._CHANGED.items():
            setattr(self, name, kind(state[name]))

    def ends_search(self, step: int) -> bool:
        """Whether a search ends when ``step`` steps have been made."""
        return 0 < step <= self.searches * self.search_steps and step % self.search_steps == 0

    def rate(self, step: int) -> float:
        """c for the step after ``step`` steps."""
        if self._settings.is_paper:
            return self._base * self._share
        begin = self.searches * self.search_steps
        if step < begin:
            pace = 1.0 if step < self.search_steps else self.pace
            return pace * self._share * self._base / (1 + self._base * (step % self.search_steps) / CLOCK_FADE)
        end = self._second_fit()
        if self.fits == 2 and step >= end:
            begin, end = end, self._settings.steps
        late, steps = step - begin, end - begin
        rise = RISE + RISE_BY_SHARE * self.found
        most = LATE * max(1.0, self._settings.steps / PRESETS["fast"].steps)
        return self._share * min(rise * self._base * late / steps, 2 * most * late / steps**2)


def light_pace(share: float) -> float:
    """The pace of a second search where the first has found this share of outliers, each by itself."""
    return min(1.0, PACE + PACE_BY_SHARE * share)


def last_noise(unexplained: float, kept: float, channels: int) -> float:
    """The standard deviation of the noise on φ's input in the last fit, at most the paper's.

    unexplained: root mean square of what the search before leaves of the values kept; kept: their share of all values.
    The more that is, and the fewer values there are to go by, the likelier that φ learns from outliers, or makes up
    what lies between: the noise is the brake on that. Where nearly all is known, it only costs detail.
    """
    roughness = unexplained / (kept * math.sqrt(channels / 3)) if kept else math.inf
    return min(INPUT_NOISE, max(0.0, NOISE_BY_ROUGHNESS * (roughness - SMOOTH)))


class StoppedClock:
    """For fits without outliers: g and h never leave their start, s = 0, and there is nothing to search for."""

    robust = singly = False

    def ends_first_of_two_fits(self, step: int) -> bool:
        return False

    def is_halfway(self, step: int) -> bool:
        return False

    def ends_search(self, step: int) -> bool:
        return False

    def rate(self, step: int) -> float:
        return 0.0

    def state_dict(self) -> dict[str, float]:
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        pass
