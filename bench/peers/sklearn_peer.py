"""scikit-learn: its dense network predicts; its training loop has no step to call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.neural_network import MLPRegressor

import networks

Inputs = dict[str, Any]


def setup(threads: int) -> None:
    """The environment of the process says how many threads (run.py)."""


def predict(inputs: Inputs) -> Any:
    layers, x = networks.dense_only(inputs["layers"]), inputs["x"]
    hidden = tuple(len(bias) for _, bias in layers[:-1])
    model = MLPRegressor(hidden_layer_sizes=hidden, activation="relu")
    # A first pass makes the attributes; the weights of the row replace the random ones.
    outputs = len(layers[-1][1])
    model.partial_fit(np.zeros((2, x.shape[1]), np.float32), np.zeros((2, outputs), np.float32))
    model.coefs_ = [np.ascontiguousarray(weight.T) for weight, _ in layers]
    model.intercepts_ = [bias for _, bias in layers]
    return lambda: model.predict(x)


def build(op: str) -> Callable[[Inputs], Any] | None:
    return {"predict": predict}.get(op)
