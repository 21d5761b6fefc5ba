""":func:`doprestore.rpca` as a scikit-learn estimator; without scikit-learn all but its checks and its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from doprestore.errors import InputError
from doprestore.matrix import narrow
from doprestore.matrix.api import rpca
from doprestore.matrix.data import checked_array
from doprestore.matrix.lines import fit_lines, weighted_fit
from doprestore.matrix.narrow_fit import search
from doprestore.matrix.refit import AGREES

if TYPE_CHECKING:

    class _Base:
        """What scikit-learn's mixins bring along."""

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...

else:
    try:
        from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

        class _Base(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
            """Parameters, names of features, frames out (set_output)."""

    except ImportError:

        class _Base:
            """Parameters."""

            def get_params(self, deep=True):
                return {name: getattr(self, name) for name in ("preset", "alpha", "steps", "seed", "device")}

            def set_params(self, **params):
                for name, value in params.items():
                    if name not in self.get_params():
                        raise ValueError(f"RobustPCA has no parameter {name!r}; it has {', '.join(self.get_params())}")
                    setattr(self, name, value)
                return self


class RobustPCA(_Base):
    """Robust PCA of samples in rows. No number of components: the rank is found. No mean is subtracted.

    The parameters are those of :func:`doprestore.rpca`. After :meth:`fit`: ``low_rank_`` and ``sparse_`` (samples,
    features), ``components_`` (rank, features) with orthonormal rows, ``n_components_``, ``noise_`` (features,), its
    standard deviations, ``n_features_in_``, ``solution_`` and ``converged_``; with scikit-learn ``feature_names_in_`` of a
    frame, and ``set_output``.
    """

    def __init__(self, *, preset: str = "fast", alpha: float | None = None, steps: int | None = None,
                 seed: int | None = None, device: str | None = None):  # fmt: skip
        self.preset, self.alpha, self.steps, self.seed, self.device = preset, alpha, steps, seed, device

    def fit(self, X: ArrayLike, y: object = None) -> RobustPCA:
        """Split ``X`` (samples, features; NaN = missing). ``y`` is ignored. Raises as :func:`doprestore.rpca` does."""
        result = rpca(self._checked(X, reset=True), **self.get_params())
        known = np.nan_to_num(result.low_rank.astype(np.float64))
        # The right singular vectors alone: of a long table by its small Gram matrix' factor.
        _, _, vt = np.linalg.svd(
            np.linalg.qr(known, mode="r") if len(known) > known.shape[1] else known, full_matrices=False
        )
        self.low_rank_, self.sparse_ = result.low_rank, result.sparse
        self.n_components_, self.solution_, self.converged_ = result.rank, result.solution, result.converged
        self.components_ = vt[: result.rank].astype(result.low_rank.dtype)
        # Rounding error, where there is no noise; of a wide table, every sample has a noise of its own.
        floor = AGREES[torch.float64] * np.abs(known).max(axis=0) + np.finfo(np.float64).tiny
        noise = 0.0 if result.noise is None else np.median(np.broadcast_to(result.noise, known.shape), axis=0)
        self.noise_ = np.maximum(noise, floor)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The coordinates (samples, rank) of samples (samples, features; NaN = missing).

        They are told from the entries that agree with the components up to noise: ``transform(X) @ components_`` is X
        without its gross errors. Features of which the others told nothing (``low_rank_`` is NaN) are not looked at.
        """
        if not hasattr(self, "components_"):
            raise _not_fitted()
        array = self._checked(X, reset=False)
        noise = torch.from_numpy(self.noise_)[:, None]
        values = torch.from_numpy(np.array(array, dtype=np.float64).T) / noise
        basis = torch.from_numpy(self.components_.astype(np.float64).T) / noise
        if basis.shape[1] == 0:
            return np.zeros((len(array), 0), self.components_.dtype)
        known = ~values.isnan() & torch.from_numpy(~np.isnan(self.low_rank_).all(axis=0))[:, None]
        values = values.nan_to_num()
        found, _, near = fit_lines(values, basis, None if bool(known.all()) else known, noise=1.0)
        if len(basis) <= narrow.COLUMNS:
            good = search(values.T, known.T, near.T, basis, torch.ones_like(basis[:, 0]))
            found = weighted_fit(values, basis, (basis[:, :, None] * basis[:, None, :]).flatten(1), good.T.to(values))
        return found.T.numpy().astype(self.components_.dtype)

    def fit_transform(self, X: ArrayLike, y: object = None) -> np.ndarray:
        """:meth:`fit`, then :meth:`transform` of the same samples."""
        return self.fit(X, y).transform(X)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Samples (samples, features) of coordinates (samples, rank)."""
        if not hasattr(self, "components_"):
            raise _not_fitted()
        samples: np.ndarray = np.asarray(X) @ self.components_
        return samples

    @property
    def _n_features_out(self) -> int:
        """For scikit-learn's names of features."""
        return self.n_components_

    def _checked(self, X: ArrayLike, *, reset: bool) -> np.ndarray:
        """As an array of numbers, with as many features as before unless ``reset``."""
        options: dict[str, Any] = {"reset": reset, "dtype": [np.float64, np.float32]}
        try:
            from sklearn.utils.validation import validate_data
        except ImportError:
            if hasattr(self, "_validate_data"):  # scikit-learn before 1.6
                checked: np.ndarray = self._validate_data(X, force_all_finite="allow-nan", **options)
                return checked
            return self._checked_alone(X, reset=reset)
        checked = validate_data(self, X, ensure_all_finite="allow-nan", **options)
        return checked

    def _checked_alone(self, X: ArrayLike, *, reset: bool) -> np.ndarray:
        array = checked_array(X)
        if reset:
            self.n_features_in_ = array.shape[1]
        elif array.shape[1] != self.n_features_in_:
            raise InputError(f"X has {array.shape[1]} features, and RobustPCA was fitted to {self.n_features_in_}")
        return array

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # of scikit-learn's mixins
        tags.input_tags.allow_nan = True
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """The same for scikit-learn before 1.6."""
        return {"allow_nan": True}


def _not_fitted() -> Exception:
    text = "This RobustPCA instance is not fitted yet; call fit first"
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        return InputError(text)
    error: Exception = NotFittedError(text)
    return error
