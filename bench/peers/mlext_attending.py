"""Attention and transformers of mlext."""

from __future__ import annotations

from typing import Any

import numpy as np

import mlext as ml
import networks
import transforming
from mlext import functional as F
from mlext import nn

Inputs = dict[str, Any]


def attention(inputs: Inputs) -> Any:
    """Tensors as they lie: steps before heads."""
    dtype = "bfloat16" if inputs["op"] == "attention_bfloat16" else "float32"
    q, k, v = (ml.tensor(inputs[name], dtype=dtype) for name in ("q", "k", "v"))
    attend, causal = F.scaled_dot_product_attention, inputs["causal"]
    if inputs["op"] != "attention_training":
        return (lambda: attend(q, k, v, is_causal=causal)), lambda y: y.astype("float32").numpy()
    leaves, g = [ml.Parameter(a) for a in (q, k, v)], ml.tensor(inputs["g"])

    def training() -> Any:
        for leaf in leaves:
            leaf.grad = None
        attend(*leaves, is_causal=causal).backward(g)
        return [leaf.grad for leaf in leaves]

    return training, lambda gradients: [a.numpy() for a in gradients]


# ---- transformers ----------------------------------------------------------------------------------------------------


class Wide(nn.Module):
    """A layer whose heads are together wider than its input, which ``nn.TransformerEncoderLayer`` has not."""

    def __init__(self, node: transforming.Block) -> None:
        self.norm1, self.inward, self.outward = norm(node.norm1), linear(node.inward), linear(node.outward)
        self.norm2, self.first, self.second = norm(node.norm2), linear(node.first), linear(node.second)
        self.heads = node.heads

    def forward(self, x: Any) -> Any:
        n, t, _ = x.shape
        q, k, v = F.split(F.reshape(self.inward(self.norm1(x)), (n, t, 3 * self.heads, -1)), 3, 2)
        x = x + self.outward(F.reshape(F.scaled_dot_product_attention(q, k, v), (n, t, -1)))
        return x + self.second(self.first(self.norm2(x)))


class Network(nn.Module):
    """The layers one after the other; with caches, those steps that come from ``offset`` on."""

    def __init__(self, nodes: Any) -> None:
        self.parts = nn.ModuleList([part(node) for node in nodes])
        self.causal = any(isinstance(node, transforming.Block) and node.causal for node in nodes)

    def forward(self, x: Any, caches: Any = (), offset: int = 0) -> Any:
        each = iter(caches)
        for part in self.parts:
            if isinstance(part, nn.TransformerEncoderLayer):
                x = part(x, is_causal=self.causal, cache=next(each, None))
            else:
                x = part(x, offset) if isinstance(part, nn.LearnedPosition) else part(x)
        return x


def loaded(module: Any, **arrays: Any) -> Any:
    module.load_state_dict(arrays)
    return module


def norm(node: transforming.Norm) -> Any:
    return loaded(nn.LayerNorm(len(node.bias), transforming.EPS), weight=node.weight, bias=node.bias)


def linear(node: networks.Dense) -> Any:
    made = nn.Linear(node.weight.shape[1], node.weight.shape[0], activation=node.act)
    return loaded(made, weight=node.weight, bias=node.bias)


def layer(node: transforming.Block) -> Any:
    inner, size = node.inward.weight.shape
    if inner != 3 * size or node.second.act is not None:
        return Wide(node)
    wide, names = len(node.first.bias), {"in_proj_weight": node.inward.weight, "in_proj_bias": node.inward.bias}
    places = {"self_attn.out_proj": node.outward, "linear1": node.first, "linear2": node.second}
    places |= {"norm1": node.norm1, "norm2": node.norm2}
    arrays = {f"self_attn.{name}": a for name, a in names.items()}
    arrays |= {f"{place}.{name}": getattr(of, name) for place, of in places.items() for name in ("weight", "bias")}
    options = {"layer_norm_eps": transforming.EPS, "norm_first": node.norm_first}
    return loaded(nn.TransformerEncoderLayer(size, node.heads, wide, 0.0, node.first.act, **options), **arrays)


def patches(size: int) -> Any:
    def cut(x: Any) -> Any:
        n, h, w, c = x.shape
        rows = F.permute(F.reshape(x, (n, h // size, size, w // size, size, c)), (0, 1, 3, 2, 4, 5))
        return F.reshape(rows, (n, -1, size * size * c))

    return nn.Lambda(cut)


def part(node: Any) -> Any:
    if isinstance(node, transforming.Embedding):
        return loaded(nn.Embedding(*node.weight.shape), weight=node.weight)
    if isinstance(node, transforming.Position):
        return loaded(nn.LearnedPosition(*node.weight.shape), weight=node.weight)
    if isinstance(node, transforming.Patches):
        return patches(node.size)
    if isinstance(node, networks.Flatten):
        return nn.Flatten()
    if isinstance(node, transforming.MeanOfFeatures):
        return nn.Lambda(lambda x: F.mean(x, -1))
    if isinstance(node, transforming.StepsApart):
        return nn.Lambda(lambda x: F.reshape(x, (-1, x.shape[2])))
    return {transforming.Block: layer, transforming.Norm: norm, networks.Dense: linear}[type(node)](node)


def network(inputs: Inputs) -> Any:
    return Network(inputs["layers"])


def generate(inputs: Inputs) -> Any:
    model, prompt, length = network(inputs), inputs["prompt"][None], inputs["length"]
    layers = sum(isinstance(part, nn.TransformerEncoderLayer) for part in model.parts)

    def call() -> Any:
        caches = [nn.KeyValueCache(prompt.shape[1] + length) for _ in range(layers)]
        tokens, offset, found = prompt, 0, []
        with model.evaluating():
            for _ in range(length):
                scores = model(tokens, caches, offset)
                offset += tokens.shape[1]
                tokens = F.argmax(scores[:, -1:], -1).numpy()
                found.append(tokens[0, 0])
        return np.array(found)

    return call
