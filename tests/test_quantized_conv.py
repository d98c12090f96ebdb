"""Convolution of bytes: exact on integers for every geometry and level, edges, errors, layers and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import oracle
from tests.test_conv import Geometry, around

import mlext as ml
from mlext import _C, nn
from mlext import functional as F

Array = np.ndarray[Any, Any]


def draw(rng: np.random.Generator) -> Geometry:
    """Shapes of x and the filters, geometry and groups; channels below, at and beyond whole groups of products."""
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    channels, outputs = int(rng.choice([1, 3, 4, 5, 8, 17, 64])), groups * int(rng.choice([1, 3, 16, 17, 50]))
    return around(rng, groups, channels, outputs)


# What a random draw seldom meets.
CORNERS: list[Geometry] = [
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 0, 0, 0, 0, 1, 1), 1),
    ((2, 1, 1, 3), (2, 3, 3, 3), (1, 1, 1, 1, 1, 1, 1, 1), 1),  # one pixel, the rest is padding
    ((1, 3, 3, 5), (3, 1, 1, 5), (1, 1, 2, 2, 2, 2, 1, 1), 1),  # places in padding alone
    ((1, 2, 2, 3), (3, 2, 2, 3), (5, 5, 4, 4, 4, 4, 1, 1), 1),
    ((1, 0, 3, 4), (3, 2, 2, 4), (1, 1, 1, 0, 1, 0, 1, 1), 1),  # no row but those of the padding
    ((2, 9, 9, 9), (9, 3, 3, 1), (2, 2, 1, 1, 1, 1, 1, 1), 9),  # a group for each channel
    ((1, 40, 40, 3), (70, 7, 7, 3), (2, 2, 3, 3, 3, 3, 1, 1), 1),
    ((1, 6, 300, 5), (17, 1, 9, 5), (1, 1, 0, 4, 0, 4, 1, 1), 1),
    ((3, 7, 7, 130), (200, 3, 3, 130), (1, 1, 1, 1, 1, 1, 1, 1), 1),
    ((5, 60, 60, 64), (8, 3, 3, 64), (1, 1, 1, 1, 1, 1, 1, 1), 1),  # several bands
    ((2, 30, 31, 16), (32, 1, 1, 16), (1, 1, 0, 0, 0, 0, 1, 1), 1),  # a product of matrices
    ((2, 30, 31, 18), (32, 1, 1, 18), (1, 1, 0, 0, 0, 0, 1, 1), 1),
    ((2, 7, 9, 40), (50, 1, 1, 40), (2, 3, 0, 0, 0, 0, 1, 1), 1),  # a product of the pixels that it meets
    ((2, 3, 4, 37), (50, 1, 1, 37), (2, 1, 3, 2, 0, 1, 1, 1), 1),  # the same, some of them padding
]


def problem(rng: np.random.Generator, geometry: Geometry) -> tuple[Array, Array, int, Array]:
    """Bytes of x, filters, the byte of 0 and the sums, in int64."""
    x_shape, shape, sizes, groups = geometry
    q, values = rng.integers(0, 256, x_shape, dtype=np.uint8), rng.integers(-128, 128, shape).astype(np.int8)
    zero = int(rng.integers(0, 256))
    # Padding holds the byte of 0: the oracle pads with zeros.
    sums = oracle.conv2d(q.astype(np.int64) - zero, values.astype(np.int64), sizes, groups)
    return q, values, zero, sums + zero * values.astype(np.int64).sum(axis=(1, 2, 3))


def check(rng: np.random.Generator, geometry: Geometry) -> None:
    """Scales 1 and offsets that are integers: the sums, as long as float32 holds them."""
    q, values, zero, sums = problem(rng, geometry)
    *_, sizes, groups = geometry
    outputs = len(values)
    offset = rng.integers(-9, 10, outputs).astype(np.float32)
    # A power of two: the product is exact, and the sum is rounded once, as in float32 below.
    rest = (np.full(outputs, 0.5, np.float32), offset, np.float32([0.25]), np.uint8([zero]), sizes, groups, None)
    expected = (sums * 0.5 + offset).astype(np.float32)
    x = (q.astype(np.float32) - zero) * np.float32(0.25)
    padded = np.pad(values, ((0, 0),) * 3 + ((0, -values.shape[3] % 4),))
    for images in (q, x, np.asfortranarray(x), np.asfortranarray(q)):
        np.testing.assert_array_equal(_C.quantized_conv2d(images, values, *rest, None, None), expected)
    np.testing.assert_array_equal(_C.quantized_conv2d(x, padded, *rest, None, None), expected)


@pytest.mark.parametrize("geometry", CORNERS, ids=str)
def test_corners_are_exact(level: str, geometry: Geometry) -> None:
    check(np.random.default_rng(1), geometry)


@pytest.mark.parametrize("seed", range(40))
def test_any_geometry_is_exact(level: str, seed: int) -> None:
    """Mutation: pad with zeros."""
    rng = np.random.default_rng(seed)
    check(rng, draw(rng))


def test_extreme_bytes(level: str) -> None:
    # 16-bit sums of two products would saturate here.
    q, values = np.full((1, 9, 9, 64), 255, np.uint8), np.full((20, 3, 3, 64), -128, np.int8)
    one, none, step, zero = np.ones(20, np.float32), np.zeros(20, np.float32), np.float32([1]), np.uint8([255])
    got = F.quantized_conv2d(q, values, one, none, step, zero, padding=1)
    np.testing.assert_array_equal(got, np.full((1, 9, 9, 20), -255 * 128 * 9 * 64))


def test_arguments_of_python_are_those_of_the_kernel() -> None:
    rng = np.random.default_rng(0)
    geometry = ((2, 12, 13, 6), (4, 3, 2, 3), (2, 1, 1, 2, 0, 1, 1, 2), 2)
    q, values, zero, sums = problem(rng, geometry)
    one, none = np.ones(4, np.float32), np.zeros(4, np.float32)
    args = (q, values, one, none, np.float32([1]), np.uint8([zero]))
    got = F.quantized_conv2d(*args, (2, 1), ((1, 0), (2, 1)), (1, 2), 2, "relu")
    np.testing.assert_array_equal(got, np.maximum(sums, 0))
    same = F.quantized_conv2d(*args, padding="same", groups=2)
    np.testing.assert_array_equal(same, F.quantized_conv2d(*args, padding=((1, 1), (0, 1)), groups=2))


@pytest.mark.parametrize("seed", range(6))
def test_sequences_are_images_of_one_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, values = rng.normal(size=(3, 20, 10)).astype(np.float32), rng.integers(-128, 128, (8, 3, 5)).astype(np.int8)
    scale, offset = rng.uniform(0.001, 0.01, 8).astype(np.float32), rng.normal(size=8).astype(np.float32)
    rest = (scale, offset, np.float32([0.02]), np.uint8([120]))
    stride, dilation, ends = rng.integers(1, 4), rng.integers(1, 4), tuple(rng.integers(0, 4, 2).tolist())
    got = F.quantized_conv1d(x, values, *rest, stride, ends, dilation, 2, "tanh")
    images = F.quantized_conv2d(
        x[:, None], values[:, None], *rest, (1, int(stride)), ((0, 0), ends), (1, int(dilation)), 2, "tanh"
    )
    np.testing.assert_array_equal(got, images[:, 0])


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "sigmoid", "gelu", "silu"])
def test_results_in_bytes(level: str, activation: str | None) -> None:
    """They are the bytes of what comes without, and the next layer takes them."""
    rng = np.random.default_rng(3)
    x, values = rng.normal(size=(2, 9, 8, 21)).astype(np.float32), rng.integers(-128, 128, (37, 3, 3, 21))
    scale, offset = rng.uniform(1e-5, 1e-4, 37).astype(np.float32), rng.normal(size=37).astype(np.float32)
    args = (x, values.astype(np.int8), scale, offset, np.float32([0.02]), np.uint8([120]), 1, 1, 1, 1, activation)
    step, zero = np.float32([0.011]), np.uint8([90])
    whole = F.quantized_conv2d(*args)
    expected = np.clip(np.rint(whole * (np.float32(1) / step)) + zero, 0, 255)
    got = F.quantized_conv2d(*args, out_scale=step, out_zero=zero)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)
    more = (rng.integers(-128, 128, (5, 2, 2, 37)).astype(np.int8), np.ones(5, np.float32), np.ones(5, np.float32))
    np.testing.assert_array_equal(
        F.quantized_conv2d(got, *more, step, zero), F.quantized_conv2d(whole, *more, step, zero)
    )


@pytest.mark.parametrize("channels", [3, 64])
def test_neither_threads_nor_levels_change_a_bit(channels: int, threads: Any) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 40, 41, channels)).astype(np.float32)
    values = rng.integers(-128, 128, (100, 3, 3, channels)).astype(np.int8)
    # Powers of two: sums are rounded once, whether a level has fma or not.
    scale, offset = (2.0 ** rng.integers(-9, 0, 100)).astype(np.float32), rng.normal(size=100).astype(np.float32)
    results, before = [], _C.get_isa()
    for name in _C.levels():
        _C.set_isa(name)
        for count in (1, 2, 3):
            threads(count)
            args = (x, values, scale, offset, np.float32([0.02]), np.uint8([120]))
            results.append(F.quantized_conv2d(*args, 1, 1, activation="relu").tobytes())
    _C.set_isa(before)
    assert len(set(results)) == 1


@pytest.mark.parametrize("shape", [(0, 5, 6, 3), (2, 5, 6, 3)])
def test_empty_results(shape: tuple[int, ...]) -> None:
    outputs = 4 if shape[0] == 0 else 0
    empty = np.zeros(outputs, np.float32)
    values = np.zeros((outputs, 2, 2, 3), np.int8)
    got = F.quantized_conv2d(np.zeros(shape, np.float32), values, empty, empty, np.float32([1]), np.uint8([0]))
    assert got.shape == (shape[0], 4, 5, outputs)


def test_no_channel_leaves_the_offset(level: str) -> None:
    offset = np.arange(-2, 3, dtype=np.float32)
    one, step, zero = np.ones(5, np.float32), np.float32([1]), np.uint8([7])
    for x in (np.zeros((2, 3, 4, 0), np.float32), np.zeros((2, 3, 4, 0), np.uint8)):
        got = F.quantized_conv2d(x, np.zeros((5, 2, 2, 0), np.int8), one, offset, step, zero, activation="relu")
        np.testing.assert_array_equal(got, np.broadcast_to(np.maximum(offset, 0), (2, 2, 3, 5)))


@pytest.mark.parametrize("seed", range(8))
def test_nan_reaches_what_its_pixel_reaches(level: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_shape, shape, sizes, _ = draw(rng)
    x_shape = (*x_shape[:3], shape[3])
    x = rng.normal(size=x_shape).astype(np.float32)
    place = tuple(int(rng.integers(n)) for n in x_shape)
    x[place] = np.nan
    one = np.ones(shape[0], np.float32)
    args = (np.ones(shape, np.int8), one, one, np.float32([0.02]), np.uint8([120]), sizes, 1)
    got = _C.quantized_conv2d(x, *args, "relu", None, None)
    expected = oracle.conv2d(np.isnan(x).astype(np.int64), np.ones(shape, np.int64), sizes) > 0
    np.testing.assert_array_equal(np.isnan(got), expected)
    if expected.any():
        with pytest.raises(ValueError, match="quantized_conv2d: argument 'x': expected no NaN where the result is byt"):
            _C.quantized_conv2d(x, *args, "relu", np.float32([1]), np.uint8([0]))


WRONG = [
    ({"x": np.ones((2, 5, 5, 4))}, TypeError, "'x': expected"),
    ({"x": np.ones((2, 5, 5, 4), np.int8)}, TypeError, "'x': expected"),
    ({"x": np.ones((5, 5, 4), np.float32)}, ValueError, r"'x': expected 4 dimensions \(N, H, W, C\)"),
    ({"x": [1.0]}, TypeError, "'x': expected a Tensor or ndarray, got list"),
    ({"values": np.ones((3, 2, 2, 4), np.uint8)}, TypeError, "'values': expected"),
    ({"values": np.ones((3, 2, 2, 4), np.float32)}, TypeError, "'values': expected"),
    ({"values": np.ones((3, 2, 2, 5), np.int8)}, ValueError, r"'values': expected shape \(O, R, S, 4\)"),
    ({"values": np.ones((3, 2, 2, 8), np.int8)}, ValueError, r"'values': expected shape \(O, R, S, 4\)"),
    ({"values": np.ones((3, 4), np.int8)}, ValueError, "'values': expected 4 dimensions"),
    ({"values": np.ones((3, 6, 2, 4), np.int8)}, ValueError, "'values': expected a filter of at most 5 rows"),
    ({"values": np.ones((3, 0, 2, 4), np.int8)}, ValueError, "'values': expected at least one row in a filter"),
    ({"scale": np.ones(2, np.float32)}, ValueError, "'scale': expected"),
    ({"offset": np.ones(3)}, TypeError, "'offset': expected"),
    ({"x_scale": np.float32([0])}, ValueError, "'x_scale': expected a positive number"),
    ({"x_scale": np.float32([np.inf])}, ValueError, "'x_scale': expected a positive number"),
    ({"x_zero": np.uint8([1, 2])}, ValueError, "'x_zero': expected one element"),
    ({"x_zero": np.int8([1])}, TypeError, "'x_zero': expected"),
    ({"stride": 0}, ValueError, "'stride': expected positive sizes"),
    ({"stride": -1}, ValueError, "'stride': expected positive sizes"),
    ({"stride": 1.5}, TypeError, "'stride': expected an int or a pair of ints"),
    ({"padding": -1}, ValueError, "'padding': expected sizes that are not negative"),
    ({"padding": "full"}, ValueError, "'padding': expected sizes, 'same' or 'valid'"),
    ({"padding": 2**61}, ValueError, "'padding': expected a size that fits into memory"),
    ({"dilation": 0}, ValueError, "'dilation': expected positive sizes"),
    ({"groups": 3}, ValueError, "'groups': expected a positive number that divides the 4 channels"),
    ({"groups": 0}, ValueError, "'groups': expected a positive number"),
    (
        {"groups": 2, "values": np.ones((3, 2, 2, 2), np.int8)},
        ValueError,
        "'groups': expected a number that divides the 3 outputs of values",
    ),
    ({"activation": "swish"}, ValueError, "'activation': expected None or one of"),
    ({"out_zero": np.uint8([1])}, ValueError, "'out_scale': expected out_scale and out_zero, or neither"),
    ({"out_scale": np.float32([-1]), "out_zero": np.uint8([1])}, ValueError, "'out_scale': expected a positive"),
]


@pytest.mark.parametrize(("change", "error", "text"), WRONG)
def test_wrong_arguments(change: dict[str, Any], error: type[Exception], text: str) -> None:
    args: dict[str, Any] = {
        "x": np.ones((2, 5, 5, 4), np.float32),
        "values": np.ones((3, 2, 2, 4), np.int8),
        "scale": np.ones(3, np.float32),
        "offset": np.zeros(3, np.float32),
        "x_scale": np.float32([1]),
        "x_zero": np.uint8([0]),
    }
    with pytest.raises(error, match="quantized_conv2d: argument " + text):
        F.quantized_conv2d(**(args | change))
    assert F.quantized_conv2d(**args).shape == (2, 4, 4, 3)


# ---- layers and models ---------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("channels", [3, 12])
def test_layers_are_near_those_they_are_made_of(channels: int, groups: int) -> None:
    rng = np.random.default_rng(0)
    for layer, kind, shape in (
        (nn.Conv2d(channels, 9, (3, 2), 2, "same", groups=groups, rng=1), nn.QuantizedConv2d, (4, 8, 9, channels)),
        (nn.Conv1d(channels, 9, 3, 1, (2, 0), 2, groups, False, rng=1), nn.QuantizedConv1d, (4, 9, channels)),
    ):
        x = rng.uniform(-1, 2, shape).astype(np.float32)
        small: Any = kind.from_conv(layer, -1.0, 2.0)
        np.testing.assert_allclose(small.predict(x), layer.predict(x), atol=0.03)
        assert repr(small).split("(", 1)[1] == repr(layer).split("(", 1)[1].replace(", bias=False", "")


def test_a_gradient_is_refused_rather_than_lost() -> None:
    for layer, x in (
        (nn.QuantizedConv2d(3, 2, 2, rng=0), ml.ones(1, 4, 4, 3)),
        (nn.QuantizedConv1d(3, 2, 2), ml.ones(1, 4, 3)),
    ):
        with pytest.raises(RuntimeError, match="no gradient: call it under mlext.no_grad"):
            layer(x.requires_grad_())


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any, Any, Any]:
    found = ml.datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(found.data))
    x, y = found.data[order].reshape(-1, 8, 8, 1) / np.float32(16), found.target[order]
    return x[:1400], y[:1400], x[1400:], y[1400:]


@pytest.fixture(scope="module")
def trained(digits: Any) -> nn.Module:
    """The network of ``python -m mlext train --model cnn``, and a depthwise and a grouped layer more."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False, rng=1),
        nn.BatchNorm(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, rng=2),
        nn.ReLU6(),
        nn.Conv2d(16, 32, 1, rng=3),
        nn.BatchNorm(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, groups=2, rng=4),
        nn.SiLU(),
        nn.GlobalAvgPool2d(),
        nn.Linear(32, 10, rng=5),
    )
    trainer = ml.training.Trainer(model, "cross_entropy", ml.optim.Adam(model.parameters(), lr=3e-3), seed=0)
    trainer.fit(digits[0], digits[1], epochs=12, batch_size=64, verbose=0)
    return model.eval()


def accuracy(model: nn.Module, x: Any, y: Any) -> float:
    return float((model.predict(x).argmax(axis=1) == y).mean())


def test_digits_keep_their_accuracy(digits: Any, trained: nn.Module) -> None:
    train, _, x, y = digits
    whole = accuracy(trained, x, y)
    assert whole > 0.9
    small = ml.quantize(trained, train[:200])
    assert accuracy(small, x, y) >= whole - 0.003
    folded = ml.quantize(ml.fuse(trained), train[:200])
    assert accuracy(folded, x, y) >= whole - 0.003
    kinds = [type(layer) for layer in folded]
    assert kinds.count(nn.QuantizedConv2d) == 3
    assert kinds.count(nn.Conv2d) == 1  # a group for each channel
    assert nn.BatchNorm not in kinds
    assert type(trained[0]) is nn.Conv2d


def test_saved_and_loaded(digits: Any, trained: nn.Module, tmp_path: Path) -> None:
    small, path = ml.quantize(ml.fuse(trained), digits[0][:200]), tmp_path / "small.safetensors"
    ml.save(small, path)
    np.testing.assert_array_equal(ml.load(path).predict(digits[2]), small.predict(digits[2]))


def test_fused_activations_and_captures_change_nothing(digits: Any, trained: nn.Module) -> None:
    small, x = ml.quantize(ml.fuse(trained), digits[0][:200]), digits[2][:40]
    with ml.no_grad():
        y = ml.tensor(x)
        for layer in small:
            y = layer(y)
        np.testing.assert_array_equal(small(ml.tensor(x)).numpy(), y.numpy())
    for _ in range(4):
        np.testing.assert_array_equal(small.predict(x), y.numpy())


def test_what_cannot_be_quantised() -> None:
    depthwise, x = nn.Conv2d(6, 6, 3, groups=6), np.ones((2, 5, 5, 6), np.float32)
    with pytest.raises(ValueError, match=r"expected a model with a Linear, Conv \(groups of 4 channels or mor"):
        ml.quantize(depthwise, x)
    with pytest.raises(ValueError, match="expected a model with a Linear or recurrent layer, got one without"):
        ml.quantize(nn.Conv2d(6, 6, 3))
    with pytest.raises(TypeError, match="expected float32 parameters, got float64"):
        ml.quantize(nn.Conv1d(6, 6, 3, dtype="float64"), x[0])
    broken = nn.Conv2d(6, 6, 3)
    ml.init.constant_(broken.weight, np.nan)
    with pytest.raises(ValueError, match="expected finite weights"):
        ml.quantize(broken, x)


def test_weights_alone_are_those_of_linear_layers(trained: nn.Module, digits: Any) -> None:
    small = ml.quantize(trained)
    assert {type(layer) for layer in small} == {*{type(layer) for layer in trained} - {nn.Linear}, nn.WeightOnlyLinear}
    assert accuracy(small, *digits[2:]) >= accuracy(trained, *digits[2:]) - 0.003


def test_mobilenet_keeps_its_depthwise_layers() -> None:
    model = ml.fuse(ml.models.mobilenet_v2(4, rng=0).eval())
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    small = ml.quantize(model, x)
    kinds = [(type(layer), getattr(layer, "groups", 1)) for layer in small.modules()]
    assert {groups for kind, groups in kinds if kind is nn.QuantizedConv2d} == {1}
    assert all(groups > 1 for kind, groups in kinds if kind is nn.Conv2d)
    np.testing.assert_allclose(small.predict(x), model.predict(x), atol=0.05)


@pytest.mark.parametrize("model", [nn.Residual(nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, rng=0)))])
def test_residual_blocks(model: nn.Module) -> None:
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 8)).astype(np.float32)
    np.testing.assert_allclose(ml.quantize(model, x).predict(x), model.predict(x), atol=0.05)


def test_channels_first() -> None:
    rng = np.random.default_rng(11)
    x = rng.standard_normal((2, 5, 9, 8)).astype(np.float32)
    for layer, images in ((nn.Conv2d, x), (nn.Conv1d, x[..., 0])):
        last = ml.quantize(layer(5, 6, 3, rng=0), np.moveaxis(images, 1, -1))
        first = ml.quantize(layer(5, 6, 3, data_format="channels_first", rng=0), images)
        expected = np.moveaxis(last.predict(np.moveaxis(images, 1, -1)), -1, 1)
        np.testing.assert_array_equal(first.predict(images), expected)
        assert "data_format='channels_first'" in repr(first)
    with pytest.raises(ValueError, match="'data_format': expected 'channels_last' or 'channels_first'"):
        nn.QuantizedConv2d(3, 4, 3, data_format="NCHW")
