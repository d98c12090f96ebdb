"""Convolutions: rows of bench/shapes/conv.json and cnn_layers.json as the ops they stand for, and what is right.

Arrays are channels last: x (N, H, W, C), weight (O, R, S, C / groups), g and y (N, P, Q, O).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Inputs = dict[str, Any]

OPS = ("conv", "conv_input_gradient", "conv_weight_gradient")
BATCHES = (1, 8, 32)
CHECKED = 40  # elements of a result
U = 2.0**-24


def expand(file: str, row: Inputs) -> Iterator[Inputs]:
    """The rows to be timed that a row of a shape table stands for."""
    if file == "cnn_layers.json":
        sizes = {"h": row["h"], "w": row["w"], "c": row["in_c"], "o": row["out_c"], "groups": row["groups"]}
        taps = {"r": row["kernel_h"], "s": row["kernel_w"], "stride": [row["stride"]] * 2, "pad": [row["pad"]] * 2}
        quick = row["layer"] in QUICK_LAYERS
        for n in BATCHES:
            gflop = row["gflop_per_image"] * n
            yield {"op": "conv", "n": n, **sizes, **taps, "gflop": gflop, "quick": quick and n == 1}
    elif file == "conv.json":
        sizes = {"n": row["n"], "h": row["h"], "w": row["w"], "c": row["c"], "o": row["k"], "groups": row["groups"]}
        stride, pad = [row["stride_h"], row["stride_w"]], [row["pad_h"], row["pad_w"]]
        taps = {"r": row["filter_h"], "s": row["filter_w"], "stride": stride, "pad": pad}
        for op in OPS if row["set"] == "train" else OPS[:1]:
            yield {"op": op, **sizes, **taps, "gflop": row["gflop"], "quick": False}
    else:
        yield row


QUICK_LAYERS = ("layer1.0.conv2", "layer3.0.conv3", "features.0", "features.0.0", "features.1.conv.0.0")


def name(row: Inputs) -> str:
    size = f"{row['n']}x{row['h']}x{row['w']}x{row['c']} -> {row['o']}"
    filters = f"{row['r']}x{row['s']} / {row['stride'][0]}"
    groups = f" groups {row['groups']}" if row["groups"] > 1 else ""
    return f"{row['op']} {size}, {filters}{groups}"


def result_shape(row: Inputs) -> tuple[int, int]:
    p = (row["h"] + 2 * row["pad"][0] - row["r"]) // row["stride"][0] + 1
    q = (row["w"] + 2 * row["pad"][1] - row["s"]) // row["stride"][1] + 1
    return p, q


class Convolution:
    """One convolution, or one of its gradients."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        x = rng.standard_normal((row["n"], row["h"], row["w"], row["c"]), dtype=np.float32)
        w = rng.standard_normal((row["o"], row["r"], row["s"], row["c"] // row["groups"]), dtype=np.float32)
        g = rng.standard_normal((row["n"], *result_shape(row), row["o"]), dtype=np.float32)
        return {"op": row["op"], "x": x, "w": w, "g": g} | {k: row[k] for k in ("stride", "pad", "groups")}

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        """Some elements against float64; Winograd's sums, which cancel, may be off by 1000 u."""
        got = np.asarray(result, dtype=np.float64)
        like = {"conv": "g", "conv_input_gradient": "x", "conv_weight_gradient": "w"}[inputs["op"]]
        assert got.shape == inputs[like].shape, f"expected shape {inputs[like].shape}, got {got.shape}"
        rng = np.random.default_rng(1)
        for _ in range(CHECKED):
            at = tuple(int(rng.integers(size)) for size in got.shape)
            terms = REFERENCES[inputs["op"]](inputs, at)
            error = abs(float(got[at]) - float(terms.sum()))
            assert error <= 1000 * U * float(np.abs(terms).sum()) + 1e-30, f"error {error:.3g} at {at}"

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        p, q = result_shape(row)
        outputs, filters = row["n"] * p * q * row["o"], row["r"] * row["s"] * row["c"] // row["groups"]
        inputs = row["n"] * row["h"] * row["w"] * row["c"]
        return 2.0 * outputs * filters, 4.0 * (inputs + outputs + row["o"] * filters)


# ---- the terms of the sum that one element is ----------------------------------------------------


def _padded(inputs: Inputs) -> np.ndarray:
    (ph, pw), x = inputs["pad"], inputs["x"]
    return np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0))).astype(np.float64)


def _channels(inputs: Inputs, o: int) -> slice:
    """Those of x that an output sees."""
    each = inputs["w"].shape[3]
    group = o // (inputs["w"].shape[0] // inputs["groups"])
    return slice(group * each, (group + 1) * each)


def _output(inputs: Inputs, at: tuple[int, ...]) -> np.ndarray:
    n, p, q, o = at
    (sh, sw), (r, s) = inputs["stride"], inputs["w"].shape[1:3]
    window = _padded({**inputs, "x": inputs["x"][n : n + 1]})[0, p * sh : p * sh + r, q * sw : q * sw + s]
    return np.asarray(window[:, :, _channels(inputs, o)] * inputs["w"][o])


def _input_gradient(inputs: Inputs, at: tuple[int, ...]) -> np.ndarray:
    n, h, v, c = at
    (sh, sw), (ph, pw), (outputs, r, s, each) = inputs["stride"], inputs["pad"], inputs["w"].shape
    per_group = outputs // inputs["groups"]
    group = slice(c // each * per_group, (c // each + 1) * per_group)
    terms = [np.zeros(1)]
    for i in range(r):
        for j in range(s):
            (p, over_p), (q, over_q) = divmod(h + ph - i, sh), divmod(v + pw - j, sw)
            if over_p == over_q == 0 and 0 <= p < inputs["g"].shape[1] and 0 <= q < inputs["g"].shape[2]:
                terms.append(inputs["g"][n, p, q, group].astype(np.float64) * inputs["w"][group, i, j, c % each])
    return np.concatenate(terms)


def _weight_gradient(inputs: Inputs, at: tuple[int, ...]) -> np.ndarray:
    o, i, j, c = at
    (sh, sw), (_, p, q, _) = inputs["stride"], inputs["g"].shape
    channel = _channels(inputs, o).start + c
    x = _padded({**inputs, "x": inputs["x"][..., channel : channel + 1]})[..., 0]
    return np.asarray(x[:, i : i + p * sh : sh, j : j + q * sw : sw][:, :p, :q] * inputs["g"][..., o])


REFERENCES = {
    "conv": _output,
    "conv_input_gradient": _input_gradient,
    "conv_weight_gradient": _weight_gradient,
}
