"""The matrix baselines: optimality conditions and the paper's qualitative claims, on small problems."""

import pytest
import torch

from doprestore.baselines.robust_pca import convex_program, factorisation_l1
from doprestore.metrics import relative_error


def problem(n=30, rank=2, share=0.1, seed=0):
    """Section 4.1: X = U Uᵀ with standard normal U, entries of S ~ N(0, 10²)."""
    g = torch.Generator().manual_seed(seed)
    u = torch.randn(n, rank, generator=g, dtype=torch.float64)
    s = 10 * torch.randn(n, n, generator=g, dtype=torch.float64) * (torch.rand(n, n, generator=g) < share)
    return u @ u.T, s


class Stack:
    """A(X)_i = <A_i, X>."""

    def __init__(self, count, n, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.a = torch.randn(count, n, n, generator=g, dtype=torch.float64) / n

    def apply(self, x):
        return torch.einsum("kij,ij->k", self.a, x)

    def adjoint(self, y):
        return torch.einsum("kij,k->ij", self.a, y)


def check_optimal(split, dual, weight, psd, tolerance):
    """dual = (y − A(X) − s) / mu: A*(dual) must be a subgradient of ‖X‖_*, dual one of weight · ‖s‖_1."""
    back, plain = dual
    if psd:
        assert torch.linalg.eigvalsh((back + back.T) / 2).max() <= 1 + tolerance
        assert torch.linalg.eigvalsh(split.low_rank).min() >= -1e-9
    else:
        assert torch.linalg.matrix_norm(back, 2) <= 1 + tolerance
    nuclear = torch.linalg.matrix_norm(split.low_rank, "nuc")
    assert (back * split.low_rank).sum() == pytest.approx(nuclear.item(), rel=tolerance)
    assert plain.abs().max() <= weight * (1 + tolerance)
    assert (plain * split.sparse).sum().item() == pytest.approx(weight * split.sparse.abs().sum().item(), rel=tolerance)


@pytest.mark.parametrize("psd", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_convex_program_meets_its_optimality_conditions(psd, share):
    x, s = problem(share=share)
    split = convex_program(x + s, psd=psd, relative_mu=1e-3)
    assert split.converged
    dual = (x + s - split.low_rank - split.sparse) / split.mu
    check_optimal(split, (dual, dual), 30**-0.5, psd, tolerance=0.01)


def test_convex_program_for_general_measurements():
    operator, (x, _) = Stack(700, 20), problem(n=20, rank=1)
    s = torch.zeros(700, dtype=torch.float64)
    s[::20] = 3
    y = operator.apply(x) + s
    split = convex_program(y, 0.3, operator=operator, psd=True, relative_mu=1e-4)
    assert split.converged
    dual = (y - operator.apply(split.low_rank) - split.sparse) / split.mu
    check_optimal(split, (operator.adjoint(dual), dual), 0.3, True, tolerance=0.01)
    assert relative_error(split.low_rank, x) < 1e-3


@pytest.mark.parametrize("shape", [(30, 30), (20, 40), (40, 20)])
def test_convex_program_recovers_an_easy_problem(shape):
    g = torch.Generator().manual_seed(1)
    # Factors without spikes (incoherent), as the theory of the convex program asks.
    left, right = (0.5 + torch.rand(side, 1, generator=g, dtype=torch.float64) for side in shape)
    s = 10 * torch.randn(shape, generator=g, dtype=torch.float64) * (torch.rand(shape, generator=g) < 0.05)
    split = convex_program(left @ right.T + s)
    assert split.converged
    assert relative_error(split.low_rank, left @ right.T) < 1e-3
    assert relative_error(split.low_rank + split.sparse, left @ right.T + s) < 1e-4


def test_convex_program_scales_with_its_data():
    x, s = problem()
    one, thousand = convex_program(x + s), convex_program(1000 * (x + s))
    assert relative_error(thousand.low_rank, 1000 * one.low_rank) < 1e-6


def test_convex_program_of_zero_is_zero():
    split = convex_program(torch.zeros(4, 6))
    assert split.converged and not split.low_rank.any() and not split.sparse.any()


def test_convex_program_says_when_it_did_not_converge():
    x, s = problem()
    assert not convex_program(x + s, steps=20).converged


def test_l1_factorisation_needs_the_exact_rank():
    """Fig. 1a: with the exact rank the subgradient method converges; with rank n it fits the outliers."""
    x, s = problem(n=40, rank=3, share=0.3)
    assert relative_error(factorisation_l1(x + s, 3), x) < 1e-4
    assert relative_error(factorisation_l1(x + s, 40), x) > 0.1


def test_l1_factorisation_reports_every_step_and_obeys_its_seed():
    x, s = problem(n=10)
    seen = []
    last = factorisation_l1(x + s, 2, steps=7, report=lambda step, value: seen.append((step, value)))
    assert [step for step, _ in seen] == list(range(1, 8))
    assert torch.equal(seen[-1][1], last)
    assert torch.equal(last, factorisation_l1(x + s, 2, steps=7))
    assert not torch.equal(last, factorisation_l1(x + s, 2, steps=7, seed=1))


def test_l1_factorisation_for_general_measurements():
    operator, (x, _) = Stack(300, 15), problem(n=15, rank=1)
    s = torch.zeros(300, dtype=torch.float64)
    s[::10] = 5
    assert relative_error(factorisation_l1(operator.apply(x) + s, 1, operator=operator), x) < 1e-3
