"""Layers with quantised weights, for inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import functional as F
from mlext.functional.linear import check_activation
from mlext.nn._door import locate, positive_int
from mlext.nn.linear import Linear
from mlext.nn.module import Module
from mlext.random import Generator
from mlext.tensor import Tensor, tensor


class QuantizedLinear(Module):
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
    activation : {"relu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
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
        self.in_features = positive_int("QuantizedLinear", "in_features", in_features)
        self.out_features = positive_int("QuantizedLinear", "out_features", out_features)
        check_activation("QuantizedLinear", activation)
        self.activation = activation
        self._take(Linear(in_features, out_features, rng=rng), -1.0, 1.0)

    @classmethod
    def from_linear(cls, layer: Linear, low: float, high: float) -> QuantizedLinear:
        """Quantise a layer for inputs from ``low`` to ``high``; what lies beyond becomes the nearer end."""
        made: QuantizedLinear = cls.__new__(cls)
        made.in_features, made.out_features = layer.in_features, layer.out_features
        made.activation = layer.activation
        made._take(layer, low, high)
        return made

    def _take(self, layer: Linear, low: float, high: float) -> None:
        x_scale, x_zero = input_step(low, high)
        values, scale = quantize_rows(layer.weight.detach().numpy(), 127)
        step = scale * np.float64(x_scale)
        bias = 0.0 if layer.bias is None else layer.bias.detach().numpy().astype(np.float64)
        # q(x) stands for x_scale * (q(x) - x_zero): the zero leaves the sum here.
        offset = bias - step * x_zero * values.sum(axis=1)
        padded = np.zeros((len(values), (values.shape[1] + 3) // 4 * 4), np.int8)
        padded[:, : values.shape[1]] = values
        buffers = {
            "values": padded,
            "scale": step.astype(np.float32),
            "offset": offset.astype(np.float32),
            "x_scale": np.array([x_scale], np.float32),
            "x_zero": np.array([x_zero], np.uint8),
        }
        for name, value in buffers.items():
            self.register_buffer(name, tensor(value))

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return self._run(x, self.activation)

    def run_with(self, x: Any, activation: str) -> Any:
        """Apply the layer and an activation in one kernel."""
        try:
            return self._run(x, activation)
        except Exception as error:
            locate(error, self)
            raise

    def _run(self, x: Any, activation: str | None) -> Any:
        x = F.astype(x, "float32")
        return F.quantized_linear(x, self.values, self.scale, self.offset, self.x_scale, self.x_zero, activation)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}" + (
            f", activation={self.activation!r}" if self.activation else ""
        )


def quantize_rows(weight: Any, largest: int) -> tuple[Any, Any]:
    """Return integers from ``-largest`` to ``largest``, and what a step of each row stands for, as float64."""
    weight = weight.astype(np.float64)
    scale = np.abs(weight).max(axis=1, initial=0.0) / largest
    scale[scale == 0] = 1.0  # a row of zeros
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def input_step(low: float, high: float) -> tuple[np.float32, int]:
    """Return what a step of a byte stands for, and the byte of 0, so that ``low`` to ``high`` fit; 0 is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    # No smaller than has a reciprocal in float32.
    scale = np.float32(max((high - low) / 255, 1e-30)) if high > low else np.float32(1)
    return scale, int(np.clip(np.rint(-low / np.float64(scale)), 0, 255))
