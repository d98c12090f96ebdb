"""Checks at the door of the metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["as_labels", "as_numbers", "label_pair", "number_pair", "score_pair"]


def as_numbers(values: ArrayLike, op: str, name: str) -> NDArray[Any]:
    """Return an array of finite numbers that is not empty."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{op}: argument {name!r}: expected numbers, got {array.dtype}")
    if array.size == 0:
        raise ValueError(f"{op}: argument {name!r}: expected values, got shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{op}: argument {name!r}: expected finite values, got {array[where]} at {where}")
    return array


def number_pair(prediction: ArrayLike, target: ArrayLike, op: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check numbers of one shape; no broadcasting: (N,) against (N, 1) is a mistake."""
    p, t = as_numbers(prediction, op, "prediction"), as_numbers(target, op, "target")
    if p.shape != t.shape:
        raise ValueError(f"{op}: argument 'target': expected shape {p.shape} of the prediction, got {t.shape}")
    return p.astype(np.float64), t.astype(np.float64)


def as_labels(values: NDArray[Any], op: str, name: str) -> NDArray[np.int64]:
    """Return labels as int64; floats must be whole."""
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise ValueError(
            f"{op}: argument {name!r}: expected labels, got fractions; pass argmax of the scores, "
            "or threshold= for probabilities of one class"
        )
    if np.abs(values).max() > 2**53 if values.dtype.kind == "f" else values.max() > 2**63 - 1:
        raise ValueError(f"{op}: argument {name!r}: label {values.max()} is too large")
    return values.astype(np.int64)


def label_pair(
    prediction: ArrayLike, target: ArrayLike, op: str, threshold: float | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Turn predictions and targets into flat labels.

    Predictions may be labels in the target's shape, scores with one more axis (the classes,
    last), or scores against one-hot targets; with a threshold, probabilities of class 1.
    """
    p, t = as_numbers(prediction, op, "prediction"), as_numbers(target, op, "target")
    if threshold is not None:
        p = (p >= threshold).astype(np.int64)
    elif p.ndim == t.ndim + 1 and p.shape[:-1] == t.shape and p.shape[-1] > 1:
        classes = p.shape[-1]
        t = as_labels(t, op, "target")
        _check_range(t, classes, op, "target")
        p = p.argmax(axis=-1)
    elif p.shape == t.shape and p.ndim > 1 and p.shape[-1] > 1 and p.dtype.kind == "f":
        if not (((t == 0) | (t == 1)).all() and (t.sum(axis=-1) == 1).all()):
            raise ValueError(f"{op}: argument 'target': shape {t.shape} of the scores needs one-hot rows")
        p, t = p.argmax(axis=-1), t.argmax(axis=-1)
    if p.shape != t.shape:
        raise ValueError(
            f"{op}: argument 'prediction': expected labels {t.shape} or scores "
            f"({', '.join(map(str, t.shape))}, classes), got shape {p.shape}"
        )
    return as_labels(p, op, "prediction").reshape(-1), as_labels(t, op, "target").reshape(-1)


def score_pair(prediction: ArrayLike, target: ArrayLike, op: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Check scores (N, C) against labels (N,) in 0..C-1."""
    p, t = as_numbers(prediction, op, "prediction"), as_numbers(target, op, "target")
    if p.ndim != 2 or t.shape != p.shape[:1]:
        raise ValueError(f"{op}: expected prediction (N, classes) and target (N,), got {p.shape} and {t.shape}")
    labels = as_labels(t, op, "target")
    _check_range(labels, p.shape[1], op, "target")
    return p, labels


def _check_range(labels: NDArray[np.int64], classes: int, op: str, name: str) -> None:
    bad = np.argwhere((labels < 0) | (labels >= classes))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(f"{op}: argument {name!r}: expected labels 0..{classes - 1}, got {labels[where]} at {where}")
