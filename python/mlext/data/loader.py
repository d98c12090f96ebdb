"""Mini-batches: reproducible, and resumable in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlext.data.rng import as_generator, get_state, set_state

__all__ = ["ArrayDataset", "DataLoader"]

Batch: TypeAlias = Any
Transform: TypeAlias = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


class _Items(Protocol):
    """A data set read item by item."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class ArrayDataset:
    """Arrays of equal length, indexed together.

    Parameters
    ----------
    *arrays : array
        Anything `numpy.asarray` takes; the first axis counts the items.

    Raises
    ------
    ValueError
        If there is no array, lengths differ or are 0.

    Examples
    --------
    >>> data = ArrayDataset([[1.0], [2.0]], [0, 1])
    >>> len(data), data[1]
    (2, (array([2.]), np.int64(1)))
    """

    def __init__(self, *arrays: ArrayLike) -> None:
        self.arrays = tuple(np.asarray(array) for array in arrays)
        shapes = [array.shape for array in self.arrays]
        if not shapes:
            raise ValueError("ArrayDataset: expected at least one array")
        if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
            raise ValueError(f"ArrayDataset: expected arrays of equal length, got shapes {shapes}")
        if shapes[0][0] == 0:
            raise ValueError(f"ArrayDataset: the data set is empty: shapes {shapes}")

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        """Return one item, or several for a slice or an array of positions."""
        return tuple(array[index] for array in self.arrays)


class DataLoader:
    """Iterate over a data set in mini-batches.

    Every iteration is one epoch. The order of an epoch and the randomness of `transform`
    depend only on `rng` and the epoch's number, never on how far an earlier epoch got within
    its batches, so that `state_dict` continues an interrupted epoch bit for bit.

    Parameters
    ----------
    dataset : array, tuple of arrays, ArrayDataset, Dataset or sequence
        Arrays are cut along their first axis: one array gives batches that are arrays, several
        give tuples. A data set from `mlext.datasets` gives (data, target). Anything else with
        ``len`` and indexing is read item by item and collated.
    batch_size : int
        Items per batch; the last one may be smaller.
    shuffle : bool
        A new random order in every epoch.
    drop_last : bool
        Leave out a last batch that is smaller.
    rng : Generator, int or None
        Source of randomness or its seed.
    transform : callable, optional
        ``transform(x, rng)`` is applied to the first array of each batch, for augmentation.
    collate : callable, optional
        Makes a batch of a list of items; by default each field is stacked.

    Raises
    ------
    TypeError, ValueError
        For a batch size that is not a positive integer, an empty data set, arrays of different
        lengths, or `drop_last` with a data set smaller than one batch.

    Examples
    --------
    >>> loader = DataLoader((np.arange(5), np.arange(5) * 10), batch_size=2)
    >>> [x.tolist() for x, y in loader], len(loader)
    ([[0, 1], [2, 3], [4]], 3)
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        *,
        rng: np.random.Generator | int | None = None,
        transform: Transform | None = None,
        collate: Callable[[list[Any]], Batch] | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
            raise TypeError(
                f"DataLoader: argument 'batch_size': expected int, got {type(batch_size).__name__} {batch_size!r}"
            )
        if batch_size < 1:
            raise ValueError(f"DataLoader: argument 'batch_size': expected at least 1, got {batch_size}")
        self.dataset, self._bare = _as_dataset(dataset)
        self.batch_size = int(batch_size)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.transform = transform
        self.collate = collate
        self.rng = as_generator(rng)
        self.epoch = 0  # of the iteration that runs or comes next
        self._position = 0  # batches of this epoch handed out
        self._seed: int | None = None  # of this epoch, once it has begun
        self._resumed = False
        self._iteration = 0  # counts calls of iter, to notice two at once
        size = len(self.dataset)
        if size == 0:
            raise ValueError("DataLoader: argument 'dataset': the data set is empty")
        if drop_last and size < batch_size:
            raise ValueError(
                f"DataLoader: argument 'drop_last': {size} items are less than one batch of "
                f"{batch_size}, every epoch would be empty"
            )

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        size = len(self.dataset)
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Begin an epoch, or continue the one that `load_state_dict` restored."""
        self._iteration += 1
        if self._resumed:
            self._resumed = False
        else:
            if self._position:  # the epoch before was left early
                self.epoch += 1
            self._position = 0
            self._seed = None
        return self._batches(self._iteration)

    def _batches(self, iteration: int) -> Iterator[Batch]:
        self._check_current(iteration)
        if self._seed is None:
            self._seed = int(self.rng.integers(2**63)) if self._is_random() else 0
        epoch, seed = self.epoch, self._seed
        order = self._order(seed)
        for position in range(self._position, len(self)):
            self._check_current(iteration)
            rows = order[position * self.batch_size : (position + 1) * self.batch_size]
            batch = self._transformed(self._collect(rows), seed, position)
            self._position = position + 1
            yield batch
        self.epoch, self._position, self._seed = epoch + 1, 0, None

    def _check_current(self, iteration: int) -> None:
        if iteration != self._iteration:
            raise RuntimeError("DataLoader: a newer iteration over this loader has begun; use one loader for each")

    def _is_random(self) -> bool:
        return self.shuffle or self.transform is not None

    def _order(self, seed: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return np.random.default_rng((seed, 0)).permutation(len(self.dataset))

    def _collect(self, rows: NDArray[np.int64]) -> Batch:
        if self.collate is None and isinstance(self.dataset, ArrayDataset):
            if self.shuffle:  # take() takes half the time of array[rows]
                fields = tuple(array.take(rows, axis=0) for array in self.dataset.arrays)
            else:  # a slice copies nothing
                part = slice(int(rows[0]), int(rows[-1]) + 1)
                fields = tuple(array[part] for array in self.dataset.arrays)
            return fields[0] if self._bare else fields
        items = [self.dataset[int(row)] for row in rows]
        return (self.collate or _stack)(items)

    def _transformed(self, batch: Batch, seed: int, position: int) -> Batch:
        if self.transform is None:
            return batch
        rng = np.random.default_rng((seed, position + 1))
        if isinstance(batch, tuple | list):
            return (self.transform(batch[0], rng), *batch[1:])
        return self.transform(batch, rng)

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration stands, as plain data fit for JSON.

        Taken inside the loop body, the current batch counts as done.
        """
        return {
            "epoch": self.epoch,
            "position": self._position,
            "seed": self._seed,
            "size": len(self.dataset),
            "batch_size": self.batch_size,
            "rng": get_state(self.rng),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken: the next iteration gives the rest of its epoch.

        Raises
        ------
        ValueError
            If the state is of another data set size or batch size, or malformed.
        """
        where = "DataLoader.load_state_dict"
        missing = {"epoch", "position", "seed", "size", "batch_size", "rng"} - set(state)
        if missing:
            raise ValueError(f"{where}: the state lacks {', '.join(sorted(missing))}")
        for key, mine in (("size", len(self.dataset)), ("batch_size", self.batch_size)):
            if state[key] != mine:
                raise ValueError(f"{where}: {key} is {mine}, but {state[key]} in the state")
        if not 0 <= state["position"] <= len(self):
            raise ValueError(f"{where}: position {state['position']} of {len(self)} batches")
        set_state(self.rng, state["rng"])
        self.epoch, self._position = int(state["epoch"]), int(state["position"])
        self._seed = None if state["seed"] is None else int(state["seed"])
        self._resumed = True


def _as_dataset(dataset: Any) -> tuple[ArrayDataset | _Items, bool]:
    """Wrap arrays; also tell whether a batch is a bare array."""
    if isinstance(dataset, ArrayDataset):
        return dataset, False
    if isinstance(dataset, np.ndarray):
        return ArrayDataset(dataset), True
    if hasattr(dataset, "data") and hasattr(dataset, "target"):
        return ArrayDataset(dataset.data, dataset.target), False
    if isinstance(dataset, tuple):
        return ArrayDataset(*dataset), False
    if hasattr(dataset, "__array__"):
        return ArrayDataset(dataset), True
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            "DataLoader: argument 'dataset': expected arrays or an object with len and indexing, "
            f"got {type(dataset).__name__}"
        )
    return dataset, False


def _stack(items: list[Any]) -> Batch:
    """Collate by default: a tuple of stacked fields, or one stacked array."""
    first = items[0]
    if isinstance(first, Sequence) and not isinstance(first, str | bytes):
        return tuple(np.stack([np.asarray(item[i]) for item in items]) for i in range(len(first)))
    return np.stack([np.asarray(item) for item in items])
