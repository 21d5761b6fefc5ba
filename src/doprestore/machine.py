"""What the machine is, what it has left, and which device and precision the work runs on there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from doprestore.errors import UsageError

_PROC = Path("/proc")
# So many pixels and fewer are worked on by one thread (tests/benchmarks/threads.py).
LITTLE = 64 * 64
_CGROUPS = Path("/sys/fs/cgroup")
# Where a control group says its limit and what is used, and the part of that which gives way: version 2, and version 1 of
# older containers and clusters.
_GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
# Numbers of glibc's mallopt(3), M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD, and what they are set to, in bytes, so
# that no block of up to 1 GB goes back to the system.
_HOLDING = {-1: 2**31 - 1, -2: 2**26, -3: 2**30}
# The same where glibc itself arrives in programs that free large blocks.
_USUAL = {-1: 2**26, -2: 2**17, -3: 2**25}


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


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether convolutions of this precision ("auto", "float32", "bfloat16") run in bfloat16 on this device."""
    return fast_bfloat16(device) if precision == "auto" else precision == "bfloat16"


def device_name(device: torch.device) -> str:
    """What the device calls itself, as well as the system tells it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def threads() -> int:
    """How many threads torch works with in this process."""
    return torch.get_num_threads()


def use_threads(count: int) -> None:
    """Work with so many threads, here and in threads that are started from now on."""
    torch.set_num_threads(count)


def idle_cores(seconds: float = 0.2) -> float | None:
    """How many processor cores have had nothing to do while this process slept so long; None where that is unknown."""
    before = _processor_times()
    time.sleep(seconds)
    after = _processor_times()
    if before is None or after is None or sum(after) <= sum(before):
        return None
    idle, total = (sum(after[part]) - sum(before[part]) for part in (slice(3, 5), slice(None)))
    return (os.cpu_count() or 1) * idle / total


def fitting_threads(pixels: int) -> int:
    """How many of :func:`threads` to work with on a picture of so many pixels, on a CPU.

    One, where there is too little to share out: 64x64 and below. Else as many as there are idle cores, for threads that
    have to wait for a core make all others wait: 60 steps on 64x64 took 8 s with one thread and 164 s with two on two
    cores with a load of 8. All of them where OMP_NUM_THREADS says how many, or where the system tells nothing.
    """
    if pixels <= LITTLE:
        return 1
    if "OMP_NUM_THREADS" in os.environ or threads() == 1:
        return threads()
    idle = idle_cores()
    return threads() if idle is None else max(1, min(threads(), round(idle)))


@contextlib.contextmanager
def working_threads(count: int) -> Iterator[None]:
    """Work with so many threads while this lasts."""
    before = threads()
    use_threads(count)
    try:
        yield
    finally:
        use_threads(before)


def free_memory(device: torch.device | None = None) -> int | None:
    """Bytes that this process may still take on ``device``, main memory by default, or None where that is unknown.

    Of main memory without swapping: on Linux what the kernel calls available, or what the control group (a Slurm job, a
    container) leaves if that is less; elsewhere half of what is built in. Of a GPU what nobody holds, and what torch
    holds and does not use.
    """
    if device is not None and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        lines = (_PROC / "meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, OSError, ValueError):
            return None
    return min([available, *_group_limits()])


def release_memory(device: torch.device) -> None:
    """Give back what torch, or on the CPU glibc, holds on ``device`` and does not use."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "cpu" and (library := _glibc()) is not None:
        library.malloc_trim(0)


@contextlib.contextmanager
def hold_freed_memory() -> Iterator[None]:
    """While this lasts, memory that is freed stays with the process, which soon asks for as much again.

    glibc gives large blocks back, and every page of the next ones costs an interrupt: up to a seventh of the time
    of a step on a CPU. Does nothing where the C library is another one.
    """
    if (library := _glibc()) is None:
        yield
        return
    for name, value in _HOLDING.items():
        library.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in _USUAL.items():
            library.mallopt(name, value)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, if that is what it is."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def _processor_times() -> list[int] | None:
    """The time that all cores have spent so far: user, nice, system, idle, waiting for a disk, and so on."""
    try:
        fields = (_PROC / "stat").read_text().splitlines()[0].split()[1:9]
        return [int(field) for field in fields]
    except (OSError, ValueError, IndexError):
        return None


def processor() -> str:
    """The name of the processor, as well as the system tells it."""
    try:
        lines = (_PROC / "cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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


def _group_limits() -> list[int]:
    """What the control groups around this process leave, from the innermost outwards."""
    try:
        entries = [entry.split(":", 2) for entry in (_PROC / "self" / "cgroup").read_text().splitlines()]
    except OSError:
        return []
    left = []
    for _, controllers, path in (entry for entry in entries if len(entry) == 3):
        if "memory" in controllers.split(","):
            top, names = _CGROUPS / "memory", _GROUP_FILES[1]
        elif not controllers:
            top, names = _CGROUPS, _GROUP_FILES[0]
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, KeyError, ValueError):
                left.append(_left_in_group(folder, *names))
            if folder == top:
                break
    return left


def _left_in_group(folder: Path, limit: str, used: str, inactive: str) -> int:
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    most = int((folder / limit).read_text())  # "max" where there is none
    return max(0, most - int((folder / used).read_text()) + int(stat[inactive]))  # file caches give way
