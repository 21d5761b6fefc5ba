"""Measure the memory that a run needs, beside the estimate that is compared with free memory before it starts.

    python tests/benchmarks/memory.py --sides 512 1024                                  the fast preset, on a CPU
    python tests/benchmarks/memory.py --paper [--device cuda] [--sides 512 768 1024] [--widths 16 32 64]

Each case runs in its own process: the peak of its resident memory less what it held before the first step (on CUDA,
the peak of PyTorch's reservations).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

FAST = """
import json, resource, sys, torch
from doprestore.image.memory import light_bytes
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
height, width, channels, share = json.loads(sys.argv[1])
def smooth(height, width):  # and noisy: undamaged as such
    down, across = torch.linspace(0, height / 50, height)[:, None], torch.linspace(0, width / 50, width)
    waves = torch.stack([0.5 + 0.3 * torch.sin(down + across + shift) for shift in range(channels)])
    return (waves + 0.02 * torch.randn(waves.shape)).clamp(0, 1)
picture = smooth(height, width)
picture = torch.where(torch.rand(picture.shape) < share, torch.rand(picture.shape), picture)
recover_image(smooth(32, 32), image_settings(steps=1, device="cpu"))  # libraries loaded, caches filled
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
result = recover_image(picture, image_settings(device="cpu"))
print(json.dumps([peak() - before, light_bytes(picture.shape), result.seconds, result.outlier_share]))
"""

PAPER = """
import json, resource, sys, torch
from doprestore.image.memory import paper_bytes
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
case = json.loads(sys.argv[1])
height, width, channels = case.pop("shape")
settings = image_settings(**case)
picture = torch.rand(channels, height, width)
recover_image(torch.rand(3, 64, 64), image_settings(**{**case, "steps": 1}))  # libraries loaded, caches filled
def peak():
    if settings.device != "cpu":
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = 0 if settings.device != "cpu" else peak()
result = recover_image(picture, settings)
need = paper_bytes(picture.shape, settings, torch.device(settings.device))
print(json.dumps([peak() - before, need, result.seconds / settings.steps]))
"""


def fast(sides: list[int], channels: int) -> None:
    """Undamaged, and with random values on 1 %."""
    print(f"{'damaged':>7} {'side':>5} {'measured':>10} {'estimate':>10} {'per MP':>8} {'found':>7} {'seconds':>8}")
    for share in (0.0, 0.01):
        for side in sides:
            case = json.dumps([side, side, channels, share])
            run = subprocess.run([sys.executable, "-c", FAST, case], capture_output=True, text=True, check=True)
            measured, estimate, seconds, found = json.loads(run.stdout)
            print(f"{share:>7.1%} {side:>5} {measured / 2**20:>7.0f} MB {estimate / 2**20:>7.0f} MB "
                  f"{measured / 2**20 / (side * side / 1e6):>8.0f} {found:>7.2%} {seconds:>8.1f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 768, 1024])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--paper", action="store_true", help="the paper's preset")
    options = parser.parse_args()
    if not options.paper:
        fast(options.sides, options.channels)
        return
    print(f"{'precision':<9} {'width':>5} {'side':>5} {'measured':>10} {'estimate':>10} {'per MP':>8} {'s/step':>7}")
    for precision in options.precisions:
        for width in options.widths:
            for side in options.sides:
                case = {"preset": "paper", "steps": 3, "width": width, "precision": precision,
                        "device": options.device, "shape": [side, side, options.channels]}  # fmt: skip
                run = subprocess.run(
                    [sys.executable, "-c", PAPER, json.dumps(case)], capture_output=True, text=True, check=False
                )
                if run.returncode:
                    print(f"{precision:<9} {width:>5} {side:>5} {run.stderr.strip().splitlines()[-1]}")
                    continue
                measured, estimate, seconds = json.loads(run.stdout)
                print(f"{precision:<9} {width:>5} {side:>5} {measured / 2**20:>7.0f} MB {estimate / 2**20:>7.0f} MB "
                      f"{measured / 2**20 / (side * side / 1e6):>8.0f} {seconds:>7.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
