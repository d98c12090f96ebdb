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
from mlext import nn
from mlext.cli.data import Preparation, load_inputs
from mlext.io import FileFormatError, atomic_write, read_metadata

__all__ = ["run"]

_KEYS = {"offset", "scale", "shape", "features", "target", "size", "classes", "labels"}


def run(args: argparse.Namespace) -> None:
    """Write one line per sample: its class, its probabilities, or its number."""
    state = read_metadata(args.model).get("preparation")
    model = mlext.load(args.model)
    if not isinstance(model, nn.Module) or not isinstance(state, dict) or not set(state) >= _KEYS:
        raise FileFormatError(args.model, "not a model that 'mlext train' wrote")
    preparation = Preparation(state)
    if args.proba and not preparation.classes:
        raise ValueError("--proba: the model predicts numbers, not classes")
    out = model.predict(preparation.inputs(load_inputs(args.data, state)), batch_size=1024)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_rows(out, preparation, args.proba))
    if args.out is None:
        sys.stdout.write(text.getvalue())
        return
    with atomic_write(args.out) as file:
        file.write(text.getvalue().encode())


def _rows(out: NDArray[Any], preparation: Preparation, proba: bool) -> list[list[Any]]:
    if not preparation.classes:
        numbers = preparation.numbers(out)
        names = ["prediction"] if numbers.shape[1] == 1 else [f"prediction_{i}" for i in range(numbers.shape[1])]
        return [names, *[[f"{value:.7g}" for value in row] for row in numbers.tolist()]]
    if not proba:
        return [["prediction"], *[[preparation.classes[code]] for code in out.argmax(axis=-1)]]
    shares: NDArray[Any] = mlext.functional.softmax(np.ascontiguousarray(out))
    return [list(preparation.classes), *[[f"{value:.6g}" for value in row] for row in shares.tolist()]]
