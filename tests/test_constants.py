"""Every public constant has a sentence of its own: what it is, in which unit, over which range it was measured."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import doprestore

PACKAGE = Path(doprestore.__file__).parent
# They are tables of fields that say what they are.
OF_THEIR_OWN_WORDS = {"Figure", "Runs"}


def _constants(text: str) -> dict[str, str]:
    """The names of each public constant, and the comment right above it."""
    lines = text.splitlines()
    found = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign):
            continue
        names = [part.id for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name)]
        called = getattr(getattr(node.value, "func", None), "id", None)
        if called in OF_THEIR_OWN_WORDS or not any(re.fullmatch("[A-Z][A-Z0-9_]*", name) for name in names):
            continue
        first = node.lineno - 1
        while first > 0 and lines[first - 1].startswith("#"):
            first -= 1
        found[", ".join(names)] = " ".join(line.removeprefix("#").strip() for line in lines[first : node.lineno - 1])
    return found


def _is_sentence(comment: str) -> bool:
    """Whether it begins and ends as one; Greek letters begin as they are."""
    return comment.endswith(".") and not (comment[0].isascii() and comment[0].islower())


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_constant_has_a_sentence(path):
    said = _constants(path.read_text())
    assert [names for names, comment in said.items() if not _is_sentence(comment)] == []


def test_a_comment_that_runs_on_is_no_sentence():
    said = _constants("# A is so,\nA = 1\n# and B more.\nB = 2\nC = 3\n# D.\nD, E = 4, 5\n_F = 6\n")
    assert [names for names, comment in said.items() if not _is_sentence(comment)] == ["A", "B", "C"]
