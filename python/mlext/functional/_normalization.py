"""What the normalisations share: checks, kernels and their way back."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.autograd import aside
from mlext.functional._common import jointly, keep, record


def with_own(name: str, x: Any, weight: Any, bias: Any, options: tuple[Any, ...]) -> Any:
    """Statistics of x itself: (y, mean, var)."""
    if not _C.tracks(x, weight, bias):
        return _C.normalize(name, x, weight, bias, *options)
    x, weight, bias = keep(x), keep(weight), keep(bias)
    y, mean, var = _C.normalize(name, x, weight, bias, *options)
    return _recorded(name, y, x, weight, bias, (mean, var), (*options, False)), mean, var


def with_given(x: Any, mean: Any, var: Any, weight: Any, bias: Any, options: tuple[Any, ...]) -> Any:
    """Batch norm with statistics that x has no part in."""
    if not _C.tracks(x, weight, bias):
        return _C.normalize_with("batch_norm", x, mean, var, weight, bias, *options)
    x, weight, bias = keep(x), keep(weight), keep(bias)
    y = _C.normalize_with("batch_norm", x, mean, var, weight, bias, *options)
    return _recorded("batch_norm", y, x, weight, bias, (mean, var), (*options, True))


def _recorded(name: str, y: Any, x: Any, weight: Any, bias: Any, stats: tuple[Any, Any], flags: tuple[Any, ...]) -> Any:
    def backward(g: Any) -> Any:
        return _C.normalize_gradient(g, x, *stats, weight, bias, *flags)

    inputs = (x, weight, bias)
    return record(y, name, inputs, jointly(3, backward), (*inputs, *stats))


def over_rows(name: str, x: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float, centred: bool) -> Any:
    """Layer norm, or without a centre RMS norm."""
    if not _C.tracks(x, weight, bias):
        return _C.normalize_rows(name, x, normalized_shape, weight, bias, eps, centred)[0]
    x, weight, bias = keep(x), keep(weight), keep(bias)
    y, stats = _C.normalize_rows(name, x, normalized_shape, weight, bias, eps, centred)

    def backward(g: Any) -> Any:
        return _C.normalize_rows_gradient(g, None, x, stats, normalized_shape, weight, centred)

    return record(y, name, (x, weight, bias), jointly(3, backward), (x, weight, stats))


def over_sums(
    name: str, x: Any, residual: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float, centred: bool
) -> tuple[Any, Any]:
    """Return the same of ``x + residual``, and that sum."""
    arguments = (normalized_shape, weight, bias, eps, centred)
    if not _C.tracks(x, residual, weight, bias):
        return tuple(_C.add_normalize_rows(name, x, residual, *arguments)[:2])
    parents = keep(x), keep(residual), keep(weight), keep(bias)
    y, total, stats = _C.add_normalize_rows(name, *parents[:2], normalized_shape, *parents[2:], eps, centred)
    weight = parents[2]
    left: dict[str, Any] = {}  # the gradient of the sum, which its node leaves here

    def backward(g: Any) -> Any:
        of_sum = left.get("sum")
        if g is None:  # the sum alone was used
            return of_sum, of_sum, None, None
        gx, gw, gb = _C.normalize_rows_gradient(g, of_sum, total, stats, normalized_shape, weight, centred)
        return gx, gx, gw, gb

    y = record(y, name, parents, jointly(4, backward), (total, weight, stats))
    return y, aside(total, name, y, left, "sum")


# ---- checks --------------------------------------------------------------------------------------------------------


def uses_own(name: str, mean: Any, var: Any, training: bool, momentum: float) -> bool:
    """Whether x is normalised with its own statistics."""
    if (mean is None) != (var is None):
        raise ValueError(f"{name}: argument 'running_var': expected both running statistics, or neither")
    if not 0 <= momentum <= 1:
        raise ValueError(f"{name}: argument 'momentum': expected a number in [0, 1], got {momentum}")
    return training or mean is None


def checked_eps(name: str, eps: float) -> float:
    """``eps``, or an error that names it."""
    if not 0 <= eps < float("inf"):
        raise ValueError(f"{name}: argument 'eps': expected a number that is not negative, got {eps}")
    return eps


def wants_relu(name: str, activation: str | None) -> bool:
    """Whether the activation is relu; ValueError unless it is that or none."""
    if activation not in (None, "relu"):
        raise ValueError(f"{name}: argument 'activation': expected None or 'relu', got {activation!r}")
    return activation is not None


_EPSILONS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def machine_epsilon(x: Any) -> float:
    """Distance from 1 to the next number of the dtype of x."""
    return _EPSILONS.get(x.dtype.name, 0.0)
