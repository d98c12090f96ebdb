"""Sequences: of different lengths as one array, and windows of long ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pack_sequences", "sliding_windows", "unpack_sequences"]


def pack_sequences(sequences: Sequence[ArrayLike], *, value: float = 0) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Put sequences of different lengths into one array, as recurrent layers take them with ``lengths=``.

    Parameters
    ----------
    sequences : sequence of array
        Shapes (T_i, ...), alike behind the first axis, with at least one step each.
    value : float
        What fills the end of the shorter ones.

    Returns
    -------
    padded : ndarray, shape (N, T, ...)
        T is the largest length.
    lengths : ndarray of int64, shape (N)
        Steps of each sequence.

    Raises
    ------
    ValueError
        If there is no sequence, one has no step, or shapes differ behind the first axis.

    Examples
    --------
    >>> padded, lengths = pack_sequences([[1, 2, 3], [4]])
    >>> padded.tolist(), lengths.tolist()
    ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise ValueError("pack_sequences: argument 'sequences': expected at least one sequence, got none")
    for i, array in enumerate(arrays):
        if array.ndim == 0 or len(array) == 0:
            expected = "expected a sequence of at least one step"
            raise ValueError(f"pack_sequences: argument 'sequences': {expected}, got shape {array.shape} at {i}")
        if array.shape[1:] != arrays[0].shape[1:]:
            expected = f"expected steps of shape {arrays[0].shape[1:]}, as the first has"
            raise ValueError(f"pack_sequences: argument 'sequences': {expected}, got {array.shape[1:]} at {i}")
    lengths = np.array([len(array) for array in arrays], np.int64)
    shape = (len(arrays), int(lengths.max()), *arrays[0].shape[1:])
    padded = np.full(shape, value, np.result_type(*arrays))
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded, lengths


def unpack_sequences(padded: ArrayLike, lengths: ArrayLike) -> list[NDArray[Any]]:
    """Cut the sequences out again that :func:`pack_sequences` put into one array; views.

    Parameters
    ----------
    padded : array, shape (N, T, ...)
        Sequences side by side.
    lengths : array of int, shape (N)
        Steps of each, 0 to T.

    Raises
    ------
    ValueError
        If there is not one length for each sequence, or one is not from 0 to T.

    Examples
    --------
    >>> [y.tolist() for y in unpack_sequences([[1, 2, 3], [4, 0, 0]], [3, 1])]
    [[1, 2, 3], [4]]
    """
    array, steps = np.asarray(padded), np.asarray(lengths)
    if array.ndim < 2 or steps.shape != array.shape[:1] or steps.dtype.kind not in "iu":
        expected = f"expected integers, one for each of {array.shape[0] if array.ndim else 0} sequences"
        raise ValueError(f"unpack_sequences: argument 'lengths': {expected}, got {steps.dtype} of shape {steps.shape}")
    if steps.size and not (steps.min() >= 0 and steps.max() <= array.shape[1]):
        worst = steps.min() if steps.min() < 0 else steps.max()
        raise ValueError(f"unpack_sequences: argument 'lengths': expected 0 to {array.shape[1]}, got {worst}")
    return [row[:length] for row, length in zip(array, steps, strict=True)]


def sliding_windows(series: ArrayLike, window: int, horizon: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut a long series into windows and what follows each of them; views.

    Parameters
    ----------
    series : array, shape (T, ...)
        In the order of time.
    window : int
        Steps of an input.
    horizon : int
        Steps of a target, right behind its input.

    Returns
    -------
    inputs : ndarray, shape (N, window, ...)
        One for every place where window and horizon fit: N = T - window - horizon + 1.
    targets : ndarray, shape (N, horizon, ...)
        What follows.

    Raises
    ------
    ValueError
        If ``window`` or ``horizon`` is not positive, or the series is shorter than both.

    Examples
    --------
    >>> x, y = sliding_windows([1, 2, 3, 4, 5], window=3)
    >>> x.tolist(), y.tolist()
    ([[1, 2, 3], [2, 3, 4]], [[4], [5]])
    """
    array = np.asarray(series)
    for name, steps in (("window", window), ("horizon", horizon)):
        if steps < 1:
            raise ValueError(f"sliding_windows: argument '{name}': expected at least one step, got {steps}")
    if array.ndim == 0 or len(array) < window + horizon:
        expected = f"expected at least {window} + {horizon} steps"
        raise ValueError(f"sliding_windows: argument 'series': {expected}, got shape {array.shape}")
    both = np.lib.stride_tricks.sliding_window_view(array, window + horizon, axis=0)
    both = np.moveaxis(both, -1, 1)
    return both[:, :window], both[:, window:]
