"""Multi-head attention."""

from __future__ import annotations

import math
from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional._geometry import check_rank
from mlext.functional.random import check_probability
from mlext.init import zeros_
from mlext.nn._attending import alibi_slopes, check_ring, checked_window, in_full, like
from mlext.nn._door import positive_int
from mlext.nn.cache import KeyValueCache
from mlext.nn.linear import Linear
from mlext.nn.module import Module
from mlext.nn.position import RotaryPosition
from mlext.random import Generator, Rng, resolve
from mlext.tensor import Parameter, Tensor, tensor, zeros


class MultiHeadAttention(Module):
    """Several attentions side by side: each head takes means of values, weighted by how well keys fit a query.

        q, k, v = query Wq^T + bq, key Wk^T + bk, value Wv^T + bv, cut into heads
        y = concat(softmax(q_h k_h^T / sqrt(D)) v_h) Wo^T + bo

    The formula is that of :func:`mlext.functional.scaled_dot_product_attention`; names and initial values of the
    parameters are those of ``torch.nn.MultiheadAttention``. One weight serves queries, keys and values unless their
    sizes differ.

    Parameters
    ----------
    embed_dim : int
        E, features of queries and of the output.
    num_heads : int
        H.
    num_kv_heads : int, optional
        G, a divisor of H: query heads share heads of keys and values (grouped queries; 1: multi-query). By default H.
    head_dim : int, optional
        D, features of a head; by default E / H, and H must be a divisor of E.
    key_size, value_size : int, optional
        Features of keys and of values; by default E.
    bias : bool
        Whether there are biases.
    dropout : float
        Probability with which a weight is 0 in training.
    rotary : RotaryPosition, optional
        Turns queries and keys by their positions.
    window : pair of int or None, optional
        Query i sees keys from i - left to i + right; None on a side: no bound.
    soft_cap : float, optional
        c: scores become ``c tanh(score / c)``.
    alibi : bool
        Whether scores fall with the distance, by ``2^(-8 h / H)`` per step in head h.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    query : (N, S, E)
    key : (N, T, K), by default the query; value : (N, T, V), by default the key
    mask : bool, True: takes part (torch's is the other way round); or floating, added to the scores; broadcast against
        (N, H, S, T)
    lengths : (N), keys of each sequence, optional
    in_proj_weight : ((H + 2 G) D, E), or q_proj_weight (H D, E), k_proj_weight (G D, K), v_proj_weight (G D, V)
    in_proj_bias : ((H + 2 G) D); out_proj.weight : (E, H D); out_proj.bias : (E)
    output : (N, S, E), with ``need_weights`` also weights (N, H, S, T)

    Raises
    ------
    ValueError
        If a size is no divisor where it must be one, or a shape does not fit.

    Examples
    --------
    >>> import mlext as ml
    >>> attention = ml.nn.MultiHeadAttention(8, 2, rng=0)
    >>> attention(ml.ones(3, 5, 8), is_causal=True).shape
    (3, 5, 8)
    >>> y, weights = attention(ml.ones(3, 5, 8), ml.ones(3, 7, 8), lengths=[7, 2, 1], need_weights=True)
    >>> y.shape, weights.shape
    ((3, 5, 8), (3, 2, 5, 7))

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need"; Ainslie et al. 2023, "GQA: training generalized multi-query
    transformer models from multi-head checkpoints"; Press, Smith and Lewis 2022, "Train short, test long: attention
    with linear biases enables input length extrapolation".
    """

    in_proj_weight: Parameter | None
    slopes: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        rotary: RotaryPosition | None = None,
        window: tuple[int | None, int | None] | None = None,
        soft_cap: float | None = None,
        alibi: bool = False,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        name = "MultiHeadAttention"
        self.embed_dim = positive_int(name, "embed_dim", embed_dim)
        self.num_heads = positive_int(name, "num_heads", num_heads)
        self.num_kv_heads = num_heads if num_kv_heads is None else positive_int(name, "num_kv_heads", num_kv_heads)
        self.key_size = embed_dim if key_size is None else positive_int(name, "key_size", key_size)
        self.value_size = embed_dim if value_size is None else positive_int(name, "value_size", value_size)
        divided = [("num_heads", "num_kv_heads", self.num_kv_heads)]
        if head_dim is None:
            divided.insert(0, ("embed_dim", "num_heads", num_heads))
        for what, whole, part in divided:
            if getattr(self, what) % part:
                expected = f"a divisor of {what}, {getattr(self, what)}"
                raise ValueError(f"{name}: argument '{whole}': expected {expected}, got {part}")
        self.head_dim = embed_dim // num_heads if head_dim is None else positive_int(name, "head_dim", head_dim)
        check_probability(name, dropout)
        if rotary is not None and not isinstance(rotary, RotaryPosition):
            raise TypeError(f"{name}: argument 'rotary': expected a RotaryPosition, got {type(rotary).__name__}")
        if rotary is not None and rotary.head_dim != self.head_dim:
            expected = f"head_dim={self.head_dim}, that of a head"
            raise ValueError(f"{name}: argument 'rotary': expected {expected}, got {rotary.head_dim}")
        self.bias, self.dropout, self.rotary = bool(bias), dropout, rotary
        self.window, self.soft_cap, self.alibi = checked_window(window), soft_cap, bool(alibi)
        self.rng: Generator = resolve(rng)
        self._make_weights(dtype)

    def _make_weights(self, dtype: dtypes.DTypeLike) -> None:
        inner, shared = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        together = self.key_size == self.value_size == self.embed_dim
        shapes = {
            "in_proj_weight": (inner + 2 * shared, self.embed_dim) if together else None,
            "q_proj_weight": None if together else (inner, self.embed_dim),
            "k_proj_weight": None if together else (shared, self.key_size),
            "v_proj_weight": None if together else (shared, self.value_size),
        }
        for name, shape in shapes.items():
            setattr(self, name, None if shape is None else self._drawn(shape, dtype))
        self.in_proj_bias = Parameter(zeros(inner + 2 * shared, dtype=dtype)) if self.bias else None
        self.out_proj = Linear(inner, self.embed_dim, self.bias, dtype=dtype, rng=self.rng)
        if self.out_proj.bias is not None:
            zeros_(self.out_proj.bias)
        slopes = tensor(alibi_slopes(self.num_heads), dtype=dtype) if self.alibi else None
        self.register_buffer("slopes", slopes, persistent=False)

    def _drawn(self, shape: tuple[int, int], dtype: dtypes.DTypeLike) -> Parameter:
        bound = math.sqrt(6 / sum(shape))  # Xavier
        return Parameter(self.rng.uniform(shape, low=-bound, high=bound, dtype=dtype))

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        mask: Any = None,
        is_causal: bool = False,
        lengths: Any = None,
        cache: KeyValueCache | None = None,
        need_weights: bool = False,
    ) -> Any:
        """Return the output, with ``need_weights`` a pair of it and the weights.

        With a ``cache`` the keys and values of these steps are kept behind those before, which the queries see too:
        ``is_causal`` and ``window`` count from the end, and ``rotary`` goes on with the next position. A fixed cache
        keeps the keys and values of the first call instead, and later calls read them from there.
        """
        self._check("query", query, "(N, S, E)", self.embed_dim)
        options: dict[str, Any] = {"mask": mask, "is_causal": is_causal, "lengths": lengths, "window": self.window}
        alone = (key is None or key is query) and (value is None or value is query)
        if cache is None or cache.fixed:
            together = alone and cache is None
            parts = self._together(query, 0) if together else self._apart(query, key, value, 0, cache)
            return self._attend(parts[0], parts[1:], need_weights, options)
        check_ring(cache, self, mask, lengths)
        offset = cache.length
        q, k, v = self._together(query, offset) if alone else self._apart(query, key, value, offset, None)
        try:
            return self._attend(q, cache.append(k, v), need_weights, options | {"align": "bottom_right"})
        except Exception:
            cache.length = offset  # a refused call changes nothing
            raise

    def _attend(self, q: Any, kept: tuple[Any, ...], need_weights: bool, options: dict[str, Any]) -> Any:
        k, v, *scales = kept if len(kept) == 2 or not need_weights else in_full(*kept)
        p, dtype = self.dropout if self.training else 0.0, q.dtype
        q, mask, alibi = (like(a, k) for a in (q, options.pop("mask"), self.slopes))
        options |= {"mask": mask, "alibi": alibi, "soft_cap": self.soft_cap}
        if not need_weights:
            options |= dict(zip(("k_scale", "v_scale"), scales, strict=False))
            out = F.scaled_dot_product_attention(q, k, v, dropout_p=p, rng=self.rng, **options)
            return self._joined(out, dtype)
        weights = F.attention_weights(q, k, **options)
        values = F.permute(F.repeat(v, self.num_heads // self.num_kv_heads, 2), (0, 2, 1, 3))
        out = F.permute(F.matmul(F.dropout(weights, p, rng=self.rng), values), (0, 2, 1, 3))
        return self._joined(out, dtype), weights

    def _joined(self, out: Any, dtype: Any) -> Any:
        y = F.reshape(out, (*out.shape[:2], self.num_heads * self.head_dim))
        return self.out_proj(y if y.dtype is dtype else F.astype(y, dtype))

    def _together(self, query: Any, offset: int) -> tuple[Any, ...]:
        """Queries, keys and values of the same steps: one product, whose parts are views."""
        if self.in_proj_weight is None:
            return self._apart(query, query, query, offset, None)
        sizes = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        heads = self._cut(F.linear(query, self.in_proj_weight, self.in_proj_bias), sum(sizes))
        if self.rotary is None:
            q, k, v = F.split(heads, sizes, 2)
            return q, k, v
        turned = self.rotary(F.narrow(heads, 2, 0, sizes[0] + sizes[1]), offset)
        q, k = F.split(turned, sizes[:2], 2)
        return q, k, F.narrow(heads, 2, sizes[0] + sizes[1], sizes[2])

    def _apart(self, query: Any, key: Any, value: Any, offset: int, cache: Any) -> tuple[Any, ...]:
        """Queries of some steps, keys and values of others, or those that a fixed cache has."""
        key = query if key is None else key
        value = key if value is None else value
        self._check("key", key, "(N, T, K)", self.key_size)
        self._check("value", value, "(N, T, V)", self.value_size)
        if len(key) != len(query):
            raise ValueError(f"MultiHeadAttention: argument 'key': expected {len(query)} sequences, got {len(key)}")
        if value.shape[:2] != key.shape[:2]:
            expected = f"{key.shape[0]} sequences of {key.shape[1]} steps, as key"
            raise ValueError(f"MultiHeadAttention: argument 'value': expected {expected}, got shape {value.shape}")
        q = self._turned(self._part("q", query), offset)
        if cache is not None and cache.length:
            if cache.keys.shape[:2] != key.shape[:2]:
                expected = f"keys of shape {key.shape[:2]}, got {cache.keys.shape[:2]}; reset() empties it"
                raise ValueError(f"MultiHeadAttention: argument 'cache': expected {expected}")
            return q, *cache.kept
        if value is key and self.in_proj_weight is not None:
            k, v = F.split(self._part("kv", key), 2, 2)
        else:
            k, v = self._part("k", key), self._part("v", value)
        k = self._turned(k, offset)
        if cache is not None:
            return q, *cache.append(k, v)
        return q, k, v

    def _part(self, which: str, x: Any) -> Any:
        """Queries, keys or values alone, or keys and values."""
        width = self.head_dim
        q, k = self.num_heads * width, self.num_kv_heads * width
        begin, rows = {"q": (0, q), "k": (q, k), "v": (q + k, k), "kv": (q, 2 * k)}[which]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        weight = getattr(self, f"{which}_proj_weight") if weight is None else F.narrow(weight, 0, begin, rows)
        return self._cut(F.linear(x, weight, None if bias is None else F.narrow(bias, 0, begin, rows)), rows // width)

    def _turned(self, heads: Any, offset: int) -> Any:
        return heads if self.rotary is None else self.rotary(heads, offset)

    def _cut(self, x: Any, heads: int) -> Any:
        return F.reshape(x, (*x.shape[:2], heads, self.head_dim))

    def _check(self, what: str, x: Any, letters: str, size: int) -> None:
        check_rank("MultiHeadAttention", what, x, letters)
        if x.shape[2] != size:
            raise ValueError(f"MultiHeadAttention: argument '{what}': expected {size} features, got shape {x.shape}")

    def extra_repr(self) -> str:
        """Show the sizes."""
        text = f"{self.embed_dim}, {self.num_heads}"
        if self.num_kv_heads != self.num_heads:
            text += f", num_kv_heads={self.num_kv_heads}"
        if self.num_heads * self.head_dim != self.embed_dim:
            text += f", head_dim={self.head_dim}"
        options = {"window": self.window, "soft_cap": self.soft_cap, "alibi": self.alibi or None}
        return text + "".join([f", {name}={value}" for name, value in options.items() if value is not None])
