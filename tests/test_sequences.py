"""Around recurrent layers: last steps, every step, both directions, attention; packed sequences and windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mlext as ml
from gradcheck import check_gradient
from mlext import functional as F
from mlext import nn
from mlext.data import pack_sequences, sliding_windows, unpack_sequences

Array = np.ndarray[Any, Any]
LENGTHS = [3, 6, 1, 4]


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.standard_normal((4, 6, 3)).astype(np.float32)


def array(value: Any) -> Array:
    return value.detach().numpy()


# ---- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_last_step_is_the_last_that_was_read(kind: str, layers: int, x: Array) -> None:
    one, both = (getattr(nn, kind)(3, 5, layers, bidirectional=b, rng=0) for b in (False, True))
    for lengths in (None, LENGTHS):
        ends = np.array(lengths or [6] * 4) - 1
        out = one(x, lengths=lengths)
        np.testing.assert_array_equal(array(nn.LastStep()(out)), array(out[0])[np.arange(4), ends])
        np.testing.assert_array_equal(array(nn.LastStep()(out[0], lengths)), array(out[0])[np.arange(4), ends])
        out = both(x, lengths=lengths)
        y = array(out[0])
        expected = np.concatenate([y[np.arange(4), ends, :5], y[:, 0, 5:]], 1)
        np.testing.assert_array_equal(array(nn.LastStep()(out)), expected)


def test_a_sequential_reads_what_recurrent_layers_return(x: Array) -> None:
    model = nn.Sequential(
        nn.LSTM(3, 4, rng=0), nn.Bidirectional(nn.GRU(4, 5, rng=1), rng=2), nn.RNN(10, 6, rng=3), nn.LastStep()
    )
    y, _ = model[0](x)
    y, _ = model[1](y)
    expected = array(model[2](y)[0])[:, -1]
    np.testing.assert_array_equal(array(model(x)), expected)
    np.testing.assert_array_equal(model.predict(x), expected)
    every = nn.Sequential(nn.GRU(3, 4, rng=0), nn.TimeDistributed(nn.Linear(4, 2, rng=1)))
    np.testing.assert_array_equal(array(every(x)), array(every[1].module(every[0](x)[0])))


def test_gradients_of_picked_steps(rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 6, 3))
    check_gradient(lambda v: nn.LastStep()(v, LENGTHS), x)
    check_gradient(nn.LastStep(), x)
    layer = nn.Bidirectional(nn.LSTM(3, 2, dtype="float64", rng=0), "mul", rng=1)
    check_gradient(lambda v: nn.LastStep()(layer(v, lengths=LENGTHS)), x, parameters=layer.parameters())


def test_every_step_by_itself(rng: np.random.Generator) -> None:
    frames = rng.standard_normal((2, 5, 6, 7, 1)).astype(np.float32)
    module = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.Flatten())
    got = array(nn.TimeDistributed(module)(frames))
    np.testing.assert_array_equal(got, np.stack([array(module(frames[:, t])) for t in range(5)], 1))


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_both_directions_are_joined(kind: str, merge: str, x: Array) -> None:
    join = {
        "concat": lambda a, b: np.concatenate([a, b], -1),
        "sum": np.add,
        "mul": np.multiply,
        "ave": lambda a, b: (a + b) / 2,
    }[merge]
    both = nn.Bidirectional(getattr(nn, kind)(3, 5, rng=0), merge, rng=1)
    alone = getattr(nn, kind)(3, 5, rng=2)
    alone.load_state_dict(both.reverse.state_dict())
    y, last = both(x, lengths=LENGTHS)
    # The twin reads each sequence turned round; its results are turned round again.
    turned = x.copy()
    for row, n in zip(turned, LENGTHS, strict=True):
        row[:n] = row[:n][::-1]
    back = array(alone(turned, lengths=LENGTHS)[0])
    for row, n in zip(back, LENGTHS, strict=True):
        row[:n] = row[:n][::-1]
    forward = array(both.layer(x, lengths=LENGTHS)[0])
    np.testing.assert_allclose(array(y), join(forward, back), rtol=1e-6, atol=1e-7)
    h = last[0] if kind == "LSTM" else last
    ends = forward[np.arange(4), np.array(LENGTHS) - 1]
    np.testing.assert_allclose(array(h)[0], join(ends, back[:, 0]), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(array(nn.LastStep()((y, last))), array(h)[0])


def test_concatenated_directions_are_those_of_the_layer(x: Array) -> None:
    layer, wrapped = nn.LSTM(3, 5, bidirectional=True, rng=0), nn.Bidirectional(nn.LSTM(3, 5, rng=1), rng=2)
    state = {
        (f"reverse.{k.removesuffix('_reverse')}" if k.endswith("_reverse") else f"layer.{k}"): v
        for k, v in layer.state_dict().items()
    }
    wrapped.load_state_dict(state)
    np.testing.assert_array_equal(array(wrapped(x)[0]), array(layer(x)[0]))
    np.testing.assert_array_equal(array(nn.LastStep()(wrapped(x))), array(nn.LastStep()(layer(x))))


def test_attention_is_its_formula(rng: np.random.Generator) -> None:
    layer = nn.AdditiveAttention(3, 4, 5, dtype="float64", rng=0)
    query, keys = rng.standard_normal((2, 6, 3)), rng.standard_normal((2, 7, 4))
    w, b, u, v = (array(p) for p in (layer.query.weight, layer.query.bias, layer.key.weight, layer.score.weight))
    for lengths in (None, [7, 3]):
        context, weights = layer(query, keys, lengths)
        for i in range(2):
            n = 7 if lengths is None else lengths[i]
            scores = np.array([[v[0] @ np.tanh(w @ q + b + u @ k) for k in keys[i, :n]] for q in query[i]])
            shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            np.testing.assert_allclose(array(weights)[i, :, :n], shares, rtol=1e-12)
            assert (array(weights)[i, :, n:] == 0).all()
            np.testing.assert_allclose(array(context)[i], shares @ keys[i, :n], rtol=1e-12)
    check_gradient(lambda q, k: layer(q, k, [7, 3])[0], query, keys, parameters=layer.parameters())


def test_attention_with_lengths_is_captured(rng: np.random.Generator) -> None:
    layer = nn.AdditiveAttention(3, 3, 4, rng=0)
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    run = ml.compile(lambda x, lengths: layer(x, x, lengths)[1])
    for lengths in ([5, 2], [1, 4]):
        np.testing.assert_array_equal(run(x, np.array(lengths)).numpy(), array(layer(x, x, lengths)[1]))


def test_errors_of_layers(x: Array) -> None:
    pair = nn.GRU(3, 4, rng=0)(x)
    attention = nn.AdditiveAttention(3, 3, 4)
    for call, error, text in (
        (lambda: nn.LastStep()(x[0]), ValueError, r"LastStep: argument 'x': expected 3 dimensions \(N, T, H\)"),
        (lambda: nn.LastStep()(x[:, :0]), ValueError, "LastStep: argument 'x': expected at least one step"),
        (
            lambda: nn.LastStep()(x, [7, 1, 1, 1]),
            ValueError,
            "LastStep: argument 'lengths': expected lengths from 1 to 6",
        ),
        (lambda: nn.LastStep()(pair, LENGTHS), ValueError, "LastStep: argument 'lengths': expected None with a state"),
        (
            lambda: nn.TimeDistributed(nn.Identity())(x[0, 0]),
            ValueError,
            r"'x': expected shape \(N, T, ...\), got \(3,\)",
        ),
        (lambda: nn.TimeDistributed(F.relu), TypeError, "TimeDistributed: argument 'module': expected a Module"),
        (lambda: nn.Bidirectional(nn.Linear(2, 2)), TypeError, "Bidirectional: argument 'layer': expected RNN, GRU or"),
        (lambda: nn.Bidirectional(nn.GRU(2, 2, bidirectional=True)), ValueError, "expected a layer of one direction"),
        (lambda: nn.Bidirectional(nn.GRU(2, 2), "max"), ValueError, "'merge': expected one of concat, sum, mul, ave"),
        (
            lambda: nn.AdditiveAttention(0, 3, 4),
            ValueError,
            "AdditiveAttention: argument 'query_size': expected a posit",
        ),
        (lambda: attention(x, x[:2]), ValueError, "AdditiveAttention: argument 'keys': expected 4 sequences"),
        (lambda: attention(x[0], x), ValueError, r"argument 'query': expected 3 dimensions \(N, S, Q\)"),
        (lambda: attention(x, x, [0, 1, 1, 1]), ValueError, "argument 'lengths': expected lengths from 1 to 6"),
    ):
        with pytest.raises(error, match=text):
            call()


# ---- data ----------------------------------------------------------------------------------------


def test_packed_sequences_come_out_again(rng: np.random.Generator) -> None:
    sequences = [rng.standard_normal((n, 3)).astype(np.float32) for n in LENGTHS]
    padded, lengths = pack_sequences(sequences, value=np.nan)
    assert padded.shape == (4, 6, 3)
    assert padded.dtype == np.float32
    assert lengths.tolist() == LENGTHS
    assert np.isnan(padded[0, 3:]).all()
    for a, b in zip(unpack_sequences(padded, lengths), sequences, strict=True):
        np.testing.assert_array_equal(a, b)
    layer = nn.GRU(3, 4, rng=0)  # does not read the padding
    together = unpack_sequences(array(layer(padded, lengths=lengths)[0]), lengths)
    for y, alone in zip(together, sequences, strict=True):
        np.testing.assert_array_equal(y, array(layer(alone[None])[0])[0])


def test_windows_and_what_follows() -> None:
    series = np.arange(20).reshape(10, 2)
    x, y = sliding_windows(series, 4, 3)
    assert x.shape == (4, 4, 2)
    assert y.shape == (4, 3, 2)
    for i in range(4):
        np.testing.assert_array_equal(x[i], series[i : i + 4])
        np.testing.assert_array_equal(y[i], series[i + 4 : i + 7])
    assert np.shares_memory(x, series)


def test_errors_of_data() -> None:
    for call, text in (
        (lambda: pack_sequences([]), "pack_sequences: argument 'sequences': expected at least one sequence"),
        (lambda: pack_sequences([[1], []]), r"expected a sequence of at least one step, got shape \(0,\) at 1"),
        (
            lambda: pack_sequences([[[1, 2]], [[1]]]),
            r"expected steps of shape \(2,\), as the first has, got \(1,\) at 1",
        ),
        (lambda: unpack_sequences(np.ones((2, 3)), [3]), "argument 'lengths': expected integers, one for each of 2"),
        (lambda: unpack_sequences(np.ones((2, 3)), [3, 4]), "argument 'lengths': expected 0 to 3, got 4"),
        (lambda: sliding_windows([1, 2, 3], 3), r"argument 'series': expected at least 3 \+ 1 steps, got shape \(3,\)"),
        (lambda: sliding_windows([1, 2, 3], 0), "argument 'window': expected at least one step, got 0"),
        (lambda: sliding_windows([1, 2, 3], 1, -1), "argument 'horizon': expected at least one step, got -1"),
    ):
        with pytest.raises(ValueError, match=text):
            call()
