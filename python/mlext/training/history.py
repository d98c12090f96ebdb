"""What happened, epoch by epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from mlext.io import atomic_write

Path = str | os.PathLike[str]


class History:
    """Losses and metrics of every epoch; ``history["loss"]`` is a list.

    Examples
    --------
    >>> history = History()
    >>> history.append(0, {"loss": 0.5, "val_loss": 0.6})
    >>> history["val_loss"], history.epochs
    ([0.6], [0])
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def append(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Take in one epoch; a name that was not there before gets None for the epochs before."""
        for name in [*self.history, *logs]:
            column = self.history.setdefault(name, [])
            column += [None] * (len(self.epochs) - len(column))
            if len(column) == len(self.epochs):
                column.append(logs.get(name))
        self.epochs.append(epoch)

    def __getitem__(self, name: str) -> list[Any]:
        """Return the values of one name."""
        if name not in self.history:
            raise KeyError(f"History: no {name!r}; there are {', '.join(self.history) or 'no epochs yet'}")
        return self.history[name]

    def __contains__(self, name: object) -> bool:
        """Whether there are values of that name."""
        return name in self.history

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.epochs)

    def __repr__(self) -> str:
        """Return the number of epochs and the last values."""
        last = ", ".join([f"{name}={short(values[-1])}" for name, values in self.history.items()])
        return f"History({len(self)} epochs{', last: ' + last if last else ''})"

    def state_dict(self) -> dict[str, Any]:
        """Return a copy as plain data."""
        return {"epochs": list(self.epochs), "history": {k: list(v) for k, v in self.history.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over :meth:`state_dict`."""
        self.epochs = list(state["epochs"])
        self.history = {name: list(values) for name, values in state["history"].items()}

    def to_json(self, path: Path | None = None) -> str:
        """Return the history as JSON text and write it to ``path`` if given; what is not finite becomes null."""
        text = json.dumps({"epochs": self.epochs, **_finite(self.history)}, indent=1)
        if path is not None:
            with atomic_write(path) as file:
                file.write(text.encode() + b"\n")
        return text

    def plot(self, path: Path | None = None) -> Any:
        """Draw the learning curves; see :func:`mlext.plot.learning_curves`."""
        from mlext import plot

        return plot.learning_curves(self, path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def short(value: Any) -> str:
    """Four digits of a number; anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
