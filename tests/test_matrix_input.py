"""Data that doprestore.rpca refuses, and the odd shapes and settings at the edge of what it takes."""

import numpy as np
import pytest

from doprestore import rpca
from doprestore.errors import InputError, UsageError


@pytest.mark.parametrize(
    ("data", "rank"),
    [
        (np.zeros((5, 7)), 0),
        (np.full((30, 40), 3.0), 1),
        (np.eye(50)[:, :1] @ np.ones((1, 40)), None),
        (np.array([[3.0]]), None),
        (np.diag(np.arange(1.0, 60)), 0),
    ],
)
def test_degenerate_matrices(data, rank):
    result = rpca(data)
    assert result.converged
    np.testing.assert_allclose(result.low_rank + result.sparse, data, atol=1e-5 * np.abs(data).max())
    assert rank is None or result.rank == rank


@pytest.mark.parametrize("data", [np.arange(1.0, 20)[None], np.arange(1.0, 20)[:, None]])
def test_a_single_line_has_no_clear_split(data):
    result = rpca(data)
    assert result.converged and not result.clear


@pytest.mark.parametrize(("data", "words"), [
    (np.zeros((0, 3)), "empty"),
    (np.float64(3), "shape"),
    (np.zeros(5), "reshape"),
    (np.zeros((2, 3, 4)), "reshape"),
    (np.ones((3, 3)) * 1j, "complex"),
    (np.array([["a", "b"]]), "no numbers"),
    (np.array([[None, 1]]), "Python objects"),
    ([[1, 2], [3]], "rectangular"),
    (np.array([[1.0, np.inf]]), "infinite"),
    (np.full((3, 3), np.nan), "missing"),
])  # fmt: skip
def test_bad_data(data, words):
    with pytest.raises(InputError, match=words):
        rpca(data)


@pytest.mark.parametrize("settings", [
    {"tau": 1e-3}, {"rank_bound": 3}, {"init": 1e-3}, {"alpha": 0.0}, {"alpha": float("nan")}, {"steps": 0},
    {"seed": -1}, {"preset": "slow"}, {"nonsense": 1}, {"preset": "paper", "tau": -1.0}, {"device": "cpuu"},
])  # fmt: skip
def test_bad_settings(settings):
    with pytest.raises(UsageError):
        rpca(np.ones((3, 3)), **settings)
