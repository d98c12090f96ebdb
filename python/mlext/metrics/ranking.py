"""Metrics of classification that depend on the order of the scores."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlext.metrics.checks import as_labels, as_numbers, score_pair

__all__ = ["roc_auc", "top_k_accuracy"]


def top_k_accuracy(prediction: ArrayLike, target: ArrayLike, k: int = 5) -> float:
    """Return the share of targets among the ``k`` largest scores.

    Of equal scores those of later classes count as larger.

    Parameters
    ----------
    prediction : array
        Scores (N, C).
    target : array
        Labels (N,) in 0..C-1.
    k : int
        1 to C.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`, and for `k` out of range.

    Examples
    --------
    >>> top_k_accuracy([[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]], [2, 2], k=2)
    0.5
    """
    scores, labels = score_pair(prediction, target, "top_k_accuracy")
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"top_k_accuracy: argument 'k': expected 1..{scores.shape[1]}, got {k}")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    later = np.arange(scores.shape[1]) > labels[:, None]
    ahead = ((scores > own) | ((scores == own) & later)).sum(axis=1)
    return float((ahead < k).mean())


def roc_auc(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    average: Literal["macro", "weighted"] | None = "macro",
) -> float | NDArray[np.float64]:
    """Return the area under the ROC curve.

    It is the probability that a positive gets a higher score than a negative, ties counting
    half. With more than two classes, each is compared with all the others.

    Parameters
    ----------
    prediction : array
        Scores of class 1 (N,), or of every class (N, C).
    target : array
        Labels (N,): 0 and 1, or 0..C-1.
    average : {"macro", "weighted"} or None
        Over classes: the mean, the mean weighted by how often a class occurs, or none.

    Raises
    ------
    ValueError
        As `accuracy`, and if a class is absent or is the only one: the area is not defined.

    Examples
    --------
    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75

    References
    ----------
    D. J. Hand, R. J. Till: A simple generalisation of the area under the ROC curve for
    multiple class classification problems. Machine Learning 45(2), 2001.
    """
    if np.ndim(prediction) == 1:
        scores = as_numbers(prediction, "roc_auc", "prediction")
        labels = as_labels(as_numbers(target, "roc_auc", "target"), "roc_auc", "target")
        if labels.shape != scores.shape or not set(np.unique(labels)) <= {0, 1}:
            raise ValueError(
                f"roc_auc: argument 'target': expected labels 0 and 1 of shape {scores.shape}, "
                f"got shape {labels.shape} with {labels.min()}..{labels.max()}"
            )
        return _area(scores, labels == 1, 1)
    columns, labels = score_pair(prediction, target, "roc_auc")
    if average not in ("macro", "weighted", None):
        raise ValueError(f"roc_auc: argument 'average': expected 'macro', 'weighted' or None, got {average!r}")
    classes = range(columns.shape[1])
    areas = np.array([_area(columns[:, c], labels == c, c) for c in classes])
    if average is None:
        return areas
    weights = np.bincount(labels, minlength=len(classes)) if average == "weighted" else None
    return float(np.average(areas, weights=weights))


def _area(scores: NDArray[Any], positive: NDArray[np.bool_], label: int) -> float:
    """Area by the Mann-Whitney statistic: from the positives' ranks, ties sharing theirs."""
    count = int(positive.sum())
    rest = positive.size - count
    if count == 0 or rest == 0:
        what = "does not occur" if count == 0 else "is the only one"
        raise ValueError(f"roc_auc: class {label} {what}; the area is not defined")
    _, codes, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2
    total = ranks[codes.reshape(-1)][positive].sum()
    return float((total - count * (count + 1) / 2) / (count * rest))
