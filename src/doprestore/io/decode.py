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
from doprestore.io.metadata import Metadata, from_pillow, from_tiff

# Pillow's own warning level; twice as much, where it starts to refuse, would need several GB here.
MAX_PIXELS = 89_478_485
MAX_BYTES = 512 * 2**20  # of the file, and of the decoded samples: reading stays below 2 GB
MAX_SCANNED = 40 * MAX_PIXELS  # pixels times passes of a progressive JPEG, which usually has 10
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # of a JPEG segment; the others stand alone

DEPTHS = {"uint8", "uint16", "float32", "float64"}
_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it reports oddities on stderr otherwise


def sniff(data: bytes) -> str | None:
    """Tell the format by the first bytes; what has no name here never reaches a decoder."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM"):
        return "BMP"
    if re.match(rb"P[1-6]\s", data):
        return "PPM"
    if data.startswith(b"\x93NUMPY"):
        return "NPY"
    return None


def decode(data: bytes, kind: str, page: int | None) -> tuple[np.ndarray, Metadata]:
    """Return samples (H, W, C), C = 1 to 4 with alpha last, and metadata.

    Raises :class:`InputError` without the file's name for what is refused, anything at all for damaged data.
    """
    if kind == "TIFF":
        with _quiet():
            return _decode_tiff(data, page)
    if page not in (None, 1):
        raise InputError("has a single page; leave --page out")
    if kind == "NPY":
        return _decode_npy(data)
    if kind == "PPM" and data[:2] in (b"P5", b"P6") and (found := _ppm16_header(data)):
        return _decode_ppm16(data, *found), Metadata()
    return _decode_pillow(data, kind)


def _decode_pillow(data: bytes, kind: str) -> tuple[np.ndarray, Metadata]:
    if kind == "WEBP":
        _check_size(*_webp_size(data), 4)  # the decoder allocates the picture when it is opened
    try:
        image = Image.open(io.BytesIO(data), formats=[kind])
    except Image.DecompressionBombError:
        raise InputError(f"has over {MAX_PIXELS} pixels; crop or shrink it first") from None
    with image:
        if kind in {"PNG", "WEBP"} and getattr(image, "is_animated", False):
            raise InputError("is animated; save one frame as PNG and give that")
        deep = kind == "PNG" and data[24] > 8  # the bit depth in IHDR, which is always the first chunk
        _check_size(*image.size, 8 if deep and not image.mode.startswith("I") else 4)
        if kind == "JPEG" and _jpeg_scans(data) * math.prod(image.size) > MAX_SCANNED:
            raise InputError("has hundreds of scans, as only files made to stall a reader do; convert it to PNG first")
        image.load()
        metadata = from_pillow(image, data)
        if not deep:
            return _expand(image), metadata
    with _quiet():
        return png_decode(data), metadata


def _expand(image: Image.Image) -> np.ndarray:
    """Bring the 8-bit modes to L, LA, RGB or RGBA; a transparent colour or palette entry becomes alpha."""
    mode = _MODES.get(image.mode)
    if mode is None:
        raise InputError(f"{image.mode} colour is not supported; convert it to RGB or greyscale first")
    if image.mode == "1":
        image = image.convert("L")
    if "transparency" in image.info:
        mode = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
    return np.asarray(image if image.mode == mode else image.convert(mode))


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
    _check_size(width, height, 2 * channels)
    samples = np.frombuffer(data, ">u2", width * height * channels, start)
    return samples.reshape(height, width, channels).astype(np.uint16)


def _decode_tiff(data: bytes, number: int | None) -> tuple[np.ndarray, Metadata]:
    buffer = io.BytesIO(data)
    with tifffile.TiffFile(buffer) as file:
        if file.is_bigtiff and file.byteorder == ">":  # Pillow knows no such files
            raise InputError("is a big-endian BigTIFF, which is not supported; save it as a plain TIFF first")
        count = len(file.pages)
        if number is None and count > 1:
            raise InputError(f"has {count} pages; choose one with --page 1 ... --page {count}")
        if number is not None and not 1 <= number <= count:
            raise InputError(f"has no page {number}; --page must be 1 to {count}")
        page = file.pages[(number or 1) - 1]
        bits = np.ravel(page.bitspersample)
        _check_size(page.imagewidth, page.imagelength, page.samplesperpixel * math.ceil(max(bits) / 8))
        _check_size(page.tilewidth, page.tilelength, page.samplesperpixel * math.ceil(max(bits) / 8))
        if set(np.ravel(page.sampleformat)) - {1, 3, 4}:
            raise InputError("has signed or complex samples; save it with unsigned or float samples first")
        metadata = from_tiff(data, page.offset, file.byteorder, file.is_bigtiff)
        if max(bits) > 8:
            return _deep_tiff(page), metadata
        if "Orientation" in page.tags:  # in the buffer: Pillow turns the pixels of a TIFF, and of nothing else
            page.tags["Orientation"].overwrite(1)
        return _shallow_tiff(buffer, (number or 1) - 1), metadata


def _shallow_tiff(buffer: io.BytesIO, index: int) -> np.ndarray:
    with Image.open(buffer, formats=["TIFF"]) as image:
        image.seek(index)
        return _expand(image)


def _deep_tiff(page: tifffile.TiffPage) -> np.ndarray:
    colours = {0: 1, 1: 1, 2: 3}.get(page.photometric)
    if colours is None or page.imagedepth != 1:
        colour = getattr(page.photometric, "name", page.photometric)
        raise InputError(f"{colour} colour is not supported; convert it to RGB or greyscale first")
    kind = None if page.dtype is None else page.dtype.name
    if kind not in DEPTHS or set(np.ravel(page.bitspersample)) != {page.dtype.itemsize * 8}:
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
            raise InputError("has inverted float samples (WhiteIsZero); save it as BlackIsZero first")
        array = array.reshape(*array.shape[:2], -1).copy()
        array[..., 0] = np.iinfo(array.dtype).max - array[..., 0]
    return array


_SUPPORTED = "only 8 and 16-bit unsigned, and 32 and 64-bit float are supported"


def _decode_npy(data: bytes) -> tuple[np.ndarray, Metadata]:
    buffer = io.BytesIO(data)
    version = np.lib.format.read_magic(buffer)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = readers[version](buffer)
    if dtype.newbyteorder("=").name not in DEPTHS:
        raise InputError(f"has samples of type {dtype}; {_SUPPORTED}")
    if len(shape) not in (2, 3) or (len(shape) == 3 and not 1 <= shape[2] <= 4):
        raise InputError(f"has shape {shape}; a picture is (H, W) or (H, W, C) with C from 1 to 4")
    _check_size(shape[1], shape[0], math.prod(shape[2:]) * dtype.itemsize)
    buffer.seek(0)
    array = np.load(buffer, allow_pickle=False)
    return array.astype(dtype.newbyteorder("=")), Metadata(channel_axis=len(shape) == 3)


_QUIET = threading.Lock()  # two threads that undo each other's detour would lose stderr for good


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep libtiff and libpng, which cannot be told otherwise, from writing their own lines on stderr."""
    with _QUIET:
        try:
            kept = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def _check_size(width: int, height: int, bytes_each: int) -> None:
    if width < 0 or height < 0:
        raise ValueError("negative size")
    if width * height > MAX_PIXELS:
        raise InputError(f"is {width}x{height}, over the limit of {MAX_PIXELS} pixels; crop or shrink it first")
    if width * height * bytes_each > MAX_BYTES:
        raise InputError(f"is {width}x{height} and needs over {MAX_BYTES >> 20} MB; crop or shrink it first")
