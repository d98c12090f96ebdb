"""Recurrent layers: rows of bench/shapes/rnn.json and recurrent.json as the ops they stand for, and what is right.

Arrays are batch first: x (N, T, C), y and g (N, T, H); gates in PyTorch's order. The simple layer's activation is relu.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Inputs = dict[str, Any]

OPS = ("recurrent", "recurrent_training")
FILES = ("rnn.json", "recurrent.json")
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
# Rows of more steps are cut to as many as this allows, two at least: a step is like any other.
MAX_GFLOP = 4.0


@dataclass(frozen=True)
class Layer:
    """One layer in one direction; its result is that of all steps or of the last."""

    kind: str
    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array
    last: bool = False

    @property
    def units(self) -> int:
        return self.w_hh.shape[1]

    @property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        return self.w_ih, self.w_hh, self.b_ih, self.b_hh


def draw(kind: str, inputs: int, units: int, rng: np.random.Generator, last: bool = False) -> Layer:
    rows, bound = GATES[kind] * units, 1 / np.sqrt(units)
    shapes = ((rows, inputs), (rows, units), (rows,), (rows,))
    return Layer(kind, *(rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes), last)


# ---- rows ------------------------------------------------------------------------------------------------------------


def expand(file: str, row: Inputs) -> Iterator[Inputs]:
    """The rows to be timed that a row of a shape table stands for."""
    if file == "rnn.json":
        kind = {"vanilla": "rnn"}.get(row["type"], row["type"])
        trains = row["set"] == "train"
        made = {
            "op": OPS[trains],
            "kind": kind,
            "units": row["hidden"],
            "batch": row["batch"],
            "steps": row["timesteps"],
        }
        each = work_of_step(made) * 1e-9
        steps = min(made["steps"], max(2, int(MAX_GFLOP / each)))
        yield made | {"steps": steps, "cut": steps < made["steps"], "quick": False, "gflop": 0}
    else:
        for op in OPS:
            yield {"op": op, **row}


def name(row: Inputs) -> str:
    size = f"{row['kind']} {row['units']}, batch {row['batch']}, {row['steps']} steps"
    return f"{row['op']} {size}" + (" of more" if row.get("cut") else "")


def work_of_step(row: Inputs) -> float:
    """FLOPs of both products."""
    once = 4.0 * GATES[row["kind"]] * row["units"] ** 2 * row["batch"]
    return once * (2.5 if row["op"] == "recurrent_training" else 1)  # x has no gradient


class Recurrence:
    """One layer over whole sequences: its result, or the gradient of its recurrent weight."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        n, t, h = row["batch"], row["steps"], row["units"]
        x, g = (rng.standard_normal((n, t, h), dtype=np.float32) for _ in range(2))
        layer = draw(row["kind"], h, h, rng)
        if (
            layer.kind == "rnn"
        ):  # no sum near 0, where rounding would switch a relu, and with it elements of the gradient
            layer = replace(layer, w_hh=np.abs(layer.w_hh) / np.float32(h**0.5), b_ih=layer.b_ih + np.float32(4))
        return {"op": row["op"], "x": x, "g": g, "layer": layer}

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        got, x = np.asarray(result, dtype=np.float64), inputs["x"].astype(np.float64)
        steps = forward(inputs["layer"], x)
        if inputs["op"] == "recurrent":
            expected = steps["y"]
        else:
            expected = gradients(inputs["layer"], x, steps, inputs["g"].astype(np.float64))[1][1]
        assert got.shape == expected.shape, f"expected shape {expected.shape}, got {got.shape}"
        error, size = np.linalg.norm(got - expected), np.linalg.norm(expected)
        assert error <= 1e-4 * size, f"error {error:.3g}, all together, of {size:.3g}"

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        arrays = row["batch"] * row["steps"] * row["units"] * 2
        return row["steps"] * work_of_step(row), 4.0 * (arrays + 2 * GATES[row["kind"]] * row["units"] ** 2)


# ---- what is right ---------------------------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def forward(w: Layer, x: Array) -> dict[str, Array]:
    """y, and of each step what the way back needs."""
    n, t, h = len(x), x.shape[1], w.units
    w_ih, w_hh, b_ih, b_hh = (a.astype(np.float64) for a in w.arrays)
    of_x = x @ w_ih.T + b_ih
    y, c = np.zeros((n, t + 1, h)), np.zeros((n, t + 1, h))  # from before the first step on
    gates = np.zeros((n, t, GATES[w.kind], h))
    sums = np.zeros((n, t, h))
    for s in range(t):
        a, r = (v.reshape(n, -1, h) for v in (of_x[:, s], y[:, s] @ w_hh.T + b_hh))
        if w.kind == "rnn":
            gates[:, s] = np.maximum(a + r, 0)
            y[:, s + 1] = gates[:, s, 0]
        elif w.kind == "lstm":
            gates[:, s] = sigmoid(a + r)
            gates[:, s, 2] = np.tanh((a + r)[:, 2])
            i, f, g, o = gates[:, s].transpose(1, 0, 2)
            c[:, s + 1] = f * c[:, s] + i * g
            y[:, s + 1] = o * np.tanh(c[:, s + 1])
        else:
            gates[:, s] = sigmoid(a + r)
            sums[:, s] = r[:, 2]
            gates[:, s, 2] = np.tanh(a[:, 2] + gates[:, s, 0] * r[:, 2])
            _, z, g = gates[:, s].transpose(1, 0, 2)
            y[:, s + 1] = (1 - z) * g + z * y[:, s]
    return {"y": y[:, 1:], "before": y[:, :-1], "c": c, "gates": gates, "sums": sums}


def gradients(w: Layer, x: Array, left: dict[str, Array], gy: Array) -> tuple[Array, tuple[Array, ...]]:
    """From the gradient of y: that of x, and those of the weights in their order."""
    n, t, h = len(x), x.shape[1], w.units
    w_ih, w_hh = w.w_ih.astype(np.float64), w.w_hh.astype(np.float64)
    to_x, to_h = np.zeros((n, t, GATES[w.kind], h)), np.zeros((n, t, GATES[w.kind], h))
    gh, gc = np.zeros((n, h)), np.zeros((n, h))
    for s in reversed(range(t)):
        gh = gh + gy[:, s]
        gates, through = left["gates"][:, s].transpose(1, 0, 2), np.zeros((n, h))
        if w.kind == "rnn":
            to_x[:, s, 0] = gh * (gates[0] > 0)
        elif w.kind == "lstm":
            i, f, g, o = gates
            flat = np.tanh(left["c"][:, s + 1])
            gc = gc + gh * o * (1 - flat**2)
            of = (
                gc * g * i * (1 - i),
                gc * left["c"][:, s] * f * (1 - f),
                gc * i * (1 - g**2),
                gh * flat * o * (1 - o),
            )
            to_x[:, s], gc = np.stack(of, 1), gc * f
        else:
            r, z, g = gates
            gn = gh * (1 - z) * (1 - g**2)
            gz = gh * (left["before"][:, s] - g) * z * (1 - z)
            to_x[:, s] = np.stack((gn * left["sums"][:, s] * r * (1 - r), gz, gn), 1)
            through = gh * z
        to_h[:, s] = to_x[:, s]
        if w.kind == "gru":
            to_h[:, s, 2] *= gates[0]
        gh = through + to_h[:, s].reshape(n, -1) @ w_hh
    gx, gr = to_x.reshape(n * t, -1), to_h.reshape(n * t, -1)
    of_weights = (gx.T @ x.reshape(n * t, -1), gr.T @ left["before"].reshape(n * t, -1), gx.sum(0), gr.sum(0))
    return (gx @ w_ih).reshape(x.shape), of_weights
