"""Tables of few columns: the rank from below, the noise without bias, and starts that many outliers do not lead astray."""

import math

import numpy as np
import pytest
import torch
from rpca_table_problems import make, score

from doprestore import rpca
from doprestore.matrix.columns import KEPT, unmixed_noise
from doprestore.matrix.narrow import most_agreement
from doprestore.matrix.narrow_fit import NarrowFit
from doprestore.matrix.relations import from_relations


# Before, each of these had a wrong rank, no clear split, or a precision or recall below 0.9.
@pytest.mark.parametrize(
    ("kind", "rows", "columns", "seed"),
    [
        ("mean", 200, 12, 1),
        ("weak factor", 100, 8, 1),
        ("unequal noise", 100, 8, 2),
        ("fill 5%", 100, 8, 1),
        ("zeros", 100, 8, 0),
        ("shift", 100, 8, 2),
    ],
)
def test_outliers_of_a_narrow_table_are_found_and_little_else(kind, rows, columns, seed):
    problem = make(kind, rows, columns, seed)
    result = rpca(problem.data)
    found = score(problem, result.low_rank, result.sparse != 0)
    assert result.solution == "noise" and result.rank == problem.rank()
    assert found["precision"] >= 0.9 and found["recall"] >= 0.9


def _factors(rows, columns, rank, seed=0):
    generator = torch.Generator().manual_seed(seed)
    u, v = (torch.randn((size, rank), generator=generator, dtype=torch.float64) for size in (rows, columns))
    return u, v, generator


def test_the_noise_of_columns_is_told_apart_although_the_fit_mixes_them():
    """Unweighted least squares of 8 columns, whose noise differs by a factor of 20, leaves a mixture in every column."""
    _, v, generator = _factors(20_000, 8, 3)
    sigma = torch.logspace(-1.3, 0, 8, dtype=torch.float64)
    noise = sigma * torch.randn((20_000, 8), generator=generator, dtype=torch.float64)
    inverse = torch.linalg.inv(v.T @ v)
    residual = noise - noise @ v @ inverse @ v.T
    simple = (residual.square().mean(0) / (1 - (v @ inverse * v).sum(1))).sqrt()
    assert ((simple / sigma).log().abs() > 0.3).any()
    good = torch.ones_like(residual)
    found = math.sqrt(KEPT) * unmixed_noise(residual, good, v, inverse.expand(20_000, 3, 3))
    assert torch.allclose(found[3:], sigma[3:], rtol=0.05)


def test_relations_among_few_columns_show_the_space_although_a_third_is_shifted():
    u, v, generator = _factors(300, 10, 2)
    z = u @ v.T + 100 * (torch.rand((300, 10), generator=generator) < 0.3)
    factor = from_relations(z, torch.ones_like(z, dtype=torch.bool), 2)
    cosines = torch.linalg.svdvals(torch.linalg.qr(factor)[0].T @ torch.linalg.qr(v)[0])
    assert cosines.min() > 1 - 1e-9
    assert from_relations(z, torch.zeros_like(z, dtype=torch.bool), 2) is None


def test_a_row_with_more_wrong_than_good_entries_is_understood():
    u, v, generator = _factors(100, 12, 2)
    wrong = torch.zeros((100, 12), dtype=torch.bool)
    for row in wrong:
        row[torch.randperm(12, generator=generator)[:7]] = True
    z = u @ v.T + 0.1 * torch.randn((100, 12), generator=generator, dtype=torch.float64) + 5 * wrong
    z += 5 * wrong * torch.rand((100, 12), generator=generator)
    good = most_agreement(z, torch.ones_like(wrong), v, torch.full((12,), 0.1, dtype=torch.float64), 12.25)
    assert (good == ~wrong).double().mean() > 0.9


def test_every_row_of_a_long_table_is_judged():
    """It is fitted to some of the rows only."""
    problem = make("mean", 5000, 8, seed=0)
    result = rpca(problem.data)
    assert result.rank == problem.rank() and result.low_rank.shape == problem.data.shape
    in_between = slice(1, None, 2)
    flagged = (result.sparse != 0)[in_between]
    assert (flagged & problem.wrong[in_between]).sum() > 0.6 * problem.wrong[in_between].sum()


def test_it_goes_on_from_any_round():
    y = torch.from_numpy(make("saturation 20%", 60, 8, seed=0).data)
    whole = NarrowFit(y, None)
    steps = 0
    while not whole.done:
        whole.step()
        steps += 1
    assert steps > 5
    for stop in (1, steps // 2, steps - 1):
        first, second = NarrowFit(y, None), NarrowFit(y, None)
        for _ in range(stop):
            first.step()
        second.load_state_dict(first.state_dict())
        while not second.done:
            second.step()
        assert all(torch.equal(a, b) for a, b in zip(whole.factors(), second.factors(), strict=True))


def test_a_code_is_found_although_nothing_else_is_wrong():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((120, 2)) @ rng.standard_normal((2, 8)) + 20 + 0.1 * rng.standard_normal((120, 8))
    code = rng.random(data.shape) < 0.03
    result = rpca(np.where(code, 999, data))
    flagged = result.sparse != 0
    assert result.codes == (999,) and flagged[code].all() and flagged[~code].sum() <= 2


@pytest.mark.parametrize("shape", [(4, 3), (9, 2), (2, 9), (1, 5), (6, 16)])
def test_the_smallest_tables_have_an_answer(shape):
    data = np.random.default_rng(0).standard_normal(shape)
    data[0, -1] += 100
    for table in (data, np.where(np.arange(shape[1]) == 0, 7.0, data)):  # and with a constant column
        result = rpca(table)
        assert result.converged and result.low_rank.shape == shape
