"""The smoothest picture through the values that are trusted: what the network starts from and is asked to correct.

Of all pictures that agree with the trusted values, the one of least Σ w |Δ(Tx)|² + α w |∇(Tx)|², Δ the Laplacian, T a
whitening of the differences between neighbouring colours: edges lie at the same place in all channels, so a value that
is missing in one channel is told by the others. Solved by conjugate gradients with a diagonal preconditioner.

Where a value may be damaged it pulls the picture towards itself by the odds that it is not, so that a doubtful detail
can still vouch for the ones around it. Pictures and trust are float (C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# α, the weight of the gradient beside the Laplacian: it keeps gaps from overshooting.
GRADIENT = 0.1
# The odds from which on a value is taken as it is.
CERTAIN = 1e4
# Conjugate gradients stop at this share of the squared residual of the start.
SETTLED = 1e-5
# Differences between neighbours, of 1, count no further than this when the whitening is measured.
STEEP = 0.3
# The whitening of the start counts as so many pairs of neighbours, for where few pairs are known.
PRIOR = 30.0
# Standard deviations, in pixels, of the blurs that make a first guess at gaps of any size.
COARSE_TO_FINE = (16.0, 8.0, 4.0, 2.0, 1.0, 0.6)
# The same where the gaps are of single values.
FINE = (2.0, 1.0)


def smoothed(y: Tensor, trusted: Tensor, deviations: tuple[float, ...] = COARSE_TO_FINE) -> Tensor:
    """Normalised convolution of the trusted values, coarse to fine: a first guess at all of them."""
    channels = len(y)
    out = ((y * trusted).sum((1, 2)) / trusted.sum((1, 2)).clamp(min=1))[:, None, None].expand_as(y)
    both = torch.cat([y * trusted, trusted])[:, None]  # (2C, 1, H, W)
    for deviation in deviations:
        reach = max(1, int(3 * deviation + 0.5))
        taps = torch.arange(-reach, reach + 1, device=y.device, dtype=y.dtype)
        kernel = torch.exp(-(taps**2) / (2 * deviation**2))
        blurred = nn.functional.conv2d(both, kernel.view(1, 1, -1, 1), padding=(reach, 0))
        blurred = nn.functional.conv2d(blurred, kernel.view(1, 1, 1, -1), padding=(0, reach))[:, 0]
        out = (blurred[:channels] + 0.1 * out) / (blurred[channels:] + 0.1)
    return out


def laplacian(v: Tensor) -> Tensor:
    """Δv of (C, H, W), the border repeated; symmetric as a matrix."""
    p = nn.functional.pad(v[None], (1, 1, 1, 1), mode="replicate")[0]
    return p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:] - 4 * v


def fill(y: Tensor, trust: Tensor, whitening: Tensor, *, start: Tensor, steps: int = 30, rounds: int = 1) -> Tensor:
    """(C, H, W): ``y`` where trust is :data:`CERTAIN`, the smoothest completion where it is 0, and between a compromise.

    trust: the odds that a value is whole, up to CERTAIN. whitening: T, (C, C). start: the first guess at what is missing.
    steps: of conjugate gradients at most, in each of ``rounds``; from the second on w = 1/√(local |Δ(Tx)|²), so that
    edges stay sharp.
    """
    x, weight = torch.where(trust > 0, y, start), None
    diagonal = (whitening * whitening).sum(0).view(-1, 1, 1) * (20 + 4 * GRADIENT)
    data = trust * diagonal.mean()  # a value of even odds counts as much as what is around it
    for round_ in range(rounds):
        if round_:
            energy = laplacian(_colours(whitening, x)).square().sum(0, keepdim=True)
            energy = nn.functional.avg_pool2d(energy, 3, 1, 1, count_include_pad=False)
            weight = (0.05 * energy.mean() + energy).clamp(min=1e-12).rsqrt()
            weight = weight / weight.mean()
        operator = _Smoothness(whitening, weight)
        usual = diagonal if weight is None else diagonal * nn.functional.avg_pool2d(weight, 3, 1, 1)
        x = _conjugate_gradients(operator, x, y, data, 1 / (data + usual).clamp(min=1e-6), steps)
    return torch.where(trust >= CERTAIN, y, x)


def _conjugate_gradients(operator: _Smoothness, x: Tensor, y: Tensor, data: Tensor, inverse: Tensor, steps: int) -> Tensor:
    """Of (data + operator) x = data y, preconditioned by the diagonal matrix ``inverse``."""
    residual = data * (y - x) - operator(x)
    z = residual * inverse
    direction, product = z, (residual * z).sum()
    enough = SETTLED * product
    for _ in range(steps):
        image = data * direction + operator(direction)
        step = product / (direction * image).sum().clamp(min=1e-30)
        x = x + step * direction
        residual = residual - step * image
        z = residual * inverse
        new = (residual * z).sum()
        if new <= enough:
            break
        direction = z + (new / product.clamp(min=1e-30)) * direction
        product = new
    return x


class _Smoothness:
    """The gradient of half of Σ w |Δ(Tx)|² + α w |∇(Tx)|² as a linear map of x."""

    def __init__(self, whitening: Tensor, weight: Tensor | None):
        self.whitening = whitening
        self.weight = weight
        if weight is not None:
            self.across = (weight[:, :, 1:] + weight[:, :, :-1]) * (GRADIENT / 2)
            self.down = (weight[:, 1:] + weight[:, :-1]) * (GRADIENT / 2)

    def __call__(self, x: Tensor) -> Tensor:
        v = _colours(self.whitening, x)
        curvature = laplacian(v)
        if self.weight is None:
            return _colours(self.whitening.T, laplacian(curvature) - GRADIENT * curvature)
        out = laplacian(self.weight * curvature)
        dx, dy = (v[:, :, 1:] - v[:, :, :-1]) * self.across, (v[:, 1:] - v[:, :-1]) * self.down
        out[:, :, 1:] += dx
        out[:, :, :-1] -= dx
        out[:, 1:] += dy
        out[:, :-1] -= dy
        return _colours(self.whitening.T, out)


def _colours(matrix: Tensor, v: Tensor) -> Tensor:
    return (matrix @ v.flatten(1)).view_as(v)


def choose_whitening(y: Tensor, trusted: Tensor, generator: torch.Generator) -> Tensor:
    """T, (C, C): of five whitenings the one whose fill is best at trusted values that it does not see.

    The worst fiftieth of the errors does not count: there are outliers among the trusted.
    """
    if len(y) == 1 or min(y.shape[1:]) < 4:
        return torch.eye(len(y), device=y.device)
    guess = smoothed(y, trusted, FINE)
    hidden = ((torch.rand(y.shape, generator=generator) < 0.1).to(y.device) * trusted).to(y.dtype)
    if not hidden.any():
        return torch.eye(len(y), device=y.device)
    seen = trusted - hidden
    start = smoothed(y, seen, FINE)
    best, chosen = float("inf"), torch.eye(len(y), device=y.device)
    for whitening in _whitenings(y, trusted, guess):
        error = (fill(y, CERTAIN * seen, whitening, start=start, steps=30) - y)[hidden > 0].square()
        told = float(error.sort().values[: max(1, int(0.98 * len(error)))].mean())
        if told < best:
            best, chosen = told, whitening
    return chosen


def _whitenings(y: Tensor, trusted: Tensor, guess: Tensor) -> list[Tensor]:
    """Candidates: whitening of the colours, or of the differences between neighbours, at several strengths."""
    channels = len(y)
    products, counts = (torch.zeros(channels, channels, device=y.device) for _ in range(2))
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        both = trusted.roll((-down, -across), (1, 2))[:, :-1, 1:-1] * trusted[:, :-1, 1:-1]
        step = ((y.roll((-down, -across), (1, 2))[:, :-1, 1:-1] - y[:, :-1, 1:-1]) * both).clamp(-STEEP, STEEP).flatten(1)
        both = both.flatten(1)
        products += step @ step.T
        counts += both @ both.T
    step = (guess[:, :, 1:] - guess[:, :, :-1]).flatten(1)
    prior = step @ step.T / max(1, step.shape[1])
    size = (products.diagonal() / counts.diagonal().clamp(min=1)).mean()
    prior = prior * size / prior.diagonal().mean().clamp(min=1e-12)
    near = (products + PRIOR * prior) / (counts + PRIOR)
    far = guess.flatten(1).cov(correction=0)
    if float(near.diagonal().mean()) < 1e-8 or float(far.diagonal().mean()) < 1e-8:
        return [torch.eye(channels, device=y.device)]  # a picture of one colour
    mixed = near / near.diagonal().mean() + far / far.diagonal().mean()
    return [
        _whitening(far, 0.05),
        _whitening(near, 0.05),
        _whitening(near, 0.15),
        _whitening(near, 0.05, 0.8),
        _whitening(mixed, 0.1),
    ]


def _whitening(covariance: Tensor, floor: float, power: float = 1.0) -> Tensor:
    """Principal axes divided by their spreads, these at least ``floor`` of the largest."""
    values, axes = torch.linalg.eigh((covariance + covariance.T).cpu().double() / 2)
    spread = values.clamp(min=0).sqrt()
    spread = (spread / spread.max()).clamp(min=floor) ** power
    return (axes / spread).T.to(covariance)
