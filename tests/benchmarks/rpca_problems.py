"""Test matrices and an own port of AccAltProj, shared by the rpca benchmarks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def low_rank_plus_sparse(rows: int, columns: int, rank: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(y, low_rank): a product of N(0, 1) factors, and U[-10, 10] added to a share of its entries."""
    rng = np.random.default_rng(seed)
    low_rank = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    wrong = rng.random(low_rank.shape) < share
    return low_rank + wrong * rng.uniform(-10, 10, low_rank.shape), low_rank


def large_problem(rows: int, columns: int, rank: int, share: float, seed: int, kind: str) -> np.ndarray:
    """y as above in the float type ``kind``, made a few rows at a time: in little memory beside its own."""
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((rows, rank)), rng.standard_normal((rank, columns))
    y = np.empty((rows, columns), kind)
    for start in range(0, rows, 100):
        some = left[start : start + 100] @ right
        some += (rng.random(some.shape) < share) * rng.uniform(-10, 10, some.shape)
        y[start : start + 100] = some
    return y


def papers_problem(n: int, rank: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(y, X) of section 4.1: X = U Uᵀ with U from N(0, 1), and N(0, 10²) added to exactly share·n² entries."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((n, rank))
    x = u @ u.T
    s = np.zeros(n * n)
    s[rng.choice(n * n, round(share * n * n), replace=False)] = rng.normal(0, 10, round(share * n * n))
    return x + s.reshape(n, n), x


def accaltproj(y: Tensor, rank: int, tolerance: float = 1e-9, most: int = 100,
               gamma: float = 0.5) -> tuple[Tensor, int]:  # fmt: skip
    """Accelerated alternating projections for RPCA of known rank; returns the low-rank part and the iterations.

    Cai, Cai, Wei, "Accelerated alternating projections for robust principal component analysis", JMLR 2019,
    algorithms 1 and 3, without trimming, with its default thresholds β = 1/(2 (mn)^(1/4)), β_init = 4β.
    """
    m, n = y.shape
    beta = 1 / (2 * (m * n) ** 0.25)
    norm = torch.linalg.vector_norm(y)
    zeta = 4 * beta * torch.linalg.matrix_norm(_leading(y, 1)[1].diag(), 2)
    u, sigma, v = _leading(y - _hard(y, zeta), rank)
    low_rank = (u * sigma) @ v.T
    sparse = _hard(y - low_rank, beta * sigma[0])
    for step in range(1, most + 1):
        # The tangent space of rank-r matrices at L: everything is done on 2r x 2r matrices.
        d = y - sparse
        dv, du = d @ v, d.T @ u
        q1, r1 = torch.linalg.qr(du - v @ (v.T @ du))
        q2, r2 = torch.linalg.qr(dv - u @ (u.T @ dv))
        core = torch.cat([torch.cat([u.T @ dv, r1.T], 1), torch.cat([r2, torch.zeros_like(r2)], 1)], 0)
        a, values, b = torch.linalg.svd(core)
        u = torch.cat([u, q2], 1) @ a[:, :rank]
        v = torch.cat([v, q1], 1) @ b[:rank].T
        low_rank = (u * values[:rank]) @ v.T
        zeta = beta * (values[rank] + gamma**step * values[0])
        sparse = _hard(y - low_rank, zeta)
        if torch.linalg.vector_norm(y - low_rank - sparse) / norm < tolerance:
            break
    return low_rank, step


def _leading(x: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    u, sigma, v = torch.svd_lowrank(x, q=rank + 10, niter=4)
    return u[:, :rank], sigma[:rank], v[:, :rank]


def _hard(x: Tensor, threshold: Tensor) -> Tensor:
    return x * (x.abs() > threshold)
