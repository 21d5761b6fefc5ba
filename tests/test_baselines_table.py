"""The table of methods: each entry does what it says it takes."""

import inspect
import subprocess
import sys

import pytest
import torch

from doprestore.baselines import METHODS
from doprestore.baselines.score import settings_of
from doprestore.damage.make import corrupt
from doprestore.metrics import psnr


@pytest.mark.parametrize("name", METHODS)
def test_every_method_improves_a_damaged_picture(name):
    if name == "interpolation":
        pytest.importorskip("scipy")
    method = METHODS[name]
    clean = (0.2 + torch.linspace(0, 0.5, 70)[None, :, None]).repeat(3, 1, 66)
    noisy = corrupt(clean, "salt-pepper", 0.3, seed=0).picture
    given = noisy.clone()
    settings = settings_of(name, steps=30, width=8, device="cpu")
    restored = method.load()(noisy, *[clean] * method.oracle, *[settings] * method.fits)
    assert restored.shape == clean.shape and restored.dtype == clean.dtype
    assert restored.min() >= 0 and restored.max() <= 1
    assert psnr(restored, clean) > psnr(noisy, clean) + 5
    assert torch.equal(noisy, given), "the input was changed in place"


@pytest.mark.parametrize("name", METHODS)
def test_oracles_are_labelled(name):
    if name == "interpolation":
        pytest.importorskip("scipy")
    method = METHODS[name]
    assert method.oracle == ("oracle" in method.text)
    assert method.oracle == ("clean" in inspect.signature(method.load()).parameters)


def test_reading_the_table_imports_no_torch():
    code = "import sys, doprestore.baselines; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
