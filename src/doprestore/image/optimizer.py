"""How θ moves where it is not by SGD: orthogonalised momentum for the convolutions and Adam for the rest.

References:
  Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024
  (https://kellerjordan.github.io/posts/muon), Newton-Schulz coefficients included;
  Kingma, Ba, "Adam", ICLR 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The share of the momentum that a step keeps: that of the reference.
MOMENTUM = 0.9
# The rate of Adam for norms, biases and the thin layers, as a share of the rate of Muon for the rest.
ADAM_SHARE = 0.3
# Coefficients a, b, c of a quintic step, from the reference.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def muon_and_adam(network: nn.Module, tau: float, device: torch.device) -> list[torch.optim.Optimizer]:
    """Muon with the rate ``tau`` for the convolutions, Adam for all that is thin."""
    named = dict(network.named_parameters())
    thin = ("skip", "head")  # a few channels wide: nothing to orthogonalise
    wide = {name for name, weight in named.items() if weight.ndim == 4 and not any(t in name for t in thin)}
    matrices = [weight for name, weight in named.items() if name in wide]
    rest = [weight for name, weight in named.items() if name not in wide]
    kind = {"fused": device.type != "mps", "capturable": device.type == "cuda"}
    return [Muon(matrices, lr=tau), torch.optim.Adam(rest, lr=ADAM_SHARE * tau, betas=(0.9, 0.99), **kind)]


class Muon(torch.optim.Optimizer):
    """Weights W of shape (out, in, kh, kw), seen as matrices: W ← W − lr · sqrt(max(1, rows/columns)) · UVᵀ,
    UΣVᵀ being the singular value decomposition of the Nesterov momentum. torch.optim.Muon, new in
    torch 2.9, takes no convolutions. Weights of one shape make one group and take their step together."""

    def __init__(self, parameters: list[nn.Parameter], lr: float):
        alike: dict[torch.Size, list[nn.Parameter]] = {}
        for weight in parameters:
            alike.setdefault(weight.shape, []).append(weight)
        super().__init__([{"params": weights} for weights in alike.values()], {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # it takes no closure
        for group in self.param_groups:
            weights = group["params"]
            gradients = torch.stack([weight.grad for weight in weights])  # (n, out, in, kh, kw)
            state = self.state[weights[0]]  # one momentum for the whole group
            if not state:
                state["momentum"] = torch.zeros_like(gradients)
            momentum = state["momentum"].lerp_(gradients, 1 - MOMENTUM)
            matrices = gradients.lerp(momentum, MOMENTUM).flatten(2)  # (n, rows, columns)
            scale = max(1.0, matrices.shape[1] / matrices.shape[2]) ** 0.5
            for weight, step in zip(weights, orthogonalised(matrices), strict=True):
                weight.add_(step.view_as(weight), alpha=-group["lr"] * scale)


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
    x = product @ x
    return x.mT if tall else x
