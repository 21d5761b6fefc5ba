"""RobustPCA as scikit-learn wants an estimator, in pipelines and with frames."""

import numpy as np
import pytest

from doprestore import RobustPCA, rpca

checks = pytest.importorskip("sklearn.utils.estimator_checks")


# A few steps: the checks are of behaviour, not of splits, and fit a hundred times.
@checks.parametrize_with_checks([RobustPCA(steps=40)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def test_in_a_pipeline_frames_keep_their_names():
    pandas = pytest.importorskip("pandas")
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    rng = np.random.default_rng(0)
    low_rank = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 40))
    data = low_rank + 9 * (rng.random(low_rank.shape) < 0.1)
    frame = pandas.DataFrame(data, columns=[f"sensor {i}" for i in range(40)], index=[f"day {i}" for i in range(60)])
    clean = rpca(data).low_rank
    model = make_pipeline(RobustPCA(), LinearRegression()).fit(frame, clean[:, 0])
    np.testing.assert_allclose(model.predict(frame), clean[:, 0], atol=1e-6)
    assert list(model[0].feature_names_in_) == list(frame.columns)
    assert list(model[0].get_feature_names_out()) == ["robustpca0", "robustpca1", "robustpca2"]
    found = RobustPCA().set_output(transform="pandas").fit_transform(frame)
    assert list(found.columns) == ["robustpca0", "robustpca1", "robustpca2"] and list(found.index) == list(frame.index)
    assert list(found.dtypes) == [np.float64] * 3
