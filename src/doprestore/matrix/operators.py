"""The linear measurements y = A(X) + s of eq. (1): each operator has ``apply`` and its ``adjoint``.

All solvers of eq. (3) take one; ⟨A(U), v⟩ = ⟨U, A*(v)⟩ holds for each.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Identity:
    """A(X) = X: every entry is seen (robust PCA)."""

    def apply(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, v: Tensor) -> Tensor:
        return v


class EntryMask:
    """A(X) = X on the known entries and 0 elsewhere (robust matrix completion). ``known``: bool, the shape of X."""

    def __init__(self, known: Tensor):
        self.known = known

    def apply(self, x: Tensor) -> Tensor:
        return x * self.known

    def adjoint(self, v: Tensor) -> Tensor:
        return v * self.known


class Stack:
    """A(X)_i = ⟨A_i, X⟩ for a stack of matrices, (m, rows, columns): general sensing."""

    def __init__(self, matrices: Tensor):
        self.matrices = matrices
        self._flat = matrices.reshape(matrices.shape[0], -1)  # (m, rows·columns)

    def apply(self, x: Tensor) -> Tensor:
        return self._flat @ x.reshape(-1)  # (m,)

    def adjoint(self, v: Tensor) -> Tensor:
        return (v @ self._flat).reshape(self.matrices.shape[1:])  # (rows, columns)

    def norm(self) -> float:
        """‖A‖, the largest singular value of the m x (rows·columns) matrix."""
        return float(torch.linalg.matrix_norm(self._flat, 2))


Operator = Identity | EntryMask | Stack
