"""Losses for numbers."""

from __future__ import annotations

from typing import Any

from mlext import functional as F
from mlext.functional._common import ArrayLike
from mlext.losses._common import fused, like, reduce, spread


def mse(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Mean squared error.

        (p - t)^2

    Parameters
    ----------
    prediction : Tensor or ndarray
        Any shape.
    target : Tensor or ndarray
        The same shape; an ndarray is cast to the dtype of the prediction.
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the elements.
    sample_weight : Tensor or ndarray, optional
        Factor per sample, shape (N,), or per element; ``mean`` still divides by the number of
        elements.

    Raises
    ------
    ValueError
        If the shapes differ: nothing is broadcast.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.mse(ml.tensor([1.0, 4.0]), ml.tensor([1.0, 2.0]))
    Tensor(2.)
    """
    target = like("mse", prediction, target)
    return fused("mse", prediction, target, spread("mse", prediction, sample_weight), reduction)


def mae(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Mean absolute error; the gradient is 0 where prediction and target are equal.

        |p - t|

    Parameters, shapes and errors are those of :func:`mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.mae(ml.tensor([1.0, 4.0]), ml.tensor([1.0, 2.0]))
    Tensor(1.)
    """
    target = like("mae", prediction, target)
    return fused("mae", prediction, target, spread("mae", prediction, sample_weight), reduction)


l1 = mae


def huber(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Squared near 0, absolute beyond ``delta`` (Huber 1964).

        0.5 d^2 where |d| <= delta, delta (|d| - 0.5 delta) elsewhere, with d = p - t

    Other parameters, shapes and errors are those of :func:`mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.huber(ml.tensor([1.0, 4.0]), ml.tensor([1.0, 2.0]), reduction="none")
    Tensor([0. , 1.5])
    """
    if not delta > 0:
        raise ValueError(f"huber: argument 'delta': expected a positive number, got {delta}")
    target = like("huber", prediction, target)
    return fused("huber", prediction, target, spread("huber", prediction, sample_weight), reduction, delta)


def smooth_l1(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    beta: float = 1.0,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Absolute error, rounded off below ``beta`` (Girshick 2015).

        0.5 d^2 / beta where |d| < beta, |d| - 0.5 beta elsewhere, with d = p - t

    Other parameters, shapes and errors are those of :func:`mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.smooth_l1(ml.tensor([1.0, 4.0]), ml.tensor([1.0, 2.0]), reduction="none")
    Tensor([0. , 1.5])
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1: argument 'beta': expected 0 or more, got {beta}")
    target = like("smooth_l1", prediction, target)
    return fused(
        "smooth_l1",
        prediction,
        target,
        spread("smooth_l1", prediction, sample_weight),
        reduction,
        beta,
    )


def log_cosh(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Logarithm of the hyperbolic cosine of the error, without overflow.

        log(cosh(p - t))

    Parameters, shapes and errors are those of :func:`mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> round(ml.losses.log_cosh(ml.tensor([1000.0]), ml.tensor([0.0])).item(), 3)
    999.307
    """
    target = like("log_cosh", prediction, target)
    return fused("log_cosh", prediction, target, spread("log_cosh", prediction, sample_weight), reduction)


def quantile(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    q: float = 0.5,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Pinball loss, smallest at the ``q``-quantile of the target (Koenker & Bassett 1978).

        max(q (t - p), (q - 1) (t - p))

    Other parameters, shapes and errors are those of :func:`mse`; ``q`` must be in (0, 1).

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.quantile(ml.tensor([1.0, 4.0]), ml.tensor([2.0, 2.0]), q=0.75, reduction="none")
    Tensor([0.75, 0.5 ])
    """
    if not 0 < q < 1:
        raise ValueError(f"quantile: argument 'q': expected a number between 0 and 1, got {q}")
    error = F.sub(like("quantile", prediction, target), prediction)
    return reduce("quantile", F.maximum(F.mul(error, q), F.mul(error, q - 1.0)), reduction, sample_weight)


pinball = quantile


def poisson_nll(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Negative log likelihood of counts under a Poisson distribution.

        exp(p) - t p               for log_input
        p - t log(p + eps)         otherwise

    ``full`` adds Stirling's ``t log t - t + 0.5 log(2 pi t)`` where t > 1. Other parameters, shapes
    and errors are those of :func:`mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.poisson_nll(ml.tensor([0.0]), ml.tensor([3.0]))
    Tensor(1.)
    """
    if not eps >= 0:
        raise ValueError(f"poisson_nll: argument 'eps': expected 0 or more, got {eps}")
    target = like("poisson_nll", prediction, target)
    weight = spread("poisson_nll", prediction, sample_weight)
    return fused("poisson_nll", prediction, target, weight, reduction, log_input, full, eps)


def kl_div(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    log_target: bool = False,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Kullback-Leibler divergence of a distribution from the target, pointwise.

        t (log t - p)        p: log-probabilities; 0 where t is 0

    Parameters
    ----------
    prediction : Tensor or ndarray
        Log-probabilities.
    target : Tensor or ndarray
        Probabilities, or with ``log_target`` log-probabilities, of the same shape.
    log_target : bool
        Whether the target is in logarithms.
    reduction : {"mean", "batchmean", "sum", "none"}
        ``"batchmean"``, the sum over the size of axis 0, is the mathematical definition for a
        batch.
    sample_weight : Tensor or ndarray, optional
        As in :func:`mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> p = ml.functional.log_softmax(ml.zeros(1, 4))
    >>> ml.losses.kl_div(p, ml.full((1, 4), 0.25), reduction="batchmean")
    Tensor(0.)
    """
    target = like("kl_div", prediction, target)
    return fused(
        "kl_div",
        prediction,
        target,
        spread("kl_div", prediction, sample_weight),
        reduction,
        log_target,
    )
