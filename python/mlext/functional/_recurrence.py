"""One recurrent layer in one direction as a node of the tape, whole or in parts that a gradient computes again."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mlext import _C
from mlext.autograd import aside
from mlext.functional._common import bounds_along, jointly, keep, record
from mlext.functional._geometry import check_rank
from mlext.functional.quantized import refuse_gradient

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
Weights: TypeAlias = tuple[Any, Any, Any, Any, Any, Any]  # of x and of h, their biases, projection, peepholes


def check_weights(op: str, gates: int, weights: Weights) -> None:
    """Raise unless the weights of the input and of the state fit each other."""
    weight_ih, weight_hh, _, _, weight_hr, _ = weights
    letters, last = "H" if gates == 1 else f"{gates} H", "H" if weight_hr is None else "P"
    check_rank(op, "weight_ih", weight_ih, f"({letters}, C)")
    check_rank(op, "weight_hh", weight_hh, f"({letters}, {last})")
    rows, units = weight_hh.shape
    if weight_hr is None and rows != gates * units:
        raise ValueError(f"{op}: argument 'weight_hh': expected shape ({letters}, H), got {weight_hh.shape}")
    if len(weight_ih) != rows:
        raise ValueError(f"{op}: argument 'weight_ih': expected {rows} rows, as weight_hh has, got {len(weight_ih)}")


def checked_scales(op: str, scales: Any, weight_hr: Any) -> tuple[Any, Any, Any]:
    """Return the scales of weights in bytes, None for those that are not there; TypeError or ValueError for others."""
    if scales is None:
        return None, None, None
    expected = 2 if weight_hr is None else 3
    if not isinstance(scales, (tuple, list)):
        raise TypeError(f"{op}: argument 'scales': expected None or a tuple of arrays, got {type(scales).__name__}")
    if len(scales) != expected or any(scale is None for scale in scales):
        names = "weight_ih and weight_hh" if weight_hr is None else "weight_ih, weight_hh and weight_hr"
        raise ValueError(f"{op}: argument 'scales': expected {expected} arrays, those of {names}, got {len(scales)}")
    return scales[0], scales[1], None if weight_hr is None else scales[2]


def checked_integers(op: str, name: str, given: Any) -> Any:
    """Return integers as an ndarray of int64; TypeError for what are none."""
    found = np.asarray(given)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{op}: argument '{name}': expected integers, got {found.dtype}")
    return found.astype(np.int64)


def checked_lengths(op: str, lengths: Any, x: Any, name: str = "x", least: int = 1) -> Any:
    """Return lengths as the kernels take them; TypeError or ValueError for what are none of ``x``, called ``name``."""
    if lengths is None or isinstance(lengths, _C.Array):
        return lengths
    found = checked_integers(op, "lengths", lengths)
    if found.size and not (found.min() >= least and found.max() <= x.shape[1]):
        worst = found.min() if found.min() < least else found.max()
        expected = f"lengths from {least} to {x.shape[1]}, those of {name}"
        raise ValueError(f"{op}: argument 'lengths': expected {expected}, got {worst}")
    return found


def within(lengths: Any, steps: int) -> Any:
    """Return which of so many steps belong to each sequence, (N, T)."""
    return _C.lt(_C.constant(np.arange(steps)), _C.expand_dims(lengths, (1,)))


def checked_checkpoint(op: str, checkpoint: Any) -> int | None:
    """Return the steps between two states that are kept; TypeError or ValueError for what is no such number."""
    if checkpoint is None:
        return None
    if isinstance(checkpoint, bool) or not hasattr(checkpoint, "__index__"):
        raise TypeError(f"{op}: argument 'checkpoint': expected None or a number of steps, got {checkpoint!r}")
    if checkpoint < 1:
        raise ValueError(f"{op}: argument 'checkpoint': expected at least one step, got {checkpoint}")
    return int(checkpoint)


class Layer(NamedTuple):
    """A cell, its weights and its direction, over the parts of a sequence."""

    cell: str
    weights: Weights
    reverse: bool
    scales: tuple[Any, Any, Any] = (None, None, None)  # of weights in bytes: of x, of h, and of the projection

    def forward(self, x: Any, state: tuple[Any, Any], lengths: Any, saves: bool) -> tuple[Any, ...]:
        """Return y, h, c and what a gradient needs, steps first."""
        return tuple(_C.recurrent(self.cell, x, *self.weights, *self.scales, *state, lengths, self.reverse, saves))

    def backward(self, g: tuple[Any, Any, Any], x: Any, left: tuple[Any, ...], lengths: Any, wanted: list[bool]) -> Any:
        """Return gradients of x, of the weights and of the first states from those of y, h and c; None for unwanted."""
        arguments: Any = (self.cell, *self.to_go_back(g, left), lengths, self.reverse)
        return self.gradients(_C.recurrent_gradient(*arguments), x, left, lengths, wanted)

    def to_go_back(self, g: tuple[Any, Any, Any], left: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what the way back reads."""
        y, _, _, gates, before, extra = left
        _, w_hh, _, _, w_hr, peepholes = self.weights
        return (*g, y, gates, before, extra, w_hh, w_hr, peepholes)

    def gradients(self, found: tuple[Any, ...], x: Any, left: tuple[Any, ...], lengths: Any, wanted: list[bool]) -> Any:
        """Return those that are wanted from what the way back left."""
        _, _, _, gates, before, extra = left
        gx, gsums, gh, gc, gprojected = found
        made: list[Any] = [None] * 7
        if wanted[0]:
            made[0] = _C.matmul(gx, self.weights[0])
        if wanted[1]:
            made[1] = _C.linear_weight_gradient(gx, steps_first(_without_padding(x, lengths)))
        if wanted[2]:
            made[2] = self._to_recurrent(gsums, before, extra)
        if wanted[3]:
            made[3] = _C.sum(gx, (0, 1), False)
        if wanted[4]:
            same = wanted[3] and self.cell != "gru"
            made[4] = made[3] if same else _C.sum(gsums, (0, 1), False)
        if wanted[5] or wanted[6]:
            made[5:] = _to_projection_and_peepholes(gx, gprojected, gates, extra, wanted[5:7])
        return [*made, gh, gc if self.cell == "lstm" else None]

    def _to_recurrent(self, gsums: Any, before: Any, extra: Any) -> Any:
        before = _like(before, gsums)
        if self.cell != "gru_before":
            return _C.linear_weight_gradient(gsums, before)
        gated = 2 * extra.shape[2]  # the third gate sees r h
        of_gates = _C.linear_weight_gradient(cut(gsums, 2, 0, gated), before)
        of_new = _C.linear_weight_gradient(cut(gsums, 2, gated, gsums.shape[2]), _like(extra, gsums))
        return _C.concat([of_gates, of_new], 0)

    def parts(self, steps: int, size: int | None) -> list[tuple[int, int]]:
        """Begin and end of each part, in the order of the walk."""
        size = min(steps, size or steps)
        found = [(i, min(i + size, steps)) for i in range(0, steps, size)]
        return found[::-1] if self.reverse else found


def _to_projection_and_peepholes(gx: Any, gprojected: Any, gates: Any, before: Any, wanted: list[bool]) -> list[Any]:
    """Of lstm: c is computed again, from the gates and from what it was before."""
    units = before.shape[2]
    i, f, g, o = (cut(gates, 2, k * units, (k + 1) * units) for k in range(4))
    c = _C.add(_C.mul(f, before), _C.mul(i, g))
    of_projection = of_peepholes = None
    if wanted[0]:
        of_projection = _C.linear_weight_gradient(gprojected, _like(_C.mul(o, _C.tanh(c)), gprojected))
    if wanted[1]:
        seen = _like(_C.concat([before, before, c], 2), gx)
        gates_of_peepholes = _C.concat([cut(gx, 2, 0, 2 * units), cut(gx, 2, 3 * units, 4 * units)], 2)
        of_peepholes = _C.sum(_C.mul(gates_of_peepholes, seen), (0, 1), False)
    return [of_projection, of_peepholes]


def _like(a: Any, b: Any) -> Any:
    """Return a in the dtype of b, which may be a half type."""
    return a if a.dtype == b.dtype else _C.cast(a, b.dtype)


def _without_padding(x: Any, lengths: Any) -> Any:
    """Return x with 0 behind each sequence: a gradient of 0 there times what is no number would be none."""
    if lengths is None:
        return x
    return _C.where(_C.expand_dims(within(lengths, x.shape[1]), (2,)), x, 0.0)


def steps_first(x: Any) -> Any:
    """Between sequences first and steps first, as a view."""
    return _C.permute(x, (1, 0, 2))


def run(
    layer: Layer, x: Any, state: tuple[Any, Any], lengths: Any, checkpoint: int | None = None, made: Any = None
) -> tuple[Any, Any, Any]:
    """Return y (N, T, H) and the last h and c of a layer, on the tape; ``made``: what its way there left, if known."""
    values = (x, *layer.weights, *state)
    if layer.scales[0] is not None:
        refuse_gradient(layer.cell.partition("_")[0], *values)
    if not _C.tracks(*values):
        y, h, c = (made or layer.forward(x, state, lengths, False))[:3]
        return steps_first(y), h, c
    x, w_ih, w_hh, b_ih, b_hh, w_hr, peepholes, h, c = parents = tuple([keep(v) for v in values])
    weights, lengths = (w_ih, w_hh, b_ih, b_hh, w_hr, peepholes), keep(lengths)
    layer = layer._replace(weights=weights)
    parts = [Part(x, lengths, *span) for span in layer.parts(x.shape[1], checkpoint)]
    ys = []
    for part in parts:
        part.first = h, c
        left = made or layer.forward(part.x, part.first, part.lengths, len(parts) == 1)
        y, h, c = left[0], left[1], left[2] if layer.cell == "lstm" else None
        ys.append(y)
    if len(parts) == 1:
        parts[0].left = left
    y = joined(layer, ys)
    last: dict[str, Any] = {}  # gradients of the last states, which their nodes leave here
    wanted = [_C.tracks(v) for v in parents]

    def backward(g: Any) -> list[Any]:
        gy = None if g is None else steps_first(g)
        gh, gc = last.get("h"), last.get("c")
        of_x: list[Any] = []
        total: list[Any] = [None] * len(weights)
        for part in parts[::-1]:
            left = part.left or layer.forward(part.x, part.first, part.lengths, True)
            here = (gy if gy is None else cut(gy, 0, *part.span), gh, gc)
            found = layer.backward(here, part.x, left, part.lengths, wanted)
            of_x.append(found[0])
            *of_weights, gh, gc = found[1:]
            total = [b if a is None or b is None else _C.add(a, b) for a, b in zip(total, of_weights, strict=True)]
        return [steps_first(joined(layer, of_x[::-1])) if wanted[0] else None, *total, gh, gc]

    op = layer.cell.partition("_")[0]
    y = record(steps_first(y), op, parents, jointly(len(parents), backward), (x, *weights, *(parts[0].left or ())))
    h = aside(h, "last_state", y, last, "h")
    return y, h, aside(c, "last_state", y, last, "c") if layer.cell == "lstm" else None


def run_stack(layers: list[Layer], x: Any, states: list[Any], lengths: Any) -> tuple[Any, list[Any]]:
    """Return y (N, T, H) of the last layer and the last states of each, on the tape."""
    each = [(*layer.weights, *layer.scales, *state) for layer, state in zip(layers, states, strict=True)]
    saves = _C.tracks(x, *[value for values in each for value in values])
    arguments: Any = (layers[0].cell, x, *zip(*each, strict=True), lengths, layers[0].reverse, saves)
    walked: Any = _C.recurrent_stack(*arguments)
    lasts = []
    for layer, state, made in zip(layers, states, walked, strict=True):
        x, *last = run(layer, x, state, lengths, made=tuple(made))
        lasts.append(tuple(last))
    return x, lasts


class Part:
    """Steps of all sequences, the state before them, and, once known, what they leave for a gradient."""

    def __init__(self, x: Any, lengths: Any, begin: int, end: int) -> None:
        self.span = begin, end
        self.x = cut(x, 1, begin, end)
        self.lengths = lengths
        if lengths is not None and end - begin < x.shape[1]:
            self.lengths = keep(np.clip(lengths.numpy() - begin, 0, end - begin))
        self.first: tuple[Any, Any] = (None, None)
        self.left: tuple[Any, ...] = ()


def cut(x: Any, axis: int, begin: int, end: int) -> Any:
    """Return part of an array, as a view."""
    if end - begin == x.shape[axis]:
        return x
    return _C.slice(x, *bounds_along(x.shape, axis, begin, end))


def joined(layer: Layer, walked: list[Any]) -> Any:
    """Return the steps of parts that are in the order of the walk."""
    return walked[0] if len(walked) == 1 else _C.concat(walked[::-1] if layer.reverse else walked, 0)
