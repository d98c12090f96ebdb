"""Encoders of transformers, which read a sequence of indices in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import dtypes, nn
from mlext import functional as F
from mlext.models._transformers import check_heads, check_steps, scale_weights
from mlext.nn._door import positive_int
from mlext.random import Rng, resolve


class BERT(nn.Module):
    """Features of every index that know all others, and features of the whole.

    Embeddings of indices, positions and segments, their sum normalised; layers of attention with norms behind the sums;
    and of the first step's features a dense layer with tanh. Weights start normal or uniform with standard deviation
    0.02, biases at 0. The layers drop features as those of :class:`mlext.nn.TransformerEncoderLayer`.

    Parameters
    ----------
    vocabulary_size : int
        Different indices.
    context : int
        The most steps.
    segments : int
        Different segments.
    embed_dim, num_layers, num_heads : int
        E, L and H: features of a step, layers, and heads of attention, a divisor of E.
    hidden_dim : int, optional
        Features between the dense layers; by default 4 E.
    activation : str
        Between the dense layers, as in :class:`mlext.nn.TransformerEncoderLayer`.
    dropout : float
        Probability with which, in training, a feature or a weight of attention is 0.
    norm_eps : float
        Added to the variances.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    indices : (N, T)
    segments : (N, T), by default 0 everywhere
    lengths : (N), steps of each sequence; or mask : (N, T), True for steps that are there, or as in
        :class:`mlext.nn.MultiHeadAttention`
    output : features of the steps (N, T, E), and of the sequences (N, E)

    Raises
    ------
    ValueError
        If a size does not fit, an option is unknown, or there are more steps than the context.
    IndexError
        If an index or a segment is beyond those there are.

    Examples
    --------
    >>> import mlext as ml
    >>> model = ml.models.BERT(50, context=16, embed_dim=8, num_layers=2, num_heads=2, rng=0).eval()
    >>> steps, whole = model(ml.tensor([[1, 7, 42], [1, 9, 0]]), lengths=[3, 2])
    >>> steps.shape, whole.shape
    ((2, 3, 8), (2, 8))

    References
    ----------
    Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language understanding".
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        context: int = 512,
        segments: int = 2,
        embed_dim: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        hidden_dim: int | None = None,
        activation: str = "gelu",
        dropout: float = 0.1,
        norm_eps: float = 1e-12,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        check_heads("BERT", embed_dim, num_heads)
        self.vocabulary_size = positive_int("BERT", "vocabulary_size", vocabulary_size)
        self.context = positive_int("BERT", "context", context)
        self.segments = positive_int("BERT", "segments", segments)
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.num_layers = positive_int("BERT", "num_layers", num_layers)
        self.hidden_dim = 4 * embed_dim if hidden_dim is None else positive_int("BERT", "hidden_dim", hidden_dim)
        self.activation, self.dropout, self.norm_eps, rng = activation, dropout, norm_eps, resolve(rng)
        options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self.tokens = nn.Embedding(vocabulary_size, embed_dim, **options)
        self.positions = nn.LearnedPosition(context, embed_dim, **options)
        self.sides = nn.Embedding(segments, embed_dim, **options)
        self.norm = nn.LayerNorm(embed_dim, norm_eps, dtype=dtype)
        self.drop = nn.Dropout(dropout, rng=rng)
        sizes = (embed_dim, num_heads, self.hidden_dim, dropout, activation, norm_eps)
        self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(*sizes, **options), num_layers, rng=rng)
        self.pooler = nn.Linear(embed_dim, embed_dim, activation="tanh", **options)
        scale_weights(self)

    def forward(self, indices: Any, segments: Any = None, lengths: Any = None, *, mask: Any = None) -> Any:
        """Return the features of the steps, and of the sequences."""
        check_steps("BERT", indices, 0, self.context)
        x = self.positions(self.tokens(indices))
        if segments is None:
            x = x + F.narrow(self.sides.weight, 0, 0, 1)
        else:
            x = x + self.sides(_like(indices, "segments", segments))
        if mask is not None and np.ndim(mask) == 2:
            mask = F.reshape(_like(indices, "mask", mask), (indices.shape[0], 1, 1, indices.shape[1]))
        x = self.blocks(self.drop(self.norm(x)), mask=mask, lengths=lengths)
        return x, self.pooler(x[:, 0])

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.vocabulary_size}, context={self.context}, embed_dim={self.embed_dim}"


def _like(indices: Any, name: str, value: Any) -> Any:
    """Return an array, or a list as one, that has an element for each index."""
    value = value if hasattr(value, "shape") else np.asarray(value)
    if tuple(value.shape) != tuple(indices.shape):
        raise ValueError(f"BERT: argument '{name}': expected shape {indices.shape}, got {tuple(value.shape)}")
    return value
