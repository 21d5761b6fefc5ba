"""doprestore compare, through the command line, on pictures of 64x64."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from doprestore.baselines import METHODS
from doprestore.io.images import read_picture, write_picture
from doprestore.metrics import psnr

QUICK = ("--steps", 5, "--width", 4, "--device", "cpu")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    ramp = np.linspace(0.2, 0.8, 64, dtype=np.float32)
    write_picture(path, np.stack([ramp[:, None] * np.ones(64, np.float32), ramp * np.ones((64, 1), np.float32)] * 2)[:3])
    return path


def table(stdout):
    return {line.split()[0]: line.split()[1:] for line in stdout.splitlines()[1:] if not line.endswith("right")}


def test_table_panel_pictures_and_curves(run_cli, photo):
    folder = photo.parent / "out"
    methods = ["ours", "median", "best-median", "dip-l1", "known-mask"]
    code, stdout, stderr = run_cli("compare", photo, "--amount", 0.2, "--methods", ",".join(methods), "-o", folder, *QUICK)
    assert code == 0
    rows = table(stdout)
    assert list(rows) == ["damaged", *methods]
    assert [name for name in methods if rows[name][-1] == "oracle"] == ["best-median", "dip-l1", "known-mask"]
    original = read_picture(folder / "original.png").pixels
    assert np.array_equal(original, read_picture(photo).pixels)
    for name in ["damaged", *methods]:
        # The file has 8 bits, which count from 50 dB on; two decimals are printed.
        file, told = psnr(read_picture(folder / f"{name}.png").pixels, original), float(rows[name][0])
        assert min(file, 50) == pytest.approx(min(told, 50), abs=0.3)
    assert read_picture(folder / "panel.png").pixels.shape[2] > 7 * 64
    with open(folder / "table.csv") as file:
        assert [row["method"] for row in csv.DictReader(file)] == methods
    with open(folder / "curves.csv") as file:
        steps = [(row["method"], int(row["step"])) for row in csv.DictReader(file)]
    ours = [step for name, step in steps if name == "ours"]
    assert ours == list(range(1, len(ours) + 1)) and len(ours) > 5  # the rounds of the search come first
    assert steps[len(ours) :] == [*(("dip-l1", step) for step in range(1, 6)), ("known-mask", 5)]
    assert (folder / "curves.png").exists() or "pip install 'doprestore[figures]'" in stderr


def test_a_damaged_picture_with_its_original(run_cli, photo):
    damaged = photo.with_name("damaged.png")
    assert run_cli("corrupt", photo, damaged, "--amount", 0.3, "--seed", 5).code == 0
    given = run_cli("compare", damaged, "--clean", photo, "--methods", "median,adaptive-median")
    made = run_cli("compare", photo, "--amount", 0.3, "--seed", 5, "--methods", "median,adaptive-median")
    assert given.code == made.code == 0
    cut = [[row[:3] for row in table(result.stdout).values()] for result in (given, made)]
    assert cut[0] == cut[1], "the same damage, the same table"


def test_all_names_every_method(run_cli, photo):
    pytest.importorskip("scipy")
    code, stdout, _ = run_cli("compare", photo, "--methods", "all", *QUICK)
    assert code == 0 and list(table(stdout)) == ["damaged", "ours", *METHODS]


def test_earlier_results_are_kept_without_force(run_cli, photo):
    folder = photo.parent / "out"
    args = ("compare", photo, "--methods", "median", "-o", folder)
    assert run_cli(*args).code == 0
    code, _, stderr = run_cli(*args)
    assert code == 2 and "--force" in stderr
    assert run_cli(*args, "--force").code == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["absent.png"], 1, "absent.png"),
        (["photo.png", "--methods", "magic"], 2, "magic"),
        (["photo.png", "--clean", "photo.png", "--kind", "text"], 2, "leave out --kind"),
        (["photo.png", "--clean", "small.png"], 1, "another size"),
        (["photo.png", "-o", "photo.png"], 1, "photo.png"),
        (["photo.png", "--amount", "3"], 2, "--amount"),
        (["photo.png", "--amount", "nan"], 2, "--amount"),
    ],
)
def test_bad_input_is_one_line(run_cli, photo, monkeypatch, args, code, words):
    monkeypatch.chdir(photo.parent)
    write_picture("small.png", np.zeros((3, 8, 8), np.float32))
    result = run_cli("compare", *args)
    assert result.code == code and result.stdout == ""
    assert words in result.stderr and result.stderr.count("\n") == 1


def test_plots_without_matplotlib_name_the_remedy(run_cli, photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    folder = photo.parent / "out"
    code, _, stderr = run_cli("compare", photo, "--methods", "dip", "-o", folder, *QUICK)
    assert code == 0 and "pip install 'doprestore[figures]'" in stderr
    assert (folder / "curves.csv").exists() and not (folder / "curves.png").exists()


def test_plots_are_png(run_cli, photo):
    pytest.importorskip("matplotlib")
    folder = photo.parent / "out"
    assert run_cli("compare", photo, "--methods", "dip", "-o", folder, *QUICK).code == 0
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_help_needs_no_torch():
    code = "import sys; from doprestore.cli import run; run(['compare', '--help']); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and all(name in result.stdout for name in METHODS)
