"""Formats that are known: refused with what to do first, or converted by their profile."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from inks import ink_profile
from PIL import Image

from doprestore.errors import InputError
from doprestore.io.images import read_picture, write_picture

KNOWN = {
    "a.gif": (b"GIF89a" + bytes(20), r"is a GIF.* magick"),
    "a.cr2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(20), "camera's raw file; develop it .* darktable-cli"),
    "a.cr3": (b"\0\0\0\x18ftypcrx " + bytes(20), "camera's raw file"),
    "a.raf": (b"FUJIFILMCCD-RAW " + bytes(20), "camera's raw file"),
    "a.iiq": (b"II*\0\x08\x0a\0\0IIIICwaR" + bytes(20), "camera's raw file"),
    "a.crw": (b"II\x1a\0\0\0HEAPCCDR" + bytes(20), "camera's raw file"),
    "a.mrw": (b"\0MRM" + bytes(20), "camera's raw file"),
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


def test_what_is_named_as_raw_is_raw_and_grey_of_that_tone_is_not(tmp_path):
    grey = np.full((16, 16), ord("I"), np.uint8)
    for name in ("a.pef", "a.tif"):
        tifffile.imwrite(tmp_path / name, grey, photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.pef: is a camera's raw file; develop"):
        read_picture(tmp_path / "a.pef")
    assert (read_picture(tmp_path / "a.tif").samples == grey).all()


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_cmyk_is_converted_by_its_profile(tmp_path, name):
    """To what the inks of the profile look like, which is not what the names of the inks say."""
    inks = Image.new("CMYK", (16, 8))  # white
    inks.paste((255, 0, 0, 0), (8, 0, 16, 8))
    inks.save(tmp_path / name, icc_profile=ink_profile(), **({"quality": 100} if name == "a.jpg" else {}))
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
    assert again.metadata.icc is not None and again.metadata.icc != ink_profile() and again.metadata.converted is None


@pytest.mark.parametrize(
    ("profile", "told"),
    [(None, "CMYK without a profile"), (ink_profile(b"RGB "), "a profile of RGB"), (b"x" * 200, "broken")],
)
def test_cmyk_without_a_good_profile_names_the_command_that_converts(tmp_path, profile, told):
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.jpg", **({} if profile is None else {"icc_profile": profile}))
    with pytest.raises(InputError, match=rf"{told}.* magick FILE -colorspace sRGB") as caught:
        read_picture(tmp_path / "a.jpg")
    assert str(caught.value).count("\n") == 0
