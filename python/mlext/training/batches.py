"""What training reads: arrays, loaders and iterables, all as batches of (inputs, target, weights)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mlext.data import DataLoader
from mlext.tensor import Tensor

__all__ = ["Batch", "Batches", "split_off"]


class Batch(NamedTuple):
    """One batch; ``weight`` is None or has a factor per sample."""

    inputs: tuple[Any, ...]
    target: Any
    weight: Any

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.inputs[0])


class Batches:
    """A source of batches that can be iterated once per epoch.

    Parameters
    ----------
    op : str
        Name of the caller, for messages.
    x, y : array or tuple of arrays; or a loader or iterable of batches and None
        ``Dataset`` objects of ``mlext.datasets`` count as arrays.
    sample_weight : array (N,), optional
        Factor of each sample's loss.
    class_weight : dict of int to float, optional
        Factor of each class's loss; classes that are absent count 1.
    options
        Of the :class:`DataLoader` that cuts arrays.
    """

    def __init__(
        self,
        op: str,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        **options: Any,
    ) -> None:
        self.op = op
        self.class_weight = _class_table(op, class_weight)
        self.inputs = 0
        self.weighted = sample_weight is not None
        if hasattr(x, "data") and hasattr(x, "target") and y is None:
            x, y = x.data, x.target
        if y is None and not _is_arrays(x):
            if sample_weight is not None:
                raise ValueError(f"{op}: argument 'sample_weight': let the loader give (x, y, sample_weight) batches")
            self.source: Any = x
            return
        fields = _fields(op, x, y, sample_weight)
        self.inputs = len(fields) - 1 - self.weighted
        self.source = DataLoader(tuple(fields), **options)

    def __len__(self) -> int:
        """Return the number of batches; TypeError if the source cannot tell."""
        return len(self.source)

    def known_length(self) -> int | None:
        """Return the number of batches, or None."""
        try:
            return len(self.source)
        except TypeError:
            return None

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over an epoch."""
        for batch in self.source:
            yield self._weighted(self._split(batch))

    def _split(self, batch: Any) -> Batch:
        if self.inputs:
            weight = batch[-1] if self.weighted else None
            return Batch(batch[: self.inputs], batch[self.inputs], weight)
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            got = f"{len(batch)} items" if isinstance(batch, (tuple, list)) else type(batch).__name__
            raise TypeError(f"{self.op}: expected batches (x, y) or (x, y, sample_weight), got {got}")
        x = batch[0]
        inputs = tuple([_array(part) for part in x]) if isinstance(x, (tuple, list)) else (_array(x),)
        weight = _array(batch[2]) if len(batch) == 3 and batch[2] is not None else None
        found = Batch(inputs, _array(batch[1]), weight)
        if len(found.target) != found.rows or found.rows == 0:
            raise ValueError(
                f"{self.op}: expected as many targets as samples, got {len(found.target)} and {found.rows}"
            )
        return found

    def _weighted(self, batch: Batch) -> Batch:
        if self.class_weight is None:
            return batch
        labels = np.asarray(batch.target)
        if labels.ndim > 1 and labels.shape[-1] > 1:
            labels = labels.argmax(axis=-1)
        labels = labels.reshape(len(labels)).astype(np.int64)
        table, default = self.class_weight, np.float32(1.0)
        weight = np.array([table.get(int(label), default) for label in labels], np.float32)
        return batch._replace(weight=weight if batch.weight is None else np.asarray(batch.weight) * weight)


def _is_arrays(x: Any) -> bool:
    """An array, or a tuple of arrays: several inputs."""
    if isinstance(x, tuple):
        return bool(x) and all(hasattr(part, "__array__") for part in x)
    return hasattr(x, "__array__")


def _array(value: Any) -> Any:
    return value if isinstance(value, (Tensor, np.ndarray)) else np.asarray(value)


def _fields(op: str, x: Any, y: Any, weight: Any) -> list[Any]:
    """All arrays as ndarrays of one length: inputs, target, perhaps weights."""
    if y is None:
        raise ValueError(f"{op}: argument 'y': expected the targets of the arrays x, got None")
    fields = [np.asarray(part) for part in (x if isinstance(x, tuple) else (x,))]
    fields.append(np.asarray(y))
    if weight is not None:
        fields.append(np.asarray(weight))
        if fields[-1].ndim != 1:
            raise ValueError(f"{op}: argument 'sample_weight': expected shape (N,), got {fields[-1].shape}")
    lengths = [len(field) if field.ndim else None for field in fields]
    if len(set(lengths)) > 1 or None in lengths:
        raise ValueError(f"{op}: expected x, y and sample_weight of one length, got shapes {[f.shape for f in fields]}")
    if lengths[0] == 0:
        raise ValueError(f"{op}: argument 'x': the data set is empty, shape {fields[0].shape}")
    return fields


def _class_table(op: str, weights: Mapping[int, float] | None) -> dict[int, float] | None:
    if weights is None:
        return None
    bad = [value for value in weights.values() if not 0 <= value < float("inf")]
    if bad:
        raise ValueError(f"{op}: argument 'class_weight': expected finite factors of 0 or more, got {bad[0]}")
    return {int(label): float(value) for label, value in weights.items()}


def split_off(op: str, x: Any, y: Any, weight: Any, share: float) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Cut the last ``share`` of arrays off for validation: (x, y, weight) twice."""
    if not 0 < share < 1:
        raise ValueError(f"{op}: argument 'validation_split': expected a fraction between 0 and 1, got {share}")
    if hasattr(x, "data") and hasattr(x, "target") and y is None:
        x, y = x.data, x.target
    if not _is_arrays(x):
        raise ValueError(f"{op}: argument 'validation_split': needs arrays; pass validation_data with a loader")
    fields = _fields(op, x, y, weight)
    count = len(fields[0])
    cut = count - max(1, round(count * share))
    if cut < 1:
        raise ValueError(f"{op}: argument 'validation_split': {share} of {count} samples leaves none for training")
    parts = []
    for rows in (slice(None, cut), slice(cut, None)):
        cuts = [field[rows] for field in fields]
        weights = cuts.pop() if weight is not None else None
        target = cuts.pop()
        parts.append((tuple(cuts), target, weights))
    return parts[0], parts[1]
