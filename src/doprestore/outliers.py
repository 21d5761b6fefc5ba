"""s = g∘g − h∘h: the over-parameterized sparse outliers, and their discrepant-rate step.

This is the idea of the paper (You, Zhu, Qu, Ma, NeurIPS 2020): started near zero and driven at a
rate alpha times that of the picture or matrix, the pair (g, h) is implicitly biased to a sparse s, as if
‖s‖_1 / alpha had been added to the objective, eq. (8). Images and matrices share it.

Two forms of the same flow, with the same two methods:

* :class:`OutlierPair`: g and h themselves, stepped as in eq. (6) and (10);
* :class:`MirrorOutliers`: the closed form in the limit of small steps. Along the flow
  g = γ exp(−Q), h = γ exp(Q) with Q = ∫ rate · r dt, so s = g∘g − h∘h = −2 γ² sinh(2Q): one
  array, no instability at large steps, and γ may be as small as one likes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class OutlierPair:
    """g and h, each of the shape of the data, stepped by plain gradient descent."""

    def __init__(self, g: Tensor, h: Tensor):
        self.g = g
        self.h = h

    @classmethod
    def normal(cls, like: Tensor, scale: float, generator: torch.Generator, *, equal: bool = False) -> OutlierPair:
        """g and h ~ N(0, scale²), each by itself (``equal``: h = g, as in section 4.1).

        Drawn on the CPU, so that a seed gives the same numbers on every device.
        """
        g = (torch.randn(like.shape, generator=generator, dtype=like.dtype) * scale).to(like.device)
        h = g.clone() if equal else (torch.randn(like.shape, generator=generator, dtype=like.dtype) * scale).to(like.device)
        return cls(g, h)

    def value(self) -> Tensor:
        """s = g∘g − h∘h."""
        return self.g * self.g - self.h * self.h

    def step_(self, residual: Tensor, rate: float | Tensor) -> None:
        """One step of eq. (6): g ← g − rate · r∘g, h ← h + rate · r∘h.

        ``residual`` is r = x + s − y, x being the picture or matrix, and ``rate`` is alpha·tau.
        """
        self.g -= rate * residual * self.g
        self.h += rate * residual * self.h

    def state_dict(self) -> dict[str, Tensor]:
        return {"g": self.g, "h": self.h}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.g.copy_(state["g"])
        self.h.copy_(state["h"])


class MirrorOutliers:
    """The closed form s = −2 γ² sinh(2Q), Q the accumulated residual times the rate."""

    def __init__(self, q: Tensor, gamma: float):
        self.q = q
        self.gamma = gamma
        # sinh overflows float32 beyond 88, and no outlier needs that much: |s| <= 2e6 at this bound.
        self._bound = 0.5 * math.log(2e6 / gamma**2)

    @classmethod
    def zeros(cls, like: Tensor, gamma: float) -> MirrorOutliers:
        """s = 0, g = h = ``gamma`` everywhere."""
        return cls(torch.zeros_like(like), gamma)

    def value(self) -> Tensor:
        """s = g∘g − h∘h = −2 γ² sinh(2Q)."""
        growth = torch.exp(2 * self.q)  # torch's sinh is ten times as slow on a CPU
        return (growth.reciprocal() - growth).mul_(self.gamma**2)

    def step_(self, residual: Tensor, rate: float | Tensor) -> None:
        """Q ← Q + rate · r: eq. (6) integrated exactly for a residual that is constant over the step."""
        self.q.add_(residual * rate).clamp_(-self._bound, self._bound)

    def state_dict(self) -> dict[str, Tensor]:
        return {"q": self.q}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.q.copy_(state["q"])
