"""One file through the recovery: read, check, run with bar and log, write. Imports torch."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from tqdm import tqdm

from doprestore.cli.interrupt import Interrupt
from doprestore.devices import choose_device
from doprestore.errors import DoprestoreError, InputError
from doprestore.image import ImageResult, Progress, recover_image
from doprestore.io.files import check_output
from doprestore.io.images import Picture, check_format, read_picture, write_picture
from doprestore.io.log import LogWriter
from doprestore.metrics import psnr
from doprestore.report import outlier_map, panel as side_by_side
from doprestore.settings import ImageSettings


def restore_file(
    source: Path,
    output: Path,
    settings: ImageSettings,
    *,
    clean: Path | None,
    log: Path | None,
    outliers: Path | None,
    panel: Path | None,
    page: int | None,
    interrupt: Interrupt,
) -> None:
    """Restore one picture; everything that can be refused is refused before the work starts.

    An interrupted run writes the restoration as it stands.
    """
    choose_device(settings.device)
    picture = read_picture(source, page=page)
    for path in (output, outliers, panel):
        if path is not None and str(path) != "-":
            check_output(path)
    check_format(output, picture)
    for path in (outliers, panel):
        if path is not None:
            check_format(path)
    writer = LogWriter(log) if log is not None else None
    damaged = torch.from_numpy(picture.pixels)
    reference = None if clean is None else _read_clean(clean, picture)

    result = _run(damaged, settings, reference, writer, interrupt, label=source.name)
    write_picture(output, result.restored.numpy(), like=picture)
    if outliers is not None:
        write_picture(outliers, outlier_map(result.outliers).numpy())
    if panel is not None:
        parts = [damaged, result.restored, outlier_map(result.outliers)]
        write_picture(panel, side_by_side(parts + ([] if reference is None else [reference])).numpy())
    click.echo(_summary(output, damaged, result, reference), err=str(output) == "-")


def _read_clean(path: Path, like: Picture) -> torch.Tensor:
    clean = torch.from_numpy(read_picture(path).pixels)
    expected = like.pixels.shape
    if clean.shape != expected:
        raise InputError(
            f"--clean {path}: is {_size(clean.shape)}, the input is {_size(expected)}; give the undamaged picture itself"
        )
    return clean


def _run(
    damaged: torch.Tensor,
    settings: ImageSettings,
    clean: torch.Tensor | None,
    writer: LogWriter | None,
    interrupt: Interrupt,
    label: str,
) -> ImageResult:
    quiet = not sys.stderr.isatty()
    with tqdm(total=settings.steps, desc=label, unit="step", disable=quiet, dynamic_ncols=True) as bar:

        def show(progress: Progress) -> None:
            shown = {"loss": f"{progress.loss:.2e}", "outliers": f"{progress.outlier_share:.1%}"}
            if progress.psnr is not None:
                shown["PSNR"] = f"{progress.psnr:.2f} dB"
            bar.set_postfix(shown, refresh=False)
            bar.update(progress.step - bar.n)
            if writer is not None:
                writer.write({name: getattr(progress, name) for name in writer.columns})

        def run() -> ImageResult:
            return recover_image(damaged, settings, clean=clean, callback=show, should_stop=interrupt.received)

        try:
            if writer is None:
                return run()
            with writer:
                return run()
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
