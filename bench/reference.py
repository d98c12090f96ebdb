"""The float64 NumPy references that results are checked against before they are timed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import networks

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
    "swiglu": lambda x, y: x / (1 + np.exp(-x)) * y,
}
BINARY = ("add", "mul", "swiglu")

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


def losses(inputs: dict[str, Any], steps: int) -> list[float]:
    """The loss before each of the first `steps` steps of training."""
    layers = list(inputs["layers"])
    state = [[np.zeros((2, *p.shape)) for p in arrays.values()] for arrays in networks.weights(layers)]
    found = []
    for t in range(1, steps + 1):
        loss, gradients = _loss_and_gradients(layers, inputs)
        found.append(loss)
        for i, (arrays, moments) in enumerate(zip(list(networks.weights(layers)), state, strict=True)):
            step = [_direction(inputs["optimizer"], m, g, t) for m, g in zip(moments, gradients[i], strict=True)]
            new = {name: p - inputs["lr"] * d for (name, p), d in zip(arrays.items(), step, strict=True)}
            layers[i] = dataclasses.replace(layers[i], **new)
    return found


def _loss_and_gradients(layers: Any, inputs: dict[str, Any]) -> tuple[float, list[tuple[np.ndarray, ...]]]:
    y = inputs["y"]
    values = [inputs["x"].astype(np.float64)]
    for layer in layers:
        values.append(networks.apply(layer, values[-1]))
    out = values[-1]
    if inputs["loss"] == "mse":
        loss, g = float(((out - y) ** 2).mean()), 2 * (out - y) / out.size
    else:
        log_p, at = log_softmax(out), (np.arange(len(out)), y)
        loss, g = float(-log_p[at].mean()), np.exp(log_p)
        g[at] -= 1
        g /= len(out)
    gradients = []
    for i in reversed(range(len(layers))):
        g, of_weights = networks.gradients(layers[i], values[i], values[i + 1], g)
        gradients.append(of_weights)
    return loss, gradients[::-1]


def _direction(optimizer: str, moments: np.ndarray, grad: np.ndarray, t: int) -> np.ndarray:
    if optimizer == "sgd":
        return grad
    moments[0] = 0.9 * moments[0] + 0.1 * grad
    moments[1] = 0.999 * moments[1] + 0.001 * grad**2
    m, v = moments[0] / (1 - 0.9**t), moments[1] / (1 - 0.999**t)
    return m / (np.sqrt(v) + 1e-8)
