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
        check_rank("AdditiveAttention", "query", query, "(N, S, Q)")
        check_rank("AdditiveAttention", "keys", keys, "(N, T, K)")
        n, steps, _ = query.shape
        if len(keys) != n:
            raise ValueError(f"AdditiveAttention: argument 'keys': expected {n} sequences, as query, got {len(keys)}")
        both = F.expand_dims(self.query(query), 2) + F.expand_dims(self.key(keys), 1)
        scores = F.squeeze(self.score(F.tanh(both)), 3)
        if lengths is not None:
            lengths = checked_lengths("AdditiveAttention", lengths, keys)
            scores = F.where(F.expand_dims(within(lengths, keys.shape[1]), 1), scores, float("-inf"))
        weights = F.softmax(scores)
        return F.matmul(weights, keys), weights

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.query_size}, {self.key_size}, {self.hidden_size}"
