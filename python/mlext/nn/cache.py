"""Keys and values of the steps so far, for decoding."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import _C, dtypes
from mlext import functional as F
from mlext.functional._geometry import check_rank
from mlext.nn._door import positive_int
from mlext.tensor import zeros

PAGE = 64  # steps that a cache without capacity has room for at first


class KeyValueCache:
    """Keys and values that one attention layer has seen, so that a new step computes its own alone.

    Parameters
    ----------
    capacity : int, optional
        Steps to have room for, and no more; by default there is as much room as it takes.
    window : int, optional
        Keep that many steps, the last ones, in the memory of that many: for attention with ``window=(window - 1, 0)``.
    fixed : bool
        Keep what comes first and take nothing more: for attention over a memory, whose keys and values stay the same.
    dtype : dtype, optional
        To keep them in; by default that in which they come. A half type halves the memory and the time to read it,
        int8 halves it again: each head of a step gets a scale, its largest size / 127.

    Attributes
    ----------
    length : int
        Steps seen so far, those that have left the window too: the position of the next one.

    Raises
    ------
    TypeError
        If ``dtype`` is neither floating nor int8.
    ValueError
        If a size is not positive, or ``window`` comes with ``capacity`` or ``fixed``.

    Examples
    --------
    >>> import mlext as ml
    >>> attention, cache = ml.nn.MultiHeadAttention(8, 2, rng=0), ml.nn.KeyValueCache()
    >>> with ml.no_grad():
    ...     for step in range(3):
    ...         y = attention(ml.ones(1, 1, 8), is_causal=True, cache=cache)
    >>> cache.length, cache.keys.shape
    (3, (1, 3, 2, 4))
    """

    def __init__(
        self,
        capacity: int | None = None,
        *,
        window: int | None = None,
        fixed: bool = False,
        dtype: dtypes.DTypeLike | None = None,
    ) -> None:
        name = "KeyValueCache"
        self.capacity = None if capacity is None else positive_int(name, "capacity", capacity)
        self.window = None if window is None else positive_int(name, "window", window)
        if window is not None and (capacity is not None or fixed):
            raise ValueError(f"{name}: argument 'window': expected None with capacity or fixed, got {window}")
        self.fixed = bool(fixed)
        self.dtype = None if dtype is None else zeros(0, dtype=dtype).dtype
        if self.dtype is not None and not (self.dtype.is_floating or self.dtype is dtypes.int8):
            raise TypeError(f"{name}: argument 'dtype': expected a floating dtype or int8, got {self.dtype.name}")
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.length = 0
        self._held: tuple[Any, ...] = ()  # keys and values, and scales of bytes, with room for more behind them

    @property
    def keys(self) -> Any:
        """Keys that are kept, (N, T, G, D); in a window they are in no order."""
        return self.kept[0]

    @property
    def values(self) -> Any:
        """Values that are kept, (N, T, G, D)."""
        return self.kept[1]

    @property
    def kept(self) -> tuple[Any, ...]:
        """Keys and values that are kept; of int8 also their scales, (N, T, G) each."""
        if not self._held:
            raise ValueError("KeyValueCache: expected a cache that holds something; append() first")
        steps = self.length if self.window is None else min(self.length, self.window)
        return tuple([F.narrow(held, 1, 0, steps) for held in self._held])

    def append(self, k: Any, v: Any) -> tuple[Any, ...]:
        """Keep the keys and values of new steps.

        Parameters
        ----------
        k, v : Tensor or ndarray (N, T, G, D)
            Of the steps that follow.

        Returns
        -------
        tuple of Tensors
            All keys and values that the new steps may see, of int8 also their scales. These are views: another call may
            write to them.

        Raises
        ------
        RuntimeError
            If gradients are recorded: none flow through a cache.
        ValueError
            If a shape does not fit those before, or there is no room.
        """
        if not self.length:
            self._held = ()  # what a refused call left
        self._check(k, v)
        new = self._as_kept(k, v)
        if self.window is not None and k.shape[1] != 1:
            return self._append_many(new)
        self._reserve(new)
        at = self.length if self.window is None else self.length % self.window
        for held, a in zip(self._held, new, strict=True):
            _C.copy_(F.narrow(held, 1, at, a.shape[1]), a)
        self.length += k.shape[1]
        return self.kept

    def reorder(self, indices: Any) -> None:
        """Replace sequence i by a copy of the one that was ``indices[i]``, as beam search does.

        Parameters
        ----------
        indices : sequence of int
            Which sequences go on; their number may change.

        Raises
        ------
        IndexError
            If there is no such sequence.
        """
        picked = indices if isinstance(indices, _C.Array) else np.asarray(indices, np.int64)
        self._held = tuple([_C.take(held, picked, 0) for held in self._held])

    def _as_kept(self, k: Any, v: Any) -> list[Any]:
        if self.dtype is dtypes.int8:
            (keys, of_keys), (values, of_values) = _C.quantize_rows(k), _C.quantize_rows(v)
            return [keys, values, of_keys, of_values]
        return [_C.cast(a, (self.dtype or a.dtype).name) for a in (k, v)]

    def _check(self, k: Any, v: Any) -> None:
        if _C.is_capturing():
            raise RuntimeError("compile: a KeyValueCache changes at every call; leave the decoding step uncompiled")
        for name, a in (("k", k), ("v", v)):
            check_rank("KeyValueCache", name, a, "(N, T, G, D)")
        if v.shape[:3] != k.shape[:3]:
            raise ValueError(f"KeyValueCache: argument 'v': expected shape {(*k.shape[:3], 'D')}, got {v.shape}")
        if _C.tracks(k, v):
            raise RuntimeError(
                "KeyValueCache: no gradients flow through a cache; decode under mlext.no_grad() or model.evaluating(), "
                "and train without a cache"
            )
        for name, a, held in zip("kv", (k, v), self._held, strict=False):
            expected = (held.shape[0], a.shape[1], *held.shape[2:])
            if a.shape != expected:
                hint = "reset() makes it ready for other sequences"
                raise ValueError(f"KeyValueCache: argument '{name}': expected shape {expected}, got {a.shape}; {hint}")
        if self.fixed and self.length:
            raise ValueError("KeyValueCache: expected nothing more, since it is fixed; reset() empties it")
        if self.capacity is not None and self.length + k.shape[1] > self.capacity:
            expected_steps = f"at most {self.capacity} steps"
            raise ValueError(f"KeyValueCache: expected {expected_steps}, got {self.length} and {k.shape[1]} more")

    def _reserve(self, new: list[Any]) -> None:
        """Make room: twice as much when it runs out, so that every step is copied once or twice in all."""
        end = self.length + new[0].shape[1]
        room = self._held[0].shape[1] if self._held else 0
        if self.window is not None:
            size = self.window
        else:
            size = end if self.fixed else self.capacity or max(PAGE, 2 * room, end)
        if room >= min(end, size):
            return
        made = [zeros(a.shape[0], size, *a.shape[2:], dtype=a.dtype.name) for a in new]
        for held, target in zip(self._held, made, strict=False):
            _C.copy_(F.narrow(target, 1, 0, room), held)
        self._held = tuple(made)

    def _append_many(self, new: list[Any]) -> tuple[Any, ...]:
        """Several steps into a window: the first of them still sees steps that the last of them replaces."""
        window, steps = self.window or 0, new[0].shape[1]
        self._reserve(new)
        before, last = min(self.length, window - 1), min(steps, window)
        places = (self.length - before + np.arange(before)) % window
        seen = [F.concat([_C.take(held, places, 1), a], 1) for held, a in zip(self._held, new, strict=True)]
        begin = (self.length + steps - last) % window  # of the steps that stay
        first = min(last, window - begin)
        for held, a in zip(self._held, new, strict=True):
            _C.copy_(F.narrow(held, 1, begin, first), F.narrow(a, 1, steps - last, first))
            _C.copy_(F.narrow(held, 1, 0, last - first), F.narrow(a, 1, steps - last + first, last - first))
        self.length += steps
        return tuple(seen)
