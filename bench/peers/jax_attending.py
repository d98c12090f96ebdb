"""Attention and transformers in JAX."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import networks
import transforming

Inputs = dict[str, Any]


def attention(inputs: Inputs) -> Any:
    """In float32; steps before heads is its order too."""
    if inputs["op"] == "attention_bfloat16":
        raise NotImplementedError

    def forward(q: Any, k: Any, v: Any) -> Any:
        return jax.nn.dot_product_attention(q, k, v, is_causal=inputs["causal"])

    def training(q: Any, k: Any, v: Any, g: Any) -> Any:
        return jax.vjp(forward, q, k, v)[1](g)

    arguments = [jnp.asarray(inputs[name]) for name in ("q", "k", "v", "g") if name in inputs]
    compiled = jax.jit(training if len(arguments) == 4 else forward)
    read = (lambda found: [np.asarray(a) for a in found]) if len(arguments) == 4 else np.asarray
    return (lambda: jax.block_until_ready(compiled(*arguments))), read


# ---- transformers ----------------------------------------------------------------------------------------------------

ARRAYS = ("weight", "bias", "norm1", "inward", "outward", "norm2", "first", "second")
for kind in (
    transforming.Embedding,
    transforming.Position,
    transforming.Patches,
    transforming.Norm,
    transforming.Block,
    transforming.MeanOfFeatures,
    transforming.StepsApart,
):
    names = [f.name for f in dataclasses.fields(kind)]
    jax.tree_util.register_dataclass(kind, [n for n in names if n in ARRAYS], [n for n in names if n not in ARRAYS])

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": partial(jax.nn.gelu, approximate=False), None: lambda x: x}


def dense(node: networks.Dense, x: Any) -> Any:
    return ACTIVATIONS[node.act](x @ node.weight.T + node.bias)


def normed(node: transforming.Norm, x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + transforming.EPS) * node.weight + node.bias


def attend(node: transforming.Block, x: Any, offset: Any, cache: Any) -> tuple[Any, Any]:
    """What it makes, and the cache with the keys and values of these steps."""
    n, t, _ = x.shape
    qkv = dense(node.inward, x).reshape(n, t, 3, node.heads, -1)
    q, k, v = (qkv[:, :, i] for i in range(3))
    if cache is None:
        y = jax.nn.dot_product_attention(q, k, v, is_causal=node.causal)
    else:
        cache = [
            jax.lax.dynamic_update_slice(held, new, (0, offset, 0, 0)) for held, new in zip(cache, (k, v), strict=True)
        ]
        seen = jnp.arange(cache[0].shape[1]) <= offset + jnp.arange(t)[:, None]
        y = jax.nn.dot_product_attention(q, *cache, mask=seen[None, None])
    return dense(node.outward, y.reshape(n, t, -1)), cache


def block(node: transforming.Block, x: Any, offset: Any, cache: Any) -> tuple[Any, Any]:
    if node.norm_first:
        y, cache = attend(node, normed(node.norm1, x), offset, cache)
        x = x + y
        return x + dense(node.second, dense(node.first, normed(node.norm2, x))), cache
    y, cache = attend(node, x, offset, cache)
    x = normed(node.norm1, x + y)
    return normed(node.norm2, x + dense(node.second, dense(node.first, x))), cache


def apply(node: Any, x: Any, offset: Any) -> Any:
    if isinstance(node, networks.Dense):
        return dense(node, x)
    if isinstance(node, transforming.Norm):
        return normed(node, x)
    if isinstance(node, transforming.Embedding):
        return node.weight[x]
    if isinstance(node, transforming.Position):
        return x + jax.lax.dynamic_slice_in_dim(node.weight, offset, x.shape[1])
    if isinstance(node, transforming.Patches):
        n, h, w, c = x.shape
        size = node.size
        return x.reshape(n, h // size, size, w // size, size, c).swapaxes(2, 3).reshape(n, -1, size * size * c)
    if isinstance(node, transforming.MeanOfFeatures):
        return x.mean(-1)
    return x.reshape(len(x), -1) if isinstance(node, networks.Flatten) else x.reshape(-1, x.shape[-1])


def advance(layers: Any, x: Any, offset: Any, caches: Any) -> tuple[Any, list[Any]]:
    """What the network makes of the steps from ``offset`` on, and its caches behind them."""
    each, after = iter(caches), []
    for node in layers:
        if isinstance(node, transforming.Block):
            x, cache = block(node, x, offset, next(each, None))
            after.append(cache)
        else:
            x = apply(node, x, offset)
    return x, after


def forward(layers: Any, x: Any) -> Any:
    return advance(layers, x, 0, ())[0]


def generate(inputs: Inputs) -> Any:
    """One program: the prompt, then a scan over the tokens."""
    layers, prompt, length = jax.tree.map(jnp.asarray, inputs["layers"]), inputs["prompt"][None], inputs["length"]

    @jax.jit
    def program(layers: Any, prompt: Any) -> Any:
        blocks = [node for node in layers if isinstance(node, transforming.Block)]
        sizes = [(1, prompt.shape[1] + length, b.heads, len(b.outward.bias) // b.heads) for b in blocks]
        scores, caches = advance(layers, prompt, 0, [[jnp.zeros(size), jnp.zeros(size)] for size in sizes])
        first = scores[:, -1:].argmax(-1)

        def step(state: Any, offset: Any) -> Any:
            tokens, caches = state
            scores, caches = advance(layers, tokens, offset, caches)
            return (scores.argmax(-1), caches), tokens[0, 0]

        offsets = prompt.shape[1] + jnp.arange(length)
        return jax.lax.scan(step, (first, caches), offsets)[1]

    return (lambda: program(layers, prompt).block_until_ready()), np.asarray
