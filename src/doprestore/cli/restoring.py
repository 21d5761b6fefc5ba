"""One file through the recovery: read, check, run with bar and log, write. Imports torch."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from doprestore.cli.interrupt import Interrupt
from doprestore.cli.jobs import Choices, Job
from doprestore.cli.keeping import Keeper
from doprestore.devices import choose_device
from doprestore.errors import DoprestoreError, InputError
from doprestore.image import ImageResult, Progress, recover_image
from doprestore.io.checkpoint import fingerprint
from doprestore.io.files import check_output
from doprestore.io.images import Picture, check_format, read_picture, write_picture
from doprestore.io.log import COLUMNS, LogWriter
from doprestore.metrics import psnr
from doprestore.report import outlier_map, panel as side_by_side
from doprestore.settings import ImageSettings


def restore_file(
    job: Job, settings: ImageSettings, choices: Choices, interrupt: Interrupt, *, nested: bool = False
) -> str | None:
    """Restore one picture, write its files and return the line that sums it up.

    Everything that can be refused is refused before the work starts. An interrupted run writes the restoration as
    it stands. ``nested``, for one of many: the bar lies below another, and an interrupted run writes nothing and
    returns None, because --skip-existing would take the output for finished.
    """
    output, files = job.output, job.files
    encoding = _encoding(choices, output, lenient=nested)
    choose_device(settings.device)
    picture = read_picture(job.source, page=choices.page)
    for path in (output, files.outliers, files.panel):
        if path is not None and str(path) != "-":
            check_output(path)
    check_format(output, picture, **encoding)
    for path in (files.outliers, files.panel):
        if path is not None:
            check_format(path)
    writer = LogWriter(files.log) if files.log is not None else None
    damaged = torch.from_numpy(picture.pixels)
    clean = None if files.clean is None else _read_clean(files.clean, picture)
    mask = None if files.mask is None else _read_mask(files.mask, picture)
    keeper = None
    if files.checkpoint is not None:
        identity = {"kind": "image", "data": fingerprint(picture.samples, mask), "settings": asdict(settings)}
        keeper = Keeper(files.checkpoint, identity, every=choices.checkpoint_every, resume=choices.resume,
                        interrupt=interrupt)  # fmt: skip

    bar = tqdm(total=settings.steps, desc=job.source.name, unit="step", disable=not sys.stderr.isatty(),
               dynamic_ncols=True, position=1 if nested else 0, leave=not nested)  # fmt: skip
    with bar:
        result = _run(damaged, settings, mask, clean, writer, keeper, interrupt, bar)
    if result.interrupted and nested:
        return None
    write_picture(output, result.restored.numpy(), like=picture, **encoding)
    if files.outliers is not None:
        write_picture(files.outliers, outlier_map(result.outliers).numpy())
    if files.panel is not None:
        parts = [damaged, result.restored, outlier_map(result.outliers)]
        write_picture(files.panel, side_by_side(parts + ([] if clean is None else [clean])).numpy())
    if keeper is not None and not result.interrupted:
        keeper.finished()
    return _summary(output, damaged, result, clean)


def _encoding(choices: Choices, output: Path, lenient: bool) -> dict[str, object]:
    """The options of :func:`write_picture`. ``lenient``: in a mixed folder they concern the formats that have them."""
    quality, subsampling = choices.quality, choices.subsampling
    suffix = output.suffix.lower()
    if lenient and suffix not in (".jpg", ".jpeg"):
        subsampling = None
        quality = quality if suffix == ".webp" else None
    return {"quality": quality, "subsampling": subsampling}


def _read_clean(path: Path, like: Picture) -> torch.Tensor:
    clean = torch.from_numpy(read_picture(path).pixels)
    expected = like.pixels.shape
    if clean.shape != expected:
        raise InputError(
            f"--clean {path}: is {_size(clean.shape)}, the input is {_size(expected)}; give the undamaged picture itself"
        )
    return clean


def _read_mask(path: Path, like: Picture) -> np.ndarray:
    """The picture at ``path`` as bool: (H, W), or (C, H, W) for a mask in colour of a picture in colour."""
    pixels = read_picture(path).pixels
    if pixels.shape[1:] != like.pixels.shape[1:]:
        raise InputError(
            f"--mask {path}: is {_size(pixels.shape)}, the input is {_size(like.pixels.shape)}; give one of the same size"
        )
    bad = pixels >= 0.5
    if not bad.any() and pixels.any():
        raise InputError(f"--mask {path}: has no white, its lightest value is {pixels.max():.3g} of 1; make bad white")
    return bad if bad.shape == like.pixels.shape else bad.any(axis=0)


def _run(
    damaged: torch.Tensor,
    settings: ImageSettings,
    mask: np.ndarray | None,
    clean: torch.Tensor | None,
    writer: LogWriter | None,
    keeper: Keeper | None,
    interrupt: Interrupt,
    bar: tqdm,
) -> ImageResult:
    rows = [] if keeper is None else keeper.rows

    def show(progress: Progress) -> None:
        shown = {"loss": f"{progress.loss:.2e}", "outliers": f"{progress.outlier_share:.1%}"}
        if progress.psnr is not None:
            shown["PSNR"] = f"{progress.psnr:.2f} dB"
        bar.set_postfix(shown, refresh=False)
        bar.update(progress.step - bar.n)
        rows.append({name: getattr(progress, name) for name in COLUMNS})
        if writer is not None:
            writer.write(rows[-1])

    try:
        with writer or contextlib.nullcontext():
            for row in rows if writer is not None else []:  # of the run that this one goes on with
                writer.write(row)
            resume = None if keeper is None else keeper.state
            return recover_image(
                damaged,
                settings,
                mask=None if mask is None else torch.from_numpy(mask),
                clean=clean,
                callback=show,
                should_stop=interrupt.received,
                resume=resume,
                keep=keeper,
            )
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _too_large(damaged, settings) from error
    except RuntimeError as error:
        # The CPU allocator has no exception of its own.
        if "allocate memory" not in str(error):
            raise
        raise _too_large(damaged, settings) from error


def _too_large(damaged: torch.Tensor, settings: ImageSettings) -> DoprestoreError:
    return DoprestoreError(
        f"out of memory for a picture of {_size(damaged.shape)} at width {settings.width}; "
        "use a smaller --width, --device cpu, or a smaller picture"
    )


def _summary(output: Path, damaged: torch.Tensor, result: ImageResult, clean: torch.Tensor | None) -> str:
    parts = [
        f"{output}: {_size(damaged.shape)}",
        f"{result.steps} steps" + (" (interrupted)" if result.interrupted else ""),
        f"{result.seconds:.1f} s on {result.device}",
        f"{result.outlier_share:.1%} outliers",
    ]
    if clean is not None:
        parts.append(f"PSNR {psnr(damaged, clean):.2f} -> {psnr(result.restored, clean):.2f} dB")
    return ", ".join(parts)


def _size(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{width}x{height} {'colour' if channels == 3 else 'grey'}"
