"""CMYK, the colours of a printing press, to sRGB: by the profile in the file, which says what its inks look like."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageCms

from doprestore.errors import InputError
from doprestore.io.metadata import Metadata

_REMEDY = "convert it to RGB first, as with: magick FILE -colorspace sRGB rgb.tif"


def to_rgb(image: Image.Image, metadata: Metadata) -> tuple[np.ndarray, Metadata]:
    """Samples (H, W, 3) uint8 in sRGB, and ``metadata`` with that profile, of an 8-bit CMYK picture.

    Perceptual intent, the usual one for pictures. Raises :class:`InputError` without a profile of inks, for nothing then
    says what the colours are.
    """
    if metadata.icc is None:
        raise InputError(f"is CMYK without a profile that says what its inks look like; {_REMEDY}")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    try:
        inks = ImageCms.ImageCmsProfile(io.BytesIO(metadata.icc))
        if inks.profile.xcolor_space.strip() != "CMYK":
            raise InputError(f"is CMYK with a profile of {inks.profile.xcolor_space.strip()}; {_REMEDY}")
        name = (inks.profile.profile_description or "without a name").strip()
        rgb = ImageCms.profileToProfile(image, inks, srgb, ImageCms.Intent.PERCEPTUAL, outputMode="RGB")
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        raise InputError(f"is CMYK with a broken profile; {_REMEDY}") from error
    assert rgb is not None  # it is None only where the picture is converted in place
    told = f"from CMYK to sRGB, by its profile ({name})"
    return np.asarray(rgb), replace(metadata, icc=srgb.tobytes(), converted=told)
