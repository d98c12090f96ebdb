"""Stacks of transformer layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from mlext import dtypes
from mlext.nn._door import positive_int
from mlext.nn.cache import KeyValueCache
from mlext.nn.container import ModuleList
from mlext.nn.module import Module
from mlext.nn.residual import _checked
from mlext.random import Rng, resolve


def another(name: str, layer: Module, rng: Rng) -> Module:
    """Return a layer like another one, with initial values of its own."""
    options: dict[str, Any] = {"rng": rng} if "rng" in inspect.signature(type(layer)).parameters else {}
    try:
        made: Module = type(layer)(**layer.config(), **options)
        return made
    except (AttributeError, TypeError):
        kind = type(layer).__name__
        expected = "a layer that has its arguments as attributes, or a function that makes one"
        raise TypeError(f"{name}: argument 'layer': expected {expected}, got {kind}") from None


class _Stack(Module):
    """Layers one after the other, each with a cache of its own."""

    def __init__(
        self, layer: Module | Callable[[], Module], num_layers: int, norm: Module | None = None, *, rng: Rng = None
    ) -> None:
        name = type(self).__name__
        self.num_layers = positive_int(name, "num_layers", num_layers)
        if isinstance(layer, Module):
            source = vars(layer).get("rng") if rng is None else resolve(rng)
            made = [layer, *(another(name, layer, source) for _ in range(num_layers - 1))]
        elif callable(layer):
            made = [_checked(name, "layer", layer()) for _ in range(num_layers)]
        else:
            got = type(layer).__name__
            raise TypeError(f"{name}: argument 'layer': expected a layer or a function that makes one, got {got}")
        self.layers = ModuleList(made)
        self.norm = None if norm is None else _checked(name, "norm", norm)

    @property
    def layer(self) -> Module:
        """The first layer."""
        return self.layers[0]  # type: ignore[no-any-return]

    def _run(self, x: Any, *inputs: Any, caches: Sequence[Any] | None, **options: Any) -> Any:
        each = [None] * len(self.layers) if caches is None else list(caches)
        if len(each) != len(self.layers):
            name, expected = type(self).__name__, f"{len(self.layers)} caches, one for each layer"
            raise ValueError(f"{name}: argument 'caches': expected {expected}, got {len(each)}")
        for layer, cache in zip(self.layers, each, strict=True):
            x = layer(x, *inputs, cache=cache, **options)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """A stack of encoder layers, such as :class:`TransformerEncoderLayer`.

    Arguments and names of parameters are those of ``torch.nn.TransformerEncoder``. The layer is the first of the stack;
    the others are made like it, with initial values of their own, where torch copies those of the layer.

    Parameters
    ----------
    layer : Module, or function without arguments that makes one
        The first layer, or what is called for each layer.
    num_layers : int
        Layers.
    norm : Module, optional
        Applied at the end; layers with ``norm_first=True`` need one.
    rng : Generator or int, optional
        Source of the initial values of the other layers; by default that of the layer.

    Shapes
    ------
    x : (N, T, E)
    mask, is_causal, lengths : as in :class:`MultiHeadAttention`, for all layers
    caches : a KeyValueCache for each layer, optional
    output : (N, T, E)

    Raises
    ------
    TypeError
        If ``layer`` or ``norm`` is no module.
    ValueError
        If there are not as many caches as layers, or as the layers.

    Examples
    --------
    >>> import mlext as ml
    >>> layer = ml.nn.TransformerEncoderLayer(8, 2, 16, norm_first=True)
    >>> ml.nn.TransformerEncoder(layer, 3, ml.nn.LayerNorm(8))(ml.ones(2, 5, 8)).shape
    (2, 5, 8)

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need".
    """

    def forward(
        self,
        x: Any,
        *,
        mask: Any = None,
        is_causal: bool = False,
        lengths: Any = None,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Any:
        """Apply the layers in order."""
        return self._run(x, mask=mask, is_causal=is_causal, lengths=lengths, caches=caches)

    def new_caches(
        self, capacity: int | None = None, *, window: int | None = None, dtype: dtypes.DTypeLike | None = None
    ) -> list[KeyValueCache]:
        """Return an empty :class:`KeyValueCache` for each layer."""
        return [KeyValueCache(capacity, window=window, dtype=dtype) for _ in self.layers]


class TransformerDecoder(_Stack):
    """A stack of decoder layers, such as :class:`TransformerDecoderLayer`.

    Arguments and names of parameters are those of ``torch.nn.TransformerDecoder``. The layer is the first of the stack;
    the others are made like it, with initial values of their own.

    Parameters
    ----------
    layer, num_layers, norm, rng
        As in :class:`TransformerEncoder`.

    Shapes
    ------
    x : (N, T, E)
    memory : (N, S, E), what an encoder made
    mask, memory_mask, is_causal, lengths, memory_lengths : as in :class:`TransformerDecoderLayer`, for all layers
    caches : for each layer what that layer takes, optional
    output : (N, T, E)

    Raises
    ------
    TypeError
        If ``layer`` or ``norm`` is no module.
    ValueError
        If there are not as many caches as layers, or as the layers.

    Examples
    --------
    >>> import mlext as ml
    >>> decoder = ml.nn.TransformerDecoder(ml.nn.TransformerDecoderLayer(8, 2, 16), 2).eval()
    >>> memory, caches = ml.ones(1, 7, 8), decoder.new_caches()
    >>> with ml.no_grad():
    ...     for step in range(3):
    ...         y = decoder(ml.ones(1, 1, 8), memory, caches=caches)
    >>> y.shape
    (1, 1, 8)

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need".
    """

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
        caches: Sequence[tuple[KeyValueCache, KeyValueCache]] | None = None,
    ) -> Any:
        """Apply the layers in order."""
        options: dict[str, Any] = {"mask": mask, "memory_mask": memory_mask, "is_causal": is_causal}
        options |= {"lengths": lengths, "memory_lengths": memory_lengths}
        return self._run(x, memory, caches=caches, **options)

    def new_caches(
        self, capacity: int | None = None, *, window: int | None = None, dtype: dtypes.DTypeLike | None = None
    ) -> list[tuple[KeyValueCache, KeyValueCache]]:
        """Return two empty :class:`KeyValueCache` for each layer: of its own steps, and a fixed one of the memory."""
        own = [KeyValueCache(capacity, window=window, dtype=dtype) for _ in self.layers]
        return [(cache, KeyValueCache(fixed=True, dtype=dtype)) for cache in own]
