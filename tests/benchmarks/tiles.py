"""Is there a seam? The error where tiles overlap, beside that of one more tile in the middle of which the seams lie.

    python tests/benchmarks/tiles.py ../shared/data/F16.png [--amount 0.3] [--steps 300] [--save x.png]

The picture's centre is damaged by salt-and-pepper noise and restored in 2x2 tiles. The control is a tile of the same
size in the middle: it sees what lies where the others meet without a border near it. At the places that belong to
both the overlap and the inner part of the control, their errors are compared: RMS, and mean step from line to line
across the seams, which a visible seam would make larger.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from doprestore.damage.make import corrupt
from doprestore.image.grid import USUAL_TILE, Grid
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.image.tiles import recover_tiles
from doprestore.io.images import read_picture, write_picture
from doprestore.metrics import psnr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--tile", type=int, default=USUAL_TILE)
    parser.add_argument("--amount", type=float, default=0.5)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    side = 2 * options.tile - Grid(1, 1, options.tile).overlap  # two tiles with just the overlap that there must be
    picture = torch.from_numpy(read_picture(options.picture).pixels)
    top, left = ((whole - side) // 2 for whole in picture.shape[1:])
    clean = picture[:, top : top + side, left : left + side].contiguous()
    damaged, _ = corrupt(clean, "salt-pepper", options.amount, 0)
    settings = image_settings(steps=options.steps, device=options.device)
    grid = Grid(side, side, options.tile)
    tiled = recover_tiles(damaged, settings, options.tile)
    if options.save:
        write_picture(options.save, tiled.restored.numpy())
    start = (side - options.tile) // 2
    middle = (..., slice(start, start + options.tile), slice(start, start + options.tile))
    control = recover_image(damaged[middle].contiguous(), settings)
    print(f"{options.picture.name}, centre {side}x{side}, {len(grid.corners())} tiles of {options.tile}, overlap "
          f"{grid.overlap}, {settings.steps} steps, salt-and-pepper {options.amount:.0%}: "
          f"{psnr(damaged, clean):.2f} -> {psnr(tiled.restored, clean):.2f} dB")  # fmt: skip
    band = _covered(grid)[middle[1:]] > 1
    edge = grid.overlap  # of the control, where its own border is near
    inner = torch.zeros_like(band)
    inner[edge:-edge, edge:-edge] = True
    places = {"where tiles overlap": band & inner, "elsewhere": ~band & inner}
    print(f"{'':<22} {'tiles RMS':>10} {'control':>9} {'ratio':>6} {'tiles step':>11} {'control':>9} {'ratio':>6}")
    errors = [(values - clean[middle]) for values in (tiled.restored[middle], control.restored)]
    for name, place in places.items():
        rms = [error[:, place].square().mean().sqrt().item() for error in errors]
        step = [_step(error, place) for error in errors]
        print(f"{name:<22} {rms[0]:>10.5f} {rms[1]:>9.5f} {rms[0] / rms[1]:>6.2f} "
              f"{step[0]:>11.5f} {step[1]:>9.5f} {step[0] / step[1]:>6.2f}")  # fmt: skip


def _covered(grid: Grid) -> torch.Tensor:
    """(H, W): how many tiles have a say."""
    covered = torch.zeros(grid.height, grid.width)
    for top, left in grid.corners():
        covered[top : top + grid.size[0], left : left + grid.size[1]] += 1
    return covered


def _step(error: torch.Tensor, place: torch.Tensor) -> float:
    """Mean |step of the error| from a value to the next below and beside it, both in ``place``."""
    down = error.diff(dim=1).abs()[:, place[1:] & place[:-1]]
    across = error.diff(dim=2).abs()[:, place[:, 1:] & place[:, :-1]]
    return torch.cat([down.flatten(), across.flatten()]).mean().item()


if __name__ == "__main__":
    main()
