"""Normalisation over the last axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional._normalization import checked_eps
from mlext.nn._door import positive_int
from mlext.nn.module import Module
from mlext.tensor import Parameter, ones, zeros


def _sizes(name: str, normalized_shape: Any) -> tuple[int, ...]:
    sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    return tuple(positive_int(name, "normalized_shape", size) for size in sizes)


class LayerNorm(Module):
    """Normalisation over the last axes.

    The formula is that of :func:`mlext.functional.layer_norm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Sizes of the axes that are normalised together.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether there are scale and shift.
    bias : bool
        Whether there is a shift.
    dtype : dtype
        Of the parameters.

    Shapes
    ------
    x : (..., *normalized_shape)
    weight, bias : normalized_shape
    output : that of x

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.LayerNorm(6)(ml.ones(2, 8, 6)).shape
    (2, 8, 6)

    References
    ----------
    Ba, Kiros and Hinton 2016, "Layer normalization".
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: dtypes.DTypeLike = dtypes.float32,
    ) -> None:
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = checked_eps("LayerNorm", eps), elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.bias = Parameter(zeros(self.normalized_shape, dtype=dtype)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """Division by the root of the mean square over the last axes.

    The formula is that of :func:`mlext.functional.rms_norm`.

    Parameters
    ----------
    normalized_shape, elementwise_affine, dtype
        As in :class:`LayerNorm`; there is no shift.
    eps : float, optional
        Added to the mean square; by default the machine epsilon of the input.

    Shapes
    ------
    x : (..., *normalized_shape)
    weight : normalized_shape
    output : that of x

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.RMSNorm(6)(ml.ones(2, 8, 6)).shape
    (2, 8, 6)

    References
    ----------
    Zhang and Sennrich 2019, "Root mean square layer normalization".
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: dtypes.DTypeLike = dtypes.float32,
    ) -> None:
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self.eps = None if eps is None else checked_eps("RMSNorm", eps)
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        """Apply the layer."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.normalized_shape}, eps={self.eps}"
