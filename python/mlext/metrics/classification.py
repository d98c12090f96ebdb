"""Metrics of classification."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlext.metrics.checks import label_pair

__all__ = [
    "Average",
    "accuracy",
    "confusion_matrix",
    "f1",
    "precision",
    "recall",
    "scores_from_confusion",
]

Average: TypeAlias = Literal["binary", "macro", "micro", "weighted"]


def accuracy(prediction: ArrayLike, target: ArrayLike, *, threshold: float | None = None) -> float:
    """Return the share of predictions that are right.

    Parameters
    ----------
    prediction : array
        Labels in the target's shape, or scores with one more axis for the classes, of which
        the largest counts.
    target : array
        Labels, or one-hot rows in the shape of the scores.
    threshold : float, optional
        For two classes: predictions are scores of class 1, which is predicted from here on.

    Raises
    ------
    TypeError
        If an argument is not numeric.
    ValueError
        If shapes do not fit, a label is out of range, or a value is not finite.

    Examples
    --------
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    p, t = label_pair(prediction, target, "accuracy", threshold)
    return float((p == t).mean())


def confusion_matrix(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    classes: int | None = None,
    normalize: bool = False,
) -> NDArray[Any]:
    """Count how often each class (row) is predicted as each class (column).

    Parameters
    ----------
    prediction, target : array
        As in `accuracy`.
    classes : int, optional
        Labels are 0..classes-1; by default rows and columns are the sorted labels that occur.
    normalize : bool
        Divide each row by its sum.

    Returns
    -------
    ndarray
        Shape (classes, classes), int64, or float64 if normalized.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1], [0, 0, 1]).tolist()
    [[1, 1], [0, 1]]
    """
    counts, _ = _count(prediction, target, classes, "confusion_matrix")
    if not normalize:
        return counts
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def precision(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    average: Average | None = "binary",
    classes: int | None = None,
    zero_division: float = 0.0,
) -> float | NDArray[np.float64]:
    """Return the share of right ones among the predictions of a class.

    ::

        precision = true positives / (true positives + false positives)

    Parameters
    ----------
    prediction, target : array
        As in `accuracy`.
    average : {"binary", "macro", "micro", "weighted"} or None
        Class 1 of the labels 0 and 1; the mean over classes; over all decisions; the mean
        weighted by how often a class occurs; or one value per class.
    classes : int, optional
        As in `confusion_matrix`.
    zero_division : float
        Value where there is nothing to divide by.

    Examples
    --------
    >>> precision([1, 1, 0], [1, 0, 0])
    0.5
    """
    return _score("precision", prediction, target, average, classes, zero_division)


def recall(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    average: Average | None = "binary",
    classes: int | None = None,
    zero_division: float = 0.0,
) -> float | NDArray[np.float64]:
    """Return the share of a class that is predicted as such; parameters as in `precision`.

    ::

        recall = true positives / (true positives + false negatives)

    Examples
    --------
    >>> recall([1, 0, 0], [1, 1, 0])
    0.5
    """
    return _score("recall", prediction, target, average, classes, zero_division)


def f1(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    average: Average | None = "binary",
    classes: int | None = None,
    zero_division: float = 0.0,
) -> float | NDArray[np.float64]:
    """Return the harmonic mean of precision and recall; parameters as in `precision`.

    ::

        f1 = 2 true positives / (2 true positives + false positives + false negatives)

    Examples
    --------
    >>> f1([1, 1, 0, 0], [1, 0, 1, 0])
    0.5
    """
    return _score("f1", prediction, target, average, classes, zero_division)


def _count(
    prediction: ArrayLike, target: ArrayLike, classes: int | None, op: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the confusion matrix and the labels of its rows."""
    p, t = label_pair(prediction, target, op)
    both = np.concatenate([p, t])
    if classes is None:
        labels, codes = np.unique(both, return_inverse=True)
        p, t = np.split(codes.reshape(-1), 2)
    else:
        if classes < 1:
            raise ValueError(f"{op}: argument 'classes': expected at least 1, got {classes}")
        if both.min() < 0 or both.max() >= classes:
            raise ValueError(f"{op}: expected labels 0..{classes - 1}, got {both.min()}..{both.max()}")
        labels = np.arange(classes)
    size = len(labels)
    counts = np.bincount(t * size + p, minlength=size * size).reshape(size, size)
    return counts.astype(np.int64), labels


def _score(
    kind: Literal["precision", "recall", "f1"],
    prediction: ArrayLike,
    target: ArrayLike,
    average: Average | None,
    classes: int | None,
    zero_division: float,
) -> float | NDArray[np.float64]:
    counts, labels = _count(prediction, target, classes, kind)
    return scores_from_confusion(kind, counts, labels, average, zero_division)


def scores_from_confusion(
    kind: Literal["precision", "recall", "f1"],
    counts: NDArray[np.int64],
    labels: NDArray[np.int64],
    average: Average | None,
    zero_division: float,
) -> float | NDArray[np.float64]:
    """Compute precision, recall or F1 from a confusion matrix with the given row labels."""
    right: Any = np.diagonal(counts).astype(np.float64)  # one number per class here, one for all if they are averaged
    actual: Any = counts.sum(axis=1)
    predicted: Any = counts.sum(axis=0)
    if average == "binary":
        if not set(labels.tolist()) <= {0, 1}:
            raise ValueError(
                f"{kind}: argument 'average': 'binary' needs the labels 0 and 1, got "
                f"{labels[:10].tolist()}; pass 'macro', 'micro' or 'weighted'"
            )
        one = labels == 1
        right, actual, predicted = right[one].sum(), actual[one].sum(), predicted[one].sum()
    elif average == "micro":
        right, actual, predicted = right.sum(), actual.sum(), predicted.sum()
    elif average not in ("macro", "weighted", None):
        raise ValueError(
            f"{kind}: argument 'average': expected 'binary', 'macro', 'micro', 'weighted' or None, got {average!r}"
        )
    below = {"precision": predicted, "recall": actual, "f1": (actual + predicted) / 2}[kind]
    values = np.where(below > 0, right / np.where(below > 0, below, 1), zero_division)
    if average is None:
        return values
    if average == "weighted":
        return float((values * actual).sum() / actual.sum())
    return float(values.mean())
