"""``mlext predict``."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mlext
from mlext import models, nn
from mlext.cli import series
from mlext.cli.data import Preparation, load_inputs
from mlext.io import FileFormatError, atomic_write, read_metadata

__all__ = ["run"]

_KEYS = {"offset", "scale", "shape", "features", "target", "size", "classes", "labels"}
_SERIES_KEYS = {"offset", "scale", "window", "names"}


def run(args: argparse.Namespace) -> None:
    """Write one line per sample: its class, its probabilities, or its number; of series, the steps that come next."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_predicted(args))
    if args.out is None:
        sys.stdout.write(text.getvalue())
        return
    with atomic_write(args.out) as file:
        file.write(text.getvalue().encode())


def _predicted(args: argparse.Namespace) -> list[list[Any]]:
    metadata = read_metadata(args.model)
    model = mlext.load(args.model)
    if isinstance(model, models.CharacterModel):
        raise ValueError(f"{args.model}: a model of a text: 'mlext generate' goes on with one")
    state = metadata.get("series" if metadata.get("task") == "forecast" else "preparation")
    keys = _SERIES_KEYS if isinstance(model, models.Forecaster) else _KEYS
    if not isinstance(model, nn.Module) or not isinstance(state, dict) or not set(state) >= keys:
        raise FileFormatError(args.model, "not a model that 'mlext train' wrote")
    if args.proba and not state.get("classes"):
        raise ValueError("--proba: the model predicts numbers, not classes")
    if isinstance(model, models.Forecaster):
        return series.predict(model, state, args.data)
    preparation = Preparation(state)
    out = model.predict(preparation.inputs(load_inputs(args.data, state)), batch_size=1024)
    return _rows(out, preparation, args.proba)


def _rows(out: NDArray[Any], preparation: Preparation, proba: bool) -> list[list[Any]]:
    if not preparation.classes:
        numbers = preparation.numbers(out)
        names = ["prediction"] if numbers.shape[1] == 1 else [f"prediction_{i}" for i in range(numbers.shape[1])]
        return [names, *[[f"{value:.7g}" for value in row] for row in numbers.tolist()]]
    if not proba:
        return [["prediction"], *[[preparation.classes[code]] for code in out.argmax(axis=-1)]]
    shares: NDArray[Any] = mlext.functional.softmax(np.ascontiguousarray(out))
    return [list(preparation.classes), *[[f"{value:.6g}" for value in row] for row in shares.tolist()]]
