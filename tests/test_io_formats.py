"""Formats and samples of other people's folders: FITS, HEIF, AVIF, signed and wide integers, NaN, what is refused."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from doprestore.errors import InputError, OutputError
from doprestore.io.images import check_format, copy_picture, count_pages, read_picture, write_picture


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
    with pytest.raises(InputError, match=r"a\.fits: has 3 images; choose one with --page 1 \.\.\. --page 3"):
        read_picture(tmp_path / "a.fits")
    for page in (1, 2, 3):
        picture = read_picture(tmp_path / "a.fits", page=page)
        assert (picture.samples == page).all() and picture.samples.shape == (1, 4, 3)
        write_picture(tmp_path / f"{page}.fits", picture.pixels, picture)
        assert (fits.getdata(tmp_path / f"{page}.fits") == page).all()
    with pytest.raises(InputError, match="has no image 4"):
        read_picture(tmp_path / "a.fits", page=4)


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


# --- what is known but not read ---------------------------------------------------------------------------------------

KNOWN = {
    "a.gif": (b"GIF89a" + bytes(20), r"is a GIF.* magick"),
    "a.cr2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(20), "camera's raw file; develop it .* darktable-cli"),
    "a.cr3": (b"\0\0\0\x18ftypcrx " + bytes(20), "camera's raw file"),
    "a.raf": (b"FUJIFILMCCD-RAW " + bytes(20), "camera's raw file"),
    "a.psd": (b"8BPS\0\1" + bytes(20), "Photoshop"),
    "a.exr": (b"v/1\1" + bytes(20), "OpenEXR"),
    "a.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "JPEG 2000"),
    "a.jxl": (b"\xff\x0a" + bytes(20), "JPEG XL.* djxl"),
    "a.pdf": (b"%PDF-1.7\n", "PDF.* pdfimages"),
    "a.fits.gz": (b"\x1f\x8b\x08" + bytes(20), "gunzip"),
    "a.mp4": (b"\0\0\0\x18ftypisom" + bytes(20), "video.* ffmpeg"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_formats_are_refused_with_what_to_do_first(tmp_path, name):
    data, words = KNOWN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}: .*{words}"):
        read_picture(tmp_path / name)


def test_the_preview_in_a_raw_file_is_not_taken_for_the_picture(tmp_path):
    preview = np.zeros((4, 4, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.dng", preview, photometric="rgb", extratags=[(50706, "B", 4, (1, 4, 0, 0), True)])
    with pytest.raises(InputError, match="raw file; develop"):
        read_picture(tmp_path / "a.dng")
    with tifffile.TiffWriter(tmp_path / "a.nef") as file:
        file.write(preview, photometric="rgb", subfiletype=1, subifds=1)
        file.write(np.zeros((9, 9), np.uint16), photometric="minisblack")
    with pytest.raises(InputError, match="raw file; develop"):
        read_picture(tmp_path / "a.nef")


def _ink_profile(space: bytes = b"CMYK") -> bytes:
    """An ICC profile (version 2) of inks that nobody prints with: cyan ink looks orange, L 65, a 45, b 70; no ink is white,
    and all others are black. See ICC.1:2001-04, 6.1 (header), 6.5.7 (lut8Type)."""
    colours = np.zeros((2, 2, 2, 2, 3), np.uint8)  # by the amounts of C, M, Y, K, as L 0 to 255 and a, b + 128
    colours[..., 1:] = 128
    colours[0, 0, 0, 0, 0] = 255
    colours[1, 0, 0, 0] = round(65 * 2.55), 45 + 128, 70 + 128
    ramp = np.arange(256, dtype=np.uint8).tobytes()
    table = b"mft1\0\0\0\0\4\3\2\0" + np.eye(3).ravel().astype(">i4").__mul__(65536).astype(">i4").tobytes()
    table += 4 * ramp + colours.tobytes() + 3 * ramp
    name = b"desc\0\0\0\0" + (10).to_bytes(4, "big") + b"odd inks\0\0" + bytes(78)
    white = b"XYZ \0\0\0\0" + b"".join(round(value * 65536).to_bytes(4, "big") for value in (0.9642, 1.0, 0.8249))
    tags, body = b"", b""
    for tag, data in ((b"desc", name), (b"wtpt", white), (b"A2B0", table)):
        tags += tag + (128 + 4 + 36 + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data + bytes(-len(data) % 4)
    size = (128 + 4 + 36 + len(body)).to_bytes(4, "big")
    header = size + bytes(4) + b"\x02\x20\0\0" + b"prtr" + space + b"Lab " + bytes(12) + b"acsp"
    header += bytes(28) + white[8:] + bytes(48)
    return header + (3).to_bytes(4, "big") + tags + body


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_cmyk_is_converted_by_its_profile(tmp_path, name):
    """To what the inks of the profile look like, which is not what the names of the inks say."""
    inks = Image.new("CMYK", (16, 8))  # white
    inks.paste((255, 0, 0, 0), (8, 0, 16, 8))
    inks.save(tmp_path / name, icc_profile=_ink_profile(), **({"quality": 100} if name == "a.jpg" else {}))
    picture = read_picture(tmp_path / name)
    assert (picture.samples.shape, picture.depth, picture.alpha) == ((3, 8, 16), "uint8", None)
    assert picture.samples[:, 4, 2].astype(int) == pytest.approx([255] * 3, abs=2)
    assert picture.samples[:, 4, 13].astype(int) == pytest.approx(
        [244, 120, 14], abs=6
    )  # Lab 65, 45, 70 in sRGB, by the CIE's formulas
    assert picture.metadata.converted == "from CMYK to sRGB, by its profile (odd inks)"
    write_picture(tmp_path / "out.png", picture.pixels, picture)
    again = read_picture(tmp_path / "out.png")
    np.testing.assert_array_equal(again.samples, picture.samples)
    assert again.metadata.icc is not None and again.metadata.icc != _ink_profile() and again.metadata.converted is None


@pytest.mark.parametrize(
    ("profile", "told"),
    [(None, "CMYK without a profile"), (_ink_profile(b"RGB "), "a profile of RGB"), (b"x" * 200, "broken")],
)
def test_cmyk_without_a_good_profile_names_the_command_that_converts(tmp_path, profile, told):
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.jpg", **({} if profile is None else {"icc_profile": profile}))
    with pytest.raises(InputError, match=rf"{told}.* magick FILE -colorspace sRGB") as caught:
        read_picture(tmp_path / "a.jpg")
    assert str(caught.value).count("\n") == 0


# --- copies -----------------------------------------------------------------------------------------------------------


def test_a_file_of_the_same_format_is_copied_byte_for_byte(tmp_path):
    Image.fromarray(_integers("uint8", 9, 8, 3)).save(tmp_path / "a.jpg", quality=30, comment=b"kept")
    picture = read_picture(tmp_path / "a.jpg")
    assert copy_picture(tmp_path / "a.jpg", tmp_path / "b.jpeg", picture)
    assert (tmp_path / "b.jpeg").read_bytes() == (tmp_path / "a.jpg").read_bytes()
    for output in (tmp_path / "c.png", "-"):
        assert not copy_picture(tmp_path / "a.jpg", output, picture)
    Image.new("RGB", (8, 9)).save(tmp_path / "a.jpg")  # changed while the run went on
    assert not copy_picture(tmp_path / "a.jpg", tmp_path / "d.jpg", picture)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpeg"]


# --- through the command line -----------------------------------------------------------------------------------------

# So small an alpha finds nothing in so few steps.
BLIND = ("--steps", 2, "--width", 4, "--device", "cpu", "--alpha", 1e-3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_picture_in_which_nothing_was_found_is_copied(run_cli, tmp_path, name):
    source, out, other = tmp_path / name, tmp_path / f"out{name[1:]}", tmp_path / "out.bmp"
    Image.fromarray(_integers("uint8", 9, 8, 3)).save(source, quality=50)
    code, stdout, _ = run_cli("image", source, out, *BLIND)
    assert code == 0 and "nothing to do" in stdout and out.read_bytes() == source.read_bytes()
    assert "nothing to do" not in run_cli("image", source, other, *BLIND).stdout
    assert run_cli("image", source, tmp_path, "--name", "{stem}_network.jpg", *BLIND, "--output", "network").code == 0
    if name == "a.jpg":
        assert "nothing to do" not in run_cli("image", source, out, *BLIND, "--quality", 50, "--force").stdout
        before = source.read_bytes()
        assert "nothing to do" in run_cli("image", "--in-place", ".orig", source, *BLIND).stdout
        assert source.read_bytes() == before and not source.with_name("a.jpg.orig").exists()


@pytest.mark.parametrize("extension", ["npy", "tif", "fits"])
def test_nan_is_known_damage(run_cli, tmp_path, extension):
    if extension == "fits":
        pytest.importorskip("astropy")
    array = np.random.default_rng(0).normal(1000, 50, (20, 30)).astype(np.float32)
    bad = np.random.default_rng(1).random((20, 30)) < 0.2
    array[bad] = np.nan
    source, out = tmp_path / f"in.{extension}", tmp_path / "out.npy"
    if extension == "npy":
        np.save(source, array)
    elif extension == "tif":
        tifffile.imwrite(source, array)
    else:
        __import__("astropy.io.fits").io.fits.PrimaryHDU(array).writeto(source)
    code, _, stderr = run_cli("image", source, out, *BLIND, "--range", 800, 1200, "--json", tmp_path / "facts.json")
    assert code == 0, stderr
    filled = np.load(out)
    assert np.isfinite(filled).all() and np.array_equal(filled[~bad], array[~bad])
    assert json.loads((tmp_path / "facts.json").read_text())["masked_share"] == pytest.approx(bad.mean())
    with_nan = run_cli("corrupt", source, tmp_path / "other.npy")
    assert with_nan.code == 1 and "NaN" in with_nan.stderr


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32"])
def test_masks_as_arrays_of_zeros_and_ones(run_cli, tmp_path, dtype):
    Image.fromarray(_integers("uint8", 20, 30)).save(tmp_path / "in.png")
    bad = np.random.default_rng(1).random((20, 30)) < 0.2
    np.save(tmp_path / "mask.npy", bad.astype(dtype))
    code, _, stderr = run_cli("image", tmp_path / "in.png", tmp_path / "out.png", *BLIND, "--mask", tmp_path / "mask.npy")
    assert code == 0, stderr
    changed = read_picture(tmp_path / "in.png").samples[0] != read_picture(tmp_path / "out.png").samples[0]
    assert not changed[~bad].any() and changed[bad].mean() > 0.9


def test_all_pages_become_a_file_each(run_cli, tmp_path):
    (tmp_path / "in").mkdir()
    stack = _integers("uint16", 3, 9, 8)
    tifffile.imwrite(tmp_path / "in" / "stack.tif", stack, photometric="minisblack")
    Image.fromarray(_integers("uint8", 9, 8)).save(tmp_path / "in" / "single.png")
    (tmp_path / "in" / "bad.tif").write_bytes(b"II*\0damaged")
    many = ("image", tmp_path / "in", tmp_path / "out", "-r", *BLIND)
    code, stdout, stderr = run_cli(*many, "--page", "all", "--log", tmp_path / "logs")
    assert code == 1 and "4 restored, 1 failed" in stdout and "bad.tif" in stderr
    names = ["single.png", "stack_page1.tif", "stack_page2.tif", "stack_page3.tif"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert len(list((tmp_path / "logs").iterdir())) == 4
    for number in (1, 2, 3):
        assert np.array_equal(tifffile.imread(tmp_path / "out" / f"stack_page{number}.tif"), stack[number - 1])
    assert "stack.tif: has 3 pages" in run_cli(*many, "--force").stderr
    for args in (
        (tmp_path / "in" / "stack.tif", tmp_path / "a.tif"),
        ("--in-place", ".orig", tmp_path / "in" / "stack.tif"),
    ):
        code, _, stderr = run_cli("image", *args, *BLIND, "--page", "all")
        assert code == 2 and "--page" in stderr
    assert run_cli("image", tmp_path / "in" / "stack.tif", tmp_path / "a.tif", *BLIND, "--page", "0").code == 2


def test_pages_are_counted(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(np.zeros((4, 3))) for _ in range(2))]).writeto(tmp_path / "a.fits")
    fits.PrimaryHDU().writeto(tmp_path / "none.fits")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 4, 3), np.uint8), photometric="minisblack")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert [count_pages(tmp_path / name) for name in ("a.fits", "none.fits", "a.tif", "a.png", "absent")] == [2, 1, 5, 1, 1]
