"""What a picture costs, from the start of the command to its end, over the picture's size, beside another checkout.

    python tests/benchmarks/speed.py                                             # this checkout, 64 to 4096 pixels
    python tests/benchmarks/speed.py --sides 256 512 --against ../doprestore-0.1.0 --repeats 3
    python tests/benchmarks/speed.py --sides 64 256 1024 3464 6928 --damage none salt-pepper-20 -o speed.jsonl

Each run is a process of its own, `doprestore image`, with start, imports and writing. With --against the two checkouts
take turns on the same file, so that whatever else the machine does hits both; their ratios are of the medians. A picture
is the centre of scikit-image's astronaut, mirrored on beyond 512 pixels, with damage of light_damage.py. Columns:
processor seconds (user and system, all threads), seconds by the clock, peak of the resident memory, PSNR, and where the
result's --json tells them (as "stages") the seconds of each stage; "around" is what the clock showed beyond the run's own
"seconds": start, imports, reading and writing. 3464 pixels make 12 megapixels, 6928 make 48.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from light_damage import DAMAGE
from light_pictures import clean, sources
from PIL import Image
from torch import Tensor

from doprestore.metrics import psnr

ROOT = Path(__file__).resolve().parents[2]
CHECKED = {256: 8, 512: 20, 3464: 600}  # side: the seconds by the clock that are aimed at, on two cores
TENTH = (256, 512)  # where a tenth of the other's processor time is aimed at
MEMORY_12MP = 4 * 2**30


def picture(side: int) -> Tensor:
    """(3, side, side): the centre of astronaut at its native resolution, mirrored on where that ends."""
    if "astronaut" not in sources():
        raise SystemExit("the picture comes from scikit-image: pip install scikit-image")
    values = clean("astronaut", side).numpy()
    more = [side - length for length in values.shape[1:]]
    return torch.from_numpy(np.pad(values, [(0, 0)] + [(n // 2, n - n // 2) for n in more], mode="symmetric"))


def save(path: Path, values: Tensor) -> None:
    Image.fromarray((values * 255).round().byte().permute(1, 2, 0).numpy()).save(path, compress_level=1)


def run(checkout: Path, source: Path, folder: Path, threads: int, options: list[str], device: str) -> dict:
    """One run of the command: what it took, and what its JSON says."""
    answer, facts = folder / "answer.png", folder / "facts.json"
    for path in (answer, facts):
        path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "doprestore", "image", source, answer, "--json", facts, "--device", device, *options]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": str(threads),
                   "MKL_NUM_THREADS": str(threads)}  # fmt: skip
    start = time.perf_counter()
    with open(folder / "messages", "w+b") as messages:
        process = subprocess.Popen(command, stdout=messages, stderr=messages, env=environment, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            messages.seek(0)
            raise SystemExit(f"{checkout}: {messages.read().decode(errors='replace').strip()}")
    told = json.loads(facts.read_text())
    stages = {"around": wall - told["seconds"], **told.get("stages", {})}
    return {"processor": used.ru_utime + used.ru_stime, "wall": wall, "memory": used.ru_maxrss * 1024, "stages": stages,
            "outlier_share": told["outlier_share"], "version": told["versions"]["doprestore"]}  # fmt: skip


def measured(side: int, damage: str, checkouts: dict[str, Path], args: argparse.Namespace) -> dict[str, list[dict]]:
    """The runs of each checkout on one picture, taken in turns."""
    runs: dict[str, list[dict]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original = picture(side)
        damaged, _ = DAMAGE[damage](original, 0)
        save(folder / "damaged.png", damaged)
        for _ in range(args.repeats):
            for which, checkout in checkouts.items():
                row = run(checkout, folder / "damaged.png", folder, args.threads, args.options.split(), args.device)
                with Image.open(folder / "answer.png") as image:
                    answer = np.array(image).transpose(2, 0, 1) / np.float32(255)
                row |= {"side": side, "damage": damage, "checkout": which, "threads": args.threads, "device": args.device,
                        "psnr": min(99.0, psnr(original, answer))}  # fmt: skip
                runs[which].append(row)
                print(text(row), flush=True)
                if args.output:
                    with open(args.output, "a") as file:
                        file.write(json.dumps(row) + "\n")
    return runs


HEAD = (
    f"{'side':>5} {'MP':>6}  {'damage':<16}{'checkout':<9}{'processor':>10}{'clock':>9}{'memory':>9}{'PSNR':>7}  stages, s"
)


def text(row: dict) -> str:
    stages = "  ".join(f"{name} {seconds:.2f}" for name, seconds in row["stages"].items())
    case = f"{row['side']:>5} {row['side'] ** 2 / 1e6:>6.2f}  {row['damage']:<16}{row['checkout']:<9}"
    cost = f"{row['processor']:>8.1f} s{row['wall']:>7.1f} s{row['memory'] / 2**20:>6.0f} MB"
    return f"{case}{cost}{row['psnr']:>7.2f}  {stages}"


def middle(runs: list[dict], column: str) -> float:
    return statistics.median(row[column] for row in runs)


def judge(side: int, damage: str, runs: dict[str, list[dict]]) -> list[str]:
    """The targets that this size has, each with what was reached."""
    said = []
    this = runs["this"]
    if "other" in runs:
        ratio = middle(runs["other"], "processor") / middle(this, "processor")
        mark = "" if side not in TENTH else "pass, " if ratio >= 10 else "FAIL, "
        clock = middle(runs["other"], "wall") / middle(this, "wall")
        said.append(f"{side} {damage}: {mark}{ratio:.1f} times less processor time, {clock:.1f} times sooner done")
    if side in CHECKED:
        wall = middle(this, "wall")
        mark = "pass" if wall <= CHECKED[side] else "FAIL"
        said.append(f"{side} {damage}: {mark}, {wall:.1f} s by the clock of {CHECKED[side]}")
    if side == 3464:
        memory = max(row["memory"] for row in this)
        said.append(f"{side} {damage}: {'pass' if memory <= MEMORY_12MP else 'FAIL'}, {memory / 2**30:.2f} GB of 4")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--damage", nargs="+", choices=tuple(DAMAGE), default=["random-5"])
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="of doprestore, run in turns with this one")
    parser.add_argument("--against-up-to", type=int, default=512, metavar="SIDE", help="larger ones by this checkout alone")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="cpu or cuda; --threads counts for both")
    parser.add_argument("--options", default="", help="more options of `doprestore image`, in one string")
    parser.add_argument("-o", "--output", type=Path, help="append every run to this .jsonl")
    args = parser.parse_args()
    print(HEAD)
    said = []
    for damage in args.damage:
        for side in args.sides:
            checkouts = {"this": ROOT}
            if args.against is not None and side <= args.against_up_to:
                checkouts["other"] = args.against.resolve()
            said += judge(side, damage, measured(side, damage, checkouts, args))
    print("\n" + "\n".join(said))


if __name__ == "__main__":
    main()
