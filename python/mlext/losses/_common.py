"""What every loss shares: making target and weights fit the prediction, and reducing.

Shapes must be equal: a loss never broadcasts. Targets and weights given as ndarrays are cast to the
dtype of the prediction; Tensors must have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import _C, compiling
from mlext import functional as F
from mlext.autograd import keep, record

__all__ = ["as_labels", "combined", "fused", "like", "reduce", "spread"]


def like(op: str, prediction: Any, target: Any, name: str = "target") -> Any:
    """Return ``target`` in the dtype of the prediction, whose shape it must have."""
    for argument, value in (("prediction", prediction), (name, target)):
        if not isinstance(value, (_C.Array, np.ndarray)):
            raise TypeError(f"{op}: argument '{argument}': expected a Tensor or ndarray, got {type(value).__name__}")
    if target.shape != prediction.shape:
        raise ValueError(
            f"{op}: argument '{name}': expected shape {prediction.shape}, as the prediction, got "
            f"{target.shape}" + _remedy(prediction.shape, target.shape, name)
        )
    return _cast(prediction, target)


def _remedy(expected: tuple[int, ...], got: tuple[int, ...], name: str) -> str:
    """How to fix shapes that differ by axes of size 1 only."""
    if [n for n in expected if n != 1] != [n for n in got if n != 1]:
        return ""
    return f"; use {name}.reshape{expected}"


def _cast(prediction: Any, value: Any) -> Any:
    """Give an argument that came as an ndarray the dtype of the prediction."""
    if prediction.dtype == value.dtype or not isinstance(value, (np.ndarray, compiling.Input)):
        return value
    return _C.cast(value, prediction.dtype)


def spread(op: str, prediction: Any, weight: Any, name: str = "sample_weight") -> Any:
    """Return weights of samples (leading axes of the prediction) as a view of its shape."""
    if weight is None:
        return None
    if not isinstance(weight, (_C.Array, np.ndarray)):
        raise TypeError(f"{op}: argument '{name}': expected a Tensor or ndarray, got {type(weight).__name__}")
    if weight.ndim == 0 or weight.shape != prediction.shape[: weight.ndim]:
        raise ValueError(
            f"{op}: argument '{name}': expected one weight per sample, shape "
            f"{prediction.shape[:1]}, or the shape "
            f"{prediction.shape} of the losses, got {weight.shape}"
        )
    weight = _cast(prediction, weight)
    trailing = (1,) * (prediction.ndim - weight.ndim)
    return _C.broadcast_to(_C.reshape(weight, (*weight.shape, *trailing)), prediction.shape)


def combined(a: Any, b: Any) -> Any:
    """Return the product of two weights that may be absent."""
    return b if a is None else a if b is None else _C.mul(a, b)


def fused(op: str, prediction: Any, target: Any, weight: Any, reduction: str, *parameters: Any) -> Any:
    """Run a loss that is one kernel; ``weight`` has the shape of the prediction."""
    loss = getattr(_C, op)(prediction, target, weight, reduction, *parameters)
    if not _C.tracks(prediction, target):
        return loss
    p, t, w = keep(prediction), keep(target), None if weight is None else keep(weight)
    kernel = getattr(_C, op + "_backward")

    def gradient(of_target: bool) -> Any:
        return lambda g: kernel(p, t, w, g, reduction, *parameters, of_target)

    return record(loss, op, (p, t), (gradient(False), gradient(True)), (p, t, w))


def reduce(op: str, loss: Any, reduction: str, weight: Any = None) -> Any:
    """Weigh and reduce a loss per element; ``mean`` divides by the number of elements."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{op}: argument 'reduction': expected 'none', 'mean' or 'sum', got {reduction!r}")
    weight = spread(op, loss, weight)
    if weight is not None:
        loss = F.mul(loss, weight)
    return loss if reduction == "none" else F.mean(loss) if reduction == "mean" else F.sum(loss)


def as_labels(op: str, prediction: Any, target: Any) -> Any:
    """Refuse labels that are not integers in the shape of the prediction without its last axis."""
    if not isinstance(target, (_C.Array, np.ndarray)):
        raise TypeError(f"{op}: argument 'target': expected a Tensor or ndarray, got {type(target).__name__}")
    if target.dtype == np.bool_ or not _is_integer(target):
        raise TypeError(f"{op}: argument 'target': expected integer labels, got {target.dtype}")
    if target.shape != prediction.shape[:-1]:
        raise ValueError(
            f"{op}: argument 'target': expected labels of shape {prediction.shape[:-1]} for a "
            "prediction of shape "
            f"{prediction.shape}, got {target.shape}" + _remedy(prediction.shape[:-1], target.shape, "target")
        )
    if isinstance(target, np.ndarray) and target.dtype.kind in "iu":
        # Tensors, which the tape keeps, do not have every width of integers.
        return target.astype(np.int64, copy=False)
    return target


def _is_integer(x: Any) -> bool:
    return x.dtype.kind in "iu" if isinstance(x, np.ndarray) else not x.dtype.is_floating
