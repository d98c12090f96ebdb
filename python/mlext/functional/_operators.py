"""Attaches functions to Tensor as operators and methods."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.functional import activation, arithmetic, indexing, reduction, shape
from mlext.functional.linear import matmul
from mlext.functional.softmax import log_softmax, softmax
from mlext.tensor import Tensor


def _swapped(function: Any) -> Any:
    return lambda self, other: function(other, self)


def _in_place(kernel: Any, function: Any) -> Any:
    """``x += y``: in place for a tensor off the tape; on the tape a new tensor, since the old value may be saved."""

    def method(self: Tensor, other: Any) -> Any:
        if _C.tracks(self, other):
            if self.is_leaf and self.requires_grad:
                raise RuntimeError(
                    "in-place change of a leaf that requires a gradient; use no_grad(), or write x = x + y"
                )
            return function(self, other)
        kernel(self, other)
        return self

    return method


_OPERATORS: dict[str, Any] = {
    "__add__": arithmetic.add,
    "__radd__": _swapped(arithmetic.add),
    "__iadd__": _in_place(_C.add_, arithmetic.add),
    "__sub__": arithmetic.sub,
    "__rsub__": _swapped(arithmetic.sub),
    "__isub__": _in_place(_C.sub_, arithmetic.sub),
    "__mul__": arithmetic.mul,
    "__rmul__": _swapped(arithmetic.mul),
    "__imul__": _in_place(_C.mul_, arithmetic.mul),
    "__truediv__": arithmetic.div,
    "__rtruediv__": _swapped(arithmetic.div),
    "__itruediv__": _in_place(_C.div_, arithmetic.div),
    "__pow__": arithmetic.pow,
    "__rpow__": _swapped(arithmetic.pow),
    "__matmul__": matmul,
    "__rmatmul__": _swapped(matmul),
    "__neg__": arithmetic.neg,
    "__abs__": arithmetic.abs,
    "__eq__": arithmetic.eq,
    "__ne__": arithmetic.ne,
    "__lt__": arithmetic.lt,
    "__le__": arithmetic.le,
    "__gt__": arithmetic.gt,
    "__ge__": arithmetic.ge,
    "__and__": arithmetic.logical_and,
    "__or__": arithmetic.logical_or,
    "__xor__": arithmetic.logical_xor,
    "__invert__": arithmetic.logical_not,
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
    "T": property(shape.permute),
}

_METHODS: dict[Any, str] = {
    arithmetic: "abs astype clip cos exp log sin sqrt square",
    activation: "relu sigmoid tanh",
    reduction: "all any argmax argmin cumsum max mean min norm prod std sum var",
    shape: "broadcast_to expand_dims flatten permute reshape squeeze transpose",
}

for _name, _function in {
    **_OPERATORS,
    "matmul": matmul,
    "softmax": softmax,
    "log_softmax": log_softmax,
}.items():
    setattr(Tensor, _name, _function)
for _module, _names in _METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))
