"""The weights of attention in the open, for who wants to look at them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlext import _C, dtypes
from mlext.functional._common import ArrayLike, Tensor
from mlext.functional._geometry import check_rank
from mlext.functional._recurrence import within
from mlext.functional.activation import tanh
from mlext.functional.arithmetic import add, astype, div, mul, sub, where
from mlext.functional.attention import checked_keys, checked_window
from mlext.functional.linear import matmul
from mlext.functional.shape import expand_dims, permute, repeat
from mlext.functional.softmax import softmax

HALF = (dtypes.float16, dtypes.bfloat16)
ALIGNMENTS = ("top_left", "bottom_right")


def attention_weights(
    q: ArrayLike,
    k: ArrayLike,
    mask: ArrayLike | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    align: str = "top_left",
    window: tuple[int | None, int | None] | None = None,
    alibi: ArrayLike | None = None,
    soft_cap: float | None = None,
    lengths: Any = None,
) -> Any:
    """How much of each value ``scaled_dot_product_attention`` takes for each query: a softmax over the keys.

    The function itself never has these numbers in memory all at once; this one is for pictures of them.

    Parameters
    ----------
    q : Tensor or ndarray, shape (N, S, H, D)
        Queries.
    k : Tensor or ndarray, shape (N, T, G, D)
        Keys; H is a multiple of G.
    mask : Tensor or ndarray, optional
        Bool (True: takes part) or floating (added to the scaled scores), broadcast against (N, H, S, T).
    is_causal : bool
        Whether query i sees no key behind i + shift.
    scale : float, optional
        Of the scores; by default ``1 / sqrt(D)``.
    align : {"top_left", "bottom_right"}
        shift = 0, or T - S: the last query belongs to the last key.
    window : pair of int or None, optional
        Query i sees keys from i + shift - left to i + shift + right; None on a side: no bound.
    alibi : Tensor or ndarray, shape (H,), optional
        Slopes: adds ``-slope |i + shift - j|``.
    soft_cap : float, optional
        c: scores become ``c tanh(score / c)``.
    lengths : (N), optional
        Keys of each sequence.

    Returns
    -------
    Tensor or ndarray, shape (N, H, S, T)
        Rows add up to 1; a row that sees no key is 0.

    Raises
    ------
    ValueError
        If a shape does not fit, or ``align`` is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> weights = ml.functional.attention_weights(ml.ones(1, 2, 1, 4), ml.ones(1, 2, 1, 4), is_causal=True)
    >>> weights.tolist()
    [[[[1.0, 0.0], [0.5, 0.5]]]]
    """
    if _is_half(q):  # the masked scores are beyond their range
        options: dict[str, Any] = {"is_causal": is_causal, "scale": scale, "align": align, "window": window}
        given: list[Any] = [q, k, mask, alibi]
        wide: list[Any] = [astype(a, "float32") if _is_half(a) else a for a in given]
        options |= {"alibi": wide[3], "soft_cap": soft_cap, "lengths": lengths}
        return astype(attention_weights(*wide[:3], **options), q.dtype)
    scores = _scores(q, k, 1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if soft_cap is not None:
        scores = mul(tanh(div(scores, soft_cap)), soft_cap)
    queries, keys = scores.shape[2:]
    if align not in ALIGNMENTS:
        raise ValueError(f"attention_weights: argument 'align': expected one of {ALIGNMENTS}, got {align!r}")
    known = checked_keys("attention_weights", lengths, q, k)
    shift = np.asarray(0)
    if align == "bottom_right":  # of each sequence, if they differ
        shift = np.asarray(keys if known is None else _numbers(known)[:, None, None, None]) - queries
    distance = np.arange(queries)[:, None] + shift - np.arange(keys)
    if alibi is not None:
        far = _C.cast(_C.constant(np.abs(distance).astype(np.float64)), scores.dtype.name)
        scores = sub(scores, mul(expand_dims(alibi, (1, 2)), far))
    left, right = checked_window("attention_weights", window, is_causal)
    visible = _C.constant((distance <= left) & (distance >= -right))  # how far a key lies behind a query
    if known is not None:
        visible = _C.logical_and(visible, _C.expand_dims(within(known, keys), (1, 2)))
    if mask is not None:
        allowed = _allowed(mask, scores.shape)
        visible = _C.logical_and(visible, allowed)
        scores = scores if allowed is mask else add(scores, where(allowed, mask, 0.0))
    # Not -inf: a row without a key would have no softmax, and no gradient.
    out = where(visible, softmax(where(visible, scores, -1e30)), 0.0)
    return out if any(isinstance(a, Tensor) for a in (q, k, mask, alibi)) else out.numpy()


def _scores(q: Any, k: Any, scale: float) -> Any:
    check_rank("attention_weights", "q", q, "(N, S, H, D)")
    check_rank("attention_weights", "k", k, "(N, T, G, D)")
    if q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3] or q.shape[2] % k.shape[2]:
        expected = f"shape (N, T, G, D) with N and D of q, {q.shape}, and G a divisor of its H"
        raise ValueError(f"attention_weights: argument 'k': expected {expected}, got {k.shape}")
    groups = q.shape[2] // k.shape[2]
    keys = k if groups == 1 else repeat(k, groups, 2)
    return mul(matmul(permute(q, (0, 2, 1, 3)), permute(keys, (0, 2, 3, 1))), scale)


def _numbers(lengths: Any) -> Any:
    return lengths.numpy() if isinstance(lengths, _C.Array) else lengths


def _is_half(a: Any) -> bool:
    return getattr(a, "dtype", None) in HALF


def _allowed(mask: Any, shape: tuple[int, ...]) -> Any:
    """Where a mask lets keys take part."""
    sizes = (1,) * (4 - mask.ndim) + tuple(mask.shape)
    if len(sizes) != 4 or any(a not in (1, b) for a, b in zip(sizes, shape, strict=True)):
        expected = f"a shape that broadcasts to {shape}"
        raise ValueError(f"attention_weights: argument 'mask': expected {expected}, got {mask.shape}")
    return mask if mask.dtype == np.bool_ else _C.ne(mask, -math.inf)
