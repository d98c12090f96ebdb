"""Metrics of regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlext.metrics.checks import number_pair

__all__ = ["mae", "mse", "r2", "r2_from_sums", "rmse"]


def mse(prediction: ArrayLike, target: ArrayLike) -> float:
    """Return the mean squared error, over all elements.

    Parameters
    ----------
    prediction, target : array
        Of one shape; there is no broadcasting.

    Raises
    ------
    TypeError
        If an argument is not numeric.
    ValueError
        If shapes differ, there are no elements, or a value is not finite.

    Examples
    --------
    >>> mse([1.0, 4.0], [1.0, 2.0])
    2.0
    """
    p, t = number_pair(prediction, target, "mse")
    return float(np.square(p - t).mean())


def mae(prediction: ArrayLike, target: ArrayLike) -> float:
    """Return the mean absolute error, over all elements; see `mse`.

    Examples
    --------
    >>> mae([1.0, 4.0], [1.0, 2.0])
    1.0
    """
    p, t = number_pair(prediction, target, "mae")
    return float(np.abs(p - t).mean())


def rmse(prediction: ArrayLike, target: ArrayLike) -> float:
    """Return the root of the mean squared error, for several outputs the mean of their roots.

    Parameters
    ----------
    prediction, target : array
        Shape (N,) or (N, outputs...), both the same.

    Examples
    --------
    >>> rmse([3.0, 4.0], [0.0, 0.0])  # doctest: +ELLIPSIS
    3.5355...
    """
    p, t = columns(*number_pair(prediction, target, "rmse"))
    return float(np.sqrt(np.square(p - t).mean(axis=0)).mean())


def r2(prediction: ArrayLike, target: ArrayLike) -> float:
    """Return the coefficient of determination, for several outputs the mean of theirs.

    ::

        r2 = 1 - sum((target - prediction)**2) / sum((target - mean(target))**2)

    For a constant target it is 1 if every prediction is exact, else 0.

    Parameters
    ----------
    prediction, target : array
        Shape (N,) or (N, outputs...), both the same; N at least 2.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])  # doctest: +ELLIPSIS
    0.7857...
    """
    p, t = columns(*number_pair(prediction, target, "r2"))
    return r2_from_sums(len(t), np.square(t - p).sum(axis=0), np.square(t - t.mean(axis=0)).sum(axis=0))


def r2_from_sums(count: int, residual: NDArray[np.float64], total: NDArray[np.float64]) -> float:
    """Compute R2 from the sums of squares of each output."""
    if count < 2:
        raise ValueError(f"r2: expected at least 2 targets, got {count}")
    constant = np.where(residual == 0, 1.0, 0.0)
    values = np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant)
    return float(values.mean())


def columns(p: NDArray[np.float64], t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reshape both to (N, outputs)."""
    count = len(p) if p.ndim else 1
    return p.reshape(count, -1), t.reshape(count, -1)
