"""Measures of how good predictions are: functions of arrays, and classes that collect batches.

Functions take ``(prediction, target)`` in this order, like the losses.
"""

from mlext.metrics.classification import (
    accuracy,
    confusion_matrix,
    f1,
    precision,
    recall,
)
from mlext.metrics.decoding import ctc_greedy_decode
from mlext.metrics.ranking import roc_auc, top_k_accuracy
from mlext.metrics.regression import mae, mse, r2, rmse
from mlext.metrics.streaming import (
    F1,
    R2,
    Accuracy,
    BatchMean,
    ConfusionMatrix,
    Mean,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    Precision,
    Recall,
    RootMeanSquaredError,
    TopKAccuracy,
    get,
)

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
    "accuracy",
    "confusion_matrix",
    "ctc_greedy_decode",
    "f1",
    "get",
    "mae",
    "mse",
    "precision",
    "r2",
    "recall",
    "rmse",
    "roc_auc",
    "top_k_accuracy",
]
