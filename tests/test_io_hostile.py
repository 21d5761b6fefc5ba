"""Bad input: one clear line that names the file, whatever is wrong with it."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from doprestore.errors import InputError, OutputError
from doprestore.io import decode
from doprestore.io.images import Picture, check_format, read_picture, write_picture


def _refused(path, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_picture(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and " object at 0x" not in str(caught.value)


def _chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def _png(width: int, height: int, bits: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("extension", "depth"),
    [(extension, depth) for extension in (".png", ".tif", ".ppm", ".npy") for depth in ("uint8", "uint16")]
    + [(extension, "uint8") for extension in (".jpg", ".webp", ".bmp", ".avif")],
)
def test_truncated_anywhere(tmp_path, extension, depth):
    samples = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (3, 30, 20), depth)
    picture, path = Picture(samples), tmp_path / f"a{extension}"
    write_picture(path, picture.pixels, picture)
    whole = path.read_bytes()
    # A PNG ends in 24 bytes of checksums and end mark, which libpng misses at 16 bits and Pillow does not at 8.
    for end in np.linspace(1, len(whole) - 24, 40).astype(int):
        path.write_bytes(whole[:end])
        _refused(path, "is not a|is damaged")


def test_not_a_picture(tmp_path):
    generator = np.random.default_rng(0)
    files = {"text.png": b"hello", "noise.png": generator.bytes(999), "zeros.jpg": bytes(100), "zip.npz": b"PK\3\4..",
             "old.eps": b"%!PS-Adobe-3.0\n", "short.fits": b"SIMPLE"}  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        _refused(tmp_path / name, "convert it to PNG")
    (tmp_path / "empty.png").touch()
    _refused(tmp_path / "empty.png", "is empty")
    _refused(tmp_path / "absent.png", "no such file")
    _refused(tmp_path, "is a folder")
    _refused(tmp_path / "text.png" / "x.png", "cannot be read")
    _refused(tmp_path / ("x" * 300), "cannot be read")
    with pytest.raises(InputError, match="cannot be read"):
        read_picture("a\0b.png")


def test_an_unreadable_file(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    _refused(path, "Permission denied")


def test_a_pipe_is_read(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    buffer = io.BytesIO()
    Image.new("L", (3, 2)).save(buffer, "PNG")
    writer = threading.Thread(target=path.write_bytes, args=(buffer.getvalue(),))
    writer.start()
    assert read_picture(path).samples.shape == (1, 2, 3)
    writer.join()


def test_bombs_are_refused_before_they_are_decoded(tmp_path):
    webp = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xfe\x3f\0\xfe\x3f\0"
    tiff = tmp_path / "t.tif"
    tifffile.imwrite(tiff, np.zeros((1, 1), np.uint16), metadata=None)
    with tifffile.TiffFile(tiff, mode="r+b") as file:
        file.pages[0].tags[256].overwrite(65000)
        file.pages[0].tags[257].overwrite(65000)
    npy = io.BytesIO()
    np.lib.format.write_array_header_1_0(npy, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)})
    files = {
        "warning.png": _png(10_000, 9_000),  # Pillow only warns
        "error.png": _png(60_000, 60_000),
        "deep.png": _png(10_000, 9_000, 16),
        "a.webp": webp,
        "a.tif": tiff.read_bytes(),
        "a.npy": npy.getvalue(),
        "a.ppm": b"P6 99999 99999 65535\n",
        "b.ppm": b"P6 99999 99999 255\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        _refused(tmp_path / name, "pixels; crop or shrink it")


def test_large_pictures_are_read_where_their_files_are_large_too(tmp_path, monkeypatch):
    """Noise does not shrink, so its file cannot lie about it; an even picture's could."""
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own, which raises at twice as many
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    np.save(tmp_path / "a.npy", noise)
    np.save(tmp_path / "deep.npy", noise.astype(np.float64))
    for name in ("a.png", "a.tif", "a.jpg", "a.webp", "a.ppm", "a.bmp"):
        Image.fromarray(noise).save(tmp_path / name)
    for path in sorted(tmp_path.iterdir()):
        assert read_picture(path).samples.shape == (3, 100, 100)
        assert Image.MAX_IMAGE_PIXELS == 1000
    Image.new("RGB", (100, 100)).save(tmp_path / "even.png")
    _refused(tmp_path / "even.png", "is 100x100 in a file of 0 KB, over the limit of 1000 pixels; crop")
    monkeypatch.setattr(decode, "MAX_LARGE", 100_000)
    _refused(tmp_path / "deep.npy", "needs over 0 GB; crop or split it first")


def test_more_than_89_megapixels(tmp_path):
    samples = np.zeros((9500, 9500), np.uint8)
    samples[-1, -1] = 7
    np.save(tmp_path / "large.npy", samples)
    assert read_picture(tmp_path / "large.npy").samples[0, -1, -1] == 7


PEAK = """
import resource, sys
from doprestore.io.images import InputError, read_picture
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        assert read_picture(path).samples.shape == (1, 4, 4)
    except InputError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""


def test_a_strip_that_unpacks_to_a_gigabyte_takes_no_memory(tmp_path):
    bomb = zlib.compress(bytes(2**30), 1)
    for dtype in ("uint8", "uint16"):
        path = tmp_path / f"{dtype}.tif"
        tifffile.imwrite(path, np.zeros((4, 4), dtype), metadata=None)
        data = path.read_bytes()
        with tifffile.TiffFile(path, mode="r+b") as file:
            for tag, value in {259: 8, 273: len(data), 279: len(bomb)}.items():  # deflate, where, how long
                file.pages[0].tags[tag].overwrite(value)
        path.write_bytes(path.read_bytes() + bomb)
    command = [sys.executable, "-c", PEAK, tmp_path / "uint8.tif", tmp_path / "uint16.tif"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000  # kB


def test_a_jpeg_of_a_thousand_passes_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (4000, 1500)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_picture(tmp_path / "a.jpg").samples.shape == (1, 1500, 4000)
    (tmp_path / "a.jpg").write_bytes(data[:last] + data[last:-2] * 1000 + data[-2:])
    _refused(tmp_path / "a.jpg", "hundreds of scans")


def test_decoders_do_not_write_on_stderr(tmp_path, capfd):
    path = tmp_path / "a.tif"
    Image.new("L", (50, 50)).save(path, compression="tiff_adobe_deflate")
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\xff" * 10 + data[18:])  # the strip comes right after the header
    _refused(path, "is damaged")
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "a.png", icc_profile=rgb)
    assert read_picture(tmp_path / "a.png").depth == "uint16"  # libpng warns of an RGB profile in a grey picture
    assert capfd.readouterr() == ("", "")
    print("still there", file=sys.stderr)
    assert capfd.readouterr().err == "still there\n"


def test_animations_are_refused(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for extension in (".png", ".webp", ".avif"):
        frames[0].save(tmp_path / f"a{extension}", save_all=True, append_images=frames[1:])
        _refused(tmp_path / f"a{extension}", "is animated or holds several")


def test_other_colours_are_refused(tmp_path):
    for mode in ("LAB", "YCbCr"):
        Image.new(mode, (4, 4)).save(tmp_path / f"{mode}.tif")
        if mode != "YCbCr":  # TIFF's YCbCr is only another way to store RGB
            _refused(tmp_path / f"{mode}.tif", f"{mode} colour is not supported; convert it to RGB first")
    deep = np.zeros((4, 4, 4), np.uint16)
    tifffile.imwrite(tmp_path / "cmyk16.tif", deep, photometric="separated")
    _refused(tmp_path / "cmyk16.tif", "CMYK colour is not supported; convert it to RGB")
    tifffile.imwrite(tmp_path / "pre.tif", deep, photometric="rgb", extrasamples=["assocalpha"])
    _refused(tmp_path / "pre.tif", "straight alpha")
    tifffile.imwrite(tmp_path / "five.tif", np.zeros((4, 4, 5), np.uint16), photometric="rgb", planarconfig="contig")
    _refused(tmp_path / "five.tif", "5 channels")


def test_other_samples_are_refused(tmp_path):
    for dtype in ("int8", "int64", "uint64", "complex64"):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), dtype))
        _refused(tmp_path / "a.tif", "samples")
        np.save(tmp_path / "a.npy", np.zeros((4, 4), dtype))
        _refused(tmp_path / "a.npy", f"samples of type {dtype}")
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 4095\n" + bytes(8))
    _refused(tmp_path / "a.pgm", "samples up to 4095")
    for bad in (np.nan, np.inf):
        np.save(tmp_path / "a.npy", np.array([[0, bad]]))
        _refused(tmp_path / "a.npy", "NaN or infinite")
    np.save(tmp_path / "a.npy", np.array([[-1.7e308, 1.7e308]]))
    _refused(tmp_path / "a.npy", "too wide")
    for shape in [(4,), (4, 4, 5), (0, 4), (4, 0, 3)]:
        np.save(tmp_path / "a.npy", np.zeros(shape))
        _refused(tmp_path / "a.npy", "shape|no pixels")


class _Trap:
    def __reduce__(self):
        return os.mkdir, ("/tmp/doprestore-was-tricked",)


def test_a_pickle_in_an_array_is_not_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[_Trap()]], object), allow_pickle=True)
    _refused(tmp_path / "a.npy", "samples of type object")
    (tmp_path / "b.npy").write_bytes(pickle.dumps(_Trap()))
    _refused(tmp_path / "b.npy", "is not a")
    assert not os.path.exists("/tmp/doprestore-was-tricked")


def test_outputs_that_cannot_be(tmp_path):
    for name in ("a.xyz", "a", "a.gif", "a.exr"):
        with pytest.raises(OutputError, match=r"names no picture format.*; use \.png"):
            check_format(tmp_path / name)
    colour = Picture(np.zeros((3, 1, 1), np.uint8))
    with pytest.raises(OutputError, match="cannot hold colour"):
        check_format(tmp_path / "a.pgm", colour)
    long = Picture(np.zeros((1, 1, 17_000), np.uint8))
    with pytest.raises(OutputError, match=r"\.webp cannot hold a side over 16383 pixels"):
        check_format(tmp_path / "a.webp", long)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="NaN"):
        write_picture(path, np.full((1, 2, 2), np.nan))
    with pytest.raises(OutputError, match="cannot hold"):
        write_picture(path, np.zeros((1, 2, 2)), Picture(np.zeros((1, 2, 2), np.float32)))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.png"]
