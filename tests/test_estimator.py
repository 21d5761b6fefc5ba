"""RobustPCA against rpca, which it wraps."""

import subprocess
import sys

import numpy as np
import pytest

from doprestore import RobustPCA, rpca


def _data(dtype=np.float64):
    rng = np.random.default_rng(0)
    low_rank = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 40))
    return (low_rank + 9 * (rng.random(low_rank.shape) < 0.1)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_split_as_rpca_in_coordinates_and_components(dtype):
    data = _data(dtype)
    model = RobustPCA(device="cpu")
    coordinates = model.fit_transform(data)
    result = rpca(data, device="cpu")
    assert np.array_equal(model.low_rank_, result.low_rank) and np.array_equal(model.sparse_, result.sparse)
    assert (model.n_components_, model.solution_, model.converged_) == (3, "exact", True)
    assert coordinates.shape == (60, 3) and coordinates.dtype == model.components_.dtype == dtype
    np.testing.assert_allclose(model.inverse_transform(coordinates), model.low_rank_, atol=1e-5)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(3), atol=1e-5)
    assert np.array_equal(RobustPCA(device="cpu").fit(data).components_, model.components_)


def test_new_samples_are_told_from_their_errors():
    data = _data()
    model = RobustPCA(device="cpu").fit(data[:40])
    new = data[40:].copy()
    clean = rpca(data, device="cpu").low_rank[40:]
    new[0, :5] = np.nan
    np.testing.assert_allclose(model.inverse_transform(model.transform(new)), clean, atol=1e-6)


def test_parameters_travel_as_scikit_learn_expects():
    model = RobustPCA(alpha=2.0).set_params(seed=3)
    assert model.get_params() == {"preset": "fast", "alpha": 2.0, "steps": None, "seed": 3, "device": None}
    with pytest.raises(ValueError, match="rank"):
        model.set_params(rank=3)


def test_without_scikit_learn_it_does_the_same():
    code = """
import sys; sys.modules['sklearn'] = None
import numpy as np, pytest
from doprestore import RobustPCA
from doprestore.errors import InputError
rng = np.random.default_rng(0)
data = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20))
model = RobustPCA()
with pytest.raises(InputError, match='not fitted'):
    model.transform(data)
assert np.allclose(model.fit_transform(data) @ model.components_, data)
with pytest.raises(InputError, match='19 features'):
    model.transform(data[:, 1:])
assert model.set_params(alpha=2.0).get_params()['alpha'] == 2
with pytest.raises(ValueError):
    model.set_params(rank=2)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
