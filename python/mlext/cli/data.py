"""Reading a user's data, and preparing it the same way for training and prediction."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import datasets
from mlext.datasets.base import Dataset, TrainTest
from mlext.datasets.npz import read_npz
from mlext.io import FileFormatError

__all__ = ["Preparation", "load_inputs", "load_training", "moments"]

# More distinct whole numbers than this are a quantity, not classes.
_MAX_CLASSES = 50


def load_training(path: str | None, target: str | None, size: int | None, task: str) -> Dataset | TrainTest:
    """Load what ``mlext train --data`` names: the digits, a CSV file, a .npz file or an image folder."""
    if path is None:
        return datasets.load_digits()
    if os.path.isdir(path):
        return datasets.load_image_folder(path, size)
    _check_exists(path)
    if path.endswith(".npz"):
        return datasets.load_npz(path)
    return datasets.load_csv(path, _column(target), classes=True if task == "classification" else None)


def _check_exists(path: str) -> None:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file or folder")


def _column(target: str | None) -> int | str:
    if target is None:
        return -1
    return int(target) if target.lstrip("-").isdecimal() else target


class Preparation:
    """How columns and pixels become inputs, and targets become labels: kept in the model's metadata.

    Tables are standardised column by column, images with one mean and deviation for all pixels, sequences (three axes,
    of other numbers than bytes, for recurrent layers and transformers) feature by feature.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.offset = np.array(state["offset"], np.float64)
        self.scale = np.array(state["scale"], np.float64)
        self.classes: list[str] = state["classes"]

    @classmethod
    def fit(cls, data: Dataset, x: NDArray[Any], y: NDArray[Any], args: Any) -> Preparation:
        """Learn from the training part."""
        seen = _seen_shape(data, x, args.model)
        if _sees_steps(args.model, x) and x.ndim == 3 and x.dtype != np.uint8:
            offset, scale = (np.tile(values, x.shape[1]) for values in moments(x.astype(np.float64), (0, 1)))
        else:
            images = bool(data.image_shape) or x.ndim > 2 or x.dtype == np.uint8
            offset, scale = moments(x.reshape(len(x), -1).astype(np.float64), None if images else 0)
        state: dict[str, Any] = {
            "offset": offset.tolist(),
            "scale": scale.tolist(),
            "shape": list(x.shape[1:]),
            "features": list(data.feature_names),
            "target": args.target,
            "size": list(x.shape[1:3]) if x.ndim == 4 else None,
            "image": seen,
            "classes": [],
            "labels": None,
        }
        if is_classification(data, y, args.task):
            labels = np.unique(data.target)
            state["classes"] = list(data.target_names) or [str(label) for label in labels.tolist()]
            state["labels"] = None if data.target_names else labels.tolist()
        else:
            deviation = float(y.astype(np.float64).std())
            state["target_offset"] = float(y.astype(np.float64).mean())
            state["target_scale"] = deviation if deviation > 0 else 1.0
        return cls(state)

    def inputs(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Scale, as rows of numbers or as images."""
        if list(x.shape[1:]) != self.state["shape"]:
            raise ValueError(f"the model takes data of shape {_rows(self.state['shape'])}, got {_rows(x.shape[1:])}")
        flat = x.reshape(len(x), -1).astype(np.float64)
        if not np.isfinite(flat).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(flat))[0])
            raise ValueError(f"row {row}, column {column}: {flat[row, column]} is not a finite number")
        scaled = ((flat - self.offset) / self.scale).astype(np.float32)
        image = self.state.get("image")
        return scaled if image is None else scaled.reshape(len(x), *image)

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Class codes, or a column of scaled numbers."""
        if not self.classes:
            offset, scale = float(self.state["target_offset"]), float(self.state["target_scale"])
            return ((y.astype(np.float64) - offset) / scale).astype(np.float32).reshape(len(y), -1)
        if self.state["labels"] is None:
            return y
        codes = np.searchsorted(self.state["labels"], y)
        known = np.array(self.state["labels"])
        if (known[np.minimum(codes, len(known) - 1)] != y).any():
            raise ValueError("the test part has classes that the training part lacks")
        return codes

    def numbers(self, out: NDArray[Any]) -> NDArray[np.float64]:
        """Predicted numbers in the target's own unit."""
        found: NDArray[np.float64] = out.astype(np.float64) * self.state["target_scale"] + self.state["target_offset"]
        return found


def moments(x: NDArray[np.float64], axis: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation along axes, what is constant with a deviation of 1."""
    offset, scale = np.atleast_1d(x.mean(axis)), np.atleast_1d(x.std(axis))
    # A constant column's deviation is rounding noise: it becomes 0, not noise of size 1.
    return offset, np.where(scale <= np.abs(offset) * 1e-12, 1.0, scale)


def _seen_shape(data: Dataset, x: NDArray[Any], model: str) -> list[int] | None:
    """Rows, columns and channels of images, or steps and their features; None for samples as they are."""
    if model == "mlp":
        return None
    shape = list(x.shape[1:]) if x.ndim > 2 else list(data.image_shape)
    if len(shape) not in (2, 3):
        what, remedy = ("images", "") if model == "cnn" else ("sequences or images", "; --task forecast is for series")
        raise ValueError(f"--model {model}: expected {what}, got data of shape {_rows(x.shape[1:])}{remedy}")
    if not _sees_steps(model, x):
        return shape if len(shape) == 3 else [*shape, 1]
    return [shape[0], int(np.prod(shape[1:]))]


def _sees_steps(model: str, x: NDArray[Any]) -> bool:
    """Whether a model sees sequences: recurrent layers always, transformers if they are no images."""
    return model in ("lstm", "gru") or (model == "transformer" and x.ndim == 3 and x.dtype != np.uint8)


def _rows(shape: Any) -> str:
    return "(" + ", ".join(["N", *map(str, shape)]) + ")"


def is_classification(data: Dataset, y: NDArray[Any], task: str) -> bool:
    """Whether targets are classes: by the option, their names, or few distinct whole numbers."""
    if task == "regression":
        if data.target_names:
            raise ValueError("--task regression: the target is not numeric")
        return False
    if data.target_names:
        return True
    whole = y.ndim == 1 and y.dtype.kind in "iub"
    if task == "classification":
        if not whole:
            raise ValueError(
                f"--task classification: expected whole numbers as targets, got {y.dtype} of shape {y.shape}"
            )
        return True
    return whole and len(np.unique(y)) <= min(_MAX_CLASSES, max(2, len(y) // 2))


def load_inputs(path: str, state: dict[str, Any]) -> NDArray[Any]:
    """Load the features of what ``mlext predict`` names; a target column is left out."""
    if os.path.isdir(path):
        size = state["size"]
        channels: Any = state["shape"][-1] if len(state["shape"]) == 3 else None
        return datasets.load_image_folder(path, tuple(size) if size else None, channels=channels).data
    _check_exists(path)
    if path.endswith(".npz"):
        return _npz_inputs(path)
    return _csv_inputs(path, state)


def _npz_inputs(path: str) -> NDArray[Any]:
    arrays = read_npz(path)
    for name in ("x", "X", "data", "x_test", "x_train"):
        if name in arrays:
            return arrays[name]
    raise FileFormatError(path, f"expected an array x, X, data, x_test or x_train; got {', '.join(arrays) or 'none'}")


def _csv_inputs(path: str, state: dict[str, Any]) -> NDArray[Any]:
    width = int(np.prod(state["shape"]))
    try:
        found = datasets.load_csv(path, None)
        has_target = found.data.shape[1] == width + 1
    except FileFormatError:
        has_target = True  # a text target; any other fault is found again below
    if has_target:
        found = datasets.load_csv(path, _column(state["target"]))
    expected = state["features"]
    own_names = any(not name.startswith("column_") for name in expected)
    given_names = any(not name.startswith("column_") for name in found.feature_names)
    if own_names and given_names and list(found.feature_names) != expected:
        raise FileFormatError(path, f"expected the columns {', '.join(expected)}, got {', '.join(found.feature_names)}")
    return found.data
