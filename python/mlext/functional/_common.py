"""What every differentiable function shares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from mlext import _C
from mlext.autograd import jointly, keep, record, record_parts
from mlext.tensor import ArrayLike, Axis, Operand, Tensor

__all__ = [
    "ArrayLike",
    "Axis",
    "Axes",
    "Operand",
    "Tensor",
    "as_axes",
    "bounds_along",
    "jointly",
    "keep",
    "operation",
    "record",
    "record_parts",
    "require_array",
    "swap_last",
    "unbroadcast",
]

# A function called with ndarrays alone returns ndarrays; with any Tensor, Tensors. Type checkers see Any.
Axes: TypeAlias = "tuple[int, ...] | None"

Function = TypeVar("Function", bound=Callable[..., Any])


def operation(kernel: Any) -> Callable[[Function], Function]:
    """Decorate a function that records what ``kernel`` computes from the same arguments.

    Calls that record nothing go straight to the kernel; the function sees only those that do.
    """

    def decorate(taped: Function) -> Function:
        return cast(Function, functools.update_wrapper(_C.Operation(kernel, taped), taped))

    return decorate


def require_array(op: str, name: str, value: Any, rank: int) -> None:
    """Raise unless ``value`` is an array of at least so many axes."""
    if not hasattr(value, "ndim"):
        raise TypeError(f"{op}: argument '{name}': expected a Tensor or ndarray, got {type(value).__name__}")
    if value.ndim < rank:
        raise ValueError(f"{op}: argument '{name}': expected {rank} or more dimensions, got shape {value.shape}")


def unbroadcast(g: Any, like: Any) -> Any:
    """Sum a gradient down to the shape of the operand it belongs to: the adjoint of broadcasting."""
    return g if g.shape == like.shape else _C.sum_to(g, like.shape)


def as_axes(op: str, axis: Axis) -> Axes:
    """Axes as a tuple, or None for all; TypeError for anything that is not an int or a tuple of ints."""
    if axis is None or isinstance(axis, tuple):
        return axis
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{op}: argument 'axis': expected an int or a tuple of ints, got {axis!r}")
    return (axis,)


def bounds_along(
    shape: Sequence[int], axis: int, begin: int, end: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return where a slice along one axis starts and stops, and its steps of 1."""
    starts, stops = [0] * len(shape), list(shape)
    starts[axis], stops[axis] = begin, end
    return tuple(starts), tuple(stops), (1,) * len(shape)


def swap_last(x: Any) -> Any:
    """Exchange the last two axes, as a view."""
    rank = x.ndim
    return _C.permute(x, (1, 0) if rank == 2 else (*range(rank - 2), rank - 1, rank - 2))
