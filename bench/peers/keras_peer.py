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

Inputs = dict[str, Any]


def setup(threads: int) -> None:
    """The environment of the process says how many threads (run.py)."""


def network(inputs: Inputs) -> Any:
    layers = networks.dense_only(inputs["layers"])
    model = keras.Sequential([keras.Input((layers[0][0].shape[1],))])
    for i, (weight, bias) in enumerate(layers):
        dense = keras.layers.Dense(weight.shape[0], activation="relu" if i + 1 < len(layers) else None)
        model.add(dense)
        dense.set_weights([weight.T, bias])
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
    return lambda: model.train_on_batch(x, y), float


def predict(inputs: Inputs) -> Any:
    model, x = network(inputs), inputs["x"]
    return lambda: np.asarray(model.predict_on_batch(x))


def build(op: str) -> Callable[[Inputs], Any] | None:
    return {"train": train, "predict": predict}.get(op)
