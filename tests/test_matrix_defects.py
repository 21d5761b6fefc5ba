"""What went wrong on tables once, each with the input on which it did."""

import json

import numpy as np
import pytest

from doprestore import rpca
from doprestore.matrix.sensing import sense
from doprestore.matrix.settings import matrix_settings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _low_rank(rows=80, columns=50, rank=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns)), rng


def test_a_constant_and_noise_do_not_flag_half_the_cells():
    low_rank, rng = _low_rank(200, 200)
    sigma = 0.1
    wrong = rng.random(low_rank.shape) < 0.03
    data = low_rank + 20 + sigma * rng.standard_normal(low_rank.shape) + wrong * rng.choice([-1, 1], wrong.shape)
    result = rpca(data)
    assert result.solution == "noise" and result.rank == 4
    assert np.mean((result.sparse != 0) == wrong) > 0.999


@pytest.mark.parametrize("share", [0, 0.03])
def test_noise_without_a_low_rank_is_not_flagged(share):
    """A third of it was: the low rank of the convex answer follows most of the noise, and the rest stood out."""
    rng = np.random.default_rng(1)
    wrong = rng.random((120, 120)) < share
    data = rng.standard_normal(wrong.shape) + wrong * rng.choice([-1, 1], wrong.shape) * rng.uniform(10, 50, wrong.shape)
    result = rpca(data)
    assert result.solution == "convex" and not result.clear
    assert np.mean((result.sparse != 0) == wrong) > 0.999


@pytest.mark.parametrize("columns", [8, 12, 30])
def test_narrow_tables_flag_few_cells(columns):
    low_rank, rng = _low_rank(200, columns, 2)
    wrong = rng.random(low_rank.shape) < 0.03
    result = rpca(low_rank + 20 + 0.1 * rng.standard_normal(low_rank.shape) + 3 * wrong)
    assert result.outlier_share < 0.05
    assert (result.sparse != 0)[wrong].mean() > 0.8


def _fill(data, rng):
    return np.where(rng.random(data.shape) < 0.3, 999, data)


def _shift(data, rng):
    return np.where(rng.random(data.shape) < 0.3, data + 100, data)


def _saturate(data, rng):
    return np.minimum(data, np.quantile(data, 0.8))


@pytest.mark.parametrize("damage", [_fill, _shift, _saturate])
def test_many_cells_at_one_value_are_not_the_data(damage):
    low_rank, rng = _low_rank(150, 150, 5)
    result = rpca(damage(low_rank, rng))
    assert result.solution == "exact" and result.rank == 5
    assert np.linalg.norm(result.low_rank - low_rank) < 1e-6 * np.linalg.norm(low_rank)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_a_row_with_next_to_no_cells_is_left_empty(known):
    low_rank, rng = _low_rank()
    data = low_rank + 9 * (rng.random(low_rank.shape) < 0.05)
    data[7, known:] = np.nan
    for dtype in (np.float32, np.float64):
        result = rpca(data.astype(dtype))
        assert result.empty_rows == (7,) and np.isnan(result.low_rank[7]).all()
        assert np.isfinite(np.delete(result.low_rank, 7, axis=0)).all()


@pytest.mark.parametrize("steps", [1, 3, 12, 30])
def test_few_steps_are_reported_as_not_converged(folder, run_cli, steps):
    np.save("a.npy", np.random.default_rng(0).standard_normal((60, 60)))
    code, stdout, stderr = run_cli("rpca", "a.npy", "--steps", steps)
    assert code == 3 and "NOT converged" in stdout and not stderr
    report = json.loads(run_cli("rpca", "a.npy", "--steps", steps, "--force", "--json").stdout)
    assert report["solution"] == "unfinished" and report["converged"] is False


def test_no_clear_split_has_its_own_exit_code_and_says_so(folder, run_cli):
    np.save("a.npy", np.random.default_rng(0).standard_normal((60, 40)))
    code, stdout, _ = run_cli("rpca", "a.npy")
    assert code == 4 and "no clear split" in stdout and "(8)" not in stdout
    report = json.loads(run_cli("rpca", "a.npy", "--force", "--json").stdout)
    assert report["equation"] == "(8)" and report["clear"] is False


def test_the_report_names_codes_and_empty_lines(folder, run_cli):
    low_rank, rng = _low_rank()
    low_rank[rng.random(low_rank.shape) < 0.2] = -1
    low_rank[5] = np.nan
    np.save("a.npy", low_rank)
    code, stdout, _ = run_cli("rpca", "a.npy")
    assert code == 0
    assert "repeated too often: -1" in stdout and "rows 5" in stdout


# sense


def _measured(count, side=8, rank=1, dtype=np.float64, share=0.0):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((side, rank)) @ rng.standard_normal((rank, side))
    a = rng.standard_normal((count, side, side)).astype(dtype)
    y = np.einsum("mij,ij->m", a, x) + 30 * rng.standard_normal(count) * (rng.random(count) < share)
    return a, y.astype(dtype), x


def test_sense_without_measurements_says_so(folder, run_cli):
    np.savez("p.npz", A=np.zeros((5, 3, 3)), y=np.ones(5))
    code, _, stderr = run_cli("sense", "p.npz")
    assert code == 1 and "nothing was measured" in stderr and stderr.count("\n") == 1


def test_sense_says_when_there_are_too_few_measurements(folder, run_cli):
    a, y, _ = _measured(20, rank=2)
    np.savez("p.npz", A=a, y=y)
    code, stdout, _ = run_cli("sense", "p.npz")
    assert code in (3, 4) and "underdetermined: 20 measurements for" in stdout
    result = sense(a, y, matrix_settings())
    assert not result.clear and result.unknowns > 20 / 1.5


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_sense_is_as_exact_as_the_data(dtype, limit):
    a, y, x = _measured(300, dtype=dtype, share=0.05)
    result = sense(a, y, matrix_settings())
    assert result.solution == "exact" and result.converged and result.clear
    assert np.linalg.norm(result.low_rank - x) < limit * np.linalg.norm(x)


def test_sense_of_zeros_is_zero():
    result = sense(_measured(30)[0], np.zeros(30))
    assert result.rank == 0 and not result.low_rank.any()


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_an_interrupt_at_the_first_step_writes_what_there_is(folder, run_cli, monkeypatch, preset):
    from doprestore.cli.interrupt import Interrupt

    data = np.random.default_rng(0).standard_normal((40, 30))
    np.save("a.npy", data)

    def received(self):
        self.signal = 2  # as if Ctrl-C had been pressed
        return True

    monkeypatch.setattr(Interrupt, "received", received)
    code, stdout, stderr = run_cli("rpca", "a.npy", "--preset", preset, "--repaired", "r.npy", "--json")
    report = json.loads(stdout)
    assert (code, stderr) == (130, "") and report["interrupted"] and not report["converged"]
    assert np.load("r.npy").shape == data.shape


def test_text_and_dates_beside_the_numbers_are_not_refused(folder, run_cli):
    low_rank, _ = _low_rank(60, 12, 2)
    rows = [f"{i},2026-01-01T00:{i:02d},{','.join(map(repr, row))},room {i}" for i, row in enumerate(low_rank.tolist())]
    header = "id,time," + ",".join(f"s{i}" for i in range(12)) + ",room"
    text = "\n".join([header, *rows]) + "\n"
    (folder / "t.csv").write_text(text.replace(repr(low_rank[3, 4]), "1e6").replace(repr(low_rank[5, 6]), ""))
    assert run_cli("rpca", "t.csv", "--repaired", "r.csv").code == 0
    before, after = (line.split(",") for line in (text, (folder / "r.csv").read_text()))
    changed = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    assert len(changed) <= 2 and all(abs(float(before[place]) - float(after[place])) < 1e-9 for place in changed)
