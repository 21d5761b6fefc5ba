"""Checkpoints of a matrix run: one dict of tensors and numbers, written whole and loaded without unpickling objects."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from doprestore.errors import InputError
from doprestore.io.files import replacing

FORMAT = "doprestore matrix checkpoint 1"


def fingerprint(values: np.ndarray, settings: object) -> dict:
    """What a checkpoint belongs to: the data's hash and the settings (a dataclass)."""
    digest = hashlib.sha256(f"{values.shape} {values.dtype.str}".encode())
    for row in values:
        digest.update(np.ascontiguousarray(row))
    return {"data": digest.hexdigest(), "settings": asdict(settings)}


def write_state(path: Path, mark: dict, state: dict) -> None:
    """Write a checkpoint, whole or not at all."""
    with replacing(path) as temporary:
        torch.save({"format": FORMAT, "mark": mark, "state": state}, temporary)


def read_state(path: Path, mark: dict) -> dict:
    """The state in a checkpoint. Raises :class:`InputError` when it is none, or belongs to another run."""
    if not path.is_file():
        raise InputError(f"--resume {path}: no such file; check the name")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        known = content["format"] == FORMAT
        belongs, state = content["mark"], content["state"]
    except Exception as error:  # noqa: BLE001  torch raises almost anything on a damaged file
        raise InputError(f"--resume {path}: is damaged or no checkpoint of doprestore rpca") from error
    if not known:
        raise InputError(f"--resume {path}: was written by another version; start again without --resume")
    if belongs["data"] != mark["data"]:
        raise InputError(f"--resume {path}: belongs to other data; give the same file as before")
    for name, value in mark["settings"].items():
        if name not in ("steps", "device") and belongs["settings"].get(name) != value:
            was = belongs["settings"].get(name)
            raise InputError(f"--resume {path}: was made with {name} = {was}, now {value}; give the same settings")
    return state
