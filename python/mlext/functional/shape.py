"""Changing, joining, cutting and indexing arrays. Views are free: they share memory with their source."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, Axis, as_axes, bounds_along, keep, record, record_parts, unbroadcast
from mlext.tensor import as_shape


def reshape(x: ArrayLike, *shape: Any) -> Any:
    """The same elements in row-major order under another shape; one size may be -1.

    Raises
    ------
    ValueError
        If the number of elements differs, a size is below -1, or more than one is -1.
    """
    out = _C.reshape(x, as_shape("reshape", shape))
    return record(out, "reshape", (x,), (lambda g: _C.reshape(g, x.shape),)) if _C.tracks(x) else out


def flatten(x: ArrayLike, start_axis: int = 0) -> Any:
    """Join all axes from ``start_axis`` on into one."""
    if not -x.ndim <= start_axis < max(1, x.ndim):
        raise IndexError(f"flatten: argument 'start_axis': expected {-x.ndim} to {x.ndim - 1}, got {start_axis}")
    lead = x.shape[: start_axis % max(1, x.ndim)]
    rest = 1
    for n in x.shape[len(lead) :]:
        rest *= n
    return reshape(x, (*lead, rest))


def permute(x: ArrayLike, *axes: Any) -> Any:
    """The axes in another order; without arguments, reversed."""
    order = as_shape("permute", axes) if axes else tuple(range(x.ndim))[::-1]
    out = _C.permute(x, order)
    if not _C.tracks(x):
        return out
    inverse = [0] * x.ndim
    for i, axis in enumerate(order):
        inverse[axis % x.ndim] = i
    return record(out, "permute", (x,), (lambda g: _C.permute(g, tuple(inverse)),))


def transpose(x: ArrayLike, axis1: int = -2, axis2: int = -1) -> Any:
    """Two axes exchanged: the last two unless told otherwise."""
    order = list(range(x.ndim))
    try:
        order[axis1], order[axis2] = order[axis2], order[axis1]
    except IndexError:
        raise IndexError(
            f"transpose: argument 'axis1', 'axis2': expected {-x.ndim} to {x.ndim - 1}, got {axis1}, {axis2}"
        ) from None
    axes = tuple(order)
    out = _C.permute(x, axes)
    return record(out, "transpose", (x,), (lambda g: _C.permute(g, axes),)) if _C.tracks(x) else out


def expand_dims(x: ArrayLike, axis: int | tuple[int, ...]) -> Any:
    """New axes of size 1 at the given places of the result."""
    out = _C.expand_dims(x, as_axes("expand_dims", axis))
    return record(out, "expand_dims", (x,), (lambda g: _C.reshape(g, x.shape),)) if _C.tracks(x) else out


def squeeze(x: ArrayLike, axis: Axis = None) -> Any:
    """Axes of size 1 taken away: the given ones, or all."""
    out = _C.squeeze(x, as_axes("squeeze", axis))
    return record(out, "squeeze", (x,), (lambda g: _C.reshape(g, x.shape),)) if _C.tracks(x) else out


def broadcast_to(x: ArrayLike, shape: tuple[int, ...]) -> Any:
    """``x`` repeated along new axes and axes of size 1, as a view."""
    out = _C.broadcast_to(x, shape)
    return record(out, "broadcast_to", (x,), (lambda g: unbroadcast(g, x),)) if _C.tracks(x) else out


def flip(x: ArrayLike, axis: Axis = None) -> Any:
    """The elements in reverse order along the given axes, as a view."""
    axes = as_axes("flip", axis) if axis is not None else tuple(range(x.ndim))
    out = _C.flip(x, axes)
    return record(out, "flip", (x,), (lambda g: _C.flip(g, axes),)) if _C.tracks(x) else out


def concat(arrays: Sequence[ArrayLike], axis: int = 0) -> Any:
    """Arrays joined along an existing axis.

    Raises
    ------
    ValueError
        If the list is empty or sizes along another axis differ.
    """
    arrays = list(arrays)
    out = _C.concat(arrays, axis)
    if not _C.tracks(*arrays):
        return out
    axis = axis % out.ndim
    ends = list(itertools.accumulate([a.shape[axis] for a in arrays]))

    def part(i: int) -> Any:
        shape = arrays[i].shape
        bounds = bounds_along(shape, axis, ends[i] - shape[axis], ends[i])
        return lambda g: _C.slice(g, *bounds)

    return record(out, "concat", tuple(arrays), tuple([part(i) for i in range(len(arrays))]))


def stack(arrays: Sequence[ArrayLike], axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    if not arrays:
        raise ValueError("stack: argument 'arrays': expected at least one array, got none")
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise ValueError(f"stack: argument 'arrays': expected one shape, got {sorted(shapes)}")
    return concat([expand_dims(a, axis) for a in arrays], axis)


def split(x: ArrayLike, sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Views of ``x`` cut along ``axis``: into ``sections`` equal parts, or parts of the given sizes.

    Raises
    ------
    ValueError
        If the sizes do not add up to the size of the axis.
    """
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(f"split: argument 'axis': expected {-x.ndim} to {x.ndim - 1}, got {axis}")
    size = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or size % sections:
            raise ValueError(f"split: argument 'sections': expected a divisor of {size}, got {sections}")
        sections = [size // sections] * sections
    if sum(sections) != size:
        raise ValueError(f"split: argument 'sections': expected sizes that add up to {size}, got {list(sections)}")
    ends = list(itertools.accumulate(sections))
    bounds = [bounds_along(x.shape, axis, end - length, end) for end, length in zip(ends, sections, strict=True)]
    parts = [_C.slice(x, *b) for b in bounds]
    if not _C.tracks(x):
        return parts

    def backward(found: list[Any]) -> Any:
        lost = [_C.full(part.shape, 0.0, x.dtype) if g is None else g for part, g in zip(parts, found, strict=True)]
        return _C.join(lost, axis)

    return record_parts(parts, "split", x, backward)


def narrow(x: ArrayLike, axis: int, start: int, length: int) -> Any:
    """``length`` elements of ``axis`` from ``start`` on, as a view."""
    if not (-x.ndim <= axis < x.ndim and 0 <= start and 0 <= length and start + length <= x.shape[axis]):
        raise IndexError(
            f"narrow: elements {start} to {start + length - 1} of axis {axis} are out of range for shape {x.shape}"
        )
    starts, stops, _ = bounds_along(x.shape, axis, start, start + length)
    return slice(x, starts, stops)


def slice(x: ArrayLike, starts: tuple[int, ...], stops: tuple[int, ...], steps: tuple[int, ...] | None = None) -> Any:
    """A view of every ``steps[i]``-th element from ``starts[i]`` up to, not including, ``stops[i]`` along each axis.

    A negative step runs down to ``stops[i] + 1``, with -1 as the stop that includes element 0.
    """
    strides = (1,) * x.ndim if steps is None else steps
    out = _C.slice(x, starts, stops, strides)
    if not _C.tracks(x):
        return out

    def backward(g: Any) -> Any:
        if steps is None:
            after = tuple([n - stop for n, stop in zip(x.shape, stops, strict=True)])
            return _C.pad(g, starts, after, 0.0, "constant")
        whole = _C.full(x.shape, 0.0, x.dtype)
        _C.copy_(_C.slice(whole, starts, stops, strides), g)
        return whole

    return record(out, "slice", (x,), (backward,))


def pad(x: ArrayLike, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    """``x`` surrounded by ``value``: ``widths[i]`` elements before and after along axis ``i``."""
    if len(widths) != x.ndim:
        raise ValueError(f"pad: argument 'widths': expected {x.ndim} pairs, got {len(widths)}")
    before = tuple([w[0] for w in widths])
    out = _C.pad(x, before, tuple([w[1] for w in widths]), value, "constant")
    if not _C.tracks(x):
        return out
    stops = tuple([b + n for b, n in zip(before, x.shape, strict=True)])
    return record(out, "pad", (x,), (lambda g: _C.slice(g, before, stops, (1,) * x.ndim),))


def tile(x: ArrayLike, reps: int | tuple[int, ...]) -> Any:
    """``x`` repeated ``reps[i]`` times along axis ``i`` (NumPy's rule for missing axes)."""
    counts = (reps,) if isinstance(reps, int) else tuple(reps)
    if any(n < 0 for n in counts):
        raise ValueError(f"tile: argument 'reps': expected 0 or more, got {reps}")
    rank = max(len(counts), x.ndim)
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.ndim) + x.shape
    # (1, s0, 1, s1, ...) broadcast to (r0, s0, r1, s1, ...), then joined.
    spread = reshape(x, tuple([n for s in shape for n in (1, s)]))
    spread = broadcast_to(spread, tuple([n for r, s in zip(counts, shape, strict=True) for n in (r, s)]))
    return reshape(spread, tuple([r * s for r, s in zip(counts, shape, strict=True)]))


def repeat(x: ArrayLike, repeats: int, axis: int) -> Any:
    """Every element of ``axis`` repeated ``repeats`` times in place."""
    out = _C.repeat(x, repeats, axis)
    if not _C.tracks(x):
        return out
    axis = axis % x.ndim
    split_shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    return record(out, "repeat", (x,), (lambda g: _C.sum(_C.reshape(g, split_shape), (axis + 1,), False),))


def gather(x: ArrayLike, indices: ArrayLike, axis: int = 0) -> Any:
    """Slices of ``x`` along ``axis`` picked by ``indices`` (any shape; negative ones count from the end).

    Raises
    ------
    IndexError
        If an index is out of range, naming its position.
    """
    out = _C.take(x, indices, axis)
    if not _C.tracks(x):
        return out
    indices = keep(indices)
    return record(out, "gather", (x,), (lambda g: _C.take_backward(x.shape, indices, g, axis),), (indices,))


def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int) -> Any:
    """``out[..., i, ...] = x[..., indices[..., i, ...], ...]`` along ``axis`` (NumPy's ``take_along_axis``)."""
    out = _C.take_along(x, indices, axis)
    if not _C.tracks(x):
        return out
    indices = keep(indices)
    backward = (lambda g: _C.take_along_backward(x.shape, indices, g, axis),)
    return record(out, "take_along_axis", (x,), backward, (indices,))


def scatter_add(x: ArrayLike, indices: ArrayLike, source: ArrayLike, axis: int = 0) -> Any:
    """``x`` with ``source`` added to the slices that ``indices`` (1-d) name along ``axis``; equal indices add up."""
    added = _C.take_backward(x.shape, indices, source, axis)
    out = _C.add(x, added)
    if not _C.tracks(x, source):
        return out
    indices = keep(indices)
    return record(out, "scatter_add", (x, source), (lambda g: g, lambda g: _C.take(g, indices, axis)), (indices,))


def one_hot(indices: ArrayLike, classes: int, dtype: Any = "float32") -> Any:
    """Rows that are 1 at the given class and 0 elsewhere, shape ``(*indices.shape, classes)``."""
    return _C.one_hot(indices, classes, dtype)


def tril(x: ArrayLike, k: int = 0) -> Any:
    """``x`` with 0 above diagonal ``k`` of the last two axes."""
    out = _C.tril(x, k)
    return record(out, "tril", (x,), (lambda g: _C.tril(g, k),)) if _C.tracks(x) else out


def triu(x: ArrayLike, k: int = 0) -> Any:
    """``x`` with 0 below diagonal ``k`` of the last two axes."""
    out = _C.triu(x, k)
    return record(out, "triu", (x,), (lambda g: _C.triu(g, k),)) if _C.tracks(x) else out


def sort(x: ArrayLike, axis: int = -1) -> tuple[Any, Any]:
    """Elements in ascending order along ``axis`` (stable, NaN last) and the positions they came from."""
    values, indices = _C.sort(x, axis, False)
    return (take_along_axis(x, indices, axis), indices) if _C.tracks(x) else (values, indices)


def topk(x: ArrayLike, k: int, axis: int = -1) -> tuple[Any, Any]:
    """The ``k`` largest elements along ``axis`` in descending order and their positions."""
    values, indices = _C.topk(x, k, axis)
    return (take_along_axis(x, indices, axis), indices) if _C.tracks(x) else (values, indices)
