"""Cutting inputs into batches and joining what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlext.nn._door import positive_int


def split(inputs: tuple[Any, ...], batch_size: int) -> Iterator[tuple[Any, ...]]:
    """Yield slices of ``batch_size`` samples; one empty batch if there are no samples."""
    batch_size = positive_int("predict", "batch_size", batch_size)
    counts = [len(x) for x in inputs]
    if len(set(counts)) != 1:
        raise ValueError(f"predict: argument 'x': expected inputs of one length, got lengths {counts}")
    for start in range(0, max(1, counts[0]), batch_size):
        yield tuple([x[start : start + batch_size] for x in inputs])


def check_rows(out: Any, rows: int) -> None:
    """Refuse an output that cannot be joined along axis 0."""
    for part in out if isinstance(out, tuple) else (out,):
        if isinstance(part, tuple):
            check_rows(part, rows)
        elif np.ndim(part) == 0 or len(part) != rows:
            raise ValueError(
                f"predict: argument 'batch_size': an output of shape {np.shape(part)} for {rows} "
                "samples cannot be "
                "joined along axis 0; leave batch_size out"
            )


def join(parts: list[Any]) -> Any:
    """Join the outputs of all batches."""
    if isinstance(parts[0], tuple):
        return tuple([join(list(column)) for column in zip(*parts, strict=True)])
    return np.concatenate(parts)
