"""A session on disk, to go on with after an interruption: versioned, written whole or not at all, read without pickle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from doprestore._version import __version__
from doprestore.errors import InputError, OutputError

# The number of the format, raised whenever the meaning of the contents changes.
FORMAT = 9
State = dict[str, Any]  # nested dicts and lists of tensors and plain values


def fingerprint(*arrays: np.ndarray | None) -> str:
    """SHA-256 of the shapes, types and values of ``arrays``; None counts too."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none;")
        else:
            digest.update(f"{array.dtype.str}{array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save_checkpoint(path: Path, state: State, *, kind: str, data: str, settings: Mapping[str, object]) -> None:
    """Write ``state`` (nested dicts and lists of tensors and plain values) with what it belongs to.

    kind: the command. data: the :func:`fingerprint` of its input. settings: all that decides the result.
    Raises :class:`OutputError`; the old checkpoint, if any, is then untouched.
    """
    contents = {"format": FORMAT, "version": __version__, "kind": kind, "data": data, "settings": dict(settings)}
    # Always the same temporary name, unlike other outputs: a kill -9 while writing leaves one file, not one each time.
    unfinished = part(path)
    try:
        with open(unfinished, "wb") as file:
            torch.save(contents | {"state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        with suppress(OSError):
            unfinished.unlink()
        reason = getattr(error, "strerror", None) or "the disk may be full"
        raise OutputError(f"--checkpoint {path}: cannot be written ({reason}); choose another place") from error


def load_checkpoint(path: Path, *, kind: str, data: str, settings: Mapping[str, object]) -> State:
    """Return the state saved at ``path``, or raise :class:`InputError` with the reason why it is not for this session."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"PK\3\4":  # torch's old format, never ours, reads as many bytes as a file may claim
                raise ValueError("not a zip file")
        contents = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: contents[name] for name in ("format", "version", "kind", "data", "settings", "state")}
        theirs = dict(found["settings"])
    except OSError as error:
        raise InputError(f"--checkpoint {path}: cannot be read ({error.strerror})") from error
    except MemoryError:
        raise
    except Exception as error:  # torch raises anything at all on damaged files
        raise InputError(f"--checkpoint {path}: is damaged or not a checkpoint; delete it to start again") from error
    if found["format"] != FORMAT or found["version"] != __version__:
        raise InputError(f"--checkpoint {path}: is of doprestore {found['version']}, this is {__version__}; "
                         "finish the session with that one, or delete the file to start again")  # fmt: skip
    if found["kind"] != kind:
        raise InputError(f"--checkpoint {path}: belongs to doprestore {found['kind']}; name another file")
    if found["data"] != data:
        raise InputError(f"--checkpoint {path}: belongs to another input; name another file, or delete it")
    changed = [name for name in theirs.keys() | settings.keys() if theirs.get(name) != settings.get(name)]
    if changed:
        told = ", ".join(f"{name} {theirs.get(name)} (now {settings.get(name)})" for name in sorted(changed))
        raise InputError(f"--checkpoint {path}: was made with {told}; give the same settings, or delete it")
    state: State = found["state"]
    return state


def remove_checkpoint(path: Path) -> None:
    """Delete the checkpoint of a finished session and what a kill may have left of its writing."""
    path.unlink(missing_ok=True)
    part(path).unlink(missing_ok=True)


def part(path: Path) -> Path:
    """The name of a checkpoint while it is written."""
    return path.with_name(path.name + ".part")
