"""Pictures of which nothing can be said: what seems damaged in them is as well print, a drawing or noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# A value that is found is likelier than another to have one found beside it, by a share of what is possible. Above this
# share it is strokes that are found: by fills it is at most 0.050 for single values in photographs, and from 0.13 on for
# print and charts [0.05 to 0.2: alike; tests/benchmarks/image_constants.py, here and below].
CLUSTERED = 0.1
# From this share of damaged values on large errors say nothing of noise [0.3: 5.86% of undamaged values changed; 0.8:
# alike].
HEAVY = 0.6
# Noise has errors of at least this share of those of random tones (0.29 to 0.37); pictures with random values on up to half,
# or salt and pepper on up to 60 % of them, at most 0.23. Random values on 60 % cannot be told from noise [0.125: -2.9 dB,
# recall -0.167, precision +0.015; 0.5: 5.71% of undamaged values changed].
BLIND = 0.25
# Values that an error is measured on, at most about.
ENOUGH = 100_000


def is_clustered(found: Tensor) -> bool:
    """Whether what is found, (C, H, W) bool, stands together in strokes; damage of single values and pixels is anywhere.

    Nothing around a stroke tells of it, be it ink of a print, chart or drawing, or damage. The tones may tell of the
    latter (:mod:`doprestore.image.tones`); of the former nothing can be said, and nothing is found.
    """
    found = found.float()
    share = float(found.mean())
    if share in (0.0, 1.0):
        return False
    around = (nn.functional.avg_pool2d(found[None], 3, 1, 1, count_include_pad=False)[0] * 9 - found) / 8
    beside = float((around * found).sum() / found.sum())
    return (beside - share) / (1 - share) > CLUSTERED


def is_blind(y: Tensor, predicted: Tensor, found: Tensor, known: Tensor, generator: torch.Generator) -> bool:
    """Whether predictions are little better than tones drawn at random, although not most is damaged: of noise, nothing
    around a value tells of it. All (C, H, W); found, known: bool."""
    if int((found & known).sum()) >= HEAVY * int(known.sum()):
        return False
    some = slice(None, None, max(1, y.numel() // ENOUGH))
    y, predicted, known = (values.flatten()[some] for values in (y, predicted, known))
    y, predicted = y[known], predicted[known]
    if not len(y):
        return False
    drawn = torch.rand(y.shape, generator=generator).to(y.device)
    error, decoys = ((values - predicted).abs().sort().values[len(y) // 4] for values in (y, drawn))
    return bool(error >= BLIND * decoys)
