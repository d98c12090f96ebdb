"""A recurrent layer in both directions as one node of the tape: its kernels run side by side."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

from mlext import _C
from mlext.autograd import aside
from mlext.functional._common import jointly, keep, record
from mlext.functional._recurrence import Layer, Part, cut, joined, steps_first
from mlext.functional.quantized import refuse_gradient

Pair: TypeAlias = "tuple[Any, Any] | list[Any]"
Layers: TypeAlias = tuple[Layer, Layer]  # the first reads from the first step on, the other from the last


def _forward(layers: Layers, parts: Pair, firsts: Pair, saves: bool) -> Any:
    """Return y, h, c and what a gradient needs, steps first, of each direction."""
    a, b = (
        (part.x, *layer.weights, *layer.scales, *first, part.lengths)
        for layer, part, first in zip(layers, parts, firsts, strict=True)
    )
    arguments: Any = (layers[0].cell, *zip(a, b, strict=True), saves)
    return _C.recurrent_both(*arguments)


def run_both(layers: Layers, x: Any, states: Pair, lengths: Any, checkpoint: int | None) -> tuple[Any, list[Any]]:
    """Return y (N, T, 2 H), directions side by side, and the last h and c of each, on the tape."""
    there, back = layers
    values = (x, *there.weights, *states[0], *back.weights, *states[1])
    op = there.cell.partition("_")[0]
    if there.scales[0] is not None:
        refuse_gradient(op, *values)
    if not _C.tracks(*values):
        part = Part(x, lengths, 0, x.shape[1])
        a, b = _forward(layers, (part, part), states, False)
        return steps_first(_C.concat([a[0], b[0]], 2)), [a[1:3], b[1:3]]
    parents = tuple([keep(v) for v in values])
    x, lengths = parents[0], keep(lengths)
    layers = there._replace(weights=parents[1:7]), back._replace(weights=parents[9:15])
    states = [parents[7:9], parents[15:17]]
    spans = zip(*[layer.parts(x.shape[1], checkpoint) for layer in layers], strict=True)
    rounds = [[Part(x, lengths, *span) for span in each] for each in spans]
    walked = []
    for parts in rounds:
        for part, state in zip(parts, states, strict=True):
            part.first = state
        lefts = _forward(layers, parts, states, len(rounds) == 1)
        states = [(left[1], left[2] if op == "lstm" else None) for left in lefts]
        walked.append([left[0] for left in lefts])
    lefts = lefts if len(rounds) == 1 else ()  # else they are made again
    ys = [joined(layer, [each[i] for each in walked]) for i, layer in enumerate(layers)]
    lasts: Pair = ({}, {})  # gradients of the last states, which their nodes leave here
    backward = functools.partial(_gradients, layers, rounds, lefts, lasts, [_C.tracks(v) for v in parents])
    saved = (x, *parents[1:7], *parents[9:15], *[v for left in lefts for v in left])
    y = record(steps_first(_C.concat(ys, 2)), op, parents, jointly(len(parents), backward), saved)
    for i, (h, c) in enumerate(states):
        h = aside(h, "last_state", y, lasts[i], "h")
        states[i] = h, aside(c, "last_state", y, lasts[i], "c") if op == "lstm" else None
    return y, states


def _gradients(layers: Layers, rounds: Any, lefts: Any, lasts: Pair, wanted: list[bool], g: Any) -> list[Any]:
    """Return those of x, and of the weights and first states of each direction, from that of y."""
    gys: Pair = (None, None)
    if g is not None:
        gy = steps_first(g)
        half = gy.shape[2] // 2
        gys = cut(gy, 2, 0, half), cut(gy, 2, half, 2 * half)
    ends = [(last.get("h"), last.get("c")) for last in lasts]
    of_x: Pair = ([], [])
    totals: list[list[Any]] = [[None] * 6, [None] * 6]
    for parts in rounds[::-1]:
        made = lefts or _forward(layers, parts, [part.first for part in parts], True)
        calls = []
        for i, (layer, part) in enumerate(zip(layers, parts, strict=True)):
            gy = None if gys[i] is None else cut(gys[i], 0, *part.span)
            calls.append((*layer.to_go_back((gy, *ends[i]), made[i]), part.lengths))
        arguments: Any = zip(*calls, strict=True)
        for i, found in enumerate(_C.recurrent_gradient_both(layers[0].cell, *arguments)):
            chosen = [wanted[0], *wanted[8 * i + 1 : 8 * i + 7]]
            gx, *of_weights, gh, gc = layers[i].gradients(found, parts[i].x, made[i], parts[i].lengths, chosen)
            of_x[i].append(gx)
            totals[i] = [_sum(a, b) for a, b in zip(totals[i], of_weights, strict=True)]
            ends[i] = gh, gc
    total = None
    if wanted[0]:
        there, back = (joined(layer, each[::-1]) for layer, each in zip(layers, of_x, strict=True))
        total = steps_first(_C.add(there, back))
    return [total, *totals[0], *ends[0], *totals[1], *ends[1]]


def _sum(a: Any, b: Any) -> Any:
    """Of gradients, either of which may be None for 0."""
    return b if a is None else a if b is None else _C.add(a, b)
