"""One file through the recovery: read, check, run, write. Imports torch."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.doubts import is_doubtful, is_too_short, warnings
from doprestore.cli.pictures.facts import as_json, as_page, describe
from doprestore.cli.pictures.jobs import SUFFIXES, Choices, Job
from doprestore.cli.pictures.safety import refuse_to_replace
from doprestore.cli.pictures.session import Inputs, Session
from doprestore.cli.screen import count, say
from doprestore.errors import InputError, UsageError
from doprestore.image.recovery import ImageResult
from doprestore.image.settings import ImageSettings
from doprestore.io.checkpoint import fingerprint
from doprestore.io.encode import EXTENSIONS, LOSSY
from doprestore.io.files import as_bytes, changed, check_output, set_changed, write_together
from doprestore.io.images import Picture, check_format, encode_picture, picture_file, read_picture, write_standard
from doprestore.io.log import check_log
from doprestore.machine import choose_device
from doprestore.metrics import psnr
from doprestore.report.content import outlier_map, panel, panel_size

# The names in a panel, left to right; the last is there with --clean.
PANEL = ("input", "restored", "damage found", "clean")
# The share of its range that the middle 90 % of the samples of deep data should fill; else a line names --range.
FILLED = 0.1


class Done(NamedTuple):
    """A picture that is restored and written: in one line, in all facts, as for --json, and whether to look at it first."""

    line: str
    facts: dict[str, object]
    doubtful: bool


def restore_file(
    job: Job, settings: ImageSettings, choices: Choices, interrupt: Interrupt, *, nested: bool = False
) -> Done | None:
    """Restore one picture, write its files and say what was done.

    Everything that can be refused is refused before the work starts. An interrupted session writes the restoration as
    it stands; or nothing, and returns None, while it reads and where --skip-existing would take the output for
    finished: with it, and ``nested``, for one of many or one in place, whose bar lies below another.
    """
    output, files = job.output, job.files
    read_at = changed(job.source)
    choose_device(settings.device)
    try:
        with interrupt.at_once():
            picture, inputs, encoding = read_inputs(job, choices, lenient=nested)
    except KeyboardInterrupt:
        if not interrupt.received():
            raise
        return None
    if not choices.quiet:
        _advise_range(job.source, picture)
    if choices.verbose:
        _tell(job, picture, settings)
    check_places(job)
    session = Session(inputs, settings, choices, job, interrupt, nested)
    refuse_to_replace(job, choices, session.own)
    # What is not there yet is nobody's to replace, whatever comes to be there meanwhile.
    new = set() if choices.force else {path for path in (output, *job.targets().values()) if not os.path.exists(path)}
    result = session.recover()
    for warning in () if choices.quiet else warnings(result, inputs.mask):
        say(f"doprestore: {job.source}: {warning}", error=True)
    if result.interrupted and (nested or (choices.skip_existing and files.checkpoint is None)):
        if files.log is not None and files.checkpoint is None:  # nothing goes on with it, and it would be in the way
            with contextlib.suppress(OSError):
                os.unlink(files.log)
        return None
    facts = describe(job, picture, result, session.pieces, inputs.clean, inputs.mask)
    doubtful = is_doubtful(result, inputs.mask)
    facts |= {"command": choices.command, "threads": session.threads, "doubtful": doubtful}
    whole = _is_whole(result, job, choices)
    left = whole and job.backup is not None  # where it is
    copied = picture_file(job.source, output, picture) if whole and not left else None
    contents = _files_beside(job, facts, session.rows, picture, inputs, result)
    if not left:
        restored = encode_picture(output, result.restored.numpy(), picture, **encoding) if copied is None else copied
        contents[output] = restored
    _write(contents, new, None if left else job.backup)
    for path in job.beside() if left else ():
        set_changed(path, read_at)  # by which Job.is_done() knows them
    if str(files.json) == "-":
        click.echo(as_json(facts), nl=False)
    as_it_was = left or copied is not None
    if picture.metadata.converted is not None and not as_it_was and not choices.quiet:
        say(f"doprestore: {job.source}: was converted {picture.metadata.converted}", error=True)
    session.finished(result)
    line = _summary(output, inputs.damaged, result, session.pieces, inputs.clean)
    return Done(line + (", nothing to do: the file as it was" if as_it_was else ""), facts, doubtful)


def _files_beside(
    job: Job, facts: dict[str, Any], rows: list[dict[str, Any]], picture: Picture, inputs: Inputs, result: ImageResult
) -> dict[Path, bytes]:
    """What goes to the files beside the output, by path."""
    files, contents = job.files, {}
    if files.outliers is not None:
        contents[files.outliers] = encode_picture(files.outliers, outlier_map(result.outliers).numpy())
    if files.panel is not None:
        shown = [inputs.damaged, result.restored, outlier_map(result.outliers), inputs.clean]
        parts = {name: part for name, part in zip(PANEL, shown, strict=True) if part is not None}
        contents[files.panel] = encode_picture(files.panel, panel(parts).numpy())
    if files.json is not None and str(files.json) != "-":
        contents[files.json] = as_bytes(as_json(facts))
    if files.report is not None:
        contents[files.report] = as_bytes(as_page(facts, rows, picture, result, inputs.clean))
    return contents


def _write(contents: dict[Path, bytes], new: set[Path], backup: Path | None) -> None:
    """Write the files, the output last: where it is, all is there."""
    standard = contents.pop(Path("-"), None)
    write_together(contents, new, backup=backup)
    if standard is not None:
        write_standard(standard)


def check_places(job: Job, *, new_folders: bool = False) -> None:
    """Refuse what cannot be written where the command line says, or not under such a name.

    new_folders: folders that are missing will be made before the work, and are refused if they cannot be.
    """
    files = job.files
    if files.report is not None and files.report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {files.report}: must end in .html")
    if files.log is not None:
        check_log(files.log)
    for path in (job.output, job.backup, *(getattr(files, name) for name in SUFFIXES)):
        if path is not None and str(path) != "-":
            folders = [folder for folder in path.parents if new_folders and not os.path.lexists(folder)]
            check_output([path, *folders][-1])


class Ready(NamedTuple):
    """What one file comes to: the picture, what the recovery works on, and the options of :func:`write_picture`."""

    picture: Picture
    inputs: Inputs
    encoding: dict[str, Any]


def read_inputs(job: Job, choices: Choices, *, lenient: bool) -> Ready:
    """Read the picture and what goes with it, and refuse what the formats of the outputs cannot hold.

    lenient: options that concern only some formats are ignored for the others, as in a mixed folder.
    """
    files, encoding = job.files, _encoding(choices, job.output, lenient)
    picture = read_picture(job.source, page=job.page, black_white=choices.black_white, gaps=True)
    check_format(job.output, picture, **encoding)
    channels, *size = picture.samples.shape
    if files.outliers is not None:
        check_format(files.outliers, _blank(channels, *size))
    if files.panel is not None:
        check_format(files.panel, _blank(3, *panel_size(PANEL if files.clean is not None else PANEL[:-1], *size)))
    clean = None if files.clean is None else _read_clean(files.clean, picture)
    mask = None if files.mask is None else _read_mask(files.mask, picture)
    if picture.unknown is not None:
        gaps = torch.from_numpy(picture.unknown)
        mask = gaps if mask is None else gaps | mask
    if mask is not None and bool(mask.all()):  # not by gaps alone, which are refused on reading
        known = "" if picture.unknown is None else " that is not NaN"
        raise InputError(f"--mask {files.mask}: marks every value{known} as bad; leave some to go by")
    data = fingerprint(picture.samples, np.array(picture.value_range), None if mask is None else mask.numpy())
    name = job.source.name if job.page is None else f"{job.source.name}, page {job.page}"
    return Ready(picture, Inputs(name, torch.from_numpy(picture.pixels), mask, clean, data), encoding)


def _blank(channels: int, height: int, width: int) -> Picture:
    """A picture of 8 bits that takes no memory, to ask what a format can hold."""
    return Picture(np.broadcast_to(np.uint8(0), (channels, height, width)))


def _is_whole(result: ImageResult, job: Job, choices: Choices) -> bool:
    """Whether nothing was found, and nothing else is asked for that would make another file of the picture."""
    composed = result.settings.output == "composed"
    plain = choices.quality is None and choices.subsampling is None and job.page is None
    return composed and plain and not result.interrupted and not bool(result.found.any())


def _encoding(choices: Choices, output: Path, lenient: bool) -> dict[str, Any]:
    """The options of :func:`write_picture`. ``lenient``: in a mixed folder they concern the formats that have them."""
    quality, subsampling = choices.quality, choices.subsampling
    kind = EXTENSIONS.get(output.suffix.lower())
    if lenient and kind not in LOSSY:
        subsampling = None
        quality = quality if kind == "WEBP" else None
    return {"quality": quality, "subsampling": subsampling}


def _advise_range(source: Path, picture: Picture) -> None:
    """Say so when nearly all samples of deep data lie close together: the network sees little of them then."""
    if picture.black_white is not None or picture.depth == "uint8":
        return
    low, high = picture.value_range
    some = picture.samples[:, :: max(1, picture.samples.shape[1] // 500), :: max(1, picture.samples.shape[2] // 500)]
    some = some[np.isfinite(some)]
    first, last = (float(value) for value in np.percentile(some, (5, 95))) if some.size else (0.0, 0.0)
    if 0 < last - first < FILLED * (high - low):
        told = f"90% of the samples lie between {first:g} and {last:g}, of {low:g} to {high:g}"
        say(f"doprestore: {source}: {told}; see --range", error=True)


def _tell(job: Job, picture: Picture, settings: ImageSettings) -> None:
    """What is to be done, for --verbose."""
    low, high = picture.value_range
    device = choose_device(settings.device)
    size = size_of(picture.samples.shape)
    read = f"{picture.kind}, {size}, {picture.depth}, black at {low:g} and white at {high:g}"
    say(f"doprestore: {job.source}: {read}; to {job.output}, on {device}", error=True)


def _read_clean(path: Path, like: Picture) -> torch.Tensor:
    picture = read_picture(path)
    if picture.depth == like.depth:
        picture = replace(picture, black_white=like.value_range)  # a float picture's own range may be another
    clean = torch.from_numpy(picture.pixels)
    expected = like.pixels.shape
    if clean.shape != expected:
        raise InputError(
            f"--clean {path}: is {size_of(clean.shape)}, the input is {size_of(expected)}; give the undamaged picture itself"
        )
    return clean


def _read_mask(path: Path, like: Picture) -> torch.Tensor:
    """The picture at ``path`` as bool: (H, W), or (C, H, W) for a mask in colour of a picture in colour."""
    picture = read_picture(path)
    pixels = picture.pixels
    if picture.kind in ("NPY", "FITS") and picture.samples.dtype.kind in "ui" and picture.samples.max() == 1:
        pixels = picture.samples  # 0 and 1, as arrays have it
    if pixels.shape[1:] != like.pixels.shape[1:]:
        sizes = f"is {size_of(pixels.shape)}, the input is {size_of(like.pixels.shape)}"
        raise InputError(f"--mask {path}: {sizes}; give one of the same size")
    bad = pixels >= 0.5
    if not bad.any() and pixels.any():
        raise InputError(f"--mask {path}: has no white, its lightest value is {pixels.max():.3g} of 1; make bad white")
    return torch.from_numpy(bad if bad.shape == like.pixels.shape else bad.any(axis=0))


def _summary(output: Path, damaged: torch.Tensor, result: ImageResult, pieces: int, clean: torch.Tensor | None) -> str:
    parts = [
        f"{output}: {size_of(damaged.shape)}",
        count(result.steps, "step")
        + (f" in {pieces} pieces" if pieces > 1 else "")
        + (" (interrupted)" if result.interrupted else "")
        + (" (too few to restore anything)" if is_too_short(result) else ""),
        f"{result.seconds:.1f} s on {result.device}",
        _found(result),
    ]
    if clean is not None:
        parts.append(f"PSNR {psnr(damaged, clean):.2f} -> {psnr(result.restored, clean):.2f} dB")
    return ", ".join(parts)


def _found(result: ImageResult) -> str:
    """What was found, by kind where that is known."""
    if not result.found.any():
        return "no damage found"
    if not result.damage:
        return f"{result.outlier_share:.1%} outliers"
    told = [f"{damage.kind} {damage.share:.2%}" for damage in result.damage]
    mistaken = sum(damage.mistaken or 0.0 for damage in result.damage)
    return " + ".join(told) + (f" ({mistaken:.2%} by mistake)" if mistaken >= 0.00005 else "")


def size_of(shape: tuple[int, ...]) -> str:
    """Of a picture (C, H, W), for people."""
    channels, height, width = shape
    return f"{width}x{height} {'colour' if channels == 3 else 'grey'}"
