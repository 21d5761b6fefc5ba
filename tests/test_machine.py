"""What is asked of the machine: its memory, its precision."""

from __future__ import annotations

import json
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
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about the memory that glibc holds")


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@needs_glibc
def test_freed_memory_is_kept_for_a_while_and_then_given_back():
    with machine.hold_freed_memory():
        bytearray(200 * MEGABYTE)
        held = _resident()
        before = _faults()
        for _ in range(10):
            bytearray(200 * MEGABYTE)
        pages = 10 * 200 * MEGABYTE / resource.getpagesize()
        assert _faults() - before < 0.1 * pages
    assert _resident() < held - 150 * MEGABYTE


@needs_glibc
def test_what_is_held_is_given_back_when_asked_even_below_what_is_in_use():
    with machine.hold_freed_memory():
        freed = bytearray(200 * MEGABYTE)
        in_use = bytearray(MEGABYTE)
        del freed
        held = _resident()
        machine.release_memory(torch.device("cpu"))
        assert _resident() < held - 150 * MEGABYTE
    assert len(in_use) == MEGABYTE


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


@pytest.mark.parametrize("inside", [False, True])
def test_control_groups_of_version_1_count_too(tmp_path, monkeypatch, inside):
    """As on older clusters; a container sees its own group at the top, and is told of the path outside."""
    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text("MemAvailable: 9000 kB\n")
    (tmp_path / "self" / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/slurm/job\n3:cpuset:/\n0::/\n")
    job = tmp_path / "groups" / "memory" / ("" if inside else "slurm/job")
    job.mkdir(parents=True)
    (job / "memory.limit_in_bytes").write_text(f"{3000 * 1024}\n")
    (job / "memory.usage_in_bytes").write_text(f"{1000 * 1024}\n")
    (job / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {200 * 1024}\n")
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "groups")
    assert machine.free_memory() == 2200 * 1024


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


def _stat(folder: Path, idle: int, busy: int) -> None:
    (folder / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 0\n")


@pytest.mark.parametrize(("idle", "busy", "cores"), [(100, 0, 8), (0, 100, 0), (50, 50, 4), (10, 90, 0.8)])
def test_idle_cores_are_those_that_did_nothing_meanwhile(tmp_path, monkeypatch, idle, busy, cores):
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 8)
    _stat(tmp_path, 1000, 5000)
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: _stat(tmp_path, 1000 + idle, 5000 + busy))
    assert machine.idle_cores() == pytest.approx(cores)


def test_idle_cores_where_the_system_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    assert machine.idle_cores(0) is None
    monkeypatch.setattr(machine, "threads", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert machine.fitting_threads(10**6) == 8


@pytest.mark.parametrize(("idle", "count"), [(8.0, 8), (3.6, 4), (0.0, 1), (20.0, 8)])
def test_threads_by_work_and_by_what_is_idle(monkeypatch, idle, count):
    monkeypatch.setattr(machine, "threads", lambda: 8)
    monkeypatch.setattr(machine, "idle_cores", lambda: idle)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert machine.fitting_threads(512 * 512) == count
    assert machine.fitting_threads(64 * 64) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert machine.fitting_threads(512 * 512) == 8


def test_working_threads_go_back_to_what_they_were():
    before = machine.threads()
    with pytest.raises(ZeroDivisionError), machine.working_threads(before + 1):
        assert machine.threads() == before + 1
        raise ZeroDivisionError
    assert machine.threads() == before


def test_the_threads_of_the_command_line(run_cli, scans):
    quick = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu", "--quiet")
    before = machine.threads()
    for extra, count in (((), 1), (("--threads", 3), 3)):
        assert run_cli("image", "scans/0.png", "out.png", *quick, "--force", "--json", "facts.json", *extra).code == 0
        assert json.loads((scans / "facts.json").read_text())["threads"] == count
    extra = ("-r", *quick, "--jobs", 2, "--threads", 6, "--json", "facts")
    assert run_cli("image", "scans", "out", *extra).code == 0
    assert json.loads((scans / "facts" / "2.png.json").read_text())["threads"] == 3
    assert machine.threads() == before
