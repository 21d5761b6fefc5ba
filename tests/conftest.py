"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from doprestore import cli

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
    paths = {name: folder / f"{name}.png" for name in ("F16", "Peppers", "Baboon", "kodim03")}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        pytest.skip(f"the paper's pictures are absent ({missing[0]}); set DOPRESTORE_DATA to their folder")
    return paths


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
