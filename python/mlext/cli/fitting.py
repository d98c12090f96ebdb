"""What every kind of training of ``mlext train`` shares: the optimizer, the run, and what it leaves in its folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import mlext
from mlext import nn, optim
from mlext.training import History, ModelCheckpoint, TerminateOnNaN, TimeLimit, Trainer

__all__ = ["draw", "finish", "fit", "recurrent_sizes", "say"]


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def recurrent_sizes(args: argparse.Namespace, units: int) -> tuple[int, int]:
    """Return units and number of the recurrent layers that ``--hidden`` asks for, all of one size."""
    hidden = [units] if args.hidden is None else args.hidden
    if not hidden or len(set(hidden)) > 1:
        got = " ".join(map(str, hidden)) or "none"
        raise ValueError(f"--hidden: expected layers of one size for --model {args.model}, got {got}")
    return hidden[0], len(hidden)


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
    callbacks = [TerminateOnNaN(), TimeLimit(args.seconds), ModelCheckpoint(checkpoint, min_seconds=1.0)]
    trainer = Trainer(model, loss, _optimizer(model, args), callbacks=callbacks, seed=args.seed, **options)
    os.makedirs(args.out, exist_ok=True)
    say(what)
    if args.resume and not os.path.exists(checkpoint):
        raise FileNotFoundError(f"--resume: {checkpoint}: no such file")
    sizes = {"epochs": args.epochs, "batch_size": args.batch_size}
    trainer.fit(*data, **sizes, validation_data=test, resume=checkpoint if args.resume else None)
    return trainer


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
