"""Recurrent layers: stacks in one or both directions. Batch first."""

from __future__ import annotations

from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional._recurrence import checked_checkpoint
from mlext.functional.random import check_probability
from mlext.functional.recurrent import both, checked_nonlinearity, pair, stack
from mlext.nn._door import positive_int
from mlext.nn._recurrent import add_weights, shapes_of, steps_of, weights_of
from mlext.nn.module import Module
from mlext.random import Generator, Rng, resolve


class _Recurrent(Module):
    """A stack of recurrent layers."""

    _kind: str
    _options: tuple[str, ...] = ()  # attributes that the function takes by these names
    _backwards = False  # whether it reads from the end on: the twin of a Bidirectional

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        checkpoint: int | None = None,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.num_layers = positive_int(name, "num_layers", num_layers)
        check_probability(name, dropout)
        self.bias, self.dropout, self.bidirectional = bool(bias), dropout, bool(bidirectional)
        self.checkpoint = checked_checkpoint(name, checkpoint)
        self.rng: Generator = resolve(rng)
        for i in range(num_layers):
            inputs = input_size if i == 0 else self._outputs() * self._directions()
            shapes = shapes_of(self._kind, inputs, hidden_size, bias=self.bias, **self._more_weights())
            for suffix in self._suffixes(i):
                add_weights(self, shapes, hidden_size, suffix, (dtype, self.rng))

    def _more_weights(self) -> dict[str, Any]:
        return {}

    def _outputs(self) -> int:
        """How many elements h has."""
        return self.hidden_size

    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, i: int) -> list[str]:
        return [f"_l{i}", f"_l{i}_reverse"][: self._directions()]

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Return h of all steps, and the last states."""
        x, firsts = steps_of(x), self._split(state)
        if self._is_plain_stack():
            x, lasts = self._run_stack(x, firsts, lengths)
            return x, self._joined(lasts)
        lasts = []
        for i in range(self.num_layers):
            if i > 0:
                x = F.dropout(x, self.dropout, self.training, rng=self.rng) if self.dropout else x
            given = [self._weights(suffix) for suffix in self._suffixes(i)]
            x, found = self._run(x, firsts[len(lasts) : len(lasts) + len(given)], given, lengths)
            lasts += found
        return x, self._joined(lasts)

    def _is_plain_stack(self) -> bool:
        """Whether each layer but the first reads what the one before it makes, and nothing is made again."""
        apart = self.bidirectional or (self.dropout and self.training)
        return self.num_layers > 1 and not apart and self.checkpoint is None

    def _run_stack(self, x: Any, states: list[Any], lengths: Any) -> tuple[Any, list[Any]]:
        given = [self._weights(suffix) for i in range(self.num_layers) for suffix in self._suffixes(i)]
        return stack(self._kind, x, states, given, lengths, self._backwards, **self._of_cell())

    def _run(self, x: Any, states: list[Any], given: list[Any], lengths: Any) -> tuple[Any, list[Any]]:
        """Y and the last states of a layer of the stack."""
        options = {"lengths": lengths, "checkpoint": self.checkpoint, **self._of_cell()}
        if len(given) == 2:
            return both(self._kind, x, states, given, **options)
        (first, scales), reverse = given[0], self._backwards
        names = {"weight_hr": first[4], "peepholes": first[5]} if self._kind == "lstm" else {}
        y, last = getattr(F, self._kind)(x, states[0], *first[:4], **names, scales=scales, reverse=reverse, **options)
        return y, [last]

    def _of_cell(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._options}

    def _weights(self, suffix: str) -> tuple[Any, Any]:
        """Those of a direction of a layer, and their scales, if they are bytes."""
        return weights_of(self, suffix), None

    def _split(self, state: Any) -> list[Any]:
        """The first state of each layer and direction."""
        count = self.num_layers * self._directions()
        if state is None:
            return [None] * count
        if getattr(state, "ndim", 0) != 3 or state.shape[0] != count:
            got = getattr(state, "shape", type(state).__name__)
            expected = f"shape ({count}, N, {self.hidden_size})"
            raise ValueError(f"{type(self).__name__}: argument 'state': expected {expected}, got {got}")
        return [state[i] for i in range(count)]

    def _joined(self, lasts: list[Any]) -> Any:
        return F.stack(lasts)

    def extra_repr(self) -> str:
        """Show the sizes."""
        text = f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"
        return text + ("" if self.bias else ", bias=False") + (", bidirectional=True" if self.bidirectional else "")


class RNN(_Recurrent):
    """Simple recurrent layers: :func:`mlext.functional.rnn`.

    Parameters
    ----------
    input_size : int
        C.
    hidden_size : int
        H.
    num_layers : int
        Layers, each of which reads what the one before it makes.
    nonlinearity : {"tanh", "relu"}
        Activation.
    bias : bool
        Whether there are biases.
    dropout : float
        Probability with which an element between two layers is 0 in training.
    bidirectional : bool
        Whether each layer has a second one beside it that reads from the end on; results lie side by side.
    checkpoint : int, optional
        Steps between two states that are kept for the gradient: :func:`mlext.functional.rnn`.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    x : (N, T, C), or what a recurrent layer returned: its y
    state : (L D, N, H) with D = 2 in both directions, or None for 0
    lengths : (N), optional
    output : y (N, T, D H) and the last state (L D, N, H)

    Raises
    ------
    ValueError
        If a size is not positive, ``dropout`` is no probability, or the nonlinearity is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> y, h = ml.nn.RNN(3, 4)(ml.ones(2, 5, 3))
    >>> y.shape, h.shape
    ((2, 5, 4), (1, 2, 4))
    """

    _kind = "rnn"
    _options = ("nonlinearity",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        checkpoint: int | None = None,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        self.nonlinearity = checked_nonlinearity("RNN", nonlinearity)
        options: dict[str, Any] = {"bias": bias, "dropout": dropout, "bidirectional": bidirectional}
        super().__init__(input_size, hidden_size, num_layers, checkpoint=checkpoint, dtype=dtype, rng=rng, **options)


class GRU(_Recurrent):
    """Gated recurrent units: :func:`mlext.functional.gru`.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, dropout, bidirectional, checkpoint, dtype, rng
        As in :class:`RNN`.
    reset_after : bool
        Whether r scales what the weight makes of h, or h itself.

    Shapes
    ------
    x : (N, T, C)
    state : (L D, N, H) with D = 2 in both directions, or None for 0
    output : y (N, T, D H) and the last state (L D, N, H)

    Examples
    --------
    >>> import mlext as ml
    >>> y, h = ml.nn.GRU(3, 4, 2, bidirectional=True)(ml.ones(2, 5, 3))
    >>> y.shape, h.shape
    ((2, 5, 8), (4, 2, 4))
    """

    _kind = "gru"
    _options = ("reset_after",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        reset_after: bool = True,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        checkpoint: int | None = None,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        self.reset_after = bool(reset_after)
        options: dict[str, Any] = {"bias": bias, "dropout": dropout, "bidirectional": bidirectional}
        super().__init__(input_size, hidden_size, num_layers, checkpoint=checkpoint, dtype=dtype, rng=rng, **options)


class LSTM(_Recurrent):
    """Long short-term memory: :func:`mlext.functional.lstm`.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, dropout, bidirectional, checkpoint, dtype, rng
        As in :class:`RNN`.
    proj_size : int
        P, the size of h and y, to which o tanh(c) is projected; 0: no projection, P = H.
    peepholes : bool
        Whether gates see c.

    Shapes
    ------
    x : (N, T, C)
    state : pair of (L D, N, P) and (L D, N, H) with D = 2 in both directions, or None for 0
    output : y (N, T, D P) and the pair of last states, (L D, N, P) and (L D, N, H)

    Examples
    --------
    >>> import mlext as ml
    >>> y, (h, c) = ml.nn.LSTM(3, 4)(ml.ones(2, 5, 3))
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (1, 2, 4), (1, 2, 4))
    """

    _kind = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        proj_size: int = 0,
        peepholes: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        checkpoint: int | None = None,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        self.proj_size = proj_size and positive_int("LSTM", "proj_size", proj_size)
        self.peepholes = bool(peepholes)
        options: dict[str, Any] = {"bias": bias, "dropout": dropout, "bidirectional": bidirectional}
        super().__init__(input_size, hidden_size, num_layers, checkpoint=checkpoint, dtype=dtype, rng=rng, **options)

    def _more_weights(self) -> dict[str, Any]:
        return {"outputs": self.proj_size, "peepholes": self.peepholes}

    def _outputs(self) -> int:
        return self.proj_size or self.hidden_size

    def _split(self, state: Any) -> list[Any]:
        return list(zip(*(super(LSTM, self)._split(part) for part in pair("LSTM", state)), strict=True))

    def _joined(self, lasts: list[Any]) -> Any:
        return tuple(F.stack(list(part)) for part in zip(*lasts, strict=True))
