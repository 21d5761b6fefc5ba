"""What a split says of the single entries: what to put in the place of wrong and missing ones, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from doprestore.matrix.api import RpcaResult
from doprestore.matrix.tail import Law


def repairs(values: np.ndarray, result: RpcaResult, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(replacements, where), of the shape of ``values``: the low-rank part where an entry is wrong or missing.

    whole (columns,): which columns hold whole numbers; so do their replacements. Lines of which too little is known are
    left alone.
    """
    wrong = result.sparse != 0
    if values.dtype.kind == "f":
        wrong |= np.isnan(values)
    wrong &= np.isfinite(result.low_rank)
    replacements = np.where(whole, np.rint(result.low_rank), result.low_rank)
    return replacements, wrong


@dataclass(frozen=True)
class Outliers:
    """The wrong entries, from the surest to the least sure: where they are, what stands there and what belongs there.

    deviations: how far apart these are, in units of the noise, infinite where there is no noise. sure: of entries
    that are at least as far off, at least this share is wrong (1 - the q-value of Benjamini and Hochberg).
    """

    rows: np.ndarray
    columns: np.ndarray
    old: np.ndarray
    new: np.ndarray
    deviations: np.ndarray
    sure: np.ndarray


def outliers(values: np.ndarray, result: RpcaResult) -> Outliers:
    """List the wrong entries of ``values``, which ``result`` is the split of."""
    rows, columns = np.nonzero(result.sparse)
    old, new = values[rows, columns], result.low_rank[rows, columns]
    distance = np.abs(old.astype(np.float64) - new)
    if result.noise is None:
        deviations, sure = np.full(len(rows), np.inf), np.ones(len(rows))
    else:
        noise = np.broadcast_to(result.noise, result.low_rank.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            deviations = distance / noise[rows, columns]
        judged = int(np.isfinite(values - result.low_rank).sum())
        descending = np.argsort(-deviations, kind="stable")
        law = Law(result.noise_degrees, 1.0)
        mistakes = law.beyond(deviations[descending]) * judged / np.arange(1, len(rows) + 1)
        sure = np.empty(len(rows))
        sure[descending] = 1 - np.minimum.accumulate(mistakes[::-1])[::-1].clip(max=1)
    order = np.lexsort((columns, rows, -distance, -deviations))
    return Outliers(rows[order], columns[order], old[order], new[order], deviations[order], sure[order])
