"""What a picture loses by being restored in pieces, each of which judges by what is in it alone, and whether seams show.

    python tests/benchmarks/seams.py ../shared/data/F16.png --kind random --amount 0.01

Pieces of 384 pixels a side, margins included, are smaller than any that the memory of a machine asks for in practice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from doprestore.damage.make import corrupt
from doprestore.image.pieces import places, recover_pieces
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.io.images import read_picture
from doprestore.metrics import psnr

ABOUT = 2  # pixels to either side of a seam that count for its error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--kind", default="random")
    parser.add_argument("--amount", type=float, default=0.01)
    parser.add_argument("--side", type=int, default=384)
    options = parser.parse_args()
    clean = torch.from_numpy(read_picture(options.picture).pixels)
    damaged, bad = corrupt(clean, options.kind, options.amount, 0)
    settings = image_settings()
    results = {
        "whole": recover_image(damaged, settings),
        "pieces": recover_pieces(damaged, settings, options.side, recover_image),
    }
    parts = [place for _, _, place in places(*clean.shape[1:], options.side)]
    seam = torch.zeros(clean.shape[1:], dtype=torch.bool)
    for _, rows, columns in parts:
        if rows.start:
            seam[rows.start - ABOUT : rows.start + ABOUT] = True
        if columns.start:
            seam[:, columns.start - ABOUT : columns.start + ABOUT] = True
    for name, result in results.items():
        error = (result.restored - clean).square().mean(0)
        shares = ", ".join(f"{result.found[place].float().mean():.4f}" for place in parts)
        print(
            f"{name:<7}{psnr(damaged, clean):.2f} -> {psnr(result.restored, clean):.2f} dB; "
            f"recall {result.found[bad].float().mean():.3f}, whole values changed {result.found[~bad].float().mean():.3%}; "
            f"share found in each piece {shares}; mean square error at seams {error[seam].mean():.1e}, "
            f"elsewhere {error[~seam].mean():.1e}"
        )


if __name__ == "__main__":
    main()
