"""Streaming metrics that follow from the confusion matrix."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlext.metrics.checks import label_pair
from mlext.metrics.classification import Average, scores_from_confusion

__all__ = ["F1", "ConfusionMatrix", "Precision", "Recall"]


class ConfusionMatrix:
    """Counts of each class (row) predicted as each class (column).

    Parameters
    ----------
    classes : int, optional
        Labels are 0..classes-1; by default the matrix grows with the labels seen.

    Examples
    --------
    >>> matrix = ConfusionMatrix()
    >>> matrix.update([0, 1], [0, 0])
    >>> matrix.update([1, 1], [1, 1])
    >>> matrix.result().tolist()
    [[1, 1], [0, 2]]
    """

    _MAX_CLASSES = 1 << 14  # 2 GiB of counts: larger labels are no class numbers

    def __init__(self, classes: int | None = None, name: str = "confusion_matrix") -> None:
        self.name = name
        self.classes = classes
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        size = self.classes or 0
        self.counts: NDArray[np.int64] = np.zeros((size, size), np.int64)

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Take in one batch."""
        p, t = label_pair(prediction, target, self.name)
        low, high = int(min(p.min(), t.min())), int(max(p.max(), t.max()))
        limit = self.classes or self._MAX_CLASSES
        if low < 0 or high >= limit:
            raise ValueError(f"{self.name}: expected labels 0..{limit - 1}, got {low}..{high}")
        grow = high + 1 - len(self.counts)
        if grow > 0:
            self.counts = np.pad(self.counts, (0, grow))
        np.add.at(self.counts, (t, p), 1)

    def result(self) -> Any:
        """Return the counts of all batches."""
        return self.counts.copy()


class _Score(ConfusionMatrix):
    """A score that follows from the confusion matrix."""

    _kind: Literal["precision", "recall", "f1"]

    def __init__(
        self,
        average: Average | None = "macro",
        classes: int | None = None,
        zero_division: float = 0.0,
        name: str | None = None,
    ) -> None:
        super().__init__(classes, name or self._kind)
        self.average = average
        self.zero_division = zero_division

    def result(self) -> Any:
        """Return the score of all batches; NaN before the first."""
        counts = self.counts
        if not counts.any():
            return float("nan")
        labels = np.arange(len(counts))
        if self.classes is None:  # as the function does: only labels that occur
            labels = labels[(counts.sum(axis=0) + counts.sum(axis=1)) > 0]
            counts = counts[np.ix_(labels, labels)]
        return scores_from_confusion(self._kind, counts, labels, self.average, self.zero_division)


class Precision(_Score):
    """Right ones among the predictions of a class; averaged over classes by default."""

    _kind = "precision"


class Recall(_Score):
    """Share of a class that is predicted as such; averaged over classes by default."""

    _kind = "recall"


class F1(_Score):
    """Harmonic mean of precision and recall; averaged over classes by default."""

    _kind = "f1"
