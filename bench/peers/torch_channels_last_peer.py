"""PyTorch with images and filters in memory as channels last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from convolution import OPS as CONVOLUTIONS
from peers import torch_peer

setup = torch_peer.setup


def build(op: str) -> Callable[..., Any] | None:
    return partial(torch_peer.convolution, layout=torch.channels_last) if op in CONVOLUTIONS else None
