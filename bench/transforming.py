"""Transformers as data, which every contestant builds its own from; and what they compute, in float64.

Sequences are batch first, x (N, T, E). Nothing is dropped at random, so that all contestants compute the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import networks
from networks import Dense, Flatten
from reference import log_softmax

Array = np.ndarray[Any, Any]
Inputs = dict[str, Any]

EPS = 1e-5  # of norms
DECAY = 0.01  # of AdamW


@dataclass(frozen=True)
class Embedding:
    weight: Array  # (V, E)


@dataclass(frozen=True)
class Position:
    """Added to each step."""

    weight: Array  # (T, E)


@dataclass(frozen=True)
class Patches:
    """Of an image, (N, H, W, C), side by side."""

    size: int


@dataclass(frozen=True)
class Norm:
    weight: Array
    bias: Array


@dataclass(frozen=True)
class Block:
    """Attention and two dense layers, each with a way around it, and a norm before it or behind the sum."""

    norm1: Norm
    inward: Dense  # to queries, keys and values of all heads
    outward: Dense
    norm2: Norm
    first: Dense
    second: Dense
    heads: int
    causal: bool
    norm_first: bool


@dataclass(frozen=True)
class MeanOfFeatures:
    """(N, T, C) to (N, T)."""


@dataclass(frozen=True)
class StepsApart:
    """(N, T, V) to (N T, V): a loss for each step."""


# ---- the models ------------------------------------------------------------------------------------------------------


def norm(size: int) -> Norm:
    return Norm(np.ones(size, np.float32), np.zeros(size, np.float32))


def block(b: networks.Builder, size: int, heads: int, wide: int, act: str, **more: Any) -> Block:
    """`inner` is the width of all heads together, `last` what comes behind the second dense layer."""
    options = {"inner": size, "last": None, "causal": False, "norm_first": True} | more
    inner, last = options.pop("inner"), options.pop("last")
    attention = (norm(size), b.dense(size, 3 * inner), b.dense(inner, size))
    return Block(*attention, norm(size), b.dense(size, wide, act), b.dense(wide, size, last), heads, **options)


def table(b: networks.Builder, rows: int, size: int) -> Array:
    return b.rng.standard_normal((rows, size), dtype=np.float32)


def encoder_layer(b: networks.Builder) -> Iterator[Any]:
    yield block(b, 128, 4, 512, "relu", norm_first=False)


def gpt(b: networks.Builder) -> Iterator[Any]:
    yield from (Embedding(table(b, 256, 384)), Position(table(b, 288, 384)))
    yield from (block(b, 384, 6, 1536, "gelu", causal=True) for _ in range(6))
    yield from (norm(384), b.dense(384, 256), StepsApart())


def vit(b: networks.Builder) -> Iterator[Any]:
    yield from (Patches(6), b.dense(108, 64), Position(table(b, 144, 64)))
    yield from (block(b, 64, 4, 128, "gelu", inner=256, last="gelu") for _ in range(8))
    yield from (norm(64), Flatten((144, 64)), b.dense(9216, 2048, "gelu"), b.dense(2048, 1024, "gelu"))
    yield b.dense(1024, 100)


def time_series(b: networks.Builder) -> Iterator[Any]:
    yield from (block(b, 1, 4, 4, "relu", inner=1024) for _ in range(4))
    yield from (MeanOfFeatures(), b.dense(500, 128, "relu"), b.dense(128, 2))


# With the samples they take, and how many numbers there are where samples are such.
MODELS: dict[str, tuple[Callable[[networks.Builder], Iterator[Any]], tuple[int, ...], int]] = {
    "encoder layer 128, 64 steps": (encoder_layer, (64, 128), 0),
    "GPT 384 x 6, 256 steps": (gpt, (256,), 256),
    "ViT, 72x72x3": (vit, (72, 72, 3), 0),
    "time series, 500x1": (time_series, (500, 1), 0),
}


def build(model: str, rng: np.random.Generator) -> list[Any]:
    return list(MODELS[model][0](networks.Builder(rng, 0)))


# ---- what is right ---------------------------------------------------------------------------------------------------


AT = np.linspace(-6, 6, 40001)
ERF = np.array([math.erf(x) for x in AT])  # between those a line is right to 1e-8
ACTIVATIONS: dict[str | None, Callable[[Array], Array]] = networks.ACTIVATIONS | {
    "gelu": lambda x: 0.5 * x * (1 + np.interp(x / math.sqrt(2), AT, ERF))
}


def dense(layer: Dense, x: Array) -> Array:
    return ACTIVATIONS[layer.act](x @ layer.weight.T.astype(np.float64) + layer.bias)


def normed(layer: Norm, x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS) * layer.weight + layer.bias)


def attend(layer: Block, x: Array) -> Array:
    n, t, _ = x.shape
    q, k, v = dense(layer.inward, x).reshape(n, t, 3, layer.heads, -1).transpose(2, 0, 3, 1, 4)
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[3])
    if layer.causal:
        scores[..., np.arange(t) > np.arange(t)[:, None]] = -np.inf
    e = np.exp(scores - scores.max(-1, keepdims=True))
    y = (e / e.sum(-1, keepdims=True)) @ v
    return dense(layer.outward, y.transpose(0, 2, 1, 3).reshape(n, t, -1))


def apply(layer: Any, x: Array) -> Array:
    if isinstance(layer, Block):
        parts = (
            (layer.norm1, lambda y: attend(layer, y)),
            (layer.norm2, lambda y: dense(layer.second, dense(layer.first, y))),
        )
        for part, function in parts:
            x = x + function(normed(part, x)) if layer.norm_first else normed(part, x + function(x))
        return x
    if isinstance(layer, Patches):
        n, h, w, c = x.shape
        size = layer.size
        return x.reshape(n, h // size, size, w // size, size, c).swapaxes(2, 3).reshape(n, -1, size * size * c)
    if isinstance(layer, Embedding):
        return layer.weight[x].astype(np.float64)
    if isinstance(layer, Position):
        return x + layer.weight[: x.shape[1]]
    if isinstance(layer, Norm):
        return normed(layer, x)
    if isinstance(layer, Dense):
        return dense(layer, x)
    if isinstance(layer, MeanOfFeatures):
        return np.asarray(x.mean(-1))
    return x.reshape(len(x), -1) if isinstance(layer, Flatten) else x.reshape(-1, x.shape[-1])


def predict(layers: list[Any], x: Array) -> Array:
    x = x if x.dtype.kind == "i" else x.astype(np.float64)
    for layer in layers:
        x = apply(layer, x)
    return x


def loss(inputs: Inputs) -> float:
    out, y = predict(inputs["layers"], inputs["x"]), inputs["y"]
    if inputs["loss"] == "mse":
        return float(((out - y) ** 2).mean())
    return float(-log_softmax(out)[np.arange(len(out)), y].mean())
