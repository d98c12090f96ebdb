"""Attention: sums of values, weighted by how well their keys fit a query."""

from __future__ import annotations

from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional._geometry import check_rank
from mlext.functional._recurrence import checked_lengths, within
from mlext.nn._door import positive_int
from mlext.nn.linear import Linear
from mlext.nn.module import Module
from mlext.random import Rng, resolve


class AdditiveAttention(Module):
    """Means of keys, weighted by a small network's scores of query and key.

        score = v^T tanh(W q + b + U k), weights = softmax(score) over the keys

    Parameters
    ----------
    query_size, key_size : int
        Features of a query and of a key.
    hidden_size : int
        H, the units of the network.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    query : (N, S, Q)
    keys : (N, T, K)
    lengths : (N), keys of each sequence, optional; what comes behind has weight 0
    output : contexts (N, S, K) and weights (N, S, T)

    Raises
    ------
    ValueError
        If a shape does not fit, or a length is not from 1 to T.

    Examples
    --------
    >>> import mlext as ml
    >>> attention = ml.nn.AdditiveAttention(3, 4, 8, rng=0)
    >>> context, weights = attention(ml.ones(2, 5, 3), ml.ones(2, 7, 4), [7, 2])
    >>> context.shape, weights.shape, weights[1, 0].tolist()
    ((2, 5, 4), (2, 5, 7), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])

    References
    ----------
    Bahdanau, Cho and Bengio 2015, "Neural machine translation by jointly learning to align and translate".
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        hidden_size: int,
        *,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        name = type(self).__name__
        self.query_size = positive_int(name, "query_size", query_size)
        self.key_size = positive_int(name, "key_size", key_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        rng = resolve(rng)
        self.query = Linear(query_size, hidden_size, dtype=dtype, rng=rng)
        self.key = Linear(key_size, hidden_size, bias=False, dtype=dtype, rng=rng)
        self.score = Linear(hidden_size, 1, bias=False, dtype=dtype, rng=rng)

    def forward(self, query: Any, keys: Any, lengths: Any = None) -> tuple[Any, Any]:
        """Return contexts and weights."""
        _check_pair("AdditiveAttention", query, keys)
        both = F.expand_dims(self.query(query), 2) + F.expand_dims(self.key(keys), 1)
        scores = F.squeeze(self.score(F.tanh(both)), 3)
        return _means("AdditiveAttention", scores, keys, lengths)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.query_size}, {self.key_size}, {self.hidden_size}"


class DotProductAttention(Module):
    """Means of keys, weighted by products of query and key.

        score = q^T k ("dot") or q^T W k ("general"), weights = softmax(score) over the keys

    The scores are not scaled, and there is one head: :class:`MultiHeadAttention` has more, and never keeps the weights.

    Parameters
    ----------
    query_size, key_size : int
        Features of a query and of a key; for "dot" the same.
    score : {"dot", "general"}
        Whether there is a weight between them.
    dtype : dtype
        Of the weight.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    query : (N, S, Q)
    keys : (N, T, K)
    lengths : (N), keys of each sequence, optional; what comes behind has weight 0
    key.weight : (Q, K), for "general"
    output : contexts (N, S, K) and weights (N, S, T)

    Raises
    ------
    ValueError
        If a shape does not fit, a length is not from 1 to T, or the score is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> attention = ml.nn.DotProductAttention(3, 4, "general", rng=0)
    >>> context, weights = attention(ml.ones(2, 5, 3), ml.ones(2, 7, 4), [7, 2])
    >>> context.shape, weights.shape, weights[1, 0].tolist()
    ((2, 5, 4), (2, 5, 7), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])

    References
    ----------
    Luong, Pham and Manning 2015, "Effective approaches to attention-based neural machine translation".
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        score: str = "dot",
        *,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        name = type(self).__name__
        self.query_size = positive_int(name, "query_size", query_size)
        self.key_size = positive_int(name, "key_size", key_size)
        if score not in SCORES:
            raise ValueError(f"{name}: argument 'score': expected one of {', '.join(SCORES)}, got {score!r}")
        if score == "dot" and query_size != key_size:
            expected = f"{query_size}, as query_size, for score='dot'"
            raise ValueError(f"{name}: argument 'key_size': expected {expected}, got {key_size}")
        self.score = score
        self.key = Linear(key_size, query_size, bias=False, dtype=dtype, rng=rng) if score == "general" else None

    def forward(self, query: Any, keys: Any, lengths: Any = None) -> tuple[Any, Any]:
        """Return contexts and weights."""
        _check_pair("DotProductAttention", query, keys)
        seen = keys if self.key is None else self.key(keys)
        return _means("DotProductAttention", F.matmul(query, F.transpose(seen)), keys, lengths)

    def extra_repr(self) -> str:
        """Show the sizes and the score."""
        return f"{self.query_size}, {self.key_size}, score={self.score!r}"


SCORES = ("dot", "general")


def _check_pair(name: str, query: Any, keys: Any) -> None:
    check_rank(name, "query", query, "(N, S, Q)")
    check_rank(name, "keys", keys, "(N, T, K)")
    if len(keys) != len(query):
        raise ValueError(f"{name}: argument 'keys': expected {len(query)} sequences, as query, got {len(keys)}")


def _means(name: str, scores: Any, keys: Any, lengths: Any) -> tuple[Any, Any]:
    """Return the means of the keys and their weights, from scores (N, S, T)."""
    if lengths is not None:
        known = within(checked_lengths(name, lengths, keys), keys.shape[1])
        scores = F.where(F.expand_dims(known, 1), scores, float("-inf"))
    weights = F.softmax(scores)
    return F.matmul(weights, keys), weights
