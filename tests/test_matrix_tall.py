"""Matrices much longer than wide: the column factor from some of the rows, and then every row by itself."""

import numpy as np
import pytest
import torch

from doprestore import rpca
from doprestore.matrix import tall
from doprestore.matrix.solver import FastSolver


@pytest.fixture(autouse=True)
def _any_size(monkeypatch):
    monkeypatch.setattr(tall, "ENTRIES", 0)


def _problem(rows=1500, columns=20, rank=2, share=0.2, seed=0):
    rng = np.random.default_rng(seed)
    low_rank = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return low_rank, low_rank + rng.uniform(-10, 10, low_rank.shape) * (rng.random(low_rank.shape) < share)


@pytest.mark.parametrize("wide", [False, True])
def test_it_is_as_exact_as_any_other(wide):
    low_rank, data = _problem()
    if wide:
        low_rank, data = low_rank.T.copy(), data.T.copy()
    solver = FastSolver(torch.from_numpy(data), None, 55.0, symmetric=False, seed=0)
    assert solver.part is not None and solver.part.y.numel() == 2000
    result = rpca(data)
    assert result.solution == "exact" and result.rank == 2
    assert np.abs(result.low_rank - low_rank).max() < 1e-9


def test_every_row_is_fitted_in_spite_of_a_third_of_outliers():
    low_rank, data = _problem(1000, 60, 5, 0.3)
    v = torch.from_numpy(np.linalg.svd(low_rank, full_matrices=False)[2][:5].T.copy())
    u = tall.fit_rows(torch.from_numpy(data), v)
    # A few rows of 60 have more wrong entries than they can bear.
    assert np.mean(np.abs((u @ v.T).numpy() - low_rank).max(1) < 1e-9) > 0.99


def test_rows_unlike_those_that_were_taken_are_not_lost():
    """Half of the rows, and none of those that the factor is taken from, have a direction more."""
    low_rank, data = _problem(share=0.1)
    taken = tall.some_rows(torch.from_numpy(data)).numpy()
    others = np.setdiff1d(np.arange(len(data)), taken)[::2]
    rng = np.random.default_rng(1)
    more = np.zeros_like(data)
    more[others] = rng.standard_normal((len(others), 1)) @ rng.standard_normal((1, data.shape[1]))
    result = rpca(data + more)
    assert result.solution == "exact" and result.rank == 3
    assert np.abs(result.low_rank - low_rank - more).max() < 1e-9


def test_noise_takes_the_ordinary_way():
    _, data = _problem(2000, 20, share=0.05)
    data += 0.1 * np.random.default_rng(2).standard_normal(data.shape)
    result = rpca(data)
    assert result.solution == "noise" and result.rank == 2


def test_it_goes_on_from_any_step():
    _, data = _problem()
    states = []
    whole = rpca(data, save_state=states.append, save_every=0)
    assert len(states) > 4
    for state in states[:: len(states) // 4]:
        assert np.array_equal(rpca(data, resume=state).low_rank, whole.low_rank)


def test_stopped_at_once_it_has_an_answer():
    _, data = _problem()
    result = rpca(data, steps=1)
    assert result.solution == "unfinished" and not result.converged and result.low_rank.shape == data.shape
