"""Every public constant has a sentence of its own: what it is, in which unit, over which range it was measured."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from image_constants_fields import MODULES, STRUCTURAL

import doprestore

PACKAGE = Path(doprestore.__file__).parent
# What was measured, at the end of a sentence: a range or other values, and what they do.
MEASURED = r"\[[^\[]*\d[^\[]*[a-z][^\[]*\]"
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


def _said_of_the_fast_preset() -> dict[str, str]:
    """The comment of each constant of the fast preset, MODULE.NAME."""
    said = {}
    for module in MODULES:
        for names, comment in _constants((PACKAGE / "image" / f"{module}.py").read_text()).items():
            said.update({f"{module}.{name}": comment for name in names.split(", ")})
    return said


def test_every_constant_of_the_fast_preset_says_what_was_measured_of_it():
    said = _said_of_the_fast_preset()
    assert [name for name, comment in said.items() if name not in STRUCTURAL and not re.search(MEASURED, comment)] == []


def test_constants_that_are_not_measured_exist():
    said = _said_of_the_fast_preset()
    assert [name for name in STRUCTURAL if name not in said] == []


def test_a_comment_that_runs_on_is_no_sentence():
    said = _constants("# A is so,\nA = 1\n# and B more.\nB = 2\nC = 3\n# D.\nD, E = 4, 5\n_F = 6\n")
    assert [names for names, comment in said.items() if not _is_sentence(comment)] == ["A", "B", "C"]
