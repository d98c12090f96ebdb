"""``mlext train``."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mlext
from mlext import losses, metrics, nn, optim
from mlext.cli.data import Preparation, load_training
from mlext.data import train_test_split
from mlext.datasets.base import Dataset, TrainTest
from mlext.training import ModelCheckpoint, TerminateOnNaN, Trainer

__all__ = ["run"]

Split = list[NDArray[Any]]


def run(args: argparse.Namespace) -> None:
    """Train, test, and write model, history and picture."""
    loaded = load_training(args.data, args.target, args.size, args.task)
    mlext.manual_seed(args.seed)
    data, (x_train, x_test, y_train, y_test) = _split(loaded, args)
    preparation = Preparation.fit(data, x_train, y_train, args)
    x_train, x_test = preparation.inputs(x_train), preparation.inputs(x_test)
    y_train, y_test = preparation.targets(y_train), preparation.targets(y_test)
    model = _mlp(x_train.shape[1], args, len(preparation.classes) or y_train.shape[1])
    os.makedirs(args.out, exist_ok=True)
    trainer = _trainer(model, args, bool(preparation.classes))
    kind = f"{len(preparation.classes)} classes" if preparation.classes else "regression"
    _say(f"{len(x_train)} samples for training, {len(x_test)} for testing, {x_train.shape[1]} features, {kind}")
    checkpoint = _checkpoint_path(args)
    if args.resume and not os.path.exists(checkpoint):
        raise FileNotFoundError(f"--resume: {checkpoint}: no such file")
    history = trainer.fit(
        x_train,
        y_train,
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_data=(x_test, y_test),
        resume=checkpoint if args.resume else None,
    )
    out = trainer.predict(x_test)
    report, result = _report(out, y_test, preparation)
    _say(report)
    history.to_json(os.path.join(args.out, "history.json"))
    metadata = {"task": "classification" if preparation.classes else "regression", "test": result}
    path = os.path.join(args.out, "model.safetensors")
    mlext.save(model, path, {**metadata, "preparation": preparation.state})
    _say(f"model: {path}")
    _draw(history, args.out)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _checkpoint_path(args: argparse.Namespace) -> str:
    return os.path.join(args.out, "checkpoint.safetensors")


def _split(loaded: Dataset | TrainTest, args: argparse.Namespace) -> tuple[Dataset, Split]:
    """The data set and its parts: as in the file, or drawn; by class where the target has classes."""
    if isinstance(loaded, TrainTest):
        (x_train, y_train), (x_test, y_test) = loaded
        target = np.concatenate([y_train, y_test])
        return Dataset(x_train, target), [x_train, x_test, y_train, y_test]
    x, y = loaded.data, loaded.target
    whole = y.ndim == 1 and y.dtype.kind in "iub"
    counts = np.unique(y, return_counts=True)[1]
    by_class = (
        whole and counts.min() >= 2 and len(counts) <= min(len(y) * args.test_size, len(y) * (1 - args.test_size))
    )
    split = train_test_split(x, y, test_size=args.test_size, stratify=y if by_class else None, rng=args.seed)
    return loaded, split


def _mlp(inputs: int, args: argparse.Namespace, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in args.hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        if args.dropout:
            layers.append(nn.Dropout(args.dropout))
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def _trainer(model: nn.Module, args: argparse.Namespace, classes: bool) -> Trainer:
    checkpoints = ModelCheckpoint(_checkpoint_path(args), min_seconds=1.0)
    return Trainer(
        model,
        functools.partial(losses.cross_entropy, label_smoothing=args.label_smoothing) if classes else "mse",
        _optimizer(model, args),
        metrics=["accuracy"] if classes else ["r2"],
        callbacks=[TerminateOnNaN(), checkpoints],
        seed=args.seed,
    )


def _optimizer(model: nn.Module, args: argparse.Namespace) -> optim.Optimizer:
    known = {
        name.lower(): cls
        for name, cls in vars(optim).items()
        if isinstance(cls, type) and issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer
    }
    if args.optimizer.lower() not in known:
        raise ValueError(f"--optimizer: unknown optimizer {args.optimizer!r}; known are {', '.join(sorted(known))}")
    defaults = {"adam": 0.002, "sgd": 0.05}
    lr = defaults.get(args.optimizer.lower()) if args.lr is None else args.lr
    options: dict[str, Any] = {} if lr is None else {"lr": lr}
    return known[args.optimizer.lower()](model.parameters(), **options)


def _report(out: NDArray[Any], target: NDArray[Any], preparation: Preparation) -> tuple[str, dict[str, float]]:
    if not preparation.classes:
        predicted, true = preparation.numbers(out), preparation.numbers(target)
        result = {
            "rmse": float(np.sqrt(np.mean((predicted - true) ** 2))),
            "mae": metrics.mae(predicted, true),
            "r2": metrics.r2(predicted, true),
        }
        return "test " + "  ".join([f"{name} {value:.4g}" for name, value in result.items()]), result
    accuracy = metrics.accuracy(out, target)
    matrix = metrics.confusion_matrix(out.argmax(axis=-1), target, classes=len(preparation.classes))
    return f"{_table(matrix, preparation.classes)}\ntest accuracy {accuracy:.4f}", {"accuracy": accuracy}


def _table(matrix: NDArray[Any], names: list[str]) -> str:
    """The confusion matrix as text."""
    cells = [[str(n) if n else "." for n in row] for row in matrix.tolist()]
    width = max(len(text) for row in [*cells, names] for text in row)
    first = max(len(name) for name in names)
    lines = ["confusion matrix (rows true, columns predicted)"]
    lines.append(" " * first + "".join([f" {name:>{width}}" for name in names]))
    lines += [
        f"{name:>{first}}" + "".join([f" {c:>{width}}" for c in row]) for name, row in zip(names, cells, strict=True)
    ]
    return "\n".join(lines)


def _draw(history: Any, folder: str) -> None:
    path = os.path.join(folder, "learning_curve.png")
    try:
        history.plot(path)
    except ImportError:
        _say("no learning curve drawn: pip install mlext[plot]")
    else:
        _say(f"learning curve: {path}")
