"""Tables of which it would be easy to say too much: what nothing tells of is left as it is, whatever its unit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from doprestore import RobustPCA, repair, rpca
from doprestore.io.frames import as_type
from doprestore.matrix.repair import outliers, repairs

UNITS = np.array([1.0] * 6 + [1e11] * 6)


def _measured(rows=200, columns=12, noise=0.01, share=0.05, seed=0):
    """Two directions and a mean, with noise; and where it is wrong, by 3."""
    rng = np.random.default_rng(seed)
    good = rng.standard_normal((rows, 2)) @ rng.standard_normal((2, columns)) + rng.standard_normal(columns)
    good += noise * rng.standard_normal(good.shape)
    wrong = rng.random(good.shape) < share
    return good, np.where(wrong, good + 3, good), wrong


def test_units_do_not_matter_even_where_one_rounds_away_what_the_other_has():
    _, data, wrong = _measured()
    for units in (np.ones(12), UNITS, 1e75 ** np.linspace(-1, 1, 12)):
        result = rpca(data * units)
        assert result.solution == "noise"
        found = result.sparse != 0
        assert np.array_equal(found & wrong, wrong)
        assert (found & ~wrong).sum() <= 2


def test_exact_is_not_claimed_of_columns_that_round_away():
    good, _, _ = _measured(noise=0)
    rng = np.random.default_rng(1)
    exact = np.where(rng.random(good.shape) < 0.05, good + 3, good)
    assert rpca(exact * UNITS).solution == "exact"
    noisy = np.where(np.arange(12) < 6, exact, exact + 0.01 * rng.standard_normal(exact.shape))
    assert rpca(noisy * UNITS).solution != "exact"


def _rain(rng, rows):
    return np.where(rng.random(rows) < 0.85, 0, rng.exponential(2, rows))


@pytest.mark.parametrize(
    "strange",
    [
        _rain,
        lambda rng, rows: (rng.random(rows) < 0.1).astype(float),
        lambda rng, rows: np.exp(1.5 * rng.standard_normal(rows)),
    ],
    ids=["rain", "flag", "skewed"],
)
def test_a_column_that_the_others_say_nothing_of_is_left_as_it_is(strange):
    """What is rare there need not be wrong; what is wrong elsewhere is still found."""
    _, data, wrong = _measured(columns=10)
    table = np.column_stack([data, strange(np.random.default_rng(5), len(data))])
    result = rpca(table)
    assert result.solution == "noise"
    assert result.empty_columns == (10,)
    assert not result.sparse[:, 10].any()
    found = result.sparse[:, :10] != 0
    assert found[wrong].mean() > 0.97
    assert found[~wrong].mean() < 0.005


def test_a_wrong_cell_in_a_column_of_noise_alone_is_still_found():
    """It holds no more of them than other columns do."""
    _, data, _ = _measured(columns=10)
    column = np.random.default_rng(6).standard_normal(len(data))
    column[::40] += 50
    result = rpca(np.column_stack([data, column]))
    assert result.empty_columns == ()
    assert np.array_equal(np.flatnonzero(result.sparse[:, 10]), np.arange(0, len(data), 40))


def test_missing_cells_are_not_taken_for_equal_ones():
    """Of a column of noise alone three in five are missing, and what is wrong there is found all the same."""
    _, data, _ = _measured(rows=400, columns=10, share=0)
    rng = np.random.default_rng(6)
    column = rng.standard_normal(len(data))
    column[rng.random(len(data)) < 0.6] = np.nan
    column[7] = 50
    result = rpca(np.column_stack([data, column]))
    assert result.empty_columns == ()
    assert result.sparse[7, 10] != 0


def test_nothing_is_claimed_where_every_direction_is_that_of_a_single_line():
    table = np.eye(4)[np.random.default_rng(0).integers(0, 4, 300)]
    result = rpca(table)
    assert result.rank >= 0
    assert not result.clear
    estimator = RobustPCA().fit(table)
    assert estimator.components_.shape == (estimator.n_components_, 4)


def test_few_rows_know_their_noise_badly():
    """Right cells that are flagged in small tables without a wrong one: 6 of 1152 when the noise is taken to be known."""
    flagged = 0
    for seed in range(16):
        rng = np.random.default_rng([7, 12, 6, 1, 10, seed, False])
        signal = rng.standard_normal((12, 1)) @ rng.standard_normal((1, 6))
        mean = 10 * rng.standard_normal(6)
        result = rpca(signal + mean + 0.1 * rng.standard_normal((12, 6)))
        flagged += int((result.sparse != 0).sum()) if result.clear else 0
    assert flagged <= 4


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_large_whole_numbers_that_are_right_keep_all_their_digits(kind):
    _, data, wrong = _measured(noise=0.001)
    table = (1_700_000_000_000_000_000 + np.rint(data * 1e15)).astype(kind)
    repaired, result = repair(table)
    found = result.sparse != 0
    assert repaired.dtype == kind
    assert found[wrong].all()
    assert np.array_equal(repaired[~found], table[~found])


def test_replacements_stay_within_the_range_of_whole_numbers():
    most = np.float64(2**63)  # one more than there is room for
    for kind in (np.int8, np.int64, np.uint8):
        typed = as_type(np.array([-most, 1.6, most]), np.dtype(kind))
        assert typed.dtype == kind
        assert typed.tolist()[:2] == [np.iinfo(kind).min, 2]
        assert typed[2] > 0.999 * np.iinfo(kind).max


@pytest.mark.parametrize("kind", ["int8", "int32", "Int16", "float32"])
def test_frames_of_narrow_columns_keep_their_types(kind):
    pandas = pytest.importorskip("pandas")
    table = np.rint(10 * np.outer(np.arange(1, 13) % 5, [1, 2, 1, 2, 1, 2]))
    table[5, 3] = 90
    repaired, _ = repair(pandas.DataFrame(table).astype(kind))
    assert (repaired.dtypes == kind).all()
    assert repaired.iloc[5, 3] == pytest.approx(20)


def test_the_list_of_outliers_is_as_sure_as_the_law_of_the_noise():
    _, data, _ = _measured(columns=8, noise=0.1, share=0)
    data[3, 4] += 2
    result = rpca(data)
    gaussian, heavy = (outliers(data, replace(result, noise_degrees=degrees)).sure for degrees in (math.inf, 3))
    assert len(gaussian) >= 1
    assert gaussian[0] > 0.9999 > heavy[0] > 0.5


@pytest.mark.parametrize("units", [np.ones(10), 10.0 ** np.array([0, 0, 0, 3, 3, -3, -3, -5, 5, 0])])
def test_transform_tells_samples_from_their_gross_errors_in_any_units(units):
    good, _, _ = _measured(columns=10, noise=0.01)
    rng = np.random.default_rng(3)
    wrong = rng.random(good.shape) < 0.08
    data = np.where(wrong, good + rng.choice([-1, 1], good.shape) * rng.uniform(1, 20, good.shape), good)
    estimator = RobustPCA().fit(data * units)
    for rows in (slice(None), slice(0, 7)):
        back = estimator.inverse_transform(estimator.transform(data[rows] * units)) / units
        assert np.abs(back - good[rows]).max() < 0.2


def test_whole_columns_get_whole_replacements_in_the_list_too():
    _, data, _ = _measured(noise=0.001)
    table = np.rint(1000 * data)
    result = rpca(table)
    replacements, where = repairs(table, result, np.ones(12, bool))
    assert where.any()
    assert np.array_equal(replacements[where], np.rint(replacements[where]))
