"""GPT-2, BERT and Llama in PyTorch, written from the papers, under the names and layouts of published weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as TF  # noqa: N812

Weights = dict[str, torch.Tensor]


def attend(q: Any, k: Any, v: Any, seen: Any) -> Any:
    """Heads (N, H, T, D), softly; seen: (..., T, T), True where a query sees a key."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v


def heads(x: Any, count: int) -> Any:
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def joined(x: Any) -> Any:
    return x.transpose(1, 2).flatten(2)


def norm(x: Any, w: Weights, name: str, eps: float) -> Any:
    return TF.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def gpt2(w: Weights, indices: Any, layers: int, count: int, eps: float = 1e-5) -> Any:
    """Radford et al. 2019. Dense weights are (in, out)."""
    steps = indices.shape[1]
    seen = torch.ones(steps, steps, dtype=torch.bool).tril()
    x = w["wte.weight"][indices] + w["wpe.weight"][:steps]
    for i in range(layers):
        y = norm(x, w, f"h.{i}.ln_1", eps)
        qkv = y @ w[f"h.{i}.attn.c_attn.weight"] + w[f"h.{i}.attn.c_attn.bias"]
        y = joined(attend(*(heads(a, count) for a in qkv.chunk(3, -1)), seen))
        x = x + y @ w[f"h.{i}.attn.c_proj.weight"] + w[f"h.{i}.attn.c_proj.bias"]
        y = norm(x, w, f"h.{i}.ln_2", eps)
        y = TF.gelu(y @ w[f"h.{i}.mlp.c_fc.weight"] + w[f"h.{i}.mlp.c_fc.bias"], approximate="tanh")
        x = x + y @ w[f"h.{i}.mlp.c_proj.weight"] + w[f"h.{i}.mlp.c_proj.bias"]
    return norm(x, w, "ln_f", eps) @ w["wte.weight"].T


def bert(w: Weights, indices: Any, segments: Any, known: Any, layers: int, count: int, eps: float = 1e-12) -> Any:
    """Devlin et al. 2019; known: (N, T), what is no padding."""
    e = "embeddings"
    x = w[f"{e}.word_embeddings.weight"][indices] + w[f"{e}.position_embeddings.weight"][: indices.shape[1]]
    x = norm(x + w[f"{e}.token_type_embeddings.weight"][segments], w, f"{e}.LayerNorm", eps)

    def dense(y: Any, name: str) -> Any:
        return y @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    for i in range(layers):
        p = f"encoder.layer.{i}"
        q, k, v = (heads(dense(x, f"{p}.attention.self.{n}"), count) for n in ("query", "key", "value"))
        y = joined(attend(q, k, v, known[:, None, None]))
        x = norm(x + dense(y, f"{p}.attention.output.dense"), w, f"{p}.attention.output.LayerNorm", eps)
        y = dense(TF.gelu(dense(x, f"{p}.intermediate.dense")), f"{p}.output.dense")
        x = norm(x + y, w, f"{p}.output.LayerNorm", eps)
    return x, torch.tanh(dense(x[:, 0], "pooler.dense"))


def llama(w: Weights, indices: Any, layers: int, count: int, groups: int, base: float, eps: float = 1e-6) -> Any:
    """Touvron et al. 2023, with the grouped queries of the second version."""

    def rms(y: Any, name: str) -> Any:
        return y * torch.rsqrt((y**2).mean(-1, keepdim=True) + eps) * w[f"{name}.weight"]

    def turned(y: Any) -> Any:  # the pairs are halves of a head
        half = y.shape[-1] // 2
        angles = torch.arange(steps)[:, None] * base ** (-torch.arange(half) / half)
        a, b = y[..., :half], y[..., half:]
        return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)

    steps = indices.shape[1]
    seen = torch.ones(steps, steps, dtype=torch.bool).tril()
    x = w["model.embed_tokens.weight"][indices]
    for i in range(layers):
        p = f"model.layers.{i}"
        y = rms(x, f"{p}.input_layernorm")
        q = turned(heads(y @ w[f"{p}.self_attn.q_proj.weight"].T, count))
        k = turned(heads(y @ w[f"{p}.self_attn.k_proj.weight"].T, groups)).repeat_interleave(count // groups, 1)
        v = heads(y @ w[f"{p}.self_attn.v_proj.weight"].T, groups).repeat_interleave(count // groups, 1)
        x = x + joined(attend(q, k, v, seen)) @ w[f"{p}.self_attn.o_proj.weight"].T
        y = rms(x, f"{p}.post_attention_layernorm")
        gate = TF.silu(y @ w[f"{p}.mlp.gate_proj.weight"].T)
        x = x + (gate * (y @ w[f"{p}.mlp.up_proj.weight"].T)) @ w[f"{p}.mlp.down_proj.weight"].T
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return rms(x, "model.norm") @ head.T


def block(w: Weights, name: str, x: Any, count: int, act: Any, last: Any, eps: float = 1e-6) -> Any:
    """A block of an encoder with norms in front; names are ours, since there are no published weights."""
    attention, dense = ([f"{name}.{i}.module.{j}" for j in range(4)] for i in (0, 1))
    y = norm(x, w, attention[0], eps) @ w[f"{attention[1]}.in_proj_weight"].T + w[f"{attention[1]}.in_proj_bias"]
    q, k, v = (heads(a, count) for a in y.chunk(3, -1))
    y = joined(attend(q, k, v, torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)))
    x = x + y @ w[f"{attention[1]}.out_proj.weight"].T + w[f"{attention[1]}.out_proj.bias"]
    y = act(TF.linear(norm(x, w, dense[0], eps), w[f"{dense[1]}.weight"], w[f"{dense[1]}.bias"]))
    return x + last(TF.linear(y, w[f"{dense[2]}.weight"], w[f"{dense[2]}.bias"]))


def vision_transformer(
    w: Weights, x: Any, patch: tuple[int, int], layers: int, count: int, pool: str, last: Any
) -> Any:
    """Dosovitskiy et al. 2021; images (N, H, W, C)."""
    height, width = patch
    cut = x.unfold(1, height, height).unfold(2, width, width)  # (N, rows, columns, C, height, width)
    y = TF.linear(cut.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(1, 2), w["patches.weight"], w["patches.bias"])
    if pool == "class":
        y = torch.cat([w["class_token"].expand(len(y), -1, -1), y], 1)
    y = y + w["positions.weight"]
    for i in range(layers):
        y = block(w, f"blocks.{i}", y, count, TF.gelu, last)
    y = norm(y, w, "norm", 1e-6)
    return {"class": y[:, 0], "mean": y.mean(1), "flatten": y.flatten(1)}[pool]
