"""Losses: (name, arguments, kind of prediction and target, torch's function and arguments)."""

import numpy as np

# kind: how prediction and target are drawn, away from kinks (see draw)
LOSSES = [
    ("mse", {}, "numbers", "mse_loss", {}),
    ("mae", {}, "numbers", "l1_loss", {}),
    ("huber", {"delta": 0.7}, "numbers", "huber_loss", {"delta": 0.7}),
    ("smooth_l1", {"beta": 0.6}, "numbers", "smooth_l1_loss", {"beta": 0.6}),
    ("smooth_l1", {"beta": 0.0}, "numbers", "smooth_l1_loss", {"beta": 0.0}),
    ("binary_cross_entropy", {}, "probabilities", "binary_cross_entropy", {}),
    (
        "binary_cross_entropy",
        {"with_logits": True},
        "logits",
        "binary_cross_entropy_with_logits",
        {},
    ),
    ("kl_div", {}, "log-probabilities", "kl_div", {}),
    ("kl_div", {"log_target": True}, "log-target", "kl_div", {"log_target": True}),
    ("poisson_nll", {}, "counts", "poisson_nll_loss", {}),
    ("poisson_nll", {"full": True}, "counts", "poisson_nll_loss", {"full": True}),
    (
        "poisson_nll",
        {"log_input": False},
        "positive counts",
        "poisson_nll_loss",
        {"log_input": False},
    ),
    ("hinge", {}, "signs", None, {}),
    ("squared_hinge", {}, "signs", None, {}),
    ("log_cosh", {}, "numbers", None, {}),
    ("quantile", {"q": 0.3}, "numbers", None, {}),
    ("focal", {}, "logits", None, {}),
    ("focal", {"alpha": None, "gamma": 0.0}, "logits", None, {}),
    ("dice", {}, "probabilities", None, {}),
]
IDS = [f"{name} {arguments}" for name, arguments, *_ in LOSSES]


def draw(kind, shape=(6, 5), seed=0):
    """A prediction and a target in float64."""
    rng = np.random.default_rng(seed)
    p, t = rng.standard_normal(shape), rng.standard_normal(shape)
    if kind == "probabilities":
        return rng.uniform(0.05, 0.95, shape), rng.integers(0, 2, shape).astype(float)
    if kind == "logits":
        return 2 * p, rng.uniform(0, 1, shape)
    if kind == "log-probabilities":
        return np.log(rng.dirichlet(np.ones(shape[-1]), shape[0])), rng.dirichlet(np.ones(shape[-1]), shape[0])
    if kind == "log-target":
        p, t = draw("log-probabilities", shape, seed)
        return p, np.log(t)
    if kind == "counts":
        return p, rng.integers(0, 5, shape).astype(float)
    if kind == "positive counts":
        return np.abs(p) + 0.5, rng.integers(0, 5, shape).astype(float)
    if kind == "signs":
        return p, rng.choice([-1.0, 1.0], shape)
    return p, t
