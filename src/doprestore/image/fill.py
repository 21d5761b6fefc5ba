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

# α, the weight of the gradient beside the Laplacian: it keeps gaps from overshooting [0.05 to 0.2: alike;
# tests/benchmarks/image_constants.py, here and below].
GRADIENT = 0.1
# What Δ² − αΔ makes of a pixel by itself.
SELF = 20 + 4 * GRADIENT
# The odds from which on a value is taken as it is.
CERTAIN = 1e4
# Conjugate gradients stop at this share of the squared residual of the start [5e-5 to 2e-4: alike].
SETTLED = 1e-4
# Steps of conjugate gradients, at most [8 to 32: alike].
STEPS = 16
# Differences between neighbours, of 1, count no further than this when the whitening is measured [0.6: -0.1 dB; 0.15:
# alike].
STEEP = 0.3
# The whitening of the start counts as so many pairs of neighbours, for where few pairs are known [15 to 60: alike].
PRIOR = 30.0
# What the next coarser scale says counts as much as so large a share of trusted values [0.05 to 0.2: alike].
COARSER = 0.1


def smoothed(y: Tensor, trust: Tensor) -> Tensor:
    """(C, H, W): a first guess at all values, gaps of any size among them. trust: the weights of the values, in [0, 1].

    A pyramid of means of halves: where little is trusted at one scale, the next coarser one tells.
    """
    channels = len(y)
    scales = [torch.cat([y * trust, trust])[None]]  # (1, 2C, H, W)
    while min(scales[-1].shape[2:]) > 2:
        scales.append(nn.functional.avg_pool2d(scales[-1], 2, ceil_mode=True, count_include_pad=False))
    total = scales[0].sum((2, 3), keepdim=True)
    guess = total[:, :channels] / total[:, channels:].clamp(min=1)
    for scale in reversed(scales):
        coarse = nn.functional.interpolate(guess, scale.shape[2:], mode="bilinear")
        guess = (scale[:, :channels] + COARSER * coarse) / (scale[:, channels:] + COARSER)
    return guess[0]


def laplacian(v: Tensor) -> Tensor:
    """Δv of (C, H, W), the border repeated; symmetric as a matrix."""
    p = nn.functional.pad(v[None], (1, 1, 1, 1), mode="replicate")[0]
    around = p[:, :-2, 1:-1] + p[:, 2:, 1:-1]
    around += p[:, 1:-1, :-2]
    around += p[:, 1:-1, 2:]
    return around.sub_(v, alpha=4)


def fill(y: Tensor, trust: Tensor, whitening: Tensor, *, start: Tensor, steps: int = STEPS, rounds: int = 1) -> Tensor:
    """(C, H, W): ``y`` where trust is :data:`CERTAIN`, the smoothest completion where it is 0, and between a compromise.

    trust: the odds that a value is whole, up to CERTAIN. whitening: T, (C, C). start: the first guess at what is missing.
    steps: of conjugate gradients at most, in each of ``rounds``; from the second on w = 1/√(local |Δ(Tx)|²), so that
    edges stay sharp.
    """
    x, weight = torch.where(trust > 0, y, start), None
    product = whitening.T @ whitening
    data = trust * (SELF * product.diagonal().mean())  # a value of even odds counts as much as what is around it
    for round_ in range(rounds):
        if round_:
            energy = laplacian(_colours(whitening, x)).square().sum(0, keepdim=True)
            energy = nn.functional.avg_pool2d(energy, 3, 1, 1, count_include_pad=False)
            weight = (0.05 * energy.mean() + energy).clamp(min=1e-12).rsqrt()
            weight = weight / weight.mean()
        x = _conjugate_gradients(_Smoothness(product, weight), x, y, data, steps)
    return torch.where(trust >= CERTAIN, y, x)


def _conjugate_gradients(smoothness: _Smoothness, x: Tensor, y: Tensor, data: Tensor, steps: int) -> Tensor:
    """Of (data + smoothness) x = data y, preconditioned pixel by pixel: there the channels are coupled the most."""
    inverse = smoothness.inverse_by_pixel(data)
    residual = data * (y - x) - smoothness(x)
    z = _by_pixel(inverse, residual)
    direction, product = z, _dot(residual, z)
    enough = SETTLED * product
    for _ in range(steps):
        image = smoothness(direction).addcmul_(data, direction)
        step = product / _dot(direction, image).clamp(min=1e-30)
        x = x.addcmul(step, direction)
        residual.addcmul_(step, image, value=-1)
        z = _by_pixel(inverse, residual)
        new = _dot(residual, z)
        if new <= enough:
            break
        direction = z.addcmul_(new / product.clamp(min=1e-30), direction)
        product = new
    return x


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return torch.dot(one.flatten(), other.flatten())


class _Smoothness:
    """The gradient of half of Σ w |Δ(Tx)|² + α w |∇(Tx)|² as a linear map of x. product: TᵀT. weight: w, (1, H, W)."""

    def __init__(self, product: Tensor, weight: Tensor | None):
        self.product = product
        self.weight = weight
        if weight is not None:
            self.across = (weight[:, :, 1:] + weight[:, :, :-1]) * (GRADIENT / 2)
            self.down = (weight[:, 1:] + weight[:, :-1]) * (GRADIENT / 2)

    def __call__(self, x: Tensor) -> Tensor:
        curvature = laplacian(x)
        if self.weight is None:
            return _colours(self.product, laplacian(curvature).sub_(curvature, alpha=GRADIENT))
        out = laplacian(self.weight * curvature)
        dx, dy = (x[:, :, 1:] - x[:, :, :-1]) * self.across, (x[:, 1:] - x[:, :-1]) * self.down
        out[:, :, 1:] += dx
        out[:, :, :-1] -= dx
        out[:, 1:] += dy
        out[:, :-1] -= dy
        return _colours(self.product, out)

    def inverse_by_pixel(self, data: Tensor) -> list[list[Tensor]]:
        """C times C of (H, W): at each pixel the inverse of data, (C, H, W), and what the map makes of a pixel by itself."""
        weight = data.new_ones(()) if self.weight is None else nn.functional.avg_pool2d(self.weight, 3, 1, 1)[0]
        blocks = [[entry * (SELF * weight) for entry in row] for row in self.product]
        for channel, trust in enumerate(data):
            blocks[channel][channel] = blocks[channel][channel] + trust
        return _inverse(blocks)


def _inverse(blocks: list[list[Tensor]]) -> list[list[Tensor]]:
    """Of symmetric positive definite matrices, C times C of (H, W): C is a few, H·W are many.

    By the sweep operator: J. H. Goodnight, "A tutorial on the SWEEP operator", The American Statistician 33, 149, 1979.
    """
    count = range(len(blocks))
    for pivot in count:
        inverse = 1 / blocks[pivot][pivot].clamp(min=1e-6)
        column = [row[pivot] for row in blocks]
        scaled = [entry * inverse for entry in column]
        for one in count:
            for other in range(one, len(blocks)):
                if pivot not in (one, other):
                    swept = torch.addcmul(blocks[one][other], scaled[one], column[other], value=-1)
                    blocks[one][other] = blocks[other][one] = swept
        for other in count:
            blocks[pivot][other] = blocks[other][pivot] = scaled[other]
        blocks[pivot][pivot] = -inverse
    for one in count:  # the sweeps leave minus the inverse
        for other in range(one, len(blocks)):
            blocks[one][other] = blocks[other][one] = -blocks[one][other]
    return blocks


def _by_pixel(matrices: list[list[Tensor]], v: Tensor) -> Tensor:
    """(C, H, W): matrices, C times C of (H, W), times v (C, H, W)."""
    out = torch.empty_like(v)
    for channel, row in enumerate(matrices):
        torch.mul(row[0], v[0], out=out[channel])
        for entry, values in zip(row[1:], v[1:], strict=True):
            out[channel].addcmul_(entry, values)
    return out


def _colours(matrix: Tensor, v: Tensor) -> Tensor:
    return (matrix @ v.flatten(1)).view_as(v)


def choose_whitening(y: Tensor, trusted: Tensor, generator: torch.Generator) -> Tensor:
    """T, (C, C): of five whitenings the one whose fill is best at trusted values that it does not see.

    The worst fiftieth of the errors does not count: there are outliers among the trusted.
    """
    if len(y) == 1 or min(y.shape[1:]) < 4:
        return torch.eye(len(y), device=y.device)
    guess = smoothed(y, trusted)
    hidden = ((torch.rand(y.shape, generator=generator) < 0.1).to(y.device) * trusted).to(y.dtype)
    if not hidden.any():
        return torch.eye(len(y), device=y.device)
    seen = trusted - hidden
    start = smoothed(y, seen)
    best, chosen = float("inf"), torch.eye(len(y), device=y.device)
    for whitening in _whitenings(y, trusted, guess):
        error = (fill(y, CERTAIN * seen, whitening, start=start) - y)[hidden > 0].square()
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
    whitening: Tensor = (axes / spread).T.to(covariance)
    return whitening
