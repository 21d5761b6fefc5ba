"""How close a result is to the truth: PSNR, SSIM, relative error, and the score of a found outlier mask.

Arguments are torch tensors or NumPy arrays, compared in floating point (at least float32).
"""

from __future__ import annotations

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor

# Side and standard deviation, in pixels, of the window of SSIM: those of its authors.
SSIM_SIDE = 11
_SSIM_SIGMA = 1.5


def psnr(x: Tensor | ArrayLike, reference: Tensor | ArrayLike, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio 10 log10(data_range² / mean squared error) in dB, over all values at once.

    Any shape, the same for both; infinite when they are equal. Raises ValueError on unequal shapes.
    """
    x, reference = _pair(x, reference)
    error = (x - reference).square().mean().item()
    return 10 * math.log10(data_range**2 / error) if error else math.inf


def ssim(x: Tensor | ArrayLike, reference: Tensor | ArrayLike, data_range: float = 1.0) -> float:
    """Mean structural similarity of two pictures (C, H, W), averaged over channels; 1 when they are equal.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", 2004, doi:10.1109/TIP.2003.819861: Gaussian window of 11x11 and sigma 1.5, K1 = 0.01,
    K2 = 0.03, over the positions where the whole window lies inside the picture.

    Raises ValueError on unequal shapes, and for a picture with a side under 11.
    """
    x, reference = _pair(x, reference)
    if x.ndim != 3 or min(x.shape[-2:]) < SSIM_SIDE:
        raise ValueError(f"ssim needs (C, H, W) with sides of at least {SSIM_SIDE}, not {tuple(x.shape)}")
    offsets = torch.arange(SSIM_SIDE, dtype=x.dtype, device=x.device) - SSIM_SIDE // 2
    window = torch.exp(-offsets.square() / (2 * _SSIM_SIGMA**2))
    window /= window.sum()

    def blur(values: Tensor) -> Tensor:  # (C, H, W) -> (C, H - 10, W - 10)
        rows = torch.nn.functional.conv2d(values[:, None], window.view(1, 1, -1, 1))
        return torch.nn.functional.conv2d(rows, window.view(1, 1, 1, -1))[:, 0]

    mean_x, mean_r = blur(x), blur(reference)
    var_x = blur(x * x) - mean_x * mean_x
    var_r = blur(reference * reference) - mean_r * mean_r
    covariance = blur(x * reference) - mean_x * mean_r
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * mean_x * mean_r + c1) * (2 * covariance + c2)
    similarity /= (mean_x * mean_x + mean_r * mean_r + c1) * (var_x + var_r + c2)
    return similarity.mean().item()


def relative_error(x: Tensor | ArrayLike, reference: Tensor | ArrayLike) -> float:
    """‖x − reference‖_F / ‖reference‖_F, section 4.1; for a zero reference 0 when x is zero too, else infinite."""
    x, reference = _pair(x, reference)
    error = float(torch.linalg.vector_norm(x - reference))
    scale = float(torch.linalg.vector_norm(reference))
    if scale == 0:
        return 0.0 if error == 0 else math.inf
    return error / scale


def precision_recall(found: Tensor | ArrayLike, actual: Tensor | ArrayLike) -> tuple[float, float]:
    """(share of the found entries that are outliers, share of the outliers that were found), both in [0, 1].

    Two boolean masks of one shape. Precision is 1 when nothing was found (nothing was wrongly accused),
    and recall is 1 when there was nothing to find. Raises ValueError on unequal shapes.
    """
    found, actual = torch.as_tensor(found).bool(), torch.as_tensor(actual).bool()
    _check_shapes(found, actual)
    hits = (found & actual).sum().item()
    wanted, claimed = actual.sum().item(), found.sum().item()
    return (hits / claimed if claimed else 1.0), (hits / wanted if wanted else 1.0)


def _pair(x: Tensor | ArrayLike, reference: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
    x, reference = torch.as_tensor(x).detach(), torch.as_tensor(reference).detach()
    _check_shapes(x, reference)
    dtype = torch.promote_types(torch.promote_types(x.dtype, reference.dtype), torch.float32)
    return x.to(dtype), reference.to(x.device, dtype)


def _check_shapes(x: Tensor, reference: Tensor) -> None:
    if x.shape != reference.shape:
        raise ValueError(f"shapes differ: {tuple(x.shape)} and {tuple(reference.shape)}")
