"""What a step of the paper's preset takes on a GPU, against what the machine can do: ceilings, FLOP/s, bytes/s, memory.

    python tests/benchmarks/gpu.py                        # one CUDA GPU, a few minutes
    python tests/benchmarks/gpu.py --profile              # and the kernels that the time goes to
    python tests/benchmarks/gpu.py --device cpu --quick   # shows that the benchmark works; its numbers mean nothing

FLOPs are those of convolutions and matrix products (torch.utils.flop_counter). Bytes are what every operation of the
step reads and writes, as if nothing stayed in a cache. "eager" is the same step without the CUDA graph. The table of the
paper's pictures and amounts: restoration.py --pictures F16 Peppers Baboon kodim03 --kinds salt-pepper --sizes 0 --methods
ours --device cuda --preset fast, and --preset paper.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from doprestore.damage.make import corrupt
from doprestore.image.paper import PaperRecovery
from doprestore.image.settings import PRESETS, image_settings
from doprestore.io.images import read_picture
from doprestore.machine import choose_device, uses_bfloat16

SAMPLE = Path(__file__).resolve().parents[2] / "sample_images" / "cat.png"


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write; views move none."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        aliases = [value.alias_info for value in function._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            for value in tree_leaves((args, kwargs, result)):
                if isinstance(value, torch.Tensor):
                    self.bytes += value.numel() * value.element_size()
        return result


def seconds(work: Callable[[], object], device: torch.device, times: int, warm_up: int) -> float:
    """Of one call, on average over ``times`` calls between two synchronisations; the median of three such runs."""
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(warm_up):
        work()
    runs = []
    for _ in range(3):
        synchronise()
        start = time.perf_counter()
        for _ in range(times):
            work()
        synchronise()
        runs.append((time.perf_counter() - start) / times)
    return statistics.median(runs)


def ceilings(device: torch.device, quick: bool) -> tuple[dict[torch.dtype, float], float]:
    """FLOP/s of a large matrix product in bfloat16 and float32 (TF32, as the convolutions use), bytes/s of a copy."""
    side, size = (512, 2**22) if quick else (8192, 2**30)
    products = {}
    torch.backends.cuda.matmul.allow_tf32 = True
    for kind in (torch.bfloat16, torch.float32):
        a = torch.randn(side, side, device=device).to(kind)
        products[kind] = 2 * side**3 / seconds(lambda a=a: a @ a, device, 10, 3)
    torch.backends.cuda.matmul.allow_tf32 = False
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return products, 2 * size / seconds(lambda: target.copy_(source), device, 20, 3)


def recovery_of(side: int, **settings: object) -> PaperRecovery:
    y = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    return PaperRecovery(y, image_settings("paper", **settings))


def step_row(label: str, recovery: PaperRecovery, times: int, peaks: dict[torch.dtype, float], copy: float) -> float:
    """Print the line of one recovery; return the seconds a step takes."""
    device = recovery.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    eager = seconds(recovery._compute, device, max(1, times // 4), 3)
    with FlopCounterMode(display=False) as flops:
        recovery._compute()
    with Traffic() as traffic:
        recovery._compute()
    step = seconds(recovery.step, device, times, 5)
    rate, stream = flops.get_total_flops() / step, traffic.bytes / step
    peak = peaks[torch.bfloat16 if uses_bfloat16(recovery.settings.convolutions, device) else torch.float32]
    megapixels = recovery.y[0].numel() / 1e6
    memory = f"{torch.cuda.max_memory_reserved() / 2**20 / megapixels:.0f}" if device.type == "cuda" else "memory.py"
    print(f"{label:<22} {1e3 * step:>8.2f} {1e3 * eager:>9.2f} {rate / 1e12:>8.2f} {rate / peak:>6.0%} "
          f"{stream / 1e9:>8.0f} {stream / copy:>6.0%} {memory:>10}", flush=True)  # fmt: skip
    return step


def whole_run(device: str, quick: bool) -> None:
    """`doprestore image` as a user calls it, start-up included."""
    clean = torch.from_numpy(read_picture(SAMPLE).pixels)[None]
    clean = torch.nn.functional.interpolate(clean, size=64 if quick else 512, mode="bilinear")[0]
    with tempfile.TemporaryDirectory() as folder:
        damaged, _ = corrupt(clean, "salt-pepper", 0.5, 0)
        np.save(f"{folder}/in.npy", damaged.permute(1, 2, 0).numpy())
        np.save(f"{folder}/clean.npy", clean.permute(1, 2, 0).numpy())
        command = [sys.executable, "-m", "doprestore", "image", f"{folder}/in.npy", f"{folder}/out.npy",
                   "--clean", f"{folder}/clean.npy", "--device", device]  # fmt: skip
        if quick:
            command += ["--steps", "4", "--width", "8"]
        start = time.perf_counter()
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"default run, start-up included: {time.perf_counter() - start:.1f} s; {run.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--steps", type=int, default=100, help="to measure over")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it works")
    parser.add_argument("--profile", action="store_true", help="print where the time of the widest network goes")
    args = parser.parse_args()
    if args.quick:
        args.side, args.widths, args.steps = 64, [8], 4
    device = choose_device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    peaks, copy = ceilings(device, args.quick)
    print(f"{name}, PyTorch {torch.__version__}; ceilings: matrix product {peaks[torch.bfloat16] / 1e12:.2f} TFLOP/s in "
          f"bfloat16, {peaks[torch.float32] / 1e12:.2f} in float32, copy {copy / 1e9:.0f} GB/s")  # fmt: skip
    print(f"{f'{args.side}x{args.side}':<22} {'ms/step':>8} {'ms eager':>9} {'TFLOP/s':>8} {'':>6} "
          f"{'GB/s':>8} {'':>6} {'MB per MP':>10}")  # fmt: skip
    for width in args.widths:
        recovery = recovery_of(args.side, width=width, device=args.device)
        step = step_row(f"width {width}", recovery, args.steps, peaks, copy)
    if args.profile:
        with torch.profiler.profile() as profile:
            recovery._compute()
        order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        print(profile.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=70))
    steps = PRESETS["paper"].steps
    print(f"width {args.widths[-1]}: {1 / step:.0f} steps/s, {steps} steps in {steps * step / 60:.1f} minutes")
    whole_run(args.device, args.quick)


if __name__ == "__main__":
    main()
