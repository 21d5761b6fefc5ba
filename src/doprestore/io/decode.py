"""From the bytes of a file to its samples and metadata, one function a family of formats.

Pillow decodes whatever has 8 bits a channel or fewer. It reads 16-bit colour as 8-bit without a word, and no
floating-point colour at all, so those go to imagecodecs (libpng) and tifffile: both hold every depth and channel count,
grey with alpha included, and come from one author who has kept them for over ten years. OpenCV and torchvision
have no grey with alpha or no TIFF.

Sizes are checked before anything is decoded.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tifffile
from imagecodecs import png_decode
from PIL import Image

from doprestore.errors import InputError
from doprestore.io import cmyk, fits, heif
from doprestore.io.kinds import DEVELOP, sniff
from doprestore.io.metadata import Metadata, from_pillow, from_tiff

__all__ = ["MAX_BYTES", "MAX_PIXELS", "decode", "pages", "sniff"]

# The number of pixels at which Pillow warns; twice as many, where it refuses, would need several GB here.
MAX_PIXELS = 89_478_485
# Bytes of the file, and of its decoded samples, at most: reading stays below 2 GB.
MAX_BYTES = 512 * 2**20
# Beyond these two a file is read if its samples are at most so many times its own bytes: photographs and scans shrink less,
# bombs more.
HONEST = 50
# Bytes of such a file, and of its samples, at most.
MAX_LARGE = 8 * 2**30
# Pixels times passes of a progressive JPEG, at most; usually there are 10 passes.
MAX_SCANNED = 40 * MAX_PIXELS
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # of a JPEG segment; the others stand alone

# The types of samples that are read.
DEPTHS = {"uint8", "uint16", "uint32", "int16", "int32", "float16", "float32", "float64"}
_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it reports oddities on stderr otherwise


def decode(data: bytes, kind: str, page: int | None) -> tuple[np.ndarray, Metadata]:
    """Return samples (H, W, C), C = 1 to 4 with alpha last, and metadata.

    Raises :class:`InputError` without the file's name for what is refused, anything at all for damaged data.
    """
    if kind == "TIFF":
        with _quiet():
            return _decode_tiff(data, page)
    if kind == "FITS":
        return fits.decode(data, page, lambda width, height, each: check_size(width, height, each, len(data)))
    if page not in (None, 1):
        raise InputError("has a single page; leave --page out")
    if kind in ("HEIF", "AVIF"):
        heif.check(data, kind)
    if kind == "NPY":
        return _decode_npy(data)
    if kind == "PPM" and data[:2] in (b"P5", b"P6") and (found := _ppm16_header(data)):
        return _decode_ppm16(data, *found), Metadata()
    return _decode_pillow(data, kind)


def pages(data: bytes, kind: str) -> int:
    """How many pictures there are to choose from. Raises anything at all for damaged data."""
    if kind == "TIFF":
        with _quiet(), tifffile.TiffFile(io.BytesIO(data)) as file:
            return len(file.pages)
    return fits.pages(data) if kind == "FITS" else 1


def _decode_pillow(data: bytes, kind: str) -> tuple[np.ndarray, Metadata]:
    if kind == "WEBP":
        check_size(*_webp_size(data), 4, len(data))  # the decoder allocates the picture when it is opened
    with _sizes_are_checked_here(), Image.open(io.BytesIO(data), formats=[kind]) as image:
        if kind not in {"JPEG", "TIFF"} and getattr(image, "is_animated", False):
            raise InputError("is animated or holds several pictures; save one of them as PNG and give that")
        deep = kind == "PNG" and data[24] > 8  # the bit depth in IHDR, which is always the first chunk
        check_size(*image.size, 8 if deep and not image.mode.startswith("I") else 4, len(data))
        if kind == "JPEG" and _jpeg_scans(data) * math.prod(image.size) > MAX_SCANNED:
            raise InputError("has hundreds of scans, as only files made to stall a reader do; convert it to PNG first")
        image.load()
        metadata = from_pillow(image, data)
        if image.mode == "CMYK":
            return cmyk.to_rgb(image, metadata)
        if not deep:
            return _expand(image), metadata
    with _quiet():
        return png_decode(data), metadata


def _expand(image: Image.Image) -> np.ndarray:
    """Bring the 8-bit modes to L, LA, RGB or RGBA; a transparent colour or palette entry becomes alpha."""
    mode = _MODES.get(image.mode)
    if mode is None:
        raise InputError(_other_colour(image.mode))
    if image.mode == "1":
        image = image.convert("L")
    if "transparency" in image.info:
        mode = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _other_colour(name: object) -> str:
    name = "CMYK" if name == "SEPARATED" else name  # as a TIFF calls it
    return f"{name} colour is not supported; convert it to RGB first, as with: magick FILE -colorspace sRGB rgb.tif"


def _jpeg_scans(data: bytes) -> int:
    """Count the passes of a progressive JPEG; each costs time in proportion to the pixels, however few its bytes."""
    scans, start = 0, 2
    while (marker := _MARKER.search(data, start)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        start = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def _webp_size(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _ppm16_header(data: bytes) -> tuple[int, int, int] | None:
    """Return width, height and start of the samples of a 16-bit P5 or P6 file; None for 8 bits."""
    space = rb"(?:\s|#[^\n]*\n)+"
    match = re.match(rb"P[56]" + space + rb"(\d{1,9})" + space + rb"(\d{1,9})" + space + rb"(\d{1,9})\s", data[:4096])
    if match is None:
        raise ValueError("no valid header")
    width, height, peak = (int(value) for value in match.groups())
    if peak <= 255:
        return None
    if peak != 65535:
        raise InputError(f"has samples up to {peak}; only 255 and 65535 are supported: convert it to PNG first")
    return width, height, match.end()


def _decode_ppm16(data: bytes, width: int, height: int, start: int) -> np.ndarray:
    channels = 3 if data.startswith(b"P6") else 1
    check_size(width, height, 2 * channels, len(data))
    samples = np.frombuffer(data, ">u2", width * height * channels, start)
    return samples.reshape(height, width, channels).astype(np.uint16)


def _decode_tiff(data: bytes, number: int | None) -> tuple[np.ndarray, Metadata]:
    buffer = io.BytesIO(data)
    with tifffile.TiffFile(buffer) as file:
        if file.is_bigtiff and file.byteorder == ">":  # Pillow knows no such files
            raise InputError("is a big-endian BigTIFF, which is not supported; save it as a plain TIFF first")
        count = len(file.pages)
        if number is None and count > 1:
            raise InputError(f"has {count} pages; choose one with --page 1 ... --page {count}, or --page all")
        if number is not None and not 1 <= number <= count:
            raise InputError(f"has no page {number}; --page must be 1 to {count}")
        page = file.pages[(number or 1) - 1]
        assert isinstance(page, tifffile.TiffPage)  # tifffile makes frames only where they are asked for
        bits = np.ravel(page.bitspersample)
        each = page.samplesperpixel * math.ceil(max(bits) / 8)
        check_size(page.imagewidth, page.imagelength, each, len(data))
        check_size(page.tilewidth, page.tilelength, each, len(data))
        if set(np.ravel(page.sampleformat)) - {1, 2, 3, 4}:
            raise InputError("has complex samples; save their absolute values first")
        if _is_raw(page):
            raise InputError(f"is a camera's raw file; {DEVELOP}")
        metadata = from_tiff(data, page.offset, file.byteorder, file.is_bigtiff)
        if max(bits) > 8 or 2 in np.ravel(page.sampleformat):
            return _deep_tiff(page), metadata
        if "Orientation" in page.tags:  # in the buffer: Pillow turns the pixels of a TIFF, and of nothing else
            page.tags["Orientation"].overwrite(1)
        return _shallow_tiff(buffer, (number or 1) - 1, metadata)


def _is_raw(page: tifffile.TiffPage) -> bool:
    """Whether what looks like a picture is the preview in a camera's raw file: DNG, or NEF, ARW and their like."""
    return "DNGVersion" in page.tags or ("SubIFDs" in page.tags and page.subfiletype == 1)


def _shallow_tiff(buffer: io.BytesIO, index: int, metadata: Metadata) -> tuple[np.ndarray, Metadata]:
    with _sizes_are_checked_here(), Image.open(buffer, formats=["TIFF"]) as image:
        image.seek(index)
        return cmyk.to_rgb(image, metadata) if image.mode == "CMYK" else (_expand(image), metadata)


def _deep_tiff(page: tifffile.TiffPage) -> np.ndarray:
    colours = {0: 1, 1: 1, 2: 3}.get(page.photometric)
    if colours is None or page.imagedepth != 1:
        raise InputError(_other_colour(getattr(page.photometric, "name", page.photometric)))
    kind = None if page.dtype is None else page.dtype.name
    if page.dtype is None or kind not in DEPTHS or set(np.ravel(page.bitspersample)) != {page.dtype.itemsize * 8}:
        raise InputError(f"has samples of {page.bitspersample} bits ({kind}); {_SUPPORTED}")
    extra = page.samplesperpixel - colours
    if extra not in (0, 1):
        raise InputError(f"has {page.samplesperpixel} channels; save it as grey or RGB, with or without alpha, first")
    if extra and page.extrasamples[:1] == (1,):
        raise InputError("has colours multiplied by alpha; save it with straight alpha first")
    array = page.asarray().reshape(page.shape)
    if page.planarconfig == 2 and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if page.photometric == 0:  # white is zero
        if array.dtype.kind != "u":
            raise InputError("has inverted signed or float samples (WhiteIsZero); save it as BlackIsZero first")
        array = array.reshape(*array.shape[:2], -1).copy()
        array[..., 0] = np.iinfo(array.dtype).max - array[..., 0]
    return array


_SUPPORTED = "8 bits unsigned, 16 and 32 signed or not, and floats of 16, 32 and 64 are supported"


def _decode_npy(data: bytes) -> tuple[np.ndarray, Metadata]:
    buffer = io.BytesIO(data)
    version = np.lib.format.read_magic(buffer)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = readers[version](buffer)
    if dtype.newbyteorder("=").name not in DEPTHS | {"bool"}:
        raise InputError(f"has samples of type {dtype}; {_SUPPORTED}")
    if len(shape) not in (2, 3) or (len(shape) == 3 and not 1 <= shape[2] <= 4):
        raise InputError(f"has shape {shape}; a picture is (H, W) or (H, W, C) with C from 1 to 4")
    check_size(shape[1], shape[0], math.prod(shape[2:]) * dtype.itemsize, len(data))
    buffer.seek(0)
    array = np.load(buffer, allow_pickle=False)
    array = array * np.uint8(255) if dtype.kind == "b" else array.astype(dtype.newbyteorder("="))
    return array, Metadata(channel_axis=len(shape) == 3)


_QUIET = threading.Lock()  # two threads that undo each other's detour would lose stderr for good


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep libtiff and libpng, which cannot be told otherwise, from writing their own lines on stderr."""
    with _QUIET:
        try:
            stderr = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            os.close(nowhere)


def check_size(width: int, height: int, bytes_each: int, file_bytes: int) -> None:
    """Raise :class:`InputError` for what is too large to be decoded, by what its header says and for so small a file."""
    if width < 0 or height < 0:
        raise ValueError("negative size")
    decoded = width * height * bytes_each
    if width * height <= MAX_PIXELS and decoded <= MAX_BYTES:
        return
    if decoded > HONEST * file_bytes:
        told = f"is {width}x{height} in a file of {file_bytes >> 10} KB"
        if width * height > MAX_PIXELS:
            raise InputError(f"{told}, over the limit of {MAX_PIXELS} pixels; crop or shrink it first")
        raise InputError(f"{told} and needs over {MAX_BYTES >> 20} MB; crop or shrink it first")
    if decoded > MAX_LARGE:
        raise InputError(f"is {width}x{height} and needs over {MAX_LARGE >> 30} GB; crop or split it first")


_LIMIT = threading.Lock()


@contextmanager
def _sizes_are_checked_here() -> Iterator[None]:
    """Pillow refuses large pictures when it opens them; :func:`check_size` does so here, before they are decoded."""
    with _LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
