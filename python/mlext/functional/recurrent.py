"""Recurrent layers over whole sequences, batch first: one layer in one direction, one node of the tape."""

from __future__ import annotations

from typing import Any

from mlext.functional._both_directions import run_both
from mlext.functional._common import ArrayLike
from mlext.functional._geometry import check_rank
from mlext.functional._recurrence import (
    GATES,
    Layer,
    Weights,
    check_weights,
    checked_checkpoint,
    checked_lengths,
    checked_scales,
    run,
    run_stack,
)


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
    checkpoint: int | None = None,
    scales: Any = None,
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
    checkpoint : int, optional
        Keep the state after so many steps, and compute the rest again when the gradient is asked for: gates of so many
        steps in memory, not of T, for a second forward pass.
    scales : tuple of Tensor or ndarray of float32, optional
        For inference with weights in bytes: weight_ih and weight_hh (and weight_hr) are int8, and these are what a step
        of each of their rows stands for. ``x`` and all else is float32; sums are those of float32.

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
    RuntimeError
        If there are ``scales`` and an argument tracks gradients.

    Examples
    --------
    >>> import mlext as ml
    >>> x, w, r = ml.ones(2, 5, 3), ml.ones(4, 3), ml.zeros(4, 4)
    >>> y, h = ml.functional.rnn(x, None, w, r)
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, None, None)
    options = {"lengths": lengths, "reverse": reverse, "checkpoint": checkpoint, "scales": scales}
    y, h, _ = _layer(cell_of("rnn", nonlinearity), x, (state, None), weights, options)
    return y, h


def gru(
    x: ArrayLike,
    state: Any,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    *,
    reset_after: bool = True,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    checkpoint: int | None = None,
    scales: Any = None,
) -> Any:
    """Gated recurrent units (Cho et al. 2014), gates in the order r, z, n.

    ``r, z = sigmoid(W x_t + b_ih + R h_(t-1) + b_hh)``, ``n = tanh(W_n x_t + b_in + r (R_n h_(t-1) + b_hn))``,
    ``h_t = (1 - z) n + z h_(t-1)``; without ``reset_after`` ``n = tanh(W_n x_t + b_in + R_n (r h_(t-1)) + b_hn)``.

    Parameters
    ----------
    x, state, lengths, reverse, checkpoint, scales
        As in :func:`rnn`.
    weight_ih, weight_hh : Tensor or ndarray, shapes (3 H, C) and (3 H, H)
        W and R.
    bias_ih, bias_hh : Tensor or ndarray, shape (3 H,), optional
        Biases.
    reset_after : bool
        Whether r scales what the weight makes of h, as PyTorch and Keras have it, or, as in the paper, h itself.

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
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, None, None)
    options = {"lengths": lengths, "reverse": reverse, "checkpoint": checkpoint, "scales": scales}
    y, h, _ = _layer(cell_of("gru", reset_after=reset_after), x, (state, None), weights, options)
    return y, h


def lstm(
    x: ArrayLike,
    state: Any,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    *,
    weight_hr: ArrayLike | None = None,
    peepholes: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    checkpoint: int | None = None,
    scales: Any = None,
) -> Any:
    """Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000), gates in the order i, f, g, o.

    ``i, f, o = sigmoid(W x_t + b_ih + R h_(t-1) + b_hh)``, ``g = tanh(the same)``, ``c_t = f c_(t-1) + i g``,
    ``h_t = o tanh(c_t)``.

    Parameters
    ----------
    x, lengths, reverse, checkpoint, scales
        As in :func:`rnn`.
    state : pair of Tensor or ndarray, shape (N, H) each, or None
        h and c before the first step; None is 0.
    weight_ih, weight_hh : Tensor or ndarray, shapes (4 H, C) and (4 H, H), or (4 H, P) with a projection
        W and R.
    bias_ih, bias_hh : Tensor or ndarray, shape (4 H,), optional
        Biases.
    weight_hr : Tensor or ndarray, shape (P, H), optional
        Projection V (Sak et al. 2014): ``h_t = V (o tanh(c_t))``; h and y have P elements.
    peepholes : Tensor or ndarray, shape (3 H,), optional
        Weights p of i, f and o (Gers and Schmidhuber 2000): ``p c_(t-1)`` is added to what i and f are the sigmoid of,
        ``p c_t`` to that of o.

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
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, peepholes)
    options = {"lengths": lengths, "reverse": reverse, "checkpoint": checkpoint, "scales": scales}
    y, h, c = _layer("lstm", x, pair("lstm", state), weights, options)
    return y, (h, c)


# ---- checks, also those of layers ------------------------------------------------------------------------------------


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


def cell_of(kind: str, nonlinearity: str = "tanh", reset_after: bool = True) -> str:
    """Return what the kernels call a cell."""
    if kind == "rnn":
        return f"rnn_{checked_nonlinearity('rnn', nonlinearity)}"
    return "gru_before" if kind == "gru" and not reset_after else kind


def both(
    kind: str,
    x: Any,
    states: list[Any],
    given: list[tuple[Weights, Any]],
    lengths: Any,
    checkpoint: Any,
    **of_cell: Any,
) -> tuple[Any, list[Any]]:
    """Return y of both directions side by side, and their last states; ``given`` are weights and scales of each."""
    cell = cell_of(kind, **of_cell)
    there, back = given
    layers = _checked(cell, x, there[0], False, there[1]), _checked(cell, x, back[0], True, back[1])
    firsts = _pairs(kind, states)
    y, lasts = run_both(layers, x, firsts, checked_lengths(kind, lengths, x), checked_checkpoint(kind, checkpoint))
    return y, lasts if kind == "lstm" else [last[0] for last in lasts]


def stack(
    kind: str, x: Any, states: list[Any], given: list[tuple[Weights, Any]], lengths: Any, reverse: bool, **of_cell: Any
) -> tuple[Any, list[Any]]:
    """Return y of the last of some layers, and the last states of all; ``given`` are weights and scales of each."""
    cell = cell_of(kind, **of_cell)
    layers = [_checked(cell, x, weights, reverse, scales) for weights, scales in given]
    y, lasts = run_stack(layers, x, _pairs(kind, states), checked_lengths(kind, lengths, x))
    return y, lasts if kind == "lstm" else [last[0] for last in lasts]


def _pairs(kind: str, states: list[Any]) -> list[tuple[Any, Any]]:
    return [pair(kind, state) if kind == "lstm" else (state, None) for state in states]


def _checked(cell: str, x: Any, weights: Weights, reverse: bool, scales: Any) -> Layer:
    op = cell.partition("_")[0]
    check_rank(op, "x", x, "(N, T, C)")
    check_weights(op, GATES[op], weights)
    return Layer(cell, weights, reverse, checked_scales(op, scales, weights[4]))


def _layer(cell: str, x: Any, state: tuple[Any, Any], weights: Weights, options: dict[str, Any]) -> Any:
    op = cell.partition("_")[0]
    layer = _checked(cell, x, weights, options["reverse"], options["scales"])
    lengths = checked_lengths(op, options["lengths"], x)
    return run(layer, x, state, lengths, checked_checkpoint(op, options["checkpoint"]))
