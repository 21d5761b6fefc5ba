"""doprestore image: restore a damaged picture."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from doprestore.cli import one_line
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.options import (
    MOST_QUALITY,
    SUBSAMPLINGS,
    FileName,
    NumberOr,
    SampleValue,
    Shard,
    check_checkpoint,
    checkpoint_options,
    file_option,
)
from doprestore.image.settings import OUTPUTS, PRECISIONS, PRESETS, image_settings


def _default(name: str) -> str:
    """The defaults of a setting, read off the presets, for the help text."""
    fast, paper = (_shown(getattr(PRESETS[preset], name)) for preset in ("fast", "paper"))
    return f"[default: {fast}]" if fast == paper else f"[default: {fast}; with --preset paper: {paper}]"


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@click.command("image")
@click.argument("paths", metavar="INPUT... OUTPUT", nargs=-1, required=True, type=FileName(allow_dash=True))
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="fast",
    show_default=True,
    help="fast: seconds to minutes on a laptop. paper: the published 150 000 steps.",
)
@click.option(
    "--steps",
    type=int,
    help=f"Of the fit; with --preset paper of all there is. Fewer are faster, and a little worse. {_default('steps')}",
)
@click.option("--width", type=int, help=f"Channels of every layer of the network. {_default('width')}")
@click.option("--alpha", type=float, help=f"Ratio of the learning rates; of --preset paper at 512x512. {_default('alpha')}")
@click.option("--tau", type=float, help=f"Learning rate of the network. {_default('tau')}")
@click.option(
    "--output",
    "output_kind",
    type=click.Choice(OUTPUTS),
    help=f"composed: change only what is judged damaged. network: the network's picture everywhere. {_default('output')}",
)
@click.option(
    "--sensitivity",
    type=float,
    help=f"Replace what is damaged by odds above 1/this: more finds more, and more by mistake. {_default('sensitivity')}",
)
@click.option("--seed", type=int, help=f"The same seed gives the same result. {_default('seed')}")
@click.option("--device", metavar="auto|cpu|cuda[:N]|mps", help=f"{_default('device')}")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help=f"Of the convolutions; auto takes bfloat16 where it is fast. {_default('precision')}",
)
@file_option("--clean", help="The undamaged picture, to log the PSNR; it never influences the result.")
@file_option("--mask", help="Picture of the same size, white where values are known to be bad; the rest may be bad too.")
@file_option("--log", help="Write step, loss, PSNR, outlier share and seconds to FILE.csv or FILE.jsonl.")
@file_option(
    "--outliers", help="Write the damage found as a picture, lighter where the input is too bright; mid-grey is none."
)
@file_option("--panel", help="Write input | restored | damage (| clean) side by side.")
@file_option("--report", help="Write a report to FILE.html: pictures, curves, settings, versions.")
@file_option("--json", dash=True, help="Write all facts as JSON; - is standard output.")
@click.option(
    "--page",
    type=NumberOr("all", what="the number of a page from 1"),
    metavar="N|all",
    help="Page of a multi-page TIFF or image of a FITS file, from 1; all: each to a file of its own in the folder OUTPUT.",
)
@click.option(
    "--range",
    "black_white",
    nargs=2,
    type=SampleValue(),
    metavar="LOW HIGH",
    help="Samples to take for black and white, values or percentiles like 1% 99.9%, where 16-bit or float data "
    "fills little of its range. [default: 0 to the largest integer; floats: 0 to 1 or, beyond, min to max]",
)
@click.option("--quality", type=click.IntRange(1, MOST_QUALITY), help="Of .jpg [default: 95] and .webp [default: lossless].")
@click.option("--subsampling", type=click.Choice(SUBSAMPLINGS), help="Of .jpg. [default: 4:4:4]")
@checkpoint_options
@click.option(
    "--dry-run",
    "only_look",
    is_flag=True,
    help="Only read the pictures and say what restoring them would take: time, by a few steps on this machine, and memory. "
    "With --quiet only what would fail.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Say what each picture is and what is left alone; more lines where stderr is a log.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="End with exit code 5 where an answer is in doubt: print or drawings, more than half of the values or too much "
    "that may have been whole replaced, too few steps. The outputs are written all the same. With --skip-existing it needs "
    "--json, which keeps what is in doubt.",
)
@click.option(
    "--recursive",
    "-r",
    is_flag=True,
    help="Restore the pictures in folders, and in theirs. Not entered are the folders of the results, and hidden ones and "
    "links to folders, which --verbose names, as it does hidden pictures.",
)
@click.option("--force", is_flag=True, help="Replace files that exist; never an input.")
@click.option("--skip-existing", is_flag=True, help="Leave pictures alone whose output exists; in place, "
              "whose backup does, or whose other files say that they are undamaged.")  # fmt: skip
@click.option(
    "--in-place",
    metavar="SUFFIX",
    help="Without OUTPUT: put each restored picture in the place of its input, "
    "which is kept under its name with SUFFIX, like .orig, after it.",
)
@click.option(
    "--name",
    metavar="PATTERN",
    help="Names of the files in the folder OUTPUT, of {stem}, {suffix} and {name}, like {stem}_restored{suffix}. What has "
    "such a name already is taken for a result and not restored.",
)
@click.option("--shard", type=Shard(), default="1/1", help="Do only the K-th of N shares of the list, for job arrays.")
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Restore N pictures at once, each in a process of its own: for many small ones. The CPU's cores are shared out.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    help="Of the processor, for all pictures at once. [default: one for 64x64 and less, else as many as cores are idle]",
)
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster with this scheduler, like tcp://host:8786.")
def command(paths: tuple[str, ...], preset: str, output_kind: str | None, recursive: bool, shard: tuple[int, int],
            dask: str | None, only_look: bool, **options: Any) -> int:  # fmt: skip
    """Restore the damaged picture INPUT and write it to OUTPUT, in the format of its extension.

    Removes sparse, gross damage: salt-and-pepper and other impulse noise, hot and dead pixels, dead lines, thin
    scratches, lettering. Size, colour mode, transparency and metadata stay as they are. "-" is standard input or
    output.

    Several pictures, or folders with --recursive, go to the folder OUTPUT under their own names, and every FILE
    below then names a folder too. What fails is reported and does not stop the others. A file that exists is replaced
    only by --force or --in-place, whatever it is.

    \b
    Examples:
      doprestore image damaged.png restored.png
      doprestore image a.png b.tif restored/
      doprestore image scans/ restored/ --recursive --skip-existing
      doprestore image scans/ --recursive --in-place .orig
    """
    from doprestore.cli.pictures.doubts import DOUBTFUL
    from doprestore.cli.pictures.jobs import Choices, Files, Plan, is_many, plan_in_place, plan_many, plan_one
    from doprestore.cli.pictures.safety import is_left, skip

    if len(paths) < 2 and options["in_place"] is None:
        raise click.UsageError("Missing argument 'OUTPUT'.", click.get_current_context())
    files = Files(**{field.name: options.pop(field.name) for field in fields(Files)})
    context = click.get_current_context()
    options["command"] = context.obj
    choices = Choices(**{field.name: options.pop(field.name) for field in fields(Choices)})
    check_checkpoint(context, files.checkpoint)
    if choices.strict and choices.skip_existing and str(files.json or "-") == "-":
        raise click.UsageError("--strict with --skip-existing needs --json FILE, which keeps what is in doubt")
    if dask is not None and choices.jobs > 1:
        raise click.UsageError("--jobs is for this machine; on a cluster start more workers")
    settings = image_settings(preset, output=output_kind, **options)
    if choices.in_place is None:
        *sources, destination = paths
    else:
        sources, destination = list(paths), None
    many = destination is None or is_many(sources, destination)
    if str(files.json) == "-" and (many or destination == "-"):
        raise click.UsageError("--json - is for one picture that goes to a file; name a folder or a file")
    if str(files.json) == "-" and only_look:
        raise click.UsageError("--json - tells what was done, and --dry-run does nothing; leave one out")
    if many:
        if destination is None:
            plan = plan_in_place(sources, files, choices, recursive=recursive, shard=shard)
        else:
            plan = plan_many(sources, Path(destination), files, choices, recursive=recursive, shard=shard)
        if only_look:
            from doprestore.cli.pictures.dry_run import dry_run  # imports torch

            return dry_run(plan, settings, choices, lenient=True)

        with Interrupt() as interrupt:
            if dask is not None:
                from doprestore.cli.pictures.cluster import restore_on_cluster

                report = restore_on_cluster(plan, settings, choices, interrupt, dask)
            elif choices.jobs > 1:
                from doprestore.cli.pictures.processes import restore_at_once

                report = restore_at_once(plan, settings, choices, interrupt)
            else:
                from doprestore.cli.pictures.batch import restore_many  # imports torch

                report = restore_many(plan, settings, choices, interrupt)
        return interrupt.exit_code if interrupt.received() else report.exit_code
    for flag, given in (("--dask", dask is not None), ("--shard", shard != (1, 1)), ("--jobs", choices.jobs > 1)):
        if given:
            raise click.UsageError(f"{flag} is for several pictures; name a folder as OUTPUT, a new one with / at its end")
    assert destination is not None  # without one they are many
    job = plan_one(Path(sources[0]), Path(destination), files, choices)
    if only_look:
        from doprestore.cli.pictures.dry_run import dry_run

        return dry_run(Plan([job], {}), settings, choices, lenient=False)
    with Interrupt() as interrupt:
        if is_left(job, choices):
            what, line = skip(job, choices)
        else:
            from doprestore.cli.pictures.batch import outcome  # imports torch, and so does the next
            from doprestore.cli.pictures.one import restore_file

            what, line = outcome(job, restore_file(job, settings, choices, interrupt), choices)
        if not choices.quiet:
            click.echo(one_line(line), err="-" in (destination, str(files.json)))
    if interrupt.received():
        return interrupt.exit_code
    return DOUBTFUL if what == "doubtful" else 0
