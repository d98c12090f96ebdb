"""Losses for labels: one class of many."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext import functional as F
from mlext.autograd import keep, record
from mlext.functional._common import ArrayLike
from mlext.losses._common import (
    _cast,
    _is_integer,
    as_labels,
    like,
    reduce,
)


def cross_entropy(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Cross-entropy between classes and the softmax of logits, in one stable kernel.

        -sum_c w_c t_c log(softmax(x)_c)

    Parameters
    ----------
    prediction : Tensor or ndarray, shape (N, ..., C)
        Logits; the last axis is that of the classes.
    target : Tensor or ndarray
        Integer labels, shape (N, ...), or probabilities (one-hot too), shape (N, ..., C).
    weight : Tensor or ndarray, shape (C,), optional
        Factor per class; for labels, ``mean`` divides by the sum of the factors.
    ignore_index : int
        Samples with this label count for nothing.
    label_smoothing : float
        Share of the target that is spread evenly over the classes, in [0, 1].
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the samples. The mean of no samples, all ignored, is 0.
    sample_weight : Tensor or ndarray, shape (N, ...), optional
        Factor per sample; ``mean`` then divides by the number of samples.

    Raises
    ------
    IndexError
        If a label is out of range, naming its position.
    TypeError
        If the target is neither integer labels nor probabilities.
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> import mlext as ml
    >>> round(ml.losses.cross_entropy(ml.zeros(2, 4), ml.tensor([0, 3])).item(), 4)
    1.3863

    References
    ----------
    Szegedy et al. 2016, "Rethinking the Inception architecture" (label smoothing).
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: argument 'label_smoothing': expected a number in [0, 1], got {label_smoothing}"
        )
    if sample_weight is not None:
        losses = cross_entropy(
            prediction,
            target,
            weight=weight,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            reduction="none",
        )
        return reduce("cross_entropy", losses, reduction, sample_weight)
    if weight is not None:
        weight = _cast(prediction, weight)
    if getattr(target, "ndim", 0) == prediction.ndim:
        return _cross_entropy_soft(prediction, target, weight, label_smoothing, reduction)
    target = as_labels("cross_entropy", prediction, target)
    options = (ignore_index, label_smoothing, reduction)
    loss, stats = _C.cross_entropy(prediction, target, weight, *options)
    if not _C.tracks(prediction):
        return loss
    x, labels, weight = keep(prediction), keep(target), _kept(weight)
    backward = (lambda g: _C.cross_entropy_backward(x, labels, weight, stats, g, *options),)
    return record(loss, "cross_entropy", (x,), backward, (x, labels, weight))


def _cross_entropy_soft(x: Any, target: Any, weight: Any, smoothing: float, reduction: str) -> Any:
    if _is_integer(target) and target.shape == x.shape:
        target = _C.cast(target, x.dtype)  # one-hot integers
    target = like("cross_entropy", x, target)
    loss, stats = _C.cross_entropy_soft(x, target, weight, smoothing, reduction)
    if not _C.tracks(x, target):
        return loss
    x, t, weight = keep(x), keep(target), _kept(weight)

    def gradient(of_target: bool) -> Any:
        return lambda g: _C.cross_entropy_soft_backward(x, t, weight, stats, g, smoothing, reduction, of_target)

    return record(loss, "cross_entropy", (x, t), (gradient(False), gradient(True)), (x, t, weight))


def _kept(weight: Any) -> Any:
    return None if weight is None else keep(weight)


def nll(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Negative log likelihood of labels; after log_softmax, the cross-entropy.

        -w_y x_y

    Parameters, shapes and errors are those of :func:`cross_entropy` with integer labels, but the
    prediction is log-probabilities.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.nll(ml.tensor([[-0.5, -2.0]]), ml.tensor([1]))
    Tensor(2.)
    """
    if sample_weight is not None:
        losses = nll(prediction, target, weight=weight, ignore_index=ignore_index, reduction="none")
        return reduce("nll", losses, reduction, sample_weight)
    target = as_labels("nll", prediction, target)
    if weight is not None:
        weight = _cast(prediction, weight)
    loss = _C.nll(prediction, target, weight, ignore_index, reduction)
    if not _C.tracks(prediction):
        return loss
    x, labels, weight = keep(prediction), keep(target), _kept(weight)
    backward = (lambda g: _C.nll_backward(x, labels, weight, g, ignore_index, reduction),)
    return record(loss, "nll", (x,), backward, (labels, weight))


def multiclass_hinge(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    p: int = 1,
    margin: float = 1.0,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Hinge loss of labels against all other classes (Weston & Watkins 1999).

        sum over c != y of max(0, margin - x_y + x_c)^p / C

    Parameters
    ----------
    prediction : Tensor or ndarray, shape (N, ..., C)
        Scores.
    target : Tensor or ndarray of integers, shape (N, ...)
        Labels.
    p : {1, 2}
        Power.
    margin : float
        How far the label's score should lead.
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the samples.
    sample_weight : Tensor or ndarray, shape (N, ...), optional
        Factor per sample.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.multiclass_hinge(ml.tensor([[0.0, 0.5, 3.0]]), ml.tensor([2]))
    Tensor(0.)
    """
    if p not in (1, 2):
        raise ValueError(f"multiclass_hinge: argument 'p': expected 1 or 2, got {p}")
    target = as_labels("multiclass_hinge", prediction, target)
    classes = prediction.shape[-1]
    chosen = F.one_hot(target, classes, prediction.dtype)
    own = F.sum(F.mul(prediction, chosen), -1, keepdims=True)
    short = F.mul(F.relu(F.add(F.sub(prediction, own), margin)), F.sub(1.0, chosen))
    loss = F.div(F.sum(F.square(short) if p == 2 else short, -1), float(classes))
    return reduce("multiclass_hinge", loss, reduction, sample_weight)
