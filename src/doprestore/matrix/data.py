"""A table on its way to the solver and back: what is refused, the unit, the known entries, the float type."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from doprestore.errors import InputError
from doprestore.matrix.codes import filled_cells

# An outlier of so many times the typical entry needs float64.
SAFE_RANGE = 1e12
# Lines whose typical entries differ by more than this factor are in units of their own: what is a rounding error of one is
# all there is of another (`tests/benchmarks/rpca_constants.py data.UNEVEN --seeds 2`: alike for 100 to 1e5, and with 1e9
# 0.53 % of right cells are flagged instead of 0.02).
UNEVEN = 1e3
# Entries that the typical size of a line is told from, where there are more than FEW in all.
OF_A_LINE, FEW = 100, 1_000_000


def checked_array(data: ArrayLike | Tensor) -> np.ndarray:
    """``data`` as a real, finite (except for NaN), non-empty 2-d NumPy array. Raises :class:`InputError` if it is none."""
    try:
        array = data.detach().cpu().numpy() if isinstance(data, Tensor) else np.asarray(data)
    except (ValueError, TypeError) as error:
        raise InputError("the data is not a rectangular table of numbers") from error
    if array.dtype.kind not in "biuf":
        kind = {
            "c": "complex numbers; give the real and the imaginary part separately",
            "O": "Python objects, not numbers; convert it to a float array",
        }.get(array.dtype.kind, "no numbers; convert it to floats")
        raise InputError(f"the array holds {kind}")
    if array.ndim != 2:
        advice = "for example to frames x pixels: a.reshape(len(a), -1)"
        if array.ndim < 2:
            advice = "a.reshape(rows, columns)"
        raise InputError(f"the array has shape {array.shape} where (rows, columns) is expected; reshape it, {advice}")
    if array.size == 0:
        raise InputError(f"the array is empty ({array.shape[0]} x {array.shape[1]})")
    if array.dtype.kind == "f":
        if any(np.isinf(block).any() for block in _blocks(array)):
            raise InputError("the array holds infinite values; mark missing entries as NaN")
        if all(np.isnan(block).all() for block in _blocks(array)):
            raise InputError("every entry is missing (NaN)")
    return array


def _blocks(array: np.ndarray) -> list[np.ndarray]:
    """Row blocks of about a million entries, so that checks need no memory of the array's size."""
    return np.array_split(array, max(1, min(len(array), array.size // 2**20)))


def prepare(array: np.ndarray, device: torch.device, *, even: bool = True) -> tuple[Tensor, Tensor | None, Tensor | float]:
    """y (rows, columns), float32 or float64, with zeros where data is missing; the known entries (None: all); the
    power of two that y was divided by (0 for a zero matrix), with ``even`` one for every column or every row where they
    differ by a lot (the lines along the longer side). Shares the memory of the array where it can."""
    wide = array.dtype.kind != "f" or array.dtype.itemsize > 4
    work = np.dtype(np.float64 if wide else np.float32)
    missing = array.dtype.kind == "f" and any(np.isnan(block).any() for block in _blocks(array))
    known = torch.from_numpy(~np.isnan(array)).to(device) if missing else None
    typical = _typical_size(array)
    if typical > 0 and not wide:
        largest = max(float(np.nanmax(np.abs(block.astype(np.float32)), initial=0.0)) for block in _blocks(array))
        work = np.dtype(np.float64) if largest > SAFE_RANGE * typical else work
    shared = array.dtype == work and array.flags.c_contiguous and array.flags.writeable
    y = torch.from_numpy(array if shared else np.array(array, dtype=work, order="C")).to(device)
    unit: Tensor | float = _power_of_two(typical) if typical > 0 else 0.0
    if typical > 0 and even and (sizes := _uneven_sizes(array)) is not None:
        unit = torch.from_numpy(_power_of_two(sizes)).to(y)
    elif 2.0**-10 <= unit <= 2.0**10:
        unit = 1.0  # spare the copy
    if missing:
        y = torch.nan_to_num(y, nan=0.0)
    if isinstance(unit, Tensor) or unit not in (0.0, 1.0):
        y = y / unit
    return y, known, unit


def _power_of_two(size: Any) -> Any:
    """The largest one that is no larger: dividing by it loses nothing."""
    return 2.0 ** np.floor(np.log2(size))


def _uneven_sizes(array: np.ndarray) -> np.ndarray | None:
    """The median |entry|, without zeros, of each column (1, columns), or of each row (rows, 1) where these are longer; None
    where they do not differ by a lot. A line of zeros counts as a typical one."""
    axis = 1 if array.shape[0] < array.shape[1] else 0
    stride = 1 if array.size <= FEW else max(1, array.shape[axis] // OF_A_LINE)
    sizes = np.abs((array[:, ::stride] if axis else array[::stride]).astype(np.float64))
    sizes[sizes == 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # lines of zeros
        lines: np.ndarray = np.nanmedian(sizes, axis=axis, keepdims=True)
    lines[np.isnan(lines)] = np.nanmedian(lines)
    return lines if lines.max() > UNEVEN * lines.min() else None


def _typical_size(array: np.ndarray) -> float:
    """The median |entry| among a sample of the nonzero ones; 0 when all are zero."""
    stride = max(1, array.size // 100_000)
    for sample in (array.reshape(-1)[::stride], array.reshape(-1)):
        sizes = np.abs(sample.astype(np.float64))
        sizes = sizes[sizes > 0]  # drops NaN too
        if len(sizes):
            return float(np.median(sizes))
    return 0.0


def to_array(x: Tensor, unit: Tensor | float, dtype: np.dtype) -> np.ndarray:
    if isinstance(unit, Tensor) or unit not in (0.0, 1.0):
        x = x * unit
    return x.cpu().numpy().astype(dtype, copy=False)


def cells_at_codes(array: np.ndarray, known: Tensor | None) -> tuple[Tensor | None, list[float]]:
    cells, codes = filled_cells(array, np.ones(array.shape, bool) if known is None else known.cpu().numpy())
    return None if cells is None else torch.from_numpy(cells), codes
