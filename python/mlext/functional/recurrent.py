"""Recurrent layers over whole sequences, batch first: one layer in one direction, one node of the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import _C
from mlext.functional._common import ArrayLike, jointly, keep, record
from mlext.functional._geometry import check_rank
from mlext.functional.linear import linear
from mlext.functional.shape import permute


def rnn(
    x: ArrayLike,
    state: Any,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    *,
    nonlinearity: str = "tanh",
    lengths: ArrayLike | None = None,
    reverse: bool = False,
) -> Any:
    """Simple recurrent layer (Elman 1990), ``h_t = act(W x_t + b_ih + R h_(t-1) + b_hh)``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, T, C)
        Sequences.
    state : Tensor or ndarray, shape (N, H), or None
        h before the first step; None is 0.
    weight_ih, weight_hh : Tensor or ndarray, shapes (H, C) and (H, H)
        W and R.
    bias_ih, bias_hh : Tensor or ndarray, shape (H,), optional
        Biases.
    nonlinearity : {"tanh", "relu"}
        act.
    lengths : sequence of int, shape (N,), optional
        Steps of each sequence, 1 to T; what comes behind is not read, and its result is 0.
    reverse : bool
        Whether each sequence is read from its end on.

    Returns
    -------
    y : Tensor or ndarray, shape (N, T, H)
        h of all steps.
    h : Tensor or ndarray, shape (N, H)
        h after the last step.

    Raises
    ------
    TypeError
        If dtypes differ or are not floating.
    ValueError
        If shapes do not fit, there is no step, or a length is not from 1 to T.

    Examples
    --------
    >>> import mlext as ml
    >>> x, w, r = ml.ones(2, 5, 3), ml.ones(4, 3), ml.zeros(4, 4)
    >>> y, h = ml.functional.rnn(x, None, w, r)
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    cell = f"rnn_{checked_nonlinearity('rnn', nonlinearity)}"
    y, h, _ = _layer(cell, x, (state, None), weight_ih, weight_hh, bias_ih, bias_hh, lengths, reverse)
    return y, h


def gru(
    x: ArrayLike,
    state: Any,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
) -> Any:
    """Gated recurrent units (Cho et al. 2014), gates in the order r, z, n.

    ``r, z = sigmoid(W x_t + b_ih + R h_(t-1) + b_hh)``, ``n = tanh(W_n x_t + b_in + r (R_n h_(t-1) + b_hn))``,
    ``h_t = (1 - z) n + z h_(t-1)``.

    Parameters
    ----------
    x, state, lengths, reverse
        As in :func:`rnn`.
    weight_ih, weight_hh : Tensor or ndarray, shapes (3 H, C) and (3 H, H)
        W and R.
    bias_ih, bias_hh : Tensor or ndarray, shape (3 H,), optional
        Biases.

    Returns
    -------
    y : Tensor or ndarray, shape (N, T, H)
        h of all steps.
    h : Tensor or ndarray, shape (N, H)
        h after the last step.

    Raises
    ------
    TypeError, ValueError
        As :func:`rnn`.

    Examples
    --------
    >>> import mlext as ml
    >>> y, h = ml.functional.gru(ml.ones(2, 5, 3), None, ml.ones(12, 3), ml.zeros(12, 4))
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    y, h, _ = _layer("gru", x, (state, None), weight_ih, weight_hh, bias_ih, bias_hh, lengths, reverse)
    return y, h


def lstm(
    x: ArrayLike,
    state: Any,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
) -> Any:
    """Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000), gates in the order i, f, g, o.

    ``i, f, o = sigmoid(W x_t + b_ih + R h_(t-1) + b_hh)``, ``g = tanh(the same)``, ``c_t = f c_(t-1) + i g``,
    ``h_t = o tanh(c_t)``.

    Parameters
    ----------
    x, lengths, reverse
        As in :func:`rnn`.
    state : pair of Tensor or ndarray, shape (N, H) each, or None
        h and c before the first step; None is 0.
    weight_ih, weight_hh : Tensor or ndarray, shapes (4 H, C) and (4 H, H)
        W and R.
    bias_ih, bias_hh : Tensor or ndarray, shape (4 H,), optional
        Biases.

    Returns
    -------
    y : Tensor or ndarray, shape (N, T, H)
        h of all steps.
    state : pair of Tensor or ndarray, shape (N, H) each
        h and c after the last step.

    Raises
    ------
    TypeError, ValueError
        As :func:`rnn`.

    Examples
    --------
    >>> import mlext as ml
    >>> y, (h, c) = ml.functional.lstm(ml.ones(2, 5, 3), None, ml.ones(16, 3), ml.zeros(16, 4))
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (2, 4), (2, 4))
    """
    y, h, c = _layer("lstm", x, pair("lstm", state), weight_ih, weight_hh, bias_ih, bias_hh, lengths, reverse)
    return y, (h, c)


# ---- checks, also those of layers ------------------------------------------------------------------------------------

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def checked_nonlinearity(name: str, nonlinearity: str) -> str:
    """Return the activation of a simple recurrent layer; ValueError for others."""
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{name}: argument 'nonlinearity': expected 'tanh' or 'relu', got {nonlinearity!r}")
    return nonlinearity


def pair(name: str, state: Any) -> tuple[Any, Any]:
    """Return h and c of a state, None for None; TypeError for what is no pair."""
    if state is None:
        return None, None
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise TypeError(f"{name}: argument 'state': expected None or a pair (h, c), got {type(state).__name__}")
    return state[0], state[1]


def _check_weights(op: str, gates: int, weight_ih: Any, weight_hh: Any) -> None:
    letters = "H" if gates == 1 else f"{gates} H"
    check_rank(op, "weight_ih", weight_ih, f"({letters}, C)")
    check_rank(op, "weight_hh", weight_hh, f"({letters}, H)")
    rows, units = weight_hh.shape
    if rows != gates * units:
        raise ValueError(f"{op}: argument 'weight_hh': expected shape ({letters}, H), got {weight_hh.shape}")
    if len(weight_ih) != rows:
        raise ValueError(f"{op}: argument 'weight_ih': expected {rows} rows, as weight_hh has, got {len(weight_ih)}")


def _checked_lengths(op: str, lengths: Any, x: Any) -> Any:
    if lengths is None or isinstance(lengths, _C.Array):
        return lengths
    given = np.asarray(lengths)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{op}: argument 'lengths': expected integers, got {given.dtype}")
    if given.size and not (given.min() >= 1 and given.max() <= x.shape[1]):
        worst = given.min() if given.min() < 1 else given.max()
        raise ValueError(f"{op}: argument 'lengths': expected lengths from 1 to {x.shape[1]}, those of x, got {worst}")
    return given.astype(np.int64)


# ---- kernels and their way back ------------------------------------------------------------------------------------


def _layer(
    cell: str,
    x: Any,
    state: tuple[Any, Any],
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    lengths: Any,
    reverse: bool,
) -> tuple[Any, Any, Any]:
    op = cell.partition("_")[0]
    check_rank(op, "x", x, "(N, T, C)")
    _check_weights(op, GATES[op], weight_ih, weight_hh)
    lengths = _checked_lengths(op, lengths, x)
    inputs = linear(_swap(x), weight_ih, bias_ih)
    if not _C.tracks(inputs, weight_hh, bias_hh, *state):
        y, h, c = _C.recurrent(cell, inputs, weight_hh, bias_hh, *state, lengths, reverse, False)[:3]
        return _swap(y), h, c
    weight_hh, bias_hh, h0, c0, lengths = map(keep, (weight_hh, bias_hh, *state, lengths))
    y, h, c, gates, before, extra = _C.recurrent(cell, inputs, weight_hh, bias_hh, h0, c0, lengths, reverse, True)
    last: dict[str, Any] = {}  # gradients of the last states, which their nodes leave here
    saved, steps = (y, gates, before, extra, weight_hh), y

    def backward(g: Any) -> tuple[Any, ...]:
        gy = None if g is last.get("zero") else g
        gx, gsums, gh, gc = _C.recurrent_gradient(
            cell, gy, last.get("h"), last.get("c"), steps, gates, before, extra, weight_hh, lengths, reverse
        )
        narrow = before if before.dtype == gsums.dtype else _C.cast(before, gsums.dtype)  # of half types
        to_weight = _C.linear_weight_gradient(gsums, narrow)
        return gx, to_weight, _C.sum(gsums, (0, 1), False), gh, gc

    parents = (inputs, weight_hh, bias_hh, h0, c0)
    y = record(y, op, parents, jointly(len(parents), backward), saved)
    h = _last(h, "h", y, last)
    return _swap(y), h, _last(c, "c", h, last) if cell == "lstm" else None


def _swap(x: Any) -> Any:
    """Between sequences first and steps first; the layers of a stack undo each other's."""
    return permute(x, (1, 0, 2))


def _last(value: Any, name: str, before: Any, last: dict[str, Any]) -> Any:
    """Record a last state. Its gradient goes by way of ``last`` to the node of the sequence, which runs after this one.

    ``before`` is what leads there, and gets nothing.
    """

    def backward(g: Any) -> Any:
        last[name] = g
        last["zero"] = _C.broadcast_to(_C.full((), 0.0, g.dtype), before.shape)
        return last["zero"]

    return record(value, "last_state", (before,), (backward,))
