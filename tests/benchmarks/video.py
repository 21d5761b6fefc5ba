"""Backgrounds of videos: ours beside the temporal median, generic robust PCA and pyrpca, before real photographs.

    pip install pyrpca==1.0.1                              an optional peer; left out where it is not installed
    python tests/benchmarks/video.py                       320x240, 300 frames, all pictures that are there
    python tests/benchmarks/video.py --size 80x60x60 --methods doprestore median rpca pyrpca
    python tests/benchmarks/video.py --clip clip.mp4       a video of one's own: rank, shares and time alone

The pictures are those of sample_images and of $DOPRESTORE_DATA or ../shared/data. What moves, and the light, are made by
video_problems.py: no pixel is covered in more than 30 % of the frames, noise of 2/255. The score is the PSNR of the
background of every frame (without noise) in dB. Times are processor seconds. The median at brightness is the temporal
median of the frames divided by their brightness (the median over the pixels, relative to the plain median), times the
brightness again.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from video_problems import moving_objects, psnr

from doprestore import background, rpca

ROOT = Path(__file__).resolve().parent.parent.parent
PICTURES = ("camera", "coffee", "astronaut", "cat", "F16", "Peppers", "Baboon", "kodim03")


def ours(video: np.ndarray) -> tuple[np.ndarray, str]:
    found = background(video)
    frames = np.stack([found.frame(number) for number in range(len(video))])
    return frames.reshape(video.shape), f"rank {found.rank}, {found.foreground_share:.1%} foreground, static {found.static}"


def median(video: np.ndarray) -> tuple[np.ndarray, str]:
    return np.broadcast_to(np.median(video, axis=0), video.shape), "rank 1"


def median_at_brightness(video: np.ndarray) -> tuple[np.ndarray, str]:
    flat = video.reshape(len(video), -1).astype(np.float32)
    still = np.median(flat, axis=0)
    bright = still > np.median(still) / 2
    gain = np.median(flat[:, bright] / still[bright], axis=1)[:, None]
    return (gain * np.median(flat / gain, axis=0)).reshape(video.shape), "rank 1"


def generic(video: np.ndarray) -> tuple[np.ndarray, str]:
    result = rpca(video.reshape(len(video), -1).astype(np.float32))
    return result.low_rank.reshape(video.shape), f"rank {result.rank}, {result.solution}"


def pyrpca(video: np.ndarray) -> tuple[np.ndarray, str]:
    from pyrpca import rpca_pcp_ialm

    flat = video.reshape(len(video), -1).astype(np.float64)
    low_rank = rpca_pcp_ialm(flat, 1 / math.sqrt(max(flat.shape)), verbose=False)[0]
    squares = np.linalg.eigvalsh(low_rank @ low_rank.T)
    rank = np.count_nonzero(squares > 1e-6 * squares[-1])
    return low_rank.reshape(video.shape).astype(np.float32), f"rank {rank} above 1e-3 of the first"


METHODS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, str]]] = {
    "doprestore": ours,
    "median": median,
    "median at brightness": median_at_brightness,
    "rpca": generic,
    "pyrpca": pyrpca,
}


def photo(name: str, width: int, height: int, *, colour: bool) -> np.ndarray | None:
    """(height, width[, 3]) in [0, 1]; None where the picture is not there."""
    data = Path(os.environ.get("DOPRESTORE_DATA", ROOT.parent / "shared" / "data"))
    for folder in (ROOT / "sample_images", data):
        if (folder / f"{name}.png").is_file():
            with Image.open(folder / f"{name}.png") as picture:
                return np.asarray(picture.convert("RGB" if colour else "L").resize((width, height))) / 255
    return None


def own_clip(path: Path) -> None:
    from doprestore.io.video import read_video

    frames = read_video(path, slice(0, None, 1)).frames
    start = time.process_time()
    found = background(frames)
    print(f"{path.name}: {' x '.join(map(str, frames.shape))}, rank {found.rank}, {found.foreground_share:.1%} foreground, "
          f"noise {np.median(found.noise):.1f}, static {found.static}, {time.process_time() - start:.1f} s")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="320x240x300", help="width x height x frames")
    parser.add_argument("--colour", action="store_true", help="three channels")
    parser.add_argument("--pictures", nargs="*", default=list(PICTURES))
    parser.add_argument(
        "--methods", nargs="*", choices=METHODS, default=["doprestore", "median", "median at brightness", "pyrpca"]
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--clip", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    if options.clip:
        for path in options.clip:
            own_clip(path)
        return
    warnings.simplefilter("ignore")
    methods = dict.fromkeys(options.methods)
    if "pyrpca" in methods and importlib.util.find_spec("pyrpca") is None:
        print("not installed, left out: pyrpca (pip install pyrpca)")
        del methods["pyrpca"]
    width, height, frames = map(int, options.size.split("x"))
    background(np.zeros((4, 4, 4), np.uint8))  # what the first call costs is not the method's
    print(f"{'picture':10s} {'seed':>4s}  {'method':20s} {'PSNR dB':>8s} {'seconds':>8s}  note")
    for name in options.pictures:
        picture = photo(name, width, height, colour=options.colour)
        if picture is None:
            print(f"{name}: is not there, left out")
            continue
        for seed in options.seeds:
            video, truth, _ = moving_objects(picture, frames, seed)
            for method in methods:
                start = time.process_time()
                found, note = METHODS[method](video)
                seconds = time.process_time() - start
                score = psnr(found / np.float32(255), truth)
                print(f"{name:10s} {seed:4d}  {method:20s} {score:8.2f} {seconds:8.2f}  {note}", flush=True)
                del found


if __name__ == "__main__":
    main()
