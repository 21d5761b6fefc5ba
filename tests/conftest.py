"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from warm import Outcome, Started

from doprestore import cli
from doprestore.cli import screen
from doprestore.image import crossfit
from doprestore.image.settings import image_settings
from doprestore.reproduce.long_run import LongRun
from doprestore.reproduce.originals import PAPER

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request) -> torch.device:
    """Every device that this machine has."""
    return torch.device(request.param)


@pytest.fixture(scope="session")
def paper_images() -> dict[str, Path]:
    """The paper's four pictures by name: F16, Peppers, Baboon, kodim03; skips where they are absent.

    They are not ours to distribute: they lie in $DOPRESTORE_DATA, or in ../shared/data beside the repository.
    """
    folder = Path(os.environ.get("DOPRESTORE_DATA", ROOT.parent / "shared" / "data"))
    paths = {name: folder / f"{name}.png" for name in PAPER}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        pytest.skip(f"the paper's pictures are absent ({missing[0]}); set DOPRESTORE_DATA to their folder")
    return paths


@pytest.fixture(autouse=True)
def no_lines_on_a_slow_machine(request, monkeypatch) -> None:
    """Tests that count the lines on stderr do not mind a machine on which a small picture takes half a minute."""
    if request.module.__name__ != "test_cli_screen":
        monkeypatch.setattr(screen, "MINUTE", 3600.0)
        monkeypatch.setattr(screen, "LEAST", 3600.0)


@pytest.fixture
def one_thread():
    """The last bits depend on the number of threads; workers share out what this process has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def scans(tmp_path, monkeypatch) -> Path:
    """The working folder, with three small pictures in scans/: 0.png, 1.png, 2.png."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    for seed in range(3):
        values = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), np.uint8)
        Image.fromarray(values).save(tmp_path / "scans" / f"{seed}.png")
    return tmp_path


def waves(channels: int, height: int, width: int) -> torch.Tensor:
    """(C, H, W), smooth, in [0.1, 0.9], of 256 tones."""
    y, x = torch.linspace(0, height / 40, height)[:, None], torch.linspace(0, width / 40, width)
    smooth = torch.stack([0.5 + 0.4 * torch.sin(y + 1.5 * x + 0.5 * c) for c in range(channels)])
    return (smooth * 255).round() / 255


def salted(clean: torch.Tensor, share: float = 0.1) -> torch.Tensor:
    """The same with black and white on so much of the values."""
    chance = torch.rand(clean.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(chance < share, (chance < share / 2).float(), clean)


def long_run(loss: str | None, *, width: int = 8, seed: int = 1, alpha: float = 2e5, double: bool = True) -> LongRun:
    """The paper's preset on a small picture, without noise on the input, which not everyone draws in the same order. In
    double precision, for the first steps make rounding grow tenfold each."""
    clean = waves(3, 64, 64).roll(7 * seed, 2)
    settings = image_settings("paper", width=width, steps=30, seed=seed, alpha=alpha, device="cpu", precision="float32")
    run = LongRun(salted(clean, 0.3), clean, settings, loss)
    run.fit.input_noise = 0.0
    if double:
        run.fit.network.double()
        for owner in (run, run.fit, run.fit.outliers):
            for name, value in list(vars(owner).items()):
                if isinstance(value, torch.Tensor):
                    setattr(owner, name, value.double())
    return run


@pytest.fixture
def struck(tmp_path) -> Path:
    """struck.png, a small colour picture with black and white on a tenth of the values, and whole.png, the same without."""
    for name, picture in (("whole", waves(3, 24, 40)), ("struck", salted(waves(3, 24, 40)))):
        pixels = (255 * picture).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path / "struck.png"


@pytest.fixture
def few_lessons(monkeypatch) -> None:
    """A search by the network that is quick and not good."""
    monkeypatch.setattr(crossfit, "STEPS", 2)


@pytest.fixture
def run_cli(capsys) -> Callable[..., Outcome]:
    """run_cli("image", path, ...): the command line in this process; arguments are turned into text."""

    def run(*args: object) -> Outcome:
        capsys.readouterr()
        code = cli.run([str(arg) for arg in args])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def start_cli(tmp_path_factory) -> Callable[..., Started]:
    """start_cli("image", path, ...): the command line in a process of its own, which signals can reach."""
    return lambda *args: Started([str(arg) for arg in args], tmp_path_factory.mktemp("streams"))
