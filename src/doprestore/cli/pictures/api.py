"""One file through the recovery, from Python: what ``doprestore image`` does, with all of its safety. Imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.jobs import Choices, Files, plan_one
from doprestore.cli.pictures.one import restore_file as restore
from doprestore.errors import UsageError
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
    if "-" in (os.fspath(source), os.fspath(destination)):
        raise UsageError("standard input and output are for the command line; name files")
    beside = {"mask": mask, "clean": clean, "log": log, "outliers": outliers, "panel": panel, "report": report,
              "json": json, "checkpoint": checkpoint}  # fmt: skip
    files = Files(**{name: Path(path) for name, path in beside.items() if path is not None})
    choices = Choices(
        page=page,
        black_white=None if value_range is None else (str(value_range[0]), str(value_range[1])),
        quality=quality,
        subsampling=subsampling,
        force=force,
        checkpoint_every=checkpoint_every,
        resume=resume,
        quiet=True,
    )
    job = plan_one(Path(source), Path(destination), files, choices)
    done = restore(job, image_settings(preset, **settings), choices, Interrupt())
    assert done is not None  # only one of many is left without a result
    return done.facts
