"""Pictures go through read_picture and write_picture unchanged, in every mode, depth and format."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from doprestore.errors import InputError, OutputError
from doprestore.io.images import check_format, read_picture, write_picture

MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
LOSSLESS = [".png", ".tif", ".webp", ".bmp", ".ppm"]


def _noise(mode: str, height: int = 7, width: int = 5, dtype: type = np.uint8) -> np.ndarray:
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, MODES[mode]), dtype)
    return array[..., 0] if mode == "L" else array


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (7, 5)])
def test_unchanged_pixels_are_bit_identical(tmp_path, mode, extension, size):
    source = tmp_path / "in.png"
    Image.fromarray(_noise(mode, *size)).save(source)
    picture = read_picture(source)
    assert picture.pixels.dtype == np.float32 and picture.pixels.min() >= 0 and picture.pixels.max() <= 1
    out = tmp_path / f"out{extension}"
    if "A" in mode and extension in {".bmp", ".ppm"}:
        with pytest.raises(OutputError, match=f"{extension} cannot hold the transparency"):
            check_format(out, picture)
        return
    write_picture(out, picture.pixels, picture)
    again = read_picture(out)
    if extension == ".webp":  # has no grey: three equal channels
        assert (again.samples == picture.samples).all()
    else:
        np.testing.assert_array_equal(again.samples, picture.samples, strict=True)
    if picture.alpha is not None:
        np.testing.assert_array_equal(again.alpha, picture.alpha, strict=True)


def test_missing_and_empty(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_picture(tmp_path / "empty.png")
    with pytest.raises(InputError, match="is a folder"):
        read_picture(tmp_path)
