"""Which files on the command line, and in the folders there, are pictures to restore. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from doprestore.errors import InputError
from doprestore.io.encode import EXTENSIONS
from doprestore.io.files import same_file


class Found(NamedTuple):
    """A picture and its name below the folder that was given; or a folder that is not entered, with the reason."""

    source: Path
    name: Path
    error: InputError | None = None


def find_pictures(sources: list[str], results: Collection[Path], recursive: bool) -> tuple[list[Found], dict[Path, str]]:
    """Every picture, and what else lies in the folders with the reason why it is left alone.

    The folders ``results`` are not entered: what an earlier session has written below a source is not a source. Nor are
    hidden folders, which are caches, and links to folders, which may lead anywhere.
    """
    found: list[Found] = []
    others: dict[Path, str] = {}

    def refuse(error: OSError) -> None:
        folder = Path(error.filename)
        problem = InputError(f"{folder}: cannot be read ({error.strerror}); make it readable, or leave it out")
        found.append(Found(folder, folder, problem))

    for source in map(Path, sources):
        if not os.path.isdir(source):
            found.append(Found(source, Path(source.name)))
            continue
        if not recursive:
            problem = InputError(f"{source}: is a folder; add --recursive for the pictures in it")
            found.append(Found(source, source, problem))
            continue
        for folder, inner, names in os.walk(source, onerror=refuse):
            entered = []
            for name in sorted(inner):
                path = Path(folder, name)
                if any(same_file(path, place) for place in results):
                    continue
                if name[0] == "." or path.is_symlink():
                    others[path] = "hidden" if name[0] == "." else "a link to a folder"
                else:
                    entered.append(name)
            inner[:] = entered
            for name in sorted(names):
                path = Path(folder, name)
                is_picture = path.suffix.lower() in EXTENSIONS
                if name[0] == ".":
                    if is_picture:
                        others[path] = "hidden"
                elif not is_picture:
                    others[path] = "no picture"
                elif os.path.exists(path) and not os.path.isfile(path):  # reading a pipe would wait for ever
                    others[path] = "no regular file"
                else:
                    found.append(Found(path, path.relative_to(source)))
    return found, others
