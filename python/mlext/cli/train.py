"""``mlext train``: what the options ask for, and networks that learn from samples."""

from __future__ import annotations

import argparse
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mlext
from mlext import losses, metrics, models, nn
from mlext.cli import series, text
from mlext.cli.data import Preparation, load_training
from mlext.cli.fitting import finish, fit, heads, layer_sizes, say
from mlext.data import Compose, DataLoader, RandomRotation, RandomShift, RandomZoom, train_test_split
from mlext.datasets.base import Dataset, TrainTest

__all__ = ["run"]

Split = list[NDArray[Any]]

# Pixels of a side that the last layer of a CNN sees: larger maps are averaged.
_LARGEST_MAP = 7

_NO_IMAGES = "--augment: expected --model cnn or transformer, and images"

# Models of texts.
_READERS = ("lstm", "gru", "transformer")

# Of options that have other defaults for series and texts.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "samples": {"model": "mlp", "epochs": 20, "batch_size": 32, "test_size": 0.25},
    "forecast": {"model": "lstm", "epochs": 20, "batch_size": 32, "test_size": 0.25, "window": 24, "horizon": 1},
    "text": {"model": "lstm", "epochs": 10, "batch_size": 16, "test_size": 0.1, "window": 128},
}
_OF_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "samples": {"epochs": 30, "dropout": 0.2},
    "forecast": {},
    "text": {},
}


def run(args: argparse.Namespace) -> None:
    """Train, test, and write model, history and picture."""
    if args.task == "auto" and args.model in _READERS and str(args.data).endswith(".txt"):
        args.task = "text"
    task = args.task if args.task in _DEFAULTS else "samples"
    defaults = _DEFAULTS[task] | (_OF_TRANSFORMERS[task] if args.model == "transformer" else {})
    for name in ("window", "horizon"):
        if getattr(args, name) is not None and name not in defaults:
            raise ValueError(f"--{name}: expected --task forecast" + (" or text" if name == "window" else ""))
    for name, value in {"dropout": 0.0, **defaults}.items():
        setattr(args, name, value if getattr(args, name) is None else getattr(args, name))
    if args.task in ("forecast", "text"):
        _check_reader(args)
    mlext.manual_seed(args.seed)
    {"forecast": series.train, "text": text.train}.get(args.task, _train_on_samples)(args)


def _check_reader(args: argparse.Namespace) -> None:
    known = _READERS if args.task == "text" else ("lstm", "gru")
    if args.model not in known:
        expected = f"{', '.join(known[:-1])} or {known[-1]}"
        raise ValueError(f"--task {args.task}: expected --model {expected}, got {args.model}")
    if args.data is None:
        raise ValueError(f"--task {args.task}: expected --data PATH, got none")
    if args.augment:
        raise ValueError(_NO_IMAGES)


def _train_on_samples(args: argparse.Namespace) -> None:
    data, (x_train, x_test, y_train, y_test) = _split(load_training(args.data, args.target, args.size, args.task), args)
    preparation = Preparation.fit(data, x_train, y_train, args)
    x_train, x_test = preparation.inputs(x_train), preparation.inputs(x_test)
    y_train, y_test = preparation.targets(y_train), preparation.targets(y_test)
    model = make(x_train.shape[1:], args, len(preparation.classes) or y_train.shape[1])
    batches = _training_data(x_train, y_train, args)
    kind = f"{len(preparation.classes)} classes" if preparation.classes else "regression"
    what = f"{len(x_train)} samples for training, {len(x_test)} for testing, {_features(x_train.shape[1:])}, {kind}"
    smooth = functools.partial(losses.cross_entropy, label_smoothing=args.label_smoothing)
    options: dict[str, Any] = {"metrics": ["accuracy"] if preparation.classes else ["r2"]}
    if args.model in _READERS:
        options["clip_norm"] = 1.0
    loss = smooth if preparation.classes else "mse"
    trainer = fit(model, loss, args, batches, (x_test, y_test), what, **options)
    report, result = _report(trainer.predict(x_test), y_test, preparation)
    say(report)
    task = "classification" if preparation.classes else "regression"
    finish(model, trainer.history, args, {"task": task, "test": result, "preparation": preparation.state})


def _features(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return f"{shape[0]} steps of {shape[1]} features"
    text = "x".join(map(str, shape))
    return f"images of {text}" if len(shape) == 3 else f"{text} features"


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
        raise ValueError(_NO_IMAGES)
    pixels, around = max(round(min(x.shape[1:3]) / 10), 1), float(x.min())
    change = Compose(RandomShift(pixels, around), RandomRotation(10, around), RandomZoom(0.9, 1.1, around))
    return (DataLoader((x, y), args.batch_size, shuffle=True, rng=args.seed, transform=change),)


def make(shape: tuple[int, ...], args: argparse.Namespace, outputs: int) -> nn.Module:
    """The network that the options ask for."""
    if args.model in ("lstm", "gru"):
        units, layers = layer_sizes(args, 128)
        options = {"kind": args.model, "dropout": args.dropout, "bidirectional": True}
        return models.SequenceClassifier(shape[1], outputs, units, layers, **options)
    if args.model == "transformer":
        return _transformer(shape, args, outputs)
    if len(shape) == 1:
        return _mlp(shape[0], args.hidden if args.hidden is not None else [128, 64], args.dropout, outputs)
    return _cnn(shape, args.hidden if args.hidden is not None else [32, 64], args.dropout, outputs)


def _transformer(shape: tuple[int, ...], args: argparse.Namespace, outputs: int) -> nn.Module:
    """A vision transformer with about 7 by 7 patches, of two pixels a side at least; or one for series."""
    units, layers = layer_sizes(args, 64, 2)
    options: dict[str, Any] = {"embed_dim": units, "num_layers": layers, "num_heads": heads(units)}
    options |= {"hidden_dim": 2 * units, "dropout": args.dropout, "head_dropout": args.dropout}
    if len(shape) == 2:
        return models.TimeSeriesTransformer(shape[1], outputs, position="sinusoidal", norm=True, **options)
    rows, columns, channels = shape
    largest = max(max(rows, columns) // _LARGEST_MAP, 2)
    patch = [next(p for p in range(largest, 0, -1) if side % p == 0) for side in (rows, columns)]
    return models.VisionTransformer((rows, columns), patch, outputs, in_channels=channels, pool="flatten", **options)


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
