"""The command line as a whole: start-up, usage errors, exit codes."""

import os
import platform
import shlex
import subprocess
import sys

import pytest
import torch
from PIL import Image

from doprestore import __version__


def test_version_says_where_it_would_run(run_cli):
    code, stdout, stderr = run_cli("--version")
    assert (code, stderr, stdout.count("\n")) == (0, "", 1)
    assert stdout.startswith(f"doprestore {__version__}, Python {platform.python_version()}, torch {torch.__version__}, ")
    threads = torch.get_num_threads()
    assert stdout.endswith(f", {threads} thread{'s' if threads > 1 else ''}\n")
    assert ("cuda" in stdout) == torch.cuda.is_available()


def test_unknown_command_is_a_usage_error_on_one_line(run_cli):
    code, stdout, stderr = run_cli("frobnicate")
    assert code == 2
    assert stdout == ""
    assert "frobnicate" in stderr and stderr.count("\n") == 1


def test_choices_are_on_one_line(run_cli):
    code, stdout, stderr = run_cli("reproduce", "-o", "out")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1) and "Choose from: theorem1, fig1a, " in stderr


@pytest.mark.parametrize("name", ["a  b.png", " a.png ", "a\nb.png", "a\u3000b.png"])
def test_names_with_several_blanks_are_told_as_they_are(run_cli, tmp_path, monkeypatch, name):
    """Line breaks and blanks that cannot be told from others are escaped."""
    monkeypatch.chdir(tmp_path)
    told = name.replace("\n", r"\n").replace("\u3000", r"\u3000")
    for words in (("image", name, "out.png"), ("image", name, "out/", "--dry-run"), ("image", name, "out/"), ("rpca", name)):
        code, _, stderr = run_cli(*words)
        assert code and stderr.startswith(f"doprestore: error: {told}: ") and stderr.count("\n") == 1


def test_no_command_shows_the_help(run_cli):
    code, stdout, stderr = run_cli()
    assert (code, stdout) == (2, "") and stderr == run_cli("--help").stdout


def test_start_up_imports_no_torch():
    code = "import sys; from doprestore.cli import run; run(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("chosen", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_told_otherwise(chosen, policy):
    """It must be said before torch is imported."""
    script = """
import os, sys
from doprestore import cli
cli.run(["image"])
assert "torch" not in sys.modules
print(os.environ["OMP_WAIT_POLICY"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if chosen is None else {"OMP_WAIT_POLICY": chosen}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == policy


@pytest.mark.parametrize(
    "words",
    [
        "image '' out/ -r",
        "image '' -r --in-place .orig",
        "image a.png b.png ''",
        "image a.png out.png --log ''",
        "corrupt '' out.png",
        "corrupt a.png out.png --mask-out ''",
        "compare a.png -o ''",
        "reproduce fig2a -o ''",
        "rpca ''",
        "sense ''",
    ],
)
def test_an_empty_name_is_not_the_current_folder(run_cli, tmp_path, monkeypatch, words):
    """As of a variable of the shell that is not set."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 8)).save("a.png")
    code, stdout, stderr = run_cli(*shlex.split(words))
    assert (code, stdout, stderr.count("\n")) == (2, "", 1) and "'' is no name" in stderr
    assert os.listdir() == ["a.png"]


@pytest.mark.parametrize(
    "words",
    [
        "image a.png out.png --outliers -",
        "image a.png out.png --panel ./-",
        "image a.png - --report -",
        "corrupt a.png out.png --mask-out -",
        "corrupt a.png - --mask-out -",
    ],
)
def test_standard_output_takes_only_what_is_documented(run_cli, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 8)).save("a.png")
    code, stdout, stderr = run_cli(*words.split())
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert words.split()[-2] in stderr and "cannot be used here; name a file" in stderr
    assert os.listdir() == ["a.png"]
