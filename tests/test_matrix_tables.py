"""Tables as people have them: what rpca claims, and what it flags, where there are a mean, units, noise and fill codes."""

import math

import numpy as np
import pytest
import torch
from rpca_table_problems import is_identifiable, make, score

from doprestore import rpca
from doprestore.matrix.codes import filled_cells
from doprestore.matrix.directions import unearned
from doprestore.matrix.narrow import fewest_outliers
from doprestore.matrix.tail import LIMIT, Law, fit_law, threshold
from doprestore.matrix.verdict import Evidence, is_exact, is_noise

NOISY = ["plain", "mean", "offsets", "scales", "weak factor", "unequal noise", "one-sided", "fill 30%", "saturation 20%",
         "zeros", "missing", "wrong lines"]  # fmt: skip


@pytest.mark.parametrize("kind", NOISY)
def test_outliers_of_five_sigma_are_found_and_little_else(kind):
    problem = make(kind, 150, 60, seed=7)
    result = rpca(problem.data)
    found = score(problem, result.low_rank, result.sparse != 0)
    assert result.solution == "noise" and result.clear and result.converged
    assert abs(result.rank - problem.rank()) <= 1
    assert found["precision"] >= 0.9 and found["recall"] >= 0.9
    assert found["error"] < 0.6  # of the noise itself
    assert result.expected_mistakes < 0.05 * np.count_nonzero(result.sparse)


@pytest.mark.parametrize(
    "kind", ["exact mean", "exact scales", "exact weak factor", "exact fill 30%", "exact saturation 20%"]
)
def test_what_is_exact_is_found_to_be(kind):
    problem = make(kind, 120, 40, seed=3)
    result = rpca(problem.data)
    found = score(problem, result.low_rank, result.sparse != 0)
    assert result.solution == "exact"
    assert result.rank == problem.rank() and found["error"] < 1e-9
    assert found["precision"] == found["recall"] == 1


def test_heavy_tails_are_not_taken_for_outliers():
    problem = make("heavy tails", 200, 100, seed=0)
    result = rpca(problem.data)
    found = score(problem, result.low_rank, result.sparse != 0)
    assert found["precision"] >= 0.9


CHANGES = {  # of a table, and of what is made of it, back again
    "constant": (lambda y: y + 1000, lambda x: x - 1000),
    "large constant": (lambda y: y - 1e6, lambda x: x + 1e6),
    "sign": (lambda y: -y, lambda x: -x),
    "units": (lambda y: y * UNITS, lambda x: x / UNITS),
    "order": (lambda y: y[ROWS][:, COLUMNS], lambda x: x[np.argsort(ROWS)][:, np.argsort(COLUMNS)]),
    "transpose": (lambda y: y.T.copy(), lambda x: x.T),
}
_RNG = np.random.default_rng(0)
ROWS, COLUMNS, UNITS = _RNG.permutation(120), _RNG.permutation(40), 10 ** _RNG.uniform(-3, 3, 40)


@pytest.fixture(scope="module")
def unchanged():
    problems = {kind: make(kind, 120, 40, seed=1) for kind in ("plain", "exact plain")}
    return {kind: (problem, rpca(problem.data)) for kind, problem in problems.items()}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["plain", "exact plain"])
def test_what_must_not_change_does_not(kind, change, unchanged):
    """Adding a constant, the other sign, other units of the columns, another order, the transpose: the same answer."""
    problem, plain = unchanged[kind]
    forth, back = CHANGES[change]
    other = rpca(forth(problem.data))
    assert other.solution == plain.solution and other.clear == plain.clear
    assert other.rank == plain.rank + ("constant" in change)
    # What is flagged, except for a few cells at the threshold; a constant costs a degree of freedom.
    flagged, before = other.sparse != 0, plain.sparse != 0
    if change in ("order", "transpose"):
        flagged = back(flagged)
    assert np.mean(flagged != before) <= (2e-3 if kind == "plain" else 0)
    difference = back(other.low_rank) - plain.low_rank
    if kind == "plain":  # in units of the noise
        assert np.sqrt(np.mean(difference**2)) < 0.3 * 0.1
    else:
        assert np.abs(difference).max() < 1e-7


def test_noise_alone_has_no_clear_split_and_flags_nothing():
    result = rpca(np.random.default_rng(0).standard_normal((80, 50)))
    assert result.solution == "convex" and not result.clear
    assert result.outlier_share < 1e-3


# The pieces


def test_codes_are_values_repeated_too_often():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((50, 40))
    everywhere = np.ones(data.shape, bool)
    assert filled_cells(data, everywhere) == (None, [])
    data[rng.random(data.shape) < 0.2] = 999
    cells, codes = filled_cells(data, everywhere)
    assert codes == [999] and np.array_equal(cells, data == 999)
    # Ratings are repeated, but alike; a constant column is itself.
    assert filled_cells(rng.integers(1, 6, (50, 40)).astype(float), everywhere) == (None, [])
    data = rng.standard_normal((50, 40))
    data[:, 3] = 0
    assert filled_cells(data, everywhere) == (None, [])


@pytest.mark.parametrize(("degrees", "expected"), [(math.inf, (30, math.inf)), (3, (2.5, 4))])
def test_the_law_of_the_noise_is_found_below_outliers(degrees, expected):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(50_000) if degrees == math.inf else rng.standard_t(degrees, 50_000)
    size = np.concatenate([np.abs(noise), rng.uniform(5, 50, 2_000)])
    law = fit_law(np.histogram(size[size <= LIMIT], 60, (0, LIMIT))[0])
    assert expected[0] <= law.degrees <= expected[1] and law.scale == pytest.approx(1, abs=0.05)


def test_the_threshold_keeps_the_mistakes_few_and_says_how_many():
    rng = np.random.default_rng(0)
    noise = np.abs(rng.standard_normal(1_000_000))
    at, expected = threshold(Law(math.inf, 1.0), np.concatenate([noise[noise > LIMIT], np.full(1000, 8.0)]), len(noise))
    assert at < 8 and (noise > at).sum() <= 0.1 * 1000
    assert expected == pytest.approx((noise > at).sum(), abs=15)
    assert threshold(Law(math.inf, 1.0), noise[noise > LIMIT], len(noise))[0] > noise.max() / 1.1


def test_claims_are_earned():
    good = Evidence(100, 50, 3, known=5000, agreeing=4800, lines=1.0)
    assert is_exact(good) and is_noise(good)
    for change in ({"agreeing": 1900}, {"lines": 0.7}, {"rank": 0}, {"rank": 26}):
        bad = Evidence(**{**vars(good), **change})
        assert not is_noise(bad)
        assert not is_exact(bad) or change == {"rank": 26}
    assert not is_noise(Evidence(**{**vars(good), "white": False}))
    assert not is_noise(Evidence(**{**vars(good), "degrees": 2}))


def _factors(rows, columns, rank, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn((size, rank), generator=generator, dtype=torch.float64) for size in (rows, columns))


def test_a_direction_that_lifts_a_block_of_outliers_is_not_earned():
    """30 % of the cells off by one amount, and most of a block of 6 x 7 cells among them: X + 100 on that block agrees with
    more cells than X does, and X is returned."""
    u, v = _factors(36, 31, 3)
    wrong = torch.rand((36, 31), generator=torch.Generator().manual_seed(1)) < 0.3
    wrong[:6, :7] = torch.rand((6, 7), generator=torch.Generator().manual_seed(2)) < 0.8
    y = u @ v.T + 100 * wrong
    rows, columns = torch.zeros((36, 1), dtype=torch.float64), torch.zeros((31, 1), dtype=torch.float64)
    rows[:6], columns[:7] = 100, 1
    lifted = torch.cat([u, rows], 1), torch.cat([v, columns], 1)
    assert ((y - lifted[0] @ lifted[1].T).abs() < 1e-9).sum() > ((y - u @ v.T).abs() < 1e-9).sum()
    left, right = unearned(y, None, *lifted, 1e-9)
    assert torch.allclose(left @ right.T, u @ v.T, atol=1e-9)
    assert unearned(y, None, u, v, 1e-9) is None


def test_a_block_that_is_large_enough_has_earned_its_direction():
    u, v = _factors(60, 50, 2)
    u[20:, 1], v[15:, 1] = 0, 0  # 300 cells, for 35 unknowns and the choice of 20 rows and 15 columns
    y = u @ v.T
    y[torch.rand(y.shape, generator=torch.Generator().manual_seed(1)) < 0.1] += 5
    assert unearned(y, None, u, v, 1e-9) is None


def test_directions_that_explain_no_more_than_they_have_unknowns_are_not_earned_by_sharing_rows():
    """20 directions of 25 rows: each alone seems to be needed there, for without it 32 of 40 entries a row agree no more."""
    u, v = _factors(300, 40, 21)
    u[25:, 1:] = 0
    y = u @ v.T
    agrees = torch.rand((25, 40), generator=torch.Generator().manual_seed(1)).argsort(0).argsort(0) < 20
    y[:25] = torch.where(agrees, y[:25], 9.0)
    left, _ = unearned(y, None, u, v, 1e-9)
    assert left.shape[1] == 20


def test_a_direction_of_few_columns_and_many_rows_is_found_by_its_columns():
    """Where most of 160 x 3 cells are missing, a direction hides there; 160 of 300 rows are too many to be found."""
    u, v = _factors(300, 40, 4)
    u[160:, 3], v[3:, 3] = 0, 0
    y = u[:, :3] @ v[:, :3].T
    known = torch.ones(y.shape, dtype=torch.bool)
    known[:160, :3] = torch.rand((160, 3), generator=torch.Generator().manual_seed(1)) < 0.1
    left, right = unearned(y * known, known, u, v, 1e-9)
    assert torch.allclose(left @ right.T, y, atol=1e-9)


def test_a_fit_that_spoils_what_is_known_has_not_earned_it():
    u, v = _factors(60, 50, 3)
    u[25:, 2], v[20:, 2] = 0, 0
    y = u[:, :2] @ v[:, :2].T  # the third direction explains nothing
    left, right = unearned(y, None, u, v, 1e-9)
    assert torch.allclose(left @ right.T, y, atol=1e-9)


def test_a_direction_is_not_earned_by_the_rounding_errors_of_taking_it_out():
    """On one machine the fit had a fourth direction, in 26 x 82 cells of which 943 are known and 7 agreed, and without
    it, by 10 to 100 times the tolerance for want of digits, few agreed either."""
    problem = make("exact saturation 20%", 200, 200, seed=2)
    result = rpca(problem.data)
    assert result.rank == 3 or result.solution != "exact"
    assert np.abs(result.low_rank - problem.truth).max() < 1e-6 or result.solution != "exact"


def test_in_a_narrow_row_the_outliers_are_named_and_not_their_neighbours():
    generator = torch.Generator().manual_seed(0)
    v = torch.randn((8, 3), generator=generator, dtype=torch.float64)
    z = torch.randn((200, 3), generator=generator, dtype=torch.float64) @ v.T
    z += 0.1 * torch.randn(z.shape, generator=generator, dtype=torch.float64)
    wrong = torch.zeros(z.shape, dtype=torch.bool)
    wrong[torch.arange(200), torch.randint(8, (200,), generator=generator)] = True
    z[wrong] += 2
    seen, noise = torch.ones_like(wrong), torch.full((8,), 0.1, dtype=torch.float64)
    good = fewest_outliers(z, seen, seen, v, noise, 12.25)
    assert (good == ~wrong).double().mean() > 0.99
    seen[0, 3] = False  # an unknown entry is neither
    assert not fewest_outliers(z, seen, seen, v, noise, 12.25)[0, 3]


def test_what_no_method_can_know_is_said_not_to_be_identifiable():
    """The oracle knows every true outlier, and fails where the noise is as large, or the row as short as its rank."""
    assert all(is_identifiable(make(kind, 60, 20, seed=0)) for kind in ("plain", "mean", "exact shift"))
    assert not is_identifiable(make("heavy tails", 100, 30, seed=0))
    assert not is_identifiable(make("mean", 60, 4, seed=0))


def _hidden(rows=40, columns=27):
    """Data of rank 5, with all of column 9 wrong, and a fit of it with a direction more, of columns 1, 9 and 18."""
    u, v = _factors(rows, columns, 5)
    lift, on = torch.zeros((rows, 1), dtype=torch.float64), torch.zeros((columns, 1), dtype=torch.float64)
    lift[:15], on[[1, 9, 18], 0] = 100, torch.tensor([1.0, 1.0, 1.5], dtype=torch.float64)
    fit = torch.cat([u, lift], 1), torch.cat([v, on], 1)
    y = u @ v.T
    y[:9, [1, 18]] = (fit[0] @ fit[1].T)[:9, [1, 18]]
    y[:, 9] = 77 + torch.arange(rows)
    return u, v, fit, y


def test_a_line_that_nothing_determines_hides_no_direction():
    u, v, fit, y = _hidden()
    left, right = unearned(y, None, *fit, 1e-9)
    seen = torch.arange(len(v)) != 9
    assert torch.allclose((left @ right.T)[:, seen], (u @ v.T)[:, seen], atol=1e-9)


def test_a_direction_of_lines_that_nothing_determines_alone_is_not_earned():
    u, v, fit, y = _hidden()
    y[:, [1, 18]] = (u @ v.T)[:, [1, 18]]
    fit[1][[1, 18], 5] = 0
    left, right = unearned(y, None, *fit, 1e-9)
    seen = torch.arange(len(v)) != 9
    assert left.shape[1] == 5 and torch.allclose((left @ right.T)[:, seen], (u @ v.T)[:, seen], atol=1e-9)
