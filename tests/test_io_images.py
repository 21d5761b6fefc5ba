"""Pictures go through read_picture and write_picture unchanged: mode x depth x format x metadata."""

from __future__ import annotations

import io
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from imagecodecs import png_encode
from PIL import ExifTags, Image, ImageCms

from doprestore.errors import InputError, OutputError, UsageError
from doprestore.io.images import Picture, check_format, read_picture, write_picture
from doprestore.io.metadata import Metadata

CHANNELS = {"grey": 1, "grey+alpha": 2, "rgb": 3, "rgb+alpha": 4}
HOLDS = {
    ".png": ("uint8", "uint16"),
    ".tif": ("uint8", "uint16", "float32", "float64"),
    ".npy": ("uint8", "uint16", "float32", "float64"),
    ".ppm": ("uint8", "uint16"),
    ".webp": ("uint8",),
    ".bmp": ("uint8",),
}
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _picture(channels: int, depth: str = "uint8", size: tuple[int, int] = (7, 5), **metadata: object) -> Picture:
    generator = np.random.default_rng(0)
    if depth.startswith("float"):
        planes = generator.normal(100, 1000, (channels, *size)).astype(depth)
    else:
        planes = generator.integers(0, np.iinfo(depth).max + 1, (channels, *size), depth)
    colours = 3 if channels >= 3 else 1
    alpha = planes[-1] if channels > colours else None
    return Picture(planes[:colours], alpha, Metadata(**metadata))


def _same(picture: Picture, other: Picture) -> None:
    np.testing.assert_array_equal(picture.samples, other.samples, strict=True)
    assert (picture.alpha is None) == (other.alpha is None)
    if picture.alpha is not None:
        np.testing.assert_array_equal(picture.alpha, other.alpha, strict=True)


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("mode", CHANNELS)
@pytest.mark.parametrize("extension", HOLDS)
@pytest.mark.parametrize("size", [(1, 1), (7, 5)], ids=str)
def test_every_mode_and_depth_comes_back_or_is_refused_beforehand(tmp_path, extension, mode, depth, size):
    picture, out = _picture(CHANNELS[mode], depth, size), tmp_path / f"out{extension}"
    if depth not in HOLDS[extension] or (picture.alpha is not None and extension in {".bmp", ".ppm"}):
        with pytest.raises(OutputError, match=rf"{extension} cannot hold .*; use \."):
            check_format(out, picture)
        return
    check_format(out, picture)
    write_picture(out, picture.pixels, picture)
    again = read_picture(out)
    if extension == ".webp" and mode.startswith("grey"):  # WebP has no grey: three equal channels
        assert len(again.samples) == 3
        again = Picture(again.samples[:1], again.alpha)
    _same(again, picture)


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32", "float64"])
def test_only_changed_pixels_change(tmp_path, depth):
    picture = _picture(4, depth)
    pixels = picture.pixels.copy()
    pixels[1, 2, 3] = 0.5
    write_picture(tmp_path / "out.tif", pixels, picture)
    again = read_picture(tmp_path / "out.tif")
    low, high = picture.value_range
    assert again.samples[1, 2, 3] == pytest.approx((low + high) / 2, rel=1e-6, abs=0.5 if depth[0] == "u" else 1e-9)
    again.samples[1, 2, 3] = picture.samples[1, 2, 3]
    _same(again, picture)


def test_pixels_are_float32_from_0_to_1():
    for depth in HOLDS[".tif"]:
        pixels = _picture(3, depth).pixels
        assert pixels.dtype == np.float32 and pixels.shape == (3, 7, 5)
        assert 0 <= pixels.min() < 0.2 and 0.8 < pixels.max() <= 1
    assert Picture(np.array([[[0, 255]]], np.uint8)).pixels.tolist() == [[[0, 1]]]
    assert Picture(np.array([[[0, 65535]]], np.uint16)).pixels.tolist() == [[[0, 1]]]
    assert Picture(np.array([[[0.25, 0.5]]])).pixels.tolist() == [[[0.25, 0.5]]]  # floats within [0, 1] as they are
    assert Picture(np.array([[[-10.0, 0, 10]]])).pixels.tolist() == [[[0, 0.5, 1]]]  # others from [min, max]
    assert Picture(np.full((1, 2, 2), 7.0)).pixels.tolist() == [[[0, 0], [0, 0]]]  # constant


def test_without_a_source_8_bits_and_clipped(tmp_path):
    write_picture(tmp_path / "map.png", np.array([[[-1.0, 0.0], [1.0, 2.0]]]))
    assert read_picture(tmp_path / "map.png").samples.tolist() == [[[0, 0], [255, 255]]]


@pytest.mark.parametrize("extension", [".jpg", ".webp"])
def test_quality_and_subsampling_change_the_file(tmp_path, extension):
    picture = Picture(np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8))
    out = tmp_path / f"out{extension}"
    sizes = []
    for quality in (20, 90):
        write_picture(out, picture.pixels, picture, quality=quality)
        sizes.append(out.stat().st_size)
    assert sizes[0] < sizes[1] / 1.5
    if extension == ".jpg":
        write_picture(out, picture.pixels, picture, quality=90, subsampling="4:2:0")
        assert out.stat().st_size < sizes[1] / 1.3


def test_an_option_that_the_format_ignores_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="--quality"):
        check_format(tmp_path / "out.png", quality=90)
    with pytest.raises(UsageError, match="--subsampling"):
        check_format(tmp_path / "out.webp", subsampling="4:2:0")


# --- metadata -------------------------------------------------------------------------------------------------------


def _exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "Ada"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ISOSpeedRatings: 400}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return exif.tobytes()


def _tags(exif: bytes) -> tuple:
    loaded = Image.Exif()
    loaded.load(exif)
    return dict(loaded.get_ifd(ExifTags.IFD.Exif)), dict(loaded.get_ifd(ExifTags.IFD.GPSInfo)), loaded[274], loaded[315]


FIRST = [(".png", "uint8"), (".png", "uint16"), (".tif", "uint8"), (".tif", "float32"), (".jpg", "uint8"),
         (".webp", "uint8")]  # fmt: skip


@pytest.mark.parametrize("second", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize(("first", "depth"), FIRST)
def test_exif_icc_and_resolution_survive_two_formats(tmp_path, first, depth, second):
    if depth not in HOLDS.get(second, ("uint8",)):
        second = ".tif"
    picture = _picture(3, depth, exif=_exif(), icc=ICC, dpi=(300.0, 150.0))
    write_picture(tmp_path / f"a{first}", picture.pixels, picture)
    once = read_picture(tmp_path / f"a{first}")
    write_picture(tmp_path / f"b{second}", once.pixels, once)
    twice = read_picture(tmp_path / f"b{second}")
    assert once.samples.shape == twice.samples.shape == (3, 7, 5)  # orientation 6 turns nothing
    for found in (once.metadata, twice.metadata):
        assert _tags(found.exif) == ({34855: 400}, {1: "N"}, 6, "Ada")
        assert found.icc == ICC
    if ".webp" not in (first, second):  # has no place for the resolution
        assert twice.metadata.dpi == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_png_text_and_gamma_survive(tmp_path, depth):
    source = _picture(1, depth, colour={b"gAMA": (100000).to_bytes(4, "big")}, text={"Title": "Caf\xe9", "K": "\u96ea"})
    write_picture(tmp_path / "a.png", source.pixels, source)
    metadata = read_picture(tmp_path / "a.png").metadata
    assert metadata.text == source.metadata.text and metadata.colour == source.metadata.colour
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.text["K"] == "\u96ea" and image.info["gamma"] == 1.0


def test_tiff_of_other_writers_keeps_its_tags(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (6, 5, 3), np.uint16)
    extra = [(315, "s", 0, "Ada", True), (33550, "d", 3, (1.5, 2.5, 0.0), True)]  # artist, GeoTIFF pixel scale
    for bigtiff, order in [(False, "<"), (False, ">"), (True, "<")]:
        tifffile.imwrite(
            tmp_path / "in.tif", array, photometric="rgb", byteorder=order, bigtiff=bigtiff, extratags=extra,
            resolution=(100, 100), resolutionunit="CENTIMETER", compression="lzw", iccprofile=ICC,
        )  # fmt: skip
        picture = read_picture(tmp_path / "in.tif")
        write_picture(tmp_path / "out.tif", picture.pixels, picture)
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            tags = file.pages[0].tags
            assert (file.asarray() == array).all()
            assert tags[315].value == "Ada" and tags[33550].value == (1.5, 2.5, 0.0) and tags[34675].value == ICC
        assert read_picture(tmp_path / "out.tif").metadata.dpi == pytest.approx((254, 254))


def test_exif_too_long_for_jpeg_is_refused_before_the_work(tmp_path):
    exif = Image.Exif()
    exif[700] = b"x" * 70_000
    with pytest.raises(OutputError, match=r"a\.jpg: \.jpg cannot hold the input's metadata \(EXIF"):
        check_format(tmp_path / "a.jpg", _picture(3, exif=exif.tobytes()))


# --- what other programs write ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd"])
def test_deep_rgb_tiff_of_other_writers(tmp_path, dtype, layout, compression):
    array = (np.random.default_rng(0).random((3, 40, 33)) * 1000).astype(dtype)
    written = array if layout == "separate" else array.transpose(1, 2, 0)
    tifffile.imwrite(
        tmp_path / "in.tif", written, photometric="rgb", planarconfig=layout, compression=compression, tile=(16, 16)
    )
    np.testing.assert_array_equal(read_picture(tmp_path / "in.tif").samples, array, strict=True)


def test_white_is_zero_is_turned_round(tmp_path):
    array = np.array([[0, 1000, 65535]], np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", array, photometric="miniswhite")
    assert read_picture(tmp_path / "in.tif").samples.tolist() == [[[65535, 64535, 0]]]


def test_pages(tmp_path):
    for dtype in (np.uint8, np.uint16):
        stack = np.stack([np.full((4, 3), value, dtype) for value in (10, 20, 30)])
        tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack")
        with pytest.raises(
            InputError, match=r"in\.tif: has 3 pages; choose one with --page 1 \.\.\. --page 3, or --page all"
        ):
            read_picture(tmp_path / "in.tif")
        for page in (0, 4):
            with pytest.raises(InputError, match="--page must be 1 to 3"):
                read_picture(tmp_path / "in.tif", page=page)
        assert (read_picture(tmp_path / "in.tif", page=2).samples == 20).all()
    write_picture(tmp_path / "one.png", np.zeros((1, 2, 2)))
    assert read_picture(tmp_path / "one.png", page=1).samples.shape == (1, 2, 2)
    with pytest.raises(InputError, match="leave --page out"):
        read_picture(tmp_path / "one.png", page=2)


def _palette(transparent: bool) -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    if transparent:
        image.info["transparency"] = b"\x80\xff"
    return image


def test_palette_and_1_bit_are_expanded(tmp_path):
    _palette(False).save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png").samples.transpose(1, 2, 0).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    _palette(True).save(tmp_path / "pa.png")
    picture = read_picture(tmp_path / "pa.png")
    assert picture.samples.shape == (3, 1, 2) and picture.alpha.tolist() == [[128, 255]]
    image = Image.new("1", (3, 1))
    image.putpixel((1, 0), 1)
    for extension in (".png", ".tif", ".bmp", ".pbm"):
        image.save(tmp_path / f"bit{extension}")
        assert read_picture(tmp_path / f"bit{extension}").samples.tolist() == [[[0, 255, 0]]]


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour_becomes_alpha(tmp_path, depth):
    peak = 2**depth - 1
    array = np.array([[[0, 0, 0], [peak, 5, 5]]], np.uint8 if depth == 8 else np.uint16)
    plain = png_encode(array)
    body = b"tRNS" + array[0, 1].astype(">u2").tobytes()
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    (tmp_path / "in.png").write_bytes(plain[:33] + chunk + plain[33:])
    picture = read_picture(tmp_path / "in.png")
    assert picture.samples.transpose(1, 2, 0).tolist() == array.tolist()
    assert picture.alpha.tolist() == [[peak, 0]]


def test_npy_shapes_and_byte_orders(tmp_path):
    for shape in [(4, 3), (4, 3, 1), (4, 3, 2), (4, 3, 3), (4, 3, 4)]:
        for dtype in ("u1", ">u2", "<f4", ">f8"):
            for order in "CF":
                array = np.asarray(np.random.default_rng(0).random(shape) * 250, dtype, order=order)
                np.save(tmp_path / "in.npy", array)
                picture = read_picture(tmp_path / "in.npy")
                write_picture(tmp_path / "out.npy", picture.pixels, picture)
                again = np.load(tmp_path / "out.npy")
                np.testing.assert_array_equal(again, array)
                assert again.dtype == array.dtype.newbyteorder("=") and again.shape == shape


def test_standard_streams_are_png(tmp_path, monkeypatch):
    picture, stdout = _picture(4, "uint16"), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=stdout))
    write_picture("-", picture.pixels, picture)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdout.getvalue())))
    assert stdout.getvalue().startswith(b"\x89PNG")
    _same(read_picture("-"), picture)


def test_16_bit_files_are_readable_elsewhere(tmp_path):
    picture = _picture(3, "uint16", icc=ICC)
    expected = picture.samples.transpose(1, 2, 0)
    write_picture(tmp_path / "a.tif", picture.pixels, picture)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), expected)
    for extension in (".tif", ".png"):
        write_picture(tmp_path / f"a{extension}", picture.pixels, picture)
        with Image.open(tmp_path / f"a{extension}") as image:  # Pillow takes the high byte
            assert np.abs(np.asarray(image).astype(int) - expected // 256).max() <= 1
