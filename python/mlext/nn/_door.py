"""Around ``forward``: arrays become Tensors on the way in, errors get a place on the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlext import _C, compiling
from mlext.tensor import Tensor

if TYPE_CHECKING:
    from mlext.nn.module import Module

# The integers that Tensors have; others become int64.
_INTEGERS = (np.uint8, np.int8, np.int32, np.int64)


def enter(module: Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Make Tensors of the ndarrays among ``inputs``.

    Floating arrays get the dtype of the module's parameters. So do integers in the first argument,
    unless some layer of the module takes indices. Other arguments of integers (lengths, labels) and
    bools (masks) keep their dtype.
    """
    return tuple([_enter_one(module, x, i == 0) for i, x in enumerate(inputs)])


def enter_options(module: Module, options: dict[str, Any]) -> dict[str, Any]:
    """Make Tensors of the ndarrays among keyword arguments."""
    return {name: _enter_one(module, x, False) for name, x in options.items()}


def _enter_one(module: Module, x: Any, first: bool) -> Any:
    if isinstance(x, np.ndarray):
        kind = x.dtype.kind
        if kind in "iu" and x.dtype not in _INTEGERS:
            x = x.astype(np.int64)
    elif isinstance(x, compiling.Input):
        kind = "f" if x.dtype.is_floating else "b" if x.dtype.name == "bool_" else "i"
    else:
        return x
    dtype = module._floating_dtype()
    if kind == "b" or dtype is None or (kind in "iu" and not (first and _takes_numbers(module))):
        dtype = x.dtype
    if isinstance(x, Tensor):
        return _C.alias(x) if dtype == x.dtype else _C.cast(_C.alias(x), dtype)
    # The tape keeps its inputs, and the caller may write to the ndarray: a copy. Without a tape
    # the memory is borrowed.
    view = Tensor(x)
    return _C.cast(view, dtype) if _C.grad_enabled() or dtype != x.dtype else view


def _takes_numbers(module: Module) -> bool:
    return not any(m.takes_indices for m in module.modules())


# ---- errors --------------------------------------------------------------------------------------

_PLAIN_ERRORS = (TypeError, ValueError, IndexError, RuntimeError)


class _Place:
    """Where in a tree of modules an error happened, as far as it has come out."""

    __slots__ = ("at", "kind", "note", "path", "text")

    def __init__(self, module: Module, text: str | None) -> None:
        self.at = module
        self.kind = type(module).__name__
        self.path = ""
        self.text = text
        self.note: str | None = None


def locate(error: Exception, module: Module) -> None:
    """Tell ``error``, on its way out of ``module``, where in the module it happened.

    The text of a plain error gets the path in front, ``layers.0 (Linear): ...``; other exceptions,
    whose arguments may mean something, get it as a note.
    """
    place: _Place | None = getattr(error, "_mlext_place", None)
    if place is None:
        plain = type(error) in _PLAIN_ERRORS and len(error.args) == 1
        text = error.args[0] if plain and isinstance(error.args[0], str) else None
        error._mlext_place = _Place(module, text)  # type: ignore[attr-defined]
        return
    if place.at is module:
        return
    name = next((n for n, m in module.named_modules() if m is place.at), None)
    if name is None:
        return
    place.path = f"{name}.{place.path}" if place.path else name
    place.at = module
    where = f"{place.path} ({place.kind})"
    if place.text is not None:
        error.args = (f"{where}: {place.text}",)
        return
    notes = getattr(error, "__notes__", [])
    if place.note in notes:
        notes.remove(place.note)
    place.note = f"in {where}"
    error.add_note(place.note)


# ---- arguments of constructors -------------------------------------------------------------------


def positive_int(op: str, name: str, value: Any) -> int:
    """``value`` as a positive int, or an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{op}: argument '{name}': expected a positive int, got {value!r}")
    if value < 1:
        raise ValueError(f"{op}: argument '{name}': expected a positive int, got {value}")
    return int(value)
