"""Recurrent layers: against steps written out in NumPy, PyTorch, and what every layer promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests import oracle

import mlext as ml
from _simd_tools import GuardedPage
from mlext import _C
from mlext import functional as F

Array = np.ndarray[Any, Any]
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
# What a kind has besides weights, biases and states; the function's name comes first.
KINDS = {
    "rnn": [],
    "gru": [],
    "gru_before": [],
    "lstm": [],
    "lstm_peepholes": ["peepholes"],
    "lstm_projected": ["weight_hr"],
    "lstm_all": ["weight_hr", "peepholes"],
}
LENGTHS = [3, 6, 1, 4]

# (N, T, C, H), options of the function.
CASES: list[tuple[tuple[int, int, int, int], dict[str, Any]]] = [
    ((3, 5, 4, 7), {}),
    ((1, 9, 2, 33), {}),
    ((2, 4, 3, 50), {"reverse": True}),  # several panels
    ((4, 6, 3, 9), {"lengths": LENGTHS}),
    ((4, 6, 3, 9), {"lengths": LENGTHS, "reverse": True}),
    ((100, 2, 3, 20), {}),  # several chunks of sequences
    ((20, 3, 3, 130), {}),  # panels that do not stay in L1
]


def draw(rng: np.random.Generator, kind: str, sizes: tuple[int, int, int, int], dtype: str) -> list[Array]:
    """x, the two weights and biases, h and c, and what else the kind has."""
    n, t, c, units = sizes
    rows = GATES[kind.partition("_")[0]] * units
    h = (2 * units + 2) // 3 if "weight_hr" in KINDS[kind] else units
    more = {"weight_hr": (h, units), "peepholes": (3 * units,)}
    shapes = [(n, t, c), (rows, c), (rows, h), (rows,), (rows,), (n, h), (n, units), *map(more.get, KINDS[kind])]
    values = [(rng.standard_normal(shape) / 2).astype(dtype) for shape in shapes]
    values[2] /= np.sqrt(h).astype(dtype)  # errors do not grow from step to step
    return values


def call(kind: str, values: list[Any], **options: Any) -> list[Any]:
    """y, h and c (of lstm)."""
    x, *weights, h, c = values[:7]
    name = kind.partition("_")[0]
    if kind == "gru_before":
        options["reset_after"] = False
    options |= dict(zip(KINDS[kind], values[7:], strict=True))
    y, state = getattr(F, name)(x, (h, c) if name == "lstm" else h, *weights, **options)
    return [y, *(state if name == "lstm" else [state])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sizes", "options"), CASES)
def test_steps_are_those_of_the_formulas(
    level: str, kind: str, sizes: tuple[int, int, int, int], options: dict[str, Any]
) -> None:
    for dtype, tolerance in (("float64", 1e-12), ("float32", 3e-6)):
        values = draw(np.random.default_rng(0), kind, sizes, dtype)
        wide = [v.astype(np.float64) for v in values]
        more = {"weight_hr": "w_hr"}
        named = {more.get(k, k): v for k, v in zip(KINDS[kind], wide[7:], strict=True)}
        expected = oracle.recurrent(kind, *wide[:7], **named, **options)
        for got, right in zip(call(kind, values, **options), expected, strict=False):
            np.testing.assert_allclose(got, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sizes", "options"), CASES)
@pytest.mark.parametrize("used", ["y", "h", "c", "yhc"])
def test_gradients_are_those_of_differences(
    kind: str, sizes: tuple[int, int, int, int], options: dict[str, Any], used: str
) -> None:
    rng = np.random.default_rng(1)
    values = draw(rng, kind, sizes, "float64")
    if not kind.startswith("lstm"):
        used = used.replace("c", "") or "h"
    places = ["yhc".index(letter) for letter in used]

    def loss(inputs: list[Any]) -> Any:
        out = call(kind, inputs, **options)
        return sum(F.sum(F.sin(out[i]) * (i + 1.0)) for i in places)

    tensors = [ml.tensor(v, requires_grad=True) for v in values]
    loss(tensors).backward()
    inputs = [i for i in range(len(values)) if kind.startswith("lstm") or i != 6]
    directions = [rng.standard_normal(v.shape) for v in values]
    for i in inputs:
        moved = [
            [v + (step * d if j == i else 0) for j, (v, d) in enumerate(zip(values, directions, strict=True))]
            for step in (1e-6, -1e-6)
        ]
        high, low = (float(loss([ml.tensor(v) for v in each]).item()) for each in moved)
        slope = float((tensors[i].grad.numpy() * directions[i]).sum())
        assert abs((high - low) / 2e-6 - slope) <= 1e-6 * max(1.0, abs(slope)), i


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{}, {"reverse": True}, {"lengths": LENGTHS}, {"lengths": LENGTHS, "reverse": True}]
)
@pytest.mark.parametrize("used", ["y", "h", "yhc"])
def test_checkpoints_change_no_result(kind: str, options: dict[str, Any], used: str) -> None:
    values = draw(np.random.default_rng(13), kind, (4, 6, 3, 9), "float64")
    made = []
    for checkpoint in (None, 1, 4, 6, 100):
        tensors = [ml.tensor(v, requires_grad=i != 5) for i, v in enumerate(values)]
        out = call(kind, tensors, checkpoint=checkpoint, **options)
        sum(F.sum(F.sin(v) * (i + 1.0)) for i, v in enumerate(out) if "yhc"[i] in used).backward()
        made.append((out, [t.grad for t in tensors if t.grad is not None]))
    for out, grads in made[1:]:
        for a, b in zip(out, made[0][0], strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
        for a, b in zip(grads, made[0][1], strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-13)


def test_ten_thousand_steps_in_the_memory_of_a_hundred() -> None:
    layer = ml.nn.LSTM(4, 64, checkpoint=100, rng=0)
    x = np.random.default_rng(14).standard_normal((2, 10_000, 4)).astype(np.float32)
    gates = 10_000 * 2 * 64 * 4 * 4
    peaks = []
    for checkpoint in (100, None):
        layer.checkpoint, before = checkpoint, ml.memory_stats()["in_use"]
        _C.reset_peak_memory()
        F.sum(layer(x)[0]).backward()
        peaks.append(ml.memory_stats()["peak"] - before)
    assert peaks[0] < 0.7 * gates < 2.5 * gates < peaks[1]


@pytest.mark.parametrize(("kind", "more"), [("RNN", {}), ("GRU", {}), ("LSTM", {}), ("LSTM", {"proj_size": 4})])
@pytest.mark.parametrize(("layers", "both", "bias"), [(1, False, True), (3, False, False), (2, True, True)])
def test_layers_equal_torch(kind: str, more: dict[str, Any], layers: int, both: bool, bias: bool) -> None:
    torch = pytest.importorskip("torch")
    options = {"bidirectional": both, "bias": bias, **more}
    theirs = getattr(torch.nn, kind)(5, 6, layers, batch_first=True, **options, dtype=torch.float64)
    ours = getattr(ml.nn, kind)(5, 6, layers, **options, dtype="float64")
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    rng = np.random.default_rng(2)
    x = rng.standard_normal((4, 6, 5))
    sizes = [more.get("proj_size", 6), 6] if kind == "LSTM" else [6]
    state = [rng.standard_normal((layers * (1 + both), 4, size)) for size in sizes]
    tx, mx = torch.tensor(x, requires_grad=True), ml.tensor(x, requires_grad=True)
    ts, ms = [torch.tensor(s, requires_grad=True) for s in state], [ml.tensor(s, requires_grad=True) for s in state]
    pack, unpack = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    for lengths in (None, LENGTHS):
        given = tx if lengths is None else pack(tx, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        ty, last = theirs(given, tuple(ts) if len(ts) == 2 else ts[0])
        ty = ty if lengths is None else unpack(ty, batch_first=True)[0]
        my, mine = ours(mx, tuple(ms) if len(ms) == 2 else ms[0], lengths)
        their_results = [ty, *(last if len(ts) == 2 else [last])]
        our_results = [my, *(mine if len(ts) == 2 else [mine])]
        for a, b in zip(our_results, their_results, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-10)
        sum(F.sum(F.sin(v)) for v in our_results).backward()
        sum(v.sin().sum() for v in their_results).backward()
        pairs = [(mx, tx), *zip(ms, ts, strict=True)]
        pairs += [(dict(ours.named_parameters())[k], p) for k, p in theirs.named_parameters()]
        for a, b in pairs:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-9)
            a.grad = b.grad = None


@pytest.mark.parametrize(("kind", "options"), [("RNN", {}), ("GRU", {}), ("GRU", {"reset_after": False}), ("LSTM", {})])
def test_cells_are_steps(kind: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    layer = getattr(ml.nn, kind)(3, 5, rng=0, **options)
    cell = getattr(ml.nn, kind + "Cell")(3, 5, rng=1, **options)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = ml.tensor(rng.standard_normal((2, 4, 3)).astype(np.float32))
    y, _ = layer(x)
    state = None
    for t in range(4):
        state = cell(x[:, t], state)
        h = state[0] if kind == "LSTM" else state
        np.testing.assert_array_equal(h.detach().numpy(), y[:, t].detach().numpy())


def test_options_of_layers_are_those_of_functions() -> None:
    x = np.random.default_rng(15).standard_normal((2, 5, 3)).astype(np.float32)
    layer = ml.nn.LSTM(3, 6, proj_size=4, peepholes=True, rng=0)
    weights = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]
    y, (h, c) = F.lstm(x, None, *weights, weight_hr=layer.weight_hr_l0, peepholes=layer.peepholes_l0)
    mine, (my_h, my_c) = layer(x)
    assert (y.shape, my_h.shape, my_c.shape) == ((2, 5, 4), (1, 2, 4), (1, 2, 6))
    for a, b in ((mine, y), (my_h[0], h), (my_c[0], c)):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    for gru in (ml.nn.GRU(3, 6, reset_after=False, rng=0), ml.nn.GRU(3, 6, rng=0)):
        weights = [gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0]
        expected = F.gru(x, None, *weights, reset_after=gru.reset_after)[0]
        np.testing.assert_array_equal(gru(x)[0].detach().numpy(), expected.detach().numpy())


def test_functions_of_one_step() -> None:
    functions = {"rnn": (F.rnn, F.rnn_cell), "gru": (F.gru, F.gru_cell), "lstm": (F.lstm, F.lstm_cell)}
    for kind, (layer, cell) in functions.items():
        x, *weights, h, c = draw(np.random.default_rng(12), kind, (3, 1, 4, 5), "float32")
        state = (h, c) if kind == "lstm" else h
        np.testing.assert_array_equal(cell(x[:, 0], state, *weights), layer(x, state, *weights)[1])
    with pytest.raises(ValueError, match=r"gru_cell: argument 'x': expected 2 dimensions \(N, C\)"):
        F.gru_cell(X, None, W[:12], R[:12])


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_parts_is_the_whole_bit_for_bit(level: str, kind: str) -> None:
    x, *weights, h, c = (values := draw(np.random.default_rng(4), kind, (5, 9, 3, 70), "float32"))[:7]
    whole = call(kind, values)
    state, parts = [h, c], []
    for begin, end in ((0, 4), (4, 5), (5, 9)):
        y, *state = call(kind, [x[:, begin:end], *weights, *(state + [c])[:2], *values[7:]])
        parts.append(y)
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole[0])
    for a, b in zip(state, whole[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_relu_and_streams_of_the_module() -> None:
    rng = np.random.default_rng(5)
    x, *weights, h, _ = draw(rng, "rnn", (2, 3, 4, 5), "float64")
    y, _ = F.rnn(x, h, *weights, nonlinearity="relu")
    expected = oracle.recurrent("relu", x, *weights, h, None)[0]
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    model = ml.nn.RNN(4, 5, nonlinearity="relu", rng=0)
    one, state = model(ml.tensor(x[:, :1].astype(np.float32)))
    two, _ = model(ml.tensor(x[:, 1:].astype(np.float32)), state)
    both, _ = model(ml.tensor(x.astype(np.float32)))
    np.testing.assert_array_equal(
        np.concatenate([one.detach().numpy(), two.detach().numpy()], 1), both.detach().numpy()
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_are_rounded_floats(level: str, kind: str, dtype: str) -> None:
    values = draw(np.random.default_rng(6), kind, (3, 4, 5, 20), "float32")
    halves = [_C.cast(ml.tensor(v), dtype) for v in values]
    rounded = [v.numpy().astype(np.float32) for v in halves]
    tolerance = {"bfloat16": 2e-2, "float16": 3e-3}[dtype]
    for a, b in zip(call(kind, halves), call(kind, rounded), strict=True):
        assert a.dtype == halves[0].dtype
        np.testing.assert_allclose(a.numpy().astype(np.float32), b, rtol=tolerance, atol=tolerance)
    for v in halves:
        v.requires_grad = True
    F.sum(call(kind, halves)[0]).backward()
    assert all(v.grad.dtype == v.dtype for v in halves[:6] + halves[7:])


def test_bits_do_not_depend_on_threads_nor_on_other_sequences(level: str, threads: Callable[[int], None]) -> None:
    for kind in KINDS:
        values = draw(np.random.default_rng(7), kind, (40, 6, 20, 60), "float32")
        lengths = np.random.default_rng(8).integers(1, 7, 40)
        seen = set()
        for count in (1, 2, 3):
            threads(count)
            tensors = [ml.tensor(v, requires_grad=True) for v in values]
            out = call(kind, tensors, lengths=lengths)
            sum(F.sum(v) for v in out).backward()
            grads = [t.grad.numpy().tobytes() for t in tensors if t.grad is not None]
            seen.add(b"".join([v.detach().numpy().tobytes() for v in out] + grads))
        assert len(seen) == 1
        together = call(kind, values, lengths=lengths)
        for v in (values[0], *values[5:7]):
            v[np.arange(40) != 3] = np.nan
        for a, b in zip(call(kind, values, lengths=lengths), together, strict=True):
            np.testing.assert_array_equal(a[3], b[3])
        one = [v[3:4] if i in (0, 5, 6) else v for i, v in enumerate(values)]
        for a, b in zip(call(kind, one, lengths=lengths[3:4]), together, strict=True):
            np.testing.assert_array_equal(a[0], b[3])


def test_nothing_outside_the_arguments_is_touched(level: str, pages: list[GuardedPage]) -> None:
    for kind, gates in GATES.items():
        rng = np.random.default_rng(9)
        shapes = [(2, 3, 5), (gates * 9, 5), (gates * 9, 9), (gates * 9,), (2, 9)]
        x, *weights, bias, h = (rng.standard_normal(s).astype(np.float32) for s in shapes)
        cell = "rnn_tanh" if kind == "rnn" else kind
        expected = _C.recurrent(cell, x, *weights, bias, bias, *[None] * 5, h, h, None, False, True)
        x, bias, h = (page.end(v) for page, v in zip(pages, (x, bias, h), strict=False))
        first = pages[3].end(weights[0])
        got = _C.recurrent(cell, x, first, weights[1], bias, bias, *[None] * 5, h, h, None, False, True)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_gates_are_as_good_as_stated(level: str) -> None:
    one, zero = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    x = np.linspace(-10, 10, 100001, dtype=np.float32).reshape(-1, 1, 1)
    wide = x[:, 0].astype(np.float64)
    right = np.tanh(wide)
    got = F.rnn(x, None, one, zero)[1]
    assert (np.abs(got) <= 1).all()
    np.testing.assert_allclose(got, right, rtol=4.8e-7, atol=0)
    weight, bias = (np.array(v, np.float32) for v in ([[0], [1], [0], [0]], [-87, 0, 0, 0]))
    _, c = F.lstm(x, (np.zeros_like(x[:, 0]), np.ones_like(x[:, 0])), weight, np.zeros_like(weight), bias)[1]
    np.testing.assert_allclose(c, 1 / (1 + np.exp(-wide)), rtol=4.8e-7 if level != "portable" else 8e-7, atol=0)
    for value, of_tanh, of_sigmoid in ((np.inf, 1, 1), (-np.inf, -1, 0), (np.nan, np.nan, np.nan), (-0.0, -0.0, 0.5)):
        limit = np.full((1, 1, 1), value, np.float32)
        np.testing.assert_allclose(F.rnn(limit, None, one, zero)[1][0, 0], of_tanh, rtol=4.8e-7)
        weights = np.full((3, 1), value, np.float32)  # z alone: h = z for h_0 = 1 and n = 0
        weights[[0, 2]] = 0
        z = F.gru(one[None], one, weights, np.zeros_like(weights))[1]
        np.testing.assert_allclose(z[0, 0], of_sigmoid, rtol=4.8e-7, atol=1e-37)


def test_padding_is_not_read() -> None:
    for kind in KINDS:
        values = draw(np.random.default_rng(10), kind, (4, 6, 3, 9), "float32")
        right = call(kind, values, lengths=LENGTHS)
        # Freed memory that the next calls get is full of NaN.
        call(kind, [ml.tensor(np.full_like(v, np.nan), requires_grad=True) for v in values])
        for i, length in enumerate(LENGTHS):
            values[0][i, length:] = np.nan
        tensors = [ml.tensor(v, requires_grad=True) for v in values]
        got = call(kind, tensors, lengths=LENGTHS)
        for a, b in zip(got, right, strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b)
        F.sum(got[0]).backward()
        for i, length in enumerate(LENGTHS):
            assert (tensors[0].grad.numpy()[i, length:] == 0).all()
        assert all(np.isfinite(t.grad.numpy()).all() for t in tensors if t.grad is not None)


def test_a_captured_step_trains() -> None:
    model = ml.nn.Sequential(ml.nn.Lambda(lambda x: x), ml.nn.Flatten(1))
    layer, head = ml.nn.LSTM(3, 8, 2, rng=0), ml.nn.Linear(8, 2, rng=1)
    params = [*layer.parameters(), *head.parameters(), *model.parameters()]
    optimizer = ml.optim.Adam(params, lr=0.01)
    rng = np.random.default_rng(11)
    x = rng.standard_normal((16, 7, 3)).astype(np.float32)
    labels = (x.sum((1, 2)) > 0).astype(np.int64)

    @ml.compile
    def step(x: Any, labels: Any) -> Any:
        loss = ml.losses.cross_entropy(head(layer(x)[0][:, -1]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    losses = [float(step(x, labels).item()) for _ in range(80)]
    assert losses[-1] < 0.3 * losses[0]


# ---- errors --------------------------------------------------------------------------------------------------------

X, W, R, B = (np.ones(s, np.float32) for s in ((2, 5, 3), (16, 3), (16, 4), (16,)))
H = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": X[0]}, ValueError, r"'x': expected 3 dimensions \(N, T, C\), got shape \(5, 3\)"),
        ({"x": X[:, :0]}, ValueError, "'x': expected at least one step"),
        ({"weight_ih": W[:12]}, ValueError, r"'weight_ih': expected 16 rows, as weight_hh has, got 12"),
        ({"weight_hh": R[:12]}, ValueError, r"'weight_hh': expected shape \(4 H, H\)"),
        ({"weight_hh": R.astype(np.float64)}, TypeError, "'weight_hh': expected float32"),
        ({"bias_hh": B[:4]}, ValueError, r"'bias_hh': expected shape \(16,\)"),
        ({"state": H}, TypeError, r"'state': expected None or a pair \(h, c\), got ndarray"),
        ({"state": (H, H[:1])}, ValueError, r"'c': expected shape \(2, 4\)"),
        ({"state": (H[:, :3], H)}, ValueError, r"'h': expected shape \(2, 4\)"),
        ({"lengths": [5, 6]}, ValueError, "'lengths': expected lengths from 1 to 5, those of x, got 6"),
        ({"lengths": [0, 5]}, ValueError, "'lengths': expected lengths from 1 to 5, those of x, got 0"),
        ({"lengths": [5]}, ValueError, r"'lengths': expected shape \(2,\)"),
        ({"lengths": [1.5, 2.0]}, TypeError, "'lengths': expected integers, got float64"),
        ({"weight_hr": R[:2]}, ValueError, r"'weight_hr': expected shape \(4, 4\) \(a row per column"),
        ({"peepholes": B}, ValueError, r"'peepholes': expected shape \(12,\)"),
        ({"peepholes": B[:12].astype(np.float64)}, TypeError, "'peepholes': expected float32"),
        ({"checkpoint": 0}, ValueError, "'checkpoint': expected at least one step, got 0"),
        ({"checkpoint": 2.0}, TypeError, "'checkpoint': expected None or a number of steps, got 2.0"),
    ],
)
def test_errors(change: dict[str, Any], error: type[Exception], text: str) -> None:
    given: dict[str, Any] = {"x": X, "state": None, "weight_ih": W, "weight_hh": R, "bias_ih": B, "bias_hh": B}
    with pytest.raises(error, match="lstm: argument " + text):
        F.lstm(**(given | change))


def test_errors_of_layers() -> None:
    with pytest.raises(ValueError, match="GRU: argument 'hidden_size': expected"):
        ml.nn.GRU(3, 0)
    with pytest.raises(ValueError, match="RNN: argument 'nonlinearity': expected 'tanh' or 'relu', got 'gelu'"):
        ml.nn.RNN(3, 4, nonlinearity="gelu")
    with pytest.raises(ValueError, match="LSTM: argument 'p': expected a probability"):
        ml.nn.LSTM(3, 4, 2, dropout=1.5)
    with pytest.raises(ValueError, match=r"GRU: argument 'state': expected shape \(2, N, 4\), got \(1, 2, 4\)"):
        ml.nn.GRU(3, 4, 2)(ml.ones(2, 5, 3), ml.ones(1, 2, 4))
    with pytest.raises(TypeError, match=r"LSTM: argument 'state': expected None or a pair"):
        ml.nn.LSTM(3, 4)(ml.ones(2, 5, 3), ml.ones(1, 2, 4))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_sequences(dtype: str) -> None:
    for kind in KINDS:
        values = [_C.cast(ml.tensor(v), dtype) for v in draw(np.random.default_rng(0), kind, (0, 5, 3, 4), "float32")]
        for recorded in (False, True):
            for v in values:
                v.requires_grad = recorded
            y, h, *_ = call(kind, values)
            assert (y.shape, h.shape) == ((0, 5, values[5].shape[1]), values[5].shape)
            assert y.dtype == h.dtype == values[0].dtype
        F.sum(y).backward()
        assert (values[2].grad.numpy().astype(np.float32) == 0).all()


# ---- both directions at once -------------------------------------------------------------------------------------

BOTH: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("GRU", {}),
    ("GRU", {"reset_after": False}),
    ("LSTM", {}),
    ("LSTM", {"proj_size": 7, "peepholes": True}),
]


def one_after_the_other(layer: Any, x: Any, state: Any, lengths: Any, checkpoint: int | None) -> list[Any]:
    """Y and the last states of a bidirectional layer by the functions of one direction."""
    kind = type(layer).__name__.lower()
    options = {"reset_after": layer.reset_after} if kind == "gru" else {}
    found = []
    for i, suffix in enumerate(["_l0", "_l0_reverse"]):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(layer, name + suffix) for name in names]
        if kind == "lstm":
            options = {name: getattr(layer, name + suffix) for name in ("weight_hr", "peepholes")}
        first = tuple(part[i] for part in state) if kind == "lstm" else state[0][i]
        more = {"lengths": lengths, "checkpoint": checkpoint, "reverse": i == 1}
        found.append(getattr(F, kind)(x, first, *weights, **options, **more))
    (y, last), (other, end) = found
    lasts = zip(last, end, strict=True) if kind == "lstm" else [(last, end)]
    return [F.concat([y, other], 2), *(F.stack(list(pair)) for pair in lasts)]


@pytest.mark.parametrize(("kind", "more"), BOTH)
@pytest.mark.parametrize("sizes", [(1, 9, 20, 70), (3, 9, 20, 70), (9, 9, 20, 70)])
@pytest.mark.parametrize("used", ["yhc", "y", "h"])
def test_both_directions_at_once_are_one_after_the_other(
    threads: Callable[[int], None], kind: str, more: dict[str, Any], sizes: tuple[int, int, int, int], used: str
) -> None:
    """On one thread and on several: results bit for bit, gradients up to the order of two sums."""
    n, steps, channels, units = sizes
    layer = getattr(ml.nn, kind)(channels, units, bidirectional=True, rng=0, **more)
    rng = np.random.default_rng(21)
    given = rng.standard_normal((n, steps, channels)).astype(np.float32)
    shapes = [(2, n, more.get("proj_size", units)), (2, n, units)][: 2 if kind == "LSTM" else 1]
    firsts = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    for lengths, checkpoint in ((None, None), (rng.integers(1, steps + 1, n), None), (None, 4)):
        seen: dict[bool, set[bytes]] = {False: set(), True: set()}
        gradients = []
        for count in (1, 2, 3):
            threads(count)
            for together in (False, True):
                x, state = ml.tensor(given, requires_grad=True), [ml.tensor(v, requires_grad=True) for v in firsts]
                layer.checkpoint = checkpoint
                layer.zero_grad()
                if together:
                    y, last = layer(x, tuple(state) if kind == "LSTM" else state[0], lengths)
                    out = [y, *(last if kind == "LSTM" else [last])]
                else:
                    out = one_after_the_other(layer, x, state, lengths, checkpoint)
                sum(F.sum(F.sin(v) * (i + 1.0)) for i, v in enumerate(out) if "yhc"[i] in used).backward()
                values = [x, *state, *layer.parameters()]
                gradients.append([np.zeros(v.shape) if v.grad is None else v.grad.numpy() for v in values])
                bits = [v.detach().numpy().tobytes() for v in out] + [g.tobytes() for g in gradients[-1]]
                seen[together].add(b"".join(bits))
                results = b"".join(bits[: len(out)])
                assert all(each.startswith(results) for each in seen[True] | seen[False])
        assert len(seen[True]) == len(seen[False]) == 1
        for a, b in zip(*gradients[:2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_both_directions_are_one_launch() -> None:
    layer = ml.nn.GRU(3, 4, 2, bidirectional=True, rng=0)
    with ml.profile() as p:
        F.sum(layer(ml.ones(2, 5, 3))[0]).backward()
    names = [event.name for event in p.events]
    assert names.count("gru") == names.count("gru_gradient") == 2


def test_errors_of_both_directions() -> None:
    none, h = [None, None], [None] * 2
    both = [np.ones((12, 3), np.float32)] * 2, [np.ones((12, 4), np.float32)] * 2
    x = [np.ones((2, 5, 3), np.float32)] * 2
    rest = [none] * 7 + [h, none, none, False]
    assert len(_C.recurrent_both("gru", x, *both, *rest)) == 2
    with pytest.raises(ValueError, match="gru: argument 'x': expected 2 arrays, one for each direction or layer"):
        _C.recurrent_both("gru", x[:1], *both, *rest)
    with pytest.raises(ValueError, match="gru: argument 'weight_ih': expected 2 arrays"):
        _C.recurrent_both("gru", x, [both[0][0], None], both[1], *rest)
    with pytest.raises(ValueError, match="gru: argument 'weight_hh': expected sizes and a dtype as in the other"):
        _C.recurrent_both("gru", [x[0], x[0][:1]], *both, *rest)
    with pytest.raises(ValueError, match="gru_gradient: argument 'y': expected 2 arrays"):
        _C.recurrent_gradient_both("gru", none, none, none, none, *[none] * 7)
