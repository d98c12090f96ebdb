"""Keras on JAX: networks alone, by train_on_batch and by the compiled prediction of a batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"
import keras

import networks
import recurrence

Inputs = dict[str, Any]


def setup(threads: int) -> None:
    """The environment of the process says how many threads (run.py)."""


# Gates in Keras's order, by their places in PyTorch's.
GATES = {"rnn": [0], "lstm": [0, 1, 2, 3], "gru": [1, 0, 2]}


def recurrent(node: recurrence.Layer) -> tuple[Any, list[np.ndarray]]:
    """A layer, and its weights."""

    def ordered(a: np.ndarray) -> np.ndarray:
        return np.concatenate([a.reshape(-1, node.units, *a.shape[1:])[i] for i in GATES[node.kind]]).T

    kinds = {"rnn": partial(keras.layers.SimpleRNN, activation="relu"), "lstm": keras.layers.LSTM}
    layer = kinds.get(node.kind, keras.layers.GRU)(node.units, return_sequences=not node.last)
    w, r, *biases = map(ordered, node.arrays)
    return layer, [w, r, np.stack(biases) if node.kind == "gru" else biases[0] + biases[1]]


def network(inputs: Inputs) -> Any:
    """Of dense and recurrent layers."""
    model = keras.Sequential([keras.Input(inputs["x"].shape[1:])])
    for node in inputs["layers"]:
        if isinstance(node, recurrence.Layer):
            layer, weights = recurrent(node)
        elif isinstance(node, networks.Dense):
            layer, weights = keras.layers.Dense(len(node.bias), activation=node.act), [node.weight.T, node.bias]
        else:
            raise NotImplementedError
        model.add(layer)
        layer.set_weights(weights)
    return model


def train(inputs: Inputs) -> Any:
    model, x, y = network(inputs), inputs["x"], inputs["y"]
    losses = keras.losses
    loss = {
        "mse": losses.MeanSquaredError,
        "cross_entropy": lambda: losses.SparseCategoricalCrossentropy(from_logits=True),
    }[inputs["loss"]]()
    # Keras adds epsilon before it corrects the bias of the second moment: 1e-8 * sqrt(1 - 0.999) is the others' 1e-8.
    adam = partial(keras.optimizers.Adam, epsilon=3.16e-10)
    make = {"sgd": keras.optimizers.SGD, "adam": adam}[inputs["optimizer"]]
    model.compile(optimizer=make(inputs["lr"]), loss=loss)
    # One bias where the others have two: the first step is already that of another network.
    shares_biases = any(isinstance(node, recurrence.Layer) and node.kind != "gru" for node in inputs["layers"])
    return lambda: model.train_on_batch(x, y), float, 1 if shares_biases else 3


def predict(inputs: Inputs) -> Any:
    model, x = network(inputs), inputs["x"]
    return lambda: np.asarray(model.predict_on_batch(x))


def build(op: str) -> Callable[[Inputs], Any] | None:
    return {"train": train, "predict": predict}.get(op)
