"""doprestore reproduce: the figures of the paper, each with its numbers and a verdict."""

from __future__ import annotations

from pathlib import Path

import click

from doprestore.cli.options import FileName
from doprestore.reproduce import FIGURES, SCALES

_FIGURES_HELP = "\n".join(f"  {name:<9} {entry.text}" for name, entry in FIGURES.items())


@click.command(
    "reproduce",
    help=f"""Run FIGURE of the paper again and say whether the numbers agree with it.

Writes the numbers (.csv) and the plot (.png) of each figure into FOLDER and prints one line a figure. What is in
FOLDER already is not computed again, so an interrupted session goes on where it was. Exit code: 0 when every figure
agrees with the paper, 1 when one does not.

\b
Figures ("all": every one that the scale has; alpha, widths and oracles are of small alone):
{_FIGURES_HELP}

\b
Scales:
  quick     an hour for all on two cores: fewer trials and cells; the centre 128x128 of the pictures, width 32,
            fast preset
  small     of pictures only: the published pipeline to its end (paper preset, 150 000 steps, width 32) on centres
            of 64x64 to 128x128; about a day of one core for all
  full      the paper's sizes; for a GPU: whole pictures, width 128, 150 000 steps (paper preset)

\b
Example:
  doprestore reproduce fig2a -o results/
  doprestore reproduce all -o results/ --data ~/pictures
""",
)
@click.argument("figure", metavar="FIGURE", type=click.Choice([*FIGURES, "all"]))
@click.option("-o", "--output", type=FileName(path_type=Path), metavar="FOLDER", required=True,
              help="Where numbers and plots go; made if need be.")  # fmt: skip
@click.option("--scale", type=click.Choice(SCALES), default=SCALES[0], show_default=True, help="See above.")
@click.option("--data", type=FileName(path_type=Path), metavar="FOLDER",
              help="The clean pictures: F16, Peppers, Baboon and kodim03.png, or those of sample_images. "
              "[default: $DOPRESTORE_DATA, else ./sample_images]")  # fmt: skip
@click.option("--preset", type=click.Choice(["fast", "paper"]),
              help="Of the pictures. [default: fast at quick, paper at the other scales]")  # fmt: skip
@click.option("--device", metavar="auto|cpu|cuda[:N]|mps", default="auto", show_default=True,
              help="For the pictures; matrices are too small to gain from one.")  # fmt: skip
def command(figure: str, output: Path, scale: str, data: Path | None, preset: str | None, device: str) -> int:
    from doprestore.cli.reproduction import reproduce  # imports torch

    names = [name for name, entry in FIGURES.items() if scale in entry.scales] if figure == "all" else [figure]
    return reproduce(names, output, scale, data, preset or ("fast" if scale == "quick" else "paper"), device)
