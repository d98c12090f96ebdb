"""What models made of transformer layers share."""

from __future__ import annotations

import math
from typing import Any

from mlext import _C, nn
from mlext.functional._geometry import check_rank
from mlext.init import zeros_
from mlext.nn._door import positive_int

_STD = 0.02  # of the initial values of weights, in GPT-2 and BERT


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
        if name.startswith(("tokens.", "segments.")):
            drawn = 1.0
        wanted = _STD * summed if name.endswith(_SUMMED) else _STD
        _C.copy_(parameter, parameter.detach() * (wanted / drawn))


_SUMMED = ("out_proj.weight", "linear2.weight", "down_proj.weight")
