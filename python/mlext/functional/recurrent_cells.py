"""Single steps of recurrent layers."""

from __future__ import annotations

from typing import Any

from mlext.functional._common import ArrayLike
from mlext.functional._geometry import check_rank
from mlext.functional.recurrent import gru, lstm, rnn
from mlext.functional.shape import expand_dims


def rnn_cell(
    x: ArrayLike,
    state: Any,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    *,
    nonlinearity: str = "tanh",
) -> Any:
    """One step of :func:`rnn`: x (N, C), result h (N, H).

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.rnn_cell(ml.ones(2, 3), None, ml.ones(4, 3), ml.zeros(4, 4)).shape
    (2, 4)
    """
    one = _one_step("rnn_cell", x)
    return rnn(one, state, weight_ih, weight_hh, bias_ih, bias_hh, nonlinearity=nonlinearity)[1]


def gru_cell(
    x: ArrayLike,
    state: Any,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
    *,
    reset_after: bool = True,
) -> Any:
    """One step of :func:`gru`: x (N, C), result h (N, H).

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.gru_cell(ml.ones(2, 3), None, ml.ones(12, 3), ml.zeros(12, 4)).shape
    (2, 4)
    """
    one = _one_step("gru_cell", x)
    return gru(one, state, weight_ih, weight_hh, bias_ih, bias_hh, reset_after=reset_after)[1]


def lstm_cell(
    x: ArrayLike,
    state: Any,
    weight_ih: ArrayLike,
    weight_hh: ArrayLike,
    bias_ih: ArrayLike | None = None,
    bias_hh: ArrayLike | None = None,
) -> Any:
    """One step of :func:`lstm`: x (N, C), result the pair of h and c, (N, H) each.

    Examples
    --------
    >>> import mlext as ml
    >>> h, c = ml.functional.lstm_cell(ml.ones(2, 3), None, ml.ones(16, 3), ml.zeros(16, 4))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """
    return lstm(_one_step("lstm_cell", x), state, weight_ih, weight_hh, bias_ih, bias_hh)[1]


def _one_step(op: str, x: Any) -> Any:
    check_rank(op, "x", x, "(N, C)")
    return expand_dims(x, 1)
