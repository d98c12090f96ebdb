"""A group of parameters that share hyper-parameters, and the checks of those."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mlext import _C, dtypes
from mlext.tensor import Tensor, full

# hyper-parameter: (condition, what it asks for)
_POSITIVE = (lambda x: x >= 0, "a finite number of 0 or more")
_FRACTION = (lambda x: 0 <= x < 1, "a number in [0, 1)")
_RULES: dict[str, tuple[Callable[[float], bool], str]] = {
    "lr": _POSITIVE,
    "momentum": _POSITIVE,
    "dampening": (lambda x: True, "a finite number"),
    "weight_decay": _POSITIVE,
    "eps": _POSITIVE,
    "alpha": _FRACTION,
    "rho": _FRACTION,
    "lr_decay": _POSITIVE,
    "momentum_decay": _POSITIVE,
    "beta1": _FRACTION,
    "beta2": _FRACTION,
}


def check_number(op: str, name: str, value: Any) -> float:
    """``value`` as a float that makes sense for the hyper-parameter ``name``."""
    condition, expected = _RULES[name]
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{op}: argument '{name}': expected {expected}, got {value!r}")
    number = float(value)
    if not (math.isfinite(number) and condition(number)):
        raise ValueError(f"{op}: argument '{name}': expected {expected}, got {value}")
    return number


def check_betas(op: str, betas: Any) -> tuple[float, float]:
    """Both decay rates."""
    try:
        first, second = betas
        return check_number(op, "beta1", first), check_number(op, "beta2", second)
    except (TypeError, ValueError):
        raise ValueError(f"{op}: argument 'betas': expected two numbers in [0, 1), got {betas!r}") from None


class Group:
    """Parameters, their hyper-parameters and their state.

    ``group["lr"]`` reads and sets a hyper-parameter. The hyper-parameters live in the float64
    Tensor ``hyper`` and the number of steps in the int64 Tensor ``step``, where the kernels read
    them: a compiled step sees a change.
    """

    def __init__(self, op: str, params: list[Tensor], values: dict[str, float]) -> None:
        self.op = op
        self.params = params
        self.values = values
        # The learning rate that a schedule starts from: what it was set to by anything but a
        # schedule.
        self.base_lr = values["lr"]
        self.hyper = full(len(values), 0.0, dtypes.float64)
        self.step = full(1, 0, dtypes.int64)
        # name: one Tensor per parameter, or empty where the variant of the algorithm has no such
        # state
        self.state: dict[str, list[Tensor]] = {}
        self._write()

    def _write(self) -> None:
        if _C.is_capturing():
            raise RuntimeError(
                f"compile: {self.op}: a hyper-parameter was set inside the compiled function; a "
                "replay would not set it "
                "again. Set it outside"
            )
        _C.copy_(self.hyper, np.array(list(self.values.values()), np.float64))

    def __getitem__(self, name: str) -> Any:
        """Return a hyper-parameter; ``"params"`` gives the parameters."""
        if name == "params":
            return self.params
        if name == "betas" and "beta1" in self.values:
            return (self.values["beta1"], self.values["beta2"])
        return self.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a hyper-parameter."""
        if name == "betas" and "beta1" in self.values:
            self.values["beta1"], self.values["beta2"] = check_betas(self.op, value)
        elif name in self.values:
            value = check_number(self.op, name, value)
            if name == "momentum" and value and self.state.get("momentum") == []:
                raise ValueError(f"{self.op}: argument 'momentum': expected 0, as at construction, got {value}")
            self.values[name] = value
            self.base_lr = self.values["lr"]
        else:
            raise KeyError(f"{self.op}: unknown hyper-parameter {name!r}; there are {sorted(self.keys())}")
        self._write()

    def schedule_lr(self, value: float) -> None:
        """Set the learning rate, but not what later schedules start from."""
        self.values["lr"] = check_number(self.op, "lr", value)
        self._write()

    def __contains__(self, name: object) -> bool:
        """Whether there is a hyper-parameter of that name."""
        return name in list(self.keys())

    def keys(self) -> Iterator[str]:
        """Names of the hyper-parameters."""
        names = [n for n in self.values if n not in ("beta1", "beta2")]
        return iter([*names, "betas"] if "beta1" in self.values else names)

    def __repr__(self) -> str:
        """Return the hyper-parameters."""
        values = ", ".join([f"{name}={self[name]}" for name in self.keys()])
        return f"Group({len(self.params)} parameters, {values})"


def as_parameters(op: str, params: Any) -> list[Tensor]:
    """Return ``params`` as a list of leaf Tensors of one dtype."""
    if isinstance(params, Tensor) or not hasattr(params, "__iter__"):
        raise TypeError(f"{op}: argument 'params': expected a list of Parameters, got {type(params).__name__}")
    found: list[Tensor] = list(params)
    if not found:
        raise ValueError(f"{op}: argument 'params': expected at least one Parameter, got an empty list")
    for i, p in enumerate(found):
        _check_parameter(op, i, p)
    kinds = {p.dtype.name for p in found}
    if len(kinds) > 1:
        raise TypeError(
            f"{op}: argument 'params': expected one dtype per group, got {sorted(kinds)}; make a group of each dtype"
        )
    return found


def _check_parameter(op: str, i: int, p: Any) -> None:
    if not isinstance(p, Tensor):
        raise TypeError(f"{op}: argument 'params': expected Parameters, got {type(p).__name__} at position {i}")
    if p._node is not None:
        raise ValueError(f"{op}: argument 'params': expected leaves, got the result of {p._node.op} at position {i}")
    if p.dtype not in (dtypes.float32, dtypes.float64):
        raise TypeError(f"{op}: argument 'params': expected float32 or float64, got {p.dtype} at position {i}")


def check_unique(op: str, groups: Sequence[Group]) -> None:
    """No parameter may be updated twice in a step."""
    seen: set[int] = set()
    for group in groups:
        for i, p in enumerate(group.params):
            if id(p) in seen:
                raise ValueError(
                    f"{op}: argument 'params': expected every Parameter once, got one of shape "
                    f"{p.shape} again at "
                    f"position {i}"
                )
            seen.add(id(p))
