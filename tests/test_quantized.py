"""Products of bytes, the quantised layers, and ``mlext.quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import functional as F
from mlext import nn
from mlext.nn._rounding import quantize_rows, quantize_rows_to_4_bits

RNG = np.random.default_rng(7)
# One, odd, whole tiles and more than one tile, block of k (4096 bytes of 16-bit factors) and chunk of rows.
SHAPES = [(1, 1, 1), (1, 70, 33), (3, 5, 7), (9, 48, 64), (64, 64, 64), (100, 33, 130), (17, 200, 1030), (5, 70, 5000)]


def integers(dtype: Any, *shape: int) -> Any:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def layouts(x: Any) -> list[Any]:
    """The same values contiguous by rows, by columns, and with no contiguous axis."""
    wide = np.zeros((2 * x.shape[0], 3 * x.shape[1]), x.dtype)
    wide[::-2, ::3] = x
    return [x, np.asfortranarray(x), wide[::-2, ::3]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_of_bytes_are_exact(level: str, shape: tuple[int, int, int], dtype: Any) -> None:
    m, n, k = shape
    a, b = integers(dtype, m, k), integers(np.int8, k, n)
    expected = a.astype(np.int32) @ b.astype(np.int32)
    for left in layouts(a):
        for right in layouts(b):
            np.testing.assert_array_equal(F.matmul_integer(left, right), expected)


def test_extreme_bytes(level: str) -> None:
    # 16-bit sums of two products would saturate here.
    for a, b in ((255, -128), (255, 127)):
        got = F.matmul_integer(np.full((3, 100), a, np.uint8), np.full((100, 5), b, np.int8))
        np.testing.assert_array_equal(got, np.full((3, 5), 100 * a * b))
    got = F.matmul_integer(np.full((3, 100), -128, np.int8), np.full((100, 5), -128, np.int8))
    np.testing.assert_array_equal(got, np.full((3, 5), 100 * 128 * 128))
    # The sum wraps as int32 does.
    got = F.matmul_integer(np.full((1, 70000), 255, np.uint8), np.full((70000, 1), 127, np.int8))
    assert got[0, 0] == 70000 * 255 * 127 - 2**32


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_change_a_product_of_bytes(threads: int) -> None:
    a, b = integers(np.int8, 300, 500), integers(np.int8, 500, 400)
    before = ml.get_num_threads()
    try:
        ml.set_num_threads(threads)
        np.testing.assert_array_equal(F.matmul_integer(a, b), a.astype(np.int32) @ b.astype(np.int32))
    finally:
        ml.set_num_threads(before)


def test_empty_products_of_bytes() -> None:
    assert F.matmul_integer(np.zeros((0, 4), np.uint8), np.zeros((4, 3), np.int8)).shape == (0, 3)
    np.testing.assert_array_equal(
        F.matmul_integer(np.zeros((2, 0), np.int8), np.zeros((0, 3), np.int8)), np.zeros((2, 3))
    )


def test_a_changed_factor_is_packed_again() -> None:
    """Mutation: keep the panels whatever the version of the buffer."""
    a, b = ml.tensor(integers(np.uint8, 40, 64)), ml.tensor(integers(np.int8, 64, 100))
    for _ in range(3):
        F.matmul_integer(a, b)
    b[3, 5] = 77
    expected = a.numpy().astype(np.int32) @ b.numpy().astype(np.int32)
    np.testing.assert_array_equal(F.matmul_integer(a, b).numpy(), expected)


@pytest.mark.parametrize(
    ("a", "b", "error", "text"),
    [
        ((2, 3, np.int32), (3, 2, np.int8), TypeError, "'a': expected dtype uint8 or int8, got int32"),
        ((2, 3, np.uint8), (3, 2, np.uint8), TypeError, "'b': expected"),
        ((2, 3, np.uint8), (4, 2, np.int8), ValueError, "'b': expected shape"),
    ],
)
def test_wrong_factors(a: Any, b: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match="matmul_integer.*" + text):
        F.matmul_integer(np.zeros(a[:2], a[2]), np.zeros(b[:2], b[2]))


# ---- the linear map ------------------------------------------------------------------------------

ACTIVATIONS = {
    None: lambda v: v,
    "relu": lambda v: np.maximum(v, 0),
    "relu6": lambda v: np.clip(v, 0, 6),
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "tanh": np.tanh,
    "silu": lambda v: v / (1 + np.exp(-v)),
}


def reference(x: Any, values: Any, scale: Any, offset: Any, x_scale: float, x_zero: int) -> Any:
    """The formula in float64; ties go to even in both."""
    q = np.clip(np.rint(x * (np.float32(1) / np.float32(x_scale))).astype(np.float64) + x_zero, 0, 255)
    return q @ values[:, : x.shape[-1]].astype(np.float64).T * scale + offset


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("rows", "features", "outputs"), [(1, 4, 3), (5, 7, 17), (33, 130, 50), (2, 3000, 20)])
def test_linear_map_of_bytes(level: str, rows: int, features: int, outputs: int, activation: str | None) -> None:
    x = RNG.normal(size=(rows, features)).astype(np.float32) * 2
    values = integers(np.int8, outputs, features)
    scale, offset = RNG.uniform(1e-5, 1e-4, outputs).astype(np.float32), RNG.normal(size=outputs).astype(np.float32)
    expected = ACTIVATIONS[activation](reference(x, values, scale, offset, 0.013, 131))
    padded = np.pad(values, ((0, 0), (0, -features % 4)))
    for weight in (values, padded, np.asfortranarray(values)):
        got = F.quantized_linear(x, weight, scale, offset, np.float32([0.013]), np.uint8([131]), activation)
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=2e-5)


def test_values_beyond_the_range_become_its_ends(level: str) -> None:
    x = np.array([[-np.inf, -9.0, -0.05, 0.0, 0.15, 9.0, np.inf, 1e30]], np.float32).repeat(5, axis=1)
    values = np.eye(40, dtype=np.int8)
    one, none = np.ones(40, np.float32), np.zeros(40, np.float32)
    got = F.quantized_linear(x, values, one, none, np.float32([0.1]), np.uint8([20]))
    # -0.5 and 1.5 are ties: to 0 and 2.
    np.testing.assert_array_equal(got[0, ::5], [0, 0, 20, 20, 22, 110, 255, 255])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("rows", "features", "outputs"), [(1, 4, 3), (5, 7, 17), (33, 130, 50), (2, 3000, 20)])
def test_results_in_bytes(level: str, rows: int, features: int, outputs: int, activation: str | None) -> None:
    """They are the bytes of what comes without, and a byte more is beyond the ends for some."""
    x = RNG.normal(size=(rows, features)).astype(np.float32) * 2
    values = integers(np.int8, outputs, features)
    scale, offset = RNG.uniform(1e-5, 1e-4, outputs).astype(np.float32), RNG.normal(size=outputs).astype(np.float32)
    args = (x, values, scale, offset, np.float32([0.013]), np.uint8([131]), activation)
    step, zero = np.float32([0.011]), np.uint8([90])
    expected = np.clip(np.rint(F.quantized_linear(*args) * (np.float32(1) / step)) + zero, 0, 255)
    got = F.quantized_linear(*args, out_scale=step, out_zero=zero)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


def test_bytes_go_from_layer_to_layer(level: str) -> None:
    for features in (8, 37):
        x = RNG.normal(size=(2, 5, features)).astype(np.float32)
        step, zero = np.float32([0.02]), np.uint8([128])
        q = np.clip(np.rint(x * (np.float32(1) / step)) + zero, 0, 255).astype(np.uint8)
        rest = (integers(np.int8, 9, features), np.full(9, 1e-4, np.float32), np.ones(9, np.float32), step, zero)
        for given in (q, np.asfortranarray(q)):
            np.testing.assert_array_equal(F.quantized_linear(given, *rest), F.quantized_linear(x, *rest))


def test_nan_does_not_become_a_byte(level: str) -> None:
    x = np.ones((3, 37), np.float32)
    x[2, 36] = np.nan
    one, step, zero = np.ones(2, np.float32), np.float32([1]), np.uint8([0])
    with pytest.raises(ValueError, match="quantized_linear: argument 'x': expected no NaN where the result is bytes"):
        F.quantized_linear(x, np.ones((2, 37), np.int8), one, one, step, zero, out_scale=step, out_zero=zero)


def test_nan_does_not_become_a_number(level: str) -> None:
    x = np.ones((3, 37), np.float32)
    x[1, 36] = np.nan
    one, none = np.ones(2, np.float32), np.zeros(2, np.float32)
    got = F.quantized_linear(x, np.ones((2, 37), np.int8), one, none, np.float32([1]), np.uint8([0]), "relu")
    np.testing.assert_array_equal(got, [[37, 37], [np.nan, np.nan], [37, 37]])


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": np.ones((2, 4))}, TypeError, "'x': expected"),
        ({"values": np.ones((3, 5), np.int8)}, ValueError, r"'values': expected shape \(out, 4\)"),
        ({"scale": np.ones(2, np.float32)}, ValueError, "'scale': expected"),
        ({"offset": np.ones(3)}, TypeError, "'offset': expected"),
        ({"x_scale": np.float32([0])}, ValueError, "'x_scale': expected a positive number"),
        ({"x_scale": np.float32([np.nan])}, ValueError, "'x_scale': expected a positive number"),
        ({"x_scale": np.float32([1e-40])}, ValueError, "'x_scale': expected a positive number"),
        ({"x_zero": np.uint8([1, 2])}, ValueError, "'x_zero': expected one element"),
        ({"activation": "swish"}, ValueError, "'activation': expected None or one of"),
        ({"out_zero": np.uint8([1])}, ValueError, "'out_scale': expected out_scale and out_zero, or neither"),
        (
            {"out_scale": np.float32([-1]), "out_zero": np.uint8([1])},
            ValueError,
            "'out_scale': expected a positive number",
        ),
        (
            {"out_scale": np.float32([1]), "out_zero": np.float32([1])},
            TypeError,
            "'out_zero': expected",
        ),
    ],
)
def test_wrong_arguments_of_the_linear_map(change: dict[str, Any], error: type[Exception], text: str) -> None:
    args: dict[str, Any] = {
        "x": np.ones((2, 4), np.float32),
        "values": np.ones((3, 4), np.int8),
        "scale": np.ones(3, np.float32),
        "offset": np.zeros(3, np.float32),
        "x_scale": np.float32([1]),
        "x_zero": np.uint8([0]),
    }
    with pytest.raises(error, match="quantized_linear.*" + text):
        F.quantized_linear(**(args | change))


@pytest.mark.parametrize("layer", [nn.QuantizedLinear(3, 2, rng=0), nn.WeightOnlyLinear(3, 2, 8, rng=0)])
def test_inputs_that_are_no_arrays(layer: nn.Module) -> None:
    with ml.no_grad(), pytest.raises(TypeError, match="argument 'x': expected a Tensor or ndarray, got list"):
        layer([[1.0, 2.0, 3.0]])


def test_a_gradient_is_refused_rather_than_lost() -> None:
    layer = nn.QuantizedLinear(3, 2, rng=0)
    with pytest.raises(RuntimeError, match="no gradient: call it under mlext.no_grad"):
        layer(ml.ones(2, 3).requires_grad_())


# ---- weights of few bits -------------------------------------------------------------------------


def nibbles(values: Any) -> Any:
    """The layout of the docstring, a weight at a time."""
    out = np.full((len(values), -(-values.shape[1] // 32) * 16), 0x88, np.uint8)
    for o, row in enumerate(values):
        for c, value in enumerate(row):
            at, high = c // 32 * 16 + c % 16, c % 32 >= 16
            out[o, at] = out[o, at] & (0x0F if high else 0xF0) | (int(value) + 8) << (4 if high else 0)
    return out


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize(
    ("rows", "features", "outputs", "group"),
    [(1, 1, 1, 32), (3, 7, 5, 7), (1, 100, 33, 32), (9, 64, 40, 64), (40, 1000, 70, 96), (2, 4000, 50, 4000)],
)
def test_weights_of_few_bits(
    level: str, rows: int, features: int, outputs: int, group: int, activation: str | None, bits: int
) -> None:
    x = RNG.normal(size=(rows, features)).astype(np.float32)
    values = RNG.integers(-128 if bits == 8 else -8, 128 if bits == 8 else 8, (outputs, features)).astype(np.int8)
    scale = RNG.uniform(0.001, 0.01, (outputs, -(-features // group))).astype(np.float32)
    bias = RNG.normal(size=outputs).astype(np.float32)
    weight = values * scale.astype(np.float64).repeat(group, axis=1)[:, :features]
    sums = x.astype(np.float64) @ weight.T
    packed = values if bits == 8 else nibbles(values)
    tolerance = 32 * 2**-24 * (np.abs(x) @ np.abs(weight).T) + 1e-6
    for vector in (None, bias):
        expected = ACTIVATIONS[activation](sums if vector is None else sums + vector)
        got = F.weight_only_linear(x, packed, scale, vector, group, activation)
        assert (np.abs(got - expected) <= tolerance).all()
    np.testing.assert_array_equal(F.weight_only_linear(x[None], packed, scale, bias, group, activation)[0], got)


def test_threads_do_not_change_weights_of_few_bits(threads: Any) -> None:
    x, values = RNG.normal(size=(33, 700)).astype(np.float32), integers(np.int8, 300, 700)
    scale, results = RNG.uniform(size=(300, 1)).astype(np.float32), []
    for count in (1, 2, 3):
        threads(count)
        results.append(F.weight_only_linear(x, values, scale, None, 700).tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": np.ones((2, 40))}, TypeError, "'x': expected"),
        ({"values": np.ones((3, 40), np.int32)}, TypeError, "'values': expected dtype int8"),
        ({"values": np.ones((3, 39), np.int8)}, ValueError, r"'values': expected shape \(out, 40\)"),
        ({"values": np.ones((3, 20), np.uint8)}, ValueError, r"'values': expected shape \(out, 32\)"),
        ({"group_size": 20}, ValueError, "'group_size': expected a multiple of 32, or at least 40, got 20"),
        ({"group_size": 0}, ValueError, "'group_size': expected"),
        ({"scale": np.ones((3, 1), np.float32)}, ValueError, "'scale': expected"),
        ({"bias": np.ones(2, np.float32)}, ValueError, "'bias': expected"),
        ({"activation": "swish"}, ValueError, "'activation': expected None or one of"),
    ],
)
def test_wrong_arguments_of_weights_of_few_bits(change: dict[str, Any], error: type[Exception], text: str) -> None:
    args: dict[str, Any] = {
        "x": np.ones((2, 40), np.float32),
        "values": np.ones((3, 40), np.int8),
        "scale": np.ones((3, 2), np.float32),
        "bias": None,
        "group_size": 32,
    }
    with pytest.raises(error, match="weight_only_linear.*" + text):
        F.weight_only_linear(**(args | change))


# ---- layers and models ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any, Any, Any]:
    found = ml.datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(found.data))
    x, y = found.data[order] / np.float32(16), found.target[order]
    return x[:1400], y[:1400], x[1400:], y[1400:]


@pytest.fixture(scope="module")
def trained(digits: Any) -> nn.Module:
    first, second, last = nn.Linear(64, 128, rng=1), nn.Linear(128, 64, rng=2), nn.Linear(64, 10, rng=3)
    model = nn.Sequential(first, nn.ReLU(), second, nn.GELU(), last)
    trainer = ml.training.Trainer(model, "cross_entropy", ml.optim.Adam(model.parameters(), lr=3e-3), seed=0)
    trainer.fit(digits[0], digits[1], epochs=15, batch_size=64, verbose=0)
    return model


def accuracy(model: nn.Module, x: Any, y: Any) -> float:
    return float((model.predict(x).argmax(axis=1) == y).mean())


def test_digits_keep_their_accuracy(digits: Any, trained: nn.Module) -> None:
    train, _, x, y = digits
    before = {name: value.numpy().copy() for name, value in trained.state_dict().items()}
    small = ml.quantize(trained, train[:200])
    whole = accuracy(trained, x, y)
    assert whole > 0.9
    assert accuracy(small, x, y) >= whole - 0.003
    assert [type(layer).__name__[:5] for layer in small] == ["Quant", "ReLU", "Quant", "GELU", "Quant"]
    for name, value in trained.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


@pytest.mark.parametrize(("weights", "group_size"), [("int8", None), ("int8", 32), ("int4", None)])
def test_digits_with_weights_of_few_bits(
    digits: Any, trained: nn.Module, tmp_path: Path, weights: str, group_size: int | None
) -> None:
    x, y = digits[2:]
    small = ml.quantize(trained, weights=weights, group_size=group_size)
    assert accuracy(small, x, y) >= accuracy(trained, x, y) - 0.003
    ml.save(small, tmp_path / "small.safetensors")
    np.testing.assert_array_equal(ml.load(tmp_path / "small.safetensors").predict(x), small.predict(x))


def test_four_bits_lose_less_than_by_the_largest_weight() -> None:
    weight = RNG.normal(size=(200, 32)).astype(np.float32)
    values, scale = quantize_rows_to_4_bits(weight)
    assert values.min() == -8
    assert values.max() == 7
    plain, step = quantize_rows(weight, 7)
    errors = [((v * s[:, None] - weight) ** 2).sum(axis=1) for v, s in ((values, scale), (plain, step))]
    assert (errors[0] <= errors[1]).all()
    assert errors[0].sum() < 0.8 * errors[1].sum()


@pytest.mark.parametrize("features", [5, 32, 50, 100])
def test_four_bits_hold_what_fits_them(features: int) -> None:
    layer = nn.Linear(features, 3, rng=0)
    values = RNG.integers(-7, 8, (3, features))
    values[:, ::32] = 7
    layer.load_state_dict({"weight": (values * 0.25).astype(np.float32), "bias": layer.bias})
    x = RNG.integers(-3, 4, (4, features)).astype(np.float32)
    np.testing.assert_array_equal(ml.quantize(layer, weights="int4").predict(x), layer.predict(x))


def test_saved_and_loaded(digits: Any, trained: nn.Module, tmp_path: Path) -> None:
    small = ml.quantize(trained, digits[0][:200])
    ml.save(trained, tmp_path / "whole.safetensors")
    ml.save(small, tmp_path / "small.safetensors")
    again = ml.load(tmp_path / "small.safetensors")
    np.testing.assert_array_equal(again.predict(digits[2]), small.predict(digits[2]))
    sizes = [(tmp_path / name).stat().st_size for name in ("small.safetensors", "whole.safetensors")]
    assert sizes[0] < 0.35 * sizes[1]


def test_fused_activations_and_captures_change_nothing(digits: Any, trained: nn.Module) -> None:
    small, x = ml.quantize(trained, digits[0][:200]), digits[2][:40]
    with ml.no_grad():
        y = ml.tensor(x)
        for layer in small:
            y = layer(y)
        np.testing.assert_array_equal(small(ml.tensor(x)).numpy(), y.numpy())
    for _ in range(4):
        np.testing.assert_array_equal(small.predict(x), y.numpy())
    # A replay reads the state of now.
    state = {name: value.numpy() for name, value in small.state_dict().items()}
    state = {name: value if name.endswith("x_scale") else np.zeros_like(value) for name, value in state.items()}
    small.load_state_dict(state)
    np.testing.assert_array_equal(small.predict(x), np.zeros((40, 10)))


class Own(nn.Module):
    """A module with a shared layer, a list and an attribute."""

    def __init__(self) -> None:
        self.first = nn.Linear(6, 6, rng=1)
        self.more = nn.ModuleList([self.first, nn.Linear(6, 6, activation="tanh", rng=2)])
        self.seen = 0

    def forward(self, x: Any) -> Any:
        for layer in self.more:
            x = layer(x)
        return self.first(x)


def test_modules_of_any_shape() -> None:
    model, x = Own(), RNG.normal(size=(300, 6)).astype(np.float32)
    small = ml.quantize(model, [(batch, None) for batch in np.array_split(x, 7)])
    assert type(small.first) is nn.QuantizedLinear
    assert small.more[0] is small.first
    assert small.more[1].activation == "tanh"
    assert type(model.first) is nn.Linear
    np.testing.assert_allclose(small.predict(x), model.predict(x), atol=0.03)
    single = ml.quantize(nn.Linear(6, 2, bias=False, rng=3), x)
    assert type(single) is nn.QuantizedLinear
    np.testing.assert_allclose(single.predict(x), nn.Linear(6, 2, bias=False, rng=3).predict(x), atol=0.03)


def test_constant_inputs_and_zero_rows() -> None:
    layer = nn.Linear(4, 3, rng=0)
    ml.init.zeros_(layer.weight)
    small = ml.quantize(layer, np.zeros((5, 4), np.float32))
    np.testing.assert_allclose(
        small.predict(np.ones((2, 4), np.float32)), np.tile(layer.bias.numpy(), (2, 1)), rtol=1e-6
    )


def test_hooks_stay() -> None:
    model, calls = nn.Sequential(nn.Linear(4, 3, rng=0)), []
    model[0].register_forward_hook(lambda module, inputs, out: calls.append(type(module).__name__))
    small = ml.quantize(model, np.ones((5, 4), np.float32))
    calls.clear()
    small(ml.ones(1, 4))
    assert calls == ["QuantizedLinear"]


@pytest.mark.parametrize(
    ("model", "data", "error", "text"),
    [
        (nn.Sequential(nn.ReLU()), np.ones((2, 2)), ValueError, "expected a model with a Linear, Conv"),
        (lambda x: x, np.ones((2, 2)), TypeError, "'model': expected a Module, got function"),
        (nn.Linear(2, 2, dtype="float64"), np.ones((2, 2)), TypeError, "expected float32 parameters, got float64"),
        (nn.Linear(2, 2), np.full((2, 2), np.nan, np.float32), ValueError, "expected finite values"),
        (nn.Linear(2, 2), np.zeros((0, 2), np.float32), ValueError, "expected inputs that reach every Linear"),
        (nn.Linear(2, 2), [], ValueError, "expected inputs that reach every Linear"),
        (nn.Linear(2, 2), 3, TypeError, "expected an array or an iterable of batches, got int"),
        (nn.ModuleDict({"a": nn.Linear(2, 2)}), [], ValueError, "got none at a"),
    ],
)
def test_what_cannot_be_quantised(model: Any, data: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match="quantize: .*" + text):
        ml.quantize(model, data)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"weights": "int3"}, "'weights': expected 'int8' or 'int4', got 'int3'"),
        ({"weights": "int4", "group_size": 20}, "'group_size': expected None or a positive multiple of 32, got 20"),
        (
            {"weights": "int4", "calibration_data": np.ones((2, 2), np.float32)},
            "'calibration_data': expected None with",
        ),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="quantize: argument " + text):
        ml.quantize(nn.Linear(2, 2), **options)


def test_bits_and_weights_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="'bits': expected 8 or 4, got 3"):
        nn.WeightOnlyLinear(2, 2, 3)
    broken = nn.Linear(2, 2)
    broken.load_state_dict({"weight": np.full((2, 2), np.inf, np.float32), "bias": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match="expected finite weights"):
        ml.quantize(broken)
