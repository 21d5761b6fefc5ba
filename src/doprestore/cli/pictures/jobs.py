"""Which pictures become which files: `cp`'s rules. Imports no torch."""

from __future__ import annotations

import os
import string
from dataclasses import dataclass, fields, replace
from pathlib import Path

from doprestore.cli.pictures.safety import check, check_all
from doprestore.cli.pictures.walk import find_pictures
from doprestore.errors import DestinationError, DoprestoreError, UsageError
from doprestore.io.encode import EXTENSIONS
from doprestore.io.files import changed, make_folder, same_content, same_file

# Files that are read beside the input.
READ = ("--clean", "--mask")
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

    page: int | str | None = None  # or "all"
    black_white: tuple[str, str] | None = None  # --range
    quality: int | None = None
    subsampling: str | None = None
    force: bool = False  # outputs that exist may be replaced
    skip_existing: bool = False
    in_place: str | None = None  # the suffix of the backups
    name: str | None = None  # the pattern of the outputs' names
    checkpoint_every: float = 60.0  # seconds
    resume: bool = False
    jobs: int = 1  # pictures at once
    threads: int | None = None  # of the processor, for all pictures at once; None chooses
    command: str = ""  # the command line itself, for the reports
    quiet: bool = False
    verbose: bool = False
    strict: bool = False  # an answer in doubt is no success


@dataclass(frozen=True)
class Job:
    """One picture to restore. ``backup`` is where the original goes when it is restored in place. ``page``: which of
    several in the file. ``error`` is what already forbids it."""

    source: Path
    output: Path
    files: Files
    backup: Path | None = None
    page: int | None = None
    error: DoprestoreError | None = None

    def inputs(self) -> dict[str, Path]:
        """Flag -> path of what is read."""
        return {"INPUT": self.source} | {flag: path for flag, path in self.files.given().items() if flag in READ}

    def targets(self) -> dict[str, Path]:
        """Flag -> path of what is written; in place the backup stands for the output, for it is what is new."""
        place = self.output if self.backup is None else self.backup
        return {"OUTPUT": place} | {flag: path for flag, path in self.files.given().items() if flag not in READ}

    def is_begun(self) -> bool:
        """Whether a checkpoint says that what there is comes from a session that is not finished."""
        return self.files.checkpoint is not None and os.path.exists(self.files.checkpoint)

    def is_done(self) -> bool:
        """Whether the output is there, and not just what an interrupted session has left."""
        if self.backup is None:
            return os.path.exists(self.output) and not self.is_begun()
        if os.path.exists(self.backup):  # made a moment before the output, and the same until then
            return not same_content(self.backup, self.output)
        # An undamaged picture has no backup. The files beside it have its own time then, and until it is changed.
        beside = self.beside()
        return bool(beside) and {changed(path) for path in beside} == {changed(self.output)}

    def beside(self) -> list[Path]:
        """The files that stay beside the output."""
        return [path for flag, path in self.targets().items() if flag not in ("OUTPUT", "--checkpoint")]


@dataclass(frozen=True)
class Plan:
    """The pictures to restore, and what else lies in the folders with the reason why it is left alone."""

    jobs: list[Job]
    others: dict[Path, str]


def plan_one(source: Path, output: Path, files: Files, choices: Choices) -> Job:
    """``image in.png out.png``. Raises what forbids it."""
    if choices.name is not None:
        raise UsageError("--name is for the names in a folder; name a folder as OUTPUT, a new one with / at its end")
    if isinstance(choices.page, str):
        raise UsageError("--page all makes a file of each page; name a folder as OUTPUT, a new one with / at its end")
    job = Job(source, output, files, page=choices.page)
    if not (choices.force or choices.skip_existing or job.is_begun()) and os.path.isfile(output):
        if not same_file(source, output):
            raise DestinationError(
                f"{output}: exists already; for several pictures the last name is a folder, and --force replaces a file"
            )
        raise DestinationError(f"{output}: is also the input; give another name, or --in-place SUFFIX to replace it")
    check(job, choices)
    return job


def plan_in_place(sources: list[str], files: Files, choices: Choices, *, recursive: bool, shard: tuple[int, int]) -> Plan:
    """``image --in-place .orig a.png b.png``: as :func:`plan_many`, each to its own place."""
    suffix = choices.in_place
    if not suffix or os.sep in suffix:
        raise UsageError(f"--in-place {suffix!r}: is no suffix for the backups; give one like .orig")
    if Path("x" + suffix).suffix.lower() in EXTENSIONS:
        raise UsageError(f"--in-place {suffix}: the next session would take the backups for pictures; use one like .orig")
    if choices.name is not None or choices.page is not None:
        flag = "--page" if choices.name is None else "--name"
        raise UsageError(f"{flag} and --in-place exclude each other; leave one out")
    return _plan(sources, None, files, choices, recursive, shard)


def is_many(sources: list[str], destination: str) -> bool:
    """Whether ``destination`` is to be a folder, as cp would take it."""
    folder = destination.endswith(os.sep) or os.path.isdir(destination)
    return len(sources) > 1 or folder or any(os.path.isdir(source) for source in sources)


def plan_many(
    sources: list[str], destination: Path, files: Files, choices: Choices, *, recursive: bool, shard: tuple[int, int]
) -> Plan:
    """``image a.png b.png folder/``: names are kept unless ``choices.name`` makes others, and below a folder the
    sub-folders too.

    The jobs come in the order of the command line, folders in the order of their names; ``shard`` (k, n) keeps the
    k-th, n+k-th, ... of them, the same for the same list whatever has been done. What forbids a
    picture is noted in its job and does not disturb the others.

    Raises :class:`DestinationError` when ``destination`` is a file, :class:`UsageError` for "-" and a wrong pattern.
    """
    if str(destination) == "-":
        raise UsageError('"-" is for one picture; name files and a folder')
    if os.path.exists(destination) and not os.path.isdir(destination):
        raise DestinationError(f"{destination}: is not a folder; with several pictures the last name must be a folder")
    if choices.name is not None:
        _check_pattern(choices.name)
    return _plan(sources, destination, files, choices, recursive, shard)


def _plan(
    sources: list[str], destination: Path | None, files: Files, choices: Choices, recursive: bool, shard: tuple[int, int]
) -> Plan:
    if "-" in sources:
        raise UsageError('"-" is for one picture; name files and a folder')
    for name in SUFFIXES:
        if (path := getattr(files, name)) is not None and os.path.isfile(path):
            raise DestinationError(f"--{name} {path}: is a file; with several pictures name a folder")
    results = [path for name in SUFFIXES if (path := getattr(files, name)) is not None]
    found, others = find_pictures(sources, results if destination is None else [*results, destination], recursive)
    planned = []
    for path, own_name, error in found:
        if error is None:
            pages = _pages(path, own_name, choices.page)
            planned += [_job(path, own, destination, files, choices, page) for own, page in pages]
        else:
            planned.append(Job(path, path, Files(), error=error))
    if choices.name is not None:  # what an earlier session has written beside its pictures is not a picture to restore
        written = {os.path.realpath(job.output) for job in planned if not same_file(job.source, job.output)}
        if choices.force and not choices.skip_existing:  # then it would be replaced, and whoever names it wants it kept
            written -= {os.path.realpath(source) for source in sources}
        others |= {job.source: "named as a result" for job in planned if os.path.realpath(job.source) in written}
        planned = [job for job in planned if os.path.realpath(job.source) not in written]
    k, n = shard
    return Plan(check_all(planned, choices)[k - 1 :: n], others)


def _pages(source: Path, name: Path, page: int | str | None) -> list[tuple[Path, int | None]]:
    """The name of each picture to make of the file ``source``, which is called ``name`` itself, and its page."""
    if not isinstance(page, str):
        return [(name, page)]
    from doprestore.io.images import count_pages

    count = count_pages(source)
    if count <= 1:  # none in a damaged file, which is refused when it is read
        return [(name, None)]
    return [(name.with_stem(f"{name.stem}_page{number}"), number) for number in range(1, count + 1)]


def _job(source: Path, name: Path, destination: Path | None, files: Files, choices: Choices, page: int | None = None) -> Job:
    """The picture ``source``, called ``name`` below the folder that was given."""
    own = _files_for(files, name)
    if destination is None:
        assert choices.in_place is not None  # nothing else has no destination
        return Job(source, source, own, backup=source.with_name(source.name + choices.in_place), page=page)
    if choices.name is not None:
        name = name.with_name(choices.name.format(stem=name.stem, suffix=name.suffix, name=name.name))
    return Job(source, destination / name, own, page=page)


def _check_pattern(pattern: str) -> None:
    """Raise :class:`UsageError` unless ``pattern`` makes a name of its own for every picture."""
    try:
        fields_named = {field for _, field, form, turn in string.Formatter().parse(pattern) if field is not None}
        plain = all(not form and not turn for _, _, form, turn in string.Formatter().parse(pattern))
    except ValueError:
        fields_named, plain = set(), False
    if not plain or not fields_named <= {"stem", "suffix", "name"}:
        raise UsageError(f"--name {pattern}: knows {{stem}}, {{suffix}} and {{name}}, as in {{stem}}_restored{{suffix}}")
    if not fields_named & {"stem", "name"} or os.sep in pattern:
        raise UsageError(f"--name {pattern}: must make a name of its own for each picture, as {{stem}}_restored{{suffix}}")


def make_folders(job: Job) -> None:
    """Create the folders that the outputs of one of many jobs go to."""
    outputs = [job.output] + [path for name in SUFFIXES if (path := getattr(job.files, name)) is not None]
    for folder in {path.parent for path in outputs}:
        make_folder(folder)


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
