"""Affine and bilinear layers."""

from __future__ import annotations

import math
from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional._fused import check_activation
from mlext.nn._activated import Activated
from mlext.nn._door import positive_int
from mlext.nn.module import Module
from mlext.random import Generator, resolve
from mlext.tensor import Parameter


class Linear(Activated):
    """Affine map with an optional activation.

        y = act(x W^T + b)

    Weight and bias start uniform in ``[-1/sqrt(in), 1/sqrt(in))``.

    Parameters
    ----------
    in_features : int
        Size of the last axis of the input.
    out_features : int
        Size of the last axis of the output.
    bias : bool
        Whether b is added.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the same kernel.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (..., C) with C = in_features
    weight : (O, C), bias : (O,)
    output : (..., O)

    Raises
    ------
    ValueError
        If a size is not positive, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.Linear(3, 2, rng=0)
    >>> layer(ml.ones(5, 3)).shape
    (5, 2)

    References
    ----------
    He et al. 2015, "Delving deep into rectifiers".
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        activation: str | None = None,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Generator | int | None = None,
    ) -> None:
        self.in_features = positive_int("Linear", "in_features", in_features)
        self.out_features = positive_int("Linear", "out_features", out_features)
        check_activation("Linear", activation)
        self.activation = activation
        rng, bound = resolve(rng), 1 / math.sqrt(in_features)
        shape = (out_features, in_features)
        self.weight = Parameter(rng.uniform(shape, low=-bound, high=bound, dtype=dtype))
        self.bias = Parameter(rng.uniform(out_features, low=-bound, high=bound, dtype=dtype)) if bias else None

    def run_with(self, x: Any, activation: str | None, residual: Any = None) -> Any:
        """Apply the layer, add a residual and apply an activation in one kernel."""
        return F.linear(x, self.weight, self.bias, activation, residual=residual)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return sizes_text(self, f", bias={self.bias is not None}")


def sizes_text(layer: Any, options: str = "") -> str:
    """Return what ``repr`` shows of an affine layer: sizes, further options, the activation if there is one."""
    fused = f", activation={layer.activation!r}" if layer.activation else ""
    return f"in_features={layer.in_features}, out_features={layer.out_features}{options}{fused}"


class Bilinear(Module):
    """Bilinear map of two inputs.

        y_o = x1^T W_o x2 + b_o

    Parameters
    ----------
    in1_features, in2_features : int
        Sizes of the last axes of the inputs.
    out_features : int
        Size of the last axis of the output.
    bias : bool
        Whether b is added.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x1 : (..., C1), x2 : (..., C2)
    weight : (O, C1, C2), bias : (O,)
    output : (..., O)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Bilinear(3, 4, 2)(ml.ones(5, 3), ml.ones(5, 4)).shape
    (5, 2)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Generator | int | None = None,
    ) -> None:
        self.in1_features = positive_int("Bilinear", "in1_features", in1_features)
        self.in2_features = positive_int("Bilinear", "in2_features", in2_features)
        self.out_features = positive_int("Bilinear", "out_features", out_features)
        rng, bound = resolve(rng), 1 / math.sqrt(in1_features)
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(rng.uniform(shape, low=-bound, high=bound, dtype=dtype))
        self.bias = Parameter(rng.uniform(out_features, low=-bound, high=bound, dtype=dtype)) if bias else None

    def forward(self, x1: Any, x2: Any) -> Any:
        """Apply the layer."""
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
