"""``x[key]`` and ``x[key] = value``."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import _C
from mlext.functional import shape

_WHOLE = slice(None)


def getitem(x: Any, key: Any) -> Any:
    """``x[key]``: ints, slices, ``...``, None, and integer or bool arrays, one after the other.

    Several arrays in one key index one axis each, not together as in NumPy.
    """
    keys = _expand(x, key)
    x = _cut(x, [k for k in keys if k is not None])
    axis = 0
    dropped: list[int] = []
    arrays: list[tuple[int, Any]] = []
    for k in keys:
        if isinstance(k, (int, np.integer)):
            dropped.append(axis + len(dropped))
            continue
        if k is None:
            x = shape.expand_dims(x, axis + len(dropped))
        elif not isinstance(k, slice):
            arrays.append((axis, k))
            axis += k.ndim - 1 if _is_bool(k) else 0
        axis += 1
    x = shape.squeeze(x, tuple(dropped)) if dropped else x
    shift = 0
    for at, k in arrays:
        before = x.ndim
        x = _pick(x, k, at + shift)
        shift += x.ndim - before
    return x


def _expand(x: Any, key: Any) -> list[Any]:
    """One entry per axis, the ellipsis spelt out; None entries stay."""
    keys = [_as_index(k) for k in (key if isinstance(key, tuple) else (key,))]
    dots = [i for i, k in enumerate(keys) if k is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can hold only one ellipsis ('...')")
    used = sum(k.ndim if _is_bool(k) else 1 for k in keys if k is not None and k is not Ellipsis)
    if used > x.ndim:
        raise IndexError(f"too many indices: expected at most {x.ndim} for shape {x.shape}, got {used}")
    at = dots[0] if dots else len(keys)
    return keys[:at] + [_WHOLE] * (x.ndim - used) + keys[at + 1 :]


def _as_index(k: Any) -> Any:
    if k is None or k is Ellipsis or isinstance(k, slice) or hasattr(k, "dtype"):
        return k.item() if isinstance(k, np.generic) and k.dtype.kind in "iu" else k
    if isinstance(k, int) and not isinstance(k, bool):
        return k
    array = np.asarray(k)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise IndexError(f"expected ints, slices, '...', None or integer or bool arrays, got {type(k).__name__}")
    return array


def _cut(x: Any, keys: list[Any]) -> Any:
    """Apply every int (as a slice of length 1) and slice in one view."""
    starts, stops, steps, axis = [], [], [], 0
    for k in keys:
        for _ in range(k.ndim if _is_bool(k) else 1):
            size = x.shape[axis]
            if isinstance(k, int):
                if not -size <= k < size:
                    raise IndexError(f"index {k} is out of range for axis {axis} with size {size}")
                start, stop, step = k % size, k % size + 1, 1
            else:
                start, stop, step = (k if isinstance(k, slice) else _WHOLE).indices(size)
            starts.append(start)
            stops.append(max(start, stop) if step > 0 else min(start, stop))
            steps.append(step)
            axis += 1
    if starts == [0] * x.ndim and stops == list(x.shape) and steps == [1] * x.ndim:
        return x
    plain = all(step == 1 for step in steps)
    return shape.slice(x, tuple(starts), tuple(stops), None if plain else tuple(steps))


def _is_bool(k: Any) -> bool:
    return hasattr(k, "dtype") and k.dtype == np.bool_


def _pick(x: Any, k: Any, axis: int) -> Any:
    if not _is_bool(k):
        return shape.gather(x, k, axis)
    _C.refuse_read("a boolean index")
    mask = np.asarray(k)
    expected = x.shape[axis : axis + mask.ndim]
    if mask.shape != expected:
        raise IndexError(f"boolean index: expected shape {expected}, got {mask.shape}")
    if mask.ndim != 1:
        x = shape.reshape(x, (*x.shape[:axis], mask.size, *x.shape[axis + mask.ndim :]))
    return shape.gather(x, np.flatnonzero(mask), axis)


def setitem(x: Any, key: Any, value: Any) -> None:
    """``x[key] = value`` in place for ints, slices, ``...`` and None; refused for tensors on the tape."""
    if _C.tracks(x, value):
        raise RuntimeError(
            "item assignment: a tensor that requires a gradient cannot be changed in place; use where() or "
            "concat(), or assign under no_grad()"
        )
    for k in key if isinstance(key, tuple) else (key,):
        if not (k is None or k is Ellipsis or isinstance(k, (int, np.integer, slice))):
            raise TypeError("item assignment: expected ints, slices, '...' or None; use where() for a mask")
    _C.copy_(getitem(_C.alias(x), key), value)
