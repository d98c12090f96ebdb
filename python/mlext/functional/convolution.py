"""Convolution of sequences and images, channels last or first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, keep, record
from mlext.functional._fused import Fused, check_activation
from mlext.functional._geometry import (
    Geometry,
    Padding,
    Sizes,
    as_int,
    as_pair,
    check_rank,
    geometry_of,
    geometry_of_sequence,
)
from mlext.functional._layout import IMAGES, LAST, SEQUENCES, in_format
from mlext.functional.shape import expand_dims, squeeze


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
    *,
    residual: ArrayLike | None = None,
    data_format: str = LAST,
) -> Any:
    """Convolution of images, as networks mean it: cross-correlation.

    ``y_npqo = act(sum_rsc x_n,(p s_h + r d_h - t),(q s_w + s d_w - l),c w_orsc + b_o + r_npqo)``, with x taken as 0
    outside of its image; s are strides, d dilations, t and l the padding before the first row and column.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, H, W, C)
        Images.
    weight : Tensor or ndarray, shape (O, R, S, C / groups)
        One filter per output.
    bias : Tensor or ndarray, shape (O,), optional
        Added to every pixel of the result.
    stride, dilation : int or pair of int
        Of rows and columns: pixels between neighbouring places of a filter, and between its neighbouring taps.
    padding : int, pair of int, pair of pairs, "same" or "valid"
        Zeros around the image: as many on all sides, on rows and columns, or before and after each. "same" gives
        ``ceil(H / stride)`` rows, with the odd zero behind; "valid" is 0.
    groups : int
        Channels and outputs fall into so many groups; a filter sees the channels of its group.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the store phase.
    residual : Tensor or ndarray, shape (N, P, Q, O), optional
        Added to the result, in the store phase too, before the activation.
    data_format : {"channels_last", "channels_first"}
        Whether x, residual and the result are (N, H, W, C) or (N, C, H, W).
        The weight has channels last either way.

    Returns
    -------
    Tensor or ndarray, shape (N, P, Q, O)
        ``P = floor((H + padding before and after - d_h (R - 1) - 1) / s_h) + 1`` rows, and so for columns.

    Raises
    ------
    TypeError
        If dtypes differ or are not floating, or a size is not an integer.
    ValueError
        If a shape, stride, padding, dilation or number of groups does not fit, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> x = ml.ones(1, 3, 3, 1)
    >>> ml.functional.conv2d(x, ml.ones(1, 2, 2, 1)).shape
    (1, 2, 2, 1)
    >>> ml.functional.conv2d(x, ml.ones(1, 2, 2, 1), padding="same")[0, :, :, 0]
    Tensor([[4., 4., 2.],
            [4., 4., 2.],
            [2., 2., 1.]])
    >>> ml.functional.conv2d(ml.ones(1, 3, 8, 6), ml.ones(5, 3, 3, 3), data_format="channels_first").shape
    (1, 5, 6, 4)

    References
    ----------
    Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".
    """
    if data_format != LAST:
        rest = stride, padding, dilation, groups, activation
        return in_format(conv2d, data_format, IMAGES, x, weight, bias, *rest, residual=residual)
    check_activation("conv2d", activation)
    check_rank("conv2d", "x", x, "(N, H, W, C)")
    check_rank("conv2d", "weight", weight, "(O, R, S, C / groups)")
    geometry = geometry_of("conv2d", x.shape[1:3], weight.shape[1:3], stride, padding, dilation)
    return _conv("conv2d", x, weight, bias, residual, geometry, as_int("conv2d", "groups", groups), activation)


def conv1d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int = 1,
    groups: int = 1,
    activation: str | None = None,
    *,
    residual: ArrayLike | None = None,
    data_format: str = LAST,
) -> Any:
    """Convolution of sequences: :func:`conv2d` of images of one row.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, T, C)
        Sequences.
    weight : Tensor or ndarray, shape (O, S, C / groups)
        One filter per output.
    bias : Tensor or ndarray, shape (O,), optional
        Added to every step of the result.
    stride, dilation, groups, activation
        As in :func:`conv2d`.
    padding : int, pair of int, "same" or "valid"
        Zeros at both ends, or before and after.
    residual : Tensor or ndarray, shape (N, Q, O), optional
        Added to the result before the activation.
    data_format : {"channels_last", "channels_first"}
        Whether x, residual and the result are (N, T, C) or (N, C, T).
        The weight has channels last either way.

    Returns
    -------
    Tensor or ndarray, shape (N, Q, O)

    Raises
    ------
    TypeError, ValueError
        As :func:`conv2d`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.conv1d(ml.ones(1, 4, 2), ml.ones(1, 3, 2))
    Tensor([[[6.],
             [6.]]])
    """
    if data_format != LAST:
        rest = stride, padding, dilation, groups, activation
        return in_format(conv1d, data_format, SEQUENCES, x, weight, bias, *rest, residual=residual)
    check_activation("conv1d", activation)
    check_rank("conv1d", "x", x, "(N, T, C)")
    check_rank("conv1d", "weight", weight, "(O, S, C / groups)")
    geometry = geometry_of_sequence("conv1d", x.shape[1], weight.shape[1], stride, padding, dilation)
    added = None if residual is None else expand_dims(residual, 1)
    images, filters = expand_dims(x, 1), expand_dims(weight, 1)
    y = _conv("conv1d", images, filters, bias, added, geometry, as_int("conv1d", "groups", groups), activation)
    return squeeze(y, 1)


def conv_transpose2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    activation: str | None = None,
    *,
    data_format: str = LAST,
) -> Any:
    """Transposed convolution: the gradient of :func:`conv2d` for its input, as a layer.

    Every pixel of x adds its multiple of the filter to the result, ``stride`` pixels apart.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, P, Q, O)
        Images.
    weight : Tensor or ndarray, shape (O, R, S, C / groups)
        That of the convolution which takes the result to the shape of x.
    bias : Tensor or ndarray, shape (C,), optional
        Added to every pixel of the result.
    stride, padding, dilation, groups
        Those of that convolution.
    output_padding : int or pair of int
        Rows and columns more, less than the stride.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the store phase.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, H, W, C) or (N, C, H, W).
        The weight has channels last either way.

    Returns
    -------
    Tensor or ndarray, shape (N, H, W, C)
        ``H = (P - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1``, and so for columns.

    Raises
    ------
    TypeError, ValueError
        As :func:`conv2d`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.conv_transpose2d(ml.ones(1, 2, 2, 1), ml.ones(1, 2, 2, 1), stride=2).shape
    (1, 4, 4, 1)

    References
    ----------
    Zeiler et al. 2010, "Deconvolutional networks".
    """
    if data_format != LAST:
        rest = stride, padding, output_padding, groups, dilation, activation
        return in_format(conv_transpose2d, data_format, IMAGES, x, weight, bias, *rest)
    name = "conv_transpose2d"
    check_activation(name, activation)
    check_rank(name, "x", x, "(N, H, W, C)")
    check_rank(name, "weight", weight, "(O, R, S, C / groups)")
    groups = as_int(name, "groups", groups)
    strides, dilations = as_pair(name, "stride", stride), as_pair(name, "dilation", dilation)
    around, more = as_pair(name, "padding", padding), as_pair(name, "output_padding", output_padding)
    sizes = []
    for i in (0, 1):
        if not 0 <= more[i] < max(strides[i], 1):
            raise ValueError(
                f"{name}: argument 'output_padding': expected sizes from 0 to less than stride {stride}, "
                f"got {output_padding}"
            )
        reach = dilations[i] * (weight.shape[1 + i] - 1)
        size = (x.shape[1 + i] - 1) * strides[i] - 2 * around[i] + reach + more[i] + 1
        if size < 1:
            raise ValueError(f"{name}: argument 'padding': expected a result of positive size, got {size}")
        sizes.append(size)
    shape = (x.shape[0], *sizes, weight.shape[3] * groups)
    geometry = (*strides, *around, *around, *dilations)
    return _conv_transpose(x, weight, bias, shape, geometry, groups, activation)


# ---- kernels and their way back ------------------------------------------------------------------------------------


def _conv(
    name: str, x: Any, weight: Any, bias: Any, residual: Any, geometry: Geometry, groups: int, activation: str | None
) -> Any:
    run = _C.conv1d if name == "conv1d" else _C.conv2d
    if not _C.tracks(x, weight, bias, residual):
        return run(x, weight, bias, geometry, groups, activation, False, residual)
    x, weight = keep(x), keep(weight)
    bias, residual = keep(bias), keep(residual)

    def call(act: str | None, before: bool) -> Any:
        return run(x, weight, bias, geometry, groups, act, before, residual)

    fused = Fused(call, activation)
    inner, outputs = fused.inner, weight.shape[:1]
    backward = (
        lambda g: _C.conv2d_input_gradient(inner(g), weight, x.shape, geometry, groups),
        lambda g: _C.conv2d_weight_gradient(inner(g), x, weight.shape, geometry, groups),
        lambda g: _C.sum_to(inner(g), outputs),
        inner,
    )
    return record(fused.out, name, (x, weight, bias, residual), backward, (x, weight, *fused.saved))


def _conv_transpose(
    x: Any, weight: Any, bias: Any, shape: tuple[int, ...], geometry: Geometry, groups: int, activation: str | None
) -> Any:
    if not _C.tracks(x, weight, bias):
        return _C.conv_transpose2d(x, weight, shape, geometry, groups, bias, activation, False)
    x, weight, bias = keep(x), keep(weight), keep(bias)

    def call(act: str | None, before: bool) -> Any:
        return _C.conv_transpose2d(x, weight, shape, geometry, groups, bias, act, before)

    fused = Fused(call, activation)
    inner = fused.inner
    backward = (
        lambda g: _C.conv2d(inner(g), weight, None, geometry, groups),
        lambda g: _C.conv2d_weight_gradient(x, inner(g), weight.shape, geometry, groups),
        lambda g: _C.sum_to(inner(g), shape[3:]),
    )
    return record(fused.out, "conv_transpose2d", (x, weight, bias), backward, (x, weight, *fused.saved))
