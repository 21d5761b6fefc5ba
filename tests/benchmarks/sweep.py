"""One setting of the default preset varied, everything else as it is: PSNR (dB) of the restored picture.

    python tests/benchmarks/sweep.py alpha --pictures F16 cat --amounts 0.3 0.5 --plot alpha.png
    python tests/benchmarks/sweep.py alpha --sizes 128 256 --resample
    python tests/benchmarks/sweep.py seed | steps | width | sigma | channels

A line a case, a column a value, with the best value or the spread at the end. Results are appended to the -o file and
not measured again. sigma adds dense Gaussian noise (in 1/255) to the damaged picture, which is then compared with the
clean one; channels 1 is the grey picture, 3 the colour one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from restoration import AMOUNTS, PAPER, SAMPLES, load

from doprestore.damage.make import corrupt
from doprestore.image.portions import recover
from doprestore.image.settings import image_settings
from doprestore.metrics import psnr
from doprestore.report.plots import line_plot

VALUES = {
    "alpha": (60, 125, 250, 500, 1000, 2000, 4000),
    "seed": (0, 1, 2, 3, 4),
    "steps": (10, 30, 60, 120),
    "width": (8, 16, 32),
    "sigma": (0, 1, 3, 5),
    "channels": (1, 3),
}
OF_THE_PICTURE = ("sigma", "channels")


def measure(case: dict, name: str, value: float) -> dict:
    clean = load(case["picture"], case["size"], case["resample"])
    if name == "channels" and value == 1:
        clean = clean.mean(dim=0, keepdim=True)
    damaged = corrupt(clean, case["kind"], case["amount"], seed=0).picture
    if name == "sigma":
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        damaged = (damaged + value / 255 * noise).clamp(0, 1)
    settings = image_settings(device=case["device"], **({} if name in OF_THE_PICTURE else {name: value}))
    start = time.perf_counter()
    result = recover(damaged, settings)
    return {
        "case": case,
        "name": name,
        "value": value,
        "psnr": psnr(result.restored, clean),
        "network": psnr(result.network, clean),
        "seconds": time.perf_counter() - start,
    }


def summary(name: str, row: dict[float, dict]) -> str:
    quality = {value: result["psnr"] for value, result in row.items()}
    if name == "alpha":
        return f"best {max(quality, key=quality.get):g}"
    if name == "width":
        return ", ".join(f"{result['seconds']:.0f} s" for result in row.values())
    if name == "sigma":
        return "network alone " + ", ".join(f"{result['network']:.2f}" for result in row.values())
    return f"spread {max(quality.values()) - min(quality.values()):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=tuple(VALUES))
    parser.add_argument("--values", nargs="+", type=float)
    parser.add_argument("--pictures", nargs="+", choices=PAPER + SAMPLES, default=["F16", "cat"])
    parser.add_argument("--kinds", nargs="+", choices=tuple(AMOUNTS), default=["salt-pepper"])
    parser.add_argument("--amounts", nargs="+", type=float, default=[0.5])
    parser.add_argument("--sizes", nargs="+", type=int, default=[128])
    parser.add_argument("--resample", action="store_true", help="the whole picture at that size, not a crop")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--plot", type=Path, help="curves over the values, as PNG (needs matplotlib)")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/sweep.jsonl"))
    args = parser.parse_args()
    values = [int(value) if value == int(value) else value for value in args.values or VALUES[args.name]]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    lines = args.output.read_text().splitlines() if args.output.exists() else []
    known = {json.dumps([row["case"], row["name"], row["value"]]): row for row in map(json.loads, lines)}
    curves = {}
    print(f"{'picture':<10}{'kind':<18}{'amount':>6}{'size':>6}  " + "".join(f"{value:>8g}" for value in values))
    for size in args.sizes:
        for kind in args.kinds:
            for amount in args.amounts:
                for picture in args.pictures:
                    case = {"picture": picture, "size": size, "resample": args.resample, "kind": kind,
                            "amount": amount, "device": args.device}  # fmt: skip
                    if load(picture, size, args.resample) is None:
                        continue
                    label = f"{picture:<10}{kind:<18}{amount:>6.0%}{size:>6}  "
                    print(label, end="", flush=True)
                    row = {}
                    for value in values:
                        key = json.dumps([case, args.name, value])
                        if key not in known:
                            known[key] = measure(case, args.name, value)
                            with args.output.open("a") as file:
                                file.write(json.dumps(known[key]) + "\n")
                        row[value] = known[key]
                        print(f"{row[value]['psnr']:8.2f}", end="", flush=True)
                    print("  " + summary(args.name, row), flush=True)
                    curves[f"{picture} {kind} {amount:.0%} {size}"] = [(v, r["psnr"]) for v, r in row.items()]
    if args.plot is not None:
        log = "x" if args.name in ("alpha", "steps", "width") else ""
        args.plot.write_bytes(line_plot(curves, args.name, "PSNR (dB)", log=log, points="o"))


if __name__ == "__main__":
    main()
