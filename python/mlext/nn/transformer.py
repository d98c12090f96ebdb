"""Layers of transformers: attention and two linear layers, each with a way around it. Batch first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlext import dtypes
from mlext import functional as F
from mlext.functional._geometry import check_rank
from mlext.functional.random import check_probability
from mlext.nn._door import positive_int
from mlext.nn.gated import GatedMLP
from mlext.nn.layer_norm import LayerNorm, RMSNorm
from mlext.nn.linear import Linear
from mlext.nn.module import Module
from mlext.nn.multihead import MultiHeadAttention
from mlext.nn.position import RotaryPosition
from mlext.random import Generator, Rng, resolve


class _TransformerLayer(Module):
    """What encoder and decoder layers share."""

    _attentions: tuple[str, ...]
    self_attn: MultiHeadAttention

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
        *,
        norm: str = "layer",
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        rotary: RotaryPosition | None = None,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        name = type(self).__name__
        self.d_model = positive_int(name, "d_model", d_model)
        self.nhead = positive_int(name, "nhead", nhead)
        self.dim_feedforward = positive_int(name, "dim_feedforward", dim_feedforward)
        if d_model % nhead and head_dim is None:
            raise ValueError(f"{name}: argument 'nhead': expected a divisor of d_model, {d_model}, got {nhead}")
        check_probability(name, dropout)
        self.dropout, self.activation, self.layer_norm_eps = dropout, activation, layer_norm_eps
        self.norm_first, self.bias, self.norm = bool(norm_first), bool(bias), norm
        self.rng: Generator = resolve(rng)
        options: dict[str, Any] = {"bias": bias, "dtype": dtype, "rng": self.rng}
        heads: dict[str, Any] = {"num_kv_heads": num_kv_heads, "head_dim": head_dim, "dropout": dropout}
        for part in self._attentions:
            turning = rotary if part == "self_attn" else None
            setattr(self, part, MultiHeadAttention(d_model, nhead, rotary=turning, **heads, **options))
        self.num_kv_heads, self.head_dim = self.self_attn.num_kv_heads, self.self_attn.head_dim
        if activation == "swiglu":
            self.mlp = GatedMLP(d_model, dim_feedforward, **options)
        else:
            self.linear1 = Linear(d_model, dim_feedforward, activation=activation, **options)
            self.linear2 = Linear(dim_feedforward, d_model, **options)
        for i in range(1, len(self._attentions) + 2):
            setattr(self, f"norm{i}", _norm(name, norm, d_model, layer_norm_eps, bias, dtype))

    @property
    def rotary(self) -> RotaryPosition | None:
        """What turns queries and keys of the self-attention."""
        return self.self_attn.rotary

    def _around(self, norm: Module, x: Any, part: Callable[[Any], Any]) -> Any:
        """Apply a part of the layer and add its input, with the norm before it or behind the sum."""
        if self.norm_first:
            return x + self._dropped(part(norm(x)))
        return norm(x + self._dropped(part(x)))

    def _dropped(self, x: Any) -> Any:
        return F.dropout(x, self.dropout, self.training, rng=self.rng)

    def _feed_forward(self, x: Any) -> Any:
        if self.activation == "swiglu":
            return self.mlp(x)
        return self.linear2(self._dropped(self.linear1(x)))

    def _check(self, what: str, x: Any) -> None:
        check_rank(type(self).__name__, what, x, "(N, T, E)")
        if x.shape[2] != self.d_model:
            expected = f"{self.d_model} features (d_model)"
            raise ValueError(f"{type(self).__name__}: argument '{what}': expected {expected}, got shape {x.shape}")

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.d_model}, {self.nhead}" + (", norm_first=True" if self.norm_first else "")


def _norm(name: str, kind: str, d_model: int, eps: float, bias: bool, dtype: dtypes.DTypeLike) -> LayerNorm | RMSNorm:
    if kind == "layer":
        return LayerNorm(d_model, eps, bias=bias, dtype=dtype)
    if kind == "rms":
        return RMSNorm(d_model, eps, dtype=dtype)
    raise ValueError(f"{name}: argument 'norm': expected 'layer' or 'rms', got {kind!r}")


class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention and two linear layers, each with a way around it and a norm.

        x = norm1(x + self_attn(x)),  y = norm2(x + linear2(act(linear1(x))))
        or, with norm_first: x = x + self_attn(norm1(x)),  y = x + linear2(act(linear1(norm2(x))))

    Arguments and names of parameters are those of ``torch.nn.TransformerEncoderLayer`` with ``batch_first=True``. With
    ``is_causal=True`` it is a layer of a decoder without memory, as of GPT.

    Parameters
    ----------
    d_model : int
        E.
    nhead : int
        H, heads of the attention, a divisor of E.
    dim_feedforward : int
        F, features between the linear layers.
    dropout : float
        Probability with which, in training, an element of the attention's weights, of its output, between the linear
        layers, or of their output is 0.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "swiglu"}
        Between the linear layers; "swiglu": a :class:`GatedMLP` in their place, ``mlp``.
    layer_norm_eps : float
        Added to the variances.
    norm_first : bool
        Whether norms come before the parts or behind the sums.
    bias : bool
        Whether linear layers and norms have biases.
    norm : {"layer", "rms"}
        Kind of the norms: :class:`LayerNorm` or :class:`RMSNorm`, which has no bias.
    num_kv_heads, head_dim, rotary
        As in :class:`MultiHeadAttention`.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    x : (N, T, E)
    mask, is_causal, lengths, cache : as in :class:`MultiHeadAttention`
    output : (N, T, E)

    Raises
    ------
    ValueError
        If ``nhead`` is no divisor of ``d_model``, another argument is out of range, or a shape does not fit.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.TransformerEncoderLayer(8, 2, 16)
    >>> layer(ml.ones(3, 5, 8), lengths=[5, 2, 1]).shape
    (3, 5, 8)

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need"; Xiong et al. 2020, "On layer normalization in the transformer
    architecture" (norm_first); Touvron et al. 2023, "LLaMA: open and efficient foundation language models" (a layer
    with ``norm="rms"``, ``activation="swiglu"`` and ``rotary``).
    """

    _attentions = ("self_attn",)
    norm1: LayerNorm | RMSNorm
    norm2: LayerNorm | RMSNorm

    def forward(
        self, x: Any, *, mask: Any = None, is_causal: bool = False, lengths: Any = None, cache: Any = None
    ) -> Any:
        """Apply the layer."""
        self._check("x", x)
        options: dict[str, Any] = {"mask": mask, "is_causal": is_causal, "lengths": lengths, "cache": cache}
        x = self._around(self.norm1, x, lambda y: self.self_attn(y, **options))
        return self._around(self.norm2, x, self._feed_forward)


class TransformerDecoderLayer(_TransformerLayer):
    """Causal self-attention, attention over a memory, and two linear layers, each with a way around it and a norm.

        x = norm1(x + self_attn(x)),  x = norm2(x + multihead_attn(x, memory)),  y = norm3(x + linear2(act(linear1(x))))

    Or with ``norm_first`` the norms before the parts. Arguments and names of parameters are those of
    ``torch.nn.TransformerDecoderLayer`` with ``batch_first=True``; but ``is_causal`` is True unless told otherwise.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias, norm, dtype, rng
        As in :class:`TransformerEncoderLayer`.
    num_kv_heads, head_dim, rotary
        As in :class:`MultiHeadAttention`; ``rotary`` is for the self-attention.

    Shapes
    ------
    x : (N, T, E)
    memory : (N, S, E), what an encoder made
    mask, is_causal, lengths : of the self-attention, as in :class:`MultiHeadAttention`
    memory_mask : against (N, H, T, S); memory_lengths : (N), steps of each memory
    cache : a KeyValueCache for the self-attention, or a pair of one and a fixed one for the memory
    output : (N, T, E)

    Raises
    ------
    ValueError
        As :class:`TransformerEncoderLayer`.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.TransformerDecoderLayer(8, 2, 16)
    >>> layer(ml.ones(3, 5, 8), ml.ones(3, 7, 8), memory_lengths=[7, 2, 1]).shape
    (3, 5, 8)

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need".
    """

    _attentions = ("self_attn", "multihead_attn")
    multihead_attn: MultiHeadAttention
    norm1: LayerNorm | RMSNorm
    norm2: LayerNorm | RMSNorm
    norm3: LayerNorm | RMSNorm

    def forward(
        self,
        x: Any,
        memory: Any,
        *,
        mask: Any = None,
        memory_mask: Any = None,
        is_causal: bool = True,
        lengths: Any = None,
        memory_lengths: Any = None,
        cache: Any = None,
    ) -> Any:
        """Apply the layer."""
        self._check("x", x)
        self._check("memory", memory)
        own, seen = cache if isinstance(cache, (tuple, list)) else (cache, None)
        options: dict[str, Any] = {"mask": mask, "is_causal": is_causal, "lengths": lengths, "cache": own}
        x = self._around(self.norm1, x, lambda y: self.self_attn(y, **options))
        across: dict[str, Any] = {"mask": memory_mask, "lengths": memory_lengths, "cache": seen}
        x = self._around(self.norm2, x, lambda y: self.multihead_attn(y, memory, **across))
        return self._around(self.norm3, x, self._feed_forward)
