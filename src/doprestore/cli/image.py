"""doprestore image: restore a damaged picture."""

from __future__ import annotations

from pathlib import Path

import click

from doprestore.cli.interrupt import Interrupt
from doprestore.errors import InputError, OutputError
from doprestore.settings import OUTPUTS, PRECISIONS, PRESETS, image_settings


def _default(name: str) -> str:
    """The defaults of a setting, read off the presets, for the help text."""
    values = {preset: getattr(settings, name) for preset, settings in PRESETS.items()}
    if len(set(values.values())) == 1:
        return f"[default: {next(iter(values.values()))}]"
    return "[default: " + ", ".join(f"{value:g}" if isinstance(value, float) else f"{value}"
                                    for value in values.values()) + f" with {', '.join(values)}]"  # fmt: skip


@click.command("image")
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("output", metavar="OUTPUT", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--preset", type=click.Choice(list(PRESETS)), default="fast", show_default=True,
              help="fast: minutes on a laptop. paper: the published 150 000 steps.")
@click.option("--steps", type=int, help=f"Optimisation steps. {_default('steps')}")
@click.option("--width", type=int, help=f"Channels of every layer of the network. {_default('width')}")
@click.option("--alpha", type=float, help="Ratio of the learning rates at 512x512; larger finds more outliers. "
              f"{_default('alpha')}")
@click.option("--tau", type=float, help=f"Learning rate of the network. {_default('tau')}")
@click.option("--average", type=float, help="Decay of the running average of the network's output (fast only). "
              f"[default: {PRESETS['fast'].average}]")
@click.option("--output", "output_kind", type=click.Choice(OUTPUTS),
              help="composed: change only what is judged damaged. network: the network's picture everywhere. "
              f"{_default('output')}")
@click.option("--seed", type=int, help=f"The same seed gives the same result. {_default('seed')}")
@click.option("--device", metavar="auto|cpu|cuda[:N]|mps", help=f"{_default('device')}")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Of the convolutions; auto takes bfloat16 where it "
              f"is fast. {_default('precision')}")
@click.option("--clean", type=click.Path(path_type=Path), metavar="FILE",
              help="The undamaged picture, to log the PSNR; it never influences the result.")
@click.option("--log", type=click.Path(path_type=Path), metavar="FILE",
              help="Write step, loss, PSNR, outlier share and seconds to FILE.csv or FILE.jsonl.")
@click.option("--outliers", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the damage found (g*g - h*h) as a picture; mid-grey is none.")
@click.option("--panel", type=click.Path(path_type=Path), metavar="FILE",
              help="Write input | restored | damage (| clean) side by side.")
@click.option("--page", type=click.IntRange(1), help="Page of a multi-page TIFF, from 1.")
@click.option("--force", is_flag=True, help="Allow OUTPUT to replace INPUT.")
def command(source: Path, output: Path, preset: str, output_kind: str | None, clean: Path | None, log: Path | None,
            outliers: Path | None, panel: Path | None, page: int | None, force: bool, **options: object) -> int:  # fmt: skip
    """Restore the damaged picture INPUT and write it to OUTPUT, in the format of its extension.

    Removes sparse, gross damage of any kind: salt-and-pepper and impulse noise, dead lines, scratches,
    overlays. Size, colour mode, transparency and metadata stay as they are. "-" is standard
    input or output.

    \b
    Example:
      doprestore image damaged.png restored.png
    """
    settings = image_settings(preset, output=output_kind, **options)
    extras = {"--outliers": outliers, "--panel": panel}
    _check_paths(source, output, {**extras, "--log": log}, clean, force)

    from doprestore.cli.restoring import restore_file  # imports torch

    with Interrupt() as interrupt:
        restore_file(source, output, settings, clean=clean, log=log, outliers=outliers, panel=panel, page=page,
                     interrupt=interrupt)  # fmt: skip
    return interrupt.exit_code if interrupt.received() else 0


def _check_paths(source: Path, output: Path, extras: dict[str, Path | None], clean: Path | None, force: bool) -> None:
    """Refuse what would overwrite an input or one output with another, before any work."""
    if not force and _same(source, output):
        raise OutputError(f"{output}: is also the input; give another name, or --force to replace it")
    for path in (source, clean):
        if path is not None and str(path) != "-" and not path.exists():
            raise InputError(f"{path}: no such file; check the name")
    taken = {"INPUT": source, "--clean": clean, "OUTPUT": output}
    for flag, path in extras.items():
        if path is None:
            continue
        for other, used in taken.items():
            if used is not None and (path == used or _same(path, used)):
                raise OutputError(f"{flag} {path}: is also {other}; give another name")
        taken[flag] = path
    if clean is not None and _same(clean, output):
        raise OutputError(f"{output}: is also --clean; give another name")


def _same(one: Path, other: Path) -> bool:
    return "-" not in (str(one), str(other)) and one.exists() and other.exists() and one.samefile(other)


