"""Pooling of sequences and images, channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, keep, record
from mlext.functional._geometry import Geometry, Padding, Sizes, as_pair, check_rank, geometry_of


def max_pool2d(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    ceil_mode: bool = False,
    activation: str | None = None,
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
    if activation not in (None, "relu"):
        raise ValueError(f"max_pool2d: argument 'activation': expected None or 'relu', got {activation!r}")
    geometry = _windows("max_pool2d", x, kernel_size, stride, padding)
    return _pool("max_pool2d", x, geometry, False, ceil_mode, activation == "relu")


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Mean of each channel under a window.

    Parameters
    ----------
    x, kernel_size, stride, padding, ceil_mode
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
    geometry = _windows("avg_pool2d", x, kernel_size, stride, padding)
    return _pool("avg_pool2d", x, geometry, False, ceil_mode, count_include_pad)


def max_pool1d(
    x: ArrayLike, kernel_size: int, stride: int | None = None, padding: int = 0, *, ceil_mode: bool = False
) -> Any:
    """Largest value under a window of a sequence: :func:`max_pool2d` of images of one row.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, T, C)
        Sequences.
    kernel_size, stride, padding, ceil_mode
        As in :func:`max_pool2d`, for one axis.

    Returns
    -------
    Tensor or ndarray, shape (N, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.max_pool1d(ml.ones(1, 9, 2), 2).shape
    (1, 4, 2)
    """
    return _of_sequences(max_pool2d, "max_pool1d", x, kernel_size, stride, padding, ceil_mode=ceil_mode)


def avg_pool1d(
    x: ArrayLike,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Mean under a window of a sequence: :func:`avg_pool2d` of images of one row.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, T, C)
        Sequences.
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in :func:`avg_pool2d`, for one axis.

    Returns
    -------
    Tensor or ndarray, shape (N, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.avg_pool1d(ml.ones(1, 9, 2), 3, 2).shape
    (1, 4, 2)
    """
    options = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return _of_sequences(avg_pool2d, "avg_pool1d", x, kernel_size, stride, padding, **options)


def adaptive_max_pool2d(x: ArrayLike, output_size: Sizes) -> Any:
    """Largest value under windows that divide an image into ``output_size`` parts.

    Row i of the result sees the rows ``floor(i H / P)`` to ``ceil((i + 1) H / P)`` of x, and so for columns.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    output_size : int or pair of int
        Rows and columns of the result.

    Returns
    -------
    Tensor or ndarray, shape (N, P, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.adaptive_max_pool2d(ml.ones(1, 7, 5, 3), 2).shape
    (1, 2, 2, 3)
    """
    return _pool("max_pool2d", x, _parts("adaptive_max_pool2d", x, output_size), True, False, False)


def adaptive_avg_pool2d(x: ArrayLike, output_size: Sizes) -> Any:
    """Mean under windows that divide an image into ``output_size`` parts, those of :func:`adaptive_max_pool2d`.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    output_size : int or pair of int
        Rows and columns of the result.

    Returns
    -------
    Tensor or ndarray, shape (N, P, Q, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.adaptive_avg_pool2d(ml.ones(1, 7, 5, 3), (3, 1)).shape
    (1, 3, 1, 3)
    """
    return _pool("avg_pool2d", x, _parts("adaptive_avg_pool2d", x, output_size), True, False, False)


def global_max_pool2d(x: ArrayLike) -> Any:
    """Largest value of each channel of an image.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.

    Returns
    -------
    Tensor or ndarray, shape (N, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.global_max_pool2d(ml.ones(2, 7, 5, 3)).shape
    (2, 3)
    """
    return _whole(adaptive_max_pool2d(x, 1))


def global_avg_pool2d(x: ArrayLike) -> Any:
    """Mean of each channel of an image.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.

    Returns
    -------
    Tensor or ndarray, shape (N, C)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.global_avg_pool2d(ml.ones(2, 7, 5, 3)).shape
    (2, 3)
    """
    return _whole(adaptive_avg_pool2d(x, 1))


# ---- kernels and their way back ------------------------------------------------------------------------------------

_KERNELS = {
    "max_pool2d": (_C.max_pool2d, _C.max_pool2d_gradient),
    "avg_pool2d": (_C.avg_pool2d, _C.avg_pool2d_gradient),
}


def _pool(name: str, x: Any, geometry: Geometry, *flags: bool) -> Any:
    run, gradient = _KERNELS[name]
    if not _C.tracks(x):
        return run(x, geometry, *flags)
    x = keep(x)
    y = run(x, geometry, *flags)
    saved = (x, y) if name == "max_pool2d" else ()
    return record(y, name, (x,), (lambda g: gradient(g, x, y, geometry, *flags),), saved)


def _of_sequences(
    pool: Callable[..., Any], name: str, x: Any, size: int, stride: Any, padding: int, **options: Any
) -> Any:
    from mlext.functional.shape import expand_dims, squeeze

    check_rank(name, "x", x, "(N, T, C)")
    steps = size if stride is None else stride
    return squeeze(pool(expand_dims(x, 1), (1, size), (1, steps), (0, padding), **options), 1)


def _windows(name: str, x: Any, kernel_size: Any, stride: Any, padding: Any) -> Geometry:
    check_rank(name, "x", x, "(N, H, W, C)")
    sizes = as_pair(name, "kernel_size", kernel_size)
    steps = sizes if stride is None else stride
    geometry = geometry_of(name, x.shape[1:3], sizes, steps, padding, 1)
    return (*sizes, *geometry[:6])


def _parts(name: str, x: Any, output_size: Any) -> Geometry:
    check_rank(name, "x", x, "(N, H, W, C)")
    return (*as_pair(name, "output_size", output_size), 1, 1, 0, 0, 0, 0)


def _whole(y: Any) -> Any:
    from mlext.functional.shape import reshape

    return reshape(y, (y.shape[0], y.shape[3]))
