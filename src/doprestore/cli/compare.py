"""doprestore compare: the restoration beside other methods on one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from doprestore.baselines import METHODS, OURS
from doprestore.cli.options import Amount, FileName
from doprestore.damage.kinds import KINDS
from doprestore.errors import UsageError
from doprestore.image.settings import PRECISIONS, image_settings

# The methods that are compared without --methods: each of another sort.
DEFAULT = "ours,best-median,adaptive-median,tv-l1,dip-l1"
_TEXTS = {OURS: "doprestore image, with its default preset"} | {name: method.text for name, method in METHODS.items()}
_METHODS_HELP = "\n".join(f"  {name:<16} {text}" for name, text in _TEXTS.items())


def _methods(ctx: click.Context, param: click.Parameter, value: str) -> list[str]:
    names = list(_TEXTS) if value == "all" else [name.strip() for name in value.split(",")]
    for name in names:
        if name not in _TEXTS:
            raise click.BadParameter(f"{name!r} is no method; choose from {', '.join(_TEXTS)}, or all")
    return list(dict.fromkeys(names))


@click.command(
    "compare",
    help=f"""Damage PICTURE on purpose, restore it by several methods, and print how close each comes to it.

With --clean, PICTURE is already damaged and FILE is the original. Methods marked "oracle" look at the
original: they show what their kind could do at best. "-" is standard input.

\b
Methods:
{_METHODS_HELP}

\b
Example:
  doprestore compare photo.png --kind salt-pepper --amount 0.5 -o comparison
""",
)
@click.argument("picture", metavar="PICTURE", type=FileName(path_type=Path, allow_dash=True))
@click.option("--clean", type=FileName(path_type=Path), metavar="FILE", help="The original, if PICTURE is damaged.")
@click.option("--kind", type=click.Choice(list(KINDS)), metavar="KIND",
              help="Damage to make, see: doprestore corrupt --help. [default: salt-pepper]")  # fmt: skip
@click.option("--amount", type=Amount(), help="Share of it, 0 to 1. [default: 0.5]")
@click.option("--methods", default=DEFAULT, show_default=True, callback=_methods, metavar="NAME,...|all",
              help="Which methods, in this order.")  # fmt: skip
@click.option("-o", "--output", type=FileName(path_type=Path), metavar="FOLDER",
              help="Also write every restored picture, a panel, the table and the learning curves there.")  # fmt: skip
@click.option("--steps", type=int, help="Of the methods that fit a network.")
@click.option("--width", type=int, help="Of the network.")
@click.option("--seed", type=int, help="Of the damage and of the network. [default: 0]")
@click.option("--device", metavar="auto|cpu|cuda[:N]|mps", help="For the network. [default: auto]")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Of the network's convolutions. [default: auto]")
@click.option("--force", is_flag=True, help="Replace files of an earlier comparison in FOLDER.")
def command(picture: Path, clean: Path | None, kind: str | None, amount: float | None, methods: list[str],
            output: Path | None, force: bool, **options: Any) -> None:  # fmt: skip
    image_settings(**options)  # refuses what makes no sense
    if clean is not None and (kind is not None or amount is not None):
        raise UsageError("--clean says that PICTURE is damaged already; leave out --kind and --amount")

    from doprestore.cli.comparison import compare_file  # imports torch

    damage = None if clean is not None else (kind or "salt-pepper", 0.5 if amount is None else amount)
    compare_file(picture, clean, damage, methods, options, output, force)
