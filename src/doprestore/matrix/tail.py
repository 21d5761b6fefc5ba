"""How heavy the tails of a noise are, and from where on a deviation is an outlier rather than a piece of them.

Pure functions of |deviations| in standard deviations of the noise. The law is Student's t, which is Gaussian for infinitely
many degrees of freedom; it is fitted to the deviations up to 3 of them, where there are few outliers, by their likelihood
given that they are no larger (a truncated likelihood). The threshold is that of Benjamini and Hochberg (1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# The law is fitted to deviations of up to so many standard deviations.
LIMIT = 3.0
# Bins up to LIMIT, of a twentieth of a standard deviation each, of the histogram that it is fitted to.
BINS = 60
# Degrees of freedom that are tried.
DEGREES = (math.inf, 30, 15, 10, 7, 5, 4, 3, 2.5, 2)
# Scales, in standard deviations, that are tried.
SCALES = np.linspace(0.6, 1.3, 36)
# What any law but the Gaussian one pays, in units of the log-likelihood.
PENALTY = 6.0
# The share of the flagged entries that are expected to be none.
MISTAKES = 0.05
# Below so many standard deviations nothing is ever flagged: noise and fit are themselves uncertain.
LEAST = 4.0


@dataclass(frozen=True)
class Law:
    """Student's t with that many degrees of freedom, times ``scale`` (about 1, in standard deviations)."""

    degrees: float
    scale: float

    def beyond(self, size: np.ndarray) -> np.ndarray:
        """The probability that |noise| is larger than ``size`` standard deviations."""
        x, beyond, _ = _table(self.degrees)
        probability: np.ndarray = np.interp(np.asarray(size) / self.scale, x, beyond)
        return probability


def fit_law(counts: np.ndarray) -> Law:
    """The law of deviations given as a histogram of equal bins from 0 to LIMIT."""
    middles = (np.arange(len(counts)) + 0.5) * LIMIT / len(counts)
    best, found = -math.inf, Law(math.inf, 1.0)
    for degrees in DEGREES:
        x, beyond, log_density = _table(degrees)
        for scale in SCALES:
            inside = 1 - np.interp(LIMIT / scale, x, beyond)
            logs = np.interp(middles / scale, x, log_density) - math.log(scale * inside)
            score = float(counts @ logs) - (0 if degrees == math.inf else PENALTY)
            if score > best:
                best, found = score, Law(degrees, float(scale))
    return found


def threshold(law: Law, large: np.ndarray, total: int) -> tuple[float, float]:
    """From where on deviations are outliers, and how many of the flagged are expected to be noise.

    large: all deviations above LIMIT, of ``total`` altogether.
    """
    ordered = np.sort(large)[::-1]
    expected = law.beyond(ordered) * total
    good = np.flatnonzero(expected <= MISTAKES * np.arange(1, len(ordered) + 1))
    at = max(float(ordered[good[-1]]) * (1 - 1e-9) if len(good) else math.inf, LEAST)
    return at, float(law.beyond(np.array([at]))[0] * total) if at < math.inf else 0.0


@lru_cache(maxsize=32)
def _table(degrees: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, the probability of larger ones, and the log density of |t| there."""
    x = np.concatenate([np.linspace(0, 10, 4001), np.logspace(1, 6, 4001)[1:]])
    if degrees == math.inf:
        beyond = np.array([math.erfc(value / math.sqrt(2)) for value in x[x < 38]])
        return x, np.concatenate([beyond, np.zeros(len(x) - len(beyond))]), -x * x / 2 - 0.5 * math.log(math.pi / 2)
    norm = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi) + math.log(2)
    log_density = norm - (degrees + 1) / 2 * np.log1p(x * x / degrees)
    pieces = np.diff(x) * (np.exp(log_density[1:]) + np.exp(log_density[:-1])) / 2
    last = math.exp(log_density[-1]) * x[-1] / degrees  # beyond the table a power law
    beyond = np.concatenate([pieces[::-1].cumsum()[::-1], [0.0]]) + last
    return x, beyond / beyond[0], log_density
