"""doprestore corrupt: test material, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import click

from doprestore.cli.options import Amount, FileName
from doprestore.damage.kinds import KINDS

_KINDS_HELP = "\n".join(f"  {name:<18} {text}" for name, text in KINDS.items())


@click.command(
    "corrupt",
    help=f"""Damage the picture INPUT on purpose and write it to OUTPUT, keeping depth, alpha and metadata.

\b
Kinds of damage:
{_KINDS_HELP}

PNG and TIFF keep the damage exactly; JPEG smears it. "-" is standard input or output.

\b
Example:
  doprestore corrupt photo.png damaged.png --kind salt-pepper --amount 0.5 --seed 0
""",
)
@click.argument("source", metavar="INPUT", type=FileName(path_type=Path, allow_dash=True))
@click.argument("output", metavar="OUTPUT", type=FileName(path_type=Path, allow_dash=True))
@click.option("--kind", type=click.Choice(list(KINDS)), default="salt-pepper", show_default=True, metavar="KIND",
              help="What kind of damage; see above.")  # fmt: skip
@click.option("--amount", type=Amount(), default=0.5, show_default=True,
              help="Share of values or pixels to damage, 0 to 1.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True,
              help="The same seed gives the same damage.")  # fmt: skip
@click.option("--mask-out", type=FileName(path_type=Path), metavar="FILE",
              help="Also write where the picture changed: white, channel by channel.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files that exist; never the input.")
def command(source: Path, output: Path, kind: str, amount: float, seed: int, mask_out: Path | None, force: bool) -> None:
    # torch is imported here so that --help stays fast.
    import numpy as np
    import torch

    from doprestore.damage.make import corrupt
    from doprestore.io.files import check_output, check_targets
    from doprestore.io.images import Picture, check_format, read_picture, write_picture

    targets = {"OUTPUT": output} | ({} if mask_out is None else {"--mask-out": mask_out})
    check_targets(targets, {"INPUT": source}, force=force)
    for path in (output, mask_out):
        if path is not None and str(path) != "-":
            check_output(path)
    picture = read_picture(source)
    check_format(output, picture)
    if mask_out is not None:
        check_format(mask_out, Picture(np.broadcast_to(np.uint8(0), picture.samples.shape)))
    damaged, changed = corrupt(torch.from_numpy(picture.pixels), kind, amount, seed)
    write_picture(output, damaged.numpy(), like=picture)
    if mask_out is not None:
        write_picture(mask_out, changed.numpy().astype("float32"))
    share = changed.float().mean().item()
    click.echo(f"{output}: {kind}, {share:.1%} of the values changed", err=str(output) == "-")
