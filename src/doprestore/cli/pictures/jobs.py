"""Which pictures become which files: `cp`'s rules. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

from doprestore.errors import DoprestoreError, InputError, OutputError, UsageError
from doprestore.io.encode import EXTENSIONS

# Files beside the output, and what they are called when there are many pictures.
SUFFIXES = {"log": ".csv", "outliers": ".png", "panel": ".png", "checkpoint": ".ckpt",
            "json": ".json", "report": ".html"}  # fmt: skip


@dataclass(frozen=True)
class Files:
    """The files beside input and output that one command line names; for many pictures, their folders."""

    clean: Path | None = None
    mask: Path | None = None
    log: Path | None = None
    outliers: Path | None = None
    panel: Path | None = None
    checkpoint: Path | None = None
    json: Path | None = None
    report: Path | None = None

    def given(self) -> dict[str, Path]:
        """Flag -> path of those that were given."""
        named = {f"--{field.name}": getattr(self, field.name) for field in fields(self)}
        return {flag: path for flag, path in named.items() if path is not None}


@dataclass(frozen=True)
class Choices:
    """What the command line says about reading and writing, the same for every picture."""

    page: int | None = None
    levels: tuple[str, str] | None = None  # --range
    quality: int | None = None
    subsampling: str | None = None
    skip_existing: bool = False
    checkpoint_every: float = 60.0  # seconds
    resume: bool = False
    tile: str | int = "auto"  # or "none", or the side
    jobs: int = 1  # pictures at once


@dataclass(frozen=True)
class Job:
    """One picture to restore. ``error`` is what already forbids it."""

    source: Path
    output: Path
    files: Files
    error: DoprestoreError | None = None

    def is_done(self) -> bool:
        """Whether the output is there, and not just what an interrupted run with a checkpoint has left."""
        unfinished = self.files.checkpoint is not None and os.path.exists(self.files.checkpoint)
        return os.path.exists(self.output) and not unfinished


def plan_one(source: Path, output: Path, files: Files, force: bool) -> Job:
    """``image in.png out.png``. Raises what forbids it."""
    _check(source, output, files, force)
    return Job(source, output, files)


def is_many(sources: list[str], destination: str) -> bool:
    """Whether ``destination`` is to be a folder, as cp would take it."""
    folder = destination.endswith(os.sep) or os.path.isdir(destination)
    return len(sources) > 1 or folder or any(os.path.isdir(source) for source in sources)


def plan_many(
    sources: list[str], destination: Path, files: Files, *, recursive: bool, force: bool, shard: tuple[int, int]
) -> list[Job]:
    """``image a.png b.png folder/``: names are kept, and below a folder the sub-folders too.

    The jobs come in the order of the command line, folders in the order of their names; ``shard`` (k, n) keeps the
    k-th, n+k-th, ... of them, the same for the same list whatever has been done. What forbids a
    picture is noted in its job and does not disturb the others.

    Raises :class:`OutputError` when ``destination`` is a file, :class:`UsageError` for "-".
    """
    if "-" in sources or str(destination) == "-":
        raise UsageError('"-" is for one picture; name files and a folder')
    if os.path.exists(destination) and not os.path.isdir(destination):
        raise OutputError(f"{destination}: is not a folder; with several pictures the last name must be a folder")
    for name in SUFFIXES:
        if (path := getattr(files, name)) is not None and os.path.isfile(path):
            raise OutputError(f"--{name} {path}: is a file; with several pictures name a folder")
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    for source, name in _expand(sources, destination, recursive):
        job = Job(source, destination / name, _files_for(files, name))
        try:
            if os.path.isdir(source):
                raise InputError(f"{source}: is a folder; add --recursive for the pictures in it")
            if job.output in taken:
                raise OutputError(f"{source}: {job.output} is already the output of {taken[job.output]}; rename one")
            taken[job.output] = source
            _check(source, job.output, job.files, force)
        except DoprestoreError as error:
            job = replace(job, error=error)
        jobs.append(job)
    k, n = shard
    return jobs[k - 1 :: n]


def make_folders(job: Job) -> None:
    """Create the folders that the outputs of one of many jobs go to."""
    outputs = [job.output] + [path for name in SUFFIXES if (path := getattr(job.files, name)) is not None]
    for folder in {path.parent for path in outputs}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be created ({error.strerror}); choose another place") from error


def _expand(sources: list[str], destination: Path, recursive: bool) -> list[tuple[Path, Path]]:
    """(source, name below the destination) of every picture; a folder that is not entered stands for itself."""
    found: list[tuple[Path, Path]] = []
    for source in map(Path, sources):
        if not (recursive and os.path.isdir(source)):
            found.append((source, Path(source.name)))
            continue
        for folder, inner, names in os.walk(source):
            # What an earlier run has written below the source is not a source; hidden folders are caches.
            inner[:] = sorted(name for name in inner if name[0] != "." and not _same(Path(folder, name), destination))
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix.lower() in EXTENSIONS and name[0] != ".":
                    found.append((path, path.relative_to(source)))
    return found


def _files_for(files: Files, name: Path) -> Files:
    """The files of the picture ``name`` in the folders that ``files`` names; --clean and --mask may be one for all."""
    own = {}
    for field in fields(files):
        path = getattr(files, field.name)
        if path is not None and field.name in SUFFIXES:
            suffix = SUFFIXES[field.name]
            own[field.name] = path / (name if name.suffix == suffix else name.with_name(name.name + suffix))
        elif path is not None and os.path.isdir(path):
            own[field.name] = path / name
    return replace(files, **own)


def _check(source: Path, output: Path, files: Files, force: bool) -> None:
    """Refuse what would overwrite an input or one output with another, before any work."""
    if not force and _same(source, output):
        raise OutputError(f"{output}: is also the input; give another name, or --force to replace it")
    for path in (source, files.clean, files.mask):
        if path is not None and str(path) != "-" and not os.path.exists(path):
            raise InputError(f"{path}: no such file; check the name")
    taken = {"INPUT": source, "OUTPUT": output}
    for flag, path in files.given().items():
        for other, used in taken.items():
            if _same(path, used) and not (flag == "--clean" and other == "INPUT"):
                raise OutputError(f"{flag} {path}: is also {other}; give another name")
        taken[flag] = path


def _same(one: Path, other: Path) -> bool:
    if "-" in (str(one), str(other)):
        return False
    return one == other or (os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other))
