"""Recurrent layers with weights in bytes: those of a layer with the same weights in float32, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import functional as F
from mlext import nn

RNG = np.random.default_rng(5)
SAMPLES = RNG.standard_normal((300, 6, 3)).astype(np.float32)
LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {"nonlinearity": "relu"}),
    ("GRU", {}),
    ("GRU", {"reset_after": False}),
    ("LSTM", {}),
    ("LSTM", {"proj_size": 5, "peepholes": True}),
]
# (N, T, C, H): steps of one sequence that are read in place, its sums of several panels, widened ones, a weight that
# leaves L2, and batches.
SIZES = [(1, 1, 3, 7), (1, 3, 20, 130), (1, 12, 5, 33), (1, 9, 6, 560), (3, 1, 4, 9), (5, 11, 7, 50)]


def widened(small: Any) -> Any:
    """The float layer of the weights that the bytes stand for."""
    kind = type(small).__name__.removeprefix("WeightOnly")
    made = getattr(nn, kind)(**small.config())
    state = {name: value.numpy() for name, value in small.state_dict().items()}
    for name in [name for name in state if name.startswith("scale")]:
        weight = name.replace("scale", "weight")
        state[weight] = state[weight].astype(np.float32) * state.pop(name)[:, None]
    made.load_state_dict(state)
    return made.eval()


def flat(result: Any) -> list[Any]:
    """y and all states."""
    y, state = result
    return [v.numpy() for v in (y, *(state if isinstance(state, tuple) else (state,)))]


@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize("sizes", SIZES)
def test_results_are_those_of_the_widened_weights(
    level: str, kind: str, options: dict[str, Any], sizes: tuple[int, int, int, int]
) -> None:
    n, steps, channels, units = sizes
    small = ml.quantize(getattr(nn, kind)(channels, units, 2, bidirectional=units < 500, rng=0, **options))
    large, x = widened(small), RNG.standard_normal((n, steps, channels)).astype(np.float32)
    lengths = RNG.integers(1, steps + 1, n)
    with ml.no_grad():
        _, state = large(x)
        for given in ({}, {"lengths": lengths}, {"state": state}):
            for _ in range(3):  # from the second call on panels of bytes are kept
                found = flat(small(x, **given))
            for a, b in zip(found, flat(large(x, **given)), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_errors_are_those_of_half_a_step(kind: str, options: dict[str, Any]) -> None:
    layer = getattr(nn, kind)(16, 64, rng=1, **options).eval()
    small = ml.quantize(layer)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        weight, scale = getattr(layer, name).detach().numpy(), getattr(small, name.replace("weight", "scale")).numpy()
        steps = np.abs(getattr(small, name).numpy() * scale[:, None] - weight) / scale[:, None]
        assert steps.max() <= 0.5001
    x = RNG.standard_normal((8, 50, 16)).astype(np.float32)
    with ml.no_grad():
        for a, b in zip(flat(small(x)), flat(layer(x)), strict=True):
            assert 0 < np.abs(a - b).max() <= 0.02 * max(1, np.abs(b).max())


def test_a_sequence_in_parts_is_the_whole_bit_for_bit(level: str) -> None:
    small = nn.WeightOnlyLSTM(3, 560, rng=0).eval()
    x = RNG.standard_normal((1, 12, 3)).astype(np.float32)
    with ml.no_grad():
        whole, state, parts = small(x)[0].numpy(), None, []
        for begin, end in ((0, 1), (1, 12)):
            y, state = small(x[:, begin:end], state)
            parts.append(y.numpy())
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


def test_bits_do_not_depend_on_threads_nor_on_other_sequences(level: str, threads: Callable[[int], None]) -> None:
    small = nn.WeightOnlyGRU(20, 60, bidirectional=True, rng=0).eval()
    x, lengths = RNG.standard_normal((40, 6, 20)).astype(np.float32), RNG.integers(1, 7, 40)
    seen = set()
    with ml.no_grad():
        for count in (1, 2, 3):
            threads(count)
            seen.add(small(x, lengths=lengths)[0].numpy().tobytes())
        one = small(x[7:8], lengths=lengths[7:8])[0].numpy()
    assert len(seen) == 1
    np.testing.assert_array_equal(np.frombuffer(seen.pop(), np.float32).reshape(40, 6, 120)[7], one[0])


def test_changed_bytes_are_arranged_again() -> None:
    small, x = nn.WeightOnlyGRU(3, 20, rng=0).eval(), RNG.standard_normal((1, 1, 3)).astype(np.float32)
    with ml.no_grad():
        for _ in range(3):
            small(x)
        state = {name: value.numpy() for name, value in small.state_dict().items()}
        small.load_state_dict({name: v // 2 if v.dtype == np.int8 else v for name, v in state.items()})
        for a, b in zip(flat(small(x)), flat(widened(small)(x)), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", [{}, {"weights": "int4"}, {"calibration_data": SAMPLES}])
def test_models(options: dict[str, Any], tmp_path: Path) -> None:
    model = nn.Sequential(
        nn.Bidirectional(nn.GRU(3, 8, rng=0), "sum", rng=1), nn.RNN(8, 8, rng=2), nn.LastStep(), nn.Linear(8, 2, rng=3)
    )
    small, x = ml.quantize(model, **options), RNG.standard_normal((4, 6, 3)).astype(np.float32)
    assert [type(small[0].layer), type(small[0].reverse)] == [nn.WeightOnlyGRU] * 2
    assert type(small[1]) is nn.WeightOnlyRNN
    assert not list(small[1].parameters())
    assert repr(small[1]) == "WeightOnlyRNN(8, 8, num_layers=1)"
    np.testing.assert_allclose(small.predict(x), model.predict(x), atol=0.05)
    ml.save(small, tmp_path / "small.safetensors")
    copy = ml.load(tmp_path / "small.safetensors")
    assert repr(copy) == repr(small)
    np.testing.assert_array_equal(copy.predict(x), small.predict(x))


def test_a_file_takes_a_quarter(tmp_path: Path) -> None:
    layer = nn.LSTM(128, 128, rng=0)
    sizes = []
    for model in (layer, ml.quantize(layer)):
        ml.save(model, tmp_path / "m.safetensors")
        sizes.append((tmp_path / "m.safetensors").stat().st_size)
    assert sizes[1] < 0.28 * sizes[0]


def test_gradients_are_refused_and_inputs_converted() -> None:
    small = nn.WeightOnlyLSTM(3, 4, rng=0)
    with pytest.raises(RuntimeError, match="lstm: argument 'x': expected an array that tracks no gradient"):
        small(ml.ones(2, 5, 3).requires_grad_())
    with pytest.raises(RuntimeError, match="a quantised weight has no gradient"):
        small(ml.ones(2, 5, 3), (ml.ones(1, 2, 4).requires_grad_(), ml.ones(1, 2, 4)))
    x = RNG.standard_normal((2, 5, 3))
    np.testing.assert_array_equal(small(x)[0].numpy(), small(x.astype(np.float32))[0].numpy())


X, W, R, S = np.ones((2, 3, 5), np.float32), np.ones((16, 5), np.int8), np.ones((16, 4), np.int8), np.ones(16, "f")
P, V = np.ones((16, 2), np.int8), np.ones((2, 4), np.int8)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"scales": S}, TypeError, "'scales': expected None or a tuple of arrays, got ndarray"),
        ({"scales": (S,)}, ValueError, "'scales': expected 2 arrays, those of weight_ih and weight_hh"),
        ({"scales": (S, None)}, ValueError, "'scales': expected 2 arrays"),
        ({"scales": (S, S[:15])}, ValueError, r"'scale_hh': expected shape \(16,\) \(one per row of its weight\)"),
        ({"scales": (S.astype(np.float64), S)}, TypeError, "'scale_ih': expected"),
        ({"scales": None}, TypeError, "'weight_hh': expected float32"),
        ({"x": X.astype(np.float64)}, TypeError, "'x': expected float32 with weights of int8"),
        ({"weight_hh": R.astype(np.float32)}, TypeError, "'weight_hh': expected int8 with scales"),
        ({"weight_ih": W.astype(np.uint8)}, TypeError, "'weight_ih': expected int8 with scales"),
        ({"bias_ih": S.astype(np.float64)}, TypeError, "'bias_ih': expected float32"),
        (
            {"weight_hh": P, "weight_hr": V},
            ValueError,
            "'scales': expected 3 arrays, those of weight_ih",
        ),
        ({"weight_hh": P, "weight_hr": V, "scales": (S, S, S)}, ValueError, r"'scale_hr': expected shape \(2,\)"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], error: type[Exception], text: str) -> None:
    args: dict[str, Any] = {"x": X, "state": None, "weight_ih": W, "weight_hh": R, "scales": (S, S)}
    assert F.lstm(**args)[0].shape == (2, 3, 4)
    with pytest.raises(error, match="lstm: argument " + text):
        F.lstm(**(args | change))


def test_what_cannot_be_quantised() -> None:
    with pytest.raises(TypeError, match="quantize: .*expected float32 parameters, got float64 in the model"):
        ml.quantize(nn.GRU(3, 4, dtype="float64"))
    broken = nn.GRU(3, 4, rng=0)
    broken.load_state_dict(broken.state_dict() | {"weight_hh_l0": np.full((12, 4), np.nan, np.float32)})
    with pytest.raises(ValueError, match="expected finite weights, got others in the model"):
        ml.quantize(broken)
