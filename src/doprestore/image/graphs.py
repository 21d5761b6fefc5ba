"""CUDA graphs: what a step launches is recorded once and replayed whole, for a GPU would wait for Python otherwise.

Reference: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs (whole-network capture).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

# How many calls are made before one is recorded: libraries choose and set up their kernels in the first ones.
WARM_UP = 3


class Replayed:
    """Calls ``work``, the same every time; on a CUDA device, after a few calls, replays the graph of one instead.

    ``work`` takes and returns nothing. It reads and writes tensors that stay where they are, never waits for the
    device, makes no random numbers, and what its Python code does beside that must not matter: only the first calls
    execute it. Other devices, and a CUDA device where recording fails, execute it every time.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        if self._device.type != "cuda":
            work()
            return
        with torch.cuda.device(self._device):
            if self._calls == WARM_UP:
                self._graph = _recorded(work)  # recording executes nothing
            if self._graph is not None:
                self._graph.replay()
            else:
                _aside(work)
        self._calls += 1


def _aside(work: Callable[[], None]) -> None:
    """``work`` on a stream of its own: autograd remembers the stream, and the usual one cannot be recorded."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)


def _recorded(work: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
    graph = torch.cuda.CUDAGraph()
    try:
        # thread_local: other threads may use the device meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            work()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        warnings.warn(f"no CUDA graph could be recorded, steps take longer without: {reason}", stacklevel=3)
        return None
    return graph
