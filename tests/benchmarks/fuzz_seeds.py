"""The good files that fuzz.py damages, small and of every sort that the readers know."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from inks import ink_profile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from doprestore.io.encode import encode
from doprestore.io.metadata import Metadata

TRAP = Path(tempfile.gettempdir()) / f"doprestore-fuzz-trap-{os.getuid()}"  # appears only if a pickle is run


class Trap:
    """Unpickling this creates the folder TRAP."""

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(TRAP),)


def _array(channels: int, depth: str) -> np.ndarray:
    values = np.random.default_rng(channels).random((9, 7, channels))
    return (values * (65535 if depth.endswith("u2") or depth == "uint16" else 250)).astype(depth)


def _metadata() -> Metadata:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "Ada"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.01}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitude: (51.0, 30.0, 2.5)}
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return Metadata(exif=exif.tobytes(), icc=icc, dpi=(300.0, 300.0), text={"Title": "Caf\xe9", "K": "\u96ea"})


def _ours(kind: str, depths: list[str], channels: list[int]) -> list[bytes]:
    cases = itertools.product(depths, channels, [Metadata(), _metadata()])
    return [encode(_array(count, depth), metadata, kind) for depth, count, metadata in cases]


def _pillow(kind: str, modes: list[str], **options: object) -> list[bytes]:
    files = []
    for mode in modes:
        image = Image.fromarray(_array(3, "uint8")).convert("L" if mode == "1" else "RGB")
        if mode == "LAB":
            image = Image.new("LAB", (7, 9))
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, kind, **options)
        files.append(buffer.getvalue())
    return files


def _moving(kind: str) -> list[bytes]:
    return _pillow(kind, ["RGB"], save_all=True, append_images=[Image.new("RGB", (7, 9), "red")])


def _png() -> list[bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("long", "x" * 3000, zip=True)
    return [
        *_ours("PNG", ["uint8", "uint16"], [1, 2, 3, 4]),
        *_pillow("PNG", ["1", "P", "L"], transparency=0),
        *_pillow("PNG", ["RGB"], pnginfo=text, transparency=(1, 2, 3)),
        *_moving("PNG"),
    ]


def _jpeg() -> list[bytes]:
    return [
        *_ours("JPEG", ["uint8"], [1, 3]),
        *_pillow("JPEG", ["L", "RGB", "CMYK"]),
        *_pillow("JPEG", ["L", "RGB"], progressive=True, exif=_metadata().exif, dpi=(72, 72)),
        *_moving("MPO"),
    ]


def _cmyk() -> list[bytes]:
    """With a profile, by which they are converted."""
    inks = {"icc_profile": ink_profile()}
    return _pillow("JPEG", ["CMYK"], **inks) + _pillow("TIFF", ["CMYK"], compression="raw", **inks)


def _webp() -> list[bytes]:
    return [
        *_ours("WEBP", ["uint8"], [1, 2, 3, 4]),
        *_pillow("WEBP", ["RGB", "RGBA"], quality=50, exif=_metadata().exif),
        *_moving("WEBP"),
    ]


def _tiff() -> list[bytes]:
    files = _ours("TIFF", ["uint8", "uint16", "int16", "uint32", "float16", "float32", "float64"], [1, 2, 3, 4])
    files += _moving("TIFF")
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "raw"):
        files += _pillow("TIFF", ["1", "L", "P", "RGB", "CMYK", "LAB"], compression=compression)
    files += _pillow("TIFF", ["L", "RGB"], compression="jpeg") + _pillow("TIFF", ["1"], compression="group4")
    compressions = [None, "lzw", "deflate", "zstd", "packbits"]
    orders = [("<", False), (">", False), ("<", True)]
    for depth, compression, tile, (order, big) in itertools.product(
        ["uint8", "uint16", "float32"], compressions, [None, (16, 16)], orders
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer, _array(3, depth), photometric="rgb", compression=compression, tile=tile, byteorder=order,
            bigtiff=big, predictor=compression in ("lzw", "deflate"),
        )  # fmt: skip
        files.append(buffer.getvalue())
    return files


def _ppm() -> list[bytes]:
    plain = [b"P2\n# grey\n3 2\n255\n0 1 2 3 4 255\n", b"P3 1 1 255 1 2 3\n", b"P1 3 2\n1 0 1\n0 1 0\n"]
    return [*_ours("PPM", ["uint8", "uint16"], [1, 3]), *_pillow("PPM", ["1"]), *plain, b"P5 3 1 100\n\1\2\3"]


def _npy() -> list[bytes]:
    files = _ours("NPY", ["uint8", "uint16", "int32", "float16", "float32", "float64"], [1, 2, 3, 4])
    others = [np.array([[Trap()]], object), np.zeros((4, 4), "int64"), np.zeros(3, [("a", "f4")]), np.array([["ab"]])]
    for array in [*others, np.asfortranarray(_array(1, "float64")[..., 0]), _array(3, ">u2")]:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        files.append(buffer.getvalue())
    return [*files, pickle.dumps(Trap())]


def _npz() -> list[bytes]:
    files = []
    arrays = {"X": _array(1, "float64")[..., 0], "mask": np.ones((9, 7), bool)}
    for save, content in itertools.product([np.savez, np.savez_compressed], [{"X": arrays["X"]}, arrays]):
        buffer = io.BytesIO()
        save(buffer, **content)
        files.append(buffer.getvalue())
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, X=np.array([[Trap()]], object))
    return [*files, buffer.getvalue()]


def _csv() -> list[bytes]:
    rows = [",".join(f"{value:.6g}" for value in row) for row in _array(1, "float64")[..., 0]]
    body = "\n".join(rows)
    return [
        body.encode(), ("a,b,c,d,e,f,g\n" + body).encode(), body.replace("\n", "\r\n").encode("utf-8-sig"),
        b"1,,nan\n\"2\",3,inf\n", "α,β\n1e300,-0\n".encode(), body.encode("utf-16"),
        b'# made\nday;"a;b";note\n2026-01-01;1,5;"x ""y"""\n2026-01-02;2,5;\n', b"a\tb\n1\t2\n\n3\tNA\n# end\n",
        "Ort;Höhe\r\nKöln;53\r\n".encode("latin-1"),
    ]  # fmt: skip


def _parquet() -> list[bytes]:
    import pandas

    frame = pandas.DataFrame(_array(1, "float64")[..., 0], columns=list("abcdefg"))
    frame["day"], frame["site"] = pandas.date_range("2026-01-01", periods=9), list("uvwxyzαβγ")
    frame["count"] = pandas.array([1, None, 3] * 3, dtype="Int64")
    files = []
    for one, compression in itertools.product([frame, frame.set_index("site"), frame[["a"]]], [None, "snappy", "zstd"]):
        buffer = io.BytesIO()
        one.to_parquet(buffer, compression=compression)
        files.append(buffer.getvalue())
    return files


def _clip(suffix: str) -> list[bytes]:
    from doprestore.io.video import Video, write_video

    files = []
    for channels, frames in itertools.product([1, 3], [1, 5]):
        video = np.repeat(_array(channels, "uint8").repeat(4, 0).repeat(4, 1)[None], frames, 0).squeeze()
        video = video.reshape(frames, 36, 28, *([3] if channels == 3 else []))
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / f"clip{suffix}"
            write_video(path, video, Video(video))
            files.append(path.read_bytes())
    return files


def _fits() -> list[bytes]:
    from astropy.io import fits

    files = _ours("FITS", ["uint8", "uint16", "int16", "int32", "float32", "float64"], [1, 3])
    grey = _array(1, "float32")[..., 0]
    gaps = grey.copy()
    gaps[3, 4] = np.nan
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(2))])
    packed = [fits.CompImageHDU(grey.astype("uint8"), compression_type=kind) for kind in ("RICE_1", "GZIP_1", "PLIO_1")]
    for parts in ([fits.ImageHDU(gaps)], [table, fits.ImageHDU(grey)], *([one] for one in packed)):
        buffer = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(buffer)
        files.append(buffer.getvalue())
    return files


def _heif(kind: str) -> list[bytes]:
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    files = _ours(kind, ["uint8"], [1, 2, 3, 4]) + _pillow(kind, ["RGB", "RGBA"], quality=30, exif=_metadata().exif)
    return files + _moving(kind)


CHECKPOINT = {"kind": "image", "data": "0" * 64, "settings": {"steps": 10, "preset": "fast"}}


def _checkpoint() -> list[bytes]:
    import torch

    from doprestore.io.checkpoint import save_checkpoint

    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(3)).sum().backward()
    optimiser.step()
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "rng": torch.get_rng_state(), "step": 3}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "run.ckpt"
        save_checkpoint(path, state, **CHECKPOINT)
        files = [path.read_bytes()]
    for old in (False, True):
        buffer = io.BytesIO()
        torch.save({**CHECKPOINT, "state": Trap()}, buffer, _use_new_zipfile_serialization=not old)
        files.append(buffer.getvalue())
    return [*files * 2, files[0], pickle.dumps(Trap())]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "png": _png,
    "jpeg": _jpeg,
    "cmyk": _cmyk,
    "tiff": _tiff,
    "webp": _webp,
    "bmp": lambda: _pillow("BMP", ["1", "L", "P", "RGB", "RGBA"]),
    "ppm": _ppm,
    "npy": _npy,
    "fits": _fits,
    "avif": lambda: _heif("AVIF"),
    "heic": lambda: _heif("HEIF"),
    "matrix.npy": _npy,
    "matrix.npz": _npz,
    "matrix.csv": _csv,
    "parquet": _parquet,
    "mp4": lambda: _clip(".mp4"),
    "avi": lambda: _clip(".avi"),
    "webm": lambda: _clip(".webm"),
    "ckpt": _checkpoint,
}
