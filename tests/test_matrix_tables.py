"""Tables as people have them: what rpca claims, and what it flags, where there are a mean, units, noise and fill codes."""

import math

import numpy as np
import pytest
from rpca_tables import make, score

from doprestore import rpca
from doprestore.matrix.codes import filled_cells
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


def test_what_must_not_change_does_not():
    """Adding a constant, other units of a column, another order, the transpose: the same cells are flagged."""
    problem = make("plain", 120, 40, seed=1)
    plain = rpca(problem.data)
    flagged = plain.sparse != 0
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(120), rng.permutation(40)
    units = 10 ** rng.uniform(-3, 3, 40)
    others = {
        "constant": rpca(problem.data + 1000).sparse != 0,
        "units": rpca(problem.data * units).sparse != 0,
        "order": (rpca(problem.data[rows][:, columns]).sparse != 0)[np.argsort(rows)][:, np.argsort(columns)],
        "transpose": (rpca(problem.data.T.copy()).sparse != 0).T,
    }
    for name, other in others.items():
        assert np.mean(other != flagged) < 1e-3, name
        assert (other & flagged).sum() >= 0.97 * flagged.sum(), name


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
