"""RobustPCA against rpca, which it wraps."""

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
    np.testing.assert_allclose(coordinates @ model.components_, model.low_rank_, atol=1e-5)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(3), atol=1e-5)
    assert np.array_equal(RobustPCA(device="cpu").fit(data).components_, model.components_)


def test_parameters_travel_as_scikit_learn_expects():
    model = RobustPCA(alpha=2.0).set_params(seed=3)
    assert model.get_params() == {"preset": "fast", "alpha": 2.0, "seed": 3, "device": None}
    with pytest.raises(ValueError, match="rank"):
        model.set_params(rank=3)


def test_scikit_learn_can_clone_it():
    model = RobustPCA(alpha=2.0)
    clone = pytest.importorskip("sklearn.base").clone(model)
    assert clone is not model and clone.get_params() == model.get_params()
