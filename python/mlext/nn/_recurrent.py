"""The weights of recurrent layers and cells."""

from __future__ import annotations

import math
from typing import Any

from mlext.functional._recurrence import GATES
from mlext.nn.module import Module
from mlext.tensor import Parameter


def add_weights(layer: Module, kind: str, sizes: tuple[int, int], suffix: str, bias: bool, options: Any) -> None:
    """Give a layer the weights of one direction, uniform in ``[-1/sqrt(H), 1/sqrt(H))``, under PyTorch's names."""
    (inputs, units), (dtype, rng) = sizes, options
    bound, rows = 1 / math.sqrt(units), GATES[kind] * units
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, units)}
    if bias:
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    for name, shape in shapes.items():
        setattr(layer, name + suffix, Parameter(rng.uniform(shape, low=-bound, high=bound, dtype=dtype)))
    if not bias:
        for name in ("bias_ih", "bias_hh"):
            setattr(layer, name + suffix, None)


def weights_of(layer: Any, suffix: str) -> list[Any]:
    """Return those weights, as functions take them."""
    return [getattr(layer, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
