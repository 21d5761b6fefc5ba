"""``rpca`` for videos: the background of a static camera and what moves before it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from doprestore._version import __version__
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.matrices import NO_CLEAR_SPLIT
from doprestore.cli.screen import Meter, say
from doprestore.errors import UsageError


class Frames(click.ParamType):
    """START:STOP:STEP, counted from 0, as in Python; a single number is STOP."""

    name = "START:STOP:STEP"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> slice:
        match = re.fullmatch(r"(\d{0,9}):(\d{0,9})(?::(\d{0,9}))?", value if ":" in value else f":{value}")
        start, stop, step = (int(part) if part else None for part in (match.groups() if match else (None,) * 3))
        if match is None or step == 0 or stop == 0:
            self.fail(f"{value!r} is not like 100:400, ::10 or 300", param, ctx)
        return slice(start or 0, stop, step or 1)


def split_clip(
    source: Path, targets: dict[str, Path], which: slice | None, seed: int, device: str, *, as_json: bool, force: bool
) -> int:
    """Write background and foreground of a clip or a folder of frames; return the exit code."""
    from doprestore.io.files import check_output, check_targets
    from doprestore.io.video import check_clip, read_video, write_video
    from doprestore.matrix.api import matrix_device
    from doprestore.matrix.video import background

    if not targets:
        parts = (("--background", "background"), ("--foreground", "foreground"))
        suffix = "" if source.is_dir() else source.suffix
        plain = Path(source.resolve()) if source.is_dir() else source
        targets = {flag: plain.with_name(f"{plain.name.removesuffix(suffix)}.{part}{suffix}") for flag, part in parts}
    check_targets(targets, {"DATA": source}, force=force)
    for flag, path in targets.items():
        check_clip(flag, path, source)
        if source.is_dir():
            _check_folder(flag, path, force)
        else:
            check_output(path)
    chosen = matrix_device(device)
    start = time.perf_counter()
    video = read_video(source, slice(0, None, 1) if which is None else which)
    frames = video.frames
    with Interrupt() as interrupt:
        with Meter(source.name, frames[0].size, "pixel") as meter:
            found = background(frames, seed=seed, device=chosen, should_stop=interrupt.received,
                               callback=lambda progress: meter.show(progress.step))  # fmt: skip
        if found.interrupted:
            say("doprestore: interrupted before the background was complete; nothing was written", error=True)
            return interrupt.exit_code
        made = {"--background": _backgrounds, "--foreground": _foregrounds}
        for flag, path in targets.items():
            write_video(path, made[flag](frames, found), video)
    report = {
        "input": str(source),
        "outputs": [str(path) for path in targets.values()],
        "frames": len(frames),
        "height": frames.shape[1],
        "width": frames.shape[2],
        "channels": 1 if frames.ndim == 3 else 3,
        "rank": found.rank,
        "foreground_share": found.foreground_share,
        "noise": float(np.median(found.noise)),
        "static": found.static,
        "seconds": time.perf_counter() - start,
        "device": str(chosen),
        "version": __version__,
    }
    click.echo(json.dumps(report) if as_json else _summary(report))
    return 0 if found.static else NO_CLEAR_SPLIT


def _check_folder(flag: str, path: Path, force: bool) -> None:
    from doprestore.errors import DestinationError

    if path.exists() and not path.is_dir():
        raise DestinationError(f"{flag} {path}: is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not force:
        raise DestinationError(f"{flag} {path}: is not empty; name another, or --force to replace the frames in it")


def _backgrounds(frames: np.ndarray, found: Any) -> Iterator[np.ndarray]:
    whole = frames.dtype.kind in "iu"
    limits = np.iinfo(frames.dtype) if whole else None
    for number, frame in enumerate(frames):
        picture = found.frame(number).reshape(frame.shape)
        yield (picture if limits is None else np.rint(picture).clip(limits.min, limits.max)).astype(frames.dtype)


def _foregrounds(frames: np.ndarray, found: Any) -> Iterator[np.ndarray]:
    """The frames, black where there is nothing but background."""
    for number, frame in enumerate(frames):
        seen = found.foreground(number, frame.reshape(-1)).reshape(frame.shape)
        if frame.ndim == 3:
            seen = seen.any(axis=2, keepdims=True)
        yield np.where(seen, frame, frame.dtype.type(0))


def _summary(report: dict[str, Any]) -> str:
    kind = "colour" if report["channels"] == 3 else "grey"
    verdict = "a static camera" if report["static"] else (
        "no clear split: more changes than light explains (did the camera move?), or something covers most of the picture"
    )  # fmt: skip
    return (
        f"{report['input']}: {report['frames']} frames, {report['width']}x{report['height']} {kind}, background of rank "
        f"{report['rank']}, {report['foreground_share']:.2%} foreground, noise {report['noise']:.3g}\n"
        f"{verdict}; {report['seconds']:.2f} s on {report['device']}\nwrote " + ", ".join(report["outputs"])
    )


def refuse_options(context: click.Context, allowed: set[str]) -> None:
    """Raise :class:`UsageError` for an option of tables that was given with a video."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if isinstance(parameter, click.Option) and given and parameter.name not in allowed:
            raise UsageError(f"{parameter.opts[-1]}: is for tables, not for videos; leave it out")
