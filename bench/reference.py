"""The float64 NumPy references that results are checked against before they are timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])

MAPS: dict[str, Callable[..., Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "add": np.add,
    "mul": np.multiply,
}
BINARY = ("add", "mul")

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "var": np.var,
    "argmax": np.argmax,
}


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def first_step(op: str, params: np.ndarray, grad: np.ndarray, lr: float) -> np.ndarray:
    """SGD with momentum 0.9, or Adam: the first step from empty state."""
    if op == "sgd":
        return params - lr * grad
    return params - lr * grad / (np.abs(grad) + 1e-8)


def predict(layers: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> np.ndarray:
    return _forward([(w.astype(np.float64), b.astype(np.float64)) for w, b in layers], x.astype(np.float64))[-1]


def losses(inputs: dict[str, Any], steps: int) -> list[float]:
    """The loss before each of the first `steps` steps of training."""
    layers = [[w.astype(np.float64), b.astype(np.float64)] for w, b in inputs["layers"]]
    state = [[np.zeros((2, *p.shape)) for p in layer] for layer in layers]
    found = []
    for t in range(1, steps + 1):
        loss, gradients = _loss_and_gradients(layers, inputs)
        found.append(loss)
        for layer, moments, grads in zip(layers, state, gradients, strict=True):
            for i in range(2):
                layer[i] = layer[i] - inputs["lr"] * _direction(inputs["optimizer"], moments[i], grads[i], t)
    return found


def _forward(layers: Any, x: np.ndarray) -> list[np.ndarray]:
    values = [x]
    for i, (w, b) in enumerate(layers):
        z = values[-1] @ w.T + b
        values.append(z if i == len(layers) - 1 else np.maximum(z, 0))
    return values


def _loss_and_gradients(layers: Any, inputs: dict[str, Any]) -> tuple[float, list[tuple[np.ndarray, np.ndarray]]]:
    y = inputs["y"]
    values = _forward(layers, inputs["x"].astype(np.float64))
    out = values[-1]
    if inputs["loss"] == "mse":
        loss, g = float(((out - y) ** 2).mean()), 2 * (out - y) / out.size
    else:
        log_p, at = log_softmax(out), (np.arange(len(out)), y)
        loss, g = float(-log_p[at].mean()), np.exp(log_p)
        g[at] -= 1
        g /= len(out)
    gradients = []
    for (w, _), before in zip(reversed(layers), reversed(values[:-1]), strict=True):
        gradients.append((g.T @ before, g.sum(0)))
        g = (g @ w) * (before > 0)
    return loss, gradients[::-1]


def _direction(optimizer: str, moments: np.ndarray, grad: np.ndarray, t: int) -> np.ndarray:
    if optimizer == "sgd":
        return grad
    moments[0] = 0.9 * moments[0] + 0.1 * grad
    moments[1] = 0.999 * moments[1] + 0.001 * grad**2
    m, v = moments[0] / (1 - 0.9**t), moments[1] / (1 - 0.999**t)
    return m / (np.sqrt(v) + 1e-8)
