"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from doprestore import cli
from doprestore.cli import screen
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
def scans(tmp_path, monkeypatch) -> Path:
    """The working folder, with three small pictures in scans/: 0.png, 1.png, 2.png."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    for seed in range(3):
        values = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), np.uint8)
        Image.fromarray(values).save(tmp_path / "scans" / f"{seed}.png")
    return tmp_path


class Outcome(NamedTuple):
    """What one run of the command line gave."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def run_cli(capsys) -> Callable[..., Outcome]:
    """run_cli("image", path, ...): the command line in this process; arguments are turned into text."""

    def run(*args: object) -> Outcome:
        capsys.readouterr()
        code = cli.run([str(arg) for arg in args])
        return Outcome(code, *capsys.readouterr())

    return run
