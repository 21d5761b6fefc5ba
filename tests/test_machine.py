"""What is asked of the machine: its memory, its precision."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from doprestore import machine
from doprestore.errors import InputError
from doprestore.image.settings import image_settings
from doprestore.io.arrays import read_matrix

MEGABYTE = 2**20


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc")
def test_freed_memory_is_kept_for_a_while_and_then_given_back():
    with machine.freed_memory_kept():
        bytearray(200 * MEGABYTE)
        held = _resident()
        before = _faults()
        for _ in range(10):
            bytearray(200 * MEGABYTE)
        pages = 10 * 200 * MEGABYTE / resource.getpagesize()
        assert _faults() - before < 0.1 * pages
    assert _resident() < held - 150 * MEGABYTE


def test_free_memory_minds_control_groups(tmp_path, monkeypatch):
    assert machine.free_memory() > 10**6
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    monkeypatch.setattr(machine, "_PROC", proc)
    monkeypatch.setattr(machine, "_CGROUPS", groups)
    assert machine.free_memory() == 5000 * 1024  # no groups at all
    (proc / "self" / "cgroup").write_text("0::/slurm/job\n")
    job = groups / "slurm" / "job"
    job.mkdir(parents=True)
    for folder, limit in ((job, "max"), (job.parent, str(3000 * 1024))):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{1000 * 1024}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {200 * 1024}\n")
    assert machine.free_memory() == 2200 * 1024
    (proc / "meminfo").unlink()
    assert machine.free_memory() > 10**6  # half of what is built in


def test_a_matrix_minds_control_groups(tmp_path, monkeypatch):
    """A container with less memory than its host: the matrix is refused, and not begun and killed."""
    np.save(tmp_path / "data.npy", np.ones((100, 100)))
    assert read_matrix(tmp_path / "data.npy").values.shape == (100, 100)
    job = tmp_path / "groups" / "job"
    job.mkdir(parents=True)
    for name, text in (("memory.max", "300000"), ("memory.current", "0"), ("memory.stat", "inactive_file 0")):
        (job / name).write_text(text)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/job\n")
    (tmp_path / "meminfo").write_text("MemAvailable: 9000000 kB\n")
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "groups")
    with pytest.raises(InputError, match="free; give a part of it, or float32"):
        read_matrix(tmp_path / "data.npy")


def test_precision_is_asked_for_by_name():
    cpu = torch.device("cpu")
    assert machine.uses_bfloat16("bfloat16", cpu) and not machine.uses_bfloat16("float32", cpu)
    assert machine.uses_bfloat16("auto", cpu) == machine.fast_bfloat16(cpu)
    assert image_settings("paper").convolutions == "float32"
    assert image_settings("paper", precision="bfloat16").convolutions == "bfloat16"
    assert image_settings().convolutions == "auto"
