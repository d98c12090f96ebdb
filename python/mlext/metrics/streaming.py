"""Metrics that see one batch at a time, for loops over data that is never whole in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from mlext.metrics.checks import label_pair, number_pair
from mlext.metrics.counting import F1, ConfusionMatrix, Precision, Recall
from mlext.metrics.ranking import top_k_accuracy
from mlext.metrics.regression import columns, r2_from_sums

__all__ = [
    "F1",
    "R2",
    "Accuracy",
    "BatchMean",
    "ConfusionMatrix",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "TopKAccuracy",
    "get",
]


@runtime_checkable
class Metric(Protocol):
    """What a training loop asks of a metric."""

    name: str

    def reset(self) -> None:
        """Forget everything."""

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Take in one batch."""

    def result(self) -> Any:
        """Return the metric of all batches since `reset`."""


class Mean:
    """A weighted mean of numbers, such as the losses of batches.

    Examples
    --------
    >>> loss = Mean("loss")
    >>> loss.add(1.0, 3)
    >>> loss.add(5.0, 1)
    >>> loss.result()
    2.0
    """

    def __init__(self, name: str = "mean") -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.total = 0.0
        self.count = 0.0

    def add(self, value: float, count: float = 1.0) -> None:
        """Take in a value that stands for ``count`` items."""
        self.total += float(value) * count
        self.count += count

    def result(self) -> float:
        """Return the mean; NaN before the first value."""
        return self.total / self.count if self.count else float("nan")


class BatchMean(Mean):
    """The mean over batches of any function of a batch, weighted by the batches' sizes.

    Exact for means over items, such as accuracy; an approximation for the likes of F1.

    Parameters
    ----------
    function : callable
        ``function(prediction, target) -> float``
    name : str, optional
        By default the function's.
    """

    def __init__(self, function: Callable[[Any, Any], float], name: str | None = None) -> None:
        self.function = function
        super().__init__(name or str(getattr(function, "__name__", type(function).__name__)))

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Take in one batch."""
        shape = np.shape(target)
        self.add(float(self.function(prediction, target)), shape[0] if shape else 1)


class Accuracy(Mean):
    """The share of right predictions; see `mlext.metrics.accuracy`.

    Parameters
    ----------
    threshold : float, optional
        For scores of class 1 alone.
    """

    def __init__(self, threshold: float | None = None, name: str = "accuracy") -> None:
        super().__init__(name)
        self.threshold = threshold

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Take in one batch."""
        p, t = label_pair(prediction, target, self.name, self.threshold)
        self.add(float((p == t).mean()), t.size)


class TopKAccuracy(Mean):
    """The share of targets among the ``k`` largest scores."""

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name or f"top_{k}_accuracy")
        self.k = k

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Take in one batch."""
        self.add(top_k_accuracy(prediction, target, self.k), np.shape(target)[0])


class MeanSquaredError(Mean):
    """The mean squared error over all elements."""

    def __init__(self, name: str = "mse") -> None:
        super().__init__(name)

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Take in one batch."""
        p, t = number_pair(prediction, target, self.name)
        self.add(float(np.square(p - t).mean()), t.size)


class MeanAbsoluteError(Mean):
    """The mean absolute error over all elements."""

    def __init__(self, name: str = "mae") -> None:
        super().__init__(name)

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Take in one batch."""
        p, t = number_pair(prediction, target, self.name)
        self.add(float(np.abs(p - t).mean()), t.size)


class _Outputs:
    """Collects rows of one or several outputs: squared residuals, and the targets' spread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.count = 0
        self._mean = np.zeros(1)
        self._residual = np.zeros(1)
        self._total = np.zeros(1)

    def update(self, prediction: ArrayLike, target: ArrayLike) -> None:
        """Take in one batch.

        The targets' sum of squares about their mean is merged by the parallel formula of Chan,
        Golub and LeVeque: a difference of large sums would cancel.
        """
        p, t = columns(*number_pair(prediction, target, self.name))
        if self.count == 0:
            self._mean, self._residual, self._total = np.zeros((3, t.shape[1]))
        elif t.shape[1] != len(self._mean):
            raise ValueError(
                f"{self.name}: argument 'target': expected {len(self._mean)} outputs as in the "
                f"batches before, got {t.shape[1]}"
            )
        mean, count = t.mean(axis=0), len(t)
        whole = self.count + count
        delta = mean - self._mean
        self._residual = self._residual + np.square(t - p).sum(axis=0)
        self._total = self._total + np.square(t - mean).sum(axis=0)
        self._total = self._total + np.square(delta) * (self.count * count / whole)
        self._mean = self._mean + delta * (count / whole)
        self.count = whole


class RootMeanSquaredError(_Outputs):
    """The root of the mean squared error, for several outputs the mean of their roots."""

    def __init__(self, name: str = "rmse") -> None:
        super().__init__(name)

    def result(self) -> float:
        """Return the error of all batches; NaN before the first."""
        if self.count == 0:
            return float("nan")
        return float(np.sqrt(self._residual / self.count).mean())


class R2(_Outputs):
    """The coefficient of determination; see `mlext.metrics.r2`."""

    def __init__(self, name: str = "r2") -> None:
        super().__init__(name)

    def result(self) -> float:
        """Return R2 of all batches; NaN before the first."""
        if self.count == 0:
            return float("nan")
        return r2_from_sums(self.count, self._residual, self._total)


_BY_NAME: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "top_k_accuracy": TopKAccuracy,
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
    "confusion_matrix": ConfusionMatrix,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "rmse": RootMeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "r2": R2,
}


def get(metric: str | Metric | Callable[[Any, Any], float]) -> Metric:
    """Return a metric object for a name, a function, or such an object itself.

    Parameters
    ----------
    metric : str, Metric or callable
        A name such as "accuracy", "top_3_accuracy", "f1" or "mse"; an object with `reset`,
        `update`, `result` and `name`; or a function of (prediction, target), whose mean over
        batches is taken.

    Raises
    ------
    ValueError
        For an unknown name; the text lists the known ones.
    TypeError
        For anything else.

    Examples
    --------
    >>> get("top_3_accuracy").name
    'top_3_accuracy'
    """
    if isinstance(metric, str):
        parts = metric.split("_")
        if len(parts) == 3 and parts[0] == "top" and parts[2] == "accuracy" and parts[1].isdigit():
            return TopKAccuracy(int(parts[1]))
        if metric not in _BY_NAME:
            raise ValueError(
                f"metrics.get: unknown metric {metric!r}; known are {', '.join(_BY_NAME)}, top_<k>_accuracy"
            )
        return _BY_NAME[metric]()
    if isinstance(metric, Metric) and not isinstance(metric, type):
        return metric
    if callable(metric) and not isinstance(metric, type):
        return BatchMean(metric)
    raise TypeError(f"metrics.get: expected a name, a Metric object or a function, got {metric!r}")
