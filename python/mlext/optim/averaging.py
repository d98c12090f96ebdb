"""Averages of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlext import _C
from mlext.optim.gradients import as_list
from mlext.tensor import Tensor, tensor


class ExponentialMovingAverage:
    """An average of parameters over the steps (Polyak & Juditsky 1992).

        a = decay a + (1 - decay) p

    Parameters
    ----------
    params : iterable of Parameter
        What to average; the average starts there.
    decay : float
        In [0, 1].

    Examples
    --------
    >>> import mlext as ml
    >>> w = ml.nn.Parameter(ml.tensor([0.0]))
    >>> average = ml.optim.ExponentialMovingAverage([w], decay=0.75)
    >>> _ = ml.init.ones_(w)
    >>> average.update()
    >>> with average.applied():
    ...     w.item()
    0.25
    """

    def __init__(self, params: Iterable[Tensor], decay: float = 0.999) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"ExponentialMovingAverage: argument 'decay': expected a number in [0, 1], got {decay}")
        self.params = as_list("ExponentialMovingAverage", params)
        self.decay = decay
        self.averages = [tensor(p) for p in self.params]

    def update(self) -> None:
        """Take the parameters of the moment into the average."""
        for kind in {p.dtype.name for p in self.params}:
            chosen = [(a, p) for a, p in zip(self.averages, self.params, strict=True) if p.dtype.name == kind]
            _C.lerp_([a for a, _ in chosen], [p for _, p in chosen], 1.0 - self.decay)

    def copy_to(self) -> None:
        """Overwrite the parameters with the average."""
        for p, average in zip(self.params, self.averages, strict=True):
            _C.copy_(p, average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the parameters be the average inside."""
        before = [tensor(p) for p in self.params]
        self.copy_to()
        try:
            yield
        finally:
            for p, value in zip(self.params, before, strict=True):
                _C.copy_(p, value)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the average and the decay."""
        return {"decay": self.decay, "averages": [tensor(a) for a in self.averages]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        shapes = [tuple(a.shape) for a in state["averages"]]
        if shapes != [a.shape for a in self.averages]:
            expected = [a.shape for a in self.averages]
            raise ValueError(f"ExponentialMovingAverage: load_state_dict: expected shapes {expected}, got {shapes}")
        self.decay = float(state["decay"])
        for own, value in zip(self.averages, state["averages"], strict=True):
            _C.copy_(own, value)
