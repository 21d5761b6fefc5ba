"""Singular values of products, of large matrices and after shrinkage: the linear algebra that several stages need."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Up to so many rows or columns the whole SVD is computed: it takes 3 ms for 200 x 200, no more than the iteration.
WHOLE = 200
# Iterations of the subspace: 3 are enough for a matrix of nearly that rank, 6 for directions that barely stand out.
ITERATIONS = 6
# Directions beside those asked for, which make the last ones of them converge.
EXTRA = 8


# The ratio of neighbouring singular values that counts as a gap, for a guess of the rank.
MIN_GAP = 1.5


def svd_of_product(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The SVD of U Vᵀ from its factors (rows, k) and (columns, k): (rows, k), (k,) largest first, (columns, k)."""
    left, first = torch.linalg.qr(u)
    right, second = torch.linalg.qr(v)
    a, sigma, b = torch.linalg.svd(first @ second.T)
    return left @ a, sigma, right @ b.T


def leading(matrix: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The ``count`` leading singular vectors and values of a matrix, as in :func:`svd_of_product`."""
    count = min(count, *matrix.shape)
    if min(matrix.shape) <= WHOLE:
        u, sigma, vt = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, :count], sigma[:count], vt[:count].T
    return leading_of(lambda v: matrix @ v, lambda u: matrix.T @ u, matrix, count, generator)


def leading_of(
    times: Callable[[Tensor], Tensor],
    transposed_times: Callable[[Tensor], Tensor],
    like: Tensor,
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same of a matrix that is known by its products with (columns, k) and, transposed, with (rows, k), by subspace
    iteration. like: a tensor of the shape, device and precision of the matrix."""
    width = min(count + EXTRA, *like.shape)
    v = torch.randn((like.shape[1], width), generator=generator, dtype=torch.float64).to(like)
    for _ in range(ITERATIONS):
        u = torch.linalg.qr(times(v))[0]
        v, triangle = torch.linalg.qr(transposed_times(u))
    a, sigma, b = torch.linalg.svd(triangle.T)
    return (u @ a)[:, :count], sigma[:count], (v @ b.T)[:, :count]


def psd_part(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The positive semidefinite part of the symmetric part of U Vᵀ: its eigenvalues, at most as many as U has columns,
    largest first, none below 0, and their vectors (rows, k)."""
    basis = torch.linalg.qr(torch.cat([u, v], dim=1))[0]
    core = (basis.T @ u) @ (v.T @ basis)
    values, vectors = torch.linalg.eigh((core + core.T) / 2)
    values, vectors = values.flip(0)[: u.shape[1]].clamp_min(0), vectors.flip(1)[:, : u.shape[1]]
    return values, basis @ vectors


def guess_rank(sigma: Tensor, floor: float) -> int:
    """The position of the widest gap in the singular values above ``floor`` times the first; 0 when none stands out."""
    raised = torch.cat([sigma, sigma.new_zeros(1)]).clamp_min(floor * sigma[0])
    ratio = raised[:-1] / raised[1:]
    widest = int(ratio.argmax())
    return widest + 1 if ratio[widest] > MIN_GAP else 0
