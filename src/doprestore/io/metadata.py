"""What travels with a picture beside its samples: EXIF, ICC profile, resolution, PNG text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from PIL import Image, PngImagePlugin

# TIFF tags that describe how the samples lie in one file; another file has its own.
_LAYOUT_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 282, 283, 284, 288, 289, 290,
    291, 292, 293, 296, 317, 320, 321, 322, 323, 324, 325, 330, 332, 333, 336, 338, 339, 340, 341, 342, 347, 512, 513,
    514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 34675,
}  # fmt: skip


@dataclass(frozen=True)
class Metadata:
    """Metadata in the form that every format shares; whatever a format cannot hold is left out on writing."""

    exif: bytes | None = None  # starts with b"Exif\0\0"; the orientation tag included, never applied
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)  # PNG only
    channel_axis: bool = False  # a one-channel .npy of shape (H, W, 1), not (H, W)


def from_pillow(image: Image.Image) -> Metadata:
    """Collect the metadata of a decoded Pillow image."""
    exif = image.info.get("exif")
    if image.format == "TIFF":
        exif = tiff_exif(image.getexif())
    elif exif and not exif.startswith(b"Exif\0\0"):
        exif = b"Exif\0\0" + exif
    return Metadata(
        exif=exif or None,
        icc=image.info.get("icc_profile") or None,
        dpi=_sane_dpi(image.info.get("dpi")),
        text=dict(getattr(image, "text", {})) if image.format == "PNG" else {},
    )


def tiff_exif(exif: Image.Exif) -> bytes | None:
    """Serialise the tags of a TIFF page that are not about its layout."""
    for tag in (0x8769, 0x8825):  # the EXIF and GPS directories, which must be read before tobytes
        if tag in exif:
            exif.get_ifd(tag)
    for tag in list(exif):
        if tag in _LAYOUT_TAGS:
            del exif[tag]
    return exif.tobytes() if len(exif) else None


def save_options(metadata: Metadata, kind: str) -> dict[str, object]:
    """Return the keyword arguments that make ``Image.save`` write ``metadata`` in format ``kind``."""
    options: dict[str, object] = {}
    if metadata.dpi and kind in {"PNG", "JPEG", "TIFF", "BMP"}:
        options["dpi"] = metadata.dpi
    if kind in {"PNG", "JPEG", "TIFF", "WEBP"}:
        if metadata.exif:
            options["exif"] = metadata.exif
        if metadata.icc:
            options["icc_profile"] = metadata.icc
    if metadata.text and kind == "PNG":
        options["pnginfo"] = info = PngImagePlugin.PngInfo()
        for key, value in metadata.text.items():
            if isinstance(value, PngImagePlugin.iTXt):
                info.add_itxt(key, value, value.lang or "", value.tkey or "")
            else:
                info.add_text(key, value)
    return options


def _sane_dpi(dpi: object) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    sane = all(math.isfinite(value) and 0 < value < 1e6 for value in (across, down))
    return (across, down) if sane else None
