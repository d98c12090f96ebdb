"""Attention and transformers of mlext."""

from __future__ import annotations

from typing import Any

import mlext as ml
from mlext import functional as F

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
