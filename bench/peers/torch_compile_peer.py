"""PyTorch with torch.compile, and the fused optimizer: networks alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from peers import torch_peer

Inputs = dict[str, Any]

setup = torch_peer.setup


def train(inputs: Inputs) -> Any:
    model, x, y = torch_peer.network(inputs), inputs["x"], inputs["y"]
    loss_fn = torch_peer.LOSSES[inputs["loss"]]
    optimizer = torch_peer.OPTIMIZERS[inputs["optimizer"]](model.parameters(), lr=inputs["lr"], fused=True)
    forward = torch.compile(lambda x, y: loss_fn(model(x), y))

    def step() -> Any:
        loss = forward(torch.from_numpy(x), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, lambda loss: loss.item()


def predict(inputs: Inputs) -> Any:
    model, x = torch.compile(torch_peer.network(inputs).eval()), inputs["x"]

    def call() -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return call


def build(op: str) -> Callable[[Inputs], Any] | None:
    return {"train": train, "predict": predict}.get(op)
