"""What a recovery is given: a picture, perhaps its original, values that are known to be bad."""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.errors import InputError


def check_picture(picture: Tensor, clean: Tensor | None = None) -> None:
    """Raise :class:`InputError` unless ``picture`` is finite of shape (1 or 3, H, W), and ``clean``, if given, like it."""
    if picture.ndim != 3 or picture.shape[0] not in (1, 3) or picture.numel() == 0:
        raise InputError(f"a picture must have shape (1, H, W) or (3, H, W), not {tuple(picture.shape)}")
    if not torch.isfinite(picture).all():
        raise InputError("the picture holds NaN or infinite values; replace them first")
    if clean is not None and clean.shape != picture.shape:
        raise InputError(f"the clean picture has shape {tuple(clean.shape)}, the damaged one {tuple(picture.shape)}")


def checked_mask(mask: Tensor, picture: Tensor) -> Tensor:
    """``mask`` in the shape of ``picture``, or :class:`InputError` with the reason why it cannot be one."""
    if mask.dtype != torch.bool or mask.shape not in (picture.shape, picture.shape[1:]):
        raise InputError(
            f"the mask must be bool of shape {tuple(picture.shape)} or {tuple(picture.shape[1:])}, "
            f"not {str(mask.dtype).removeprefix('torch.')} of shape {tuple(mask.shape)}"
        )
    mask = mask.expand(picture.shape)
    if mask.all():
        raise InputError("the mask marks every value as bad; leave some to go by")
    return mask
