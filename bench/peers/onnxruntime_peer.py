"""ONNX Runtime: one small graph per row, weights constant (so that it may pack them once)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Inputs = dict[str, Any]

MAPS = {
    "relu": "Relu",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "gelu": "Gelu",
    "add": "Add",
    "mul": "Mul",
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
}
_threads = 1


def setup(threads: int) -> None:
    global _threads
    _threads = threads


def _session(
    nodes: list[Any],
    inputs: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
    out: int = TensorProto.FLOAT,
) -> Any:
    """A call that feeds `inputs` and returns the output `out` of the last node."""
    graph = helper.make_graph(
        nodes,
        "row",
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in inputs.items()
        ],
        [helper.make_tensor_value_info("out", out, None)],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    run, feed = session.run, {k: np.ascontiguousarray(v) for k, v in inputs.items()}
    return lambda: run(None, feed)[0]


def matmul(inputs: Inputs) -> Any:
    return _session([helper.make_node("MatMul", ["a", "b"], ["out"])], {"a": inputs["a"]}, {"b": inputs["b"]})


def matmul_integer(inputs: Inputs) -> Any:
    node = helper.make_node("MatMulInteger", ["a", "b"], ["out"])
    return _session([node], {"a": inputs["a"]}, {"b": inputs["b"]}, TensorProto.INT32)


def map_(inputs: Inputs) -> Any:
    arrays = {k: inputs[k] for k in ("x", "y") if k in inputs}
    return _session([helper.make_node(MAPS[inputs["op"]], list(arrays), ["out"])], arrays, {})


def predict(inputs: Inputs) -> Any:
    """Gemm nodes with Relu nodes between them."""
    nodes: list[Any] = []
    constants: dict[str, np.ndarray] = {}
    last = "x"
    for i, (weight, bias) in enumerate(inputs["layers"]):
        if i > 0:
            nodes.append(helper.make_node("Relu", [last], [f"h{i}"]))
            last = f"h{i}"
        constants |= {f"w{i}": weight, f"b{i}": bias}
        out = "out" if i + 1 == len(inputs["layers"]) else f"z{i}"
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [out], transB=1))
        last = out
    return _session(nodes, {"x": inputs["x"]}, constants)


def convolution(inputs: Inputs) -> Any:
    x, w = (np.ascontiguousarray(inputs[k].transpose(0, 3, 1, 2)) for k in ("x", "w"))
    pads = list(inputs["pad"]) * 2
    node = helper.make_node("Conv", ["x", "w"], ["out"], strides=inputs["stride"], pads=pads, group=inputs["groups"])
    return _session([node], {"x": x}, {"w": w}), lambda y: y.transpose(0, 2, 3, 1)


def build(op: str) -> Callable[[Inputs], Any] | None:
    table = {"matmul": matmul, "matmul_integer": matmul_integer, "predict": predict, "conv": convolution}
    table |= dict.fromkeys(MAPS, map_)
    return table.get(op)
