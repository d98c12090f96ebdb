"""Layer norm and RMS norm: rows of bench/shapes/norm.json, and what is right.

The results of an op are joined along the columns: those of add_layer_norm are y and the sum; a training op's is the
gradient of x.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Inputs = dict[str, Any]

OPS = ("layer_norm", "rms_norm", "add_layer_norm", "layer_norm_training", "rms_norm_training")
EPS = 1e-5
U = 2.0**-24


class Normalization:
    """Over the columns of each row."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        x, r, g = (rng.standard_normal(row["shape"], dtype=np.float32) for _ in range(3))
        w, b = rng.standard_normal((2, row["shape"][1]), dtype=np.float32)
        return {"op": row["op"], "x": x, "r": r, "g": g, "w": w, "b": b}

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        got = np.asarray(result)
        some = np.unique(np.linspace(0, len(got) - 1, 64, dtype=int))
        expected = right({k: v[some].astype(np.float64) if k in "xrg" else v for k, v in inputs.items()})
        assert len(got) == len(inputs["x"]), f"expected {len(inputs['x'])} rows, got {len(got)}"
        assert got.shape[1] == expected.shape[1], f"expected {expected.shape[1]} columns, got {got.shape[1]}"
        error = np.abs(got[some] - expected)
        assert (error <= 64 * U * np.abs(expected).max()).all(), f"error {error.max():.3g}"

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        arrays = {"add_layer_norm": 4, "layer_norm_training": 5, "rms_norm_training": 5}.get(row["op"], 2)
        return 0.0, 4.0 * arrays * row["shape"][0] * row["shape"][1]


def right(inputs: Inputs) -> Array:
    """The result in float64."""
    x, w, b = inputs["x"], inputs["w"].astype(np.float64), inputs["b"].astype(np.float64)
    centred = not inputs["op"].startswith("rms")
    if inputs["op"] == "add_layer_norm":
        x = x + inputs["r"]
    d = x - x.mean(1, keepdims=True) if centred else x
    rstd = 1 / np.sqrt((d * d).mean(1, keepdims=True) + EPS)
    if inputs["op"].endswith("_training"):
        slopes, h = inputs["g"] * w, d * rstd
        mean = slopes.mean(1, keepdims=True) if centred else 0.0
        return np.asarray(rstd * (slopes - mean - h * (slopes * h).mean(1, keepdims=True)))
    y = d * rstd * w + (b if centred else 0.0)
    return np.concatenate([y, x], 1) if inputs["op"] == "add_layer_norm" else y
