"""From samples and metadata to the bytes of a file, in the format that the extension names."""

from __future__ import annotations

import io
import zlib

import numpy as np
from imagecodecs import png_encode
from PIL import Image, TiffImagePlugin

from doprestore.io import fits, heif
from doprestore.io.metadata import EXIF_IFD, GPS_IFD, LAYOUT_TAGS, Metadata, png_chunks, save_options

# Extensions of the files that can be written, and their formats.
EXTENSIONS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".bmp": "BMP",
    ".ppm": "PPM", ".pgm": "PPM", ".pnm": "PPM", ".npy": "NPY", ".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF",
    ".fits": "FITS", ".fit": "FITS", ".fts": "FITS",
}  # fmt: skip
_INTEGERS = ("uint8", "uint16", "uint32", "int16", "int32")
# The types of samples that a format can hold; those that are not here have 8 bits.
DEPTHS = {
    "PNG": ("uint8", "uint16"),
    "PPM": ("uint8", "uint16"),
    "TIFF": (*_INTEGERS, "float16", "float32", "float64"),
    "NPY": (*_INTEGERS, "float16", "float32", "float64"),
    "FITS": (*_INTEGERS, "float32", "float64"),
}
# Formats without transparency.
NO_ALPHA = {"JPEG", "BMP", "PPM", "FITS"}
# Formats that lose something at any quality.
LOSSY = {"JPEG", "AVIF", "HEIF"}
# An EXIF tag that points into the old file; it says no more than "R98".
_INTEROP_IFD = 0xA005
# The longest side in pixels that a format can have.
MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 65_536}


def encode(
    array: np.ndarray, metadata: Metadata, kind: str, quality: int | None = None, subsampling: str | None = None
) -> bytes:
    """Return the file for samples (H, W, C), C = 1 to 4 with alpha last. Raises whatever the encoder raises."""
    if kind == "NPY":
        buffer = io.BytesIO()
        np.save(buffer, array if array.shape[2] > 1 or metadata.channel_axis else array[..., 0], allow_pickle=False)
        return buffer.getvalue()
    if kind == "TIFF":
        return _encode_tiff(array, metadata)
    if kind == "FITS":
        return fits.encode(array, metadata)
    if kind == "HEIF":
        heif.plug_in()
    if array.dtype == np.uint16:
        return _encode_png16(array, metadata) if kind == "PNG" else _encode_ppm16(array)
    options = save_options(metadata, kind)
    if kind in LOSSY:
        options["quality"] = 95 if quality is None else int(quality)  # NumPy's integers are refused
        options["chroma" if kind == "HEIF" else "subsampling"] = _chroma(kind, subsampling or "4:4:4")
        if kind == "AVIF" and array.shape[2] in (2, 4):
            options["advanced"] = {"alpha:lossless": "1"}  # of libaom: the transparency stays, whatever the quality
    elif kind == "WEBP":
        # exact: without it the colour under full transparency is thrown away
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": int(quality)}
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(buffer, kind, **options)
    return _with_aspect(buffer.getvalue(), kind, metadata.aspect)


def _with_aspect(file: bytes, kind: str, aspect: tuple[int, int] | None) -> bytes:
    """The file with the ratio of the sides of its pixels, which Pillow writes only with a unit."""
    if aspect is not None and kind == "PNG":
        sides = b"".join(side.to_bytes(4, "big") for side in aspect)
        return _with_chunks(file, [(b"pHYs", sides + b"\0")])
    if aspect is not None and kind == "JPEG":  # the unit and both densities of the JFIF segment, which comes first
        return file[:13] + b"\0" + b"".join(side.to_bytes(2, "big") for side in aspect) + file[18:]
    return file


def _chroma(kind: str, subsampling: str) -> str | int:
    return subsampling.replace(":", "") if kind == "HEIF" else subsampling  # pillow-heif says "444"


def _encode_png16(array: np.ndarray, metadata: Metadata) -> bytes:
    """Samples from libpng; the metadata chunks from a one-pixel picture that Pillow writes."""
    file = bytes(png_encode(array.copy()))  # it insists on plain strides, even along sides of 1
    carrier = encode(np.zeros((1, 1, 1), np.uint8), metadata, "PNG")
    return _with_chunks(file, [chunk for chunk in png_chunks(carrier) if chunk[0] not in {b"IHDR", b"IDAT", b"IEND"}])


def _with_chunks(file: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """The PNG file with (name, body) of more chunks right after IHDR: those of colour must come before the samples."""
    added = b""
    for name, body in chunks:
        added += len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
    return file[:33] + added + file[33:]


def _encode_ppm16(array: np.ndarray) -> bytes:
    height, width, channels = array.shape
    return b"P%d\n%d %d\n65535\n" % (6 if channels == 3 else 5, width, height) + array.astype(">u2").tobytes()


def _encode_tiff(array: np.ndarray, metadata: Metadata) -> bytes:
    """One page, one deflated strip. Pillow writes the directory: tifffile cannot write EXIF, nor Pillow 16-bit RGB."""
    height, width, channels = array.shape
    bits = array.dtype.itemsize * 8
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    if metadata.exif:
        exif = Image.Exif()
        exif.load(metadata.exif)
        for tag, entry in exif.items():
            value = entry
            if tag in (EXIF_IFD, GPS_IFD):
                value = {key: inner for key, inner in exif.get_ifd(tag).items() if key != _INTEROP_IFD}
            if tag not in LAYOUT_TAGS and value != {}:
                directory[tag] = value
    if metadata.icc:
        directory.tagtype[34675] = 7  # undefined bytes
        directory[34675] = metadata.icc
    if resolution := metadata.dpi or metadata.aspect:
        directory[282], directory[283] = resolution
        directory[296] = 2 if metadata.dpi else 1  # inch, or no unit
    samples = array.astype(array.dtype.newbyteorder("<"))
    if array.dtype.kind in "ui":
        samples[:, 1:] -= samples[:, :-1].copy()  # horizontal differences, modulo 2^bits, compress far better
        directory[317] = 2
    strip = zlib.compress(samples.tobytes(), 6)
    directory[256], directory[257] = width, height
    directory[258] = (bits,) * channels
    directory[259] = 8  # deflate
    directory[262] = 2 if channels >= 3 else 1  # RGB, or black is zero
    directory[277] = channels
    directory[278] = height  # rows in the strip
    directory[279] = len(strip)
    directory[284] = 1  # channels interleaved
    directory[339] = ({"u": 1, "i": 2, "f": 3}[array.dtype.kind],) * channels
    if channels in (2, 4):
        directory[338] = 2  # straight alpha
    directory.tagtype[273] = 4
    directory[273] = 0  # from the end of the directory; Pillow adds where that is
    buffer = io.BytesIO()
    directory.save(buffer)
    return buffer.getvalue() + strip
