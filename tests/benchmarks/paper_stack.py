"""Networks of the paper's preset that make their steps at once, as a batch in which none sees another: for paper_gpu.py.

Convolutions are batched matrix products, a norm is one for each channel of each network, and ten steps are one CUDA
graph. The arithmetic is that of doprestore.image.paper in float32, to the order of summation (`test_paper_stack.py`);
the noise on the inputs is drawn for all networks together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from doprestore.image.paper import INPUT_NOISE
from doprestore.image.unet import SCALES
from doprestore.reproduce.long_run import LongRun

# Steps in one CUDA graph.
TOGETHER = 10
# Graphs of a stack that wait for the GPU, so that it never waits for Python.
AHEAD = 2


class Member(Protocol):
    """A run, whether its loss is the l1 norm, and after how many steps each a point of its curve is due."""

    run: LongRun
    is_l1: bool
    every: int

    def add_point(self) -> None: ...
    def write(self) -> None: ...


class Columns(torch.autograd.Function):
    """(N, C, H, W) -> (N, C·k·k, positions): what a convolution sees at each of its positions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, stride: int) -> Tensor:
        ctx.shape, ctx.kernel, ctx.stride = x.shape[2:], kernel, stride
        windows = x.unfold(2, kernel, stride).unfold(3, kernel, stride)  # (N, C, H', W', k, k)
        return windows.permute(0, 1, 4, 5, 2, 3).reshape(len(x), x.shape[1] * kernel**2, -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return functional.fold(gradient, ctx.shape, ctx.kernel, stride=ctx.stride), None, None


def convolved(x: Tensor, weights: Tensor, stride: int = 1) -> Tensor:
    """(N, C, H, W) by (N, O, C, k, k): each by its own weights, with reflection at the borders."""
    kernel = weights.shape[-1]
    if kernel > 1:
        x = functional.pad(x, (kernel // 2,) * 4, mode="reflect")
    height, width = ((length - kernel) // stride + 1 for length in x.shape[2:])
    columns = Columns.apply(x, kernel, stride) if kernel > 1 else x.flatten(2)
    return (weights.flatten(2) @ columns).unflatten(2, (height, width))


def normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """(N, C, H, W) with scale and shift (N, C): batch norm of each by itself."""
    flat = functional.batch_norm(x.flatten(0, 1)[None], None, None, scale.flatten(), shift.flatten(), training=True)
    return flat[0].unflatten(0, x.shape[:2])


def networks_output(weights: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """φ(θ) of N networks: weights by the names of :class:`doprestore.image.unet.UNet`, each (N, ...); z: (N, 32, H, W)."""

    def block(name: str, x: Tensor, stride: int = 1) -> Tensor:
        x = convolved(x, weights[f"{name}.0.weight"], stride)
        x = normed(x, weights[f"{name}.1.weight"], weights[f"{name}.1.bias"])
        return functional.leaky_relu(x, 0.2)

    def scale(name: str, x: Tensor, depth: int) -> Tensor:
        deep = block(f"{name}.down.1", block(f"{name}.down.0", x, stride=2))
        if depth + 1 < SCALES:
            deep = scale(f"{name}.inner", deep, depth + 1)
        deep = functional.interpolate(deep, scale_factor=2, mode="bilinear")
        joined = torch.cat([block(f"{name}.skip", x), deep], dim=1)
        joined = normed(joined, weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"])
        return block(f"{name}.up.1", block(f"{name}.up.0", joined))

    x = scale("body", z, 0)
    return torch.sigmoid(convolved(x, weights["head.weight"]) + weights["head.bias"][:, :, None, None])


class Stack:
    """Runs of one size and width that make their steps together. What their reports look at are views of the stack."""

    def __init__(self, members: Sequence[Member]):
        self.members = members
        runs = [member.run for member in members]
        fits = [run.fit for run in runs]
        self.device, self.tau = fits[0].device, fits[0].settings.tau
        self.steps_until = min(run.steps for run in runs)
        self.step_number = fits[0].step_number
        assert all(fit.step_number == self.step_number for fit in fits)
        names = dict(fits[0].network.named_parameters())
        self.weights = {
            name: torch.stack([dict(fit.network.named_parameters())[name].detach() for fit in fits]).requires_grad_()
            for name in names
        }
        self.z = torch.cat([fit.z for fit in fits]).contiguous()
        self.fresh = torch.empty_like(self.z)
        self.y, self.clean = torch.stack([fit.y for fit in fits]), torch.stack([run.clean for run in runs])
        self.g, self.h = (torch.stack([getattr(fit.outliers, name) for fit in fits]) for name in "gh")
        self.output, self.loss = torch.stack([fit.output for fit in fits]), torch.stack([fit.loss for fit in fits])
        self.best, self.least = torch.stack([run._best for run in runs]), torch.stack([run._least for run in runs])
        self.rate = torch.tensor([fit.rate for fit in fits], device=self.device)[:, None, None, None]
        self.is_l1 = torch.tensor([member.is_l1 for member in members], device=self.device)[:, None, None, None]
        for index, run in enumerate(runs):
            run.fit.outliers.g, run.fit.outliers.h = self.g[index], self.h[index]
            run.fit.output, run.fit.loss = self.output[index], self.loss[index]
            run._best, run._least = self.best[index], self.least[index]
        self.noise = torch.Generator(self.device).manual_seed(self.step_number)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.waiting: list[torch.cuda.Event] = []
        self.due = False
        if self.device.type == "cuda":
            self.stream = torch.cuda.Stream(self.device)
            self._record()

    def _record(self) -> None:
        """Make the first steps, then record as many as a graph."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self._make_steps()
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.noise)
        with torch.cuda.graph(graph, stream=self.stream):
            self._step_all()
        self.graph = graph

    def _step_all(self) -> None:
        for _ in range(TOGETHER):
            self.step()

    def _make_steps(self) -> None:
        self._step_all()
        self._count()

    def _count(self) -> None:
        self.step_number += TOGETHER
        for member in self.members:
            member.run.fit.step_number = self.step_number

    def step(self) -> None:
        """One step of eq. (10) for all, as :meth:`doprestore.image.paper.PaperRecovery.step`, and a look at each."""
        self.fresh.normal_(generator=self.noise)
        x = networks_output(self.weights, torch.add(self.z, self.fresh, alpha=INPUT_NOISE))
        residual = x + (self.g * self.g - self.h * self.h) - self.y
        losses = torch.where(self.is_l1, residual.abs(), residual.square()).mean((1, 2, 3))
        weights = list(self.weights.values())
        gradients = torch.autograd.grad(losses.sum(), weights)
        with torch.no_grad():
            torch._foreach_add_(weights, gradients, alpha=-self.tau)
            change = self.rate * residual
            self.g -= change * self.g
            self.h += change * self.h
            error = (x - self.clean).square().mean((1, 2, 3))
            self.best.copy_(torch.where((error < self.least)[:, None, None, None], x, self.best))
            self.least.copy_(torch.minimum(error, self.least))
            self.output.copy_(x)
            self.loss.copy_(losses)

    @property
    def ready(self) -> bool:
        """Whether :meth:`go_on` would not wait for the GPU."""
        self.waiting = [event for event in self.waiting if not event.query()]
        return len(self.waiting) < (1 if self.due or self.step_number >= self.steps_until else AHEAD)

    def go_on(self) -> None:
        """Points of the curves where they are due, otherwise so many steps more."""
        if self.due:
            for member in self.members:
                member.add_point()
            self.due = False
            return
        if self.graph is None:
            self._make_steps()
        else:
            with torch.cuda.stream(self.stream):
                self.graph.replay()
                self.waiting.append(torch.cuda.Event())
                self.waiting[-1].record()
            self._count()
        ends = self.step_number >= self.steps_until
        self.due = ends or any(self.step_number % member.every == 0 for member in self.members)

    @property
    def ended(self) -> bool:
        """Whether a run has come to its end, its last point included."""
        return self.step_number >= self.steps_until and not self.due

    def write(self) -> None:
        """Curves and states of all."""
        if self.graph is not None:
            self.stream.synchronize()
        for index, member in enumerate(self.members):
            with torch.no_grad():
                for name, weight in member.run.fit.network.named_parameters():
                    weight.copy_(self.weights[name][index])
            member.write()

    def rest(self) -> list[Member]:
        """The runs that have not come to their ends."""
        return [member for member in self.members if not member.run.done]
