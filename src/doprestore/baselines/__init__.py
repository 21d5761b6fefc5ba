"""What to compare with, by name. Imports no torch until a method is loaded: `--help` reads the table.

The methods for pictures take a float tensor (C, H, W) in [0, 1] and return the same; those with ``oracle``
also take the undamaged picture, and are a bound on what their kind can do rather than a usable method. Those
with ``fits`` also take :class:`ImageSettings` and a callback, and run as many steps as the settings say.
The methods for matrices, in :mod:`doprestore.baselines.robust_pca`, are called directly.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class Method(NamedTuple):
    """Where a method is, what it does in a line, and what it takes besides the picture."""

    module: str
    function: str
    text: str
    oracle: bool = False
    fits: bool = False

    def load(self) -> Callable[..., Any]:
        """The function; raises :class:`UsageError` where an optional package that it needs is absent."""
        function: Callable[..., Any] = getattr(import_module(f"doprestore.baselines.{self.module}"), self.function)
        return function


# What this package does itself, beside METHODS.
OURS = "ours"

# What `doprestore compare` and tests/benchmarks/restoration.py can set beside it, by the name that --methods takes.
METHODS = {
    "median": Method("filters", "median", "median of 5x5 windows"),
    "best-median": Method("filters", "best_median", "median of the window that is best here (oracle)", oracle=True),
    "adaptive-median": Method("filters", "adaptive_median", "replace local extremes only (Hwang, Haddad 1995)"),
    "interpolation": Method(
        "interpolation", "interpolate", "interpolate what is at 0 or 255 (knows the noise; needs SciPy)"
    ),
    "tv-l1": Method("tv", "tv_l1", "total variation with l1 data term (Chambolle, Pock 2011)"),
    "best-tv-l1": Method("tv", "best_tv_l1", "the same with the weight that is best here (oracle)", oracle=True),
    "dip": Method("deep_prior", "dip", "deep image prior, stopped at the best step (oracle)", oracle=True, fits=True),
    "dip-l1": Method("deep_prior", "dip_l1", "DIP with l1 loss, stopped at the best step (oracle)", oracle=True, fits=True),
    "known-mask": Method("deep_prior", "known_mask", "our fit, told where damage is (oracle)", oracle=True, fits=True),
}
