"""A recurrent layer in one or both directions as a node of the tape, whole or in parts that a gradient makes again."""

from __future__ import annotations

import functools
from collections.abc import Sequence
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

    def gradients(self, found: tuple[Any, ...], x: Any, left: tuple[Any, ...], lengths: Any, wanted: list[bool]) -> Any:
        """Return those of x, of the weights and of the first states from what the way back left; None for unwanted."""
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
        of_gates = _C.linear_weight_gradient(_cut(gsums, 2, 0, gated), before)
        of_new = _C.linear_weight_gradient(_cut(gsums, 2, gated, gsums.shape[2]), _like(extra, gsums))
        return _C.concat([of_gates, of_new], 0)

    def parts(self, steps: int, size: int | None) -> list[tuple[int, int]]:
        """Begin and end of each part, in the order of the walk."""
        size = min(steps, size or steps)
        found = [(i, min(i + size, steps)) for i in range(0, steps, size)]
        return found[::-1] if self.reverse else found


Layers: TypeAlias = tuple[Layer, ...]  # one, or both directions


def _to_projection_and_peepholes(gx: Any, gprojected: Any, gates: Any, before: Any, wanted: list[bool]) -> list[Any]:
    """Of lstm: c is computed again, from the gates and from what it was before."""
    units = before.shape[2]
    i, f, g, o = (_cut(gates, 2, k * units, (k + 1) * units) for k in range(4))
    c = _C.add(_C.mul(f, before), _C.mul(i, g))
    of_projection = of_peepholes = None
    if wanted[0]:
        of_projection = _C.linear_weight_gradient(gprojected, _like(_C.mul(o, _C.tanh(c)), gprojected))
    if wanted[1]:
        seen = _like(_C.concat([before, before, c], 2), gx)
        gates_of_peepholes = _C.concat([_cut(gx, 2, 0, 2 * units), _cut(gx, 2, 3 * units, 4 * units)], 2)
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


def _forward(layers: Layers, parts: Sequence[_Part], saves: bool) -> Any:
    """Return y, h, c and what a gradient needs, steps first, of each direction."""
    calls: list[Any] = [
        (part.x, *layer.weights, *layer.scales, *part.first, part.lengths)
        for layer, part in zip(layers, parts, strict=True)
    ]
    return _call(_C.recurrent, _C.recurrent_both, layers, calls, saves)


def _backward(layers: Layers, parts: Sequence[_Part], lefts: Any, gradients: Any) -> Any:
    """Return what the way back leaves of each direction, from gradients of y, h and c."""
    calls: list[Any] = []
    for layer, part, (y, _, _, *saved), g in zip(layers, parts, lefts, gradients, strict=True):
        calls.append((*g, y, *saved, layer.weights[1], *layer.weights[4:], part.lengths))
    return _call(_C.recurrent_gradient, _C.recurrent_gradient_both, layers, calls)


def _call(one: Any, both: Any, layers: Layers, calls: list[Any], *last: bool) -> Any:
    """Return what a kernel of one direction, or the one of both, makes of arguments for each."""
    if len(layers) == 1:
        return [one(layers[0].cell, *calls[0], layers[0].reverse, *last)]
    return both(layers[0].cell, *zip(*calls, strict=True), *last)


def run(
    layers: Layers, x: Any, states: list[Any], lengths: Any, checkpoint: int | None = None
) -> tuple[Any, list[Any]]:
    """Return y (N, T, H), directions side by side, and the last h and c of each, on the tape.

    Of two layers the first reads from the first step on, the other from the last.
    """
    values = (x, *(v for layer, state in zip(layers, states, strict=True) for v in (*layer.weights, *state)))
    op = layers[0].cell.partition("_")[0]
    if layers[0].scales[0] is not None:
        refuse_gradient(op, *values)
    if not _C.tracks(*values):
        whole = [_Part(x, lengths, 0, x.shape[1], state) for state in states]
        made = _forward(layers, whole, False)
        return steps_first(_side_by_side([left[0] for left in made])), [left[1:3] for left in made]
    x, *rest = parents = tuple([keep(v) for v in values])
    lengths = keep(lengths)
    layers = tuple(layer._replace(weights=tuple(rest[8 * i : 8 * i + 6])) for i, layer in enumerate(layers))
    states = [tuple(rest[8 * i + 6 : 8 * i + 8]) for i in range(len(layers))]
    spans = zip(*(layer.parts(x.shape[1], checkpoint) for layer in layers), strict=True)
    rounds = [[_Part(x, lengths, *span) for span in each] for each in spans]
    ys = []
    for parts in rounds:
        for part, state in zip(parts, states, strict=True):
            part.first = state
        lefts = _forward(layers, parts, len(rounds) == 1)
        states = [(left[1], left[2] if op == "lstm" else None) for left in lefts]
        ys.append([left[0] for left in lefts])
    lefts = lefts if len(rounds) == 1 else ()  # else they are made again
    y = _side_by_side([_joined(layer, [each[i] for each in ys]) for i, layer in enumerate(layers)])
    lasts: list[dict[str, Any]] = [{} for _ in layers]  # gradients of the last states, which their nodes leave here
    backward = functools.partial(_gradients, layers, rounds, lefts, lasts, [_C.tracks(v) for v in parents])
    saved = (x, *(v for layer in layers for v in layer.weights), *(v for left in lefts for v in left))
    y = record(steps_first(y), op, parents, jointly(len(parents), backward), saved)
    for i, (h, c) in enumerate(states):
        h = aside(h, "last_state", y, lasts[i], "h")
        states[i] = h, aside(c, "last_state", y, lasts[i], "c") if op == "lstm" else None
    return y, states


def _gradients(layers: Layers, rounds: Any, lefts: Any, lasts: Any, wanted: list[bool], g: Any) -> list[Any]:
    """Return those of x and, for each layer, of its weights and first states, from that of y."""
    count = len(layers)
    gys = [None] * count if g is None else _halves(steps_first(g), count)
    ends = [(last.get("h"), last.get("c")) for last in lasts]
    of_x: list[list[Any]] = [[] for _ in layers]
    totals: list[list[Any]] = [[None] * 6 for _ in layers]
    for parts in rounds[::-1]:
        made = lefts or _forward(layers, parts, True)
        here = [
            (gy if gy is None else _cut(gy, 0, *part.span), *end)
            for gy, part, end in zip(gys, parts, ends, strict=True)
        ]
        for i, found in enumerate(_backward(layers, parts, made, here)):
            chosen = [wanted[0], *wanted[8 * i + 1 : 8 * i + 7]]
            gx, *of_weights, gh, gc = layers[i].gradients(found, parts[i].x, made[i], parts[i].lengths, chosen)
            of_x[i].append(gx)
            totals[i] = [_sum(a, b) for a, b in zip(totals[i], of_weights, strict=True)]
            ends[i] = gh, gc
    total = None
    for layer, each in zip(layers, of_x, strict=True):
        total = _sum(total, _joined(layer, each[::-1]) if wanted[0] else None)
    rest = [v for found, end in zip(totals, ends, strict=True) for v in (*found, *end)]
    return [None if total is None else steps_first(total), *rest]


def _sum(a: Any, b: Any) -> Any:
    """Of gradients, either of which may be None for 0."""
    return b if a is None else a if b is None else _C.add(a, b)


def _side_by_side(directions: list[Any]) -> Any:
    return directions[0] if len(directions) == 1 else _C.concat(directions, 2)


def _halves(x: Any, count: int) -> list[Any]:
    """What lies side by side, as views."""
    width = x.shape[2] // count
    return [_cut(x, 2, i * width, (i + 1) * width) for i in range(count)]


class _Part:
    """Steps of all sequences, and the state before them."""

    def __init__(self, x: Any, lengths: Any, begin: int, end: int, first: Any = (None, None)) -> None:
        self.span = begin, end
        self.x = _cut(x, 1, begin, end)
        self.lengths = lengths
        if lengths is not None and end - begin < x.shape[1]:
            self.lengths = keep(np.clip(lengths.numpy() - begin, 0, end - begin))
        self.first: tuple[Any, Any] = first


def _cut(x: Any, axis: int, begin: int, end: int) -> Any:
    """Part of an array, as a view."""
    if end - begin == x.shape[axis]:
        return x
    return _C.slice(x, *bounds_along(x.shape, axis, begin, end))


def _joined(layer: Layer, walked: list[Any]) -> Any:
    """Steps of parts that are in the order of the walk."""
    return walked[0] if len(walked) == 1 else _C.concat(walked[::-1] if layer.reverse else walked, 0)
