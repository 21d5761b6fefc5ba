"""Formats and samples of other people's folders, in and out: FITS, HEIF, AVIF, signed and wide integers, NaN."""

from __future__ import annotations

import io
import sys
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from doprestore.errors import InputError, OutputError
from doprestore.io.images import Picture, check_format, read_picture, write_picture


def _integers(depth: str, *shape: int) -> np.ndarray:
    limits = np.iinfo(depth)
    return np.random.default_rng(0).integers(limits.min, limits.max, shape, depth, endpoint=True)


def _unchanged(source, out) -> None:
    picture = read_picture(source)
    write_picture(out, picture.pixels, picture)
    again = read_picture(out)
    np.testing.assert_array_equal(again.samples, picture.samples, strict=True)


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["int16", "int32", "uint32", "float16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_signed_wide_and_half_samples_come_back(tmp_path, depth, channels):
    if depth == "float16":
        array = np.random.default_rng(0).normal(0, 100, (6, 5, channels)).astype(depth)
    else:
        array = _integers(depth, 6, 5, channels)
    array = array[..., 0] if channels == 1 else array
    np.save(tmp_path / "in.npy", array)
    tifffile.imwrite(tmp_path / "in.tif", array, photometric="minisblack" if channels == 1 else "rgb")
    for source in ("in.npy", "in.tif"):
        for out in ("out.npy", "out.tif"):
            _unchanged(tmp_path / source, tmp_path / out)
            assert read_picture(tmp_path / out).depth == depth
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), array)
    with pytest.raises(OutputError, match=rf"cannot hold the {depth} samples of the input; use \.tif or \.npy"):
        check_format(tmp_path / "out.png", read_picture(tmp_path / "in.npy"))


def test_signed_samples_fill_the_range_they_have(tmp_path):
    """A CT scan has -1024 to 3071, not the 65536 values of its type."""
    np.save(tmp_path / "ct.npy", np.array([[-1024, 3071, 0]], np.int16))
    picture = read_picture(tmp_path / "ct.npy")
    assert picture.value_range == (-1024, 3071)
    pixels = picture.pixels.copy()
    pixels[0, 0, 2] = 1.0
    write_picture(tmp_path / "out.npy", pixels, picture)
    assert np.load(tmp_path / "out.npy").tolist() == [[-1024, 3071, 3071]]


def test_bool_arrays_are_black_and_white(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[False, True]]))
    assert read_picture(tmp_path / "a.npy").samples.tolist() == [[[0, 255]]]


def test_nan_is_allowed_where_it_is_asked_for_and_filled_in(tmp_path):
    array = np.array([[0.1, np.nan, 0.3], [np.inf, 0.5, -np.inf]], np.float32)
    np.save(tmp_path / "a.npy", array)
    picture = read_picture(tmp_path / "a.npy", gaps=True)
    assert picture.unknown.tolist() == [[[False, True, False], [True, False, True]]]
    assert picture.value_range == (0, 1) and np.isfinite(picture.pixels).all()
    write_picture(tmp_path / "out.npy", picture.pixels, picture)  # even the value that stands for it is a new one
    filled = np.load(tmp_path / "out.npy")
    known = np.isfinite(array)
    assert np.isfinite(filled).all() and np.array_equal(filled[known], array[known])
    array[0, 1] = np.array(0x7FA00000, np.uint32).view(np.float32)  # a NaN that signals when it is computed with
    np.save(tmp_path / "a.npy", array)
    assert np.isfinite(read_picture(tmp_path / "a.npy", gaps=True).pixels).all()
    np.save(tmp_path / "b.npy", np.full((2, 2), np.nan))
    with pytest.raises(InputError, match="nothing but NaN"):
        read_picture(tmp_path / "b.npy", gaps=True)
    np.save(tmp_path / "c.npy", np.dstack([array, np.ones_like(array)])[..., ::-1].copy())
    with pytest.raises(InputError, match="transparency"):
        read_picture(tmp_path / "c.npy", gaps=True)


# --- FITS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("planes", [1, 3])
def test_fits_comes_back_with_its_header(tmp_path, depth, planes):
    fits = pytest.importorskip("astropy.io.fits")
    shape = (7, 5) if planes == 1 else (3, 7, 5)
    array = np.random.default_rng(0).normal(0, 9, shape).astype(depth) if depth[0] == "f" else _integers(depth, *shape)
    header = fits.Header({"OBJECT": "M 42", "EXPTIME": 30.5})
    header["CRVAL1"] = (83.8221, "right ascension")
    header["HISTORY"] = "flat-fielded"
    header["HIERARCH ESO DET NAME"] = "camera"
    fits.PrimaryHDU(array, header).writeto(tmp_path / "in.fits")
    _unchanged(tmp_path / "in.fits", tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as file:
        np.testing.assert_array_equal(file[0].data, array)
        assert file[0].header["OBJECT"] == "M 42" and file[0].header["EXPTIME"] == 30.5
        assert file[0].header.comments["CRVAL1"] == "right ascension"
        assert list(file[0].header["HISTORY"]) == ["flat-fielded"] and file[0].header["ESO DET NAME"] == "camera"
        file.verify("exception")
    _unchanged(tmp_path / "in.fits", tmp_path / "out.npy")


def test_fits_images_of_every_hdu(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    images = [fits.ImageHDU(np.full((4, 3), value, np.float32), name=name) for value, name in ((1, "SCI"), (2, "ERR"))]
    packed = fits.CompImageHDU(np.full((4, 3), 3, np.int16), name="DQ")
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(2))])
    fits.HDUList([fits.PrimaryHDU(), images[0], table, images[1], packed]).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match=r"a\.fits: has 3 images; choose one with --page 1 \.\.\. --page 3, or --page all"):
        read_picture(tmp_path / "a.fits")
    for page in (1, 2, 3):
        picture = read_picture(tmp_path / "a.fits", page=page)
        assert (picture.samples == page).all() and picture.samples.shape == (1, 4, 3)
        write_picture(tmp_path / f"{page}.fits", picture.pixels, picture)
        assert (fits.getdata(tmp_path / f"{page}.fits") == page).all()
    with pytest.raises(InputError, match="has no image 4"):
        read_picture(tmp_path / "a.fits", page=4)


def test_a_fits_image_keeps_its_name_and_inherits_where_it_says_so(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    first = fits.PrimaryHDU(header=fits.Header({"OBJECT": "M 42", "EXPTIME": 30.5}))
    images = [fits.ImageHDU(np.zeros((4, 3), np.float32), name="SCI", ver=version) for version in (1, 2)]
    images[1].header["INHERIT"], images[1].header["EXPTIME"] = True, 7.5
    fits.HDUList([first, *images]).writeto(tmp_path / "a.fits")
    for page, told in ((1, (None, None)), (2, ("M 42", 7.5))):
        picture = read_picture(tmp_path / "a.fits", page=page)
        write_picture(tmp_path / f"{page}.fits", picture.pixels, picture)
        with fits.open(tmp_path / f"{page}.fits") as file:
            header = file["SCI", page].header
            assert (header.get("OBJECT"), header.get("EXPTIME")) == told and "INHERIT" not in header
            file.verify("exception")


def test_fits_scaled_integers_and_blank_are_floats_with_gaps(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    hdu = fits.PrimaryHDU(np.array([[1, 2, -99]], np.int16))
    hdu.writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as file:
        file[0].header["BSCALE"], file[0].header["BZERO"], file[0].header["BLANK"] = 0.5, 10.0, -99
    picture = read_picture(tmp_path / "a.fits", gaps=True)
    assert picture.samples[0, 0, :2].tolist() == [10.5, 11.0] and picture.unknown.tolist() == [[[False, False, True]]]
    write_picture(tmp_path / "b.fits", picture.pixels, picture)
    assert fits.getdata(tmp_path / "b.fits")[0, :2].tolist() == [10.5, 11.0]


def test_fits_that_is_refused(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    fits.PrimaryHDU(np.zeros((5, 4, 3), np.int16)).writeto(tmp_path / "cube.fits")
    fits.PrimaryHDU(np.zeros((4, 3), np.int64)).writeto(tmp_path / "long.fits")
    for name, words in (("empty", "has no image"), ("cube", "5 x 4 x 3"), ("long", "type int64")):
        with pytest.raises(InputError, match=words):
            read_picture(tmp_path / f"{name}.fits")
    whole = (tmp_path / "long.fits").read_bytes()
    for end in (10, 700, 2880, 2900):
        (tmp_path / "cut.fits").write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"cut\.fits"):
            read_picture(tmp_path / "cut.fits")
    bomb = whole.replace(b"NAXIS1  =                    3", b"NAXIS1  =            300000000")
    (tmp_path / "bomb.fits").write_bytes(bomb)
    with pytest.raises(InputError, match="over the limit"):
        read_picture(tmp_path / "bomb.fits")


def test_without_the_extras_the_remedy_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =                    T".ljust(2880))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    for module, name in (("astropy.io", "fits"), ("pillow_heif", "heif")):
        monkeypatch.setitem(sys.modules, module, None)
        extension = {"fits": ".fits", "heif": ".heic"}[name]
        with pytest.raises(InputError, match=rf"pip install 'doprestore\[{name}\]'"):
            read_picture(tmp_path / f"a{extension}")
        with pytest.raises(OutputError, match=rf"pip install 'doprestore\[{name}\]'"):
            check_format(tmp_path / f"out{extension}")


# --- resolution -------------------------------------------------------------------------------------------------------


def _without_unit(path, depth: str) -> None:
    """A picture of 2 to 3 pixels across and down in one length, as other programs write it."""
    array = _integers(depth, 6, 5)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array, resolution=(200, 300), resolutionunit="NONE")
        return
    Image.fromarray(array).save(path, dpi=(300, 300))
    data = path.read_bytes()
    if path.suffix == ".jpg":
        path.write_bytes(data[:13] + b"\0\0\2\0\3" + data[18:])  # unit and densities of the JFIF segment
        return
    start = data.index(b"pHYs")
    chunk = b"pHYs" + b"\0\0\0\2\0\0\0\3" + b"\0"
    path.write_bytes(data[:start] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[start + 17 :])


@pytest.mark.parametrize(
    ("first", "depth"), [(".png", "uint8"), (".png", "uint16"), (".tif", "uint8"), (".tif", "uint16"), (".jpg", "uint8")]
)
def test_pixels_that_are_not_square_stay_so_without_a_unit(tmp_path, first, depth):
    _without_unit(tmp_path / f"in{first}", depth)
    picture = read_picture(tmp_path / f"in{first}")
    assert picture.metadata.aspect == (2, 3) and picture.metadata.dpi is None
    for second in (".png", ".tif") if depth == "uint16" else (".png", ".tif", ".jpg"):
        out = tmp_path / f"out{second}"
        write_picture(out, picture.pixels, picture)
        assert read_picture(out).metadata.aspect == (2, 3) and read_picture(out).metadata.dpi is None
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        tags = file.pages[0].tags
        assert (tags["XResolution"].value, tags["YResolution"].value) == ((2, 1), (3, 1))
        assert tags["ResolutionUnit"].value == 1
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["aspect"] == (2, 3)


@pytest.mark.parametrize("resolution", [(100, 100), (0, 1), (1e300, 1e-9), (1, 10**6)])
def test_a_ratio_that_says_nothing_is_left_out(tmp_path, resolution):
    array = _integers("uint8", 6, 5)
    extra = [(282, "d", 1, resolution[0], True), (283, "d", 1, resolution[1], True), (296, "H", 1, 1, True)]
    tifffile.imwrite(tmp_path / "in.tif", array, metadata=None, extratags=extra)
    assert read_picture(tmp_path / "in.tif").metadata.aspect is None


# --- HEIF and AVIF ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [".avif", ".heic", ".heif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_heif_and_avif_in_and_out(tmp_path, extension, mode):
    if extension != ".avif":
        pytest.importorskip("pillow_heif")
    ramp = np.linspace(40, 200, 64 * 64).reshape(64, 64).astype(np.uint8)
    image = Image.merge("RGBA", [Image.fromarray(plane) for plane in (ramp, ramp.T.copy(), ramp[::-1].copy(), ramp)])
    image.convert(mode).save(tmp_path / "in.png")
    source = read_picture(tmp_path / "in.png")
    sizes = []
    for quality in (20, None):
        write_picture(tmp_path / f"out{extension}", source.pixels, source, quality=quality)
        sizes.append((tmp_path / f"out{extension}").stat().st_size)
    assert sizes[0] < sizes[1]
    again = read_picture(tmp_path / f"out{extension}")
    assert again.kind == ("AVIF" if extension == ".avif" else "HEIF")
    assert (again.alpha is None) == (mode != "RGBA")
    assert np.abs(again.samples.astype(int) - source.samples).mean() < 2
    with pytest.raises(OutputError, match="cannot hold the uint16"):
        Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
        check_format(tmp_path / f"out{extension}", read_picture(tmp_path / "deep.png"))


@pytest.mark.parametrize("quality", [20, None])
@pytest.mark.parametrize("colours", [1, 3])
def test_avif_keeps_the_transparency_to_the_last_bit(tmp_path, quality, colours):
    """HEIF, whose encoder has one quality for colours and transparency, does not."""
    alpha = np.linspace(0, 255, 24 * 24).reshape(24, 24).astype(np.uint8)
    picture = Picture(np.full((colours, 24, 24), 90, np.uint8), alpha)
    check_format(tmp_path / "a.avif", picture, quality=quality)
    write_picture(tmp_path / "a.avif", picture.pixels, picture, quality=quality)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.avif").alpha, alpha)


def test_deep_heif_is_refused_rather_than_cut_to_8_bits(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    deep = np.zeros((64, 64, 3), np.uint16)
    heif.encode("RGB;16", (64, 64), deep.tobytes(), tmp_path / "deep.heic", quality=90)
    with pytest.raises(InputError, match=r"has 1[02] bits a channel"):
        read_picture(tmp_path / "deep.heic")
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "AVIF")
    data = buffer.getvalue()
    at = data.index(b"av1C") + 6
    (tmp_path / "deep.avif").write_bytes(data[:at] + bytes([data[at] | 0x40]) + data[at + 1 :])
    with pytest.raises(InputError, match="has 10 bits a channel"):
        read_picture(tmp_path / "deep.avif")
