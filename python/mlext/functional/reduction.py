"""Reductions over any axes. ``axis=None`` means all of them; ``keepdims`` keeps reduced axes with size 1."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, Axis, as_axes, record


def _spread(g: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    """A gradient of a reduction, with the reduced axes back as size 1."""
    if keepdims or x.ndim == 0:
        return g
    if axes is None:
        return _C.reshape(g, (1,) * x.ndim)
    return _C.expand_dims(g, tuple(sorted(a % x.ndim for a in axes)))


def _count(x: Any, axes: Any) -> int:
    if axes is None:
        return int(x.size)
    count = 1
    for a in axes:
        count *= x.shape[a]
    return count


def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum; integers and bools add up in int64, an empty sum is 0."""
    axes = as_axes("sum", axis)
    out = _C.sum(x, axes, keepdims)
    if not _C.tracks(x):
        return out
    return record(out, "sum", (x,), (lambda g: _C.broadcast_to(_spread(g, x, axes, keepdims), x.shape),))


def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Any:
    """Arithmetic mean; NaN where there is nothing to average."""
    axes = as_axes("mean", axis)
    out = _C.mean(x, axes, keepdims)
    if not _C.tracks(x):
        return out
    scale = 1.0 / max_(1, _count(x, axes))

    def backward(g: Any) -> Any:
        return _C.broadcast_to(_C.mul(_spread(g, x, axes, keepdims), scale), x.shape)

    return record(out, "mean", (x,), (backward,))


def prod(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Any:
    """Product; an empty product is 1. The gradient is exact also where elements are 0."""
    axes = as_axes("prod", axis)
    out = _C.prod(x, axes, keepdims)
    if not _C.tracks(x):
        return out
    return record(out, "prod", (x,), (lambda g: _prod_backward(g, x, axes, keepdims),), (x,))


def _prod_backward(g: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    # The product of the others: with one zero in a group only that element has a gradient, with two none has.
    every = axes if axes is not None else tuple(range(x.ndim))
    is_zero = _C.eq(x, 0.0)
    zeros = _C.cast(_C.sum(is_zero, every, True), x.dtype)
    filled = _C.where(is_zero, 1.0, x)
    others = _C.div(_C.prod(filled, every, True), filled)
    alone = _C.where(_C.eq(zeros, 0.0), others, 0.0)
    last = _C.where(_C.logical_and(is_zero, _C.eq(zeros, 1.0)), others, 0.0)
    return _C.mul(_C.add(alone, last), _spread(g, x, axes, keepdims))


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Any:
    """Largest element; NaN if there is one. Equal largest elements share the gradient evenly.

    Raises
    ------
    ValueError
        If there is nothing to choose from.
    """
    return _extreme("max", _C.max, x, axis, keepdims)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Any:
    """Smallest element; NaN if there is one. Equal smallest elements share the gradient evenly."""
    return _extreme("min", _C.min, x, axis, keepdims)


def _extreme(op: str, kernel: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    axes = as_axes(op, axis)
    out = kernel(x, axes, keepdims)
    if not _C.tracks(x):
        return out

    def backward(g: Any) -> Any:
        chosen = _C.cast(_C.eq(x, _spread(out, x, axes, keepdims)), x.dtype)
        share = _C.div(chosen, _C.sum(chosen, axes, True))
        return _C.mul(share, _spread(g, x, axes, keepdims))

    return record(out, op, (x,), (backward,), (x, out))


def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any:
    """Position of the largest element along ``axis`` (int64), the first of equals; of the flat array for None."""
    return _C.argmax(_off(x), axis, keepdims)


def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any:
    """Position of the smallest element along ``axis`` (int64), the first of equals; of the flat array for None."""
    return _C.argmin(_off(x), axis, keepdims)


def _off(x: Any) -> Any:
    return _C.alias(x) if _C.tracks(x) else x


def var(x: ArrayLike, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Variance, ``sum((x - mean)^2) / (n - ddof)``, by two passes."""
    axes = as_axes("var", axis)
    out, average = _C.var(x, axes, keepdims, ddof)
    if not _C.tracks(x):
        return out
    scale = 2.0 / max_(1, _count(x, axes) - ddof)

    def backward(g: Any) -> Any:
        centred = _C.sub(x, _spread(average, x, axes, keepdims))
        return _C.mul(_C.mul(centred, scale), _spread(g, x, axes, keepdims))

    return record(out, "var", (x,), (backward,), (x,))


def std(x: ArrayLike, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Standard deviation, the square root of :func:`var`."""
    from mlext.functional.arithmetic import sqrt

    return sqrt(var(x, axis, keepdims, ddof))


def norm(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Any:
    """Euclidean norm, ``sqrt(sum(x^2))``; its gradient at 0 is 0."""
    axes = as_axes("norm", axis)
    out = _C.norm(x, axes, keepdims)
    if not _C.tracks(x):
        return out

    def backward(g: Any) -> Any:
        length = _spread(out, x, axes, keepdims)
        unit = _C.div(x, _C.where(_C.eq(length, 0.0), 1.0, length))
        return _C.mul(unit, _spread(g, x, axes, keepdims))

    return record(out, "norm", (x,), (backward,), (x, out))


def any(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether some element of a bool array holds."""
    return _C.any(x, as_axes("any", axis), keepdims)


def all(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether every element of a bool array holds."""
    return _C.all(x, as_axes("all", axis), keepdims)


def cumsum(x: ArrayLike, axis: int) -> Any:
    """Running sum along ``axis``."""
    out = _C.cumsum(x, axis, False)
    return record(out, "cumsum", (x,), (lambda g: _C.cumsum(g, axis, True),)) if _C.tracks(x) else out


def logsumexp(x: ArrayLike, axis: int = -1, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` along ``axis``, without overflow."""
    out = _C.logsumexp(x, axis, keepdims)
    if not _C.tracks(x):
        return out
    return record(
        out, "logsumexp", (x,), (lambda g: _C.mul(_C.softmax(x, axis), _spread(g, x, (axis,), keepdims)),), (x,)
    )


def max_(a: int, b: int) -> int:
    """Python's max of two ints, which this module shadows."""
    return a if a > b else b
