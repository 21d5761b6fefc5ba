"""Measure the memory that a run needs, beside the estimate that is compared with free memory before it starts.

    python tests/benchmarks/memory.py [--device cuda] [--preset paper] [--sides 512 768 1024] [--widths 16 32 64]

Each case runs in its own process: the peak of its resident memory less what it held before the first step (on CUDA,
the peak of PyTorch's reservations).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

CASE = """
import json, resource, sys, torch
from doprestore.image.memory import bytes_needed
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
need = bytes_needed(picture.shape, settings, torch.device(settings.device))
print(json.dumps([peak() - before, need, result.seconds / settings.steps]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 768, 1024])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    options = parser.parse_args()
    print(f"{'precision':<9} {'width':>5} {'side':>5} {'measured':>10} {'estimate':>10} {'per MP':>8} {'s/step':>7}")
    for precision in options.precisions:
        for width in options.widths:
            for side in options.sides:
                case = {"preset": options.preset, "steps": 3, "width": width, "precision": precision,
                        "device": options.device, "shape": [side, side, options.channels]}  # fmt: skip
                run = subprocess.run(
                    [sys.executable, "-c", CASE, json.dumps(case)], capture_output=True, text=True, check=False
                )
                if run.returncode:
                    print(f"{precision:<9} {width:>5} {side:>5} {run.stderr.strip().splitlines()[-1]}")
                    continue
                measured, estimate, seconds = json.loads(run.stdout)
                print(f"{precision:<9} {width:>5} {side:>5} {measured / 2**20:>7.0f} MB {estimate / 2**20:>7.0f} MB "
                      f"{measured / 2**20 / (side * side / 1e6):>8.0f} {seconds:>7.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
