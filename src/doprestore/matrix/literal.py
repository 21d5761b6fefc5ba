"""The paper preset of :func:`doprestore.rpca`: the literal eq. (6) behind the interface of the fast solver."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from doprestore.matrix.descent import Descent
from doprestore.matrix.linalg import guess_rank
from doprestore.matrix.operators import EntryMask, Identity, Operator
from doprestore.matrix.settings import MatrixSettings
from doprestore.matrix.split import Split

# The relative residual ‖y − X − s‖_F / ‖y‖_F that counts as converged; small entries of s converge like 1/t only.
CONVERGED = 1e-2


class DescentMachine:
    """See :class:`doprestore.matrix.solver.FastSolver` for what it has to offer."""

    solution = stage = "descent"
    done = False  # it makes its steps, whatever they bring

    def __init__(self, y: Tensor, known: Tensor | None, alpha: float, settings: MatrixSettings):
        self.y = y
        tau, init = settings.tau, settings.init
        assert tau is not None and init is not None  # the paper preset has both
        operator: Operator = Identity() if known is None else EntryMask(known)
        self.descent = Descent.start(operator, y, (y.shape[0], y.shape[1]), alpha=alpha, tau=tau, init=init,
                                     rank_bound=settings.rank_bound, symmetric=settings.symmetric,
                                     seed=settings.seed)  # fmt: skip

    @property
    def steps(self) -> int:
        return self.descent.steps

    @property
    def converged(self) -> bool:
        return self.residual() <= CONVERGED

    def step(self) -> None:
        self.descent.step()

    def residual(self) -> float:
        return 2 * math.sqrt(self.descent.loss.item()) / float(torch.linalg.vector_norm(self.y))

    def split(self) -> Split:
        low_rank, sparse = self.descent.low_rank(), self.descent.outliers.value()
        rest = self.descent.operator.apply(low_rank) + sparse - self.y
        # g∘g − h∘h is never exactly 0: what is below a thousandth of the typical entry is none.
        typical = torch.linalg.vector_norm(self.y).item() / math.sqrt(self.y.numel())
        sparse[sparse.abs() < 1e-3 * typical] = 0
        rank = guess_rank(torch.linalg.svdvals(low_rank), 1e-3)
        return Split(low_rank, sparse, rank, torch.linalg.vector_norm(rest).item())

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, **self.descent.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.descent.load_state_dict(state, state["steps"])
