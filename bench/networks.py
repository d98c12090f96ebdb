"""Networks as data, which every contestant builds its own from; and what they compute, in float64.

Arrays are channels last: images (N, H, W, C), filters (O, R, S, C / groups). Convolutions have a bias, as those do into
which a normalisation has been folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import recurrence

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Dense:
    weight: Array  # (O, C)
    bias: Array
    act: str | None


@dataclass(frozen=True)
class Conv:
    weight: Array
    bias: Array
    act: str | None
    stride: int
    pad: int
    groups: int


@dataclass(frozen=True)
class MaxPool:
    size: int
    stride: int
    pad: int


@dataclass(frozen=True)
class Mean:
    """Over rows and columns."""


@dataclass(frozen=True)
class Flatten:
    shape: tuple[int, ...]  # of a sample


@dataclass(frozen=True)
class SelfAttention:
    """softmax(x x^T) x, of steps with steps."""


@dataclass(frozen=True)
class Residual:
    """What the body makes, and the shortcut (x itself if it is empty), added."""

    body: tuple[Any, ...]
    shortcut: tuple[Any, ...]
    act: str | None


ACTIVATIONS: dict[str | None, Callable[[Array], Array]] = {
    None: lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
}

# ---- the networks ----------------------------------------------------------------------------------


class Builder:
    """Layers for images that shrink as they go; random weights that keep the scale of what passes."""

    def __init__(self, rng: np.random.Generator, channels: int) -> None:
        self.rng, self.channels = rng, channels

    def conv(self, outputs: int, size: int, act: str | None = "relu", **more: Any) -> Conv:
        options = {"stride": 1, "pad": size // 2, "groups": 1} | more
        each = self.channels // options["groups"]
        weight = self.rng.standard_normal((outputs, size, size, each), dtype=np.float32)
        weight *= np.float32((2 if act else 0.5) ** 0.5 / (size * size * each) ** 0.5)
        self.channels = outputs
        return Conv(weight, self.bias(outputs), act, **options)

    def dense(self, inputs: int, outputs: int, act: str | None = None) -> Dense:
        weight = self.rng.standard_normal((outputs, inputs), dtype=np.float32) / np.float32(inputs**0.5)
        return Dense(weight, self.bias(outputs), act)

    def bias(self, outputs: int) -> Array:
        return 0.1 * self.rng.standard_normal(outputs, dtype=np.float32)

    def recurrent(self, kind: str, units: int, last: bool = False) -> recurrence.Layer:
        before, self.channels = self.channels, units
        return recurrence.draw(kind, before, units, self.rng, last)

    def bottleneck(self, width: int, stride: int) -> Residual:
        before = self.channels
        body = (self.conv(width, 1), self.conv(width, 3, stride=stride), self.conv(4 * width, 1, None))
        self.channels = before
        shortcut = (self.conv(4 * width, 1, None, stride=stride),) if before != 4 * width else ()
        self.channels = 4 * width
        return Residual(body, shortcut, "relu")

    def inverted(self, outputs: int, stride: int, factor: int) -> Any:
        before, wide = self.channels, self.channels * factor
        first = (self.conv(wide, 1, "relu6"),) if factor > 1 else ()
        middle = self.conv(wide, 3, "relu6", stride=stride, groups=wide)
        body = (*first, middle, self.conv(outputs, 1, None))
        return Residual(body, (), None) if stride == 1 and before == outputs else body


def cnn28(b: Builder) -> Iterator[Any]:
    yield from (b.conv(32, 3, pad=0), MaxPool(2, 2, 0), Flatten((13, 13, 32)), b.dense(13 * 13 * 32, 10))


def cnn32(b: Builder) -> Iterator[Any]:
    yield from (b.conv(32, 3, pad=0), MaxPool(2, 2, 0), b.conv(64, 3, pad=0), MaxPool(2, 2, 0), b.conv(64, 3, pad=0))
    yield from (Flatten((4, 4, 64)), b.dense(1024, 64, "relu"), b.dense(64, 10))


def resnet50(b: Builder) -> Iterator[Any]:
    yield from (b.conv(64, 7, stride=2), MaxPool(3, 2, 1))
    for i, count in enumerate((3, 4, 6, 3)):
        for j in range(count):
            yield b.bottleneck(64 << i, 2 if i > 0 and j == 0 else 1)
    yield from (Mean(), b.dense(2048, 1000))


def mobilenet_v2(b: Builder) -> Iterator[Any]:
    yield b.conv(32, 3, "relu6", stride=2)
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for factor, outputs, count, stride in table:
        for j in range(count):
            found = b.inverted(outputs, stride if j == 0 else 1, factor)
            yield from found if isinstance(found, tuple) else (found,)
    yield from (b.conv(1280, 1, "relu6"), Mean(), b.dense(1280, 1000))


def stacked_lstm(b: Builder) -> Iterator[Any]:
    yield from (b.recurrent("lstm", 64), b.recurrent("lstm", 64, last=True), b.dense(64, 1))


def rows_rnn(b: Builder) -> Iterator[Any]:
    yield from (b.recurrent("rnn", 100, last=True), b.dense(100, 10))


def attention_lstm(b: Builder) -> Iterator[Any]:
    yield from (b.recurrent("lstm", 100), SelfAttention(), Flatten((10, 100)), b.dense(1000, 1))


def long_lstm(b: Builder) -> Iterator[Any]:
    yield from (b.recurrent("lstm", 128, last=True), b.dense(128, 10))


def short_lstm(b: Builder) -> Iterator[Any]:
    yield from (b.recurrent("lstm", 64, last=True), b.dense(64, 10))


# With the samples they take: images, or steps and channels. Small ones: those of common tutorials.
MODELS: dict[str, tuple[Callable[[Builder], Iterator[Any]], tuple[int, ...]]] = {
    "cnn 28x28x1": (cnn28, (28, 28, 1)),
    "cnn 32x32x3": (cnn32, (32, 32, 3)),
    "ResNet-50": (resnet50, (224, 224, 3)),
    "MobileNetV2": (mobilenet_v2, (224, 224, 3)),
    "LSTM 64 x 2, 10x1": (stacked_lstm, (10, 1)),
    "RNN 100, 28x28": (rows_rnn, (28, 28)),
    "LSTM 100 + attention, 10x1": (attention_lstm, (10, 1)),
    "LSTM 128, 100x32": (long_lstm, (100, 32)),
    "LSTM 64, 28x32": (short_lstm, (28, 32)),
}


def build(model: str, rng: np.random.Generator) -> tuple[list[Any], tuple[int, ...]]:
    """The layers, and the shape of a sample."""
    make, shape = MODELS[model]
    return list(make(Builder(rng, shape[-1]))), shape


def classes(layers: list[Any]) -> int:
    return len(layers[-1].bias)


def flops(layers: Any, h: int, w: int) -> tuple[float, int, int]:
    """Of one sample, and the size of what comes out; sequences have h steps."""
    total = 0.0
    for layer in layers:
        if isinstance(layer, Residual):
            more, p, q = flops(layer.body, h, w)
            total, h, w = total + more + flops(layer.shortcut, h, w)[0], p, q
        elif isinstance(layer, (Conv, MaxPool)):
            size = layer.size if isinstance(layer, MaxPool) else layer.weight.shape[1]
            h, w = ((n + 2 * layer.pad - size) // layer.stride + 1 for n in (h, w))
            total += 2.0 * h * w * layer.weight.size if isinstance(layer, Conv) else 0
        elif isinstance(layer, Dense):
            total += 2.0 * layer.weight.size
        elif isinstance(layer, recurrence.Layer):
            total += 2.0 * h * (layer.w_ih.size + layer.w_hh.size)
    return total, h, w


def dense_only(layers: list[Any]) -> list[tuple[Array, Array]]:
    """Weights and biases, for contestants that have dense networks alone."""
    if not all(isinstance(layer, Dense) for layer in layers):
        raise NotImplementedError
    return [(layer.weight, layer.bias) for layer in layers]


def weights(layers: Any) -> Iterator[dict[str, Array]]:
    """The arrays of each layer, those within others too."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from weights((*layer.body, *layer.shortcut))
        else:
            yield {name: value for name, value in vars(layer).items() if isinstance(value, np.ndarray)}


# ---- what they compute -----------------------------------------------------------------------------


def windows(x: Array, size: int, stride: int, pad: int, fill: float) -> Iterator[tuple[tuple[int, int], Array]]:
    """For each tap, the pixels that it meets."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=fill)
    p, q = ((n - size) // stride + 1 for n in x.shape[1:3])
    for r in range(size):
        for s in range(size):
            yield (r, s), x[:, r : r + p * stride : stride, s : s + q * stride : stride][:, :p, :q]


def convolve(layer: Conv, x: Array) -> Array:
    out: Any = 0
    for (r, s), pixels in windows(x, layer.weight.shape[1], layer.stride, layer.pad, 0):
        w = layer.weight[:, r, s].astype(np.float64)
        out = out + (pixels @ w.T if layer.groups == 1 else pixels * w[:, 0])
    return np.asarray(out + layer.bias)


def apply(layer: Any, x: Array) -> Array:
    """One layer; groups are one channel each."""
    if isinstance(layer, Dense):
        return ACTIVATIONS[layer.act](x @ layer.weight.T.astype(np.float64) + layer.bias)
    if isinstance(layer, Conv):
        return ACTIVATIONS[layer.act](convolve(layer, x))
    if isinstance(layer, MaxPool):
        return np.max([v for _, v in windows(x, layer.size, layer.stride, layer.pad, -np.inf)], 0)
    if isinstance(layer, Mean):
        return np.asarray(x.mean((1, 2)))
    if isinstance(layer, Flatten):
        return x.reshape(len(x), -1)
    if isinstance(layer, SelfAttention):
        return shares(x) @ x
    if isinstance(layer, recurrence.Layer):
        y = recurrence.forward(layer, x)["y"]
        return y[:, -1] if layer.last else y
    return ACTIVATIONS[layer.act](predict(layer.body, x) + predict(layer.shortcut, x))


def shares(x: Array) -> Array:
    scores = x @ x.transpose(0, 2, 1)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def predict(layers: Any, x: Array) -> Array:
    for layer in layers:
        x = apply(layer, x)
    return x


def gradients(layer: Any, x: Array, y: Array, g: Array) -> tuple[Array, tuple[Array, ...]]:
    """From the gradient of a layer's result y: that of x, and those of its weights.

    Of small networks: no groups, strides or padding, and pools of windows side by side.
    """
    if isinstance(layer, Flatten):
        return g.reshape(x.shape), ()
    if isinstance(layer, SelfAttention):
        p, gp = shares(x), g @ x.transpose(0, 2, 1)
        gs = p * (gp - (p * gp).sum(-1, keepdims=True))
        return p.transpose(0, 2, 1) @ g + (gs + gs.transpose(0, 2, 1)) @ x, ()
    if isinstance(layer, recurrence.Layer):
        gy = np.zeros((*x.shape[:2], layer.units))
        gy[:, -1 if layer.last else slice(None)] = g
        return recurrence.gradients(layer, x, recurrence.forward(layer, x), gy)
    if isinstance(layer, MaxPool):
        gx, step, (p, q) = np.zeros_like(x), layer.stride, y.shape[1:3]
        for (r, s), pixels in windows(x, layer.size, step, 0, 0):
            gx[:, r : r + p * step : step, s : s + q * step : step][:, :p, :q] = g * (pixels == y)
        return gx, ()
    g = g * (y > 0) if layer.act == "relu" else g
    if isinstance(layer, Dense):
        return g @ layer.weight.astype(np.float64), (g.T @ x, g.sum(0))
    gw, gx, (p, q) = np.zeros(layer.weight.shape), np.zeros_like(x), y.shape[1:3]
    for (r, s), pixels in windows(x, layer.weight.shape[1], 1, 0, 0):
        gw[:, r, s] = np.tensordot(g, pixels, ((0, 1, 2), (0, 1, 2)))
        gx[:, r : r + p, s : s + q] += g @ layer.weight[:, r, s].astype(np.float64)
    return gx, (gw, g.sum((0, 1, 2)))
