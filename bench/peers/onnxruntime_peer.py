"""ONNX Runtime: one small graph per row, weights constant (so that it may pack them once)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import networks
import normalization
import recurrence
from recurrence import OPS as RECURRENT

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
    opset: int = 20,
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
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset < 23 else 11)
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


def masked_softmax(inputs: Inputs) -> Any:
    nodes = [helper.make_node("Where", ["mask", "x", "low"], ["kept"]), helper.make_node("Softmax", ["kept"], ["out"])]
    return _session(nodes, {k: inputs[k] for k in ("x", "mask")}, {"low": np.array(-np.inf, np.float32)})


def layer_norm(inputs: Inputs) -> Any:
    names = ["x", "w", "b"]
    node = helper.make_node("LayerNormalization", names, ["out"], axis=1, epsilon=normalization.EPS)
    return _session([node], {"x": inputs["x"]}, {k: inputs[k] for k in names[1:]})


# Gates in ONNX's order, by their places in PyTorch's.
GATES = {"rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}


def recurrent_arrays(layer: Any) -> list[np.ndarray]:
    """Weights and biases as ONNX wants them, with an axis for the directions."""

    def ordered(a: np.ndarray) -> np.ndarray:
        return np.concatenate([a.reshape(-1, layer.units, *a.shape[1:])[i] for i in GATES[layer.kind]])

    w, r, b_ih, b_hh = (ordered(a) for a in layer.arrays)
    return [w[None], r[None], np.concatenate([b_ih, b_hh])[None]]


def recurrent_node(layer: Any, names: list[str], outputs: list[str]) -> Any:
    """A layer over (T, N, C) with result (T, 1, N, H)."""
    options = {"rnn": {"activations": ["Relu"]}, "gru": {"linear_before_reset": 1}}.get(layer.kind, {})
    return helper.make_node(layer.kind.upper(), names, outputs, hidden_size=layer.units, **options)


def recurrent(inputs: Inputs) -> Any:
    if inputs["op"] == "recurrent_training":
        return None
    names = ["w", "r", "b"]
    node = recurrent_node(inputs["layer"], ["x", *names], ["out"])
    constants = dict(zip(names, recurrent_arrays(inputs["layer"]), strict=True))
    return _session([node], {"x": inputs["x"].transpose(1, 0, 2)}, constants), lambda y: y[:, 0].transpose(1, 0, 2)


class Graph:
    """The nodes and constants of a network, with channels first."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, kind: str, *inputs: str, **options: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **options))
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def act(self, x: str, act: str | None) -> str:
        if act == "relu6":
            return self.add("Clip", x, *(self.constant(np.array(v, np.float32)) for v in (0, 6)))
        return self.add("Relu", x) if act else x

    def layer(self, node: Any, x: str) -> str:
        if isinstance(node, networks.Dense):
            return self.act(self.add("Gemm", x, *map(self.constant, (node.weight, node.bias)), transB=1), node.act)
        if isinstance(node, networks.Conv):
            weights = map(self.constant, (node.weight.transpose(0, 3, 1, 2), node.bias))
            pads, strides = [node.pad] * 4, [node.stride] * 2
            return self.act(self.add("Conv", x, *weights, strides=strides, pads=pads, group=node.groups), node.act)
        if isinstance(node, networks.MaxPool):
            pads, strides = [node.pad] * 4, [node.stride] * 2
            return self.add("MaxPool", x, kernel_shape=[node.size] * 2, strides=strides, pads=pads)
        if isinstance(node, recurrence.Layer):
            return self.recurrent(node, x)
        if isinstance(node, networks.SelfAttention):
            scores = self.add("MatMul", x, self.add("Transpose", x, perm=[0, 2, 1]))
            return self.add("MatMul", self.add("Softmax", scores), x)
        if isinstance(node, networks.Residual):
            return self.act(self.add("Add", self.layers(node.body, x), self.layers(node.shortcut, x)), node.act)
        if isinstance(node, networks.Mean):
            return self.add("Flatten", self.add("GlobalAveragePool", x))
        return self.add("Flatten", x if len(node.shape) < 3 else self.add("Transpose", x, perm=[0, 2, 3, 1]))

    def recurrent(self, node: Any, x: str) -> str:
        names = [self.add("Transpose", x, perm=[1, 0, 2]), *map(self.constant, recurrent_arrays(node))]
        y = f"v{len(self.nodes)}"
        self.nodes.append(recurrent_node(node, names, [y, y + "h"]))
        if node.last:
            return self.add("Squeeze", y + "h", self.constant(np.array([0])))
        return self.add("Squeeze", self.add("Transpose", y, perm=[2, 0, 1, 3]), self.constant(np.array([2])))

    def layers(self, nodes: Any, x: str) -> str:
        for node in nodes:
            x = self.layer(node, x)
        return x


def predict(inputs: Inputs) -> Any:
    graph, x = Graph(), inputs["x"]
    graph.nodes.append(helper.make_node("Identity", [graph.layers(inputs["layers"], "x")], ["out"]))
    return _session(graph.nodes, {"x": x.transpose(0, 3, 1, 2) if x.ndim == 4 else x}, graph.constants)


def convolution(inputs: Inputs) -> Any:
    x, w = (np.ascontiguousarray(inputs[k].transpose(0, 3, 1, 2)) for k in ("x", "w"))
    pads = list(inputs["pad"]) * 2
    node = helper.make_node("Conv", ["x", "w"], ["out"], strides=inputs["stride"], pads=pads, group=inputs["groups"])
    return _session([node], {"x": x}, {"w": w}), lambda y: y.transpose(0, 2, 3, 1)


def attention(inputs: Inputs) -> Any:
    """In float32: the older op where it is the faster one, with several queries and as many heads of keys."""
    if inputs["op"] != "attention":
        raise NotImplementedError
    heads, groups = inputs["q"].shape[2], inputs["k"].shape[2]
    arrays = {name: inputs[name].reshape(*inputs[name].shape[:2], -1) for name in ("q", "k", "v")}
    if heads == groups and inputs["q"].shape[1] > 1:
        options = {"num_heads": heads, "unidirectional": int(inputs["causal"])}
        node = helper.make_node("MultiHeadAttention", list(arrays), ["out"], domain="com.microsoft", **options)
    else:
        options = {"q_num_heads": heads, "kv_num_heads": groups, "is_causal": int(inputs["causal"])}
        node = helper.make_node("Attention", list(arrays), ["out"], **options)
    return _session([node], arrays, {}, opset=23), lambda y: y.reshape(inputs["q"].shape)


def build(op: str) -> Callable[[Inputs], Any] | None:
    table = {"matmul": matmul, "matmul_integer": matmul_integer, "predict": predict, "conv": convolution}
    table |= {"masked_softmax": masked_softmax, "layer_norm": layer_norm}
    table |= dict.fromkeys(MAPS, map_) | dict.fromkeys(RECURRENT, recurrent)
    table |= {"attention": attention}
    return table.get(op)
