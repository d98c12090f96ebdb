"""The feed-forward part of newer transformers."""

from __future__ import annotations

from typing import Any

from mlext import dtypes
from mlext.nn._door import positive_int
from mlext.nn.linear import Linear
from mlext.nn.module import Module
from mlext.random import Rng, resolve


class GatedMLP(Module):
    """Two layers, the first of which has a gate beside it.

        y = Wd (act(Wg x) * (Wu x))

    With "silu" that is SwiGLU, with "gelu" GEGLU, with "sigmoid" the gated linear unit. Parameters have the names of
    Llama's: gate_proj, up_proj and down_proj.

    Parameters
    ----------
    embed_dim : int
        E.
    hidden_dim : int
        F.
    bias : bool
        Whether b is added in each.
    activation : {"silu", "gelu", "gelu_tanh", "sigmoid", "relu", "relu6", "tanh"}
        Of the gate.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    x : (..., E)
    gate_proj.weight, up_proj.weight : (F, E); down_proj.weight : (E, F)
    output : (..., E)

    Raises
    ------
    ValueError
        If a size is not positive, or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.nn.GatedMLP(4, 11)(ml.ones(2, 3, 4)).shape
    (2, 3, 4)

    References
    ----------
    Shazeer 2020, "GLU variants improve transformer".
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        *,
        bias: bool = False,
        activation: str = "silu",
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        self.embed_dim = positive_int("GatedMLP", "embed_dim", embed_dim)
        self.hidden_dim = positive_int("GatedMLP", "hidden_dim", hidden_dim)
        self.bias, self.activation, rng = bool(bias), activation, resolve(rng)
        self.gate_proj = Linear(embed_dim, hidden_dim, bias, activation=activation, dtype=dtype, rng=rng)
        self.up_proj = Linear(embed_dim, hidden_dim, bias, dtype=dtype, rng=rng)
        self.down_proj = Linear(hidden_dim, embed_dim, bias, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        """Apply the layers."""
        return self.down_proj(self.gate_proj(x) * self.up_proj(x))

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.embed_dim}, {self.hidden_dim}"
