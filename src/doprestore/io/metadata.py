"""What travels with a picture beside its samples: EXIF, ICC profile, resolution, PNG text."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from PIL import Image, PngImagePlugin

# TIFF tags that say how the samples lie in one file (another has its own), the resolution and the ICC
# profile (kept apart), and private data of editors that refers to the old pixels.
LAYOUT_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 282, 283, 284, 288, 289, 290,
    291, 292, 293, 296, 317, 320, 321, 322, 323, 324, 325, 330, 332, 333, 336, 338, 339, 340, 341, 342, 347, 512, 513,
    514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 34377, 34675, 37724,
}  # fmt: skip
# Tags of the two folders of tags that EXIF keeps within its own.
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
_COLOUR_CHUNKS = {b"cHRM", b"gAMA", b"sRGB", b"cICP"}
# The largest number in the ratio of the sides of a pixel: what a JPEG can hold, of all formats the least.
_MOST = 65_535


@dataclass(frozen=True)
class Metadata:
    """Metadata in the form that every format shares; what a format has no place for is left out on writing."""

    exif: bytes | None = None  # starts with b"Exif\0\0"; includes the orientation, which is never applied
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    aspect: tuple[int, int] | None = None  # pixels across and down in the same length, where the file names no unit for it
    text: dict[str, str] = field(default_factory=dict)  # PNG only
    colour: dict[bytes, bytes] = field(default_factory=dict)  # PNG only: gamma and the like
    fits: str | None = None  # FITS only: the cards of the header, those about the layout left out
    converted: str | None = None  # what the samples have become in reading that they are not in the file
    channel_axis: bool = False  # a one-channel .npy of shape (H, W, 1), not (H, W)


def from_pillow(image: Image.Image, data: bytes) -> Metadata:
    """Collect the metadata of a decoded Pillow image, not a TIFF, from the file's bytes ``data``."""
    exif = image.info.get("exif")
    if exif and not exif.startswith(b"Exif\0\0"):
        exif = b"Exif\0\0" + exif
    png = image.format == "PNG"
    aspect = _aspect(image.info.get("aspect") if image.info.get("jfif_unit") != 0 else image.info.get("jfif_density"))
    return Metadata(
        exif=exif or None,
        icc=image.info.get("icc_profile") or None,
        dpi=_sane_dpi(image.info.get("dpi")) if aspect is None else None,  # 72 in a JPEG with EXIF and no resolution
        aspect=aspect,
        text=dict(image.text) if isinstance(image, PngImagePlugin.PngImageFile) else {},
        colour={name: body for name, body in png_chunks(data) if name in _COLOUR_CHUNKS} if png else {},
    )


def from_tiff(data: bytes, offset: int, endian: str, bigtiff: bool) -> Metadata:
    """Collect the metadata of the TIFF page whose directory lies at ``offset``."""
    exif = Image.Exif()
    exif.endian, exif.bigtiff = endian, bigtiff
    exif.load_from_fp(io.BytesIO(data), offset)
    icc = exif.get(34675)
    resolution = (exif.get(282), exif.get(283))
    per_inch = {2: 1.0, 3: 2.54}.get(exif.get(296, 2))
    for tag in (EXIF_IFD, GPS_IFD):  # must be read before the first change
        if tag in exif:
            exif.get_ifd(tag)
    for tag in set(exif) & LAYOUT_TAGS:
        del exif[tag]
    exif.bigtiff = False
    return Metadata(
        exif=exif.tobytes() if len(exif) else None,
        icc=icc if isinstance(icc, bytes) and icc else None,
        dpi=_sane_dpi(resolution, per_inch or 0.0),
        aspect=_aspect(resolution) if per_inch is None else None,
    )


def save_options(metadata: Metadata, kind: str) -> dict[str, object]:
    """Return the keyword arguments that make ``Image.save`` write ``metadata`` in format ``kind``."""
    options: dict[str, object] = {}
    if metadata.dpi and kind in {"PNG", "JPEG", "BMP"}:
        options["dpi"] = metadata.dpi
    if kind in {"PNG", "JPEG", "WEBP", "AVIF", "HEIF"}:
        if metadata.exif:
            options["exif"] = metadata.exif
        if metadata.icc:
            options["icc_profile"] = metadata.icc
    if kind == "PNG":
        options["pnginfo"] = info = PngImagePlugin.PngInfo()
        for name, body in metadata.colour.items():
            if not (metadata.icc and name == b"sRGB"):  # the standard forbids both
                info.add(name, body)
        for key, value in metadata.text.items():
            if isinstance(value, PngImagePlugin.iTXt):
                info.add_itxt(key, value, value.lang or "", value.tkey or "")
            else:
                info.add_text(key, value)
    return options


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, body) of every chunk of a PNG file."""
    start = 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], data[start + 8 : end]
        start = end + 4


def _sane_dpi(dpi: Any, per_inch: float = 1.0) -> tuple[float, float] | None:
    try:
        across, down = (float(value) * per_inch for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    sane = all(math.isfinite(value) and 0 < value < 1e6 for value in (across, down))
    return (across, down) if sane else None


def _aspect(resolution: Any) -> tuple[int, int] | None:
    """The resolution across and down as a ratio of whole numbers; None where pixels are square or it makes no sense."""
    sane = _sane_dpi(resolution)
    ratio = Fraction(1) if sane is None else Fraction(sane[0] / sane[1]).limit_denominator(_MOST)
    return ratio.as_integer_ratio() if ratio != 1 and 0 < ratio.numerator <= _MOST else None
