"""Scaling, one-hot encoding and splitting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from mlext.data.rng import as_generator
from mlext.data.scalers import MinMaxScaler, StandardScaler

__all__ = ["MinMaxScaler", "StandardScaler", "one_hot", "train_test_split"]


def one_hot(labels: ArrayLike, classes: int | None = None, *, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Turn integer labels into rows with a single 1.

    Parameters
    ----------
    labels : array of int
        Of any shape, in 0..classes-1.
    classes : int, optional
        Number of classes; by default the largest label plus one.
    dtype : dtype-like
        Of the result.

    Returns
    -------
    ndarray
        Shape (*labels.shape, classes).

    Raises
    ------
    TypeError
        If labels are not integers.
    IndexError
        If a label is out of range.
    ValueError
        If `classes` is not positive, or missing while there are no labels.

    Examples
    --------
    >>> one_hot([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"one_hot: argument 'labels': expected integers, got {array.dtype}")
    if classes is None:
        if array.size == 0:
            raise ValueError("one_hot: argument 'classes': needed where there are no labels")
        classes = int(array.max()) + 1 if array.max() >= 0 else 1
    if classes < 1:
        raise ValueError(f"one_hot: argument 'classes': expected at least 1, got {classes}")
    bad = np.argwhere((array < 0) | (array >= classes))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise IndexError(f"one_hot: argument 'labels': expected 0..{classes - 1}, got {array[where]} at {where}")
    result = np.zeros((*array.shape, classes), dtype)
    np.put_along_axis(result, array[..., None].astype(np.int64), 1, axis=-1)
    return result


def train_test_split(
    *arrays: ArrayLike,
    test_size: float | int = 0.25,
    shuffle: bool = True,
    stratify: ArrayLike | None = None,
    rng: np.random.Generator | int | None = None,
) -> list[NDArray[Any]]:
    """Split arrays of equal length into a training and a test part.

    Parameters
    ----------
    *arrays : array
        Split alike, along the first axis.
    test_size : float or int
        A fraction (rounded up) or a number of rows.
    shuffle : bool
        Draw the test rows at random; otherwise they are the last ones.
    stratify : array, optional
        Labels (N,): each part gets every label in the proportion of the whole, as nearly as
        whole rows allow.
    rng : Generator, int or None
        Source of randomness or its seed.

    Returns
    -------
    list of ndarray
        ``[a_train, a_test, b_train, b_test, ...]``

    Raises
    ------
    ValueError
        If lengths differ, a part would be empty, or `stratify` cannot be satisfied.

    Examples
    --------
    >>> train_test_split([1, 2, 3, 4], test_size=1, shuffle=False)
    [array([1, 2, 3]), array([4])]
    """
    parts = [np.asarray(array) for array in arrays]
    count = _common_length(parts)
    test = _test_count(test_size, count)
    if stratify is not None:
        if not shuffle:
            raise ValueError("train_test_split: argument 'stratify': needs shuffle=True")
        train_rows, test_rows = _stratified(np.asarray(stratify), count, test, as_generator(rng))
    else:
        order = as_generator(rng).permutation(count) if shuffle else np.arange(count)
        train_rows, test_rows = order[: count - test], order[count - test :]
    return [part[rows] for part in parts for rows in (train_rows, test_rows)]


def _common_length(parts: list[NDArray[Any]]) -> int:
    if not parts:
        raise ValueError("train_test_split: expected at least one array")
    shapes = [part.shape for part in parts]
    if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"train_test_split: expected arrays of equal length, got shapes {shapes}")
    return len(parts[0])


def _test_count(test_size: float | int, count: int) -> int:
    """Rows of the test part."""
    where = "train_test_split: argument 'test_size'"
    if isinstance(test_size, bool) or not isinstance(test_size, int | float | np.number):
        raise TypeError(f"{where}: expected int or float, got {type(test_size).__name__}")
    if isinstance(test_size, float | np.floating):
        if not 0.0 < test_size < 1.0:
            raise ValueError(f"{where}: expected a fraction between 0 and 1, got {test_size}")
        test = math.ceil(count * test_size)
    else:
        test = int(test_size)
    if not 0 < test < count:
        raise ValueError(f"{where}: {test} of {count} rows leave a part empty")
    return test


def _stratified(
    labels: NDArray[Any], count: int, test: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of both parts, labels in proportion by the largest-remainder rule."""
    where = "train_test_split: argument 'stratify'"
    if labels.shape != (count,):
        raise ValueError(f"{where}: expected shape ({count},), got {labels.shape}")
    names, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.min() < 2:
        raise ValueError(f"{where}: label {names[sizes.argmin()]} occurs once, expected twice")
    if test < len(names) or count - test < len(names):
        raise ValueError(f"{where}: {len(names)} labels do not fit {count - test} + {test} rows")
    exact = sizes * (test / count)
    take = np.floor(exact).astype(np.int64)
    take[np.argsort(take - exact, kind="stable")[: test - int(take.sum())]] += 1
    order = rng.permutation(count)
    by_label = order[np.argsort(codes.reshape(-1)[order], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.arange(count) - np.repeat(starts, sizes)
    chosen = np.zeros(count, bool)
    chosen[by_label] = rank < np.repeat(take, sizes)
    return order[~chosen[order]], order[chosen[order]]
