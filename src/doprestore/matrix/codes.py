"""Values that fill a table rather than being measured: codes such as 999, a saturated sensor, zeros for "nothing"."""

from __future__ import annotations

import numpy as np

# Entries that candidates are taken from.
SAMPLE = 20_000
# A code fills at least this share of the known entries.
SHARE = 0.01
# It is repeated at least so many times as often as the median value.
TIMES = 10
# From this share of the known entries on it is no code but the data itself.
MOST = 0.6
# From this share of a row or column on the value is that line's own.
CONSTANT = 0.75


def filled_cells(data: np.ndarray, known: np.ndarray) -> tuple[np.ndarray | None, list[float]]:
    """Where ``data`` holds a value that is repeated too often to have been measured (None: nowhere), and these values.

    Such cells say nothing until the rest of the table has said what belongs there.
    """
    values = data[known]
    total = len(values)
    if total < 50:
        return None, []
    sample = values if total <= SAMPLE else values[:: -(-total // SAMPLE)]
    distinct, counts = np.unique(sample, return_counts=True)
    usual = float(np.median(counts))
    often = counts >= max(5, SHARE * len(sample), TIMES * usual)
    codes = [float(value) for value in distinct[often]]
    if not codes or len(codes) > 5:
        return None, []
    cells = np.isin(data, distinct[often]) & known
    for code in codes:
        here = cells & (data == code)
        for axis in (1, 0):
            seen = np.maximum(known.sum(axis=axis, keepdims=True), 1)
            cells &= ~(here & (here.sum(axis=axis, keepdims=True) >= CONSTANT * seen))
    share = cells.sum() / total
    return (cells, codes) if 0 < share <= MOST else (None, [])
