"""Transformers as ops: steps of training, and generation with keys and values kept."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from networks import Dense, Flatten
from transforming import (
    MODELS,
    Block,
    Embedding,
    Inputs,
    MeanOfFeatures,
    Patches,
    Position,
    StepsApart,
    build,
    loss,
    predict,
)

OPS = ("train_transformer", "generate")


def name(row: Inputs) -> str:
    if row["op"] == "generate":
        return f"generate {row['length']} tokens after {row['prompt']}, {row['model']}"
    batch = f"batch {row['batch']}" + (f" of {row['of']}" if "of" in row else "")
    return f"train {row['model']}, {batch} {row['optimizer']} {'compiled' if row.get('compiled') else 'eager'}"


class Training:
    """Steps of training: the first loss must be right, and those that follow fall."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        layers, (_, shape, values) = build(row["model"], rng), MODELS[row["model"]]
        shape = (row["batch"], *shape)
        x = rng.integers(0, values, shape) if values else rng.standard_normal(shape, dtype=np.float32)
        if row["loss"] == "mse":
            y = rng.standard_normal(shape, dtype=np.float32)
        else:
            y = rng.integers(0, values or len(layers[-1].bias), x.size if values else row["batch"])
        return {"layers": layers, "x": x, "y": y} | {k: row.get(k) for k in ("loss", "optimizer", "lr", "compiled")}

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        if "expected" not in inputs:
            inputs["expected"] = loss(inputs)
        expected = inputs["expected"]
        assert abs(result[0] - expected) <= 1e-3 * expected, f"the first loss is {result[0]}, expected {expected}"
        assert result[-1] < result[0], f"losses do not fall: {result}"

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        layers = build(row["model"], np.random.default_rng(0))
        return 3.0 * row["batch"] * flops(layers, MODELS[row["model"]][1]), 4.0 * parameters(layers)


class Generation:
    """The most likely token, again and again."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        layers = [layer for layer in build(row["model"], rng) if not isinstance(layer, StepsApart)]
        return {
            "layers": layers,
            "prompt": rng.integers(0, MODELS[row["model"]][2], row["prompt"]),
            **{"length": row["length"]},
        }

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        """No token may be less likely than another by more than rounding, given all tokens before it."""
        tokens, first = np.concatenate([inputs["prompt"], result]), len(inputs["prompt"])
        assert len(result) == inputs["length"], f"expected {inputs['length']} tokens, got {len(result)}"
        scores = predict(inputs["layers"], tokens[None, :-1])[0, first - 1 :]
        behind = scores.max(1) - scores[np.arange(len(scores)), tokens[first:]]
        assert (behind <= 1e-3 * scores.std()).all(), f"token {behind.argmax()} is not the most likely one"

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        """Each token needs all weights but the tables, of which it takes a row."""
        layers = build(row["model"], np.random.default_rng(0))
        size = parameters([layer for layer in layers if not isinstance(layer, (Embedding, Position))])
        return 2.0 * (row["prompt"] + row["length"]) * size, 4.0 * row["length"] * size

    @staticmethod
    def footprint(row: Inputs) -> float:
        return 4.0 * parameters(build(row["model"], np.random.default_rng(0)))

    @staticmethod
    def reads_only(row: Inputs) -> bool:
        return True

    @staticmethod
    def tokens(row: Inputs) -> int:
        return int(row["length"])


CLASSES = dict(zip(OPS, (Training, Generation), strict=True))


def parameters(layers: Any) -> int:
    """How many there are."""
    if isinstance(layers, np.ndarray):
        return layers.size
    parts = [getattr(layers, f.name) for f in fields(layers)] if is_dataclass(layers) else layers
    return sum(parameters(part) for part in parts) if isinstance(parts, list) else 0


def flops(layers: list[Any], shape: tuple[int, ...]) -> float:
    """Of one sample, forward."""
    total = 0.0
    for layer in layers:
        if isinstance(layer, Patches):
            shape = (shape[0] * shape[1] // layer.size**2, shape[2] * layer.size**2)
        elif isinstance(layer, Embedding):
            shape = (*shape, layer.weight.shape[1])
        elif isinstance(layer, Dense):
            total += 2.0 * math.prod(shape[:-1]) * layer.weight.size
            shape = (*shape[:-1], len(layer.bias))
        elif isinstance(layer, Block):
            dense = (layer.inward, layer.outward, layer.first, layer.second)
            total += 2.0 * shape[0] * sum(part.weight.size for part in dense)
            total += 4.0 * shape[0] ** 2 * layer.outward.weight.shape[1] * (0.5 if layer.causal else 1)
        elif isinstance(layer, (MeanOfFeatures, Flatten)):
            shape = shape[:-1] if isinstance(layer, MeanOfFeatures) else (math.prod(shape),)
    return total
