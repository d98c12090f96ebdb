"""mlext itself: ndarrays in and out, or Tensors where the row says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import mlext as ml
import networks
import normalization
import recurrence
from attending import OPS as ATTENTIONS
from convolution import OPS as CONVOLUTIONS
from mlext import functional as F
from peers import mlext_attending
from recurrence import OPS as RECURRENT
from transforming import DECAY

Inputs = dict[str, Any]

MAPS: dict[str, Callable[..., Any]] = {
    "relu": F.relu,
    "exp": F.exp,
    "log": F.log,
    "sqrt": F.sqrt,
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, "tanh"),
    "silu": F.silu,
    "add": F.add,
    "mul": F.mul,
    "swiglu": F.swiglu,
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
}
REDUCTIONS = {"sum": F.sum, "mean": F.mean, "max": F.max, "var": F.var, "argmax": F.argmax}


def setup(threads: int) -> None:
    ml.set_num_threads(threads)


def matmul(inputs: Inputs) -> Any:
    a, b = inputs["a"], inputs["b"]
    if inputs["tensors"]:
        a, b = ml.tensor(a), ml.tensor(b)
    matmul = F.matmul
    return lambda: matmul(a, b)


def matmul_integer(inputs: Inputs) -> Any:
    # Tensors, so that the weight is packed once, as ONNX Runtime does with its constants.
    a, b = ml.tensor(inputs["a"]), ml.tensor(inputs["b"])
    return lambda: F.matmul_integer(a, b)


def map_(inputs: Inputs) -> Any:
    fn, arguments = MAPS[inputs["op"]], [inputs[k] for k in ("x", "y") if k in inputs]
    return lambda: fn(*arguments)


def reduce(inputs: Inputs) -> Any:
    fn, x, axis = REDUCTIONS[inputs["op"]], inputs["x"], inputs["axis"]
    return lambda: fn(x, axis)


def cross_entropy(inputs: Inputs) -> Any:
    x, labels, loss = inputs["x"], inputs["labels"], ml.losses.cross_entropy
    return lambda: loss(x, labels)


def masked_softmax(inputs: Inputs) -> Any:
    x, mask = inputs["x"], inputs["mask"]
    return lambda: F.softmax(x, mask=mask)


def cross_entropy_training(inputs: Inputs) -> Any:
    x, labels = ml.tensor(inputs["x"], requires_grad=True), ml.tensor(inputs["labels"])

    def call() -> Any:
        x.grad = None
        ml.losses.cross_entropy(x, labels).backward()
        return x.grad

    return call


def normalize(inputs: Inputs) -> Any:
    """ndarrays; in training Tensors."""
    x, r, g, w, b = (inputs[k] for k in ("x", "r", "g", "w", "b"))
    n, eps, rms = len(w), normalization.EPS, inputs["op"].startswith("rms")
    if inputs["op"] == "add_layer_norm":
        return (lambda: F.add_layer_norm(x, r, n, w, b, eps)), lambda found: np.concatenate(found, 1)
    if not inputs["op"].endswith("_training"):
        return lambda: F.rms_norm(x, n, w, eps) if rms else F.layer_norm(x, n, w, b, eps)
    x, w, b = (ml.tensor(a, requires_grad=True) for a in (x, w, b))
    g = ml.tensor(g)

    def call() -> Any:
        x.grad = w.grad = b.grad = None
        (F.rms_norm(x, n, w, eps) if rms else F.layer_norm(x, n, w, b, eps)).backward(g)
        return x.grad

    return call


def update(inputs: Inputs) -> Any:
    params = [ml.Parameter(ml.tensor(p)) for p in inputs["params"]]
    for p, g in zip(params, inputs["grads"], strict=True):
        p.grad = ml.tensor(g)
    if inputs["op"] == "sgd":
        optimizer: Any = ml.optim.SGD(params, lr=inputs["lr"], momentum=0.9)
    else:
        optimizer = ml.optim.Adam(params, lr=inputs["lr"])
    return optimizer.step, lambda _: np.concatenate([p.detach().numpy() for p in params])


class Recurrent(ml.nn.Module):
    """h of all steps, or of the last."""

    def __init__(self, node: Any) -> None:
        options = {"nonlinearity": "relu"} if node.kind == "rnn" else {}
        self.layer = getattr(ml.nn, node.kind.upper())(node.w_ih.shape[1], node.units, **options)
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        self.layer.load_state_dict(dict(zip(names, node.arrays, strict=True)))
        self.last = ml.nn.LastStep() if node.last else None

    def forward(self, x: Any) -> Any:
        found = self.layer(x)
        return self.last(found) if self.last else found[0]


def attend(x: Any) -> Any:
    return F.matmul(F.softmax(F.matmul(x, F.permute(x, (0, 2, 1)))), x)


def modules(node: Any) -> list[Any]:
    nn, weights = ml.nn, {"weight": getattr(node, "weight", None), "bias": getattr(node, "bias", None)}
    if isinstance(node, networks.Dense):
        made: Any = nn.Linear(node.weight.shape[1], node.weight.shape[0])
    elif isinstance(node, networks.Conv):
        channels, options = node.weight.shape[3] * node.groups, {"stride": node.stride, "padding": node.pad}
        made = nn.Conv2d(channels, node.weight.shape[0], node.weight.shape[1], groups=node.groups, **options)
    elif isinstance(node, networks.MaxPool):
        return [nn.MaxPool2d(node.size, node.stride, node.pad)]
    elif isinstance(node, recurrence.Layer):
        return [Recurrent(node)]
    elif isinstance(node, networks.SelfAttention):
        return [nn.Lambda(attend)]
    elif isinstance(node, networks.Residual):
        shortcut = sequential(node.shortcut) if node.shortcut else None
        return [nn.Residual(sequential(node.body), shortcut=shortcut, activation=node.act)]
    else:
        return [nn.GlobalAvgPool2d() if isinstance(node, networks.Mean) else nn.Flatten()]
    made.load_state_dict(weights)
    return [made, {"relu": nn.ReLU, "relu6": nn.ReLU6}[node.act]()] if node.act else [made]


def sequential(nodes: Any) -> Any:
    return ml.nn.Sequential(*(module for node in nodes for module in modules(node)))


def network(inputs: Inputs) -> Any:
    return sequential(inputs["layers"])


def train(inputs: Inputs, network: Callable[[Inputs], Any] = network) -> Any:
    model, x, y = network(inputs), inputs["x"], inputs["y"]
    loss_fn = getattr(ml.losses, inputs["loss"])
    adamw = partial(ml.optim.AdamW, weight_decay=DECAY)
    make = {"sgd": ml.optim.SGD, "adam": ml.optim.Adam, "adamw": adamw}[inputs["optimizer"]]
    optimizer = make(model.parameters(), lr=inputs["lr"])

    def step(x: Any, y: Any) -> Any:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    if inputs["compiled"]:
        step = ml.compile(step)
    return (lambda: step(x, y)), lambda loss: loss.item()


def predict(inputs: Inputs) -> Any:
    model, x = network(inputs), inputs["x"]
    return lambda: model.predict(x)


def convolution(inputs: Inputs) -> Any:
    """Tensors, so that a filter is packed once; gradients by the kernels that the tape calls."""
    x, w, g = (ml.tensor(inputs[k]) for k in ("x", "w", "g"))
    stride, pad, groups = inputs["stride"], inputs["pad"], inputs["groups"]
    geometry = (*stride, *pad, *pad, 1, 1)
    if inputs["op"] == "conv":
        return (lambda: F.conv2d(x, w, None, stride, pad, 1, groups)), lambda y: y.numpy()
    if inputs["op"] == "conv_input_gradient":
        return (lambda: ml._C.conv2d_input_gradient(g, w, x.shape, geometry, groups)), lambda y: y.numpy()
    return (lambda: ml._C.conv2d_weight_gradient(g, x, w.shape, geometry, groups)), lambda y: y.numpy()


def recurrent(inputs: Inputs) -> Any:
    """One layer; in training the gradients of its weights, of which the recurrent one's is read."""
    x, g, weights = ml.tensor(inputs["x"]), ml.tensor(inputs["g"]), inputs["layer"]
    trains, options = inputs["op"] == "recurrent_training", {"nonlinearity": "relu"} if weights.kind == "rnn" else {}
    layer = getattr(F, weights.kind)
    parameters = [ml.Parameter(ml.tensor(a), requires_grad=trains) for a in weights.arrays]

    def forward() -> Any:
        return layer(x, None, *parameters, **options)[0]

    def training() -> Any:
        for p in parameters:
            p.grad = None
        forward().backward(g)
        return parameters[1].grad

    return (training if trains else forward), lambda y: y.numpy()


def build(op: str) -> Callable[[Inputs], Any] | None:
    table = {
        "matmul": matmul,
        "matmul_integer": matmul_integer,
        "train": train,
        "predict": predict,
        "cross_entropy": cross_entropy,
        "cross_entropy_training": cross_entropy_training,
        "masked_softmax": masked_softmax,
        "train_transformer": partial(train, network=mlext_attending.network),
        "generate": mlext_attending.generate,
    }
    table |= dict.fromkeys(normalization.OPS, normalize)
    table |= dict.fromkeys(CONVOLUTIONS, convolution) | dict.fromkeys(RECURRENT, recurrent)
    table |= dict.fromkeys(MAPS, map_) | dict.fromkeys(REDUCTIONS, reduce) | dict.fromkeys(("sgd", "adam"), update)
    table |= dict.fromkeys(ATTENTIONS, mlext_attending.attention)
    return table.get(op)
