"""What kind of file it is, by its first bytes; and for those that are not read, what to do with them first."""

from __future__ import annotations

import re

# Containers of videos by the ending of their names, and the codec that each is written with.
CLIPS = {".mp4": "libx264", ".mov": "libx264", ".m4v": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9", ".avi": "mpeg4",
         ".mpg": "mpeg2video", ".mpeg": "mpeg2video"}  # fmt: skip
# The remedy for a camera's raw file.
DEVELOP = "develop it to a 16-bit TIFF first, as with: darktable-cli FILE developed.tif"
_CONVERT = "convert it to PNG first, as with: magick FILE picture.png"
# Endings of the names of raw files that are TIFF files otherwise, with a preview for a picture.
RAW = {".3fr", ".arw", ".dcr", ".dng", ".erf", ".kdc", ".mef", ".mos", ".nef", ".nrw", ".pef", ".sr2", ".srf", ".srw"}
# First bytes -> what the file is and the remedy. Other raw files that are TIFF files are known by their tags (decode.py).
_OTHERS = {
    rb"II\*\0(\x10\0{3}CR\x02|.{4}IIII.waR)|MM\0\*.{4}MMMMRaw|II(RO|RS|U\0|\x1a\0{3}HEAPCCDR)|MMOR|\0MRM|FUJIFILMCCD-RAW"
    rb"|.{4}ftypcrx |FOVb|\0.{24}ARECOYK": f"is a camera's raw file; {DEVELOP}",
    rb"GIF8": "is a GIF, animated perhaps; save a frame as PNG first, as with: magick FILE[0] picture.png",
    rb"8BPS": f"is a Photoshop file; {_CONVERT}",
    rb"gimp xcf": f"is a file of GIMP; {_CONVERT}",
    rb"v/1\x01": "is an OpenEXR file; convert it to a 32-bit float TIFF first, as with: oiiotool FILE -o picture.tif",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": f"is a JPEG 2000 file; {_CONVERT}",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "is a JPEG XL file; convert it to PNG first, as with: djxl FILE picture.png",
    rb"%PDF": "is a PDF; extract its pictures first, as with: pdfimages -png FILE picture",
    rb"\x1f\x8b": "is compressed with gzip; unpack it first, as with: gunzip --keep FILE",
    rb".{4}ftyp(mp4|isom|M4V|qt  )": "is a video; save its frames as PNG first, as with: ffmpeg -i FILE %05d.png",
}
_AVIF = (b"avif", b"avis")
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def sniff(data: bytes) -> str | None:
    """Tell the format by the first bytes; what has no name here never reaches a decoder."""
    if remedy(data) is not None:
        return None
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
    if data.startswith(b"SIMPLE  ="):
        return "FITS"
    if data[4:8] == b"ftyp":
        if data[8:12] in _AVIF:
            return "AVIF"
        if data[8:12] in _HEIF:  # "mif1" stands for any codec; the compatible brands say which
            brands = data[16 : int.from_bytes(data[:4], "big")]
            return "AVIF" if any(brand in brands for brand in _AVIF) else "HEIF"
    return None


def remedy(data: bytes) -> str | None:
    """What a file is that is known but not read, with what to do first; None for all others."""
    return next((text for start, text in _OTHERS.items() if re.match(start, data[:40], re.DOTALL)), None)
