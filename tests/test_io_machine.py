"""What is asked of the machine's memory."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import pytest

from doprestore.machine import freed_memory_kept

MEGABYTE = 2**20


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc")
def test_freed_memory_is_kept_for_a_while_and_then_given_back():
    with freed_memory_kept():
        bytearray(200 * MEGABYTE)
        held = _resident()
        before = _faults()
        for _ in range(10):
            bytearray(200 * MEGABYTE)
        pages = 10 * 200 * MEGABYTE / resource.getpagesize()
        assert _faults() - before < 0.1 * pages
    assert _resident() < held - 150 * MEGABYTE
