"""Convolutions with quantised weights, for inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlext import functional as F
from mlext.functional._geometry import Padding, Sizes
from mlext.functional._layout import LAST
from mlext.nn._rounding import quantize_filters
from mlext.nn.conv import Conv1d, Conv2d, Filters
from mlext.nn.quantized import in_float32, keep_buffers
from mlext.random import Generator
from mlext.tensor import Tensor


class _QuantizedConvolution(Filters):
    """What the two share: the bytes, and how they are made."""

    values: Tensor
    scale: Tensor
    offset: Tensor
    x_scale: Tensor
    x_zero: Tensor

    @classmethod
    def from_conv(cls, layer: Any, low: float, high: float) -> Any:
        """Quantise a layer for inputs from ``low`` to ``high``; what lies beyond becomes the nearer end."""
        made = cls.__new__(cls)
        sizes = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        made._start(*sizes, layer.groups, layer.activation, layer.data_format)
        made._take(layer, low, high)
        return made

    def _take(self, layer: Any, low: float, high: float) -> None:
        keep_buffers(self, quantize_filters(layer.weight, layer.bias, low, high))

    def _run(self, convolution: Callable[..., Any], x: Any, activation: str | None) -> Any:
        held = (self.values, self.scale, self.offset, self.x_scale, self.x_zero)
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return convolution(in_float32(x), *held, *geometry, activation, data_format=self.data_format)


class QuantizedConv2d(_QuantizedConvolution):
    """Convolution of images in bytes, for inference: 8-bit weights and inputs, 32-bit sums.

    The formula is that of :func:`mlext.functional.quantized_conv2d`. :func:`mlext.quantize` makes one of a trained
    Conv2d; a new one is a new Conv2d, quantised for inputs from -1 to 1. Nothing in it is trained.

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
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the same kernel.
    data_format : {"channels_last", "channels_first"}
        Whether x and the output are (N, H, W, C) or (N, C, H, W).
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (N, H, W, C) with C = in_channels; floating dtypes other than float32 are converted
    values : (O, R, S, C / groups) int8, with up to 3 zeros behind the channels; scale, offset : (O,) float32
    x_scale : (1,) float32; x_zero : (1,) uint8
    output : (N, P, Q, O) float32

    Raises
    ------
    ValueError
        If a size is not positive, groups do not divide the channels, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.QuantizedConv2d(3, 8, 3, padding="same", rng=0)
    >>> layer.predict(ml.ones(2, 32, 32, 3)).shape
    (2, 32, 32, 8)

    References
    ----------
    Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference".
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
        *,
        activation: str | None = None,
        data_format: str = LAST,
        rng: Generator | int | None = None,
    ) -> None:
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self._start(*sizes, activation, data_format)
        self._take(Conv2d(*sizes, rng=rng), -1.0, 1.0)

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        return self._run(F.quantized_conv2d, x, activation)


class QuantizedConv1d(_QuantizedConvolution):
    """Convolution of sequences in bytes: :class:`QuantizedConv2d` for one axis.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation, groups : int
        As in :class:`QuantizedConv2d`.
    padding : int, pair of int, "same" or "valid"
        Zeros at both ends, or before and after.
    activation, data_format, rng
        As in :class:`QuantizedConv2d`.

    Shapes
    ------
    x : (N, T, C) with C = in_channels; floating dtypes other than float32 are converted
    values : (O, S, C / groups) int8, with up to 3 zeros behind the channels; scale, offset : (O,) float32
    x_scale : (1,) float32; x_zero : (1,) uint8
    output : (N, Q, O) float32

    Raises
    ------
    ValueError
        As :class:`QuantizedConv2d`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.QuantizedConv1d(4, 6, 3, rng=0).predict(ml.ones(2, 10, 4)).shape
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
        *,
        activation: str | None = None,
        data_format: str = LAST,
        rng: Generator | int | None = None,
    ) -> None:
        self._start(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, activation, data_format)
        layer = Conv1d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, rng=rng)
        self._take(layer, -1.0, 1.0)

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        return self._run(F.quantized_conv1d, x, activation)
