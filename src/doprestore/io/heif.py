"""HEIF and AVIF: Pillow reads AVIF itself, HEIF with the plugin in the extra [heif]. Both hold 8 bits here."""

from __future__ import annotations

import re

from doprestore.errors import InputError, UsageError

# What is said where the package for the format is absent.
MISSING = "HEIF needs pillow-heif; pip install 'doprestore[heif]'"


def plug_in() -> None:
    """Teach Pillow HEIF. Raises :class:`UsageError` where the plugin is not installed."""
    try:
        import pillow_heif
    except ImportError as error:
        raise UsageError(MISSING) from error
    pillow_heif.register_heif_opener(thumbnails=False)


def check(data: bytes, kind: str) -> None:
    """Refuse what Pillow would read as 8 bits without a word, and HEIF without its plugin."""
    if bits := _bits(data, kind):
        raise InputError(
            f"has {bits} bits a channel, of which only 8 would be read; convert it to a 16-bit PNG first, as with: "
            + ("avifdec --depth 16 FILE picture.png" if kind == "AVIF" else "heif-dec FILE picture.png")
        )
    if kind == "HEIF":
        try:
            plug_in()
        except UsageError as error:
            raise InputError(str(error)) from error


def _bits(data: bytes, kind: str) -> int | None:
    """The bits a channel where they are more than 8, by the configuration of the codec, else None.

    AV1: https://aomediacodec.github.io/av1-isobmff/#av1codecconfigurationbox-syntax; HEVC: ISO/IEC 14496-15, 8.3.3.1.2.
    """
    if kind == "AVIF":
        flags = [match[1][2] for match in re.finditer(rb"av1C(.{4})", data[: 2**20], re.DOTALL)]
        deep = [12 if flag & 0x20 else 10 for flag in flags if flag & 0x40]
    else:
        deep = [8 + (match[1][17] & 7) for match in re.finditer(rb"hvcC(.{19})", data[: 2**20], re.DOTALL)]
    return max((bits for bits in deep if bits > 8), default=None)
