"""Images of another size, channels last or first."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from mlext import _C
from mlext.functional._common import ArrayLike
from mlext.functional._geometry import Sizes, as_pair, check_rank
from mlext.functional._layout import IMAGES, LAST, in_format
from mlext.functional.linear import matmul
from mlext.functional.shape import gather, reshape
from mlext.tensor import Tensor


def interpolate(
    x: ArrayLike,
    size: Sizes | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    *,
    data_format: str = LAST,
) -> Any:
    """Resize images: each pixel of the result is one of x, or a mean of four neighbours.

    Pixel i of P along an axis of H pixels takes, with mode "nearest", pixel ``floor(i H / P)``. With mode "bilinear" it
    lies at ``(i + 1/2) H / P - 1/2``, or with aligned corners at ``i (H - 1) / (P - 1)``, and neighbours count by their
    closeness; beyond the border the last pixel counts.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    size : int or pair of int, optional
        Rows and columns of the result.
    scale_factor : float or pair of float, optional
        Instead of size: that of the result is ``floor(H scale_factor)``.
    mode : {"nearest", "bilinear"}
        What a pixel is made of.
    align_corners : bool
        Whether the outermost pixels, and not their outer edges, lie on each other; for "bilinear" alone.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, H, W, C) or (N, C, H, W).

    Returns
    -------
    Tensor or ndarray, shape (N, P, Q, C)

    Raises
    ------
    TypeError
        If x is not floating.
    ValueError
        If neither or both of size and scale_factor are given, one is not positive, or the mode is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x = np.array([[1.0, 3.0]]).reshape(1, 1, 2, 1)
    >>> ml.functional.interpolate(x, (1, 4))[0, 0, :, 0]
    array([1., 1., 3., 3.])
    >>> ml.functional.interpolate(x, (1, 4), mode="bilinear")[0, 0, :, 0]
    array([1. , 1.5, 2.5, 3. ])
    """
    if data_format != LAST:
        return in_format(interpolate, data_format, IMAGES, x, size, scale_factor, mode, align_corners)
    check_rank("interpolate", "x", x, "(N, H, W, C)")
    n, h, w, c = x.shape
    p, q = _result_size(x, size, scale_factor)
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"interpolate: argument 'mode': expected 'nearest' or 'bilinear', got {mode!r}")
    if align_corners and mode == "nearest":
        raise ValueError("interpolate: argument 'align_corners': expected False for mode 'nearest', got True")
    if mode == "nearest":
        for axis, before, after in ((1, h, p), (2, w, q)):
            if before != after:
                x = gather(x, _like(x, _nearest(before, after)), axis)
        return x
    if h != p:
        rows = _like(x, _weights(h, p, align_corners, x.dtype.name == "float64"))
        x = reshape(matmul(rows, reshape(x, (n, h, w * c))), (n, p, w, c))
    return matmul(_like(x, _weights(w, q, align_corners, x.dtype.name == "float64")), x) if w != q else x


def _result_size(x: Any, size: Any, scale_factor: Any) -> tuple[int, int]:
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: argument 'size': expected either size or scale_factor")
    if size is not None:
        name, result = "size", as_pair("interpolate", "size", size)
    else:
        factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * 2
        name = "scale_factor"
        if len(factors) != 2 or not all(0 < f < float("inf") for f in factors):
            raise ValueError(f"interpolate: argument 'scale_factor': expected positive numbers, got {scale_factor!r}")
        result = int(x.shape[1] * factors[0]), int(x.shape[2] * factors[1])
    if min(result) < 1 or min(x.shape[1:3]) < 1:
        raise ValueError(f"interpolate: argument '{name}': expected positive sizes, got {result} from {x.shape}")
    return result


# Constants are made once for each size: a captured step reads them where they are.


@functools.lru_cache(maxsize=256)
def _nearest(before: int, after: int) -> Tensor:
    return _C.constant(np.arange(after) * before // after)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=256)
def _weights(before: int, after: int, align_corners: bool, wide: bool) -> Tensor:
    """A row for each pixel of the result, a column for each of x."""
    i = np.arange(after)
    if align_corners:
        at = i * ((before - 1) / (after - 1)) if after > 1 else np.zeros(1)
    else:
        at = np.maximum((i + 0.5) * (before / after) - 0.5, 0)
    low = np.minimum(at.astype(np.int64), before - 1)
    weights = np.zeros((after, before))
    weights[i, low] = 1 - (at - low)
    weights[i, np.minimum(low + 1, before - 1)] += at - low
    return _C.constant(weights if wide else weights.astype(np.float32))  # type: ignore[no-any-return]


def _like(x: Any, constant: Tensor) -> Any:
    if isinstance(x, np.ndarray):
        return constant.numpy()
    is_half = constant.dtype.is_floating and x.dtype.itemsize == 2
    return _C.cast(constant, x.dtype.name) if is_half else constant
