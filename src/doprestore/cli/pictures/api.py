"""One file through the recovery, from Python: what ``doprestore image`` does, with all of its safety. Imports torch."""

from __future__ import annotations

import os
from numbers import Real
from pathlib import Path

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.options import MOST_QUALITY, NO_SAMPLE_VALUE, SUBSAMPLINGS, is_sample_value
from doprestore.cli.pictures.jobs import Choices, Files, plan_one
from doprestore.cli.pictures.one import restore_file as restore
from doprestore.errors import UsageError, check_choice, check_whole
from doprestore.image.settings import image_settings

PathLike = str | os.PathLike[str]


def restore_file(
    source: PathLike,
    destination: PathLike,
    /,
    *,
    preset: str = "fast",
    mask: PathLike | None = None,
    clean: PathLike | None = None,
    log: PathLike | None = None,
    outliers: PathLike | None = None,
    panel: PathLike | None = None,
    report: PathLike | None = None,
    json: PathLike | None = None,
    checkpoint: PathLike | None = None,
    checkpoint_every: float = 60.0,
    resume: bool = False,
    page: int | None = None,
    value_range: tuple[float | str, float | str] | None = None,
    quality: int | None = None,
    subsampling: str | None = None,
    force: bool = False,
    **settings: object,
) -> dict[str, object]:
    """Restore the picture in the file ``source`` and write it to ``destination``, in the format of its extension.

    Depth, size, transparency and metadata stay, the file appears whole or not at all, and what exists is replaced only
    with ``force``, ``source`` never. The options are those of ``doprestore image``; ``value_range`` is its --range, and
    ``settings`` are fields of :class:`ImageSettings`. Returns the facts that --json writes.

    Raises :class:`DoprestoreError`, whose message names the remedy, before any work wherever that can be told.

    >>> restore_file("scan.tif", "restored.tif", steps=300)["outlier_share"]      # doctest: +SKIP
    """
    beside = {"mask": mask, "clean": clean, "log": log, "outliers": outliers, "panel": panel, "report": report,
              "json": json, "checkpoint": checkpoint}  # fmt: skip
    files = Files(**{name: _path(name, path) for name, path in beside.items() if path is not None})
    choices = Choices(
        page=page,
        black_white=None if value_range is None else _black_white(value_range),
        quality=quality,
        subsampling=subsampling,
        force=force,
        checkpoint_every=checkpoint_every,
        resume=resume,
        quiet=True,
    )
    _check(choices, files)
    job = plan_one(_path("source", source), _path("destination", destination), files, choices)
    done = restore(job, image_settings(preset, **settings), choices, Interrupt())
    assert done is not None  # only one of many is left without a result
    return done.facts


def _path(name: str, value: object) -> Path:
    """The argument ``name`` as the path that it must be. Raises :class:`UsageError`."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise UsageError(f"{name}: must be the name of a file, str or Path, not {type(value).__name__}")
    if text == "-":
        raise UsageError(f"{name}: standard input and output are for the command line; name files")
    if not text or "\0" in text:
        raise UsageError(f"{name}: {text!r} is no name of a file; give another")
    return Path(text)


def _black_white(value_range: tuple[float | str, float | str]) -> tuple[str, str]:
    """``value_range`` as --range has it. Raises :class:`UsageError`."""
    try:
        low, high = map(str, value_range)
    except (TypeError, ValueError) as error:
        raise UsageError(f"value_range {value_range!r}: must be two values, for black and white") from error
    for value in (low, high):
        if not is_sample_value(value):
            raise UsageError(f"value_range: {value!r} {NO_SAMPLE_VALUE}")
    return low, high


def _check(choices: Choices, files: Files) -> None:
    """Raise :class:`UsageError` for what the options of the command line do not take either."""
    check_whole(choices, ("page", "quality"))
    if choices.quality is not None and choices.quality > MOST_QUALITY:
        raise UsageError(f"--quality {choices.quality}: must be at most {MOST_QUALITY}")
    if choices.subsampling is not None:
        check_choice("subsampling", choices.subsampling, SUBSAMPLINGS)
    every = choices.checkpoint_every
    if not isinstance(every, Real) or not every >= 0:
        raise UsageError(f"--checkpoint-every {every!r}: must be a number of seconds, like 60")
    if choices.resume and files.checkpoint is None:
        raise UsageError("--resume goes on from a checkpoint; name its file with checkpoint")
