"""FITS, the format of telescopes: images of any HDU in and out, with their header. Needs the extra [fits].

Rows stay in the order of the file, which most viewers show from the bottom up. The output has one HDU, the image with
its header; tables and other images of the input stay behind.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from doprestore.errors import InputError, UsageError
from doprestore.io.metadata import Metadata

# What is said where the package for the format is absent.
MISSING = "FITS needs astropy; pip install 'doprestore[fits]'"
# Cards that say how the samples lie in one file: the next one has its own.
_LAYOUT = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "PCOUNT", "GCOUNT", "GROUPS",
           "BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM", "INHERIT", "END")  # fmt: skip


def plug_in() -> Any:
    """astropy.io.fits. Raises :class:`UsageError` where astropy is not installed."""
    try:
        from astropy.io import fits
    except ImportError as error:
        raise UsageError(MISSING) from error
    return fits


def decode(data: bytes, number: int | None, check_size: Callable[[int, int, int], None]) -> tuple[np.ndarray, Metadata]:
    """Samples (H, W, C) of the ``number``-th image from 1, which may be left out of a file with one, and its header.

    An image is (H, W), or (3, H, W) in colour. Raises :class:`InputError`, and anything at all for damaged data.
    """
    try:
        fits = plug_in()
    except UsageError as error:
        raise InputError(str(error)) from error
    with fits.open(io.BytesIO(data), memmap=False) as file:
        images = _images(file)
        if not images:
            raise InputError("has no image, only tables or headers; name another file")
        if number is None and len(images) > 1:
            raise InputError(f"has {len(images)} images; choose one with --page 1 ... --page {len(images)}, or --page all")
        if number is not None and not 1 <= number <= len(images):
            raise InputError(f"has no image {number}; --page must be 1 to {len(images)}")
        hdu = images[(number or 1) - 1]
        shape = tuple(hdu.shape)
        planes = math.prod(shape[:-2])
        if planes not in (1, 3) or len(shape) > 3:
            raise InputError(
                f"has an image of {' x '.join(map(str, shape))}; save a plane of it, or three as colours, first"
            )
        check_size(shape[-1], shape[-2], planes * abs(hdu.header["BITPIX"]) // 8)
        array = hdu.data.reshape(planes, *shape[-2:])
        array = array.astype(array.dtype.newbyteorder("=")).transpose(1, 2, 0)
        if array.dtype.name not in ("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"):
            raise InputError(f"has samples of type {array.dtype}; save them as 32-bit floats first")
        cards = fits.Header([card for card in _header(hdu, file).cards if card.keyword not in _LAYOUT])
        return array, Metadata(fits=cards.tostring(sep="\n", endcard=False, padding=False))


def pages(data: bytes) -> int:
    """How many images there are."""
    with plug_in().open(io.BytesIO(data), memmap=False) as file:
        return max(1, len(_images(file)))


def _images(file: Any) -> list[Any]:
    return [hdu for hdu in file if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) >= 2]


def _header(hdu: Any, file: Any) -> Any:
    """The header of the image; one that says INHERIT takes what it does not say itself from the first header of the file."""
    if hdu is file[0] or hdu.header.get("INHERIT") is not True:
        return hdu.header
    header = hdu.header.copy()
    header.extend(file[0].header, unique=True)
    return header


def encode(array: np.ndarray, metadata: Metadata) -> bytes:
    """The file with one image, for samples (H, W, C), C = 1 or 3."""
    fits = plug_in()
    planes = array[..., 0] if array.shape[2] == 1 else array.transpose(2, 0, 1)
    header = fits.Header.fromstring(metadata.fits, sep="\n") if metadata.fits else None
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.ascontiguousarray(planes), header).writeto(buffer, output_verify="silentfix+ignore")
    return buffer.getvalue()
