"""BLIS, by its Python wheel: matrix products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from blis.py import gemm

Inputs = dict[str, Any]
_threads = 1


def setup(threads: int) -> None:
    """The wheel computes with one thread; with more it takes no part."""
    global _threads
    _threads = threads


def matmul(inputs: Inputs) -> Any:
    a, b = inputs["a"], inputs["b"]
    trans_a, trans_b = not a.flags.c_contiguous, not b.flags.c_contiguous
    x, y = np.ascontiguousarray(a.T if trans_a else a), np.ascontiguousarray(b.T if trans_b else b)
    return lambda: gemm(x, y, trans1=trans_a, trans2=trans_b)


def build(op: str) -> Callable[[Inputs], Any] | None:
    return {"matmul": matmul}.get(op) if _threads == 1 else None
