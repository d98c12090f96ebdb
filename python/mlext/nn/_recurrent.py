"""The weights of recurrent layers and cells."""

from __future__ import annotations

import math
from typing import Any

from mlext.functional._recurrence import GATES
from mlext.nn.module import Module
from mlext.tensor import Parameter

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peepholes")


def shapes_of(
    kind: str, inputs: int, units: int, *, bias: bool, outputs: int = 0, peepholes: bool = False
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of one direction; ``outputs`` are those of a projection, 0 without one."""
    rows = GATES[kind] * units
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, outputs or units)}
    if bias:
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    if outputs:
        shapes["weight_hr"] = (outputs, units)
    if peepholes:
        shapes["peepholes"] = (3 * units,)
    return shapes


def add_weights(layer: Module, shapes: dict[str, tuple[int, ...]], units: int, suffix: str, options: Any) -> None:
    """Give a layer weights of these shapes, uniform in ``[-1/sqrt(H), 1/sqrt(H))``, under PyTorch's names."""
    (dtype, rng), bound = options, 1 / math.sqrt(units)
    for name, shape in shapes.items():
        setattr(layer, name + suffix, Parameter(rng.uniform(shape, low=-bound, high=bound, dtype=dtype)))
    for name in NAMES:
        if name not in shapes:
            setattr(layer, name + suffix, None)


def weights_of(layer: Any, suffix: str) -> tuple[Any, ...]:
    """Return the weights of one direction, None for those that are not there."""
    return tuple([getattr(layer, name + suffix) for name in NAMES])


def steps_of(x: Any) -> Any:
    """Return y of the pair (y, state) that a recurrent layer gives, and anything else as it is."""
    return x[0] if isinstance(x, tuple) and len(x) == 2 else x
