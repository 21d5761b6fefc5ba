"""Interpolation over trusted pixels. Needs SciPy: importing this raises :class:`UsageError` where it is absent."""

from __future__ import annotations

import torch
from torch import Tensor

from doprestore.errors import UsageError

try:
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
    from scipy.spatial import QhullError
except ImportError as error:
    raise UsageError("interpolation needs SciPy; install it with: pip install 'doprestore[baselines]'") from error


def interpolate(picture: Tensor) -> Tensor:
    """Values at 0 or 1 are replaced by linear interpolation between all others (over a Delaunay triangulation).

    This knows the noise model: everything else is trusted. Outside the triangles the nearest trusted
    value is taken; a channel without trusted values stays as it is.
    """
    return torch.stack([_interpolate_plane(plane) for plane in picture])


def _interpolate_plane(plane: Tensor) -> Tensor:
    trusted = (plane > 0) & (plane < 1)
    if not trusted.any() or trusted.all():
        return plane
    known, unknown = trusted.nonzero().cpu().numpy(), (~trusted).nonzero().cpu().numpy()
    values = plane[trusted].double().cpu().numpy()
    filled = NearestNDInterpolator(known, values)(unknown)
    try:
        inside = LinearNDInterpolator(known, values)(unknown)
    except QhullError:  # fewer than three points, or all on one line
        inside = filled
    linear = torch.from_numpy(inside).where(~torch.from_numpy(inside).isnan(), torch.from_numpy(filled))
    result = plane.clone()
    result[~trusted] = linear.to(plane)
    return result
