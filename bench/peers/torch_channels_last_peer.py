"""PyTorch with images and filters in memory as channels last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from convolution import OPS as CONVOLUTIONS
from peers import torch_peer

setup = torch_peer.setup


def of_images(make: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Dense networks have no channels to be last."""
    return make(inputs, compiled=torch_peer.eager, layout=torch.channels_last) if inputs["x"].ndim == 4 else None


def build(op: str) -> Callable[..., Any] | None:
    table: dict[str, Callable[..., Any]] = {
        "train": partial(of_images, torch_peer.training),
        "predict": partial(of_images, torch_peer.prediction),
    }
    table |= dict.fromkeys(CONVOLUTIONS, partial(torch_peer.convolution, layout=torch.channels_last))
    return table.get(op)
