"""What the rows of bench/shapes/*.json mean: inputs, a float64 reference, how much work it is.

An op is one class: `make(row, rng)` gives the inputs as a dict, `check(result, inputs)` holds a
contestant's result against the reference in float64 and raises AssertionError, `work(row)` gives
FLOPs and bytes (each array once in or out), `footprint(row)`, where it differs, the bytes of memory; `peak`, where
it differs from float32's, the key of the peak in bench/machine.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import attending
import convolution
import networks
import normalization
import recurrence
import reference
import transformer_ops

U = 2.0**-24  # unit roundoff of float32
Inputs = dict[str, Any]


def array(result: Any) -> np.ndarray:
    return np.asarray(result, dtype=np.float64)


def assert_close(result: Any, expected: np.ndarray, tolerance: np.ndarray | float) -> None:
    """Element by element; NaN fails."""
    got = array(result)
    assert got.shape == expected.shape, f"expected shape {expected.shape}, got {got.shape}"
    assert (np.abs(got - expected) <= tolerance).all(), f"error {np.abs(got - expected).max():.3g}"


def elements(row: Inputs) -> int:
    return int(np.prod(row["shape"]))


def few_rows(a: np.ndarray) -> np.ndarray:
    """Numbers of the rows of a product that are checked, all columns of them."""
    return np.unique(np.linspace(0, len(a) - 1, 8, dtype=int))


class Matmul:
    """A row-major product n x k by k x m; the rows are BLAS calls (bench/shapes/gemm.json)."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        # Column-major C = op(A) op(B) is, row by row, C^T = op(B)^T op(A)^T: B holds the rows of x,
        # A the weight.
        m, n, k = row["m"], row["n"], row["k"]
        x = rng.standard_normal((k, n) if row.get("trans_b") else (n, k), dtype=np.float32)
        w = rng.standard_normal((m, k) if row.get("trans_a") else (k, m), dtype=np.float32)
        return {
            "a": x.T if row.get("trans_b") else x,
            "b": w.T if row.get("trans_a") else w,
            "tensors": row.get("tensors", False),
        }

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        a, b = inputs["a"], inputs["b"]
        rows = few_rows(a)
        some, other = a[rows].astype(np.float64), b.astype(np.float64)
        assert_close(np.asarray(result)[rows], some @ other, 32 * U * (np.abs(some) @ np.abs(other)))

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        m, n, k = row["m"], row["n"], row["k"]
        return 2.0 * m * n * k, 4.0 * (m * k + k * n + m * n)


class MatmulInteger:
    """A product of bytes with int32 sums; the weight is signed, and `dtype` is that of the samples."""

    peak = "gops_i8"

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        info = np.iinfo(row["dtype"])
        x = rng.integers(info.min, info.max, (row["n"], row["k"]), dtype=row["dtype"], endpoint=True)
        w = rng.integers(-128, 127, (row["m"], row["k"]), dtype=np.int8, endpoint=True)
        return {"a": x, "b": w.T if row.get("trans_a") else np.ascontiguousarray(w.T)}

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        rows = few_rows(inputs["a"])
        expected = inputs["a"][rows].astype(np.float64) @ inputs["b"].astype(np.float64)
        assert_close(np.asarray(result)[rows], expected, 0.0)

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        m, n, k = row["m"], row["n"], row["k"]
        return 2.0 * m * n * k, 1.0 * (m * k + k * n + 4 * m * n)


class Map:
    """One output element per input element."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        x = rng.standard_normal(row["shape"], dtype=np.float32)
        if row["op"] in ("log", "sqrt"):
            x = np.abs(x) + np.float32(1e-3)
        made = {"op": row["op"], "x": x}
        if row["op"] in reference.BINARY:
            shape = row.get("other", row["shape"])
            made["y"] = rng.standard_normal(shape, dtype=np.float32)
        return made

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        got, x = np.asarray(result), inputs["x"]
        assert got.shape == x.shape, f"expected shape {x.shape}, got {got.shape}"
        # Of a long vector about a million elements: the reference takes a microsecond for each.
        some = slice(None, None, max(1, len(x) >> 20))
        y = [inputs["y"][some] if inputs["y"].shape == x.shape else inputs["y"]] if "y" in inputs else []
        expected = reference.MAPS[inputs["op"]](*(a.astype(np.float64) for a in (x[some], *y)))
        assert_close(got[some], expected, 1e-5 * np.abs(expected) + 2e-6)

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        arrays = 3 if row["op"] in reference.BINARY and "other" not in row else 2
        return 0.0, 4.0 * arrays * elements(row)


class Reduce:
    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        return {
            "op": row["op"],
            "x": rng.standard_normal(row["shape"], dtype=np.float32),
            "axis": row["axis"],
        }

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        x, axis = inputs["x"].astype(np.float64), inputs["axis"]
        bound = 32 * U * np.maximum(np.abs(x).sum(axis), (x * x).sum(axis))
        assert_close(result, np.asarray(reference.REDUCTIONS[inputs["op"]](x, axis), dtype=np.float64), bound)

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        return 0.0, 4.0 * elements(row)


class Softmax:
    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        rows, columns = row["shape"]
        return {
            "op": row["op"],
            "x": rng.standard_normal((rows, columns), dtype=np.float32) * 3,
            "labels": rng.integers(0, columns, rows),
            "mask": rng.random((rows, columns), dtype=np.float32) < 0.8,
        }

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        if inputs["op"] == "cross_entropy":
            rows = zip(inputs["x"], inputs["labels"], strict=True)
            expected = -np.mean([reference.log_softmax(x.astype(np.float64))[label] for x, label in rows])
            return assert_close(result, np.asarray(expected), 1e-5 * abs(expected))
        some, got = few_rows(inputs["x"]), np.asarray(result)
        x, labels = inputs["x"][some].astype(np.float64), inputs["labels"][some]
        assert got.shape == inputs["x"].shape, f"expected shape {inputs['x'].shape}, got {got.shape}"
        expected = reference.log_softmax(np.where(inputs["mask"][some], x, -np.inf) if "mask" in inputs["op"] else x)
        if inputs["op"] != "log_softmax":
            expected = np.exp(expected)
        if inputs["op"] == "cross_entropy_training":
            expected[np.arange(len(some)), labels] -= 1
            expected /= len(got)
            return assert_close(got[some], expected, 1e-5 * np.abs(expected) + 2e-7 / len(got))
        assert_close(got[some], expected, 1e-5 * np.abs(expected) + 2e-7)

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        arrays = {"cross_entropy": 1, "cross_entropy_training": 3, "masked_softmax": 2.25}
        return 0.0, 4.0 * elements(row) * arrays.get(row["op"], 2)


class Update:
    """One optimizer step over a list of tensors; the result is their new values, joined."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        def tensors() -> list[np.ndarray]:
            return [rng.standard_normal(row["size"], dtype=np.float32) for _ in range(row["tensors"])]

        return {"op": row["op"], "params": tensors(), "grads": tensors(), "lr": 1e-3}

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        before = np.concatenate(inputs["params"]).astype(np.float64)
        grad = np.concatenate(inputs["grads"]).astype(np.float64)
        expected = reference.first_step(inputs["op"], before, grad, inputs["lr"])
        assert_close(result, expected, 4 * U * (np.abs(before) + inputs["lr"] * (1 + np.abs(grad))))

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        # Read: parameter, gradient, state. Written: parameter, state.
        state = 1 if row["op"] == "sgd" else 2
        return 0.0, 4.0 * row["size"] * row["tensors"] * (3 + 2 * state)

    @staticmethod
    def footprint(row: Inputs) -> float:
        return 4.0 * row["size"] * row["tensors"] * (3 if row["op"] == "sgd" else 4)


class Network:
    """A network, one of bench/networks.py or a dense one with ReLU: train it for a step, or predict with it."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        layers, shape = network(row, rng)
        x = rng.standard_normal((row["batch"], *shape), dtype=np.float32)
        if row.get("loss") == "cross_entropy":
            y = rng.integers(0, networks.classes(layers), row["batch"])
        else:
            y = rng.standard_normal((row["batch"], networks.classes(layers)), dtype=np.float32)
        options = {k: row.get(k) for k in ("loss", "optimizer", "lr", "compiled")}
        return {"layers": layers, "x": x, "y": y, **options}

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        """`result` is the output of a prediction, or the list of the losses of the first steps."""
        if inputs["optimizer"] is None:
            expected = networks.predict(inputs["layers"], inputs["x"].astype(np.float64))
            scale = np.abs(expected).max() if inputs["x"].ndim == 4 else 1.0
            return assert_close(result, expected, 1e-5 * np.abs(expected) + 1e-5 * scale)
        expected = np.asarray(reference.losses(inputs, steps=len(result)))
        assert_close(result, expected, 1e-4 * expected)

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        layers, shape = network(row, np.random.default_rng(0))
        size = shape[:2] if len(shape) == 3 else (shape[0] if len(shape) == 2 else 1, 1)
        flops = networks.flops(layers, *size)[0]
        # Training: forward, and two products backward but for the first layer's input.
        if row.get("optimizer"):
            flops = 3 * flops - networks.flops(layers[:1], *size)[0]
        return row["batch"] * flops, 4.0 * sum(a.size for arrays in networks.weights(layers) for a in arrays.values())


def network(row: Inputs, rng: np.random.Generator) -> tuple[list[Any], tuple[int, ...]]:
    """The layers of a row, and the shape of a sample."""
    return networks.build(row["model"], rng) if "model" in row else (dense(row["sizes"], rng), (row["sizes"][0],))


def dense(sizes: list[int], rng: np.random.Generator) -> list[Any]:
    layers: list[Any] = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        bound = fan_in**-0.5
        weight = rng.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32)
        act = "relu" if len(layers) + 2 < len(sizes) else None
        layers.append(networks.Dense(weight, rng.uniform(-bound, bound, fan_out).astype(np.float32), act))
    return layers


OPS: dict[str, Any] = {"matmul": Matmul, "matmul_integer": MatmulInteger, "train": Network, "predict": Network}
OPS |= dict.fromkeys(reference.MAPS, Map)
OPS |= dict.fromkeys(reference.REDUCTIONS, Reduce)
OPS |= dict.fromkeys(("softmax", "log_softmax", "masked_softmax", "cross_entropy", "cross_entropy_training"), Softmax)
OPS |= dict.fromkeys(normalization.OPS, normalization.Normalization)
OPS |= dict.fromkeys(("sgd", "adam"), Update) | dict.fromkeys(convolution.OPS, convolution.Convolution)
OPS |= dict.fromkeys(recurrence.OPS, recurrence.Recurrence) | attending.CLASSES | transformer_ops.CLASSES
