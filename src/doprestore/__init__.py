"""doprestore: recover pictures and matrices from sparse, gross errors.

Public names are imported on first use, so that ``import doprestore`` (and ``doprestore --help``)
does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from doprestore._version import __version__

if TYPE_CHECKING:
    from doprestore.cli.pictures.api import restore_file
    from doprestore.cli.tables import repair
    from doprestore.drive import Progress
    from doprestore.errors import DoprestoreError
    from doprestore.image.api import Restoration, restore_image
    from doprestore.image.settings import ImageSettings, image_settings
    from doprestore.matrix.api import RpcaResult, rpca
    from doprestore.matrix.estimator import RobustPCA
    from doprestore.matrix.sensing import SenseResult, sense
    from doprestore.matrix.video import Background, background
    from doprestore.metrics import psnr

_PUBLIC = {
    "rpca": "matrix.api",
    "RpcaResult": "matrix.api",
    "RobustPCA": "matrix.estimator",
    "background": "matrix.video",
    "Background": "matrix.video",
    "sense": "matrix.sensing",
    "SenseResult": "matrix.sensing",
    "DoprestoreError": "errors",
    "ImageSettings": "image.settings",
    "Progress": "drive",
    "Restoration": "image.api",
    "image_settings": "image.settings",
    "repair": "cli.tables",
    "restore_file": "cli.pictures.api",
    "restore_image": "image.api",
    "psnr": "metrics",
}

__all__ = [
    "Background",
    "DoprestoreError",
    "ImageSettings",
    "Progress",
    "Restoration",
    "RobustPCA",
    "RpcaResult",
    "SenseResult",
    "__version__",
    "background",
    "image_settings",
    "psnr",
    "repair",
    "restore_file",
    "restore_image",
    "rpca",
    "sense",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"doprestore.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'doprestore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
