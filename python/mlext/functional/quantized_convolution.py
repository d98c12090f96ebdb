"""Convolution of bytes, for inference with quantised weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike
from mlext.functional._fused import check_activation
from mlext.functional._geometry import Padding, Sizes, as_int, check_rank, geometry_of, geometry_of_sequence
from mlext.functional._layout import IMAGES, LAST, SEQUENCES, in_format
from mlext.functional.quantized import refuse_gradient
from mlext.functional.shape import expand_dims, squeeze


def quantized_conv2d(
    x: ArrayLike,
    values: ArrayLike,
    scale: ArrayLike,
    offset: ArrayLike,
    x_scale: ArrayLike,
    x_zero: ArrayLike,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
    *,
    out_scale: ArrayLike | None = None,
    out_zero: ArrayLike | None = None,
    data_format: str = LAST,
) -> Any:
    """Convolution of images in bytes: :func:`conv2d` of q(x), then ``act(scale_o sum + offset_o)``.

    ``y_npqo = act(scale_o sum_rsc q(x_n,(p s_h + r d_h - t),(q s_w + s d_w - l),c) values_orsc + offset_o)``

    ``q(x) = clamp(round(x / x_scale) + x_zero, 0, 255)``, ties to even; outside of its image x is 0, so that q(x) is
    ``x_zero``. A pixel with a NaN gives NaN at every place whose filter covers it. With ``out_scale`` and ``out_zero``
    the result becomes bytes by the same rule, as the next layer wants them. Sums are exact up to 65,793 products. Has
    no gradient.

    Parameters
    ----------
    x : Tensor or ndarray of float32 or uint8, shape (N, H, W, C)
        Images; of uint8, they are q(x) already.
    values : Tensor or ndarray of int8, shape (O, R, S, C / groups)
        The filters in bytes; up to 3 zeros may follow in the last axis, to a multiple of 4, which saves a copy per
        call.
    scale, offset : Tensor or ndarray of float32, shape (O,)
        What a sum is multiplied by, and what is added then.
    x_scale : Tensor or ndarray of float32, one element
        What a step of a byte of x stands for.
    x_zero : Tensor or ndarray of uint8, one element
        The byte that stands for 0.
    stride, padding, dilation, groups
        As in :func:`conv2d`. Groups of few channels fill few lanes: depthwise convolution is faster in float32.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the store phase.
    out_scale, out_zero : Tensor or ndarray of float32 and of uint8, one element, optional
        What a step of a byte of the result stands for, and the byte that stands for 0.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, H, W, C) or (N, C, H, W). Values have channels last either way.

    Returns
    -------
    Tensor or ndarray of float32, or of uint8 with ``out_scale``, shape (N, P, Q, O)

    Raises
    ------
    TypeError
        If a dtype is another, or a size is not an integer.
    ValueError
        If a shape, stride, padding, dilation or number of groups does not fit, a scale is not positive, the activation
        is unknown, only one of ``out_scale`` and ``out_zero`` is there, or ``x`` has a NaN and the result is to be
        bytes.
    RuntimeError
        If ``x`` tracks gradients.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x = np.ones((1, 3, 3, 1), np.float32)
    >>> values = np.full((1, 2, 2, 1), 50, np.int8)
    >>> scale, offset = np.float32([0.0002]), np.zeros(1, np.float32)
    >>> args = x, values, scale, offset, np.float32([0.01]), np.uint8([0])
    >>> ml.functional.quantized_conv2d(*args, padding="same")[0, :, :, 0]
    array([[4., 4., 2.],
           [4., 4., 2.],
           [2., 2., 1.]], dtype=float32)

    References
    ----------
    Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
    section 2.
    """
    if data_format != LAST:
        held = values, scale, offset, x_scale, x_zero, stride, padding, dilation, groups, activation
        options: Any = {"out_scale": out_scale, "out_zero": out_zero}
        return in_format(quantized_conv2d, data_format, IMAGES, x, *held, **options)
    name = "quantized_conv2d"
    check_activation(name, activation)
    refuse_gradient(name, x)
    check_rank(name, "x", x, "(N, H, W, C)")
    check_rank(name, "values", values, "(O, R, S, C / groups)")
    geometry = geometry_of(name, x.shape[1:3], values.shape[1:3], stride, padding, dilation)
    groups = as_int(name, "groups", groups)
    rest = (scale, offset, x_scale, x_zero, geometry, groups, activation, out_scale, out_zero)
    return _C.quantized_conv2d(x, values, *rest)


def quantized_conv1d(
    x: ArrayLike,
    values: ArrayLike,
    scale: ArrayLike,
    offset: ArrayLike,
    x_scale: ArrayLike,
    x_zero: ArrayLike,
    stride: int = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int = 1,
    groups: int = 1,
    activation: str | None = None,
    *,
    out_scale: ArrayLike | None = None,
    out_zero: ArrayLike | None = None,
    data_format: str = LAST,
) -> Any:
    """Convolution of sequences in bytes: :func:`quantized_conv2d` of images of one row.

    Parameters
    ----------
    x : Tensor or ndarray of float32 or uint8, shape (N, T, C)
        Sequences; of uint8, they are q(x) already.
    values : Tensor or ndarray of int8, shape (O, S, C / groups)
        The filters in bytes; up to 3 zeros may follow in the last axis.
    scale, offset, x_scale, x_zero, activation, out_scale, out_zero
        As in :func:`quantized_conv2d`.
    stride, padding, dilation, groups, data_format
        As in :func:`conv1d`.

    Returns
    -------
    Tensor or ndarray of float32, or of uint8 with ``out_scale``, shape (N, Q, O)

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As :func:`quantized_conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x, values = np.ones((1, 4, 2), np.float32), np.full((1, 3, 2), 50, np.int8)
    >>> scale, offset = np.float32([0.0002]), np.zeros(1, np.float32)
    >>> ml.functional.quantized_conv1d(x, values, scale, offset, np.float32([0.01]), np.uint8([0]))
    array([[[6.],
            [6.]]], dtype=float32)
    """
    if data_format != LAST:
        held = values, scale, offset, x_scale, x_zero, stride, padding, dilation, groups, activation
        options: Any = {"out_scale": out_scale, "out_zero": out_zero}
        return in_format(quantized_conv1d, data_format, SEQUENCES, x, *held, **options)
    name = "quantized_conv1d"
    check_activation(name, activation)
    refuse_gradient(name, x)
    check_rank(name, "x", x, "(N, T, C)")
    check_rank(name, "values", values, "(O, S, C / groups)")
    geometry = geometry_of_sequence(name, x.shape[1], values.shape[1], stride, padding, dilation)
    groups = as_int(name, "groups", groups)
    rest = (scale, offset, x_scale, x_zero, geometry, groups, activation, out_scale, out_zero)
    return squeeze(_C.quantized_conv1d(expand_dims(x, 1), expand_dims(values, 1), *rest), 1)
