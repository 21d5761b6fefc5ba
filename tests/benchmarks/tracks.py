"""Bright tracks: one constant of the search for them varied, everything else as it is.

    python tests/benchmarks/tracks.py                            # each of the constants in turn
    python tests/benchmarks/tracks.py LENGTH --sizes 128

Cosmic rays on 1 % of the area of the pictures of light_problems.py, those to tune on and those to report on apart. A line a
value: how many dB more than the damaged pictures those have in which what is found is filled, on average, each counting
12 dB at most; how much of what rays changed is found, how much of what is found they changed; and of the undamaged
pictures, reduced to a half and a third as well, how many are changed, and by how much at most.
"""

from __future__ import annotations

import argparse
from statistics import mean

import torch
from light_pictures import SOURCES, sources
from light_problems import problem
from torch import Tensor, nn

from doprestore.image import tracks
from doprestore.image.fill import CERTAIN, fill, smoothed
from doprestore.metrics import precision_recall, psnr

VALUES = {
    "HALO_COUNTS": (0.0, 1.0, 2.0, 3.0, 4.0),
    "AROUND": (15, 21, 31),
    "LEAST": (0.04, 0.06, 0.1),
    "LENGTH": (3, 4, 5, 6),
    "OUTNUMBERED": (3.0, 4.0, 6.0, 8.0),
    "FEW": (3, 5, 8),
    "ALONE": (1.0, 2.0, 5.0, 10.0, 1000.0),
    "MANY": (0.01, 0.03, 0.1),
}
MOST = 12.0  # dB that a picture counts


def gain(damaged: Tensor, reference: Tensor, found: Tensor) -> float:
    seen = (~found).to(damaged.dtype)
    start = smoothed(damaged, seen)
    filled = fill(damaged, CERTAIN * seen, torch.eye(len(damaged)), start=start).clamp(0, 1)
    return min(MOST, psnr(filled, reference) - psnr(damaged, reference))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("constants", nargs="*", help=f"of {', '.join(VALUES)} [all of them]")
    parser.add_argument("--sizes", nargs="+", type=int, default=(128, 256))
    args = parser.parse_args()
    cases = [(half, problem(name, side, "rays-1")) for side in args.sizes for name, half in sources().items()]
    whole = [case.clean for _, case in cases]
    whole += [nn.functional.interpolate(y[None], scale_factor=1 / by, mode="area")[0] for y in whole for by in (2, 3)]
    print(f"{len(cases)} damaged pictures of {len(SOURCES)} sources, {len(whole)} undamaged ones")
    print("constant     value   gain: tune report   recall  precision   undamaged: changed, at most")
    for name in args.constants or VALUES:
        usual = getattr(tracks, name)
        for value in VALUES[name]:
            setattr(tracks, name, value)
            gains: dict[str, list[float]] = {"tune": [], "report": []}
            scores = []
            for half, case in cases:
                found = tracks.find_tracks(case.damaged, torch.ones_like(case.bad))
                gains[half].append(gain(case.damaged, case.reference, found))
                if found.any():
                    scores.append(precision_recall(found, case.bad))
            changed = [float(tracks.find_tracks(y, torch.ones_like(y, dtype=torch.bool)).float().mean()) for y in whole]
            recall = sum(score[1] for score in scores) / len(cases)
            precision = mean(score[0] for score in scores) if scores else 1.0
            told = f"{name:<12}{value:>6g}{'*' if value == usual else ' '}"
            told += f" {mean(gains['tune']):>11.2f} {mean(gains['report']):>6.2f} {recall:>8.2f} {precision:>10.2f}"
            print(f"{told} {sum(share > 0 for share in changed):>20}, {max(changed):.2%}", flush=True)
        setattr(tracks, name, usual)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
