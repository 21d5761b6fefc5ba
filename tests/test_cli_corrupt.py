"""doprestore corrupt, through the command line."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from doprestore.damage.kinds import KINDS
from doprestore.io.images import read_picture


@pytest.fixture
def photo(tmp_path):
    """A mid-grey ramp in colour, with a resolution and an alpha channel."""
    path = tmp_path / "photo.png"
    ramp = np.linspace(60, 200, 64 * 48 * 4).reshape(48, 64, 4).astype(np.uint8)
    Image.fromarray(ramp).save(path, dpi=(300, 300))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_damage_keeps_size_alpha_and_metadata(run_cli, photo, kind):
    out = photo.with_name("out.png")
    code, stdout, stderr = run_cli("corrupt", photo, out, "--kind", kind, "--amount", 0.1)
    assert code == 0 and stderr == ""
    before, after = read_picture(photo), read_picture(out)
    assert after.samples.shape == before.samples.shape
    assert np.array_equal(after.alpha, before.alpha)
    with Image.open(out) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    share = (after.samples != before.samples).mean()
    assert 0.03 < share < 0.2
    told = re.fullmatch(rf"{re.escape(str(out))}: {kind}, (.+)% of the values changed\n", stdout)
    # The last bit: a value that moved by less than half a tone is written as it was.
    assert float(told[1]) / 100 == pytest.approx(share, abs=0.003)


def test_mask_marks_what_changed_and_the_seed_decides(run_cli, photo):
    first, second, mask = (photo.with_name(name) for name in ("1.png", "2.png", "mask.png"))
    assert run_cli("corrupt", photo, first, "--seed", 7, "--mask-out", mask).code == 0
    assert run_cli("corrupt", photo, second, "--seed", 7).code == 0
    assert first.read_bytes() == second.read_bytes()
    changed = read_picture(first).samples != read_picture(photo).samples
    assert np.array_equal(read_picture(mask).samples, np.where(changed, 255, 0))
    assert run_cli("corrupt", photo, second, "--seed", 8, "--force").code == 0
    assert first.read_bytes() != second.read_bytes()


def test_standard_output_carries_only_the_picture(photo):
    run = [sys.executable, "-m", "doprestore", "corrupt", str(photo), "-", "--amount", "0.1"]
    result = subprocess.run(run, capture_output=True, check=True)
    assert result.stdout.startswith(b"\x89PNG") and b"values changed" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["absent.png", "out.png"], 1, "absent.png"),
        (["photo.png", "absent/out.png"], 2, "absent"),
        (["photo.png", "out.xyz"], 2, ".xyz"),
        (["photo.png", "out.jpg"], 1, "transparency"),
        (["photo.png", "out.png", "--mask-out", "photo.png"], 2, "--mask-out"),
        (["photo.png", "out.png", "--mask-out", "mask.xyz"], 2, ".xyz"),
        (["photo.png", "out.png", "--mask-out", "mask.pgm"], 1, "mask.pgm: .pgm cannot hold colour"),
        (["photo.png", "out.png", "--kind", "fog"], 2, "fog"),
        (["photo.png", "out.png", "--amount", "2"], 2, "--amount"),
        (["photo.png", "out.png", "--amount", "nan"], 2, "--amount"),
        (["photo.png", "out.png", "--kind", "scratches", "--amount", "0.8"], 2, "at most 50%"),
        (["photo.png"], 2, "OUTPUT"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run_cli, photo, monkeypatch, args, code, words):
    monkeypatch.chdir(photo.parent)
    result = run_cli("corrupt", *args)
    assert result.code == code and result.stdout == ""
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


def test_help_lists_every_kind_without_torch():
    code = "import sys; from doprestore.cli import run; run(['corrupt', '--help']); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(kind in result.stdout for kind in KINDS)
