"""Attention and transformers of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import networks
import transforming

Inputs = dict[str, Any]


def attention(inputs: Inputs) -> Any:
    """Heads before steps, contiguous: PyTorch's own order."""
    dtype = torch.bfloat16 if inputs["op"] == "attention_bfloat16" else torch.float32
    arrays = {k: heads_first(torch.from_numpy(inputs[k])).to(dtype) for k in ("q", "k", "v", "g") if k in inputs}
    q, k, v = (arrays[name] for name in ("q", "k", "v"))
    options = {"is_causal": inputs["causal"], "enable_gqa": q.shape[1] != k.shape[1]}

    def forward() -> Any:
        with torch.inference_mode():
            return F.scaled_dot_product_attention(q, k, v, **options)

    if inputs["op"] != "attention_training":
        return forward, steps_first
    leaves = [a.requires_grad_() for a in (q, k, v)]

    def training() -> Any:
        for leaf in leaves:
            leaf.grad = None
        F.scaled_dot_product_attention(q, k, v, **options).backward(arrays["g"])
        return [leaf.grad for leaf in leaves]

    return training, lambda gradients: [steps_first(a) for a in gradients]


def heads_first(x: Any) -> Any:
    return x.transpose(1, 2).contiguous()


def steps_first(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(x.transpose(1, 2).float().numpy())


# ---- transformers ----------------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str | None, Callable[..., Any]] = {"relu": F.relu, "gelu": F.gelu, None: lambda x: x}


class Part(torch.nn.Module):
    """A node of bench/transforming.py and its arrays."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.node = node
        for name in ("weight", "bias"):
            if hasattr(node, name):
                setattr(self, name, torch.nn.Parameter(torch.from_numpy(getattr(node, name).copy())))

    def forward(self, x: Any, offset: int = 0) -> Any:
        node = self.node
        if isinstance(node, networks.Dense):
            return ACTIVATIONS[node.act](F.linear(x, self.weight, self.bias))
        if isinstance(node, transforming.Norm):
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, transforming.EPS)
        if isinstance(node, transforming.Embedding):
            return F.embedding(x, self.weight)
        if isinstance(node, transforming.Position):
            return x + self.weight[offset : offset + x.shape[1]]
        if isinstance(node, transforming.Patches):
            n, h, w, c = x.shape
            size = node.size
            return x.reshape(n, h // size, size, w // size, size, c).transpose(2, 3).reshape(n, -1, size * size * c)
        if isinstance(node, transforming.MeanOfFeatures):
            return x.mean(-1)
        return x.flatten(1) if isinstance(node, networks.Flatten) else x.flatten(0, 1)


class Block(torch.nn.Module):
    """Attention and two dense layers; with a cache of keys and values, those of steps that come from ``offset`` on."""

    def __init__(self, node: transforming.Block) -> None:
        super().__init__()
        self.heads, self.causal, self.norm_first = node.heads, node.causal, node.norm_first
        for name in ("norm1", "inward", "outward", "norm2", "first", "second"):
            setattr(self, name, Part(getattr(node, name)))

    def attend(self, x: Any, offset: int, cache: Any) -> Any:
        n, t, _ = x.shape
        q, k, v = self.inward(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if cache is not None:
            for held, new in zip(cache, (k, v), strict=True):
                held[:, :, offset : offset + t] = new
            k, v = (held[:, :, : offset + t] for held in cache)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal and t > 1)
        return self.outward(y.transpose(1, 2).reshape(n, t, -1))

    def forward(self, x: Any, offset: int = 0, cache: Any = None) -> Any:
        if self.norm_first:
            x = x + self.attend(self.norm1(x), offset, cache)
            return x + self.second(self.first(self.norm2(x)))
        x = self.norm1(x + self.attend(x, offset, cache))
        return self.norm2(x + self.second(self.first(x)))


class Network(torch.nn.Module):
    def __init__(self, nodes: Any) -> None:
        super().__init__()
        made = [Block(node) if isinstance(node, transforming.Block) else Part(node) for node in nodes]
        self.parts = torch.nn.ModuleList(made)

    def forward(self, x: Any, caches: Any = (), offset: int = 0) -> Any:
        each = iter(caches)
        for part in self.parts:
            x = part(x, offset, next(each, None)) if isinstance(part, Block) else part(x, offset)
        return x


def network(inputs: Inputs, layout: Any) -> tuple[Any, Any]:
    """The network and what it takes, as the one of images."""
    x = inputs["x"]
    return Network(inputs["layers"]), lambda: torch.from_numpy(x)


def generate(inputs: Inputs) -> Any:
    """With memory for all keys and values from the beginning."""
    model, length = Network(inputs["layers"]).eval(), inputs["length"]
    prompt, blocks = torch.from_numpy(inputs["prompt"])[None], [p for p in model.parts if isinstance(p, Block)]
    total = prompt.shape[1] + length

    def call() -> Any:
        with torch.inference_mode():
            sizes = [(1, block.heads, total, len(block.outward.bias) // block.heads) for block in blocks]
            caches = [(torch.empty(size), torch.empty(size)) for size in sizes]
            tokens, offset, found = prompt, 0, []
            for _ in range(length):
                scores = model(tokens, caches, offset)
                offset += tokens.shape[1]
                tokens = scores[:, -1:].argmax(-1)
                found.append(tokens.item())
        return np.array(found)

    return call
