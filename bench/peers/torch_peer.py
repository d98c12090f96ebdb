"""PyTorch, eager; its BLAS is MKL on x86."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import networks
import normalization
import recurrence
from attending import OPS as ATTENTIONS
from convolution import OPS as CONVOLUTIONS
from peers import torch_attending
from recurrence import OPS as RECURRENT
from transforming import DECAY

Inputs = dict[str, Any]

MAPS: dict[str, Callable[..., Any]] = {
    "relu": torch.relu,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "add": torch.add,
    "mul": torch.mul,
    "swiglu": lambda x, y: F.silu(x) * y,
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
}
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": torch.sum,
    "mean": torch.mean,
    "max": torch.amax,
    "var": lambda x, axis: torch.var(x, axis, correction=0),
    "argmax": torch.argmax,
}
LOSSES: dict[str, Callable[..., Any]] = {"mse": F.mse_loss, "cross_entropy": F.cross_entropy}
OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": partial(torch.optim.AdamW, weight_decay=DECAY),
}


def setup(threads: int) -> None:
    torch.set_num_threads(threads)


def matmul(inputs: Inputs) -> Any:
    a, b = torch.from_numpy(inputs["a"]), torch.from_numpy(inputs["b"])
    matmul = torch.matmul
    return lambda: matmul(a, b)


def matmul_integer(inputs: Inputs) -> Any:
    """The only product of bytes with int32 results that PyTorch has takes signed ones."""
    if inputs["a"].dtype != np.int8:
        return None
    a, b = torch.from_numpy(inputs["a"]), torch.from_numpy(inputs["b"])
    return lambda: torch._int_mm(a, b)


def map_(inputs: Inputs) -> Any:
    fn = MAPS[inputs["op"]]
    arguments = [torch.from_numpy(inputs[k]) for k in ("x", "y") if k in inputs]
    return lambda: fn(*arguments)


def reduce(inputs: Inputs) -> Any:
    fn, x, axis = REDUCTIONS[inputs["op"]], torch.from_numpy(inputs["x"]), inputs["axis"]
    if axis is None:
        return lambda: fn(x)
    return lambda: fn(x, axis)


def cross_entropy(inputs: Inputs) -> Any:
    x, labels = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["labels"])
    return lambda: F.cross_entropy(x, labels)


def masked_softmax(inputs: Inputs) -> Any:
    x, masked = torch.from_numpy(inputs["x"]), torch.from_numpy(~inputs["mask"])
    return lambda: torch.softmax(x.masked_fill(masked, -torch.inf), -1)


def cross_entropy_training(inputs: Inputs) -> Any:
    x, labels = torch.from_numpy(inputs["x"]).requires_grad_(), torch.from_numpy(inputs["labels"])
    return lambda: torch.autograd.grad(F.cross_entropy(x, labels), x)[0]


def normalize(inputs: Inputs) -> Any:
    x, r, g, w, b = (torch.from_numpy(inputs[k]) for k in ("x", "r", "g", "w", "b"))
    n, eps, rms = w.shape, normalization.EPS, inputs["op"].startswith("rms")

    def added() -> Any:
        with torch.inference_mode():
            total = x + r
            return F.layer_norm(total, n, w, b, eps), total

    def forward() -> Any:
        with torch.inference_mode():
            return F.rms_norm(x, n, w, eps) if rms else F.layer_norm(x, n, w, b, eps)

    if inputs["op"] == "add_layer_norm":
        return added, lambda found: torch.cat(found, 1).numpy()
    if not inputs["op"].endswith("_training"):
        return forward
    leaves = [a.requires_grad_() for a in ((x, w) if rms else (x, w, b))]

    def training() -> Any:
        y = F.rms_norm(x, n, w, eps) if rms else F.layer_norm(x, n, w, b, eps)
        return torch.autograd.grad(y, leaves, g)[0]

    return training


def update(inputs: Inputs) -> Any:
    """The fused implementation: the fastest that PyTorch has."""
    params = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in inputs["params"]]
    for p, g in zip(params, inputs["grads"], strict=True):
        p.grad = torch.from_numpy(g.copy())
    if inputs["op"] == "sgd":
        optimizer: Any = torch.optim.SGD(params, lr=inputs["lr"], momentum=0.9, fused=True)
    else:
        optimizer = torch.optim.Adam(params, lr=inputs["lr"], fused=True)
    return optimizer.step, lambda _: torch.cat([p.detach() for p in params]).numpy()


def convolution(inputs: Inputs, layout: Any = torch.contiguous_format) -> Any:
    """Images and filters with channels first, in memory as the layout says."""
    x, w, g = (
        torch.from_numpy(inputs[k]).permute(0, 3, 1, 2).contiguous(memory_format=layout) for k in ("x", "w", "g")
    )
    stride, pad, groups = inputs["stride"], inputs["pad"], inputs["groups"]
    which = {"conv_input_gradient": 0, "conv_weight_gradient": 1}.get(inputs["op"])
    mask, backward = [i == which for i in range(3)], torch.ops.aten.convolution_backward

    def forward() -> Any:
        with torch.inference_mode():
            return torch.conv2d(x, w, None, stride, pad, 1, groups)

    def gradient() -> Any:
        with torch.inference_mode():
            return backward(g, x, w, None, stride, pad, [1, 1], False, [0, 0], groups, mask)[which]

    return (forward if which is None else gradient), lambda y: y.permute(0, 2, 3, 1).numpy()


def recurrent(inputs: Inputs) -> Any:
    """One layer; in training the gradients of its weights, of which the recurrent one's is read."""
    x, g, weights = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["g"]), inputs["layer"]
    layer = recurrent_layer(weights)

    def forward() -> Any:
        with torch.inference_mode():
            return layer(x)[0]

    def training() -> Any:
        layer.zero_grad()
        layer(x)[0].backward(g)
        return layer.weight_hh_l0.grad

    return (training if inputs["op"] == "recurrent_training" else forward), lambda y: y.numpy()


def recurrent_layer(weights: Any) -> Any:
    options = {"nonlinearity": "relu"} if weights.kind == "rnn" else {}
    layer = getattr(torch.nn, weights.kind.upper())(weights.w_ih.shape[1], weights.units, batch_first=True, **options)
    with torch.no_grad():
        for parameter, a in zip(layer.parameters(), weights.arrays, strict=True):
            parameter.copy_(torch.from_numpy(a))
    return layer


ACTIVATIONS: dict[str | None, Callable[..., Any]] = {"relu": F.relu, "relu6": F.relu6, None: lambda x: x}


def attend(x: Any) -> Any:
    return torch.softmax(x @ x.transpose(1, 2), -1) @ x


class Network(torch.nn.Module):
    """Layers of bench/networks.py, with channels first."""

    def __init__(self, nodes: Any) -> None:
        super().__init__()
        self.steps: list[Callable[..., Any]] = []
        shape: Any = None  # of an image that was flattened, whose channels came last
        for node in nodes:
            if isinstance(node, (networks.Dense, networks.Conv)):
                self.steps.append(self.weighted(node, shape))
            elif isinstance(node, networks.MaxPool):
                self.steps.append(self.keep(torch.nn.MaxPool2d(node.size, node.stride, node.pad)))
            elif isinstance(node, recurrence.Layer):
                self.steps.append(self.recurrent(node))
            elif isinstance(node, networks.SelfAttention):
                self.steps.append(attend)
            elif isinstance(node, networks.Residual):
                self.steps.append(self.residual(node))
            else:
                pools = isinstance(node, networks.Mean)
                self.steps.append((lambda x: x.mean((2, 3))) if pools else torch.nn.Flatten())
            shape = getattr(node, "shape", None)

    def keep(self, module: Any) -> Any:
        self.add_module(str(len(self._modules)), module)
        return module

    def weighted(self, node: Any, shape: Any) -> Callable[..., Any]:
        weight = node.weight
        if isinstance(node, networks.Conv):
            size, channels = weight.shape[1], weight.shape[3] * node.groups
            made: Any = torch.nn.Conv2d(channels, len(weight), size, node.stride, node.pad, groups=node.groups)
            weight = weight.transpose(0, 3, 1, 2)
        else:
            made = torch.nn.Linear(weight.shape[1], weight.shape[0])
            if shape is not None and len(shape) == 3:
                weight = weight.reshape(-1, *shape).transpose(0, 3, 1, 2).reshape(weight.shape)
        with torch.no_grad():
            made.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
            made.bias.copy_(torch.from_numpy(node.bias))
        self.keep(made)
        act = ACTIVATIONS[node.act]
        return lambda x: act(made(x))

    def recurrent(self, node: Any) -> Callable[..., Any]:
        layer, last = self.keep(recurrent_layer(node)), -1 if node.last else slice(None)
        return lambda x: layer(x)[0][:, last]

    def residual(self, node: Any) -> Callable[..., Any]:
        body, shortcut, act = self.keep(Network(node.body)), self.keep(Network(node.shortcut)), ACTIVATIONS[node.act]
        return lambda x: act(body(x) + shortcut(x))

    def forward(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x


def network(inputs: Inputs, layout: Any) -> tuple[Any, Any]:
    """The network and what it takes: images with channels first, in memory as the layout says."""
    model, x = Network(inputs["layers"]), inputs["x"]
    if x.ndim != 4:
        return model, lambda: torch.from_numpy(x)
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    return model.to(memory_format=layout), lambda: images


def training(
    inputs: Inputs,
    compiled: Callable[..., Any],
    layout: Any = torch.contiguous_format,
    network: Callable[..., Any] = network,
    **options: Any,
) -> Any:
    """Training steps of a network and its loss, as `compiled` makes them; the options are the optimizer's."""
    (model, x), y = network(inputs, layout), inputs["y"]
    loss_fn = LOSSES[inputs["loss"]]
    optimizer = OPTIMIZERS[inputs["optimizer"]](model.parameters(), lr=inputs["lr"], **options)
    forward = compiled(lambda x, y: loss_fn(model(x), y))

    def step() -> Any:
        loss = forward(x(), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, lambda loss: loss.item()


def prediction(inputs: Inputs, compiled: Callable[..., Any], layout: Any = torch.contiguous_format) -> Any:
    model, x = network(inputs, layout)
    model = compiled(model.eval())

    def call() -> Any:
        with torch.inference_mode():
            return model(x()).numpy()

    return call


def eager(fn: Any) -> Any:
    return fn


def build(op: str) -> Callable[[Inputs], Any] | None:
    table = {
        "matmul": matmul,
        "matmul_integer": matmul_integer,
        "train": partial(training, compiled=eager),
        "predict": partial(prediction, compiled=eager),
        "cross_entropy": cross_entropy,
        "cross_entropy_training": cross_entropy_training,
        "masked_softmax": masked_softmax,
        "train_transformer": partial(training, compiled=eager, network=torch_attending.network),
        "generate": torch_attending.generate,
    }
    table |= dict.fromkeys(normalization.OPS, normalize)
    table |= dict.fromkeys(CONVOLUTIONS, convolution) | dict.fromkeys(RECURRENT, recurrent)
    table |= dict.fromkeys(MAPS, map_) | dict.fromkeys(REDUCTIONS, reduce) | dict.fromkeys(("sgd", "adam"), update)
    table |= dict.fromkeys(ATTENTIONS, torch_attending.attention)
    return table.get(op)
