"""Videos of a static camera: what stands still as a background of a few ranks, and what moves before it.

As in eq. (3), y = X + s, with frames for rows and pixels for columns; but the rank is that of the light, and what moves
is too much in one place to be told from the background by sparsity alone. So the directions of X are changes of light:
the first is the brightness of the frames, each further one has to show in many pixels and many frames at once, in
entries that agree with the fit so far. They are found on a sample of the pixels; then every pixel is fitted by itself
(:mod:`doprestore.matrix.lines`), a block at a time, so that besides the video little memory is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from doprestore.drive import Progress
from doprestore.errors import InputError
from doprestore.matrix.lines import fit_lines, weighted_fit
from doprestore.matrix.tail import BINS, LIMIT, fit_law, threshold

# Columns that changes of light are told from.
SAMPLE = 4000
# The largest rank of a background.
MOST_RANK = 8
# Rounds of fitting pixels and frames by turns, for every rank.
ROUNDS = 4
# A change of light has a singular value of so many times the largest of noise.
STANDS_OUT = 1.5
# It shows in this share of the frames, and in this share of the pixels.
MANY_FRAMES, MANY_PIXELS = 0.15, 0.03
# No noise of whole numbers is smaller: what rounding leaves is the same in all pixels of one tone.
ROUNDED = 0.5
# Entries worked on at a time.
BLOCK = 2**22
# Entries that foreground is told from noise by: those of every so many pixels, which bounds the memory for them.
JUDGED = 2**23
# What is so many standard deviations off is foreground in any case, also where too little is to judge by.
MOST_DEVIATIONS = 10.0
# A static camera sees the background in half of the frames of nearly all pixels.
HALF, NEARLY_ALL = 0.5, 0.9


@dataclass(frozen=True)
class Background:
    """light (frames, rank) @ pixels (rank, columns) is the background, a column being a pixel of one channel.

    noise (columns,): its standard deviation. at: how many of them away something is foreground.
    foreground_share: of all values. static: whether the camera stood still, so that this is a background.
    """

    light: np.ndarray
    pixels: np.ndarray
    noise: np.ndarray
    at: float
    foreground_share: float
    static: bool
    interrupted: bool

    @property
    def rank(self) -> int:
        return len(self.pixels)

    def frame(self, number: int) -> np.ndarray:
        """The background of one frame, (columns,), float32."""
        still: np.ndarray = self.light[number] @ self.pixels
        return still

    def foreground(self, number: int, values: np.ndarray) -> np.ndarray:
        """Which of the values (columns,) of that frame do not belong to the background."""
        moving: np.ndarray = np.abs(values.astype(np.float32) - self.frame(number)) > self.at * self.noise
        return moving


def background(
    frames: np.ndarray,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Background:
    """Split frames (count, ...), integers or floats of any scale, into background and foreground.

    Raises :class:`InputError` for fewer than 3 frames, and for NaN and infinite values.
    """
    count = len(frames)
    if frames.dtype.kind == "f" and not all(np.isfinite(frame).all() for frame in frames):
        raise InputError("the video has NaN or infinite values; replace them by any number first")
    if count < 3:
        raise InputError(f"a video of {count} frames has no background to be told; give at least 3, or take rpca")
    flat = frames.reshape(count, -1)
    generator = np.random.default_rng(seed)
    some = np.sort(generator.choice(flat.shape[1], min(SAMPLE, flat.shape[1]), replace=False))
    sample = torch.from_numpy(flat[:, some].astype(np.float32)).to(device)
    # Whole numbers are rounded, and nothing is more precise than float32.
    least = ROUNDED if frames.dtype.kind in "iub" else 1e-6 * sample.abs().mean().item()
    light, noise, ended = _light(sample, least)
    pixels = np.empty((light.shape[1], flat.shape[1]), np.float32)
    spread = np.empty(flat.shape[1], np.float32)
    counts, large, total = np.zeros(BINS), [], 0
    seen = np.empty(flat.shape[1], np.float32)
    interrupted = False
    every = max(1, flat.size // JUDGED)
    done = 0
    for part, y in _blocks(flat, device):
        found, own, near = _pixels(y, light, max(least, noise / 4))
        pixels[:, part], spread[part], seen[part] = (
            found.cpu().numpy(),
            own.cpu().numpy(),
            near.float().mean(0).cpu().numpy(),
        )
        rest = (y - light @ found).abs_() / own
        size = rest[:, ::every].flatten()
        counts += torch.histc(size.clamp_max(2 * LIMIT), 2 * BINS, 0, 2 * LIMIT)[:BINS].cpu().numpy()
        large.append(size[size > LIMIT].cpu().numpy())
        total += size.numel()
        done += y.shape[1]
        if callback is not None:
            callback(Progress(step=done, steps=flat.shape[1], seconds=0.0, loss=math.nan, stage="pixels"))
        if should_stop is not None and should_stop():
            interrupted = done < flat.shape[1]
            break
    far = np.concatenate(large)
    at, _ = threshold(fit_law(counts), far, total)
    at = min(at, MOST_DEVIATIONS)
    return Background(
        light=light.cpu().numpy(),
        pixels=pixels,
        noise=spread,
        at=at,
        foreground_share=float(np.count_nonzero(far > at) / total),
        static=ended and bool(np.mean(seen[:done] >= HALF) >= NEARLY_ALL),
        interrupted=interrupted,
    )


def _blocks(flat: np.ndarray, device: torch.device | str) -> Iterator[tuple[slice, Tensor]]:
    width = max(1, BLOCK // len(flat))
    for start in range(0, flat.shape[1], width):
        part = slice(start, min(start + width, flat.shape[1]))
        yield part, torch.from_numpy(flat[:, part].astype(np.float32)).to(device)


def _light(y: Tensor, least: float) -> tuple[Tensor, float, bool]:
    """The changes of light, (frames, rank), and the noise of most pixels, from a sample (frames, columns); whether
    they came to an end. ``least`` is that of rounding."""
    light = _brightness(y)[:, None]
    if not y.any():
        return light, least, True
    while True:
        for _ in range(ROUNDS):
            pixels, spread, near = _pixels(y, light, least)
            light = _ordered(_frames(y, pixels, spread, near))
        pixels, spread, near = _pixels(y, light, least)
        noise = spread.median().item()
        change = _change(y, light, pixels, spread, near)
        if change is None:
            return light, noise, True
        if light.shape[1] >= _most(len(y)):  # there is no end of it: these are no changes of light
            light = light[:, :1]
            for _ in range(ROUNDS):
                light = _ordered(_frames(y, *_pixels(y, light, least)))
            return light, noise, False
        light = _ordered(torch.cat([light, change[:, None]], dim=1))


def _ordered(light: Tensor) -> Tensor:
    """The same span: brightness first, what is orthogonal to it after; all as long as ones."""
    q, triangle = torch.linalg.qr(light)
    ordered: Tensor = q * triangle.diagonal().sign() * math.sqrt(len(light))
    return ordered


def _most(frames: int) -> int:
    """The highest rank of a background."""
    return max(2, min(MOST_RANK, frames // 4))


def _brightness(y: Tensor) -> Tensor:
    """Of every frame, relative to the others: medians, which what moves does not move much."""
    gain = torch.ones(len(y), dtype=y.dtype, device=y.device)
    for _ in range(3):
        still = (y / gain[:, None]).median(0).values
        bright = still > still.median().clamp_min(0) / 2  # dark pixels say little
        if not bright.any():
            break
        gain = (y[:, bright] / still[bright].clamp_min(torch.finfo(y.dtype).tiny)).median(1).values
        gain = gain.clamp_min(1e-3) / gain.median().clamp_min(1e-3)
    return gain


def _pixels(y: Tensor, light: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`fit_lines`, from the median of every pixel at the brightness of each frame: a change of light must not begin by
    explaining what moves."""
    start = torch.zeros(light.shape[1], y.shape[1], dtype=y.dtype, device=y.device)
    lit = light[:, 0] > 0.05 * light[:, 0].max()
    start[0] = (y[lit] / light[lit, :1]).median(0).values
    return fit_lines(y, light, start=start, noise=noise)


def _frames(y: Tensor, pixels: Tensor, spread: Tensor, near: Tensor) -> Tensor:
    """The light of every frame, by the entries that agree: weighted least squares over the pixels."""
    weights = (near / spread.square()).T
    basis = pixels.T
    return weighted_fit(y.T, basis, (basis[:, :, None] * basis[:, None, :]).flatten(1), weights).T


def _change(y: Tensor, light: Tensor, pixels: Tensor, spread: Tensor, near: Tensor) -> Tensor | None:
    """A further change of light, (frames,), if there is one: a direction in what is left of the entries that agree, which
    stands out of noise and shows in many frames and many pixels."""
    rest = (y - light @ pixels).div_(spread).mul_(near)
    frames, columns = rest.shape
    edge = STANDS_OUT * (math.sqrt(frames) + math.sqrt(columns))
    squares, directions = torch.linalg.eigh(rest @ rest.T)
    for which in range(frames - 1, max(-1, frames - 6), -1):
        if squares[which].clamp_min(0).sqrt() < edge:
            return None
        direction: Tensor = directions[:, which]
        shown = direction @ rest
        if _spread(direction) >= MANY_FRAMES * frames and _spread(shown) >= MANY_PIXELS * columns:
            return direction
    return None


def _spread(x: Tensor) -> float:
    """In how many entries ``x`` shows: its participation ratio."""
    squares = x.double().square()
    return (squares.sum().square() / squares.square().sum()).item()
