"""Operators, eq. (3), (6) and (8): dot tests, one step against autograd, Theorem 1."""

from itertools import pairwise

import pytest
import torch

from doprestore.matrix.convex import ConvexRPCA
from doprestore.matrix.descent import Descent
from doprestore.matrix.flow import Flow
from doprestore.matrix.operators import EntryMask, Identity, Stack
from doprestore.outliers import OutlierPair
from doprestore.reproduce.fig_theorem import limit, optimum, problem


def _generator():
    return torch.Generator().manual_seed(0)


def _randn(*shape, generator):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["identity", "mask", "stack"])
def test_adjoint_is_the_adjoint(kind, device):
    g = _generator()
    operator = {
        "identity": Identity(),
        "mask": EntryMask((torch.rand((7, 5), generator=g) < 0.6).to(device)),
        "stack": Stack(_randn(11, 7, 5, generator=g).to(device)),
    }[kind]
    u = _randn(7, 5, generator=g).to(device)
    v = _randn(*operator.apply(u).shape, generator=g).to(device)
    assert (operator.apply(u) * v).sum().item() == pytest.approx((u * operator.adjoint(v)).sum().item(), rel=1e-12)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("kind", ["identity", "stack"])
def test_one_step_is_gradient_descent_on_eq_3_with_discrepant_rates(symmetric, kind):
    g = _generator()
    shape = (6, 6) if symmetric else (6, 4)
    operator = Identity() if kind == "identity" else Stack(_randn(9, *shape, generator=g))
    y = operator.apply(_randn(*shape, generator=g))
    tau, alpha = 1e-3, 3.0
    u, v = _randn(6, 5, generator=g), None if symmetric else _randn(4, 5, generator=g)
    gg, hh = _randn(*y.shape, generator=g), _randn(*y.shape, generator=g)
    variables = [x.clone().requires_grad_() for x in (u, gg, hh, *([] if symmetric else [v]))]
    factor = variables[0] if symmetric else variables[3]
    r = operator.apply(variables[0] @ factor.T) + variables[1] ** 2 - variables[2] ** 2 - y
    # Lifted (footnote 3), the off-diagonal block appears twice in f and g, h once each per block: 2f for U and V.
    (r.square().sum() / 4).backward()
    twice = 1 if symmetric else 2
    descent = Descent(operator, y, u, v, OutlierPair(gg.clone(), hh.clone()), alpha=alpha, tau=tau)
    descent.step()
    state = descent.state_dict()
    torch.testing.assert_close(state["u"], u - tau * twice * variables[0].grad)
    torch.testing.assert_close(state["g"], gg - alpha * tau * variables[1].grad)
    torch.testing.assert_close(state["h"], hh - alpha * tau * variables[2].grad)
    if not symmetric:
        torch.testing.assert_close(state["v"], v - tau * twice * variables[3].grad)


# The error falls like a power of γ that depends on how clear-cut the solution of (8) is. The three solutions are
# X = the truth (λ = 2 and λ = 1/2) and X = 0 (λ = 1/2, a case where (8) prefers s alone).
@pytest.mark.parametrize(("seed", "alpha", "shrinks"), [(2, 0.5, 5), (4, 2.0, 5), (2, 2.0, 1.5)])
def test_theorem_1_the_limit_of_the_flow_solves_the_convex_program(seed, alpha, shrinks):
    operator, y = problem(seed)
    x, s = optimum(operator, y, alpha)
    torch.testing.assert_close(operator.apply(x) + s, y, atol=1e-4, rtol=0)
    errors = []
    for gamma in (1e-2, 1e-4) if shrinks > 2 else (1e-2, 1e-4, 1e-6):
        descent = limit(operator, y, gamma, alpha, tau=0.02, steps=15_000)
        assert descent.loss < 1e-5
        errors.append(((descent.low_rank() - x).norm() + (descent.outliers.value() - s).norm()).item())
    assert all(late * shrinks < early for early, late in pairwise(errors)), errors
    assert errors[-1] < 0.2 * (x.norm() + s.norm()).item()


@pytest.mark.parametrize("psd", [False, True])
def test_convex_solution_meets_its_optimality_conditions(psd, device):
    """The multiplier is in λ ∂‖s‖_1 and in ∂‖X‖_* (psd: of its extension)."""
    g = _generator()
    factor = _randn(40, 3, generator=g)
    y = factor @ factor.T
    y = y + (torch.rand(y.shape, generator=g) < 0.1) * _randn(*y.shape, generator=g) * 5
    y = y.to(device)
    lam = 1 / 40**0.5
    solver = ConvexRPCA(y, None, lam, psd=psd, tolerance=1e-9)
    while not solver.done and solver.steps < 5000:
        solver.step()
    assert solver.done
    x, s, dual = solver.low_rank, solver.sparse(), solver.dual * solver.mu
    torch.testing.assert_close(x + s, y, atol=1e-6, rtol=0)
    assert dual.abs().max() <= lam * (1 + 1e-9)
    assert (dual * s).sum().item() == pytest.approx(lam * s.abs().sum().item(), rel=1e-6)
    assert (dual * x).sum().item() == pytest.approx(torch.linalg.matrix_norm(x, "nuc").item(), rel=1e-6)
    if psd:
        assert torch.linalg.eigvalsh((dual + dual.T) / 2)[-1] <= 1 + 1e-6
        assert torch.linalg.eigvalsh(x)[0] >= -1e-9
    else:
        assert torch.linalg.matrix_norm(dual, 2) <= 1 + 1e-6


def test_the_flow_clips_as_it_goes_and_needs_no_copy():
    y = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    y[3, 4], y[5, 6] = 1e6, -1e6
    clipped, whole = Flow(y.clamp(-5, 5), None, 6.0, 0), Flow(y, None, 6.0, 0, clip=5)
    for _ in range(5):
        clipped.step()
        whole.step()
    assert whole.y is y and y[3, 4] == 1e6
    assert torch.equal(whole.u, clipped.u) and torch.equal(whole.outliers, clipped.outliers)
