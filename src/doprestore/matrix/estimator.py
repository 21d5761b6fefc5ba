""":func:`doprestore.rpca` as a scikit-learn estimator; scikit-learn itself is not needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from doprestore.matrix.api import rpca

_PARAMETERS = ("preset", "alpha", "seed", "device")


class RobustPCA:
    """Robust PCA of samples in rows. No number of components: the rank is found. No mean is subtracted.

    The parameters are those of :func:`doprestore.rpca`. After :meth:`fit`: ``low_rank_`` and ``sparse_`` (samples,
    features), ``components_`` (rank, features) with orthonormal rows, ``n_components_``, ``solution_`` and ``converged_``.
    There is no ``transform`` of other samples: which of their entries are wrong shows only in a split of all.
    """

    def __init__(self, *, preset: str = "fast", alpha: float | None = None, seed: int | None = None,
                 device: str | None = None):  # fmt: skip
        self.preset, self.alpha, self.seed, self.device = preset, alpha, seed, device

    def fit(self, X: ArrayLike, y: object = None) -> RobustPCA:
        """Split ``X`` (samples, features; NaN = missing). ``y`` is ignored. Raises as :func:`doprestore.rpca` does."""
        self._fit(X)
        return self

    def fit_transform(self, X: ArrayLike, y: object = None) -> np.ndarray:
        """As :meth:`fit`; returns the coordinates (samples, rank), with low_rank_ = coordinates @ components_."""
        return self._fit(X)

    def _fit(self, X: ArrayLike) -> np.ndarray:
        result = rpca(X, **self.get_params())
        u, sigma, vt = np.linalg.svd(result.low_rank.astype(np.float64), full_matrices=False)
        self.low_rank_, self.sparse_ = result.low_rank, result.sparse
        self.n_components_, self.solution_, self.converged_ = result.rank, result.solution, result.converged
        self.components_ = vt[: result.rank].astype(result.low_rank.dtype)
        return (u * sigma)[:, : result.rank].astype(result.low_rank.dtype)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **params: object) -> RobustPCA:
        for name, value in params.items():
            if name not in _PARAMETERS:
                raise ValueError(f"RobustPCA has no parameter {name!r}; it has {', '.join(_PARAMETERS)}")
            setattr(self, name, value)
        return self
