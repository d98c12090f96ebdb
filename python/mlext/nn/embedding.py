"""Embedding: a table of rows looked up by index."""

from __future__ import annotations

from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.nn._door import positive_int
from mlext.nn.module import Module
from mlext.random import Generator, resolve
from mlext.tensor import Parameter


class Embedding(Module):
    """Rows of a table, picked by integer indices.

        y = W[indices]

    The rows start normal with mean 0 and variance 1.

    Parameters
    ----------
    num_embeddings : int
        Number of rows.
    embedding_dim : int
        Size of a row.
    padding_idx : int, optional
        This row starts at 0 and gets no gradient; a negative one counts from the end.
    dtype : dtype
        Of the table.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    indices : (...), any integer dtype
    weight : (V, C) with V = num_embeddings, C = embedding_dim
    output : (..., C)

    Raises
    ------
    IndexError
        If an index is out of range.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.Embedding(10, 4)(ml.tensor([[1, 2, 9]])).shape
    (1, 3, 4)
    """

    takes_indices = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Generator | int | None = None,
    ) -> None:
        self.num_embeddings = positive_int("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: argument 'padding_idx': expected {-num_embeddings} to "
                f"{num_embeddings - 1}, got {padding_idx}"
            )
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        table = resolve(rng).normal(num_embeddings, embedding_dim, dtype=dtype)
        if self.padding_idx is not None:
            table[self.padding_idx] = 0.0
        self.weight = Parameter(table)

    def forward(self, indices: Any) -> Any:
        """Look the rows up."""
        return F.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Show the sizes."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
