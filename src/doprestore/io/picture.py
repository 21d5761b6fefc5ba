"""A picture in memory: the exact samples of the file, and their map to the [0, 1] of the algorithms."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from doprestore.errors import OutputError
from doprestore.io.metadata import Metadata


@dataclass(frozen=True)
class Picture:
    """Samples, alpha and metadata of one picture.

    ``samples`` (C, H, W), C = 1 or 3, uint8, uint16, uint32, int16, int32, float16, float32 or float64, just as the
    file has them; ``alpha`` (H, W) in the same type, or None. ``black_white`` are the sample values for black and white,
    numbers or percentiles like "1%"; None chooses them, see :attr:`value_range`. ``kind`` is the format of the file.
    """

    samples: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    black_white: tuple[str | float, str | float] | None = None
    kind: str | None = None

    @property
    def depth(self) -> str:
        """The sample type, like "uint8"."""
        return self.samples.dtype.name

    @cached_property
    def unknown(self) -> np.ndarray | None:
        """Bool (C, H, W), True where a float sample is NaN or infinite, which can be no true value; None without such."""
        if self.samples.dtype.kind != "f":
            return None
        unknown = ~np.isfinite(self.samples)
        return unknown if unknown.any() else None

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """The sample values that stand for 0 and 1.

        Unless ``black_white`` says otherwise, the whole range of an unsigned type of 8 or 16 bits. Floats within [0, 1] are
        taken as they are; all others (a telescope's counts, say) are mapped from their own [min, max].
        """
        if self.black_white is not None:
            low, high = (_sample_value(self._known, value) for value in self.black_white)
            return low, high
        if self.depth in ("uint8", "uint16"):
            return 0.0, float(np.iinfo(self.samples.dtype).max)
        known = self._known
        low, high = float(known.min()), float(known.max())
        if self.samples.dtype.kind == "f" and low >= 0 and high <= 1:
            return 0.0, 1.0
        return (low, high) if high > low else (low, low + max(abs(low), 1.0))

    @property
    def _known(self) -> np.ndarray:
        return self.samples if self.unknown is None else self.samples[~self.unknown]

    @cached_property
    def pixels(self) -> np.ndarray:
        """float32 (C, H, W) in [0, 1]; samples beyond ``black_white`` are black and white, those that are unknown grey."""
        low, high = self.value_range
        pixels = np.empty(self.samples.shape, np.float32)
        with np.errstate(invalid="ignore"):  # of unknown samples, which have another value below
            for plane, samples in zip(pixels, self.samples, strict=True):  # one at a time: float64 is 8 bytes a sample
                plane[:] = np.clip((samples.astype(np.float64) - low) / (high - low), 0, 1)
        if self.unknown is not None:
            pixels[self.unknown] = 0.5
        return pixels


def _sample_value(samples: np.ndarray, value: str | float) -> float:
    text = str(value)
    return float(np.percentile(samples, float(text[:-1]))) if text.endswith("%") else float(text)


def samples_like(pixels: np.ndarray, like: Picture) -> np.ndarray:
    """Turn pixels, float (C, H, W), into samples of the type and range of ``like``.

    Values outside [0, 1] are clipped. Where a pixel equals the one in ``like.pixels`` the result is the
    very sample that it came from, at any depth, unless that is unknown. Raises :class:`OutputError` for NaN or infinity.
    """
    if pixels.shape != like.samples.shape:
        raise ValueError(f"pixels {pixels.shape} do not have the shape of the picture, {like.samples.shape}")
    if not np.isfinite(pixels).all():
        raise OutputError("the result has NaN or infinite values and was not written; try --precision float32")
    low, high = like.value_range
    whole = like.samples.dtype.kind in "ui"
    least, most = (np.iinfo(like.samples.dtype).min, np.iinfo(like.samples.dtype).max) if whole else (-np.inf, np.inf)
    result = np.empty_like(like.samples)
    for plane, values, old, samples in zip(result, pixels, like.pixels, like.samples, strict=True):
        scaled = np.clip(values.astype(np.float64), 0, 1) * (high - low) + low
        as_it_was = (values == old) & (whole or np.isfinite(samples))
        plane[:] = np.where(as_it_was, samples, np.rint(scaled).clip(least, most) if whole else scaled)
    return result
