"""Results that a benchmark appends to a file as it goes: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def read_results(path: Path, key: Callable[[dict], str]) -> dict[str, dict]:
    """The last result of each key; a line cut short by an interruption is left out."""
    results = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        results[key(row)] = row
    return results
