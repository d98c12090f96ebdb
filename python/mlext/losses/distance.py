"""Losses of pairs and triplets: how far vectors and scores are from each other."""

from __future__ import annotations

import math
from typing import Any

from mlext import _C
from mlext import functional as F
from mlext.functional._common import ArrayLike
from mlext.losses._common import like, reduce


def cosine_embedding(
    x1: ArrayLike,
    x2: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.0,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Loss of pairs that are alike (target 1) or not (-1), by the cosine of their angle.

        1 - cos(x1, x2)                  where target is 1
        max(0, cos(x1, x2) - margin)     where target is -1

    Parameters
    ----------
    x1, x2 : Tensor or ndarray, shape (N, C)
        Pairs of vectors.
    target : Tensor or ndarray, shape (N,)
        1 or -1.
    margin : float
        In [-1, 1].
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the pairs.
    sample_weight : Tensor or ndarray, shape (N,), optional
        Factor per pair.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.cosine_embedding(ml.ones(1, 3), ml.ones(1, 3), ml.ones(1)).item() < 1e-6
    True
    """
    x2 = like("cosine_embedding", x1, x2, "x2")
    # torch's guard: both squared lengths grow by a small constant.
    eps = 1e-12
    lengths = F.mul(F.add(F.sum(F.square(x1), -1), eps), F.add(F.sum(F.square(x2), -1), eps))
    cosine = F.div(F.sum(F.mul(x1, x2), -1), F.sqrt(lengths))
    target = like("cosine_embedding", cosine, target)
    alike = F.sub(1.0, cosine)
    different = F.relu(F.sub(cosine, margin))
    loss = F.where(_C.eq(target, 1.0), alike, F.where(_C.eq(target, -1.0), different, 0.0))
    return reduce("cosine_embedding", loss, reduction, sample_weight)


def triplet_margin(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Loss unless the negative is farther from the anchor than the positive is.

        max(0, d(a, p) - d(a, n) + margin) with d(x, y) = ||x - y + eps||_p

    Parameters
    ----------
    anchor, positive, negative : Tensor or ndarray, shape (N, C)
        Triplets of vectors.
    margin, p, eps : float
        Of the formula.
    swap : bool
        Take the smaller of d(a, n) and d(p, n) for the negative.
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the triplets.
    sample_weight : Tensor or ndarray, shape (N,), optional
        Factor per triplet.

    Examples
    --------
    >>> import mlext as ml
    >>> a, n = ml.zeros(1, 2), ml.full((1, 2), 9.0)
    >>> ml.losses.triplet_margin(a, a, n)
    Tensor(0.)

    References
    ----------
    Balntas et al. 2016, "Learning local feature descriptors with triplets".
    """
    positive = like("triplet_margin", anchor, positive, "positive")
    negative = like("triplet_margin", anchor, negative, "negative")
    near = _distance(anchor, positive, p, eps)
    far = _distance(anchor, negative, p, eps)
    if swap:
        far = F.minimum(far, _distance(positive, negative, p, eps))
    loss = F.relu(F.add(F.sub(near, far), margin))
    return reduce("triplet_margin", loss, reduction, sample_weight)


def _distance(x: Any, y: Any, p: float, eps: float) -> Any:
    difference = F.add(F.sub(x, y), eps)
    if p == 2.0:
        return F.norm(difference, -1)
    if p == math.inf:
        return F.max(F.abs(difference), -1)
    return F.pow(F.sum(F.pow(F.abs(difference), p), -1), 1.0 / p)


def margin_ranking(
    x1: ArrayLike,
    x2: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.0,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Loss of two scores in the wrong order: target 1 wants ``x1`` larger, -1 wants ``x2`` larger.

        max(0, -t (x1 - x2) + margin)

    Shapes are all equal; reduction and weights are those of :func:`mse`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.losses.margin_ranking(ml.tensor([1.0]), ml.tensor([3.0]), ml.tensor([1.0]))
    Tensor(2.)
    """
    x2 = like("margin_ranking", x1, x2, "x2")
    target = like("margin_ranking", x1, target)
    loss = F.relu(F.add(F.mul(F.neg(target), F.sub(x1, x2)), margin))
    return reduce("margin_ranking", loss, reduction, sample_weight)
