"""What a report of a split matrix shows: both parts as heat maps, singular values, the lines with the most outliers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from doprestore.report.content import Curve, Listing, RunReport
from doprestore.report.plots import new_figure, to_png

# Pixels a side of a heat map, at most and about.
SIDE = 360
# How many singular values are drawn.
MOST = 50
# How many rows, and columns, are named as the worst.
WORST = 10
# Colours from low to high, of single stops in [0, 1].
_RAMP = np.array([(0.16, 0.11, 0.35), (0.12, 0.56, 0.55), (0.99, 0.91, 0.35)])
_SIGNED = np.array([(0.10, 0.25, 0.75), (1.0, 1.0, 1.0), (0.80, 0.10, 0.10)])


def matrix_report(
    title: str,
    low_rank: np.ndarray,
    sparse: np.ndarray,
    repaired: np.ndarray,
    row_name: Callable[[int], str],
    column_name: Callable[[int], str],
    facts: Mapping[str, object],
) -> RunReport:
    """low_rank, sparse, repaired: (rows, columns), NaN where too little is known. The names are those of single lines."""
    scale = _spread(low_rank)
    found = sparse != 0
    return RunReport(
        title=title,
        pictures={
            "low-rank part (each column from its 1 % to its 99 %)": _low_rank_map(low_rank),
            "outliers (red: too large, blue: too small)": _sparse_map(sparse / scale),
        },
        facts=dict(facts),
        curves=[
            Curve(
                "of the repaired matrix, all columns scaled alike",
                *_singular_values(repaired / scale, np.isnan(low_rank)),
                log=True,
                unit="",
            )
        ],
        listings=[
            _worst("Rows with the most outliers", found, 1, row_name),
            _worst("Columns with the most outliers", found, 0, column_name),
        ],
        plots="Singular values",
    )


def matrix_png(report: RunReport) -> bytes:
    """The same on one picture. Raises :class:`UsageError` without matplotlib."""
    figure = new_figure(14, 5.5)
    *maps, plot = figure.subplots(1, len(report.pictures) + 1)
    for axes, listing, (name, picture) in zip(maps, report.listings, report.pictures.items(), strict=True):
        axes.imshow(picture.permute(1, 2, 0).numpy())
        axes.set_title(name, fontsize=8)
        axes.set_xlabel("\n".join(_told(listing)), fontsize=7, loc="left", parse_math=False)
        axes.set(xticks=[], yticks=[])
    for curve in report.curves:
        plot.semilogy(curve.steps, curve.values, ".-")
        plot.set_title(f"{report.plots} {curve.name}", fontsize=8)
    figure.suptitle(report.title, parse_math=False)
    return to_png(figure)


def _told(listing: Listing) -> list[str]:
    return [f"{listing.name}:", *("   ".join(map(str, row)) for row in listing.rows)]


def _spread(low_rank: np.ndarray) -> np.ndarray:
    """(columns,): the width of each column, without its extremes."""
    filled = np.nan_to_num(low_rank)
    width = np.percentile(filled, 99, axis=0) - np.percentile(filled, 1, axis=0)
    spread: np.ndarray = np.where(width > 0, width, np.abs(filled).max(axis=0) + np.finfo(np.float32).tiny)
    return spread


def _low_rank_map(low_rank: np.ndarray) -> Tensor:
    filled = np.nan_to_num(low_rank)
    shares = (filled - np.percentile(filled, 1, axis=0)) / _spread(low_rank)
    small = torch.from_numpy(shares.clip(0, 1).astype(np.float32))
    return _coloured(_enlarged(torch.nn.functional.adaptive_avg_pool2d(small[None], _size(small))[0]), _RAMP)


def _sparse_map(sparse: np.ndarray) -> Tensor:
    """Where several entries share a pixel, the largest shows."""
    signed = torch.from_numpy(sparse.clip(-1, 1).astype(np.float32))
    pool = torch.nn.functional.adaptive_max_pool2d
    high, low = pool(signed[None], _size(signed))[0], pool(-signed[None], _size(signed))[0]
    shown = torch.where(high >= low, high, -low)
    # Even a small one is to be seen.
    return _coloured(_enlarged(0.5 + 0.5 * shown.sign() * (0.3 + 0.7 * shown.abs()) * (shown != 0)), _SIGNED)


def _size(values: Tensor) -> tuple[int, int]:
    return min(values.shape[0], SIDE), min(values.shape[1], SIDE)


def _enlarged(values: Tensor) -> Tensor:
    """Every entry of a small matrix as a rectangle."""
    for axis in (0, 1):
        values = values.repeat_interleave(max(1, SIDE // values.shape[axis]), axis)
    return values


def _coloured(values: Tensor, stops: np.ndarray) -> Tensor:
    """values (H, W) in [0, 1] -> a picture (3, H, W)."""
    places = np.linspace(0, 1, len(stops))
    return torch.from_numpy(np.stack([np.interp(values.numpy(), places, colour) for colour in stops.T]).astype(np.float32))


def _singular_values(repaired: np.ndarray, unknown: np.ndarray) -> tuple[list[float], list[float]]:
    """Numbers from 1, and the largest singular values, without the lines of which too little is known."""
    values = repaired[~unknown.all(axis=1)][:, ~unknown.all(axis=0)].astype(np.float64)
    if values.shape[0] < values.shape[1]:
        values = values.T
    # Of a long matrix by its Gram matrix, which shows them down to 1e-8 of the largest.
    squares = np.linalg.eigvalsh(values.T @ values)[::-1][:MOST].clip(0)
    sizes = np.maximum(np.sqrt(squares), 1e-8 * np.sqrt(squares[0]) + np.finfo(float).tiny)
    return list(range(1, len(sizes) + 1)), sizes.tolist()


def _worst(name: str, found: np.ndarray, axis: int, called: Callable[[int], str]) -> Listing:
    counts = found.sum(axis=axis)
    order = np.argsort(-counts, kind="stable")[:WORST]
    rows: list[tuple[object, ...]] = [
        (called(int(line)), int(counts[line]), f"{counts[line] / found.shape[axis]:.1%}") for line in order if counts[line]
    ]
    return Listing(name, ("name", "outliers", "of its entries"), rows)
