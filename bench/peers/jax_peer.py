"""JAX: everything under jit, results waited for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import networks
import normalization
import recurrence
from attending import OPS as ATTENTIONS
from convolution import OPS as CONVOLUTIONS
from peers import jax_attending
from recurrence import OPS as RECURRENT
from transforming import DECAY

Inputs = dict[str, Any]

MAPS: dict[str, Callable[..., Any]] = {
    "relu": jax.nn.relu,
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "silu": jax.nn.silu,
    "add": jnp.add,
    "mul": jnp.multiply,
    "swiglu": lambda x, y: jax.nn.silu(x) * y,
    "softmax": lambda x: jax.nn.softmax(x, -1),
    "log_softmax": lambda x: jax.nn.log_softmax(x, -1),
}
REDUCTIONS = {
    "sum": jnp.sum,
    "mean": jnp.mean,
    "max": jnp.max,
    "var": jnp.var,
    "argmax": jnp.argmax,
}


def setup(threads: int) -> None:
    """The environment of the process says how many threads (run.py)."""
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def _timed(fn: Callable[..., Any], *arrays: np.ndarray) -> Any:
    compiled, arguments = jax.jit(fn), [jnp.asarray(a) for a in arrays]
    return lambda: compiled(*arguments).block_until_ready()


def matmul(inputs: Inputs) -> Any:
    return _timed(jnp.matmul, inputs["a"], inputs["b"])


def map_(inputs: Inputs) -> Any:
    return _timed(MAPS[inputs["op"]], *[inputs[k] for k in ("x", "y") if k in inputs])


def reduce(inputs: Inputs) -> Any:
    fn, axis = REDUCTIONS[inputs["op"]], inputs["axis"]
    return _timed(lambda x: fn(x, axis), inputs["x"])


def correlate(x: Any, w: Any, stride: Any, pads: Any, groups: int) -> Any:
    """Channels last."""
    filters, names = jnp.transpose(w, (1, 2, 3, 0)), ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, filters, stride, pads, dimension_numbers=names, feature_group_count=groups)


def convolution(inputs: Inputs) -> Any:
    """Gradients are those that JAX derives."""

    def forward(x: Any, w: Any) -> Any:
        return correlate(x, w, inputs["stride"], [(p, p) for p in inputs["pad"]], inputs["groups"])

    x, w, g = (inputs[k] for k in ("x", "w", "g"))
    if inputs["op"] == "conv":
        return _timed(forward, x, w)
    if inputs["op"] == "conv_input_gradient":
        return _timed(lambda x, w, g: jax.vjp(lambda x: forward(x, w), x)[1](g)[0], x, w, g)
    return _timed(lambda x, w, g: jax.vjp(lambda w: forward(x, w), w)[1](g)[0], x, w, g)


def recurrent_layer(kind: str, arrays: Any, x: Any) -> Any:
    """h of all steps: a scan over them, after one product for the inputs of all."""
    w_ih, w_hh, b_ih, b_hh = arrays

    def step(state: Any, of_x: Any) -> Any:
        h, c = state
        r = h @ w_hh.T + b_hh
        if kind == "rnn":
            h = jax.nn.relu(of_x + r)
        elif kind == "lstm":
            i, f, g, o = jnp.split(of_x + r, 4, 1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        else:
            (a, b, n), (p, q, s) = jnp.split(of_x, 3, 1), jnp.split(r, 3, 1)
            z, n = jax.nn.sigmoid(b + q), jnp.tanh(n + jax.nn.sigmoid(a + p) * s)
            h = (1 - z) * n + z * h
        return (h, c), h

    first = jnp.zeros((x.shape[0], w_hh.shape[1]), x.dtype)
    of_x = jnp.swapaxes(x @ w_ih.T + b_ih, 0, 1)
    return jnp.swapaxes(jax.lax.scan(step, (first, first), of_x)[1], 0, 1)


def recurrent(inputs: Inputs) -> Any:
    weights = inputs["layer"]
    if inputs["op"] == "recurrent":
        return _timed(lambda x, *arrays: recurrent_layer(weights.kind, arrays, x), inputs["x"], *weights.arrays)

    def training(x: Any, g: Any, *arrays: Any) -> Any:
        return jax.vjp(lambda a: recurrent_layer(weights.kind, a, x), arrays)[1](g)[0]

    compiled, arguments = jax.jit(training), [jnp.asarray(a) for a in (inputs["x"], inputs["g"], *weights.arrays)]
    return (lambda: jax.block_until_ready(compiled(*arguments))), lambda gradients: gradients[1]


def mean_log_loss(logits: Any, labels: Any) -> Any:
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()


def cross_entropy(inputs: Inputs) -> Any:
    return _timed(mean_log_loss, inputs["x"], inputs["labels"])


def cross_entropy_training(inputs: Inputs) -> Any:
    return _timed(jax.grad(mean_log_loss), inputs["x"], inputs["labels"])


def masked_softmax(inputs: Inputs) -> Any:
    return _timed(lambda x, mask: jax.nn.softmax(jnp.where(mask, x, -jnp.inf), -1), inputs["x"], inputs["mask"])


def normalize(inputs: Inputs) -> Any:
    """All gradients of a training op are results; that of x is read."""
    x, r, g, w, b = (inputs[k] for k in ("x", "r", "g", "w", "b"))
    centred = not inputs["op"].startswith("rms")

    def norm(x: Any, w: Any, b: Any) -> Any:
        d = x - x.mean(1, keepdims=True) if centred else x
        y = d * jax.lax.rsqrt((d * d).mean(1, keepdims=True) + normalization.EPS) * w
        return y + b if centred else y

    if inputs["op"] == "add_layer_norm":
        added = jax.jit(lambda x, r, w, b: (norm(x + r, w, b), x + r))
        of_sum = [jnp.asarray(a) for a in (x, r, w, b)]
        return (lambda: jax.block_until_ready(added(*of_sum))), lambda found: np.concatenate(found, 1)
    if not inputs["op"].endswith("_training"):
        return _timed(norm, x, w, b)
    training = jax.jit(lambda g, *leaves: jax.vjp(norm, *leaves)[1](g))
    arguments = [jnp.asarray(a) for a in (g, x, w, b)]
    return (lambda: jax.block_until_ready(training(*arguments))), lambda gradients: gradients[0]


# Arrays are what a program is given; the rest is part of it.
LAYERS = (networks.MaxPool, networks.Mean, networks.Flatten, networks.SelfAttention, networks.Residual)
for kind in (networks.Dense, networks.Conv, recurrence.Layer, *LAYERS):
    fields = [f.name for f in dataclasses.fields(kind)]
    data = ("weight", "bias", "w_ih", "w_hh", "b_ih", "b_hh", "body", "shortcut")
    jax.tree_util.register_dataclass(kind, [f for f in fields if f in data], [f for f in fields if f not in data])

ACTIVATIONS = {"relu": jax.nn.relu, "relu6": jax.nn.relu6, None: lambda x: x}


def apply(layer: Any, x: Any) -> Any:
    if isinstance(layer, networks.Dense):
        return ACTIVATIONS[layer.act](x @ layer.weight.T + layer.bias)
    if isinstance(layer, networks.Conv):
        y = correlate(x, layer.weight, [layer.stride] * 2, [(layer.pad, layer.pad)] * 2, layer.groups)
        return ACTIVATIONS[layer.act](y + layer.bias)
    if isinstance(layer, networks.MaxPool):
        window, strides, pad = (
            (1, layer.size, layer.size, 1),
            (1, layer.stride, layer.stride, 1),
            (layer.pad, layer.pad),
        )
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, ((0, 0), pad, pad, (0, 0)))
    if isinstance(layer, networks.Mean):
        return x.mean((1, 2))
    if isinstance(layer, networks.Flatten):
        return x.reshape(len(x), -1)
    if isinstance(layer, networks.SelfAttention):
        return jax.nn.softmax(x @ jnp.swapaxes(x, 1, 2)) @ x
    if isinstance(layer, recurrence.Layer):
        y = recurrent_layer(layer.kind, layer.arrays, x)
        return y[:, -1] if layer.last else y
    return ACTIVATIONS[layer.act](forward(layer.body, x) + forward(layer.shortcut, x))


def forward(layers: Any, x: Any) -> Any:
    for layer in layers:
        x = apply(layer, x)
    return x


def sgd(lr: float, layers: Any, gradients: Any, state: Any) -> Any:
    return jax.tree.map(lambda p, g: p - lr * g, layers, gradients), state


def adam(lr: float, layers: Any, gradients: Any, state: Any) -> Any:
    """Kingma and Ba (2015), algorithm 1; JAX has no optimizers of its own."""
    t, m, v = state
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
    a, b = 1 - 0.9**t, 1 - 0.999**t
    layers = jax.tree.map(lambda p, m, v: p - lr * (m / a) / (jnp.sqrt(v / b) + 1e-8), layers, m, v)
    return layers, (t, m, v)


def adamw(lr: float, layers: Any, gradients: Any, state: Any) -> Any:
    return adam(lr, jax.tree.map(lambda p: p * (1 - lr * DECAY), layers), gradients, state)


def train(inputs: Inputs, forward: Callable[..., Any] = forward) -> Any:
    lr, update = inputs["lr"], {"sgd": sgd, "adam": adam, "adamw": adamw}[inputs["optimizer"]]

    def loss_fn(layers: Any, x: Any, y: Any) -> Any:
        out = forward(layers, x)
        return ((out - y) ** 2).mean() if inputs["loss"] == "mse" else mean_log_loss(out, y)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(layers: Any, state: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_fn)(layers, x, y)
        return *update(lr, layers, gradients, state), loss

    layers, x, y = jax.tree.map(jnp.array, inputs["layers"]), inputs["x"], inputs["y"]
    zeros = [jax.tree.map(jnp.zeros_like, layers) for _ in "mv"]
    state: Any = (jnp.zeros(()), *zeros) if inputs["optimizer"] != "sgd" else ()

    def call() -> Any:
        nonlocal layers, state
        layers, state, loss = step(layers, state, x, y)
        return loss.block_until_ready()

    return call


def predict(inputs: Inputs) -> Any:
    layers, x, compiled = jax.tree.map(jnp.asarray, inputs["layers"]), inputs["x"], jax.jit(forward)
    return lambda: np.asarray(compiled(layers, x))


def build(op: str) -> Callable[[Inputs], Any] | None:
    table = {"matmul": matmul, "train": train, "predict": predict, "cross_entropy": cross_entropy}
    table |= {"cross_entropy_training": cross_entropy_training, "masked_softmax": masked_softmax}
    table |= dict.fromkeys(normalization.OPS, normalize)
    table |= dict.fromkeys(CONVOLUTIONS, convolution) | dict.fromkeys(RECURRENT, recurrent)
    table |= dict.fromkeys(MAPS, map_) | dict.fromkeys(REDUCTIONS, reduce)
    table |= dict.fromkeys(ATTENTIONS, jax_attending.attention)
    table |= {"train_transformer": partial(train, forward=jax_attending.forward), "generate": jax_attending.generate}
    return table.get(op)
