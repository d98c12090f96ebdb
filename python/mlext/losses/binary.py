"""Losses for yes-or-no targets."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext import functional as F
from mlext.autograd import keep
from mlext.functional._common import ArrayLike
from mlext.losses._common import _cast, combined, fused, like, reduce, spread


def binary_cross_entropy(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    with_logits: bool = False,
    pos_weight: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Cross-entropy of yes-or-no targets.

        -w (t log p + (1 - t) log(1 - p))        logarithms are at least -100
        with p = sigmoid(x) in a stable form for logits x

    Parameters
    ----------
    prediction : Tensor or ndarray
        Probabilities, or with ``with_logits`` any numbers.
    target : Tensor or ndarray
        The same shape, values in [0, 1].
    with_logits : bool
        Whether the prediction is before the sigmoid.
    pos_weight : Tensor or ndarray, shape (C,), optional
        Factor of the first term, per element of the last axis; for logits.
    weight : Tensor or ndarray, optional
        Factor that broadcasts to the prediction.
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the elements.
    sample_weight : Tensor or ndarray, shape (N,), optional
        Factor per sample; ``mean`` still divides by the number of elements.

    Raises
    ------
    ValueError
        If the shapes differ, or ``pos_weight`` comes without ``with_logits``.

    Examples
    --------
    >>> import mlext as ml
    >>> round(ml.losses.binary_cross_entropy(ml.tensor([0.5]), ml.tensor([1.0])).item(), 4)
    0.6931
    """
    op = "binary_cross_entropy"
    target = like(op, prediction, target)
    factor = spread(op, prediction, sample_weight)
    if weight is not None:
        weight = _C.broadcast_to(_cast(prediction, weight), prediction.shape)
    factor = combined(weight, factor)
    if not with_logits:
        if pos_weight is not None:
            raise ValueError(f"{op}: argument 'pos_weight': expected None unless with_logits=True")
        return fused(op, prediction, target, factor, reduction)
    if pos_weight is not None:
        pos_weight = _cast(prediction, pos_weight)
    return fused(
        f"{op}_with_logits", prediction, target, factor, reduction, None if pos_weight is None else keep(pos_weight)
    )


def hinge(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Hinge loss for targets -1 and 1.

        max(0, 1 - t p)

    Shapes are equal; reduction and weights are those of :func:`mlext.losses.mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.hinge(ml.tensor([0.25, 3.0]), ml.tensor([1.0, 1.0]), reduction="none")
    Tensor([0.75, 0.  ])
    """
    target = like("hinge", prediction, target)
    return fused("hinge", prediction, target, spread("hinge", prediction, sample_weight), reduction)


def squared_hinge(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Squared hinge loss for targets -1 and 1.

        max(0, 1 - t p)^2

    Shapes are equal; reduction and weights are those of :func:`mlext.losses.mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.squared_hinge(ml.tensor([0.5]), ml.tensor([-1.0]))
    Tensor(2.25)
    """
    target = like("squared_hinge", prediction, target)
    return fused(
        "squared_hinge",
        prediction,
        target,
        spread("squared_hinge", prediction, sample_weight),
        reduction,
    )


def focal(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Binary cross-entropy of logits, turned down where the prediction is good (Lin et al. 2017).

        -a (1 - q)^gamma log q        q = sigmoid(x), a = alpha where t is 1; 1 - both where t is 0

    Parameters
    ----------
    prediction : Tensor or ndarray
        Logits.
    target : Tensor or ndarray
        0 or 1, of the same shape.
    alpha : float, optional
        Weight of the positive class, in [0, 1]; None for no weights.
    gamma : float
        0 or more; how strongly good predictions are turned down.
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the elements.
    sample_weight : Tensor or ndarray, shape (N,), optional
        Factor per sample.

    Examples
    --------
    >>> import mlext as ml
    >>> round(ml.losses.focal(ml.tensor([0.0]), ml.tensor([1.0])).item(), 4)
    0.0433
    """
    if not gamma >= 0:
        raise ValueError(f"focal: argument 'gamma': expected 0 or more, got {gamma}")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"focal: argument 'alpha': expected None or a number in [0, 1], got {alpha}")
    target = like("focal", prediction, target)
    loss = binary_cross_entropy(prediction, target, with_logits=True, reduction="none")
    positive = F.sub(1.0, target)
    if gamma > 0:
        # 1 - q = p + t - 2 p t, the probability of being wrong.
        p = F.sigmoid(prediction)
        wrong = F.add(F.mul(p, positive), F.mul(F.sub(1.0, p), target))
        loss = F.mul(loss, F.pow(wrong, float(gamma)))
    if alpha is not None:
        loss = F.mul(loss, F.add(F.mul(target, alpha), F.mul(positive, 1.0 - alpha)))
    return reduce("focal", loss, reduction, sample_weight)


def dice(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    smooth: float = 1.0,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """One minus the overlap of two sets, per sample (Milletari et al. 2016).

        1 - (2 sum p t + smooth) / (sum p + sum t + smooth)

    Parameters
    ----------
    prediction : Tensor or ndarray, shape (N, ...)
        Probabilities.
    target : Tensor or ndarray
        0 or 1, of the same shape.
    smooth : float
        Keeps empty sets from dividing by 0.
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the samples.
    sample_weight : Tensor or ndarray, shape (N,), optional
        Factor per sample.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.dice(ml.ones(1, 4), ml.ones(1, 4))
    Tensor(0.)
    """
    if not smooth >= 0:
        raise ValueError(f"dice: argument 'smooth': expected 0 or more, got {smooth}")
    target = like("dice", prediction, target)
    if prediction.ndim < 2:
        raise ValueError(f"dice: argument 'prediction': expected shape (N, ...), got {prediction.shape}")
    axes = tuple(range(1, prediction.ndim))
    both = F.sum(F.mul(prediction, target), axes)
    sizes = F.add(F.sum(prediction, axes), F.sum(target, axes))
    overlap = F.div(F.add(F.mul(both, 2.0), smooth), F.add(sizes, smooth))
    return reduce("dice", F.sub(1.0, overlap), reduction, sample_weight)
