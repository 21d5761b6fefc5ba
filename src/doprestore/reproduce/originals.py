"""The clean pictures that the image figures start from."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from doprestore.errors import InputError
from doprestore.io.images import read_picture

# The paper's pictures, which are not ours to distribute.
PAPER = ("F16", "Peppers", "Baboon", "kodim03")
# Those of sample_images in the checkout, public domain and CC0.
SAMPLES = ("cat", "astronaut", "coffee", "camera")
# Pixels a side of the crops at scale "quick".
QUICK_SIDE = 128


def find_pictures(folder: Path | None) -> list[Path]:
    """Four pictures: the paper's or the samples, in ``folder``, else $DOPRESTORE_DATA, else ./sample_images.

    Raises :class:`InputError` that says what to do when they are in none.
    """
    given = folder
    folder = folder or Path(os.environ.get("DOPRESTORE_DATA") or "sample_images")
    for names in (PAPER, SAMPLES):
        paths = [folder / f"{name}.png" for name in names]
        if all(path.is_file() for path in paths):
            return paths
    known = " or ".join(", ".join(names) for names in (PAPER, SAMPLES))
    if given is None:
        raise InputError(f"{folder}: holds no pictures to start from; run this in a checkout of doprestore, which has "
                         f"sample_images, or give --data FOLDER with {known} (.png)")  # fmt: skip
    raise InputError(f"--data {folder}: must hold {known} (.png)")


def read_pictures(paths: list[Path], scale: str) -> dict[str, Tensor]:
    """By name, (C, H, W) in [0, 1]; at scale "quick" the QUICK_SIDE x QUICK_SIDE about the centre.

    Raises :class:`InputError`.
    """
    pictures = {path.stem: torch.from_numpy(read_picture(path).pixels) for path in paths}
    if scale == "quick":
        return {name: centre(picture, QUICK_SIDE) for name, picture in pictures.items()}
    return pictures


def centre(picture: Tensor, side: int) -> Tensor:
    """The side x side about the centre of a picture (C, H, W); a smaller picture as it is."""
    top, left = ((length - side) // 2 for length in picture.shape[1:])
    if min(top, left) < 0:
        return picture
    return picture[:, top : top + side, left : left + side].contiguous()
