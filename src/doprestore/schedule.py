"""The clock of the outliers: how fast g and h move against θ, by the size of the picture and over the steps."""

from __future__ import annotations

import math

from doprestore.settings import REFERENCE_ALPHA, REFERENCE_SIDE, ImageSettings

FAST_CLOCK = 100.0  # how many published steps of g and h the first step of the fast preset makes
# The fast preset's clock runs down as c / (1 + Q/CLOCK_FADE), Q being the sum of c over the steps so far, and
# stops at SEARCH: there a value off by ln(2e9)/(2·SEARCH) = 0.18 throughout has become an outlier.
CLOCK_FADE = 47.0
SEARCH = 60.0
SEARCH_SHARE = 0.45  # of the steps, at most
HURRY = 3.0  # at most so much faster to keep to that share
LATE = 150.0  # the sum of c over the steps after the search


def outlier_rate(settings: ImageSettings, height: int, width: int) -> float:
    """c: how far the first step with residual r moves log g and log h, g ← g·(1 − c·r).

    The published code, at 512x512x3, has c = 4·α/(3·512²). At other sizes c ∝ 1/sqrt(H·W), whatever
    the number of channels, so that the α of the published convention is 500·sqrt(H·W)/512: the rule
    α = sqrt(n) of an n x n matrix. The fast preset takes the same flow in steps FAST_CLOCK times as
    large, and up to HURRY times larger where its search would take more than SEARCH_SHARE of the steps.
    """
    published = 4 * settings.alpha / (3 * REFERENCE_SIDE**2) * REFERENCE_SIDE / math.sqrt(height * width)
    if settings.is_paper:
        return published
    in_time = _search_length() / (SEARCH_SHARE * settings.steps) * settings.alpha / REFERENCE_ALPHA
    return FAST_CLOCK * published * min(max(1.0, in_time / (FAST_CLOCK * published)), HURRY)


def search_steps(settings: ImageSettings, height: int, width: int) -> int:
    """The steps of the fast preset's search: until the sum of c, at alpha = 500, comes to SEARCH."""
    rate = outlier_rate(settings, height, width) * REFERENCE_ALPHA / settings.alpha
    return max(1, min(round(_search_length() / rate), round(SEARCH_SHARE * settings.steps)))


def _search_length() -> float:
    """c·n at which the sum of c / (1 + c·n/CLOCK_FADE) over n steps is SEARCH."""
    return CLOCK_FADE * math.expm1(SEARCH / CLOCK_FADE)
