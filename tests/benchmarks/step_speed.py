"""Seconds a step of the fast preset, beside the straightforward transcription, in one process.

    python tests/benchmarks/step_speed.py --side 256 --width 32 --steps 10

The transcription: the network of the published code in float32 and NCHW (plain_unet.py), Adam for θ, g and h by
autograd and SGD. The two take turns, so that whatever else the machine does slows both; the fastest step of each counts.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Callable

import torch
from plain_unet import PlainUNet

from doprestore.image.schedule import Clock, StoppedClock
from doprestore.image.settings import PRESETS, image_settings
from doprestore.image.step import INITIAL_SCALE, ImageRecovery
from doprestore.image.unet import INPUT_CHANNELS


class Transcription:
    """eq. (9)-(10) as one would first write it."""

    def __init__(self, y: torch.Tensor, width: int, alpha: float):
        self.y = y[None]
        self.network = PlainUNet(len(y), width).to(y.device)
        self.z = torch.rand(1, INPUT_CHANNELS, *y.shape[1:], device=y.device)
        self.g, self.h = ((INITIAL_SCALE * torch.randn_like(self.y)).requires_grad_() for _ in range(2))
        self.theta_steps = torch.optim.Adam(self.network.parameters(), lr=0.01)
        self.outlier_steps = torch.optim.SGD([self.g, self.h], lr=alpha)

    def step(self) -> None:
        loss = (self.network(self.z) + self.g**2 - self.h**2 - self.y).square().mean()
        self.theta_steps.zero_grad()
        self.outlier_steps.zero_grad()
        loss.backward()
        self.theta_steps.step()
        self.outlier_steps.step()


def fastest_step(recovery: Transcription | ImageRecovery, steps: int, clock: Callable[[], float]) -> float:
    """Seconds of the fastest of ``steps`` steps."""
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    seconds = []
    for _ in range(steps):
        synchronise()
        start = clock()
        recovery.step()
        synchronise()
        seconds.append(clock() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--width", type=int, default=PRESETS["fast"].width)
    parser.add_argument("--steps", type=int, default=10, help="a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cpu-time", action="store_true", help="for one thread on a machine that other work shares")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    settings = image_settings(width=args.width, device=args.device)
    y = torch.rand(3, args.side, args.side, generator=torch.Generator().manual_seed(0))
    ours = ImageRecovery(y, settings)
    ours.clock = StoppedClock()  # no fresh start within the measurement
    plain = Transcription(ours.y, args.width, Clock(settings, args.side, args.side).rate(0))
    best = {"plain": math.inf, "ours": math.inf}
    for turn in range(args.turns + 1):
        for name, recovery in (("plain", plain), ("ours", ours)):
            seconds = fastest_step(recovery, args.steps, clock)
            if turn > 0:  # the first warms up
                best[name] = min(best[name], seconds)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {ours.device}, "
          f"PyTorch {torch.__version__}")  # fmt: skip
    print(f"{args.side}x{args.side}, width {args.width}: transcription {1e3 * best['plain']:.1f} ms a step, "
          f"ours {1e3 * best['ours']:.1f} ms, {best['plain'] / best['ours']:.2f} times as fast")  # fmt: skip


if __name__ == "__main__":
    main()
