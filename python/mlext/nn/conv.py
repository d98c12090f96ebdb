"""Convolutions, channels last or first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional._fused import check_activation
from mlext.functional._geometry import Padding, Sizes
from mlext.functional._layout import LAST, check_format, shown_format
from mlext.nn._activated import Activated
from mlext.nn._door import positive_int
from mlext.random import Generator, resolve
from mlext.tensor import Parameter


class Filters(Activated):
    """What convolutions share: how filters go over the input."""

    axes = 2  # of an image

    def _start(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        activation: str | None,
        data_format: str,
    ) -> None:
        name = type(self).__name__
        self.in_channels = positive_int(name, "in_channels", in_channels)
        self.out_channels = positive_int(name, "out_channels", out_channels)
        sizes = kernel_size if isinstance(kernel_size, (tuple, list)) else (kernel_size,) * self.axes
        if len(sizes) != self.axes:
            raise ValueError(f"{name}: argument 'kernel_size': expected {self.axes} sizes, got {kernel_size!r}")
        self.kernel_size = tuple(positive_int(name, "kernel_size", size) for size in sizes)
        self.groups = positive_int(name, "groups", groups)
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name}: argument 'groups': expected a divisor of {what}={channels}, got {groups}")
        check_activation(name, activation)
        self.data_format = check_format(name, data_format)
        self.stride, self.padding, self.dilation, self.activation = stride, padding, dilation, activation

    def extra_repr(self) -> str:
        """Show the sizes, and what differs from the defaults."""
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "activation": None}
        shown += [f"{name}={getattr(self, name)!r}" for name, value in defaults.items() if getattr(self, name) != value]
        shown += ["bias=False"] * (getattr(self, "bias", True) is None)
        return shown_format(", ".join(shown), self.data_format)


class _Convolution(Filters):
    """With trained filters."""

    def _fill(self, shape: tuple[int, ...], outputs: int, bias: bool, dtype: Any, rng: Any) -> None:
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        rng = resolve(rng)
        self.weight = Parameter(rng.uniform(shape, low=-bound, high=bound, dtype=dtype))
        self.bias = Parameter(rng.uniform(outputs, low=-bound, high=bound, dtype=dtype)) if bias else None


class Conv2d(_Convolution):
    """Convolution of images.

    The formula is that of :func:`mlext.functional.conv2d`. Weight and bias start uniform in ``[-1/sqrt(f), 1/sqrt(f))``
    with f the size of a filter.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int or pair of int
        Rows and columns of a filter.
    stride, dilation : int or pair of int
        Pixels between neighbouring places of a filter, and between its taps.
    padding : int, pair of int, pair of pairs, "same" or "valid"
        Zeros around the image.
    groups : int
        Channels and outputs fall into so many groups that do not mix.
    bias : bool
        Whether b is added.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the same kernel.
    data_format : {"channels_last", "channels_first"}
        Whether x and the output are (N, H, W, C) or (N, C, H, W). The weight has channels last either way.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (N, H, W, C) with C = in_channels
    weight : (O, R, S, C / groups), bias : (O,)
    output : (N, P, Q, O)

    Raises
    ------
    ValueError
        If a size is not positive, groups do not divide the channels, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.Conv2d(3, 8, 3, padding="same", activation="relu", rng=0)
    >>> layer(ml.ones(2, 32, 32, 3)).shape
    (2, 32, 32, 8)

    References
    ----------
    LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Generator | int | None = None,
    ) -> None:
        self._start(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, activation, data_format)
        self._fill((out_channels, *self.kernel_size, in_channels // groups), out_channels, bias, dtype, rng)

    def run_with(self, x: Any, activation: str | None, residual: Any = None) -> Any:
        """Apply the layer, add a residual and apply an activation in one kernel."""
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        options = {"residual": residual, "data_format": self.data_format}
        return F.conv2d(x, self.weight, self.bias, *geometry, activation, **options)


class Conv1d(_Convolution):
    """Convolution of sequences.

    The formula is that of :func:`mlext.functional.conv1d`; the parameters are those of :class:`Conv2d`, for one axis.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation, groups : int
        As in :class:`Conv2d`.
    padding : int, pair of int, "same" or "valid"
        Zeros at both ends, or before and after.
    bias, activation, data_format, dtype, rng
        As in :class:`Conv2d`.

    Shapes
    ------
    x : (N, T, C) with C = in_channels
    weight : (O, S, C / groups), bias : (O,)
    output : (N, Q, O)

    Raises
    ------
    ValueError
        As :class:`Conv2d`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Conv1d(4, 6, 3, rng=0)(ml.ones(2, 10, 4)).shape
    (2, 8, 6)
    """

    axes = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: str | int | Sequence[int] = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Generator | int | None = None,
    ) -> None:
        self._start(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, activation, data_format)
        self._fill((out_channels, *self.kernel_size, in_channels // groups), out_channels, bias, dtype, rng)

    def run_with(self, x: Any, activation: str | None, residual: Any = None) -> Any:
        """Apply the layer, add a residual and apply an activation in one kernel."""
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        options = {"residual": residual, "data_format": self.data_format}
        return F.conv1d(x, self.weight, self.bias, *geometry, activation, **options)


class ConvTranspose2d(_Convolution):
    """Transposed convolution of images: from the output's size of a convolution to its input's.

    The formula is that of :func:`mlext.functional.conv_transpose2d`. Weight and bias start uniform in
    ``[-1/sqrt(f), 1/sqrt(f))`` with f the size of a filter.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride : int, or pair of int
        As in :class:`Conv2d`.
    padding : int or pair of int
        That of the convolution in the other direction: rows and columns of the result that are left out.
    output_padding : int or pair of int
        Rows and columns more, less than the stride.
    groups, bias, dilation, activation, data_format, dtype, rng
        As in :class:`Conv2d`.

    Shapes
    ------
    x : (N, P, Q, O) with O = in_channels
    weight : (O, R, S, C / groups) with C = out_channels, bias : (C,)
    output : (N, H, W, C)

    Raises
    ------
    ValueError
        As :class:`Conv2d`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.ConvTranspose2d(4, 2, 2, stride=2, rng=0)(ml.ones(1, 5, 5, 4)).shape
    (1, 10, 10, 2)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        *,
        activation: str | None = None,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Generator | int | None = None,
    ) -> None:
        self._start(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, activation, data_format)
        self.output_padding = output_padding
        self._fill((in_channels, *self.kernel_size, out_channels // groups), out_channels, bias, dtype, rng)

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        return F.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
            activation,
            data_format=self.data_format,
        )
