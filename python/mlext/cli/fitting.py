"""What every kind of training of ``mlext train`` shares: the optimizer, the run, and what it leaves in its folder."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import mlext
from mlext import nn, optim
from mlext.training import (
    Callback,
    History,
    LearningRateScheduler,
    ModelCheckpoint,
    TerminateOnNaN,
    TimeLimit,
    Trainer,
)

__all__ = ["draw", "finish", "fit", "heads", "layer_sizes", "say"]


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def layer_sizes(args: argparse.Namespace, units: int, layers: int = 1) -> tuple[int, int]:
    """Return units and number of the layers that ``--hidden`` asks for, all of one size."""
    hidden = [units] * layers if args.hidden is None else args.hidden
    if not hidden or len(set(hidden)) > 1:
        got = " ".join(map(str, hidden)) or "none"
        raise ValueError(f"--hidden: expected layers of one size for --model {args.model}, got {got}")
    return hidden[0], len(hidden)


def heads(units: int) -> int:
    """Return how many heads the attention of a transformer with so many features has: four, if it can be."""
    return next(count for count in (4, 2, 1) if units % count == 0)


def fit(
    model: nn.Module, loss: Any, args: argparse.Namespace, data: Any, test: Any, what: str, **options: Any
) -> Trainer:
    """Train a model, having said on what; checkpoints go into the folder, and one there is gone on from if asked for.

    Parameters
    ----------
    model, loss, options
        Of the :class:`Trainer`.
    args
        Of the command.
    data, test
        Positional arguments of ``Trainer.fit``, and its validation data.
    what : str
        A line about the data.
    """
    checkpoint = os.path.join(args.out, "checkpoint.safetensors")
    optimizer = _optimizer(model, args)
    callbacks: list[Callback] = [TerminateOnNaN(), TimeLimit(args.seconds)]
    if args.model == "transformer":
        callbacks.append(LearningRateScheduler(_up_and_down(optimizer, data, args), "batch"))
    callbacks.append(ModelCheckpoint(checkpoint, min_seconds=1.0))
    trainer = Trainer(model, loss, optimizer, callbacks=callbacks, seed=args.seed, **options)
    os.makedirs(args.out, exist_ok=True)
    say(what)
    if args.resume and not os.path.exists(checkpoint):
        raise FileNotFoundError(f"--resume: {checkpoint}: no such file")
    sizes = {"epochs": args.epochs, "batch_size": args.batch_size}
    trainer.fit(*data, **sizes, validation_data=test, resume=checkpoint if args.resume else None)
    return trainer


def _up_and_down(optimizer: optim.Optimizer, data: Any, args: argparse.Namespace) -> optim.Schedule:
    """A learning rate that rises in the first steps, without which transformers learn badly, and falls to nothing.

    The end is that of the last epoch or of the time there is.
    """
    batches = -(-len(data[0]) // args.batch_size) if len(data) == 2 else len(data[0])
    steps, began = args.epochs * batches, time.monotonic()

    def share(step: int) -> float:
        done = min(max((step + 1) / steps, (time.monotonic() - began) / args.seconds), 1)
        return float(min(10 * done, (1 + math.cos(math.pi * done)) / 2))

    return optim.LambdaLR(optimizer, share)


def _optimizer(model: nn.Module, args: argparse.Namespace) -> optim.Optimizer:
    known = {
        name.lower(): cls
        for name, cls in vars(optim).items()
        if isinstance(cls, type) and issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer
    }
    if args.optimizer.lower() not in known:
        raise ValueError(f"--optimizer: unknown optimizer {args.optimizer!r}; known are {', '.join(sorted(known))}")
    defaults = {"adam": 0.005 if args.task == "text" else 0.002, "sgd": 0.05}
    lr = defaults.get(args.optimizer.lower()) if args.lr is None else args.lr
    options: dict[str, Any] = {} if lr is None else {"lr": lr}
    return known[args.optimizer.lower()](model.parameters(), **options)


def finish(model: nn.Module, history: History, args: argparse.Namespace, metadata: dict[str, Any]) -> None:
    """Write the history, the model and, if matplotlib is there, the learning curve."""
    history.to_json(os.path.join(args.out, "history.json"))
    path = os.path.join(args.out, "model.safetensors")
    mlext.save(model, path, metadata)
    say(f"model: {path}")
    draw("learning curve", history.plot, args)


def draw(title: str, picture: Callable[[str], Any], args: argparse.Namespace) -> None:
    """Write a picture, if matplotlib is there."""
    path = os.path.join(args.out, title.replace(" ", "_") + ".png")
    try:
        picture(path)
    except ImportError:
        say(f"no {title} drawn: pip install mlext[plot]")
    else:
        say(f"{title}: {path}")
