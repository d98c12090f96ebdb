"""Losses: functions ``(prediction, target, *, reduction="mean")``.

Shapes must be equal, nothing is broadcast. ndarray targets are cast to the dtype of the prediction.
"""

from mlext.losses.binary import binary_cross_entropy, dice, focal, hinge, squared_hinge
from mlext.losses.classification import cross_entropy, multiclass_hinge, nll
from mlext.losses.distance import cosine_embedding, margin_ranking, triplet_margin
from mlext.losses.regression import (
    huber,
    kl_div,
    l1,
    log_cosh,
    mae,
    mse,
    pinball,
    poisson_nll,
    quantile,
    smooth_l1,
)
from mlext.losses.sequence import ctc

__all__ = [
    "binary_cross_entropy",
    "cosine_embedding",
    "cross_entropy",
    "ctc",
    "dice",
    "focal",
    "hinge",
    "huber",
    "kl_div",
    "l1",
    "log_cosh",
    "mae",
    "margin_ranking",
    "mse",
    "multiclass_hinge",
    "nll",
    "pinball",
    "poisson_nll",
    "quantile",
    "smooth_l1",
    "squared_hinge",
    "triplet_margin",
]
