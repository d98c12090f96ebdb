"""What models made of transformer layers share."""

from __future__ import annotations

import math
from typing import Any

from mlext import _C, dtypes, nn
from mlext.functional._geometry import check_rank
from mlext.init import zeros_
from mlext.nn._door import positive_int
from mlext.random import Generator

_STD = 0.02  # of the initial values of weights, in GPT-2 and BERT
_SUMMED = ("out_proj.weight", "linear2.weight", "down_proj.weight")


def check_heads(op: str, embed_dim: int, num_heads: int, head_dim: int | None = None) -> None:
    """Raise ValueError unless heads have whole numbers of features."""
    positive_int(op, "embed_dim", embed_dim)
    positive_int(op, "num_heads", num_heads)
    if head_dim is None and embed_dim % num_heads:
        raise ValueError(f"{op}: argument 'num_heads': expected a divisor of embed_dim, {embed_dim}, got {num_heads}")


def check_steps(op: str, indices: Any, before: int, context: int) -> None:
    """Raise ValueError unless indices are (N, T) and end within the context."""
    check_rank(op, "indices", indices, "(N, T)")
    if before + indices.shape[1] > context:
        behind = f" behind {before}" if before else ""
        expected = f"at most {context} steps (context)"
        raise ValueError(f"{op}: argument 'indices': expected {expected}, got {indices.shape[1]}{behind}")


def scale_weights(model: nn.Module, summed: float = 1.0) -> None:
    """Give weights the standard deviation 0.02, in front of a sum 0.02 ``summed``, and biases the value 0.

    Weights are scaled as they were drawn, not drawn again: to load a model it is made with zeros, and drawing is what
    takes the time of making a large one.
    """
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            zeros_(parameter)
            continue
        if parameter.ndim < 2 or name.startswith("positions."):  # norms; drawn so already
            continue
        outputs, inputs = parameter.shape
        drawn = math.sqrt(2 / (outputs + inputs)) if "in_proj" in name else 1 / math.sqrt(3 * inputs)
        if name.startswith(("tokens.", "sides.")):
            drawn = 1.0
        wanted = _STD * summed if name.endswith(_SUMMED) else _STD
        _C.copy_(parameter, parameter.detach() * (wanted / drawn))


def encoder_block(
    embed_dim: int,
    num_heads: int,
    hidden_dim: int,
    *,
    head_dim: int | None,
    activation: str,
    last_activation: str | None,
    dropout: tuple[float, float, float, float],
    norm_eps: float,
    dtype: dtypes.DTypeLike,
    rng: Generator,
) -> nn.Sequential:
    """Return attention and two dense layers, each with a norm before it and a way around both.

    Unlike :class:`mlext.nn.TransformerEncoderLayer` it may have an activation behind the second layer, and its own
    probabilities of dropout for the weights of attention, its output, and what each of the layers gives.
    """
    options: dict[str, Any] = {"dtype": dtype, "rng": rng}
    weights, attended, hidden, last = dropout
    heads: dict[str, Any] = {"head_dim": head_dim, "dropout": weights}
    attention = [
        nn.LayerNorm(embed_dim, norm_eps, dtype=dtype),
        nn.MultiHeadAttention(embed_dim, num_heads, **heads, **options),
        *_dropout(attended, rng),
    ]
    dense = [
        nn.LayerNorm(embed_dim, norm_eps, dtype=dtype),
        nn.Linear(embed_dim, hidden_dim, activation=activation, **options),
        *_dropout(hidden, rng),
        nn.Linear(hidden_dim, embed_dim, activation=last_activation, **options),
        *_dropout(last, rng),
    ]
    return nn.Sequential(nn.Residual(nn.Sequential(*attention)), nn.Residual(nn.Sequential(*dense)))


def dense_head(
    inputs: int,
    hidden: tuple[int, ...],
    outputs: int,
    *,
    activation: str,
    dropout: float,
    first: bool,
    dtype: dtypes.DTypeLike,
    rng: Generator,
) -> nn.Sequential:
    """Return dense layers with dropout behind each but the last one, and before the first one if asked for."""
    layers: list[nn.Module] = _dropout(dropout, rng) if first else []
    for units in hidden:
        layers += [nn.Linear(inputs, units, activation=activation, dtype=dtype, rng=rng), *_dropout(dropout, rng)]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs, dtype=dtype, rng=rng))


def _dropout(p: float, rng: Generator) -> list[nn.Module]:
    return [nn.Dropout(p, rng=rng)] if p else []
