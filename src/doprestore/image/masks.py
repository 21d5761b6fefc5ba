"""Values that are known to be bad."""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.errors import InputError


def checked_mask(mask: Tensor, picture: Tensor) -> Tensor:
    """``mask`` in the shape of ``picture``, or :class:`InputError` with the reason why it cannot be one."""
    if mask.dtype != torch.bool or mask.shape not in (picture.shape, picture.shape[1:]):
        raise InputError(
            f"the mask must be bool of shape {tuple(picture.shape)} or {tuple(picture.shape[1:])}, "
            f"not {mask.dtype} of shape {tuple(mask.shape)}"
        )
    mask = mask.expand(picture.shape)
    if mask.all():
        raise InputError("the mask marks every value as bad; leave some to go by")
    return mask
