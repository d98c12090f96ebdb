"""Arithmetic, comparisons and elementary functions, elementwise with NumPy's broadcasting."""

from __future__ import annotations

from typing import Any

from mlext import _C, dtypes
from mlext.functional._common import ArrayLike, Operand, keep, operation, record, unbroadcast


@operation(_C.add)
def add(a: Operand, b: Operand) -> Any:
    """Return ``a + b``."""
    out = _C.add(a, b)
    return record(out, "add", (a, b), (lambda g: unbroadcast(g, a), lambda g: unbroadcast(g, b)))


@operation(_C.sub)
def sub(a: Operand, b: Operand) -> Any:
    """Return ``a - b``."""
    out = _C.sub(a, b)
    return record(out, "sub", (a, b), (lambda g: unbroadcast(g, a), lambda g: unbroadcast(_C.neg(g), b)))


@operation(_C.mul)
def mul(a: Operand, b: Operand) -> Any:
    """Return ``a * b``."""
    out = _C.mul(a, b)
    a, b = keep(a), keep(b)
    backward = (lambda g: unbroadcast(_C.mul(g, b), a), lambda g: unbroadcast(_C.mul(g, a), b))
    return record(out, "mul", (a, b), backward, (a, b))


@operation(_C.div)
def div(a: Operand, b: Operand) -> Any:
    """Return ``a / b``."""
    out = _C.div(a, b)
    a, b = keep(a), keep(b)
    backward = (
        lambda g: unbroadcast(_C.div(g, b), a),
        lambda g: unbroadcast(_C.neg(_C.div(_C.mul(g, out), b)), b),
    )
    return record(out, "div", (a, b), backward, (b, out))


def pow(a: Operand, b: Operand) -> Any:
    """Return ``a ** b``."""
    if isinstance(b, (int, float)):
        return _power(a, b)
    out = _C.pow(a, b)
    if not _C.tracks(a, b):
        return out
    a, b = keep(a), keep(b)

    def to_exponent(g: Any) -> Any:
        # d a^b / d b = a^b log a, and 0 where a is 0 (the limit for b > 0).
        log_a = _C.log(a) if not isinstance(a, (int, float)) else _C.log(_C.full_like(g, a))
        return unbroadcast(_C.where(_C.eq(out, 0.0), 0.0, _C.mul(_C.mul(g, out), log_a)), b)

    backward = (
        lambda g: unbroadcast(_C.mul(_C.mul(g, b), _C.pow(a, _C.sub(b, 1.0))), a),
        to_exponent,
    )
    return record(out, "pow", (a, b), backward, (a, b, out))


def _power(a: Any, b: float) -> Any:
    out = _C.square(a) if b == 2 else _C.sqrt(a) if b == 0.5 else _C.pow(a, float(b))
    if not _C.tracks(a):
        return out
    return record(
        out,
        "pow",
        (a,),
        (lambda g: _C.mul(_C.mul(g, float(b)), a if b == 2 else _C.pow(a, float(b) - 1.0)),),
        (a,),
    )


def maximum(a: Operand, b: Operand) -> Any:
    """Return the larger of ``a`` and ``b``; the gradient goes to the larger, half to each where they are equal."""
    return _extreme("maximum", _C.maximum, _C.gt, a, b)


def minimum(a: Operand, b: Operand) -> Any:
    """Return the smaller of ``a`` and ``b``; the gradient goes to the smaller, half to each where they are equal."""
    return _extreme("minimum", _C.minimum, _C.lt, a, b)


def _extreme(op: str, kernel: Any, wins: Any, a: Any, b: Any) -> Any:
    out = kernel(a, b)
    if not _C.tracks(a, b):
        return out
    a, b = keep(a), keep(b)

    def share(g: Any, mine: Any, other: Any) -> Any:
        half = _C.where(_C.eq(mine, other), _C.mul(g, 0.5), 0.0)
        return unbroadcast(_C.where(wins(mine, other), g, half), mine)

    return record(out, op, (a, b), (lambda g: share(g, a, b), lambda g: share(g, b, a)), (a, b))


@operation(_C.neg)
def neg(x: ArrayLike) -> Any:
    """Return ``-x``."""
    out = _C.neg(x)
    return record(out, "neg", (x,), (_C.neg,))


@operation(_C.abs)
def abs(x: ArrayLike) -> Any:
    """Return the absolute value; the gradient at 0 is 0."""
    out = _C.abs(x)
    return record(out, "abs", (x,), (lambda g: _C.mul(g, _C.sign(x)),), (x,))


def sign(x: ArrayLike) -> Any:
    """Return -1, 0 or 1; the gradient is 0."""
    return _C.sign(_off(x))


def floor(x: ArrayLike) -> Any:
    """Return the largest integer not above ``x``; the gradient is 0."""
    return _C.floor(_off(x))


def ceil(x: ArrayLike) -> Any:
    """Return the smallest integer not below ``x``; the gradient is 0."""
    return _C.ceil(_off(x))


def round(x: ArrayLike) -> Any:
    """Return the nearest integer, halves to even; the gradient is 0."""
    return _C.round(_off(x))


@operation(_C.exp)
def exp(x: ArrayLike) -> Any:
    """Return e to the power ``x``."""
    out = _C.exp(x)
    return record(out, "exp", (x,), (lambda g: _C.mul(g, out),), (out,))


@operation(_C.exp2)
def exp2(x: ArrayLike) -> Any:
    """Return 2 to the power ``x``."""
    out = _C.exp2(x)
    return record(out, "exp2", (x,), (lambda g: _C.mul(_C.mul(g, out), 0.6931471805599453),), (out,))


@operation(_C.expm1)
def expm1(x: ArrayLike) -> Any:
    """Return ``exp(x) - 1``, accurate near 0."""
    out = _C.expm1(x)
    return record(out, "expm1", (x,), (lambda g: _C.mul(g, _C.add(out, 1.0)),), (out,))


@operation(_C.log)
def log(x: ArrayLike) -> Any:
    """Return the natural logarithm."""
    out = _C.log(x)
    return record(out, "log", (x,), (lambda g: _C.div(g, x),), (x,))


@operation(_C.log2)
def log2(x: ArrayLike) -> Any:
    """Return the logarithm to base 2."""
    out = _C.log2(x)
    return record(out, "log2", (x,), (lambda g: _C.mul(_C.div(g, x), 1.4426950408889634),), (x,))


@operation(_C.log1p)
def log1p(x: ArrayLike) -> Any:
    """Return ``log(1 + x)``, accurate near 0."""
    out = _C.log1p(x)
    return record(out, "log1p", (x,), (lambda g: _C.div(g, _C.add(x, 1.0)),), (x,))


@operation(_C.sqrt)
def sqrt(x: ArrayLike) -> Any:
    """Return the square root."""
    out = _C.sqrt(x)
    return record(out, "sqrt", (x,), (lambda g: _C.div(_C.mul(g, 0.5), out),), (out,))


@operation(_C.rsqrt)
def rsqrt(x: ArrayLike) -> Any:
    """Return one over the square root."""
    out = _C.rsqrt(x)
    return record(out, "rsqrt", (x,), (lambda g: _C.mul(_C.mul(g, -0.5), _C.div(out, x)),), (x, out))


@operation(_C.reciprocal)
def reciprocal(x: ArrayLike) -> Any:
    """Return ``1 / x``."""
    out = _C.reciprocal(x)
    return record(out, "reciprocal", (x,), (lambda g: _C.neg(_C.mul(g, _C.square(out))),), (out,))


@operation(_C.square)
def square(x: ArrayLike) -> Any:
    """Return ``x * x``."""
    out = _C.square(x)
    return record(out, "square", (x,), (lambda g: _C.mul(_C.mul(g, 2.0), x),), (x,))


@operation(_C.sin)
def sin(x: ArrayLike) -> Any:
    """Return the sine of ``x`` in radians."""
    out = _C.sin(x)
    return record(out, "sin", (x,), (lambda g: _C.mul(g, _C.cos(x)),), (x,))


@operation(_C.cos)
def cos(x: ArrayLike) -> Any:
    """Return the cosine of ``x`` in radians."""
    out = _C.cos(x)
    return record(out, "cos", (x,), (lambda g: _C.neg(_C.mul(g, _C.sin(x))),), (x,))


@operation(_C.erf)
def erf(x: ArrayLike) -> Any:
    """Return the error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to ``x``."""
    out = _C.erf(x)
    return record(out, "erf", (x,), (lambda g: _C.erf_backward(x, g),), (x,))


def clip(x: ArrayLike, low: float, high: float) -> Any:
    """Return ``x`` limited to ``[low, high]``; the gradient is 0 outside.

    Raises
    ------
    ValueError
        If ``low`` is above ``high``.
    """
    if not low <= high:
        raise ValueError(f"clip: argument 'low': expected at most 'high' ({high}), got {low}")
    out = _C.clip(x, low, high)
    if not _C.tracks(x):
        return out
    return record(out, "clip", (x,), (lambda g: _C.clip_backward(x, g, low, high),), (x,))


def where(condition: ArrayLike, a: Operand, b: Operand) -> Any:
    """Return ``a`` where ``condition`` (bool) holds, else ``b``."""
    out = _C.where(condition, a, b)
    if not _C.tracks(a, b):
        return out
    condition = keep(condition)
    backward = (
        lambda g: unbroadcast(_C.where(condition, g, 0.0), a),
        lambda g: unbroadcast(_C.where(condition, 0.0, g), b),
    )
    return record(out, "where", (a, b), backward, (condition,))


def astype(x: ArrayLike, dtype: dtypes.DTypeLike) -> Any:
    """Return a copy of ``x`` with another dtype; float to integer truncates and saturates, NaN becomes 0."""
    out = _C.cast(x, dtype)
    if not (_C.tracks(x) and out.dtype.is_floating):
        return out
    source = x.dtype
    return record(out, "astype", (x,), (lambda g: _C.cast(g, source),))


def _off(x: Any) -> Any:
    return _C.alias(x) if _C.tracks(x) else x


# ---- comparisons and logic: bool results, no gradient ----------------------------------------------------------------


def eq(a: Operand, b: Operand) -> Any:
    """Return ``a == b``, elementwise."""
    return _C.eq(a, b)


def ne(a: Operand, b: Operand) -> Any:
    """Return ``a != b``, elementwise."""
    return _C.ne(a, b)


def lt(a: Operand, b: Operand) -> Any:
    """Return ``a < b``, elementwise."""
    return _C.lt(a, b)


def le(a: Operand, b: Operand) -> Any:
    """Return ``a <= b``, elementwise."""
    return _C.le(a, b)


def gt(a: Operand, b: Operand) -> Any:
    """Return ``a > b``, elementwise."""
    return _C.gt(a, b)


def ge(a: Operand, b: Operand) -> Any:
    """Return ``a >= b``, elementwise."""
    return _C.ge(a, b)


def logical_and(a: ArrayLike, b: ArrayLike) -> Any:
    """Return ``a and b`` of bool arrays."""
    return _C.logical_and(a, b)


def logical_or(a: ArrayLike, b: ArrayLike) -> Any:
    """Return ``a or b`` of bool arrays."""
    return _C.logical_or(a, b)


def logical_xor(a: ArrayLike, b: ArrayLike) -> Any:
    """Return whether exactly one of two bool arrays holds."""
    return _C.logical_xor(a, b)


def logical_not(x: ArrayLike) -> Any:
    """Return ``not x`` of a bool array."""
    return _C.logical_not(x)


def isnan(x: ArrayLike) -> Any:
    """Return where ``x`` is NaN."""
    return _C.isnan(x)


def isfinite(x: ArrayLike) -> Any:
    """Return where ``x`` is neither NaN nor infinite."""
    return _C.isfinite(x)
