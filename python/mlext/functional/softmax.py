"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, record


def softmax(x: ArrayLike, axis: int = -1, *, mask: ArrayLike | None = None) -> Any:
    """``exp(x) / sum(exp(x))`` along ``axis``, with the maximum subtracted first.

    Parameters
    ----------
    x : Tensor or ndarray
        Scores of any shape.
    axis : int
        Axis whose elements become probabilities that add up to 1.
    mask : Tensor or ndarray of bool, optional
        Of a shape that broadcasts to that of x: True takes part, anything else becomes 0, whatever it holds. Where
        nothing takes part the probabilities are 0, and so is the gradient.

    Raises
    ------
    IndexError
        If the axis is out of range.
    TypeError
        If x is not floating, or the mask is not bool.
    ValueError
        If the mask does not broadcast to the shape of x.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.softmax(ml.zeros(4))
    Tensor([0.25, 0.25, 0.25, 0.25])
    >>> ml.functional.softmax(ml.zeros(4), mask=ml.tensor([True, False, True, False]))
    Tensor([0.5, 0. , 0.5, 0. ])
    """
    out = _C.softmax(x, axis) if mask is None else _C.masked_softmax(x, mask, axis)
    if not _C.tracks(x):
        return out
    return record(out, "softmax", (x,), (lambda g: _C.softmax_backward(out, g, axis),), (out,))


def log_softmax(x: ArrayLike, axis: int = -1) -> Any:
    """``log(softmax(x))`` along ``axis``, in one stable step."""
    out = _C.log_softmax(x, axis)
    if not _C.tracks(x):
        return out
    return record(out, "log_softmax", (x,), (lambda g: _C.log_softmax_backward(out, g, axis),), (out,))
