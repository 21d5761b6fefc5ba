"""Videos: clips, by PyAV (the optional extra [video]), and folders of pictures, a frame each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from doprestore.errors import DestinationError, InputError, OutputError
from doprestore.io.encode import EXTENSIONS, encode
from doprestore.io.files import make_folder, replacing, write_file
from doprestore.io.images import read_picture
from doprestore.io.kinds import CLIPS
from doprestore.io.metadata import Metadata
from doprestore.machine import free_memory

# The remedy where the package for videos is absent.
INSTALL = "install it with: pip install 'doprestore[video]'"
# Of the codecs: so that what they lose is small beside the noise of a camera.
QUALITY = {"libx264": {"crf": "12"}, "libvpx-vp9": {"crf": "12", "b": "0"}, "mpeg4": {"qmin": "1", "qmax": "2"},
           "mpeg2video": {"qmin": "1", "qmax": "2"}}  # fmt: skip
# Bytes of memory for the split, beside the video: for every byte of it, and at any size.
SPLIT_SHARE, SPLIT_LEAST = 2.0, 400 * 2**20


@dataclass(frozen=True)
class Video:
    """frames: (count, H, W) or (count, H, W, 3), uint8, or the type of the pictures in a folder. rate: frames a second.
    names, metadata, alphas: of the pictures in a folder."""

    frames: np.ndarray
    rate: Fraction | None = None
    names: tuple[str, ...] = ()
    metadata: tuple[Metadata, ...] = field(default=(), repr=False)
    alphas: tuple[np.ndarray | None, ...] = field(default=(), repr=False)


def read_video(path: Path, which: slice) -> Video:
    """Read the frames of ``which``, start:stop:step. Raises :class:`InputError`."""
    return _read_folder(path, which) if path.is_dir() else _read_clip(path, which)


def write_video(path: Path, frames: Iterable[np.ndarray], like: Video) -> None:
    """Write frames (H, W[, 3]) of the type of those of ``like``: a clip whole or not at all, or a folder of pictures."""
    if like.names:
        make_folder(path)
        for frame, name, metadata, alpha in zip(frames, like.names, like.metadata, like.alphas, strict=True):
            planes = frame.reshape(*frame.shape[:2], -1)
            if alpha is not None:
                planes = np.concatenate([planes, alpha[..., None]], axis=2)
            write_file(path / name, encode(np.ascontiguousarray(planes), metadata, EXTENSIONS[Path(name).suffix.lower()]))
        return
    av = _av(path)
    with replacing(path) as temporary:
        try:
            _encode(av, temporary, frames, like)
        except av.FFmpegError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another ending, like .mkv") from error


def check_clip(flag: str, path: Path, like: Path) -> None:
    """Raise :class:`DestinationError` unless ``path`` can hold what the video ``like`` can."""
    if not like.is_dir() and path.suffix.lower() not in CLIPS:
        raise DestinationError(f"{flag} {path}: must end in one of {', '.join(CLIPS)}")


def _av(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError(f"{path}: videos need PyAV; {INSTALL}; or give a folder of frames") from error
    av.logging.set_level(None)  # nothing on stderr
    return av


def _read_clip(path: Path, which: slice) -> Video:
    av = _av(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            grey = (stream.codec_context.pix_fmt or "").startswith(("gray", "mono"))
            shape = (stream.height, stream.width) if grey else (stream.height, stream.width, 3)
            _check_memory(path, shape, _expected(stream.frames, which))
            frames = _Frames(path, shape)
            for number, frame in enumerate(container.decode(stream)):
                if which.stop is not None and number >= which.stop:
                    break
                if number >= which.start and (number - which.start) % which.step == 0:
                    frames.add(frame.to_ndarray(format="gray" if grey else "rgb24"))
            return Video(frames.all(), stream.average_rate)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the name") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything at all on damaged files
        raise InputError(f"{path}: is damaged or no video ({str(error).splitlines()[0][:200]})") from error


def _read_folder(path: Path, which: slice) -> Video:
    names = [entry.name for entry in path.iterdir() if entry.is_file() and entry.suffix.lower() in EXTENSIONS]
    names = sorted((name for name in names if not name.startswith(".")), key=_natural)[which]
    if not names:
        raise InputError(f"{path}: is a folder without pictures; give a folder of frames, or a file")
    first = read_picture(path / names[0])
    shape = first.samples.shape[1:] if len(first.samples) == 1 else (*first.samples.shape[1:], 3)
    _check_memory(path, shape, len(names) * first.samples.dtype.itemsize)
    frames = _Frames(path, shape, first.samples.dtype)
    metadata, alphas = [], []
    for name in names:
        picture = read_picture(path / name)
        if picture.samples.shape != first.samples.shape or picture.samples.dtype != first.samples.dtype:
            raise InputError(f"{path / name}: is not of the size, colours and depth of {names[0]}; leave it out")
        frames.add(picture.samples[0] if len(picture.samples) == 1 else picture.samples.transpose(1, 2, 0))
        metadata.append(picture.metadata)
        alphas.append(picture.alpha)
    return Video(frames.all(), None, tuple(names), tuple(metadata), tuple(alphas))


class _Frames:
    """Grows as frames come, for no container can be trusted to know how many there are."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype | type = np.uint8):
        self.path, self.shape = path, shape
        self.frames = np.empty((1, *shape), dtype)  # a damaged file may claim frames of any size
        self.count = 0

    def add(self, frame: np.ndarray) -> None:
        if frame.shape != self.shape:
            raise InputError(f"{self.path}: its frames change their size; cut it there first")
        if self.count == len(self.frames):
            # As a realloc, which moves whole pages of memory where it can, not their content.
            _check_memory(self.path, self.shape, 2 * self.count * frame.dtype.itemsize)
            self.frames.resize((2 * self.count, *self.shape), refcheck=False)
        self.frames[self.count] = frame
        self.count += 1

    def all(self) -> np.ndarray:
        if not self.count:
            raise InputError(f"{self.path}: holds no such frames")
        self.frames.resize((self.count, *self.shape), refcheck=False)
        return self.frames


def _expected(frames: int, which: slice) -> int:
    """How many frames will be taken, of so many (0: unknown)."""
    last = frames if which.stop is None else min(frames or which.stop, which.stop)
    count: int = max(1, -(-(last - which.start) // which.step))
    return count


def _check_memory(path: Path, shape: tuple[int, ...], size: int) -> None:
    """Refuse what will not fit, before it is decoded: ``size`` bytes for every entry of ``shape``, in all frames."""
    needed = int(np.prod(shape, dtype=np.int64)) * size * SPLIT_SHARE + SPLIT_LEAST
    free = free_memory()
    if free is not None and needed > free:
        raise InputError(f"{path}: needs about {needed / 2**30:.1f} GB of memory, and {free / 2**30:.1f} GB are free; take "
                         "fewer frames, like --frames ::10")  # fmt: skip


def _encode(av: Any, path: Path, frames: Iterable[np.ndarray], like: Video) -> None:
    codec = CLIPS[path.suffix.lower()]
    grey = like.frames.ndim == 3
    height, width = like.frames.shape[1:3]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=like.rate or 25, options=QUALITY[codec])
        stream.height, stream.width = height, width
        # Colour at half the resolution is what every player shows; it needs even sides.
        stream.pix_fmt = "yuv420p" if height % 2 == 0 == width % 2 else "yuv444p"
        for frame in _packets(av, frames, grey):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _packets(av: Any, frames: Iterable[np.ndarray], grey: bool) -> Iterator[Any]:
    for frame in frames:
        yield av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray" if grey else "rgb24")


def _natural(name: str) -> list[tuple[int, str]]:
    """Frame 10 after frame 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
