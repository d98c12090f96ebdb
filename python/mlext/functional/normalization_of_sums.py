"""Normalisation of ``x + residual``, where the sum is a result too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlext.functional._common import ArrayLike, require_array
from mlext.functional._normalization import checked_eps, machine_epsilon, over_sums


def add_layer_norm(
    x: ArrayLike,
    residual: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[Any, Any]:
    """:func:`mlext.functional.layer_norm` of ``x + residual``, and that sum, in one pass; so is the way back.

    Parameters
    ----------
    x, residual : Tensor or ndarray, shape (..., *normalized_shape)
        Of one shape.
    normalized_shape, weight, bias, eps
        As in :func:`mlext.functional.layer_norm`.

    Returns
    -------
    y, sum : Tensors or ndarrays of the shape of x
        What a transformer's next block reads, and what it adds its result to.

    Raises
    ------
    TypeError
        If dtypes differ.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> ml.functional.add_layer_norm(np.array([[1.0, 3.0]]), np.array([[1.0, 5.0]]), 2, eps=0.0)
    (array([[-1.,  1.]]), array([[2., 8.]]))

    References
    ----------
    Ba, Kiros and Hinton 2016, "Layer normalization", equation 4.
    """
    given = checked_eps("add_layer_norm", eps)
    return over_sums("add_layer_norm", x, residual, normalized_shape, weight, bias, given, True)


def add_rms_norm(
    x: ArrayLike,
    residual: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    eps: float | None = None,
) -> tuple[Any, Any]:
    """:func:`mlext.functional.rms_norm` of ``x + residual``, and that sum, in one pass; so is the way back.

    Parameters
    ----------
    x, residual : Tensor or ndarray, shape (..., *normalized_shape)
        Of one shape.
    normalized_shape, weight, eps
        As in :func:`mlext.functional.rms_norm`.

    Returns
    -------
    y, sum : Tensors or ndarrays of the shape of x

    Raises
    ------
    TypeError
        If dtypes differ.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> ml.functional.add_rms_norm(np.array([[1.0, 3.0]]), np.array([[2.0, 0.0]]), 2, eps=0.0)
    (array([[1., 1.]]), array([[3., 3.]]))

    References
    ----------
    Zhang and Sennrich 2019, "Root mean square layer normalization", equation 4.
    """
    require_array("add_rms_norm", "x", x, 1)
    given = machine_epsilon(x) if eps is None else checked_eps("add_rms_norm", eps)
    return over_sums("add_rms_norm", x, residual, normalized_shape, weight, None, given, False)
