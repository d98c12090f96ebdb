"""Activations in the store phase of a layer, and their way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlext import _C

# activation: (kernel for g, needs the value before the activation rather than after it)
_ACTIVATIONS: dict[str, tuple[Any, bool]] = {
    "relu": (_C.relu_backward, False),
    "relu6": (_C.relu6_backward, False),
    "sigmoid": (_C.sigmoid_backward, False),
    "tanh": (_C.tanh_backward, False),
    "gelu": (_C.gelu_backward, True),
    "gelu_tanh": (_C.gelu_tanh_backward, True),
    "silu": (_C.silu_backward, True),
}


def check_activation(name: str, activation: str | None) -> None:
    """Raise if there is no such activation."""
    if activation is not None and activation not in _ACTIVATIONS:
        known = sorted(_ACTIVATIONS)
        raise ValueError(f"{name}: argument 'activation': expected None or one of {known}, got {activation!r}")


class Fused:
    """A layer run with an activation: ``call(activation, want_pre)`` gives y, or (y, pre).

    ``saved`` is what the way back needs; ``inner`` takes a gradient of the result back through the activation, once.
    """

    def __init__(self, call: Callable[[str | None, bool], Any], activation: str | None) -> None:
        self._slope: Any = None
        self._cache: tuple[Any, Any] | None = None
        self.saved: tuple[Any, ...] = ()
        if activation is None:
            self.out = call(None, False)
            return
        self._slope, before = _ACTIVATIONS[activation]
        made = call(activation, before)
        self.out, value = made if before else (made, made)
        self.saved = (value,)

    def inner(self, g: Any) -> Any:
        """Return the gradient of the value before the activation."""
        if self._slope is None:
            return g
        if self._cache is None or self._cache[0] is not g:
            self._cache = (g, self._slope(*self.saved, g))
        return self._cache[1]
