"""What the documents say: their links lead somewhere, and the command line takes their commands."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from doprestore.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not {"build", "site-packages", "node_modules"} & set(path.relative_to(ROOT).parts)
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)")
COMMAND = re.compile(r"(?:^|[`$|&\s])doprestore (" + "|".join(COMMANDS) + r") ([^`]*)")
OURS = re.compile(r"(?<![\w/.])(?:src|tests)/(?:[a-z_]+/)*[a-z_]\w*\.py")
BLANK = re.compile(r"\.\.\.|[A-Z]+(?:/\d+)?")  # a word for the reader to fill in


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of doprestore in a document, without what the shell does with them."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for name, rest in COMMAND.findall(line):
            filled = re.sub(r"\$\w+", "1", rest)  # a variable of the shell
            words = shlex.split(filled.split("  #")[0].split(" #")[0].split(";")[0], comments=True)
            for stop in ("|", "&&", ">", "&", "||"):
                words = words[: words.index(stop)] if stop in words else words
            if words and not any(BLANK.fullmatch(word) for word in words):
                found.append((name, words))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_to_files(document):
    text = document.read_text()
    missing = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert missing == []
    assert [path for path in OURS.findall(text) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_commands_are_understood(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, words in _commands(document.read_text()):
        command = cli.get_command(None, name)
        # Parses all options and arguments, and runs nothing.
        context = command.make_context(name, words)
        assert context.params, (name, words)


def test_every_benchmark_is_in_the_table_of_them():
    folder = ROOT / "tests" / "benchmarks"
    listed = re.findall(r"^\| `(\w+\.py)` \|", (folder / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.py"))


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_every_command_is_in_the_readme():
    told = {name for name, _ in _commands((ROOT / "README.md").read_text())}
    assert told == set(COMMANDS)


def test_the_readme_shows_python_that_parses():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)
