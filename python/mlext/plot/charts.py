"""Curves and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mlext.plot._figure import Path, finish, new_figure

if TYPE_CHECKING:
    from mlext.training import History


def learning_curves(history: History, path: Path | None = None) -> Any:
    """Draw loss and metrics over the epochs, training and validation together.

    Parameters
    ----------
    history : History
        Of a training.
    path : path-like, optional
        Where to write the picture; its ending decides the format.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not there: ``pip install mlext[plot]``.
    ValueError
        If the history has no epochs.
    """
    columns = {name: values for name, values in history.history.items() if _is_curve(values)}
    names = [name for name in columns if not name.startswith("val_")]
    if not names:
        raise ValueError("learning_curves: argument 'history': expected at least one epoch")
    figure = new_figure("learning_curves", 5.0 * len(names), 3.6)
    epochs = np.array(history.epochs) + 1
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for label, key in (("training", name), ("validation", f"val_{name}")):
            if key in columns:
                axes.plot(
                    epochs, np.array(columns[key], np.float64), label=label, marker="." if len(epochs) < 3 else None
                )
        axes.set_xlabel("epoch")
        axes.set_title(name)
        axes.grid(alpha=0.3)
        axes.legend()
    return finish(figure, path)


def _is_curve(values: Sequence[Any]) -> bool:
    return any(value is not None for value in values) and all(
        np.ndim(value) == 0 for value in values if value is not None
    )


def confusion_matrix(matrix: ArrayLike, names: Sequence[str] = (), path: Path | None = None) -> Any:
    """Draw a confusion matrix: rows are the true classes, columns the predicted ones.

    Parameters
    ----------
    matrix : array (C, C)
        Counts, from :func:`mlext.metrics.confusion_matrix`.
    names : sequence of str
        Names of the classes.
    path : path-like, optional
        Where to write the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not there: ``pip install mlext[plot]``.
    ValueError
        If the matrix is not square.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"confusion_matrix: argument 'matrix': expected a square matrix, got shape {counts.shape}")
    size = len(counts)
    figure = new_figure("confusion_matrix", 2.0 + 0.45 * size, 1.6 + 0.45 * size)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels = list(names) or [str(i) for i in range(size)]
    axes.set_xticks(range(size), labels, rotation=45 if max(map(len, labels), default=0) > 3 else 0)
    axes.set_yticks(range(size), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row, column in np.ndindex(*counts.shape):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=8)
    return finish(figure, path)


def forecast(
    truth: ArrayLike,
    prediction: ArrayLike,
    path: Path | None = None,
    *,
    start: int | None = None,
    names: Sequence[str] = (),
) -> Any:
    """Draw series and what was forecast of them, one below the other.

    Parameters
    ----------
    truth : array (T) or (T, C)
        What was measured.
    prediction : array (S) or (S, C)
        What was forecast.
    path : path-like, optional
        Where to write the picture; its ending decides the format.
    start : int, optional
        Step of the first forecast; by default the last forecast is of the last step of `truth`.
    names : sequence of str
        Names of the series.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not there: ``pip install mlext[plot]``.
    ValueError
        If both have not the same number of series, or no step.
    """
    right, found = (np.asarray(a, np.float64) for a in (truth, prediction))
    right, found = (a[:, None] if a.ndim == 1 else a for a in (right, found))
    if right.ndim != 2 or found.shape != (len(found), right.shape[1]) or 0 in (*right.shape, len(found)):
        expected = f"expected shape (S, C) with the series of truth, {right.shape}"
        raise ValueError(f"forecast: argument 'prediction': {expected}, got {found.shape}")
    begin = len(right) - len(found) if start is None else start
    count = right.shape[1]
    figure = new_figure("forecast", 9.0, 0.6 + 2.2 * count)
    for i, axes in enumerate(np.atleast_1d(figure.subplots(count, 1, sharex=True))):
        axes.plot(np.arange(len(right)), right[:, i], label="measured")
        axes.plot(np.arange(begin, begin + len(found)), found[:, i], label="forecast")
        axes.set_title(names[i] if i < len(names) else "")
        axes.grid(alpha=0.3)
    axes.set_xlabel("step")
    axes.legend()
    return finish(figure, path)
