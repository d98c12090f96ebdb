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
from mlext.data import Compose, DataLoader, RandomRotation, RandomShift, RandomZoom, train_test_split
from mlext.datasets.base import Dataset, TrainTest
from mlext.training import ModelCheckpoint, TerminateOnNaN, Trainer

__all__ = ["run"]

Split = list[NDArray[Any]]

# Pixels of a side that the last layer of a CNN sees: larger maps are averaged.
_LARGEST_MAP = 7


def run(args: argparse.Namespace) -> None:
    """Train, test, and write model, history and picture."""
    loaded = load_training(args.data, args.target, args.size, args.task)
    mlext.manual_seed(args.seed)
    data, (x_train, x_test, y_train, y_test) = _split(loaded, args)
    preparation = Preparation.fit(data, x_train, y_train, args)
    x_train, x_test = preparation.inputs(x_train), preparation.inputs(x_test)
    y_train, y_test = preparation.targets(y_train), preparation.targets(y_test)
    model = make(x_train.shape[1:], args, len(preparation.classes) or y_train.shape[1])
    batches = _training_data(x_train, y_train, args)
    os.makedirs(args.out, exist_ok=True)
    trainer = _trainer(model, args, bool(preparation.classes))
    kind = f"{len(preparation.classes)} classes" if preparation.classes else "regression"
    features = "x".join(map(str, x_train.shape[1:]))
    what = f"{features} features" if x_train.ndim == 2 else f"images of {features}"
    _say(f"{len(x_train)} samples for training, {len(x_test)} for testing, {what}, {kind}")
    checkpoint = _checkpoint_path(args)
    if args.resume and not os.path.exists(checkpoint):
        raise FileNotFoundError(f"--resume: {checkpoint}: no such file")
    history = trainer.fit(
        *batches,
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


def _training_data(x: NDArray[Any], y: NDArray[Any], args: argparse.Namespace) -> tuple[Any, ...]:
    """The arrays, or a loader that changes images a little; both go through them in a random order."""
    if not args.augment:
        return x, y
    if x.ndim != 4:
        raise ValueError("--augment: expected --model cnn, which sees images")
    pixels, around = max(round(min(x.shape[1:3]) / 10), 1), float(x.min())
    change = Compose(RandomShift(pixels, around), RandomRotation(10, around), RandomZoom(0.9, 1.1, around))
    return (DataLoader((x, y), args.batch_size, shuffle=True, rng=args.seed, transform=change),)


def make(shape: tuple[int, ...], args: argparse.Namespace, outputs: int) -> nn.Sequential:
    """The network that the options ask for."""
    if len(shape) == 1:
        return _mlp(shape[0], args.hidden if args.hidden is not None else [128, 64], args.dropout, outputs)
    return _cnn(shape, args.hidden if args.hidden is not None else [32, 64], args.dropout, outputs)


def _mlp(inputs: int, hidden: list[int], dropout: float, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def _cnn(shape: tuple[int, ...], filters: list[int], dropout: float, outputs: int) -> nn.Sequential:
    """Two normalised convolutions at each size of the image, which is halved as long as it can be."""
    rows, columns, channels = shape
    layers: list[nn.Module] = []
    for width in filters:
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm(width), nn.ReLU()]
            channels = width
        if min(rows, columns) >= 2:
            layers.append(nn.MaxPool2d(2))
            rows, columns = rows // 2, columns // 2
    if max(rows, columns) > _LARGEST_MAP:
        layers.append(nn.AdaptiveAvgPool2d((min(rows, _LARGEST_MAP), min(columns, _LARGEST_MAP))))
        rows, columns = min(rows, _LARGEST_MAP), min(columns, _LARGEST_MAP)
    layers += [nn.Flatten(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(rows * columns * channels, outputs))


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
