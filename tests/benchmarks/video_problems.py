"""Synthetic videos of a static camera, shared by video.py and the tests: a photograph, and what moves before it."""

from __future__ import annotations

import numpy as np

OBJECTS = 6
NOISE = 2 / 255
MOST = 0.3  # share of the frames in which a pixel is covered, at most


def moving_objects(
    photo: np.ndarray, frames: int, seed: int = 0, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(video, background, covered) before a photograph (H, W) or (H, W, 3) in [0, 1].

    video: uint8 (frames, H, W[, 3]). background: float32, without noise and without what moves. covered: bool (frames, H,
    W), objects and shadows. Light drifts by 10 % and changes its colour a little, a lamp in a corner dims and brightens;
    discs and boxes pass and stop, with a shadow beside each; no pixel is covered in more than MOST of the frames.
    """
    rng = np.random.default_rng(seed)
    height, width = photo.shape[:2]
    colours = photo.shape[2:]
    times = np.linspace(0, 1, frames)
    light = 1 + 0.1 * np.sin(2 * np.pi * (1.3 * times + rng.random())) - 0.05 * times
    tint = np.outer(np.sin(2 * np.pi * (0.7 * times + rng.random())), [0.02, 0, -0.02] if colours else [0])
    gains = (light[:, None] + tint).reshape(frames, 1, 1, *colours)
    # A lamp in a corner that dims: light that is not everywhere the same.
    down, across = np.mgrid[0:height, 0:width]
    lamp = 0.1 * np.exp(-(((down / height - 0.2) ** 2 + (across / width - 0.8) ** 2) / 0.1))
    flicker = (0.5 + 0.5 * np.cos(2 * np.pi * 2.1 * times)).reshape(frames, 1, 1, *(1 for _ in colours))
    background = (photo * 0.8 * (gains + flicker * lamp.reshape(height, width, *(1 for _ in colours)))).astype(np.float32)
    video, covered = background.copy(), np.zeros((frames, height, width), bool)
    count = np.zeros((height, width), int)
    for _ in range(OBJECTS):
        size = rng.uniform(0.06, 0.16) * min(height, width)
        start, speed = rng.random(2) * (height, width), rng.normal(0, 1.2, 2) * (height, width)
        stop, colour = rng.random(), rng.random(colours or (1,))
        round_one = rng.random() < 0.5
        for frame, time in enumerate(times):
            # It stands still for a tenth of the time.
            moved = time if time < stop else max(stop, time - 0.1)
            centre = (start + speed * moved) % (height, width)
            offsets = np.abs(down - centre[0]), np.abs(across - centre[1])
            body = np.hypot(*offsets) < size if round_one else np.maximum(*offsets) < size
            shade = np.hypot(down - centre[0] - size, across - centre[1] - size) < size
            free = count < MOST * frames
            body, shade = body & free, shade & free & ~body & ~covered[frame]
            video[frame][shade] *= 0.6
            texture = 0.15 * np.sin(down[body] * 0.5)[:, None] if colours else 0.15 * np.sin(down[body] * 0.5)
            video[frame][body] = np.clip(colour + texture, 0, 1)
            count += (body | shade) & ~covered[frame]
            covered[frame] |= body | shade
    video += noise * rng.standard_normal(video.shape, dtype=np.float32)
    return (video.clip(0, 1) * 255).round().astype(np.uint8), background, covered


def psnr(found: np.ndarray, truth: np.ndarray) -> float:
    """Of values in [0, 1], in dB."""
    pairs = zip(found, truth, strict=True)
    return -10 * np.log10(np.mean([np.mean((one.astype(np.float32) - other) ** 2) for one, other in pairs]))
