"""Layers with quantised weights, for inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import functional as F
from mlext.functional._fused import check_activation
from mlext.nn._activated import Activated
from mlext.nn._door import positive_int
from mlext.nn._rounding import pack_nibbles, quantize_filters, quantize_rows, quantize_rows_to_4_bits
from mlext.nn.linear import Linear, sizes_text
from mlext.nn.module import Module
from mlext.random import Generator
from mlext.tensor import Tensor, tensor


class _Fixed(Activated):
    """What the quantised layers share: sizes, an activation, and no gradient."""

    in_features: int
    out_features: int

    def _start(self, in_features: int, out_features: int, activation: str | None) -> None:
        name = type(self).__name__
        self.in_features = positive_int(name, "in_features", in_features)
        self.out_features = positive_int(name, "out_features", out_features)
        check_activation(name, activation)
        self.activation = activation

    @classmethod
    def _started_like(cls, layer: Linear) -> Any:
        made = cls.__new__(cls)
        made._start(layer.in_features, layer.out_features, layer.activation)
        return made

    def extra_repr(self) -> str:
        """Show the sizes."""
        return sizes_text(self)


def keep_buffers(layer: Module, buffers: dict[str, Any]) -> None:
    """Make arrays the buffers of a layer."""
    for name, value in buffers.items():
        layer.register_buffer(name, None if value is None else tensor(value))


def in_float32(x: Any) -> Any:
    """Return floating numbers of any dtype as float32."""
    return x if getattr(x, "dtype", None) == "float32" else F.astype(x, "float32")


class QuantizedLinear(_Fixed):
    """Affine map in bytes, for inference: 8-bit weights and inputs, 32-bit sums.

        y = act(scale (q(x) values^T) + offset),  q(x) = clamp(round(x / x_scale) + x_zero, 0, 255)

    :func:`mlext.quantize` makes one of a trained Linear; a new one is a new Linear, quantised for inputs from -1 to 1.
    Nothing in it is trained.

    Parameters
    ----------
    in_features : int
        Size of the last axis of the input.
    out_features : int
        Size of the last axis of the output.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the same kernel.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (..., C) with C = in_features; floating dtypes other than float32 are converted
    values : (O, C) int8, with up to 3 columns of zeros behind; scale, offset : (O,) float32
    x_scale : (1,) float32; x_zero : (1,) uint8
    output : (..., O) float32

    Raises
    ------
    ValueError
        If a size is not positive, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.QuantizedLinear(3, 2, rng=0)
    >>> layer.predict(ml.ones(5, 3)).shape
    (5, 2)

    References
    ----------
    Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference".
    """

    values: Tensor
    scale: Tensor
    offset: Tensor
    x_scale: Tensor
    x_zero: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str | None = None,
        rng: Generator | int | None = None,
    ) -> None:
        self._start(in_features, out_features, activation)
        self._take(Linear(in_features, out_features, rng=rng), -1.0, 1.0)

    @classmethod
    def from_linear(cls, layer: Linear, low: float, high: float) -> QuantizedLinear:
        """Quantise a layer for inputs from ``low`` to ``high``; what lies beyond becomes the nearer end."""
        made: QuantizedLinear = cls._started_like(layer)
        made._take(layer, low, high)
        return made

    def _take(self, layer: Linear, low: float, high: float) -> None:
        keep_buffers(self, quantize_filters(layer.weight, layer.bias, low, high))

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        x = in_float32(x)
        return F.quantized_linear(x, self.values, self.scale, self.offset, self.x_scale, self.x_zero, activation)


class WeightOnlyLinear(_Fixed):
    """Affine map with weights of 8 or 4 bits and all else in float32, for inference.

        y = act(x W^T + b),  W_oc = scale_og values_oc with g = c // group_size

    :func:`mlext.quantize` makes one of a trained Linear; a new one is a new Linear, quantised. Nothing in it is
    trained.

    Parameters
    ----------
    in_features : int
        Size of the last axis of the input.
    out_features : int
        Size of the last axis of the output.
    bits : {8, 4}
        Of a weight.
    group_size : int, optional
        Neighbours in a row of the weight that share a scale: a multiple of 32. By default a whole row.
    bias : bool
        Whether b is added.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the same kernel.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (..., C) with C = in_features; floating dtypes other than float32 are converted
    values : (O, C) int8, or for 4 bits (O, 16 ceil(C / 32)) uint8
    scale : (O, ceil(C / group_size)) float32, bias : (O,) float32
    output : (..., O) float32

    Raises
    ------
    ValueError
        If a size is not positive, ``bits`` or ``group_size`` is none of the above, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.WeightOnlyLinear(64, 2, bits=4, group_size=32, rng=0)
    >>> layer.predict(ml.ones(5, 64)).shape
    (5, 2)
    """

    values: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bits: int = 8,
        group_size: int | None = None,
        *,
        bias: bool = True,
        activation: str | None = None,
        rng: Generator | int | None = None,
    ) -> None:
        self._start(in_features, out_features, activation)
        self._take(Linear(in_features, out_features, bias, rng=rng), bits, group_size)

    @classmethod
    def from_linear(cls, layer: Linear, bits: int, group_size: int | None) -> WeightOnlyLinear:
        """Quantise the weight of a layer."""
        made: WeightOnlyLinear = cls._started_like(layer)
        made._take(layer, bits, group_size)
        return made

    def _take(self, layer: Linear, bits: int, group_size: int | None) -> None:
        self.bits, self.group_size = check_bits("WeightOnlyLinear", bits), check_group("WeightOnlyLinear", group_size)
        weight = layer.weight.detach().numpy()
        rows, columns = weight.shape
        size = self._group()
        padded = np.zeros((rows, -(-columns // size) * size), weight.dtype)
        padded[:, :columns] = weight
        groups = padded.reshape(-1, size)
        values, scale = quantize_rows(groups, 127) if bits == 8 else quantize_rows_to_4_bits(groups)
        values = values.reshape(rows, -1)
        buffers = {
            "values": np.ascontiguousarray(values[:, :columns]) if bits == 8 else pack_nibbles(values[:, :columns]),
            "scale": scale.reshape(rows, -1).astype(np.float32),
            "bias": None if layer.bias is None else layer.bias.detach().numpy(),
        }
        keep_buffers(self, buffers)

    def _group(self) -> int:
        return self.in_features if self.group_size is None else self.group_size

    def run_with(self, x: Any, activation: str | None) -> Any:
        """Apply the layer and an activation in one kernel."""
        x = in_float32(x)
        return F.weight_only_linear(x, self.values, self.scale, self.bias, self._group(), activation)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{super().extra_repr()}, bits={self.bits}, group_size={self.group_size}"


def check_bits(name: str, bits: int) -> int:
    """Return ``bits`` if it is 8 or 4."""
    if bits not in (4, 8):
        raise ValueError(f"{name}: argument 'bits': expected 8 or 4, got {bits!r}")
    return bits


def check_group(name: str, group_size: int | None) -> int | None:
    """Return ``group_size`` if it is None or a positive multiple of 32."""
    if group_size is not None and (not isinstance(group_size, int) or group_size < 1 or group_size % 32):
        expected = "None or a positive multiple of 32"
        raise ValueError(f"{name}: argument 'group_size': expected {expected}, got {group_size!r}")
    return group_size
