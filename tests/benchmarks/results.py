"""Results that a benchmark appends to a file as it goes: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from pathlib import Path


def append_result(path: Path, row: dict) -> None:
    """Another line at the end of the file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_results(path: Path, key: Callable[[dict], Hashable]) -> dict:
    """The last result of each key; a line cut short by an interruption is left out."""
    results = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        results[key(row)] = row
    return results
