"""Recurrent layers on several threads: those of a stack some steps behind each other, and steps that are divided."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import _C
from mlext import functional as F

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {"nonlinearity": "relu"}),
    ("GRU", {}),
    ("GRU", {"reset_after": False}),
    ("LSTM", {}),
    ("LSTM", {"proj_size": 70, "peepholes": True}),
]


def first_states(layer: Any, n: int, rng: np.random.Generator, dtype: str) -> list[Any]:
    shapes = [(layer.num_layers, n, layer._outputs()), (layer.num_layers, n, layer.hidden_size)]
    made = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    return made if isinstance(layer, ml.nn.LSTM) else made[:1]


def results(layer: Any, given: Any, firsts: list[Any], lengths: Any) -> list[Any]:
    """Y, the last states and all gradients."""
    x, state = ml.tensor(given, requires_grad=True), [ml.tensor(v, requires_grad=True) for v in firsts]
    layer.zero_grad()
    is_lstm = isinstance(layer, ml.nn.LSTM)
    y, last = layer(x, tuple(state) if is_lstm else state[0], lengths)
    out = [y, *(last if is_lstm else [last])]
    sum(F.sum(F.sin(v)) for v in out).backward()
    return [v.detach().numpy() for v in out] + [v.grad.numpy() for v in (x, *state, *layer.parameters())]


@pytest.mark.parametrize(("kind", "more"), KINDS)
# Layers at once, twice; sequences divided; units of a step divided, of one sequence and of a few.
@pytest.mark.parametrize("sizes", [(1, 120, 5, 100), (3, 40, 20, 100), (9, 6, 20, 40), (1, 4, 9, 400), (3, 4, 9, 400)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_neither_on_threads_nor_on_what_they_share(
    level: str, threads: Callable[[int], None], kind: str, more: dict[str, Any], sizes: Any, dtype: str
) -> None:
    n, steps, channels, units = sizes
    layer = getattr(ml.nn, kind)(channels, units, 3, rng=0, dtype=dtype, **more)
    rng = np.random.default_rng(1)
    given = rng.standard_normal((n, steps, channels)).astype(dtype)
    firsts = first_states(layer, n, rng, dtype)
    for lengths in (None, rng.integers(1, steps + 1, n)):
        seen = set()
        for count in (1, 2, 3):
            threads(count)
            for checkpoint in (None, steps):  # one part of all steps: layers go one after the other
                layer.checkpoint = checkpoint
                seen.add(b"".join(v.tobytes() for v in results(layer, given, firsts, lengths)))
        assert len(seen) == 1


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_layers_of_halves_read_what_was_rounded(kind: str, dtype: str) -> None:
    layer = getattr(ml.nn, kind)(4, 6, 2, rng=0, dtype=dtype)
    x = _C.cast(ml.tensor(np.random.default_rng(2).standard_normal((3, 5, 4)).astype(np.float32)), dtype)
    with ml.no_grad():
        y = layer(x)[0].numpy()
        layer.checkpoint = 5
        np.testing.assert_array_equal(y, layer(x)[0].numpy())


@pytest.mark.parametrize("units", [100, 400])
def test_a_stack_of_bytes_is_its_layers(threads: Callable[[int], None], units: int) -> None:
    stack = ml.quantize(ml.nn.Sequential(ml.nn.LSTM(20, units, 2, rng=0)), weights="int8")[0]
    x = np.random.default_rng(3).standard_normal((1, 120, 20)).astype(np.float32)
    expected = x
    for i in range(2):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        scales = tuple(getattr(stack, f"scale_{name}_l{i}") for name in ("ih", "hh"))
        expected = F.lstm(expected, None, *(getattr(stack, f"{name}_l{i}") for name in names), scales=scales)[0].numpy()
    for count in (1, 2):
        threads(count)
        np.testing.assert_array_equal(stack(ml.tensor(x))[0].numpy(), expected)


def test_a_stack_is_one_launch_where_nothing_lies_between_layers() -> None:
    def launches(layer: Any) -> int:
        with ml.profile() as p:
            layer(ml.ones(2, 5, 3))
        return [event.name for event in p.events].count("gru")

    assert launches(ml.nn.GRU(3, 4, 3, rng=0)) == 1
    assert launches(ml.nn.GRU(3, 4, 3, checkpoint=5, rng=0)) == 3
    dropped = ml.nn.GRU(3, 4, 3, dropout=0.5, rng=0)
    assert launches(dropped) == 3
    assert launches(dropped.eval()) == 1


def test_a_frozen_first_layer_has_no_gradient() -> None:
    layer = ml.nn.GRU(3, 4, 2, rng=0)
    frozen = [p for name, p in layer.named_parameters() if name.endswith("_l0")]
    for parameter in frozen:
        parameter.requires_grad = False
    F.sum(layer(ml.ones(2, 5, 3))[0]).backward()
    assert all(p.grad is None for p in frozen)
    assert all(p.grad is not None for name, p in layer.named_parameters() if name.endswith("_l1"))


@pytest.mark.parametrize("count", [1, 2])
def test_a_stack_can_be_interrupted(threads: Callable[[int], None], count: int) -> None:
    """Nobody waits for a layer that was given up."""
    threads(count)
    layer = ml.nn.LSTM(4, 100, 3, rng=0)
    x = np.zeros((1, 400_000, 4), np.float32)
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    began = time.perf_counter()
    timer.start()
    with ml.no_grad(), pytest.raises(KeyboardInterrupt):
        layer(x)
    assert time.perf_counter() - began < 3
    y, _ = layer(x[:, :50])
    assert np.isfinite(y.detach().numpy()).all()


def test_errors_of_a_stack_name_the_argument() -> None:
    w = [np.ones((12, 3), np.float32), np.ones((12, 4), np.float32)], [np.ones((12, 4), np.float32)] * 2
    x, none = np.ones((2, 5, 3), np.float32), [None, None]
    rest = [*[none] * 9, None, False, False]
    assert len(_C.recurrent_stack("gru", x, *w, *rest)) == 2
    with pytest.raises(ValueError, match="gru: argument 'weight_ih': expected shape"):
        _C.recurrent_stack("gru", x, w[0][::-1], w[1], *rest)
    with pytest.raises(ValueError, match="gru: argument 'h': expected 2 arrays, one for each direction or layer"):
        _C.recurrent_stack("gru", x, *w, *[none] * 7, [None], none, None, False, False)
