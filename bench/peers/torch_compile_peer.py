"""PyTorch with torch.compile, and the fused optimizer: networks alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from peers import torch_attending
from peers.torch_peer import Inputs, prediction, setup, training

__all__ = ["build", "setup"]


def transformer(inputs: Inputs) -> Any:
    """None where the compiler fails, which the first step shows."""
    step, read = training(inputs, torch.compile, network=torch_attending.network, fused=True)
    try:
        first = [step()]
    except Exception as error:  # whatever a compiler can raise
        print(f"torch.compile: left out: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    return (lambda: first.pop() if first else step()), read


def build(op: str) -> Callable[[Inputs], Any] | None:
    return {
        "train": partial(training, compiled=torch.compile, fused=True),
        "predict": partial(prediction, compiled=torch.compile),
        "train_transformer": transformer,
    }.get(op)
