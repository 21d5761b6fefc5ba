"""A finished restoration in facts, for --json and --report. Imports torch."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import torch
from torch import Tensor

from doprestore._version import __version__
from doprestore.cli.pictures.jobs import Job
from doprestore.image.recovery import ImageResult
from doprestore.image.settings import REFERENCE_SIDE, ImageSettings
from doprestore.io.images import Picture
from doprestore.machine import device_name, threads, uses_bfloat16
from doprestore.metrics import psnr
from doprestore.report.content import RunReport, curves, histogram, outlier_map
from doprestore.report.html import report_html


def describe(
    job: Job, picture: Picture, result: ImageResult, pieces: int, clean: Tensor | None, mask: Tensor | None
) -> dict[str, Any]:
    """Everything that is known about a restoration, as JSON takes it."""
    channels, height, width = picture.samples.shape
    device = torch.device(result.device)
    damaged = torch.from_numpy(picture.pixels)
    values: dict[str, float | None] = {"psnr_before": None, "psnr_after": None}
    if clean is not None:
        values = {"psnr_before": psnr(damaged, clean), "psnr_after": psnr(result.restored, clean)}
    return {
        "input": str(job.source),
        "output": str(job.output),
        "width": width,
        "height": height,
        "channels": channels,
        "depth": picture.depth,
        "converted": picture.metadata.converted,
        "black": picture.value_range[0],
        "white": picture.value_range[1],
        "transparency": picture.alpha is not None,
        "settings": asdict(result.settings),
        "alpha_at_this_size": alpha_at_this_size(result.settings, height, width),
        "other_files": {flag: str(path) for flag, path in job.files.given().items()},
        "steps": result.steps,
        "pieces": pieces,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 3),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "loss": result.loss,
        "outlier_share": result.outlier_share,
        "damage": [asdict(damage) for damage in result.damage],
        "masked_share": None if mask is None else mask.float().mean().item(),
        **{name: None if value is None else _number(value) for name, value in values.items()},
        "device": result.device,
        "device_name": device_name(device),
        "convolutions": "bfloat16" if uses_bfloat16(result.settings.convolutions, device) else "float32",
        "threads": threads(),
        "versions": {
            "doprestore": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
    }


def alpha_at_this_size(settings: ImageSettings, height: int, width: int) -> float | None:
    """α of the paper's preset, which is given for 512x512; that of the fast preset holds for any size."""
    return settings.alpha * math.sqrt(height * width) / REFERENCE_SIDE if settings.is_paper else None


def as_json(facts: dict[str, Any]) -> str:
    """The sidecar of a picture."""
    return json.dumps(facts, indent=2) + "\n"


def as_page(
    facts: dict[str, Any],
    rows: Sequence[Mapping[str, float | None]],
    picture: Picture,
    result: ImageResult,
    clean: Tensor | None,
) -> str:
    """The report: before, after, what was found, how it went: one page of HTML."""
    pictures = {
        "before": torch.from_numpy(picture.pixels),
        "after": result.restored,
        "outliers found (grey: none)": outlier_map(result.outliers),
        "values found damaged": result.found.float(),
    }
    if clean is not None:
        pictures["clean"] = clean
    report = RunReport(
        title=f"doprestore: {facts['input']}",
        pictures=pictures,
        facts={_TOLD.get(name, name): fact for name, fact in _flat(facts).items()},
        curves=curves(rows) if result.settings.is_paper else curves(rows, "errors of the search, then the loss of the fit"),
        histogram=histogram(result.outliers, result.found),
    )
    return report_html(report)


# What would be two widths in a report: of the picture and of the network.
_TOLD = {
    "width": "width of the picture, pixels",
    "height": "height of the picture, pixels",
    "settings.width": "settings.width, channels of the network",
    "alpha_at_this_size": "alpha at this size",
}


def _flat(facts: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested facts in one list, without those that are unknown."""
    flat: dict[str, object] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            for number, one in enumerate(value, 1):
                flat |= _flat({f"{prefix}{name}, {number}": one})
        elif value is not None:
            flat[prefix + name] = f"{value:.6g}" if isinstance(value, float) else value
    return flat


def _number(value: float | Tensor) -> float | None:
    """JSON knows no infinity, the PSNR of equal pictures."""
    value = float(value)
    return round(value, 3) if value != float("inf") else None
