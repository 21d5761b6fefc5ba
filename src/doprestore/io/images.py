"""Pictures in and out: the samples exactly as they were, and everything that travels with them."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import numpy as np

from doprestore.errors import DestinationError, InputError, OutputError, UsageError
from doprestore.io import fits, heif
from doprestore.io.decode import MAX_BYTES, MAX_LARGE, decode, pages
from doprestore.io.encode import DEPTHS, EXTENSIONS, LOSSY, MAX_SIDE, NO_ALPHA, encode
from doprestore.io.files import write_file
from doprestore.io.kinds import DEVELOP, RAW, remedy, sniff
from doprestore.io.picture import Picture, samples_like

__all__ = ["Picture", "check_format", "encode_picture", "picture_file", "read_picture", "write_picture"]

# What can be read, for messages.
KINDS = "PNG, JPEG, TIFF, WebP, BMP, PPM, NPY, FITS, AVIF or HEIF"


def read_picture(
    path: Path | str,
    *,
    page: int | None = None,
    black_white: tuple[str | float, str | float] | None = None,
    gaps: bool = False,
) -> Picture:
    """Read PNG, JPEG, TIFF, WebP, BMP, PPM, NPY, FITS, AVIF or HEIF (told by content, not by name); "-" is standard input.

    Every depth that :class:`Picture` knows is kept. Palettes become RGB, 1-bit pictures grey, CMYK sRGB by the profile in
    the file; a transparent colour becomes an alpha channel. The orientation stays a tag: pixels are not turned. A NumPy
    array is (H, W) or (H, W, C), C = 1 to 4 with alpha last in 2 and 4; a bool one is black and white. ``page`` (from 1)
    chooses a page of a TIFF or an image of a FITS file; ``black_white`` is that of :class:`Picture`. ``gaps`` allows float
    samples to be NaN or infinite, see :attr:`Picture.unknown`.

    Raises :class:`InputError`, one line that names the file and the remedy, for anything else: a missing, empty,
    damaged, animated or huge file, CMYK without a profile, Lab colour, NaN unless allowed, a multi-page TIFF without
    ``page``.
    """
    name = "standard input" if str(path) == "-" else str(path)
    data = _load(path, name)
    kind = sniff(data)
    if kind is None:
        told = remedy(data) or f"is not a {KINDS} file; convert it to PNG first"
        raise InputError(f"{name}: {told}")
    if kind == "TIFF" and Path(name).suffix.lower() in RAW:
        raise InputError(f"{name}: is a camera's raw file; {DEVELOP}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about broken metadata and big pictures; sizes are checked there
            array, metadata = decode(data, kind, page)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything at all on damaged files
        raise InputError(f"{name}: is damaged or not a real {kind} file ({_reason(error)})") from error
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    if planes.size == 0:
        raise InputError(f"{name}: has no pixels; name another picture")
    colours = 3 if len(planes) >= 3 else 1
    alpha = planes[-1].copy() if len(planes) > colours else None
    picture = Picture(np.ascontiguousarray(planes[:colours]), alpha, metadata, black_white, kind)
    _check_values(picture, name, gaps)
    return picture


def check_format(
    path: Path | str, like: Picture | None = None, *, quality: int | None = None, subsampling: str | None = None
) -> None:
    """Raise :class:`OutputError` when the format that ``path`` names cannot hold a picture ``like`` this one.

    Called before the work starts: the message names the extension, what it cannot hold, and the remedy.
    Raises :class:`UsageError` for a ``quality`` or ``subsampling`` that the format has no use for.
    """
    kind = _kind(path)
    if quality is not None and kind not in LOSSY | {"WEBP"}:
        raise UsageError(f"{path}: --quality is for .jpg, .webp, .avif and .heic only; leave it out")
    if subsampling is not None and kind not in LOSSY:
        raise UsageError(f"{path}: --subsampling is for .jpg, .avif and .heic only; leave it out")
    if (needs := {"FITS": fits, "HEIF": heif}.get(kind)) is not None:
        try:
            needs.plug_in()
        except UsageError as error:
            raise DestinationError(f"{path}: {error}") from error
    if like is None:
        return
    suffix = Path(path).suffix or "-"
    channels, height, width = like.samples.shape
    if like.depth not in DEPTHS.get(kind, ("uint8",)):
        other = "use .png or .tif" if like.depth == "uint16" else "use .tif or .npy"
        raise OutputError(f"{path}: {suffix} cannot hold the {like.depth} samples of the input; {other}")
    if like.alpha is not None and kind in NO_ALPHA:
        raise OutputError(f"{path}: {suffix} cannot hold the transparency of the input; use .png or .tif")
    if channels == 3 and suffix.lower() == ".pgm":
        raise OutputError(f"{path}: .pgm cannot hold colour; use .ppm or .png")
    if max(height, width) > MAX_SIDE.get(kind, 2**31):
        raise OutputError(f"{path}: {suffix} cannot hold a side over {MAX_SIDE[kind]} pixels; use .png or .tif")
    try:  # EXIF over 64 KB in a JPEG, or too broken to be written again
        encode(np.zeros((1, 1, channels + (like.alpha is not None)), like.samples.dtype), like.metadata, kind)
    except Exception as error:  # Pillow raises anything at all on broken metadata
        raise OutputError(f"{path}: {suffix} cannot hold the input's metadata ({_reason(error)}); use .png") from error


def write_picture(
    path: Path | str,
    pixels: np.ndarray,
    like: Picture | None = None,
    *,
    quality: int | None = None,
    subsampling: str | None = None,
) -> None:
    """Write what :func:`encode_picture` returns; "-" is standard output.

    Raises as that does, and :class:`OutputError` when writing fails; the old file, if any, is then untouched.
    """
    data = encode_picture(path, pixels, like, quality=quality, subsampling=subsampling)
    if str(path) == "-":
        write_standard(data)
    else:
        write_file(Path(path), data)


def write_standard(data: bytes) -> None:
    """Write ``data`` to standard output."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def encode_picture(
    path: Path | str,
    pixels: np.ndarray,
    like: Picture | None = None,
    *,
    quality: int | None = None,
    subsampling: str | None = None,
) -> bytes:
    """Return the file of ``pixels``, float (C, H, W), in the format of the extension of ``path``; "-" is PNG.

    With ``like``, depth, alpha and metadata are those of that picture, and a pixel equal to the one in ``like.pixels``
    gets the very sample it came from. Without, the file has 8 bits and no metadata. Values outside [0, 1]
    are clipped. ``quality``, 1 to 100, is for JPEG (95 unless given) and WebP (lossless unless given);
    ``subsampling`` for JPEG: "4:4:4" unless given, "4:2:2" or "4:2:0".

    Raises as :func:`check_format` does, and :class:`OutputError` when the encoder fails.
    """
    check_format(path, like, quality=quality, subsampling=subsampling)
    pixels = np.asarray(pixels)
    source = Picture(np.zeros(pixels.shape, np.uint8)) if like is None else like
    planes = samples_like(pixels, source)
    if source.alpha is not None:
        planes = np.concatenate([planes, source.alpha[None]])
    array = np.ascontiguousarray(planes.transpose(1, 2, 0))
    try:
        return encode(array, source.metadata, _kind(path), quality, subsampling)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written in this format ({_reason(error)}); use .png or .tif") from error


def picture_file(source: Path | str, output: Path | str, like: Picture) -> bytes | None:
    """The file ``source``, which is the picture ``like``, byte for byte, if ``output`` is to have the same format.

    None for standard input or output, another format, or a file that has changed meanwhile.
    """
    if "-" in (str(source), str(output)) or like.kind != _kind(output):
        return None
    try:
        data = _load(source, str(source))
        now = read_picture(source, gaps=True)
    except InputError:
        return None  # several pages, or no longer there
    same = np.array_equal(now.samples, like.samples, equal_nan=now.samples.dtype.kind == "f")
    return data if same else None


def count_pages(path: Path | str) -> int:
    """How many pictures the file holds, as ``page`` of :func:`read_picture` counts them; 1 where that will be refused."""
    try:
        data = _load(path, str(path))
        kind = sniff(data)
        return 1 if kind is None else pages(data, kind)
    except (InputError, UsageError):
        return 1
    except MemoryError:
        raise
    except Exception:  # decoders raise anything at all on damaged files
        return 1


def _load(path: Path | str, name: str) -> bytes:
    try:
        if str(path) == "-" and sys.stdin is None:
            raise InputError(f"{name}: is closed; name a file")
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as handle:
                data = handle.read(MAX_BYTES + 1)
                if len(data) > MAX_BYTES and sniff(data) is not None:
                    data += handle.read(MAX_LARGE + 1 - len(data))
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder; name a picture") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{name}: cannot be read ({_reason(error)})") from error
    if not data:
        raise InputError(f"{name}: is empty; name a picture")
    most = MAX_BYTES if str(path) == "-" else MAX_LARGE
    if len(data) > most:
        raise InputError(f"{name}: is larger than {most >> 20} MB; crop or split it first")
    return data


def _check_values(picture: Picture, name: str, gaps: bool) -> None:
    if picture.unknown is not None and not gaps:
        raise InputError(f"{name}: has NaN or infinite samples; replace them by any number first")
    if picture.unknown is not None and picture.unknown.all():
        raise InputError(f"{name}: has nothing but NaN and infinite samples; name another picture")
    if picture.alpha is not None and picture.alpha.dtype.kind == "f" and not np.isfinite(picture.alpha).all():
        raise InputError(f"{name}: has NaN or infinite values in its transparency; replace them by any number first")
    low, high = picture.value_range
    if picture.black_white is not None and low >= high:
        raise InputError(f"{name}: --range comes to {low:g} for black and {high:g} for white; the first must be less")
    if not np.isfinite(high - low):
        raise InputError(f"{name}: has samples from {low:g} to {high:g}, too wide a range; clip them first")


def _kind(path: Path | str) -> str:
    if str(path) == "-":
        return "PNG"
    suffix = Path(path).suffix
    kind = EXTENSIONS.get(suffix.lower())
    if kind is None:
        told = " (end the name of a folder in /)" if not suffix else ""
        formats = " ".join(EXTENSIONS)
        raise DestinationError(f"{path}: {suffix or 'no extension'} names no picture format{told}; use {formats}")
    return kind


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = re.sub(r" *<_io\.BytesIO object at \w+>", "", text)  # what Pillow calls a file that it was given the bytes of
    return " ".join(text.split())[:160]
