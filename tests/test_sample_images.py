"""sample_images/: every damaged picture is what the command recorded beside it makes."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from doprestore.io.images import read_picture

FOLDER = Path(__file__).resolve().parent.parent / "sample_images"
COMMANDS = re.findall(r"^    doprestore (corrupt .+)$", (FOLDER / "README.md").read_text(), re.MULTILINE)


def test_every_sample_has_a_command_and_a_source():
    text = (FOLDER / "README.md").read_text()
    assert len(COMMANDS) >= 3
    assert all(path.name in text for path in FOLDER.glob("*.png"))


@pytest.mark.parametrize("line", COMMANDS)
def test_the_recorded_command_makes_the_sample(run_cli, tmp_path, monkeypatch, line):
    monkeypatch.chdir(FOLDER)
    _, source, output, *options = shlex.split(line)
    assert run_cli("corrupt", source, tmp_path / output, *options).code == 0
    assert np.array_equal(read_picture(tmp_path / output).samples, read_picture(output).samples)
