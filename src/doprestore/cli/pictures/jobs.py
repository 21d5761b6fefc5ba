"""Which pictures become which files: `cp`'s rules. Imports no torch."""

from __future__ import annotations

import os
import string
from dataclasses import dataclass, fields, replace
from pathlib import Path

from doprestore.errors import DestinationError, DoprestoreError, InputError, UsageError
from doprestore.io.encode import EXTENSIONS
from doprestore.io.files import check_targets, make_folder, refuse_existing, same_file

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

    def is_begun(self) -> bool:
        """Whether a checkpoint says that what there is comes from a session that is not finished."""
        return self.files.checkpoint is not None and os.path.exists(self.files.checkpoint)

    def is_done(self) -> bool:
        """Whether the output is there, and not just what an interrupted session has left."""
        if self.backup is not None:  # made a moment before the output, of which it is then another name
            return os.path.exists(self.backup) and not same_file(self.backup, self.output)
        return os.path.exists(self.output) and not self.is_begun()


@dataclass(frozen=True)
class Plan:
    """The pictures to restore, and the files in the folders that are left alone because they are none."""

    jobs: list[Job]
    others: list[Path]


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
    _check(job, choices)
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
    found, others = _expand(sources, destination, recursive)
    planned = [
        _job(source, own, destination, files, choices, page)
        for source, name in found
        for own, page in _pages(source, name, choices.page)
    ]
    if choices.name is not None:  # what an earlier session has written beside its pictures is not a picture to restore
        written = {os.path.realpath(job.output) for job in planned if not same_file(job.source, job.output)}
        others += [job.source for job in planned if os.path.realpath(job.source) in written]
        planned = [job for job in planned if os.path.realpath(job.source) not in written]
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    for job in planned:
        source, problem = job.source, None
        try:
            if os.path.isdir(source):
                raise InputError(f"{source}: is a folder; add --recursive for the pictures in it")
            if job.output in taken:
                raise DestinationError(f"{source}: {job.output} is already the output of {taken[job.output]}; rename one")
            taken[job.output] = source
            _check(job, choices)
        except DoprestoreError as error:
            problem = error
        jobs.append(replace(job, error=problem))
    k, n = shard
    return Plan(jobs[k - 1 :: n], others)


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


def _expand(sources: list[str], destination: Path | None, recursive: bool) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """(source, name below the destination) of every picture, and what else lies in the folders; a folder that is not
    entered stands for itself."""
    found: list[tuple[Path, Path]] = []
    others: list[Path] = []
    for source in map(Path, sources):
        if not (recursive and os.path.isdir(source)):
            found.append((source, Path(source.name)))
            continue
        for folder, inner, names in os.walk(source):
            # What an earlier session has written below the source is not a source; hidden folders are caches.
            inner[:] = sorted(name for name in inner if name[0] != "." and not _is_at(Path(folder, name), destination))
            for name in sorted(names):
                path = Path(folder, name)
                if name[0] == ".":
                    continue
                if path.suffix.lower() in EXTENSIONS:
                    found.append((path, path.relative_to(source)))
                else:
                    others.append(path)
    return found, others


def _is_at(folder: Path, destination: Path | None) -> bool:
    return destination is not None and same_file(folder, destination)


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


def _check(job: Job, choices: Choices) -> None:
    """Refuse what is not there and what would overwrite a file, before any work."""
    targets = job.files.given()
    inputs = {"INPUT": job.source} | {flag: targets.pop(flag) for flag in ("--clean", "--mask") if flag in targets}
    for path in inputs.values():
        if str(path) != "-" and not os.path.exists(path):
            raise InputError(f"{path}: no such file; check the name")
    # In place it is the backup that is new, and the only original once it is made: not even --force replaces it.
    place = job.output if job.backup is None else job.backup
    new = {} if job.backup is not None and os.path.exists(place) else {"OUTPUT": place}
    check_targets(new | targets, inputs, force=True)
    if choices.skip_existing and job.is_done():
        return
    if job.backup is not None and job.is_done():
        raise DestinationError(
            f"{job.backup}: exists already and may be the only original; move it away, or choose another suffix"
        )
    if choices.force or job.is_begun():
        return
    targets.pop("--checkpoint", None)  # which has --resume
    if choices.resume:
        targets.pop("--log", None)  # of a session that was killed before its first checkpoint
    refuse_existing(targets if job.backup is not None else new | targets)
