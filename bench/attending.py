"""Attention: rows of bench/shapes/attention.json as the ops they stand for, and what is right.

Arrays are q (N, Tq, H, D), k and v (N, Tk, G, D), y and g like q: head h of q has the keys of head h // (H / G). Causal
rows have as many queries as keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Inputs = dict[str, Any]

OPS = ("attention", "attention_bfloat16", "attention_training")
FILES = ("attention.json",)
# Rows that are larger are cut to fewer sequences, then to fewer groups of heads, one at least: all of them are alike.
MAX_FLOP = {"attention": 3e10, "attention_bfloat16": 3e10, "attention_training": 1e10}
MAX_BYTES = 2.0**29  # each contestant has arrays of its own, some repeat the keys for each head of queries
# Training of one group that still takes so many is left out: shorter rows say the same, in seconds instead of minutes.
TOO_MANY_FLOP = 1e11
TRAINED = ("train", "encoder")
IN_HALVES = ("prefill", "decode", "cross-decode")
QUICK = (
    "bert_base_b8_s8",
    "bert_base_b8_s128",
    "nanogpt_char_b64_s256",
    "gpt2_124m_prefill_b1_s1024",
    "llama3_8b_prefill_b4_s128",
    "llama31_8b_decode_b1_ctx1024",
    "gemma2_2b_decode_b1_ctx1024",
    "fa3_hd256_s512_causal",
)
CHECKED = 8  # queries of a result
# Rows of a result may be off by so much of their length; of gradients, of the longest one.
LIMITS = {"attention": 2e-5, "attention_bfloat16": 1e-2, "attention_training": 1e-4}


# ---- rows ------------------------------------------------------------------------------------------------------------


def expand(file: str, row: Inputs) -> Iterator[Inputs]:
    """The rows to be timed that a row of the shape table stands for."""
    phase = row["phase"]
    for op, wanted in zip(OPS, (True, phase in IN_HALVES, phase in TRAINED), strict=True):
        if not wanted:
            continue
        sizes = {key: row[key] for key in ("batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim", "causal")}
        made = cut({"op": op, **sizes, "quick": row["name"] in QUICK})
        if op != "attention_training" or flops(made) <= TOO_MANY_FLOP:
            yield made


def cut(row: Inputs) -> Inputs:
    """Halves are cut as float32 is, so that the two can be compared."""
    size = footprint(row) * (2 if row["op"] == "attention_bfloat16" else 1)
    share = max(flops(row) / MAX_FLOP[row["op"]], size / MAX_BYTES)
    batch = max(1, min(row["batch"], int(row["batch"] / share)))
    share *= batch / row["batch"]
    groups = max(1, min(row["kv_heads"], int(row["kv_heads"] / share)))
    heads = row["heads"] // row["kv_heads"] * groups
    before = {key: row[key] for key in ("batch", "heads")}
    return row | {"batch": batch, "heads": heads, "kv_heads": groups, "before": before}


def name(row: Inputs) -> str:
    before = row["before"]
    heads = f"{row['heads']}" + (f" of {before['heads']}" if row["heads"] != before["heads"] else "")
    # Fewer heads say it already, whatever the batch was: such rows are the same, and timed once.
    fewer = row["batch"] != before["batch"] and row["heads"] == before["heads"]
    batch = f"{row['batch']}" + (f" of {before['batch']}" if fewer else "")
    groups = f" / {row['kv_heads']}" if row["kv_heads"] != row["heads"] else ""
    steps = f"q {row['q_len']}" + (f" k {row['kv_len']}" if row["kv_len"] != row["q_len"] else "")
    causal = " causal" if row["causal"] else ""
    return f"{row['op']} batch {batch}, heads {heads}{groups}, {steps} d {row['head_dim']}{causal}"


def flops(row: Inputs) -> float:
    """Of two products, and five more for the gradients; a causal one needs half of each."""
    once = 4.0 * row["batch"] * row["heads"] * row["q_len"] * row["kv_len"] * row["head_dim"]
    return once * (0.5 if row["causal"] else 1) * (3.5 if row["op"] == "attention_training" else 1)


def footprint(row: Inputs) -> float:
    """Bytes of q, k, v and the result, in training of their gradients too."""
    steps = 2 * row["heads"] * row["q_len"] + 2 * row["kv_heads"] * row["kv_len"]
    size = {"attention_bfloat16": 2.0, "attention": 4.0, "attention_training": 8.0}[row["op"]]
    return size * row["batch"] * steps * row["head_dim"]


class Attention:
    """One attention, in float32 or bfloat16: its result, or that and the gradients of q, k and v."""

    @staticmethod
    def make(row: Inputs, rng: np.random.Generator) -> Inputs:
        n, d = row["batch"], row["head_dim"]
        wide, narrow = (n, row["q_len"], row["heads"], d), (n, row["kv_len"], row["kv_heads"], d)
        shapes = {"q": wide, "k": narrow, "v": narrow} | ({"g": wide} if row["op"] == "attention_training" else {})
        arrays = {key: rng.standard_normal(shape, dtype=np.float32) for key, shape in shapes.items()}
        if row["op"] == "attention_bfloat16":
            arrays = {key: rounded(a) for key, a in arrays.items()}
        return {"op": row["op"], "causal": row["causal"], **arrays}

    @staticmethod
    def check(result: Any, inputs: Inputs) -> None:
        """Some rows of the result, or all gradients of one group, against float64."""
        limit, group = LIMITS[inputs["op"]], inputs["q"].shape[2] // inputs["k"].shape[2]
        rng = np.random.default_rng(1)
        if inputs["op"] != "attention_training":
            got = np.asarray(result)
            assert got.shape == inputs["q"].shape, f"expected shape {inputs['q'].shape}, got {got.shape}"
            for _ in range(CHECKED):
                n, t, h = (int(rng.integers(size)) for size in got.shape[:3])
                q, k, v = inputs["q"][n, t : t + 1, h], inputs["k"][n, :, h // group], inputs["v"][n, :, h // group]
                expected = (weights(q, k, t if inputs["causal"] else None) @ v)[0]
                error = np.linalg.norm(got[n, t, h] - expected) / np.linalg.norm(expected)
                assert error <= limit, f"error {error:.3g} of query {n, t, h}"
            return
        n, h = int(rng.integers(len(inputs["q"]))), int(rng.integers(inputs["k"].shape[2]))
        some = {"q": slice(h * group, (h + 1) * group), "k": h, "v": h}
        for (key, heads), got, expected in zip(some.items(), result, gradients(inputs, n, h), strict=True):
            assert got.shape == inputs[key].shape, f"gradient of {key}: got shape {got.shape}"
            errors = np.linalg.norm(np.asarray(got)[n, :, heads] - expected, axis=-1)
            error = errors.max() / np.linalg.norm(expected, axis=-1).max()
            assert error <= limit, f"error {error:.3g} of the gradient of {key}"

    @staticmethod
    def work(row: Inputs) -> tuple[float, float]:
        return flops(row), footprint(row)

    @staticmethod
    def reads_only(row: Inputs) -> bool:
        """Whether keys and values are nearly all there is: each is read once, for one query."""
        return bool(row["q_len"] == 1)


class AttentionBfloat16(Attention):
    """Its peak is that of bfloat16, where the CPU multiplies such pairs faster."""

    peak = "gflops_bf16"


CLASSES = dict(zip(OPS, (Attention, AttentionBfloat16, Attention), strict=True))


# ---- what is right ---------------------------------------------------------------------------------------------------


def rounded(a: Array) -> Array:
    """To the nearest bfloat16, ties to even: the upper half of a float32."""
    bits = a.view(np.uint32)
    return np.asarray((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000, dtype=np.uint32).view(np.float32)


def weights(q: Array, k: Array, first: int | None) -> Array:
    """softmax(q k^T / sqrt(D)); if causal, the number of the first query."""
    scores = q.astype(np.float64) @ k.T.astype(np.float64) / np.sqrt(q.shape[1])
    if first is not None:
        scores[np.arange(len(k)) > first + np.arange(len(q))[:, None]] = -np.inf
    e = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def gradients(inputs: Inputs, n: int, h: int, block: int = 512) -> tuple[Array, Array, Array]:
    """Of q (Tq, H / G, D), k and v (Tk, D) of one sequence and one head of keys; some queries at a time."""
    group = inputs["q"].shape[2] // inputs["k"].shape[2]
    heads = slice(h * group, (h + 1) * group)
    q, g = (inputs[key][n, :, heads].astype(np.float64) for key in ("q", "g"))
    k, v = (inputs[key][n, :, h].astype(np.float64) for key in ("k", "v"))
    gq, gk, gv, scale = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v), 1 / np.sqrt(q.shape[2])
    for i in range(group):
        for t in range(0, len(q), block):
            at = slice(t, t + block)
            p, gp = weights(q[at, i], k, t if inputs["causal"] else None), g[at, i] @ v.T
            gs = p * (gp - (p * gp).sum(1, keepdims=True)) * scale
            gq[at, i] = gs @ k
            gk += gs.T @ q[at, i]
            gv += p.T @ g[at, i]
    return gq, gk, gv
