"""Outputs appear whole or not at all: a temporary file beside the target, then a rename.

The one rule about files that exist, for every command: an input is never replaced, and an output only when told to.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from doprestore.errors import DestinationError, OutputError


def check_output(path: Path) -> None:
    """Raise :class:`OutputError` unless a file can be created at ``path``; leaves no trace.

    It is a :class:`DestinationError` where the name itself can never do: no such folder, or a folder.

    Called before the work starts, so that an hour's work does not end in "permission denied".
    """
    folder = _target(path).parent
    if not os.path.exists(folder):
        raise DestinationError(f"{path}: the folder {folder} does not exist; create it first")
    if not os.path.isdir(folder):
        raise DestinationError(f"{path}: {folder} is not a folder")
    if os.path.isdir(path):
        raise DestinationError(f"{path}: is a folder; name a file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise DestinationError(f"{path}: is not a regular file; name another output")
    try:
        with suppress(FileNotFoundError):
            os.stat(path)  # the name may be too long
        # os.access says yes to root on a read-only mount: really try.
        handle, name = tempfile.mkstemp(dir=folder, prefix=_prefix(path))
    except OSError as error:
        raise OutputError(f"{path}: cannot write there ({error.strerror}); choose another place") from error
    os.close(handle)
    os.unlink(name)


def make_folder(folder: Path) -> None:
    """Make it, and those that it lies in, unless it is there. Raises :class:`OutputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder ({error.strerror}); choose another place") from error


def check_targets(targets: Mapping[str, Path], inputs: Mapping[str, Path], *, force: bool) -> None:
    """Refuse, before any work, what would overwrite an input or one output with another, and what exists.

    Both map the name of an option (or "INPUT", "OUTPUT") to its path; "-" is a stream and in nobody's way. ``force``
    allows to replace outputs that exist, never an input. Raises :class:`DestinationError`.
    """
    taken = dict(inputs)
    for flag, path in targets.items():
        label = path if flag == "OUTPUT" else f"{flag} {path}"
        for other, used in taken.items():
            if same_file(path, used):
                told = "the input" if (flag, other) == ("OUTPUT", "INPUT") else other
                raise DestinationError(f"{label}: is also {told}; give another name")
        taken[flag] = path
    if not force:
        refuse_existing(targets)


def refuse_existing(targets: Mapping[str, Path]) -> None:
    """Raise :class:`DestinationError` for the first of ``targets``, by option, that is a file already."""
    for flag, path in targets.items():
        if str(path) != "-" and os.path.isfile(path):
            label = path if flag == "OUTPUT" else f"{flag} {path}"
            raise DestinationError(f"{label}: exists already; name another, or --force to replace it")


def same_file(one: Path, other: Path) -> bool:
    """Whether both names are of one file, there or not; "-" is never the same as anything."""
    if "-" in (str(one), str(other)):
        return False
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def same_content(one: Path, other: Path) -> bool:
    """Whether both files, which exist, hold the same bytes; False where that cannot be read."""
    try:
        return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def changed(path: Path) -> int | None:
    """When the file was last changed, in nanoseconds; None where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def set_changed(path: Path, time: int | None) -> None:
    """Make ``time`` what :func:`changed` returns, where the file system allows it; None is no time."""
    if time is not None:
        with suppress(OSError):
            os.utime(path, ns=(time, time))


def back_up(path: Path, backup: Path) -> None:
    """Give the file at ``path`` the second name ``backup``, or copy it there where the file system has no links.

    What exists at ``backup`` is never replaced. Raises :class:`OutputError`.
    """
    target = _target(path)
    if os.path.exists(backup) and same_content(target, backup):
        return  # an earlier session was stopped right after making it
    try:
        os.link(target, backup)
    except FileExistsError as error:
        raise DestinationError(f"{backup}: exists already; choose another suffix") from error
    except OSError:
        with replacing(backup, new=True) as temporary:
            shutil.copy2(target, temporary)


@contextmanager
def replacing(path: Path, *, new: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; on success it replaces ``path``, else it goes.

    A symlink stays a symlink: the file that it points to is the one replaced. The permissions of
    an existing file are kept. ``new``: nothing is replaced, also not what has come to be there meanwhile.

    Raises :class:`OutputError` with the reason when writing fails, :class:`DestinationError` for what is there.
    """
    target = _target(path)
    temporary = None
    try:
        # Keep the ending: image libraries choose the format by it.
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_prefix(path), suffix=target.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, _permissions(target))
        if new:
            _link(temporary, target)
        else:
            os.replace(temporary, target)
            temporary = None
    except FileExistsError as error:
        raise DestinationError(f"{path}: has come to exist meanwhile; name another, or --force to replace it") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all; raises :class:`OutputError`."""
    write_file(path, as_bytes(text))


def as_bytes(text: str) -> bytes:
    """``text`` as UTF-8; names of files that are none are escaped."""
    return text.encode("utf-8", errors="backslashreplace")


def write_file(path: Path, content: bytes) -> None:
    """Write ``content``, whole or not at all; raises :class:`OutputError`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_together(contents: Mapping[Path, bytes], new: Collection[Path] = (), *, backup: Path | None = None) -> None:
    """Write several files, or none where one cannot be written; the last of them gets its name last, when all others are
    there. ``new`` are those that must not replace anything, as in :func:`replacing`; ``backup`` is where the old file of
    the last one goes, see :func:`back_up`.

    Raises :class:`OutputError`.
    """
    paths = list(contents)
    with ExitStack() as stack:
        for path in reversed(paths):  # what is entered first ends last
            temporary = stack.enter_context(replacing(path, new=path in new))
            with open(temporary, "wb") as file:
                file.write(contents[path])
                file.flush()
                os.fsync(file.fileno())  # a full disk may show here only, and then no file has its name yet
        if backup is not None:
            back_up(paths[-1], backup)


def _link(temporary: Path, target: Path) -> None:
    """Give ``temporary`` the name ``target`` as well, or instead where the file system has no links. Raises
    FileExistsError for what is there."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError as error:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(temporary, target)


def _target(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _prefix(path: Path) -> str:
    return f".{path.name[:40]}."


def _permissions(target: Path) -> int:
    if os.path.exists(target):
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
