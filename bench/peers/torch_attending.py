"""Attention and transformers of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

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
