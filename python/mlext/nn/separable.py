"""Convolutions of channels by themselves."""

from __future__ import annotations

from typing import Any

from mlext import dtypes
from mlext.functional._geometry import Padding, Sizes
from mlext.functional._layout import LAST
from mlext.nn._door import positive_int
from mlext.nn.conv import Conv2d
from mlext.nn.module import Module
from mlext.random import Generator, resolve


class DepthwiseConv2d(Conv2d):
    """Convolution of each channel with filters of its own: :class:`Conv2d` with a group for each channel.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    kernel_size : int or pair of int
        Rows and columns of a filter.
    depth_multiplier : int
        Filters of each channel; output c m + j is that of filter j of channel c.
    stride, padding, dilation, bias, activation, data_format, dtype, rng
        As in :class:`Conv2d`.

    Shapes
    ------
    x : (N, H, W, C) with C = in_channels
    weight : (C m, R, S, 1) with m = depth_multiplier, bias : (C m,)
    output : (N, P, Q, C m)

    Raises
    ------
    ValueError
        If a size is not positive, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.DepthwiseConv2d(8, 3, padding="same", rng=0)(ml.ones(1, 6, 6, 8)).shape
    (1, 6, 6, 8)
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: Sizes,
        depth_multiplier: int = 1,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Generator | int | None = None,
    ) -> None:
        channels = positive_int("DepthwiseConv2d", "in_channels", in_channels)
        self.depth_multiplier = positive_int("DepthwiseConv2d", "depth_multiplier", depth_multiplier)
        outputs = channels * self.depth_multiplier
        geometry = (kernel_size, stride, padding, dilation)
        super().__init__(
            channels,
            outputs,
            *geometry,
            channels,
            bias,
            activation=activation,
            data_format=data_format,
            dtype=dtype,
            rng=rng,
        )


class SeparableConv2d(Module):
    """Convolution of each channel by itself, and then of each pixel by itself: many fewer products than both at once.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size, depth_multiplier, stride, padding, dilation
        Of the first one, as in :class:`DepthwiseConv2d`; it has no bias.
    bias, activation
        Of the second one.
    data_format, dtype, rng
        As in :class:`Conv2d`.

    Shapes
    ------
    x : (N, H, W, C) with C = in_channels
    depthwise.weight : (C m, R, S, 1), pointwise.weight : (O, 1, 1, C m), pointwise.bias : (O,)
    output : (N, P, Q, O)

    Raises
    ------
    ValueError
        If a size is not positive, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.SeparableConv2d(8, 16, 3, padding="same", rng=0)(ml.ones(1, 6, 6, 8)).shape
    (1, 6, 6, 16)

    References
    ----------
    Chollet 2017, "Xception: deep learning with depthwise separable convolutions".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        depth_multiplier: int = 1,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
        data_format: str = LAST,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Generator | int | None = None,
    ) -> None:
        rng = resolve(rng)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.depth_multiplier, self.stride, self.padding, self.dilation = depth_multiplier, stride, padding, dilation
        self.activation, self.data_format = activation, data_format
        geometry = (kernel_size, depth_multiplier, stride, padding, dilation)
        options: Any = {"data_format": data_format, "dtype": dtype, "rng": rng}
        self.depthwise = DepthwiseConv2d(in_channels, *geometry, bias=False, **options)
        middle = self.depthwise.out_channels
        self.pointwise = Conv2d(middle, out_channels, 1, bias=bias, activation=activation, **options)

    @property
    def bias(self) -> Any:
        """That of the second convolution, or None."""
        return self.pointwise.bias

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return self.pointwise(self.depthwise(x))
