"""Decoders of transformers, which read a sequence of indices and score the next one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import _C, dtypes, nn
from mlext import functional as F
from mlext.models._drawing import Drawing
from mlext.models._transformers import check_heads, check_steps, scale_weights
from mlext.nn._door import positive_int
from mlext.nn.transformer_stack import another
from mlext.random import Rng, resolve


class GPT(nn.Module):
    """Scores of the next index from all that came before: embeddings, layers of causal attention, one product.

    As it stands it is GPT-2. With ``norm="rms"``, ``activation="swiglu"``, ``position="rotary"`` and ``bias=False`` it
    is Llama. Weights start normal or uniform with standard deviation 0.02, those in front of a sum divided by
    sqrt(2 L), and biases are 0. The layers drop features as those of :class:`mlext.nn.TransformerEncoderLayer`.

    Parameters
    ----------
    vocabulary_size : int
        V, different indices.
    context : int
        Steps that are seen at once.
    embed_dim : int
        E, features of a step.
    num_layers : int
        L.
    num_heads : int
        H, heads of attention, a divisor of E unless ``head_dim`` is given.
    num_kv_heads, head_dim : int, optional
        As in :class:`mlext.nn.MultiHeadAttention`.
    hidden_dim : int, optional
        Features between the dense layers; by default 4 E, with "swiglu" 8 E / 3, rounded up to a multiple of 8.
    norm : {"layer", "rms"}
        Kind of the norms.
    activation : str
        Between the dense layers, as in :class:`mlext.nn.TransformerEncoderLayer`.
    position : {"learned", "rotary"}
        A learned row for each position, or queries and keys turned by it.
    dropout : float
        Probability with which, in training, a feature or a weight of attention is 0.
    bias : bool
        Whether linear layers and norms have biases.
    tie_weights : bool
        Whether the rows of the embedding are also the weight of the last product.
    norm_eps : float
        Added to the variances.
    rope_base, rope_scaling
        Of :class:`mlext.nn.RotaryPosition`: its ``base`` and ``scaling``.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    indices : (N, T), at most ``context`` steps, those in ``caches`` counted
    output : (N, T, V), scores of what comes behind each step

    Raises
    ------
    ValueError
        If a size does not fit, an option is unknown, or there are more steps than the context.
    IndexError
        If an index is beyond the vocabulary.

    Examples
    --------
    >>> import mlext as ml
    >>> model = ml.models.GPT(50, context=16, embed_dim=8, num_layers=2, num_heads=2, rng=0)
    >>> model(ml.tensor([[3, 14, 15, 9]])).shape
    (1, 4, 50)
    >>> list(model.generate([3, 14, 15], 4, temperature=0)) == list(
    ...     model.generate([3, 14, 15], 4, temperature=0, use_cache=False)
    ... )
    True

    References
    ----------
    Radford et al. 2019, "Language models are unsupervised multitask learners" (GPT-2); Touvron et al. 2023, "LLaMA:
    open and efficient foundation language models".
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        context: int = 1024,
        embed_dim: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        hidden_dim: int | None = None,
        norm: str = "layer",
        activation: str = "gelu_tanh",
        position: str = "learned",
        dropout: float = 0.0,
        bias: bool = True,
        tie_weights: bool = True,
        norm_eps: float = 1e-5,
        rope_base: float = 10000.0,
        rope_scaling: Any = None,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        self.vocabulary_size = positive_int("GPT", "vocabulary_size", vocabulary_size)
        check_heads("GPT", embed_dim, num_heads, head_dim)
        self.context, self.embed_dim = positive_int("GPT", "context", context), embed_dim
        self.num_layers, self.num_heads = positive_int("GPT", "num_layers", num_layers), num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.head_dim = embed_dim // num_heads if head_dim is None else head_dim
        if hidden_dim is None:
            hidden_dim = -(-embed_dim // 3) * 8 if activation == "swiglu" else 4 * embed_dim
        self.hidden_dim, self.norm, self.activation, self.position = hidden_dim, norm, activation, position
        self.dropout, self.bias, self.tie_weights, self.norm_eps = dropout, bool(bias), bool(tie_weights), norm_eps
        if position not in ("learned", "rotary"):
            raise ValueError(f"GPT: argument 'position': expected 'learned' or 'rotary', got {position!r}")
        rotary = (
            nn.RotaryPosition(self.head_dim, base=rope_base, scaling=rope_scaling) if position == "rotary" else None
        )
        self.rope_base, self.rope_scaling = rope_base, None if rotary is None else rotary.scaling
        rng = resolve(rng)
        options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self.tokens = nn.Embedding(vocabulary_size, embed_dim, **options)
        self.positions = None if rotary else nn.LearnedPosition(context, embed_dim, **options)
        self.drop = nn.Dropout(dropout, rng=rng)
        options |= {"dropout": dropout, "activation": activation, "layer_norm_eps": norm_eps, "bias": self.bias}
        options |= {"norm": norm, "num_kv_heads": num_kv_heads, "head_dim": self.head_dim, "rotary": rotary}
        first = nn.TransformerEncoderLayer(embed_dim, num_heads, hidden_dim, norm_first=True, **options)
        self.blocks = nn.TransformerEncoder(first, num_layers, another("GPT", first.norm1, rng), rng=rng)
        self.head = None if tie_weights else nn.Linear(embed_dim, vocabulary_size, False, dtype=dtype, rng=rng)
        scale_weights(self, 1 / math.sqrt(2 * num_layers))

    def forward(self, indices: Any, *, caches: Sequence[nn.KeyValueCache] | None = None) -> Any:
        """Return the scores; with ``caches``, of :meth:`new_caches`, of steps behind those before."""
        return self._score(self._read(indices, caches))

    def _read(self, indices: Any, caches: Sequence[nn.KeyValueCache] | None) -> Any:
        before = caches[0].length if caches else 0
        check_steps("GPT", indices, before, self.context)
        x = self.tokens(indices)
        if self.positions is not None:
            x = self.positions(x, before)
        return self.blocks(self.drop(x), is_causal=True, caches=caches)

    def _score(self, x: Any) -> Any:
        return F.linear(x, self.tokens.weight) if self.head is None else self.head(x)

    def new_caches(self, *, dtype: dtypes.DTypeLike | None = None) -> list[nn.KeyValueCache]:
        """Return an empty :class:`mlext.nn.KeyValueCache` for each layer."""
        return self.blocks.new_caches(self.context, dtype=dtype)

    def generate(
        self,
        indices: Any,
        steps: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: Rng = None,
        use_cache: bool = True,
        cache_dtype: dtypes.DTypeLike | None = None,
    ) -> Iterator[Any]:
        """Go on with sequences, step by step; each is there as soon as it is asked for.

        What was read is read once, and then each step alone. When more steps than the context have been seen, the last
        half of the context is read anew, as a text that begins there. Of a longer prompt the end is read.

        Parameters
        ----------
        indices : array (T) or (N, T)
            What they begin with, at least one step; not part of the result.
        steps : int
            How many to give.
        temperature : float
            Scores are divided by it: below 1 likely indices become more likely; 0 takes the most likely one.
        top_k : int, optional
            Draw from so many of the most likely indices.
        top_p : float, optional
            Draw from the fewest of the most likely indices that have this share together.
        rng : Generator or int, optional
            Source of randomness.
        use_cache : bool
            False: read everything again at each step, with the same result but for rounding.
        cache_dtype : dtype, optional
            Of keys and values in the cache: of a half type or int8 they take a half or a quarter of the memory.

        Returns
        -------
        iterator of int, or for (N, T) of ndarray (N)

        Raises
        ------
        TypeError
            If the indices are no integers, or ``cache_dtype`` is neither floating nor int8.
        ValueError
            If there are none, or a number is out of range.
        IndexError
            If an index is beyond the vocabulary.
        """
        prompt = np.asarray(indices)
        if prompt.ndim not in (1, 2) or prompt.size == 0:
            expected = "shape (T) or (N, T) with at least one step"
            raise ValueError(f"generate: argument 'indices': expected {expected}, got {prompt.shape}")
        if prompt.dtype.kind not in "iu":
            raise TypeError(f"generate: argument 'indices': expected integers, got {prompt.dtype}")
        if prompt.min() < 0 or prompt.max() >= self.vocabulary_size:
            wrong = prompt.min() if prompt.min() < 0 else prompt.max()
            raise IndexError(f"generate: argument 'indices': expected 0 to {self.vocabulary_size - 1}, got {wrong}")
        caches = self.new_caches(dtype=cache_dtype) if use_cache else None
        return self._drawn(prompt, Drawing("steps", steps, temperature, top_k, top_p, rng), caches)

    def _drawn(self, prompt: NDArray[Any], draw: Drawing, caches: list[nn.KeyValueCache] | None) -> Iterator[Any]:
        seen = np.atleast_2d(prompt)[:, -self.context :].astype(np.int64)
        unread = seen
        modules = list(self.modules())
        for _ in range(draw.steps):
            if seen.shape[1] > self.context:
                seen = seen[:, -max(self.context // 2, 1) :]
                for cache in caches or ():
                    cache.reset()
                unread = seen
            with self.evaluating(modules):
                scores = self._score(self._read(_C.constant(unread), caches)[:, -1])
            found = draw(scores)
            yield int(found[0]) if prompt.ndim == 1 else found
            seen = np.concatenate([seen, found[:, None]], 1)
            unread = seen if caches is None else found[:, None]

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.vocabulary_size}, context={self.context}, embed_dim={self.embed_dim}"
