"""Which device and which precision the work runs on."""

from __future__ import annotations

import torch

from doprestore.errors import UsageError
from doprestore.io.machine import processor
from doprestore.settings import ImageSettings


def choose_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu", "cuda", "cuda:N" or "mps"; "auto" is CUDA where present, else the CPU.

    Raises :class:`UsageError` for a name that is unknown or a device that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"--device {name}: unknown; use auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise UsageError(f"--device {name}: no CUDA device is available here; use --device cpu")
        if (device.index or 0) >= count:
            raise UsageError(f"--device {name}: there are {count} CUDA devices, numbered from 0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: not available here; use --device cpu")
    return device


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions are faster than float32 ones on this device."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Without native instructions bfloat16 is emulated, several times slower than float32.
    return device.type == "cpu" and _cpu_has_bfloat16()


def uses_bfloat16(settings: ImageSettings, device: torch.device) -> bool:
    """Whether the convolutions of a run run in bfloat16: never by themselves in the paper preset."""
    if settings.precision == "auto":
        return not settings.is_paper and fast_bfloat16(device)
    return settings.precision == "bfloat16"


def _cpu_has_bfloat16() -> bool:
    """Whether it multiplies bfloat16 faster than float32: with AMX, or with AVX-512 unless by Intel.

    Intel's cores have one AVX-512 unit for bfloat16 and two for float32: 107 and 189 GFLOP/s measured in convolutions.
    """
    if _cpu_supports("amx_tile"):
        return True
    return _cpu_supports("avx512_bf16") and "intel" not in processor().lower()


def _cpu_supports(name: str) -> bool:
    has = getattr(torch.cpu, f"_is_{name}_supported", None)
    return bool(has and has())
