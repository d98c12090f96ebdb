"""Pooling of images to a given size, channels last or first."""

from __future__ import annotations

from typing import Any

from mlext.functional._common import ArrayLike
from mlext.functional._geometry import Sizes
from mlext.functional._layout import IMAGES, LAST, in_format
from mlext.functional._pooling import parts, pool
from mlext.functional.shape import squeeze


def adaptive_max_pool2d(x: ArrayLike, output_size: Sizes, *, data_format: str = LAST) -> Any:
    """Largest value under windows that divide an image into ``output_size`` parts.

    Row i of the result sees the rows ``floor(i H / P)`` to ``ceil((i + 1) H / P)`` of x, and so for columns.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    output_size : int or pair of int
        Rows and columns of the result.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, H, W, C) or (N, C, H, W).

    Returns
    -------
    Tensor or ndarray, shape (N, P, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.adaptive_max_pool2d(ml.ones(1, 7, 5, 3), 2).shape
    (1, 2, 2, 3)
    """
    if data_format != LAST:
        return in_format(adaptive_max_pool2d, data_format, IMAGES, x, output_size)
    return pool("max_pool2d", x, parts("adaptive_max_pool2d", x, output_size), True, False, False)


def adaptive_avg_pool2d(x: ArrayLike, output_size: Sizes, *, data_format: str = LAST) -> Any:
    """Mean under windows that divide an image into ``output_size`` parts, those of :func:`adaptive_max_pool2d`.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    output_size : int or pair of int
        Rows and columns of the result.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, H, W, C) or (N, C, H, W).

    Returns
    -------
    Tensor or ndarray, shape (N, P, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.adaptive_avg_pool2d(ml.ones(1, 7, 5, 3), (3, 1)).shape
    (1, 3, 1, 3)
    """
    if data_format != LAST:
        return in_format(adaptive_avg_pool2d, data_format, IMAGES, x, output_size)
    return pool("avg_pool2d", x, parts("adaptive_avg_pool2d", x, output_size), True, False, False)


def global_max_pool2d(x: ArrayLike, *, data_format: str = LAST) -> Any:
    """Largest value of each channel of an image.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    data_format : {"channels_last", "channels_first"}
        Whether x is (N, H, W, C) or (N, C, H, W).

    Returns
    -------
    Tensor or ndarray, shape (N, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.global_max_pool2d(ml.ones(2, 7, 5, 3)).shape
    (2, 3)
    """
    if data_format != LAST:
        return in_format(global_max_pool2d, data_format, IMAGES, x)
    return squeeze(adaptive_max_pool2d(x, 1), (1, 2))


def global_avg_pool2d(x: ArrayLike, *, data_format: str = LAST) -> Any:
    """Mean of each channel of an image.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    data_format : {"channels_last", "channels_first"}
        Whether x is (N, H, W, C) or (N, C, H, W).

    Returns
    -------
    Tensor or ndarray, shape (N, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.global_avg_pool2d(ml.ones(2, 7, 5, 3)).shape
    (2, 3)
    """
    if data_format != LAST:
        return in_format(global_avg_pool2d, data_format, IMAGES, x)
    return squeeze(adaptive_avg_pool2d(x, 1), (1, 2))
