"""The Python interface to image recovery: arrays or tensors in, the same kind out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from doprestore.drive import Progress
from doprestore.errors import InputError, UsageError
from doprestore.image.masks import checked_mask
from doprestore.image.portions import recover
from doprestore.image.recovery import ImageResult
from doprestore.image.settings import image_settings

Array = np.ndarray | Tensor
# The orders of axes that arrays may have: channels first or last.
LAYOUTS = ("CHW", "HWC")


@dataclass(frozen=True)
class Restoration:
    """What :func:`restore_image` returns; arrays have the type, shape and layout of its input.

    restored: the repaired picture, float32 in [0, 1].
    outliers: the estimated outliers s, input = picture + s; 0 where the input is judged right.
    found: bool, the values found damaged.
    details: the :class:`ImageResult` with the settings used, steps, loss, seconds.
    """

    restored: Array
    outliers: Array
    found: Array
    details: ImageResult


def restore_image(
    picture: Array,
    *,
    layout: str = "CHW",
    preset: str = "fast",
    mask: Array | None = None,
    clean: Array | None = None,
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **settings: object,
) -> Restoration:
    """Remove sparse, gross errors from one picture: y = φ(θ) + g∘g − h∘h, eq. (9)-(10).

    picture: array or tensor, float in [0, 1], of shape (H, W), or (C, H, W) with ``layout="CHW"``,
        or (H, W, C) with ``layout="HWC"``; C = 1 or 3; any size.
    mask: bool, True where a value is known to be bad, (H, W) or of the shape of ``picture``; the rest may be bad too.
        So is what is NaN in ``picture``.
    clean: the undamaged picture in the same layout, for the PSNR in the reports alone.
    callback: receives a :class:`Progress` now and then. should_stop: asked after each step; True ends the recovery.
    settings: any field of :class:`ImageSettings`, e.g. ``steps=300, device="cuda"``.

    The same seed on the same CPU with the same number of threads gives the same result. Raises :class:`InputError` for a
    picture of the wrong shape, type or range and :class:`UsageError` for wrong settings.

    >>> result = restore_image(damaged, layout="HWC")      # doctest: +SKIP
    >>> result.restored                                    # doctest: +SKIP
    """
    chosen = image_settings(preset, **settings)
    data = _to_chw(picture, layout, "picture")
    reference = None if clean is None else _to_chw(clean, layout, "clean")
    unknown = None if mask is None else _mask_to_chw(mask, layout)
    if (gaps := data.isnan()).any():
        unknown = gaps if unknown is None else gaps | checked_mask(unknown, data)
        data = torch.where(gaps, 0.5, data)
    result = recover(data, chosen, mask=unknown, clean=reference, callback=callback, should_stop=should_stop)

    def back(values: Tensor) -> Array:
        if np.ndim(picture) == 2:
            values = values[0]
        elif layout == "HWC":
            values = values.permute(1, 2, 0).contiguous()
        return values.to(picture.device) if isinstance(picture, Tensor) else values.numpy()

    return Restoration(back(result.restored), back(result.outliers), back(result.found), result)


def _to_chw(picture: Array, layout: str, name: str) -> Tensor:
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r}: choose one of {', '.join(LAYOUTS)}")
    data = _tensor(picture)
    if not data.is_floating_point():
        kind = str(data.dtype).removeprefix("torch.")
        raise InputError(f"{name}: values must be floats in [0, 1], not {kind}; divide by the largest value")
    shape = tuple(data.shape)
    channels = {2: 1, 3: shape[0] if layout == "CHW" else shape[-1]}.get(data.ndim) if shape else None
    if channels not in (1, 3):
        other = {"CHW": "HWC", "HWC": "CHW"}[layout]
        turned = data.ndim == 3 and (shape[-1] if other == "HWC" else shape[0]) in (1, 3)
        remedy = f'it looks like layout="{other}"' if turned else f"give (H, W), or {layout} with 1 or 3 channels"
        raise InputError(f"{name}: has shape {shape}, which is no picture with layout {layout!r}; {remedy}")
    if data.ndim == 2:
        data = data[None]
    elif layout == "HWC":
        data = data.permute(2, 0, 1)
    known = data[~data.isnan()]
    if known.numel() and (known.min() < 0 or known.max() > 1):
        raise InputError(f"{name}: values must lie in [0, 1]; scale them first")
    return data.float()


def _mask_to_chw(mask: Array, layout: str) -> Tensor:
    data = _tensor(mask)
    return data.permute(2, 0, 1) if data.ndim == 3 and layout == "HWC" else data


def _tensor(values: Array) -> Tensor:
    """``values`` as a tensor, copied only where torch cannot share them: read-only, or of another byte order."""
    if isinstance(values, Tensor):
        return values
    array = np.ascontiguousarray(values) if np.ndim(values) else np.asarray(values)
    array = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
    return torch.from_numpy(array)
