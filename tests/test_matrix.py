"""doprestore.rpca by property and known answer."""

import numpy as np
import pytest
import torch

from doprestore import rpca
from doprestore.errors import NumericalError, UsageError
from doprestore.metrics import relative_error


def problem(rows=80, columns=60, rank=3, share=0.1, seed=0):
    rng = np.random.default_rng(seed)
    low_rank = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    sparse = rng.uniform(-10, 10, low_rank.shape) * (rng.random(low_rank.shape) < share)
    return low_rank, sparse


@pytest.mark.parametrize(("rows", "columns", "rank", "share"), [
    (60, 60, 3, 0.1), (80, 60, 3, 0.3), (60, 200, 5, 0.2), (1000, 40, 2, 0.1), (150, 150, 15, 0.1), (20_000, 200, 20, 0.3),
])  # fmt: skip
def test_exact_recovery_of_values_rank_and_outliers(rows, columns, rank, share, device):
    low_rank, sparse = problem(rows, columns, rank, share)
    result = rpca(low_rank + sparse, device=str(device))
    assert result.converged and not result.interrupted
    assert result.rank == rank
    assert relative_error(result.low_rank, low_rank) < 1e-9
    assert np.array_equal(result.sparse != 0, sparse != 0)
    assert result.outlier_share == np.mean(sparse != 0)
    assert result.residual < 1e-9


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", ">f8", ">f4"])
def test_float_type_is_kept_and_integers_become_float64(dtype):
    low_rank = np.outer(np.arange(1, 41), np.arange(1, 31) % 4)
    data = low_rank.copy()
    rng = np.random.default_rng(0)
    wrong = rng.random(data.shape) < 0.05
    data[wrong] = rng.integers(0, 200, wrong.sum())
    result = rpca(data.astype(dtype))
    expected = np.dtype(dtype).newbyteorder("=") if "f" in dtype else np.dtype(np.float64)
    assert result.low_rank.dtype == result.sparse.dtype == expected
    assert relative_error(result.low_rank.astype(float), low_rank) < 1e-3


def test_missing_entries_are_filled_in():
    low_rank, sparse = problem(100, 80, 3, 0.1)
    data = low_rank + sparse
    missing = np.random.default_rng(1).random(data.shape) < 0.3
    data[missing] = np.nan
    result = rpca(data)
    assert relative_error(result.low_rank, low_rank) < 1e-9
    assert not result.sparse[missing].any()


def test_lines_without_data_are_left_empty_and_named_and_harm_nothing():
    low_rank, sparse = problem()
    data = low_rank + sparse
    data[3] = np.nan
    data[8, 2:] = np.nan  # two entries do not determine three unknowns
    data[:, 9] = np.nan
    result = rpca(data)
    assert result.solution == "exact" and result.rank == 3
    assert result.empty_rows == (3, 8) and result.empty_columns == (9,)
    assert np.isnan(result.low_rank[[3, 8]]).all() and np.isnan(result.low_rank[:, 9]).all()
    seen = np.isfinite(result.low_rank)
    assert seen.sum() == (80 - 2) * (60 - 1)
    assert relative_error(result.low_rank[seen], low_rank[seen]) < 1e-9
    assert not result.sparse[~seen].any()


@pytest.mark.parametrize("factor", [1e-200, 1e-20, 3.7, 1e20, 1e200])
def test_scale_free(factor):
    low_rank, sparse = problem()
    result = rpca((low_rank + sparse) * factor)
    assert relative_error(result.low_rank / factor, low_rank) < 1e-9


def test_outliers_of_any_size():
    low_rank, _ = problem()
    data = low_rank.copy()
    wild = np.random.default_rng(2).random(data.shape) < 0.05
    data[wild] = 1e30
    assert relative_error(rpca(data).low_rank, low_rank) < 1e-9
    narrow = rpca(data.astype(np.float32))
    assert relative_error(narrow.low_rank, low_rank) < 1e-5


def test_outliers_of_any_size_beside_noise():
    """The answer is the convex one, and does not depend on how large the outliers are."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((40, 50))
    wild = rng.random(noise.shape) < 0.05
    results = [rpca(np.where(wild, size, noise)) for size in (1e3, 1e9, 1e30)]
    assert {result.solution for result in results} == {"convex"}
    for result in results[1:]:
        assert relative_error(result.low_rank, results[0].low_rank) < 1e-3


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_order_and_units_of_rows_and_columns_do_not_matter(noise):
    random = np.random.default_rng(3)
    low_rank = random.normal(size=(60, 3)) @ random.normal(size=(3, 40))
    wrong = random.random((60, 40)) < 0.05
    y = low_rank + noise * random.normal(size=(60, 40)) + wrong * random.uniform(3, 10, (60, 40))
    result = rpca(y)
    rows, columns, units = random.permutation(60), random.permutation(40), 10 ** random.uniform(-2, 2, 40)
    moved = rpca((y * units)[rows][:, columns])
    assert moved.rank == result.rank == 3
    np.testing.assert_array_equal(np.asarray(moved.sparse) != 0, (np.asarray(result.sparse) != 0)[rows][:, columns])
    change = np.asarray(moved.low_rank) / units[columns] - np.asarray(result.low_rank)[rows][:, columns]
    assert np.abs(change).max() < max(noise / 5, 1e-9)


def test_the_transpose_gives_the_transpose():
    low_rank, sparse = problem()
    one, other = rpca(low_rank + sparse), rpca((low_rank + sparse).T)
    assert relative_error(one.low_rank, other.low_rank.T) < 1e-9
    # Where there is no exact answer, both are the solution of the same convex program.
    noise = np.random.default_rng(0).standard_normal((20, 30))
    assert relative_error(rpca(noise).low_rank, rpca(noise.T).low_rank.T) < 1e-4


@pytest.mark.parametrize("condition", [10, 100, 1000])
def test_ill_conditioned(condition):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((150, 5)))[0] for _ in range(2))
    low_rank = 200 * (left * np.logspace(0, -np.log10(condition), 5)) @ right.T
    sparse = rng.uniform(-5, 5, low_rank.shape) * (rng.random(low_rank.shape) < 0.1)
    assert relative_error(rpca(low_rank + sparse).low_rank, low_rank) < 1e-6


def test_symmetric_positive_semidefinite():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((70, 3))
    low_rank = factor @ factor.T
    data = low_rank + rng.uniform(-10, 10, low_rank.shape) * (rng.random(low_rank.shape) < 0.1)
    result = rpca(data, symmetric=True)
    assert relative_error(result.low_rank, low_rank) < 1e-9
    np.testing.assert_allclose(result.low_rank, result.low_rank.T, atol=1e-12)
    # Data with a negative part: the answer stays positive semidefinite.
    result = rpca(-low_rank, symmetric=True)
    assert np.linalg.eigvalsh(result.low_rank)[0] > -1e-6 * np.abs(low_rank).max()
    with pytest.raises(UsageError, match="square"):
        rpca(np.ones((3, 4)), symmetric=True)


def test_rows_and_columns_of_zeros():
    low_rank, sparse = problem()
    for part in (low_rank, sparse):
        part[4] = part[:, 7] = 0
    result = rpca(low_rank + sparse)
    assert relative_error(result.low_rank, low_rank) < 1e-9


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e-1])
def test_dense_noise_degrades_gracefully(noise):
    """As good, within a factor 1.5, as the best rank-3 fit of the noisy matrix without its outliers."""
    low_rank, sparse = problem(100, 100, 3, 0.1)
    noisy = low_rank + noise * np.random.default_rng(3).standard_normal(low_rank.shape)
    u, s, vt = np.linalg.svd(noisy)
    ideal = relative_error((u[:, :3] * s[:3]) @ vt[:3], low_rank)
    result = rpca(noisy + sparse)
    assert result.converged and result.rank == 3
    assert relative_error(result.low_rank, low_rank) < 1.5 * ideal


def test_no_low_rank_part_is_invented_with_an_exact_verdict():
    result = rpca(np.random.default_rng(0).standard_normal((60, 60)))
    assert result.solution == "convex"
    np.testing.assert_array_less(abs(result.low_rank + result.sparse - 0), 1e3)


@pytest.mark.parametrize("seed", [10001, 10002, 10003])
def test_a_weak_direction_is_not_taken_for_dense_noise(seed):
    """The last of ten singular values is 4 times below the first, and spread evenly over the entries."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((50, 10))
    data = u @ u.T
    wrong = rng.choice(data.size, 125, replace=False)
    data.flat[wrong] += rng.normal(0, 10, len(wrong))
    assert relative_error(rpca(data, symmetric=True).low_rank, u @ u.T) < 1e-6


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize(
    ("solution", "settings"), [("noise", {}), ("convex", {}), ("descent", {"preset": "paper", "steps": 9})]
)
def test_the_residual_is_the_norm_of_what_is_in_neither_part(solution, settings, missing):
    rng = np.random.default_rng(0)
    low_rank, sparse = problem(100, 100, 3, 0.1)
    data = (0 if solution == "convex" else low_rank + sparse) + 0.1 * rng.standard_normal(low_rank.shape)
    data[rng.random(data.shape) < missing] = np.nan
    result = rpca(data, **settings)
    assert result.solution == solution
    known = ~np.isnan(data)
    rest = (data - result.low_rank - result.sparse)[known]
    expected = np.linalg.norm(rest) / np.linalg.norm(data[known])
    assert result.residual == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_the_convex_program_converges_in_float32(device):
    """Like a video: a large constant background, and changes in no clear rank."""
    rng = np.random.default_rng(0)
    changes = (rng.standard_normal((30, 8)) * 0.5 ** np.arange(8)) @ rng.standard_normal((8, 2000))
    data = (100 + 20 * changes + rng.standard_normal((30, 2000))).astype(np.float32)
    data[rng.random(data.shape) < 0.1] = 255
    result = rpca(data, device=str(device))
    assert result.converged and result.solution == "convex" and result.steps < 600


def test_same_seed_same_bits_and_the_input_is_untouched():
    low_rank, sparse = problem()
    data = low_rank + sparse
    before = data.copy()
    one, two = rpca(data, seed=5), rpca(data, seed=5)
    assert np.array_equal(one.low_rank, two.low_rank) and np.array_equal(one.sparse, two.sparse)
    assert np.array_equal(data, before)


@pytest.mark.parametrize(("share", "seed"), [(0.1, 2005), (0.5, 2003)])
def test_a_refit_that_goes_round_in_circles_ends(share, seed):  # of rank 1, where rank 2 would be right
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((50, 2))
    data = u @ u.T
    wrong = rng.choice(data.size, round(share * data.size), replace=False)
    data.flat[wrong] += rng.normal(0, 10, len(wrong))
    result = rpca(data, symmetric=True)
    assert result.converged and result.solution in ("exact", "convex")


def test_not_converged_is_reported():
    result = rpca(np.random.default_rng(0).standard_normal((60, 60)), steps=15)
    assert result.steps == 15
    assert not result.converged


@pytest.mark.parametrize("stop_at", [3, 12, 200])
def test_stopped_from_outside_gives_the_split_as_it_stands(stop_at):
    data = np.random.default_rng(0).standard_normal((60, 60))
    count = iter(range(10**6))
    result = rpca(data, should_stop=lambda: next(count) + 1 >= stop_at)
    assert result.interrupted and not result.converged
    assert result.steps == stop_at
    assert np.isfinite(result.low_rank).all() and np.isfinite(result.sparse).all()


@pytest.mark.parametrize(("preset", "cut"), [("fast", 5), ("fast", 14), ("fast", 60), ("fast", 300), ("paper", 50)])
def test_a_resumed_run_ends_bit_identical(preset, cut):
    data = np.random.default_rng(0).standard_normal((40, 50)) if cut != 14 else sum(problem())
    steps = 120 if preset == "paper" else None
    whole = rpca(data, preset=preset, steps=steps)
    states = []
    count = iter(range(10**6))
    rpca(data, preset=preset, steps=steps, should_stop=lambda: next(count) + 1 >= cut, save_state=states.append)
    state = torch.load(_file(states[-1]), weights_only=True)
    resumed = rpca(data, preset=preset, steps=steps, resume=state)
    assert resumed.steps == whole.steps
    assert np.array_equal(resumed.low_rank, whole.low_rank) and np.array_equal(resumed.sparse, whole.sparse)


def _file(state):
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def test_progress_counts_up_and_names_the_stage():
    seen = []
    result = rpca(np.random.default_rng(0).standard_normal((40, 40)), callback=seen.append)
    assert result.history == seen
    assert [p.step for p in seen] == sorted({p.step for p in seen})
    assert {p.stage for p in seen} >= {"flow", "convex"}
    assert seen[-1].step == result.steps


def test_paper_preset_on_the_papers_problem():
    """Section 4.1 with fewer steps than there: already well on its way to the success criterion 0.1."""
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((50, 3))
    low_rank = factor @ factor.T
    data = low_rank + rng.normal(0, 10, low_rank.shape) * (rng.random(low_rank.shape) < 0.1)
    result = rpca(data, preset="paper", symmetric=True, steps=4000)
    assert result.solution == "descent" and result.steps == 4000
    assert relative_error(result.low_rank, low_rank) < 0.1
    assert relative_error(rpca(data, preset="paper", steps=4000, rank_bound=10).low_rank, low_rank) < 0.1


def test_paper_preset_reports_divergence():
    low_rank, sparse = problem()
    with pytest.raises(NumericalError, match="--tau"):
        rpca(low_rank + sparse, preset="paper", tau=10.0, steps=2000)
