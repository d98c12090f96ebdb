"""PyTorch with torch.compile, and the fused optimizer: networks alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from peers.torch_peer import Inputs, prediction, setup, training

__all__ = ["build", "setup"]


def build(op: str) -> Callable[[Inputs], Any] | None:
    return {
        "train": partial(training, compiled=torch.compile, fused=True),
        "predict": partial(prediction, compiled=torch.compile),
    }.get(op)
