"""What multi-head attention checks and converts."""

from __future__ import annotations

from typing import Any

from mlext import functional as F
from mlext.nn.cache import KeyValueCache
from mlext.tensor import Tensor


def alibi_slopes(heads: int) -> list[float]:
    """Return ``2^(-8 h / H)`` for h from 1 to H; other H than powers of 2 take every other slope of twice as many."""
    whole = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * h / whole) for h in range(1, whole + 1)]
    between = [2.0 ** (-4 * h / whole) for h in range(1, 2 * whole + 1, 2)]
    return slopes + between[: heads - whole]


def checked_window(window: Any) -> tuple[int | None, int | None] | None:
    if window is None:
        return None
    sides = tuple(window) if isinstance(window, (tuple, list)) else ()
    if len(sides) != 2 or any(not (a is None or (isinstance(a, int) and a >= 0)) for a in sides):
        expected = "None or a pair (left, right) of None or 0 or more"
        raise ValueError(f"MultiHeadAttention: argument 'window': expected {expected}, got {window!r}")
    return sides[0], sides[1]


def check_ring(cache: KeyValueCache, layer: Any, mask: Any, lengths: Any) -> None:
    """In a window keys are in no order: nothing may depend on where they are."""
    if cache.window is None:
        return
    if layer.window is None or layer.window[0] != cache.window - 1:
        expected = f"a layer with window=({cache.window - 1}, 0) for a cache of {cache.window} steps"
        raise ValueError(f"MultiHeadAttention: argument 'cache': expected {expected}, got window={layer.window}")
    if mask is not None or lengths is not None or layer.alibi:
        expected = "one without a window for mask, lengths or alibi, since keys in a window are in no order"
        raise ValueError(f"MultiHeadAttention: argument 'cache': expected {expected}")


def like(a: Any, b: Any) -> Any:
    """Return a floating array in the dtype of b: a cache may hold a half type, or bytes, which fit any."""
    if not isinstance(a, Tensor) or not (a.dtype.is_floating and b.dtype.is_floating) or a.dtype is b.dtype:
        return a
    return F.astype(a, b.dtype)


def in_full(k: Any, v: Any, k_scale: Any, v_scale: Any) -> tuple[Any, Any]:
    """Return the keys and values that bytes stand for."""
    k, v = (F.astype(a, "float32") * F.reshape(scale, (*scale.shape, 1)) for a, scale in ((k, k_scale), (v, v_scale)))
    return k, v
