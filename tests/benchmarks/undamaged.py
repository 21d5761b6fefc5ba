"""Are undamaged photographs left as they are? Any folder of them, restored with the default settings.

    python tests/benchmarks/undamaged.py ../FFDNet/testsets/Kodak24 ../FFDNet/testsets/McMaster -o undamaged.jsonl

A line for each picture that is not left as it is: the share of its values that are taken for damage, by kind, and the PSNR
of the answer; then the sum of it all. With -o a rerun skips what the file has. `--lines` looks for dead and shifted
lines alone, which takes a second a picture. One thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from results import append_result, read_results
from torch import Tensor

from doprestore.image.lines import find_lines
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.io.encode import EXTENSIONS
from doprestore.io.images import read_picture
from doprestore.metrics import psnr


def measured(picture: Tensor, lines_alone: bool) -> dict:
    """What is taken for damage in (C, H, W), and the PSNR of the answer where there is one."""
    if lines_alone:
        share = float(find_lines(picture, torch.ones_like(picture, dtype=torch.bool)).float().mean())
        return {"share": share, "psnr": None, "kinds": {"lines": share} if share else {}}
    result = recover_image(picture, image_settings(device="cpu"))
    share = float(result.found.float().mean())
    kinds = {damage.kind: damage.share for damage in result.damage}
    return {"share": share, "psnr": psnr(result.restored, picture) if share else None, "kinds": kinds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    done = read_results(options.output, lambda row: (row["picture"], row["lines"])) if options.output else {}
    rows = []
    for path in sorted(path for folder in options.folders for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS):
        name = f"{path.parent.name}/{path.name}"
        row = done.get((name, options.lines))
        if row is None:
            picture = torch.from_numpy(read_picture(path).pixels)
            row = {"picture": name, "lines": options.lines, **measured(picture, options.lines)}
            if options.output:
                append_result(options.output, row)
        rows.append(row)
        if row["share"]:
            kinds = ", ".join(f"{kind} {share:.4%}" for kind, share in row["kinds"].items())
            print(f"{name}: {kinds}" + (f", {row['psnr']:.1f} dB" if row["psnr"] else ""), flush=True)
    changed = [row for row in rows if row["share"]]
    shares = [row["share"] for row in rows]
    mean = sum(shares) / max(1, len(rows))
    print(
        f"{len(changed)} of {len(rows)} pictures: {mean:.5%} of the values on average, {max(shares, default=0):.4%} at worst"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
