"""``mlext train --task forecast``, and ``mlext predict`` with what it made."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import datasets, models, plot
from mlext.cli.data import moments
from mlext.cli.fitting import draw, finish, fit, layer_sizes, say
from mlext.data import sliding_windows, train_test_split
from mlext.io import FileFormatError

__all__ = ["load", "predict", "train"]


def load(path: str) -> tuple[NDArray[np.float64], list[str]]:
    """Load a table whose columns are series, rows in the order of time; a first column of dates is left out.

    Raises
    ------
    FileFormatError
        As :func:`mlext.datasets.load_csv`.
    """
    try:
        table = datasets.load_csv(path, None, dtype=np.float64)
    except FileFormatError:
        table = datasets.load_csv(path, 0, classes=True, dtype=np.float64)
        if any(_is_number(name) for name in table.target_names):
            raise  # numbers with a fault among them are no dates
    return table.data, list(table.feature_names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def train(args: argparse.Namespace) -> None:
    """Train on windows of the first rows, and test on the last ones, against the last value as the forecast."""
    values, names = load(args.data)
    cut = len(train_test_split(values, test_size=args.test_size, shuffle=False)[0])
    if min(cut - args.window, len(values) - cut) < args.horizon:
        expected = f"expected more rows with --window {args.window} and --horizon {args.horizon}"
        raise FileFormatError(args.data, f"{expected}, got {cut} for training and {len(values) - cut} for testing")
    offset, scale = moments(values[:cut], 0)
    scaled = ((values - offset) / scale).astype(np.float32)
    data, test = (
        sliding_windows(rows, args.window, args.horizon) for rows in (scaled[:cut], scaled[cut - args.window :])
    )
    size, layers = layer_sizes(args, 64)
    model = models.Forecaster(len(names), args.horizon, size, layers, kind=args.model, dropout=args.dropout)
    what = (
        f"{cut} rows for training, the last {len(values) - cut} for testing, {len(names)} series, "
        f"windows of {args.window} steps, {args.horizon} ahead"
    )
    trainer = fit(model, "mse", args, data, test, what, clip_norm=1.0)
    forecast, truth = (part * scale + offset for part in (trainer.predict(test[0]), test[1]))
    last = test[0][:, -1:] * scale + offset
    result = {name: _errors(forecast[..., i], truth[..., i], last[..., i]) for i, name in enumerate(names)}
    for name, found in result.items():
        shown = [f"{key} {found[key]:.4g} (last value {found['last_value_' + key]:.4g})" for key in ("rmse", "mae")]
        say(f"test {name}: {'  '.join(shown)}")
    state = {"offset": offset.tolist(), "scale": scale.tolist(), "window": args.window, "names": names}
    finish(model, trainer.history, args, {"task": "forecast", "test": result, "series": state})
    # Every step of the test once: as it was forecast the longest before.
    draw("forecast", lambda path: plot.forecast(truth[:, -1], forecast[:, -1], path, names=names), args)


def _errors(forecast: NDArray[Any], truth: NDArray[Any], last: NDArray[Any]) -> dict[str, float]:
    found = {}
    for prefix, error in (("", forecast - truth), ("last_value_", last - truth)):
        found[prefix + "rmse"] = float(np.sqrt(np.mean(error**2)))
        found[prefix + "mae"] = float(np.mean(np.abs(error)))
    return found


def predict(model: models.Forecaster, state: dict[str, Any], path: str) -> list[list[Any]]:
    """Return the names of the series, and the rows that come after those of a file."""
    values, names = load(path)
    if len(names) != len(state["names"]):
        raise FileFormatError(path, f"expected {len(state['names'])} series, got {len(names)}")
    named = [list_ for list_ in (names, state["names"]) if any(not name.startswith("column_") for name in list_)]
    if len(named) == 2 and names != state["names"]:
        raise FileFormatError(path, f"expected the columns {', '.join(state['names'])}, got {', '.join(names)}")
    if len(values) < state["window"]:
        raise FileFormatError(path, f"expected at least {state['window']} rows, those of a window, got {len(values)}")
    offset, scale = np.array(state["offset"]), np.array(state["scale"])
    window = (values[-state["window"] :] - offset) / scale
    rows = model.predict(window[None].astype(np.float32))[0] * scale + offset
    return [state["names"], *[[f"{value:.7g}" for value in row] for row in rows.tolist()]]
