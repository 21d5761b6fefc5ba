"""Pictures in and out: the samples exactly as they were, and everything that travels with them."""

from __future__ import annotations

import io
import re
import sys
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from doprestore.errors import InputError, OutputError
from doprestore.io.files import replacing
from doprestore.io.metadata import Metadata, from_pillow, save_options

# Pillow's own warning level; twice as much, where it starts to refuse, would need several GB here.
MAX_PIXELS = 89_478_485
MAX_BYTES = 512 * 2**20  # of the file, and of the decoded samples: reading stays below 2 GB

EXTENSIONS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".bmp": "BMP",
    ".ppm": "PPM", ".pgm": "PPM", ".pnm": "PPM",
}  # fmt: skip
_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_SUBSAMPLING = ("4:4:4", "4:2:2", "4:2:0")


@dataclass(frozen=True)
class Picture:
    """A picture in memory: exact samples, alpha, metadata, and the map to the [0, 1] of the algorithms.

    ``samples`` (C, H, W), C = 1 or 3, in the file's own depth; ``alpha`` (H, W) in the same depth, or None.
    """

    samples: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def depth(self) -> str:
        """The sample type: "uint8"."""
        return self.samples.dtype.name

    @property
    def value_range(self) -> tuple[float, float]:
        """The sample values that stand for 0 and 1."""
        return 0.0, float(np.iinfo(self.samples.dtype).max)

    @cached_property
    def pixels(self) -> np.ndarray:
        """float32 (C, H, W) in [0, 1]."""
        low, high = self.value_range
        return ((self.samples.astype(np.float64) - low) / (high - low)).astype(np.float32)


def read_picture(path: Path | str, *, page: int | None = None) -> Picture:
    """Read PNG, JPEG, TIFF, WebP, BMP or PPM (told by content, not by name); "-" is standard input.

    Palettes become RGB, 1-bit pictures grey; a transparent colour becomes an alpha channel. The EXIF
    orientation stays a tag: pixels are not turned. ``page`` (from 1) chooses a page of a TIFF.
    Raises :class:`InputError`, one line that names the file and the remedy, for anything else: a
    missing, empty, damaged, animated or huge file, CMYK or Lab colour, a multi-page TIFF without ``page``.
    """
    name = "standard input" if str(path) == "-" else str(path)
    data = _load(path, name)
    kind = _sniff(data)
    if kind is None:
        raise InputError(f"{name}: is not a picture in PNG, JPEG, TIFF, WebP, BMP or PPM; convert it to PNG first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken metadata and the like: pixels are checked below
            return _decode(data, kind, name, page)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything at all on damaged files
        raise InputError(f"{name}: is damaged or not a real {kind} file ({_reason(error)})") from error


def check_format(path: Path | str, like: Picture | None = None) -> None:
    """Raise :class:`OutputError` when the format that ``path`` names cannot hold a picture ``like`` this one."""
    kind = _kind(path)
    if like is None:
        return
    suffix = Path(path).suffix or "-"
    height, width = like.samples.shape[1:]
    if like.alpha is not None and kind in {"JPEG", "BMP", "PPM"}:
        raise OutputError(f"{path}: {suffix} cannot hold the transparency of the input; use .png, .tif or .webp")
    if like.samples.shape[0] == 3 and suffix == ".pgm":
        raise OutputError(f"{path}: .pgm cannot hold colour; use .ppm or .png")
    if max(height, width) > _MAX_SIDE.get(kind, 2**31):
        limit = _MAX_SIDE[kind]
        raise OutputError(f"{path}: {suffix} cannot hold a side over {limit} pixels; use .png or .tif")
    if kind == "JPEG" and like.metadata.exif and len(like.metadata.exif) > 65_533:
        raise OutputError(f"{path}: {suffix} cannot hold the input's EXIF data, over 64 KB; use .png or .tif")


def write_picture(
    path: Path | str,
    pixels: np.ndarray,
    like: Picture | None = None,
    *,
    quality: int | None = None,
    subsampling: str | None = None,
) -> None:
    """Write ``pixels``, float (C, H, W), in the format of the extension; "-" is PNG on standard output.

    With ``like``, depth, alpha and metadata are those of that picture, and a pixel equal to the one in
    ``like.pixels`` gets the very sample it came from. Without, the file has 8 bits and no metadata.
    Values outside [0, 1] are clipped. ``quality`` is for JPEG (95 unless given) and WebP (lossless
    unless given); ``subsampling`` ("4:4:4" unless given, "4:2:2", "4:2:0") for JPEG.
    Raises :class:`OutputError`; the old file, if any, is then untouched.
    """
    check_format(path, like)
    samples = _samples(pixels, like)
    source = like or Picture(samples)
    try:
        data = _encode(_kind(path), Picture(samples, source.alpha, source.metadata), quality, subsampling)
    except (OSError, ValueError, OverflowError) as error:
        raise OutputError(f"{path}: cannot be written in this format ({_reason(error)}); use .png") from error
    if str(path) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(data)


def _load(path: Path | str, name: str) -> bytes:
    try:
        if name == "standard input":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as handle:
                data = handle.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder; name a picture") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{name}: cannot be read ({_reason(error)})") from error
    if not data:
        raise InputError(f"{name}: is empty; name a picture")
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: is larger than {MAX_BYTES >> 20} MB; crop or split it first")
    return data


def _sniff(data: bytes) -> str | None:
    """Tell the format by the first bytes; nothing else ever reaches a decoder."""
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
    return None


def _decode(data: bytes, kind: str, name: str, page: int | None) -> Picture:
    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        if kind == "TIFF":
            _choose_page(image, name, page)
        elif page not in (None, 1):
            raise InputError(f"{name}: has a single page; leave --page out")
        if getattr(image, "is_animated", False) and kind in {"PNG", "WEBP"}:
            raise InputError(f"{name}: is animated; save one frame as PNG and give that")
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise InputError(f"{name}: {width}x{height} is over the limit of {MAX_PIXELS} pixels; crop or shrink it")
        if _is_deep(image, data):
            raise InputError(f"{name}: has more than 8 bits a channel, which is not supported; convert it to 8 bits")
        image.load()
        metadata = from_pillow(image)
        array = np.asarray(_expand(image, name))
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    colours = 3 if len(planes) >= 3 else 1
    alpha = planes[-1].copy() if len(planes) > colours else None
    return Picture(np.ascontiguousarray(planes[:colours]), alpha, metadata)


def _choose_page(image: Image.Image, name: str, page: int | None) -> None:
    pages = image.n_frames
    if page is None and pages > 1:
        raise InputError(f"{name}: has {pages} pages; choose one with --page 1 ... --page {pages}")
    if page is not None and not 1 <= page <= pages:
        raise InputError(f"{name}: has no page {page}; --page must be 1 to {pages}")
    image.seek((page or 1) - 1)


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether a channel has more than 8 bits; Pillow reads 16-bit RGB as 8-bit without a word."""
    if image.mode.startswith(("I", "F")):
        return True
    if image.format == "PNG":
        return data[24] > 8  # the bit depth in IHDR, which is always the first chunk
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,))) > 8
    if image.format == "PPM" and data[:2] not in (b"P1", b"P4"):
        header = re.sub(rb"#[^\r\n]*", b" ", data[:4096]).split(maxsplit=4)
        return int(header[3]) > 255
    return False


def _expand(image: Image.Image, name: str) -> Image.Image:
    """Bring the 8-bit modes to L, LA, RGB or RGBA; a transparent colour or palette entry becomes alpha."""
    mode = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "PA": "RGBA"}.get(image.mode)
    if mode is None:
        raise InputError(f"{name}: {image.mode} colour is not supported; convert it to RGB or greyscale first")
    if image.mode == "1":
        image = image.convert("L")
    if "transparency" in image.info:
        mode = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
    return image if image.mode == mode else image.convert(mode)


def _samples(pixels: np.ndarray, like: Picture | None) -> np.ndarray:
    """Turn float pixels (C, H, W) into samples of the depth of ``like``, exact where nothing changed."""
    pixels = np.asarray(pixels)
    if like is None:
        like = Picture(np.zeros(pixels.shape, np.uint8))
    elif pixels.shape != like.samples.shape:
        raise ValueError(f"pixels {pixels.shape} do not have the shape of the picture, {like.samples.shape}")
    if not np.isfinite(pixels).all():
        raise OutputError("the result has NaN or infinite values and was not written; try --precision float32")
    low, high = like.value_range
    scaled = np.clip(pixels.astype(np.float64), 0, 1) * (high - low) + low
    samples = np.rint(scaled).astype(like.samples.dtype)
    return np.where(pixels == like.pixels, like.samples, samples)


def _kind(path: Path | str) -> str:
    if str(path) == "-":
        return "PNG"
    suffix = Path(path).suffix
    kind = EXTENSIONS.get(suffix.lower())
    if kind is None:
        raise OutputError(f"{path}: {suffix or 'no extension'} names no picture format; use {' '.join(EXTENSIONS)}")
    return kind


def _encode(kind: str, picture: Picture, quality: int | None, subsampling: str | None) -> bytes:
    planes = picture.samples
    if picture.alpha is not None:
        planes = np.concatenate([planes, picture.alpha[None]])
    array = planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))
    options = save_options(picture.metadata, kind)
    if kind == "JPEG":
        options |= {"quality": quality or 95, "subsampling": subsampling or "4:4:4"}
    elif kind == "WEBP":
        # exact: without it the colour under full transparency is thrown away
        options |= {"quality": quality} if quality else {"lossless": True, "exact": True}
    elif kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160]
