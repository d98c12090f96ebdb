"""NumPy; its BLAS is OpenBLAS in the wheels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import networks

Inputs = dict[str, Any]

MAPS: dict[str, Callable[..., Any]] = {
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.float32(1) / (np.float32(1) + np.exp(-x)),
    "add": np.add,
    "mul": np.multiply,
}
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "var": np.var,
    "argmax": np.argmax,
}


def setup(threads: int) -> None:
    """The environment of the process says how many threads (run.py)."""


def matmul(inputs: Inputs) -> Any:
    a, b = inputs["a"], inputs["b"]
    return lambda: a @ b


def map_(inputs: Inputs) -> Any:
    fn, arguments = MAPS[inputs["op"]], [inputs[k] for k in ("x", "y") if k in inputs]
    return lambda: fn(*arguments)


def reduce(inputs: Inputs) -> Any:
    fn, x, axis = REDUCTIONS[inputs["op"]], inputs["x"], inputs["axis"]
    return lambda: fn(x, axis)


def softmax(inputs: Inputs) -> Any:
    x = inputs["x"]

    def call() -> Any:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return call


def predict(inputs: Inputs) -> Any:
    (weight, bias), *hidden = networks.dense_only(inputs["layers"])
    x = inputs["x"]

    def call() -> Any:
        out = x @ weight.T + bias
        for w, b in hidden:
            out = np.maximum(out, 0) @ w.T + b
        return out

    return call


def build(op: str) -> Callable[[Inputs], Any] | None:
    table = {"matmul": matmul, "softmax": softmax, "predict": predict}
    table |= dict.fromkeys(MAPS, map_) | dict.fromkeys(REDUCTIONS, reduce)
    return table.get(op)
