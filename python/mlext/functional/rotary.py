"""Positions as rotations of pairs of features."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, keep, record


def rotary(x: ArrayLike, cos: ArrayLike, sin: ArrayLike, *, interleaved: bool = False) -> Any:
    """Turn pairs of features by angles that belong to the position, ``(x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin)``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, T, H, D)
        Queries or keys. A view is taken as it is if the features of a head are neighbours in memory.
    cos, sin : Tensor or ndarray, shape (T, P) or (N, T, P), with 2 P <= D
        Of the angles of each position, float64 for a float64 x and float32 otherwise; constants, without gradients.
        Features from 2 P on stay as they are.
    interleaved : bool
        Pairs are neighbours (2 i, 2 i + 1), and not (i, i + P).

    Returns
    -------
    Tensor or ndarray, shape (N, T, H, D)

    Raises
    ------
    TypeError
        If x is not floating, or ``cos`` or ``sin`` is not of the dtype above.
    ValueError
        If shapes do not fit, or ``cos`` or ``sin`` requires a gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    >>> quarter, none = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    >>> ml.functional.rotary(x, quarter, none)[0, 0, 0]
    array([-3.,  2.,  1.,  4.])
    >>> ml.functional.rotary(x, quarter, none, interleaved=True)[0, 0, 0]
    array([-2.,  1.,  3.,  4.])

    References
    ----------
    Su et al. 2024, "RoFormer: enhanced transformer with rotary position embedding", equation 34.
    """
    for name, constant in (("cos", cos), ("sin", sin)):
        if getattr(constant, "requires_grad", False):
            expected = "expected a constant, got a Tensor that requires a gradient; use .detach()"
            raise ValueError(f"rotary: argument '{name}': {expected}")
    if not _C.tracks(x):
        return _C.rotary(x, cos, sin, interleaved, False)
    cos, sin = keep(cos), keep(sin)
    out = _C.rotary(x, cos, sin, interleaved, False)
    return record(out, "rotary", (x,), (lambda g: _C.rotary(g, cos, sin, interleaved, True),), (cos, sin))
