"""Literal gradient descent on eq. (3) with discrepant rates, eq. (6), for any operator A.

    r = A(U Uᵀ) + g∘g − h∘h − y
    U ← U − τ A*(r) U     g ← g − ατ r∘g     h ← h + ατ r∘h

The objective is f = ¼‖r‖², whose gradient in U is ½(A*(r) + A*(r)ᵀ) U: eq. (6) takes A*(r) to be symmetric.
Other matrices are lifted (footnote 3 of the paper), which comes to X = U Vᵀ, U ← U − τ A*(r) V,
V ← V − τ A*(r)ᵀ U.
"""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.matrix.operators import Operator
from doprestore.outliers import MirrorOutliers, OutlierPair


class Descent:
    """U (rows, columns), V the same or None (X = U Uᵀ), and the outliers of y, stepped as in eq. (6)."""

    def __init__(self, operator: Operator, y: Tensor, u: Tensor, v: Tensor | None,
                 outliers: OutlierPair | MirrorOutliers, *, alpha: float, tau: float):  # fmt: skip
        self.operator = operator
        self.y = y
        self.u = u
        self.v = v
        self.outliers = outliers
        self.alpha = alpha
        self.tau = tau
        self.steps = 0
        self.loss = torch.zeros(())

    @classmethod
    def start(cls, operator: Operator, y: Tensor, shape: tuple[int, int], *, alpha: float, tau: float, init: float,
              rank_bound: int | None, symmetric: bool, seed: int) -> Descent:  # fmt: skip
        """The start of section 4.1: U (and V) and g from N(0, init²), h = g. Drawn on the CPU."""
        rows, columns = shape
        rank = min(rows, columns) if rank_bound is None else min(rank_bound, rows, columns)
        generator = torch.Generator().manual_seed(seed)

        def normal(size: int) -> Tensor:
            return (torch.randn((size, rank), generator=generator, dtype=y.dtype) * init).to(y.device)

        u = normal(rows)
        v = None if symmetric else normal(columns)
        return cls(operator, y, u, v, OutlierPair.normal(y, init, generator, equal=True), alpha=alpha, tau=tau)

    def low_rank(self) -> Tensor:
        """X, (rows, columns)."""
        return self.u @ (self.u if self.v is None else self.v).T

    def step(self) -> None:
        """One step of eq. (6)."""
        residual = self.operator.apply(self.low_rank()) + self.outliers.value() - self.y
        back = self.operator.adjoint(residual)
        if self.v is None:
            self.u = self.u - self.tau * ((back + back.T) @ self.u) / 2
        else:
            self.u, self.v = self.u - self.tau * (back @ self.v), self.v - self.tau * (back.T @ self.u)
        self.outliers.step_(residual, self.alpha * self.tau)
        self.loss = residual.square().sum() / 4
        self.steps += 1

    def state_dict(self) -> dict[str, Tensor]:
        state = {"u": self.u, **self.outliers.state_dict()}
        return state if self.v is None else {**state, "v": self.v}

    def load_state_dict(self, state: dict[str, Tensor], steps: int) -> None:
        self.u, self.v = state["u"], state.get("v")
        for name in self.outliers.state_dict():
            setattr(self.outliers, name, state[name])
        self.steps = steps
