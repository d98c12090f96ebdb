"""Mixed precision: a model run in a half type while its parameters stay in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlext import compiling, nn
from mlext import functional as F
from mlext.tensor import Parameter, Tensor

__all__ = ["lowered"]


def lowered(model: nn.Module, inputs: tuple[Any, ...], dtype: str) -> Any:
    """Return ``model(*inputs)`` computed in ``dtype``, as float32."""
    with _half(model, dtype):
        out = model(*[_cast(x, dtype) for x in inputs])
    return F.astype(out, "float32")


def _cast(x: Any, dtype: str) -> Any:
    """A floating Tensor in the half type; ndarrays are cast at the model's door."""
    return F.astype(x, dtype) if type(x) is Tensor and x.dtype.is_floating else x


@contextmanager
def _half(model: nn.Module, dtype: str) -> Iterator[None]:
    """Let modules see half copies of their parameters; gradients reach the parameters through the cast."""
    swapped = [
        (module, name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, Parameter) and value.dtype.is_floating
    ]
    halves = {id(value): F.astype(value, dtype) for _, _, value in swapped}
    for module, name, value in swapped:
        vars(module)[name] = halves[id(value)]
    try:
        yield
    finally:
        for module, name, value in swapped:
            vars(module)[name] = value
        for module in model.modules():
            # What a capture noted of the modules was taken in the swapped state.
            compiling.note_mode(module, module._mode())
