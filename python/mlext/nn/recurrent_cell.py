"""Single steps of recurrent layers."""

from __future__ import annotations

from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional.recurrent import checked_nonlinearity
from mlext.nn._door import positive_int
from mlext.nn._recurrent import add_weights, shapes_of, weights_of
from mlext.nn.module import Module
from mlext.random import Rng, resolve


class _Cell(Module):
    """One step of one layer."""

    _kind: str
    _options: tuple[str, ...] = ()  # attributes that the function takes by these names

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.bias = bool(bias)
        shapes = shapes_of(self._kind, input_size, hidden_size, bias=self.bias)
        add_weights(self, shapes, hidden_size, "", (dtype, resolve(rng)))

    def forward(self, x: Any, state: Any = None) -> Any:
        """Return the next state."""
        options = {name: getattr(self, name) for name in self._options}
        return getattr(F, f"{self._kind}_cell")(x, state, *weights_of(self, "")[:4], **options)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.input_size}, {self.hidden_size}"


class RNNCell(_Cell):
    """One step of a simple recurrent layer: :func:`mlext.functional.rnn_cell`.

    Parameters
    ----------
    input_size, hidden_size, bias, dtype, rng
        As in :class:`RNN`.
    nonlinearity : {"tanh", "relu"}
        Activation.

    Shapes
    ------
    x : (N, C)
    state : (N, H), or None for 0
    output : (N, H)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.RNNCell(3, 4)(ml.ones(2, 3)).shape
    (2, 4)
    """

    _kind = "rnn"
    _options = ("nonlinearity",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        nonlinearity: str = "tanh",
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        self.nonlinearity = checked_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)


class GRUCell(_Cell):
    """One step of gated recurrent units: :func:`mlext.functional.gru_cell`.

    Parameters
    ----------
    input_size, hidden_size, bias, dtype, rng
        As in :class:`RNN`.
    reset_after : bool
        As in :class:`GRU`.

    Shapes
    ------
    x : (N, C)
    state : (N, H), or None for 0
    output : (N, H)

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.GRUCell(3, 4)(ml.ones(2, 3)).shape
    (2, 4)
    """

    _kind = "gru"
    _options = ("reset_after",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        self.reset_after = bool(reset_after)
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)


class LSTMCell(_Cell):
    """One step of long short-term memory: :func:`mlext.functional.lstm_cell`.

    Parameters
    ----------
    input_size, hidden_size, bias, dtype, rng
        As in :class:`RNN`.

    Shapes
    ------
    x : (N, C)
    state : pair of (N, H), or None for 0
    output : pair of (N, H), h and c

    Examples
    --------
    >>> import mlext as ml
    >>> h, c = ml.nn.LSTMCell(3, 4)(ml.ones(2, 3))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    _kind = "lstm"
