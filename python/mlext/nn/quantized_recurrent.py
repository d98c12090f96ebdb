"""Recurrent layers with weights in bytes, for inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext.nn._recurrent import NAMES, steps_of
from mlext.nn._rounding import quantize_rows
from mlext.nn.quantized import in_float32
from mlext.nn.recurrent import GRU, LSTM, RNN, _Recurrent
from mlext.random import Rng
from mlext.tensor import tensor

WEIGHTS = ("weight_ih", "weight_hh", "weight_hr")


class _WeightOnly(_Recurrent):
    """What they share: weights become int8 and a scale per row, the rest stays; nothing in it is trained."""

    @classmethod
    def from_layer(cls, layer: _Recurrent) -> Any:
        """Quantise the weights of a layer."""
        options = {name: value for name, value in layer.config().items() if name not in ("checkpoint", "dtype")}
        made: Any = cls(**options, rng=0)
        made._take(layer)
        made._backwards = layer._backwards
        return made

    def _take(self, layer: Any) -> None:
        for i in range(self.num_layers):
            for suffix in self._suffixes(i):
                for name in NAMES:
                    value = getattr(layer, name + suffix)
                    self._keep(name + suffix, None if value is None else value.detach().numpy())

    def _keep(self, name: str, value: Any) -> None:
        if name.startswith(WEIGHTS):
            scale = None
            if value is not None:
                value, scale = quantize_rows(value, 127)
                scale = scale.astype(np.float32)
            self._put(name.replace("weight", "scale", 1), scale)
        self._put(name, value)

    def _put(self, name: str, value: Any) -> None:
        if name in vars(self):
            delattr(self, name)  # a Parameter of the constructor, which no buffer replaces
        self.register_buffer(name, None if value is None else tensor(value))

    def _weights(self, suffix: str) -> tuple[Any, Any]:
        scales = [getattr(self, name.replace("weight", "scale") + suffix) for name in WEIGHTS]
        return super()._weights(suffix)[0], [scale for scale in scales if scale is not None]

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Return h of all steps, and the last states."""
        return super().forward(in_float32(steps_of(x)), state, lengths)


class WeightOnlyRNN(_WeightOnly, RNN):
    """:class:`RNN` with weights of 8 bits and all else in float32, for inference.

        W_oc = scale_o values_oc

    :func:`mlext.quantize` makes one of a trained layer; a new one is a new layer, quantised. Results are those of a
    layer with these W, bit for bit. Nothing in it is trained.

    Parameters
    ----------
    input_size, hidden_size, num_layers, nonlinearity, bias, dropout, bidirectional
        As in :class:`RNN`.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    x : (N, T, C), or what a recurrent layer returned: its y; floating dtypes other than float32 are converted
    weight_ih_l0 ... : int8, of :class:`RNN`'s shapes; scale_ih_l0 ... : float32, an element for each of their rows
    state : (L D, N, H) with D = 2 in both directions, or None for 0
    lengths : (N), optional
    output : y (N, T, D H) and the last state (L D, N, H)

    Raises
    ------
    ValueError
        If a size is not positive, ``dropout`` is no probability, or the nonlinearity is unknown.
    RuntimeError
        If an input tracks gradients.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.WeightOnlyRNN(3, 4, rng=0)
    >>> y, h = layer(ml.ones(2, 5, 3))
    >>> y.shape, layer.weight_hh_l0.dtype
    ((2, 5, 4), mlext.int8)
    """

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
        rng: Rng = None,
    ) -> None:
        options: dict[str, Any] = {"bias": bias, "dropout": dropout, "bidirectional": bidirectional, "rng": rng}
        super().__init__(input_size, hidden_size, num_layers, nonlinearity=nonlinearity, **options)
        self._take(self)


class WeightOnlyGRU(_WeightOnly, GRU):
    """:class:`GRU` with weights of 8 bits and all else in float32, for inference: see :class:`WeightOnlyRNN`.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, dropout, bidirectional, rng
        As in :class:`WeightOnlyRNN`.
    reset_after : bool
        As in :class:`GRU`.

    Shapes
    ------
    x : (N, T, C)
    state : (L D, N, H) with D = 2 in both directions, or None for 0
    output : y (N, T, D H) and the last state (L D, N, H)

    Examples
    --------
    >>> import mlext as ml
    >>> y, h = ml.nn.WeightOnlyGRU(3, 4, 2, bidirectional=True)(ml.ones(2, 5, 3))
    >>> y.shape, h.shape
    ((2, 5, 8), (4, 2, 4))
    """

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
        rng: Rng = None,
    ) -> None:
        options: dict[str, Any] = {"bias": bias, "dropout": dropout, "bidirectional": bidirectional, "rng": rng}
        super().__init__(input_size, hidden_size, num_layers, reset_after=reset_after, **options)
        self._take(self)


class WeightOnlyLSTM(_WeightOnly, LSTM):
    """:class:`LSTM` with weights of 8 bits and all else in float32, for inference: see :class:`WeightOnlyRNN`.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, dropout, bidirectional, rng
        As in :class:`WeightOnlyRNN`.
    proj_size, peepholes
        As in :class:`LSTM`; peepholes stay float32.

    Shapes
    ------
    x : (N, T, C)
    state : pair of (L D, N, P) and (L D, N, H) with D = 2 in both directions, or None for 0
    output : y (N, T, D P) and the pair of last states, (L D, N, P) and (L D, N, H)

    Examples
    --------
    >>> import mlext as ml
    >>> y, (h, c) = ml.nn.WeightOnlyLSTM(3, 4)(ml.ones(2, 5, 3))
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (1, 2, 4), (1, 2, 4))
    """

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
        rng: Rng = None,
    ) -> None:
        options: dict[str, Any] = {"bias": bias, "dropout": dropout, "bidirectional": bidirectional, "rng": rng}
        super().__init__(input_size, hidden_size, num_layers, proj_size=proj_size, peepholes=peepholes, **options)
        self._take(self)
