"""How θ moves: by plain descent, or by orthogonalised momentum for the convolutions and Adam for the rest.

Not by torch.optim: the first optimiser of its that is made imports torch's compiler, 2 s of every command.

References:
  Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024
  (https://kellerjordan.github.io/posts/muon), Newton-Schulz coefficients included;
  Kingma, Ba, "Adam", ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# The share of the momentum that a step keeps: that of the reference.
MOMENTUM = 0.9
# The rate of Adam for norms, biases and the thin layers, as a share of the rate of Muon for the rest [0.15 to 0.6: alike;
# tests/benchmarks/image_constants.py, here and below].
ADAM_SHARE = 0.3
# Decays of Adam's mean and mean square, and what keeps its quotient finite.
BETAS, EPSILON = (0.9, 0.99), 1e-8
# Coefficients a, b, c of a quintic step, from the reference.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Descent:
    """θ ← θ − τ ∇θ, as eq. (10) has it. There is no state."""

    def __init__(self, network: nn.Module, tau: float):
        self._weights = list(network.parameters())
        self.tau = tau

    @torch.no_grad()
    def step(self) -> None:
        for weight in self._weights:
            assert weight.grad is not None
            weight.add_(weight.grad, alpha=-self.tau)

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        pass


class MuonAndAdam:
    """Muon with the rate ``tau`` for the convolutions of a network, Adam for all that is thin.

    The state is tensors alone, changed in place.
    """

    def __init__(self, network: nn.Module, tau: float):
        named = dict(network.named_parameters())
        thin = ("skip", "head")  # a few channels wide: nothing to orthogonalise
        wide = {name for name, weight in named.items() if weight.ndim == 4 and not any(t in name for t in thin)}
        alike: dict[torch.Size, list[Tensor]] = {}
        for name, weight in named.items():
            if name in wide:
                alike.setdefault(weight.shape, []).append(weight)
        self._matrices = list(alike.values())
        self._rest = [weight for name, weight in named.items() if name not in wide]
        self.tau = tau
        self._steps = torch.zeros((), device=self._rest[0].device)  # a CUDA graph cannot count by Python's numbers
        self._momenta = [torch.zeros_like(torch.stack(weights)) for weights in self._matrices]
        self._means, self._squares = ([torch.zeros_like(weight) for weight in self._rest] for _ in range(2))

    @torch.no_grad()
    def step(self, share: float = 1.0) -> None:
        """One step by the gradients, with so much of the rate."""
        self._steps += 1
        for weights, momentum in zip(self._matrices, self._momenta, strict=True):
            muon_step(weights, momentum, share * self.tau)
        unbiased = [1 - beta**self._steps for beta in BETAS]
        for weight, mean, square in zip(self._rest, self._means, self._squares, strict=True):
            assert weight.grad is not None
            mean.lerp_(weight.grad, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(weight.grad, weight.grad, value=1 - BETAS[1])
            direction = mean / unbiased[0] / ((square / unbiased[1]).sqrt_().add_(EPSILON))
            weight.sub_(direction, alpha=share * ADAM_SHARE * self.tau)

    def state_dict(self) -> dict[str, object]:
        return {"steps": self._steps, "momenta": self._momenta, "means": self._means, "squares": self._squares}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self._steps.copy_(state["steps"])  # type: ignore[arg-type]
        for name in ("momenta", "means", "squares"):
            saved = state[name]
            assert isinstance(saved, Sequence)
            for value, other in zip(getattr(self, f"_{name}"), saved, strict=True):
                value.copy_(other)


def muon_step(weights: Sequence[Tensor], momentum: Tensor, rate: float) -> None:
    """W ← W − rate · sqrt(max(1, rows/columns)) · UVᵀ for weights W of one shape (out, in, kh, kw), seen as matrices.

    UΣVᵀ is the singular value decomposition of the Nesterov momentum. torch.optim.Muon takes no convolutions.
    """
    gradients = torch.stack([weight.grad for weight in weights if weight.grad is not None])  # (n, out, in, kh, kw)
    momentum.lerp_(gradients, 1 - MOMENTUM)
    matrices = gradients.lerp(momentum, MOMENTUM).flatten(2)  # (n, rows, columns)
    scale = max(1.0, matrices.shape[1] / matrices.shape[2]) ** 0.5
    for weight, step in zip(weights, orthogonalised(matrices), strict=True):
        weight.add_(step.view_as(weight), alpha=-rate * scale)


def orthogonalised(matrices: Tensor) -> Tensor:
    """UVᵀ of matrices UΣVᵀ (..., rows, columns), with singular values within about 0.3 of 1.

    Five quintic Newton-Schulz steps X ← (a + b·G + c·G²) X, G = XXᵀ, carried out on the small G alone: its
    polynomials commute, so G ← P G P and the product of all P is applied to X at the end.
    """
    a, b, c = _NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-12)
    gram = x @ x.mT
    identity = torch.eye(gram.shape[-1], dtype=x.dtype, device=x.device)
    product = identity
    for _ in range(5):
        polynomial = a * identity + b * gram + c * gram @ gram
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    answer: Tensor = product @ x
    return answer.mT if tall else answer
