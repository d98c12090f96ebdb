"""Saving and loading the state of a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlext import _C
from mlext.tensor import Parameter, Tensor

if TYPE_CHECKING:
    from mlext.nn._owner import Owner


def named_state(module: Owner) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers; a shared one under every name."""
    for prefix, owner in module._walk(""):
        for name, value in vars(owner).items():
            if isinstance(value, Parameter) or (isinstance(value, Tensor) and owner._buffers.get(name)):
                yield prefix + name, value


def load(module: Owner, state: Mapping[str, Any], strict: bool) -> tuple[list[str], list[str]]:
    """Check everything, then copy everything."""
    own = dict(named_state(module))
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    problems = []
    if strict:
        problems += [f"missing: {name}" for name in missing]
        problems += [f"unexpected: {name}" for name in unexpected]
    problems += [text for name in own if name in state if (text := _mismatch(name, own[name], state[name]))]
    if problems:
        raise ValueError(
            f"{type(module).__name__}: load_state_dict: {len(problems)} of the names do not fit, "
            "nothing was loaded:\n  " + "\n  ".join(problems)
        )
    for name, target in own.items():
        if name in state:
            _C.copy_(target, state[name])
    return missing, unexpected


def _mismatch(name: str, target: Tensor, value: Any) -> str:
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return f"type of {name}: expected a Tensor or ndarray, got {type(value).__name__}"
    if tuple(value.shape) != target.shape:
        return f"shape of {name}: expected {target.shape}, got {tuple(value.shape)}"
    if target.dtype != value.dtype:
        return f"dtype of {name}: expected {target.dtype.name}, got {value.dtype}"
    return ""
