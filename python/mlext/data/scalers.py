"""Scaling of features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MinMaxScaler", "StandardScaler"]


class _Scaler:
    """Affine scaling of each feature: ``y = (x - offset) / scale + low``."""

    _low = 0.0

    def __init__(self) -> None:
        self.offset: NDArray[np.float64] | None = None
        self.scale: NDArray[np.float64] | None = None

    def _statistics(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return offset and scale; the scale of a constant feature is not 0."""
        raise NotImplementedError

    def fit(self, x: ArrayLike) -> Self:
        """Take the statistics of ``x``, shape (N, ...), over its first axis.

        Raises
        ------
        TypeError
            If `x` is not numeric.
        ValueError
            If it is empty or not finite.
        """
        array = self._check(x, "fit")
        if array.size == 0:
            raise ValueError(
                f"{type(self).__name__}.fit: argument 'x': expected at least one row, got shape {array.shape}"
            )
        self.offset, self.scale = self._statistics(array.astype(np.float64))
        return self

    def transform(self, x: ArrayLike) -> NDArray[Any]:
        """Scale ``x``; floating types are kept, others become float64.

        Raises
        ------
        RuntimeError
            If `fit` has not been called.
        ValueError
            If features differ from those of `fit`, or values are not finite.
        """
        array = self._check(x, "transform")
        offset, scale = self._fitted(array, "transform")
        result = (array - offset) / scale + self._low
        return self._cast(result, array)

    def inverse_transform(self, x: ArrayLike) -> NDArray[Any]:
        """Undo `transform`."""
        array = self._check(x, "inverse_transform")
        offset, scale = self._fitted(array, "inverse_transform")
        return self._cast((array - self._low) * scale + offset, array)

    def fit_transform(self, x: ArrayLike) -> NDArray[Any]:
        """Fit ``x``, then scale it."""
        return self.fit(x).transform(x)

    def state_dict(self) -> dict[str, NDArray[np.float64]]:
        """Return the statistics as arrays by name."""
        if self.offset is None or self.scale is None:
            raise RuntimeError(f"{type(self).__name__}.state_dict: call fit first")
        return {"offset": self.offset.copy(), "scale": self.scale.copy()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over the statistics from `state_dict`."""
        where = f"{type(self).__name__}.load_state_dict"
        if set(state) != {"offset", "scale"}:
            raise ValueError(f"{where}: expected the keys offset and scale, got {sorted(state)}")
        offset = np.array(state["offset"], np.float64)
        scale = np.array(state["scale"], np.float64)
        good = offset.shape == scale.shape and np.isfinite(offset).all() and (scale > 0).all()
        if not (good and np.isfinite(scale).all()):
            raise ValueError(f"{where}: expected finite arrays of one shape, scale > 0")
        self.offset, self.scale = offset, scale

    def _check(self, x: ArrayLike, what: str) -> NDArray[Any]:
        array = np.asarray(x)
        where = f"{type(self).__name__}.{what}: argument 'x'"
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{where}: expected numbers, got {array.dtype}")
        if array.ndim == 0:
            raise ValueError(f"{where}: expected rows of features (N, ...), got a scalar")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"{where}: value at {first} is {array[first]}, expected finite values")
        return array

    def _fitted(self, array: NDArray[Any], what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        where = f"{type(self).__name__}.{what}"
        if self.offset is None or self.scale is None:
            raise RuntimeError(f"{where}: call fit first")
        if array.shape[1:] != self.offset.shape:
            raise ValueError(
                f"{where}: argument 'x': expected shape (N, *{self.offset.shape}) as in fit, got {array.shape}"
            )
        return self.offset, self.scale

    @staticmethod
    def _cast(result: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
        return result.astype(like.dtype if like.dtype.kind == "f" else np.float64, copy=False)


class StandardScaler(_Scaler):
    """Give each feature mean 0 and variance 1.

    ::

        y = (x - mean) / sqrt(mean((x - mean)**2))

    Shapes
    ------
    x : (N, ...), each position after the first axis is a feature.

    Examples
    --------
    >>> StandardScaler().fit_transform([[1.0], [3.0]]).tolist()
    [[-1.0], [1.0]]
    """

    def _statistics(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, std = x.mean(axis=0), x.std(axis=0)
        # The mean's rounding leaves a constant feature a spread of a few ulps.
        ulps = np.abs(mean) * np.finfo(np.float64).eps * 10
        return mean, np.where(std <= ulps, 1.0, std)


class MinMaxScaler(_Scaler):
    """Map each feature's range to a given one.

    ::

        y = low + (x - min) / (max - min) * (high - low)

    Parameters
    ----------
    feature_range : (float, float)
        low and high.

    Shapes
    ------
    x : (N, ...), each position after the first axis is a feature.

    Examples
    --------
    >>> MinMaxScaler().fit_transform([[1.0], [2.0], [5.0]]).tolist()
    [[0.0], [0.25], [1.0]]
    """

    def __init__(self, feature_range: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__()
        low, high = feature_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"MinMaxScaler: argument 'feature_range': expected low < high, got {feature_range}")
        self.feature_range = (float(low), float(high))
        self._low = float(low)

    def _statistics(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        low, high = self.feature_range
        least = x.min(axis=0)
        spread = x.max(axis=0) - least
        return least, np.where(spread == 0, 1.0, spread) / (high - low)
