"""Recurrent networks for sequences of features or indices: a class for each, or what follows."""

from __future__ import annotations

from typing import Any

from mlext import dtypes, nn
from mlext.random import Rng, resolve

_KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def recurrent(op: str, kind: str, *others: str) -> Any:
    """Return the class of a kind of recurrent layer; ValueError, which names other kinds too, for an unknown one."""
    if kind not in _KINDS:
        *first, last = [repr(name) for name in (*_KINDS, *others)]
        raise ValueError(f"{op}: argument 'kind': expected {', '.join(first)} or {last}, got {kind!r}")
    return _KINDS[kind]


class SequenceClassifier(nn.Module):
    """Recurrent layers, and scores of classes from what they have read in the end.

    Parameters
    ----------
    input_size : int
        C, features of a step; or with ``embedding_dim`` the number of different indices.
    num_classes : int
        Scores.
    hidden_size, num_layers, bidirectional
        Of the recurrent layers, as in :class:`mlext.nn.LSTM`.
    embedding_dim : int, optional
        Steps are indices, such as of words, and each becomes so many features that are learnt.
    kind : {"lstm", "gru", "rnn"}
        The recurrent layers.
    dropout : float
        Probability with which a feature is dropped between layers and before the scores while training.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    x : (N, T, C), or with ``embedding_dim`` (N, T) of integers
    lengths : (N), optional, as of :func:`mlext.data.pack_sequences`
    output : (N, num_classes), scores

    Raises
    ------
    ValueError
        If a size is not positive, or ``kind`` is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> words = ml.models.SequenceClassifier(100, 2, 16, embedding_dim=8, bidirectional=True, rng=0)
    >>> words(*ml.data.pack_sequences([[5, 17, 3], [99]])).shape
    (2, 2)

    References
    ----------
    Hochreiter and Schmidhuber 1997, "Long short-term memory".
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        hidden_size: int = 128,
        num_layers: int = 1,
        *,
        embedding_dim: int | None = None,
        bidirectional: bool = False,
        kind: str = "lstm",
        dropout: float = 0.0,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        layers, rng = recurrent("SequenceClassifier", kind), resolve(rng)
        self.input_size, self.num_classes, self.hidden_size = input_size, num_classes, hidden_size
        self.num_layers, self.embedding_dim, self.bidirectional = num_layers, embedding_dim, bidirectional
        self.kind, self.dropout = kind, dropout
        self.embedding = None
        if embedding_dim is not None:
            self.embedding = nn.Embedding(input_size, embedding_dim, dtype=dtype, rng=rng)
        options = {"dropout": dropout, "bidirectional": bidirectional, "dtype": dtype, "rng": rng}
        self.recurrent = layers(embedding_dim or input_size, hidden_size, num_layers, **options)
        features = hidden_size * (2 if bidirectional else 1)
        head = nn.Linear(features, num_classes, dtype=dtype, rng=rng)
        self.head = nn.Sequential(nn.LastStep(), nn.Dropout(dropout, rng=rng), head)

    def forward(self, x: Any, lengths: Any = None) -> Any:
        """Return the scores."""
        steps = x if self.embedding is None else self.embedding(x)
        return self.head(self.recurrent(steps, lengths=lengths))


class Forecaster(nn.Module):
    """Recurrent layers over the last steps of some series, and the steps that come next.

    What is learnt is the difference from the last step: a forecast that has learnt nothing is "as now". Give it series
    of about the same scale, as of :class:`mlext.data.StandardScaler`.

    Parameters
    ----------
    input_size : int
        C, the series.
    horizon : int
        Steps that are forecast.
    hidden_size, num_layers
        Of the recurrent layers, as in :class:`mlext.nn.LSTM`.
    kind : {"lstm", "gru", "rnn"}
        The recurrent layers.
    dropout : float
        Probability with which a feature is dropped between layers and before the last one while training.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    x : (N, T, C), as of :func:`mlext.data.sliding_windows`
    output : (N, horizon, C)

    Raises
    ------
    ValueError
        If a size is not positive, or ``kind`` is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.models.Forecaster(3, horizon=2, hidden_size=16, rng=0)(ml.ones(5, 24, 3)).shape
    (5, 2, 3)

    References
    ----------
    Gers, Eck and Schmidhuber 2001, "Applying LSTM to time series predictable through time-window approaches".
    """

    def __init__(
        self,
        input_size: int,
        horizon: int = 1,
        hidden_size: int = 64,
        num_layers: int = 1,
        *,
        kind: str = "lstm",
        dropout: float = 0.0,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        layers, rng = recurrent("Forecaster", kind), resolve(rng)
        self.input_size, self.horizon, self.hidden_size, self.num_layers = input_size, horizon, hidden_size, num_layers
        self.kind, self.dropout = kind, dropout
        self.recurrent = layers(input_size, hidden_size, num_layers, dropout=dropout, dtype=dtype, rng=rng)
        head = nn.Linear(hidden_size, horizon * input_size, dtype=dtype, rng=rng)
        self.head = nn.Sequential(nn.LastStep(), nn.Dropout(dropout, rng=rng), head)

    def forward(self, x: Any) -> Any:
        """Return the steps that come next."""
        changes = self.head(self.recurrent(x))
        return changes.reshape(x.shape[0], self.horizon, self.input_size) + x[:, -1:]
