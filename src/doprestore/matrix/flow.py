"""The flow of eq. (6) with both unknowns preconditioned alike: the first stage of the fast RPCA.

Along eq. (6) a direction of X = U Vᵀ moves at the rate of its own size, and so does an entry of s, at
2(g² + h²) = 2√(s² + 4γ⁴) (the hypentropy form, see :mod:`doprestore.outliers`). Large parts are therefore stiff
and small ones slow. Here both rates are divided by (size + damping),

    U ← U − τ r V (VᵀV + δI)⁻¹     V the same way     s ← s − 2τ r w / (w + δ/α),  w = √(s² + β²),

so that steps of τ = 1/2 are stable at any size, while parts far below the damping still grow exponentially, as in
eq. (6), at rates whose ratio is α. Damping turns the implicit ‖X‖_* + ‖s‖_1/α into that plus a quadratic (an
elastic net), which moves the limit a little, but neither the outliers' places nor the column space when those are
well separated; :mod:`doprestore.matrix.refit` then computes the exact values and checks them against the data.

Preconditioning: Tong, Ma, Chi, "Accelerating ill-conditioned low-rank matrix estimation via scaled gradient
descent", JMLR 2021; damping: Xu et al., "The power of preconditioning in overparameterized low-rank matrix
sensing", ICML 2023.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from doprestore.matrix.blocks import blocks
from doprestore.matrix.linalg import svd_of_product

# Over the ranges in brackets `tests/benchmarks/rpca_constants.py flow.NAME --seeds 2` solves the same 16 problems.
# The step τ, a share of the way that the fastest direction has to go [0.25 to 0.7].
TAU = 0.5
# The damping δ, in units of the spectral norm of the data [0.1 to 1; at 0.1 it takes 2.7 times as long].
DAMPING = 0.3
# Each singular value of U and V at the start, in units of the square root of the spectral norm [0.001 to 0.1; at 0.1 it
# takes 2.3 times as long].
START = 1e-2
# β, in units of an entry of a matrix of the same spectral norm and equal entries [0.0001 to 0.01].
START_SPARSE = 1e-3
# Columns of U and V at the start; they are doubled while all are in use [8 to 64].
COLUMNS = 32
# A column is in use while its singular value is above this share of the first [0.005 to 0.08].
IN_USE = 0.02


class Flow:
    """The preconditioned flow on a matrix ``y`` (rows, columns), float32, zero where not ``known`` (None: all known).

    clip: larger entries count as so large; without a clipped copy of y, which would cost memory.

    ``outliers`` is s; :meth:`spectrum` gives the low-rank part.
    """

    def __init__(self, y: Tensor, known: Tensor | None, alpha: float, seed: int, clip: float = math.inf):
        self.y = y
        least, largest = torch.aminmax(y)
        self.clip = clip if max(-least.item(), largest.item()) > clip else math.inf
        self.known = known
        self.alpha = alpha
        self.generator = torch.Generator().manual_seed(seed)
        if self.clip < math.inf:
            y = y.clamp(-clip, clip)
        sketch = self._orthonormal(y, min(COLUMNS, *y.shape))
        v, triangle = torch.linalg.qr(y.T @ sketch)
        self.scale = torch.linalg.matrix_norm(triangle, 2).item() or 1.0  # about the spectral norm of y
        self.u = sketch * (START * math.sqrt(self.scale))
        self.v = v * (START * math.sqrt(self.scale))
        self.outliers = torch.zeros_like(y)
        self.norm = torch.linalg.vector_norm(y).item()
        self.residual = math.nan  # ‖r‖ / ‖y‖
        self.steps = 0
        self._r: Tensor | None = None  # fresh memory at every step would cost more than the step

    def release(self) -> None:
        """Give the working memory back until the next step."""
        self._r = None

    def step(self) -> None:
        """One step, as in the module's text; the residual is r = U Vᵀ + s − y."""
        r = self._residual()
        self.residual = torch.linalg.vector_norm(r).item() / self.norm
        delta = DAMPING * self.scale
        damped_v = _damped_gram(self.v, delta)
        damped_u = _damped_gram(self.u, delta)
        u = self.u - TAU * torch.linalg.solve(damped_v, r @ self.v, left=False)
        self.v = self.v - TAU * torch.linalg.solve(damped_u, (self.u.T @ r).T, left=False)
        self.u = u
        beta = START_SPARSE * self.scale / math.sqrt(self.y.numel())
        for residual, outliers in zip(blocks(r), blocks(self.outliers), strict=True):
            w = outliers.square().add_(beta**2).sqrt_()
            outliers.addcdiv_(residual.mul_(w), w.add_(delta / self.alpha), value=-2 * TAU)
        self.steps += 1

    def spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """Singular vectors and values (rows, k), (k,), (columns, k) of U Vᵀ, largest first, in float64."""
        return svd_of_product(self.u.double(), self.v.double())

    def grow(self) -> bool:
        """Double the columns when all are in use; False when nothing was done."""
        columns = self.u.shape[1]
        sigma = self.spectrum()[1]
        limit = min(self.y.shape)
        if columns == limit or sigma[-1] < IN_USE * sigma[0]:
            return False
        r = self._residual()
        left = self._orthonormal(r, min(columns, limit - columns))
        right = torch.linalg.qr(r.T @ left)[0]
        start = START * math.sqrt(self.scale)
        self.u = torch.cat([self.u, -start * left], dim=1)
        self.v = torch.cat([self.v, start * right], dim=1)
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"u": self.u, "v": self.v, "outliers": self.outliers, "steps": self.steps, "residual": self.residual,
                "generator": self.generator.get_state()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.u, self.v, self.outliers = (state[name].to(self.y.device) for name in ("u", "v", "outliers"))
        self.steps, self.residual = state["steps"], state["residual"]
        self.generator.set_state(state["generator"])

    def _residual(self) -> Tensor:
        if self._r is None:
            self._r = torch.empty_like(self.y)
        y = self.y if self.clip == math.inf else torch.clamp(self.y, -self.clip, self.clip, out=self._r)
        r = torch.sub(self.outliers, y, out=self._r).addmm_(self.u, self.v.T)
        return r if self.known is None else r.mul_(self.known)

    def _orthonormal(self, matrix: Tensor, columns: int) -> Tensor:
        """A basis (rows, columns) near the leading left singular vectors of ``matrix``, by one random projection."""
        random = torch.randn((matrix.shape[1], columns), generator=self.generator)  # on the CPU: same on every device
        basis: Tensor = torch.linalg.qr(matrix @ random.to(matrix))[0]
        return basis


def _damped_gram(factor: Tensor, delta: float) -> Tensor:
    gram = factor.T @ factor
    gram.diagonal().add_(delta)
    return gram
