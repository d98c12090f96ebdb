"""One recurrent layer in one direction as a node of the tape, whole or in parts that a gradient computes again."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import _C
from mlext.functional._common import jointly, keep, record
from mlext.functional._geometry import check_rank

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def check_weights(op: str, gates: int, weight_ih: Any, weight_hh: Any) -> None:
    """Raise unless the two weights fit each other."""
    letters = "H" if gates == 1 else f"{gates} H"
    check_rank(op, "weight_ih", weight_ih, f"({letters}, C)")
    check_rank(op, "weight_hh", weight_hh, f"({letters}, H)")
    rows, units = weight_hh.shape
    if rows != gates * units:
        raise ValueError(f"{op}: argument 'weight_hh': expected shape ({letters}, H), got {weight_hh.shape}")
    if len(weight_ih) != rows:
        raise ValueError(f"{op}: argument 'weight_ih': expected {rows} rows, as weight_hh has, got {len(weight_ih)}")


def checked_lengths(op: str, lengths: Any, x: Any) -> Any:
    """Return lengths as the kernels take them; TypeError or ValueError for what are none."""
    if lengths is None or isinstance(lengths, _C.Array):
        return lengths
    given = np.asarray(lengths)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{op}: argument 'lengths': expected integers, got {given.dtype}")
    if given.size and not (given.min() >= 1 and given.max() <= x.shape[1]):
        worst = given.min() if given.min() < 1 else given.max()
        raise ValueError(f"{op}: argument 'lengths': expected lengths from 1 to {x.shape[1]}, those of x, got {worst}")
    return given.astype(np.int64)


def checked_checkpoint(op: str, checkpoint: Any) -> int | None:
    """Return the steps between two states that are kept; TypeError or ValueError for what is no such number."""
    if checkpoint is None:
        return None
    if isinstance(checkpoint, bool) or not hasattr(checkpoint, "__index__"):
        raise TypeError(f"{op}: argument 'checkpoint': expected None or a number of steps, got {checkpoint!r}")
    if checkpoint < 1:
        raise ValueError(f"{op}: argument 'checkpoint': expected at least one step, got {checkpoint}")
    return int(checkpoint)


class Layer:
    """A cell, its weights and its direction, over the parts of a sequence."""

    def __init__(self, cell: str, weights: tuple[Any, ...], reverse: bool) -> None:
        self.cell = cell
        self.weights = weights
        self.reverse = reverse

    def forward(self, x: Any, state: tuple[Any, Any], lengths: Any, saves: bool) -> tuple[Any, ...]:
        """Return y, h, c and what a gradient needs, steps first."""
        w_ih, w_hh, b_ih, b_hh = self.weights
        return tuple(_C.recurrent(self.cell, x, w_ih, w_hh, b_ih, b_hh, *state, lengths, self.reverse, saves))

    def backward(self, g: tuple[Any, Any, Any], x: Any, left: tuple[Any, ...], lengths: Any, wanted: list[bool]) -> Any:
        """Return gradients of x, of the weights and of the first states from those of y, h and c; None for unwanted."""
        y, _, _, gates, before, extra = left
        w_ih, w_hh, *_ = self.weights
        gx, gsums, gh, gc = _C.recurrent_gradient(self.cell, *g, y, gates, before, extra, w_hh, lengths, self.reverse)
        if before.dtype != gsums.dtype:  # of half types
            before = _C.cast(before, gsums.dtype)
        made: list[Any] = [None] * 5
        if wanted[0]:
            made[0] = _C.matmul(gx, w_ih)
        if wanted[1]:
            made[1] = _C.linear_weight_gradient(gx, steps_first(x))
        if wanted[2]:
            made[2] = _C.linear_weight_gradient(gsums, before)
        if wanted[3]:
            made[3] = _C.sum(gx, (0, 1), False)
        if wanted[4]:
            same = wanted[3] and self.cell != "gru"
            made[4] = made[3] if same else _C.sum(gsums, (0, 1), False)
        return [*made, gh, gc if self.cell == "lstm" else None]

    def parts(self, steps: int, size: int | None) -> list[tuple[int, int]]:
        """Begin and end of each part, in the order of the walk."""
        size = min(steps, size or steps)
        found = [(i, min(i + size, steps)) for i in range(0, steps, size)]
        return found[::-1] if self.reverse else found


def steps_first(x: Any) -> Any:
    """Between sequences first and steps first, as a view."""
    return _C.permute(x, (1, 0, 2))


def run(
    layer: Layer, x: Any, state: tuple[Any, Any], lengths: Any, checkpoint: int | None = None
) -> tuple[Any, Any, Any]:
    """Return y (N, T, H) and the last h and c of a layer, on the tape."""
    values = (x, *layer.weights, *state)
    if not _C.tracks(*values):
        y, h, c = layer.forward(x, state, lengths, False)[:3]
        return steps_first(y), h, c
    x, *weights, h, c = parents = tuple([keep(v) for v in values])
    layer.weights, lengths = tuple(weights), keep(lengths)
    parts = [_Part(x, lengths, *span) for span in layer.parts(x.shape[1], checkpoint)]
    ys = []
    for part in parts:
        part.first = h, c
        left = layer.forward(part.x, part.first, part.lengths, len(parts) == 1)
        y, h, c = left[0], left[1], left[2] if layer.cell == "lstm" else None
        ys.append(y)
    if len(parts) == 1:
        parts[0].left = left
    y = _joined(layer, ys)
    last: dict[str, Any] = {}  # gradients of the last states, which their nodes leave here
    wanted = [_C.tracks(v) for v in parents]

    def backward(g: Any) -> list[Any]:
        gy = None if g is last.get("zero") else steps_first(g)
        gh, gc = last.get("h"), last.get("c")
        of_x: list[Any] = []
        total: list[Any] = [None] * 4
        for part in parts[::-1]:
            left = part.left or layer.forward(part.x, part.first, part.lengths, True)
            here = (gy if gy is None else _steps(gy, 0, *part.span), gh, gc)
            found = layer.backward(here, part.x, left, part.lengths, wanted)
            of_x.append(found[0])
            *of_weights, gh, gc = found[1:]
            total = [b if a is None or b is None else _C.add(a, b) for a, b in zip(total, of_weights, strict=True)]
        return [steps_first(_joined(layer, of_x[::-1])) if wanted[0] else None, *total, gh, gc]

    op = layer.cell.partition("_")[0]
    y = record(steps_first(y), op, parents, jointly(len(parents), backward), (x, *weights, *(parts[0].left or ())))
    h = _last(h, "h", y, last)
    return y, h, _last(c, "c", h, last) if layer.cell == "lstm" else None


class _Part:
    """Steps of all sequences, the state before them, and, once known, what they leave for a gradient."""

    def __init__(self, x: Any, lengths: Any, begin: int, end: int) -> None:
        self.span = begin, end
        self.x = _steps(x, 1, begin, end)
        self.lengths = lengths
        if lengths is not None and end - begin < x.shape[1]:
            self.lengths = keep(np.clip(lengths.numpy() - begin, 0, end - begin))
        self.first: tuple[Any, Any] = (None, None)
        self.left: tuple[Any, ...] = ()


def _steps(x: Any, axis: int, begin: int, end: int) -> Any:
    """Steps of an array, as a view."""
    if end - begin == x.shape[axis]:
        return x
    starts, stops = [0] * x.ndim, list(x.shape)
    starts[axis], stops[axis] = begin, end
    return _C.slice(x, tuple(starts), tuple(stops), (1,) * x.ndim)


def _joined(layer: Layer, walked: list[Any]) -> Any:
    """Steps of parts that are in the order of the walk."""
    return walked[0] if len(walked) == 1 else _C.concat(walked[::-1] if layer.reverse else walked, 0)


def _last(value: Any, name: str, before: Any, last: dict[str, Any]) -> Any:
    """Record a last state. Its gradient goes by way of ``last`` to the node of the sequence, which runs after this one.

    ``before`` is what leads there, and gets nothing.
    """

    def backward(g: Any) -> Any:
        last[name] = g
        last["zero"] = _C.broadcast_to(_C.full((), 0.0, g.dtype), before.shape)
        return last["zero"]

    return record(value, "last_state", (before,), (backward,))
