"""Softmax attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlext import _C
from mlext.functional._common import ArrayLike, Tensor, jointly, keep, record
from mlext.functional._geometry import check_rank
from mlext.functional._recurrence import checked_integers, checked_lengths
from mlext.random import Rng, resolve

_UNBOUNDED = 2**61 - 1  # steps of a window without a limit


def scaled_dot_product_attention(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    mask: ArrayLike | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    *,
    align: str = "top_left",
    window: tuple[int | None, int | None] | None = None,
    alibi: ArrayLike | None = None,
    soft_cap: float | None = None,
    lengths: Any = None,
    offsets: Any = None,
    rng: Rng = None,
    k_scale: ArrayLike | None = None,
    v_scale: ArrayLike | None = None,
) -> Any:
    """Means of values, weighted by how well their keys fit a query, ``softmax(scale q k^T + mask) v``.

    Scores are never in memory all at once: it grows with T, not with T squared. Arrays may be slices of one projection,
    which are taken as they lie.

    Parameters
    ----------
    q : Tensor or ndarray, shape (N, Tq, H, D)
        Queries of H heads.
    k : Tensor or ndarray, shape (N, Tk, G, D)
        Keys. H is a multiple of G; head h has the keys of head ``h // (H / G)`` (grouped queries; G = 1: multi-query).
    v : Tensor or ndarray, shape (N, Tk, G, V)
        Values.
    mask : Tensor or ndarray, optional
        Bool, True where a key takes part, or of the dtype of q, added to the scores; broadcast to (N, H, Tq, Tk).
    is_causal : bool
        Whether query i sees keys up to ``i + shift`` only.
    scale : float, optional
        Factor of the scores; by default ``1 / sqrt(D)``.
    dropout_p : float
        Probability with which a weight is dropped, in [0, 1].
    align : {"top_left", "bottom_right"}
        What ``shift`` is: 0, or keys minus queries, so that the last query stands at the last key, as in decoding.
    window : (left, right), optional
        Query i sees keys from ``i + shift - left`` to ``i + shift + right`` only; None is no limit.
    alibi : Tensor or ndarray, shape (H,), optional
        Slopes: ``slope |i + shift - j|`` is subtracted from the score of query i and key j.
    soft_cap : float, optional
        c of ``c tanh(score / c)``, which takes the place of the score, before masks.
    lengths : sequence of int, shape (N,), optional
        Keys of each sequence; what comes behind is not read.
    offsets : sequence of int, shape (B + 1,), optional
        B sequences lie one behind the other in the one row (N = 1) of q, k and v: sequence b is steps ``offsets[b]`` to
        ``offsets[b + 1]``, and sees nothing of others.
    rng : Generator or int, optional
        Source of dropout.
    k_scale, v_scale : Tensor or ndarray, shape (N, Tk, G), optional
        float32: k and v are int8 and stand for ``k * k_scale[..., None]`` and ``v * v_scale[..., None]``, as in a cache
        of bytes. Queries are float32 or of a half type, and there is no gradient.

    Returns
    -------
    Tensor or ndarray, shape (N, Tq, H, V)
        0 for a query that sees no key.

    Raises
    ------
    RuntimeError
        If k and v are bytes, and a gradient of q is asked for.
    TypeError
        If dtypes differ or are not floating.
    ValueError
        If shapes do not fit, or an option is out of range.

    Examples
    --------
    >>> import mlext as ml
    >>> q, k, v = ml.zeros(1, 2, 1, 4), ml.zeros(1, 2, 1, 4), ml.tensor([[[[1.0]], [[3.0]]]])
    >>> ml.functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0, :, 0, 0].tolist()
    [1.0, 2.0]

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", equation 1; Dao et al. 2022, "FlashAttention"; Ainslie et al.
    2023, "GQA"; Press, Smith and Lewis 2022, "Train short, test long" (slopes).
    """
    op = "scaled_dot_product_attention"
    check_rank(op, "q", q, "(N, Tq, H, D)")
    check_rank(op, "k", k, "(N, Tk, G, D)")
    scale = 1 / math.sqrt(max(q.shape[3], 1)) if scale is None else float(scale)
    if soft_cap is not None and not soft_cap > 0:
        raise ValueError(f"{op}: argument 'soft_cap': expected a positive number, or None, got {soft_cap}")
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"{op}: argument 'dropout_p': expected a probability in [0, 1], got {dropout_p}")
    left, right = checked_window(op, window, is_causal)
    sight = (checked_keys(op, lengths, q, k), checked_offsets(op, offsets, q))
    state = resolve(rng).state if dropout_p > 0 else None
    options = (scale, soft_cap or 0.0, dropout_p, is_bottom_right(op, align), left, right)
    if not _C.tracks(q, k, v, mask):
        out = _C.attention(q, k, v, mask, alibi, *sight, k_scale, v_scale, state, *options, False)[0]
        of_arrays = state is not None and not any(isinstance(a, Tensor) for a in (q, k, v, mask, alibi, *sight))
        return out.numpy() if of_arrays else out
    if k_scale is not None or v_scale is not None:
        raise RuntimeError(
            f"{op}: argument 'q': expected an array that tracks no gradient with k and v of bytes, got one that does; "
            "call it under mlext.no_grad()"
        )
    if _C.tracks(mask):
        raise ValueError(
            f"{op}: argument 'mask': expected one that needs no gradient, got a Tensor that requires it; "
            "attention_weights gives weights whose mask may learn"
        )
    q, k, v, mask, alibi = (keep(a) for a in (q, k, v, mask, alibi))
    sight = (keep(sight[0]), keep(sight[1]))
    out, stats, drawn = _C.attention(q, k, v, mask, alibi, *sight, None, None, state, *options, True)

    def backward(g: Any) -> Any:
        return _C.attention_gradient(g, q, k, v, out, stats, drawn, mask, alibi, *sight, *options)

    return record(out, op, (q, k, v), jointly(3, backward), (q, k, v, out))


def checked_window(op: str, window: Any, is_causal: bool) -> tuple[int, int]:
    """Return how many steps a query sees to the left and to the right."""
    given = (None, None) if window is None else window
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(f"{op}: argument 'window': expected None or a pair (left, right), got {window!r}")
    for side in given:
        if side is not None and (isinstance(side, bool) or not hasattr(side, "__index__")):
            raise TypeError(f"{op}: argument 'window': expected integers or None, got {window!r}")
        if side is not None and side < 0:
            raise ValueError(f"{op}: argument 'window': expected 0 or more steps, got {window!r}")
    left, right = (_UNBOUNDED if side is None else min(int(side), _UNBOUNDED) for side in given)
    return left, min(right, 0) if is_causal else right


def is_bottom_right(op: str, align: str) -> bool:
    """Whether the last query stands at the last key; ValueError for what is no alignment."""
    if align not in ("top_left", "bottom_right"):
        raise ValueError(f"{op}: argument 'align': expected 'top_left' or 'bottom_right', got {align!r}")
    return align == "bottom_right"


def checked_keys(op: str, lengths: Any, q: Any, k: Any) -> Any:
    """Return the keys of each sequence as kernels take them; TypeError or ValueError for what is no such thing."""
    found = checked_lengths(op, lengths, k, "k", 0)
    if found is not None and found.shape != (q.shape[0],):
        raise ValueError(
            f"{op}: argument 'lengths': expected shape ({q.shape[0]},), one per sequence, got {found.shape}"
        )
    return found


def checked_offsets(op: str, offsets: Any, q: Any) -> Any:
    """Return where packed sequences begin as kernels take it; TypeError or ValueError for what is no such thing."""
    if offsets is None or isinstance(offsets, _C.Array):
        return offsets
    found = checked_integers(op, "offsets", offsets)
    steps = q.shape[1]
    if found.ndim != 1 or len(found) < 1 or found[0] != 0 or found[-1] != steps or (np.diff(found) < 0).any():
        raise ValueError(
            f"{op}: argument 'offsets': expected where each sequence begins, ascending from 0, and at last {steps}, "
            f"the steps of q, got {offsets!r}"
        )
    return found
