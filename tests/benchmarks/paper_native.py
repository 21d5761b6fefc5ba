"""Steps of the paper's preset by paper_native.cpp, compiled where it runs: for paper_cpu.py.

Two to seven times as fast as PyTorch on one thread, for it keeps the sums of a small network in registers. It takes
pictures whose sides the network takes as they are (multiples of 32 from 64 on), without a mask, and the widths of
:data:`WIDTHS`. The arithmetic is that of doprestore.image.paper to the order of summation (`test_paper_cpu.py`); the noise
on the input is drawn by seed and step, so that it needs no state.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from doprestore.baselines.deep_prior import PriorFit
from doprestore.errors import InputError
from doprestore.reproduce.long_run import LongRun

SOURCE = Path(__file__).with_suffix(".cpp")
INCLUDED = tuple(SOURCE.with_name(f"paper_{name}.h") for name in ("convolutions", "layers"))
# Channels of a network that the source compiles for.
WIDTHS = (8, 16, 32, 64, 128)
OPTIONS = (
    "-std=c++17",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wextra",
    "-Wno-psabi",
    "-shared",
    "-fPIC",
)
# What PyTorch's types are called there.
SCALARS = {torch.float32: "float", torch.float64: "double"}
TENSORS = ("parameters", "z", "y", "clean", "g", "h", "output", "best", "loss", "least")
# Those that the steps change.
CHANGED = ("g", "h", "output", "best", "loss", "least")


class Arguments(ctypes.Structure):
    """`Run` of the source."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in TENSORS),
        *((name, ctypes.c_double) for name in ("tau", "rate", "noise")),
        *((name, ctypes.c_uint64) for name in ("seed", "first_step")),
        *((name, ctypes.c_int32) for name in ("height", "width", "channels", "is_l1", "has_outliers", "steps")),
    )


def compiler() -> str | None:
    """The C++ compiler of this machine."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")


@cache
def library(dtype: torch.dtype, width: int, optimise: str = "-O3") -> ctypes.CDLL:
    """The compiled source for networks of that width, kept in the user's cache folder for the next time."""
    if (command := compiler()) is None:
        raise InputError("no C++ compiler: install g++, or use paper.py --run")
    if width not in WIDTHS:
        raise InputError(f"width {width}: paper_native.cpp knows {WIDTHS}; use paper.py --run")
    options = [*OPTIONS, optimise, f"-DSCALAR={SCALARS[dtype]}", f"-DWIDTH={width}"]
    # What the compiler knows of itself and of this processor.
    known = subprocess.run([command, *options, "-dM", "-E", "-x", "c++", os.devnull], check=True, capture_output=True).stdout
    sources = [path.read_bytes() for path in (SOURCE, *INCLUDED)]
    key = hashlib.sha256(b"\0".join([*sources, known, *map(str.encode, options)])).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doprestore"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"paper_native-{key}.so"
    if not path.exists():
        # Others may be compiling the same.
        unfinished = path.with_suffix(f".{os.getpid()}")
        subprocess.run([command, *options, str(SOURCE), "-o", str(unfinished)], check=True)
        unfinished.replace(path)
    return ctypes.CDLL(str(path))


def packed(parameters: list[Tensor]) -> Tensor:
    """All in one, convolutions as (kh, kw, in, out)."""
    return torch.cat([(p.permute(2, 3, 1, 0) if p.ndim == 4 else p).reshape(-1) for p in parameters])


def unpack(together: Tensor, parameters: list[Tensor]) -> None:
    """The reverse of :func:`packed`."""
    for p, part in zip(parameters, together.split([p.numel() for p in parameters]), strict=True):
        p.copy_(part.view([p.shape[i] for i in (2, 3, 1, 0)]).permute(3, 2, 0, 1) if p.ndim == 4 else part)


class NativeSteps:
    """Makes the steps of a run in place of PyTorch. Raises :class:`InputError` for what it cannot do."""

    def __init__(self, run: LongRun, optimise: str = "-O3"):
        self._run, fit = run, run.fit
        if run.clean.shape != fit.y.shape or fit.sampling is not None or fit.device.type != "cpu":
            size = " x ".join(str(side) for side in run.clean.shape[:0:-1])
            raise InputError(f"{size} pixels: sides must be multiples of 32 from 64 on; use paper.py --run")
        self._parameters = [p.detach() for p in fit.network.parameters()]
        self._library = library(fit.y.dtype, fit.settings.width, optimise)
        self._z = fit.z.permute(0, 2, 3, 1).contiguous()

    def make(self, steps: int) -> None:
        """So many steps, and a look at the picture of each, as :meth:`LongRun.step`."""
        run, fit = self._run, self._run.fit
        now = {"parameters": packed(self._parameters), "z": self._z, "y": fit.y, "clean": run.clean, "output": fit.output}
        now |= {"g": fit.outliers.g, "h": fit.outliers.h, "best": run._best, "loss": fit.loss, "least": run._least}
        given = {name: now[name].contiguous() for name in TENSORS}
        loss = fit.loss_name if isinstance(fit, PriorFit) else None
        channels, height, width = fit.y.shape
        numbers = (fit.settings.tau, fit.rate, fit.input_noise, fit.settings.seed, fit.step_number)
        sizes = (height, width, channels, loss == "l1", loss is None, steps)
        arguments = Arguments(*(given[name].data_ptr() for name in TENSORS), *numbers, *sizes)
        if self._library.make_steps(ctypes.byref(arguments)):
            raise MemoryError("no memory for the maps of the network")
        for name in CHANGED:
            now[name].copy_(given[name])
        unpack(given["parameters"], self._parameters)
        fit.step_number += steps
