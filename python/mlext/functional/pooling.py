"""Pooling of sequences and images under windows, channels last or first."""

from __future__ import annotations

from typing import Any

from mlext.functional._common import ArrayLike
from mlext.functional._geometry import Padding, Sizes
from mlext.functional._layout import IMAGES, LAST, SEQUENCES, in_format
from mlext.functional._pooling import of_sequences, pool, windows


def max_pool2d(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    ceil_mode: bool = False,
    activation: str | None = None,
    data_format: str = LAST,
) -> Any:
    """Largest value of each channel under a window, ``y_npqc = max_rs x_n,(p s_h + r - t),(q s_w + s - l),c``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    kernel_size : int or pair of int
        Rows and columns of the window.
    stride : int or pair of int, optional
        Pixels between neighbouring windows; by default the size of the window.
    padding : int, pair of int, pair of pairs, "same" or "valid"
        Pixels around the image that no window sees, at most half a window.
    ceil_mode : bool
        Whether a last window that is not whole counts too.
    activation : "relu", optional
        Applied in the same kernel: the relu of the largest value, which is the largest relu.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, H, W, C) or (N, C, H, W).

    Returns
    -------
    Tensor or ndarray, shape (N, P, Q, C)
        NaN where there is one under the window. The gradient goes to the first pixel that has the value.

    Raises
    ------
    TypeError
        If the dtype is not floating, or a size is not an integer.
    ValueError
        If a size is not positive, the padding is more than half of a window, or there is another activation.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    >>> ml.functional.max_pool2d(x, 2)[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    if data_format != LAST:
        options: Any = {"ceil_mode": ceil_mode, "activation": activation}
        return in_format(max_pool2d, data_format, IMAGES, x, kernel_size, stride, padding, **options)
    if activation not in (None, "relu"):
        raise ValueError(f"max_pool2d: argument 'activation': expected None or 'relu', got {activation!r}")
    geometry = windows("max_pool2d", x, kernel_size, stride, padding)
    return pool("max_pool2d", x, geometry, False, ceil_mode, activation == "relu")


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    data_format: str = LAST,
) -> Any:
    """Mean of each channel under a window.

    Parameters
    ----------
    x, kernel_size, stride, padding, ceil_mode, data_format
        As in :func:`max_pool2d`.
    count_include_pad : bool
        Whether padding counts, as 0.

    Returns
    -------
    Tensor or ndarray, shape (N, P, Q, C)

    Raises
    ------
    TypeError, ValueError
        As :func:`max_pool2d`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.avg_pool2d(ml.ones(1, 4, 6, 3), 2).shape
    (1, 2, 3, 3)
    """
    if data_format != LAST:
        options: Any = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
        return in_format(avg_pool2d, data_format, IMAGES, x, kernel_size, stride, padding, **options)
    geometry = windows("avg_pool2d", x, kernel_size, stride, padding)
    return pool("avg_pool2d", x, geometry, False, ceil_mode, count_include_pad)


def max_pool1d(
    x: ArrayLike,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    *,
    ceil_mode: bool = False,
    data_format: str = LAST,
) -> Any:
    """Largest value under a window of a sequence: :func:`max_pool2d` of images of one row.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, T, C)
        Sequences.
    kernel_size, stride, padding, ceil_mode
        As in :func:`max_pool2d`, for one axis.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, T, C) or (N, C, T).

    Returns
    -------
    Tensor or ndarray, shape (N, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.max_pool1d(ml.ones(1, 9, 2), 2).shape
    (1, 4, 2)
    """
    if data_format != LAST:
        return in_format(max_pool1d, data_format, SEQUENCES, x, kernel_size, stride, padding, ceil_mode=ceil_mode)
    return of_sequences(max_pool2d, "max_pool1d", x, kernel_size, stride, padding, ceil_mode=ceil_mode)


def avg_pool1d(
    x: ArrayLike,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    data_format: str = LAST,
) -> Any:
    """Mean under a window of a sequence: :func:`avg_pool2d` of images of one row.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, T, C)
        Sequences.
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in :func:`avg_pool2d`, for one axis.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, T, C) or (N, C, T).

    Returns
    -------
    Tensor or ndarray, shape (N, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.avg_pool1d(ml.ones(1, 9, 2), 3, 2).shape
    (1, 4, 2)
    """
    options: Any = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    if data_format != LAST:
        return in_format(avg_pool1d, data_format, SEQUENCES, x, kernel_size, stride, padding, **options)
    return of_sequences(avg_pool2d, "avg_pool1d", x, kernel_size, stride, padding, **options)
