"""Convolution: exact on integers for every geometry, dtype and level; gradients, edges, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import oracle

import mlext as ml
from _simd_tools import GuardedPage
from mlext import _C
from mlext import functional as F

Array = np.ndarray[Any, Any]
SHAPES = Path(__file__).parents[1] / "bench" / "shapes"


def integers(rng: np.random.Generator, shape: tuple[int, ...], most: int = 2) -> Array:
    """Small integers: products and sums of them are exact in any order."""
    return rng.integers(-most, most + 1, shape).astype(np.float32)


def tensor(x: Array, dtype: str) -> Any:
    """A Tensor of a dtype that NumPy need not know."""
    out = _C.empty(x.shape, dtype)
    _C.copy_(out, x)
    return out


def numbers(x: Any) -> Array:
    return np.asarray(x.numpy().astype(np.float32) if not isinstance(x, np.ndarray) else x)


def same(got: Any, expected: Array) -> bool:
    got = numbers(got)
    return bool(got.shape == expected.shape and (got == expected).all())


pytestmark = pytest.mark.usefixtures("direct")  # test_winograd.py has the rest

Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]


def draw(rng: np.random.Generator) -> Geometry:
    """Shapes of x and the weight, geometry and groups; about as many small as odd ones."""
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, outputs = int(rng.integers(1, 20)), groups * int(rng.integers(1, 40))
    return around(rng, groups, channels, outputs)


def around(rng: np.random.Generator, groups: int, channels: int, outputs: int) -> Geometry:
    """The same for channels of a group and outputs that are drawn."""
    taps, strides = rng.integers(1, 5, 2).tolist(), rng.integers(1, 4, 2).tolist()
    dilations, ends = rng.choice([1, 1, 2, 3], 2).tolist(), rng.integers(0, 4, 4).tolist()
    size = []
    for i in (0, 1):
        least = max(dilations[i] * (taps[i] - 1) + 1 - ends[i] - ends[2 + i], 1)
        size.append(int(rng.integers(least, least + 16)))
    x, w = (int(rng.integers(1, 4)), *size, groups * channels), (outputs, *taps, channels)
    return x, w, (*strides, *ends, *dilations), groups


# (x, weight, geometry, groups): what a random draw seldom meets.
CORNERS: list[Geometry] = [
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 0, 0, 0, 0, 1, 1), 1),
    ((2, 1, 1, 3), (2, 3, 3, 3), (1, 1, 1, 1, 1, 1, 1, 1), 1),  # one pixel, the rest is padding
    ((1, 4, 4, 2), (3, 2, 2, 2), (5, 5, 3, 3, 3, 3, 1, 1), 1),  # strides beyond the filter: pixels that no tap meets
    ((1, 3, 3, 2), (3, 1, 1, 2), (1, 1, 2, 2, 2, 2, 1, 1), 1),  # places in padding alone
    ((2, 9, 9, 8), (8, 3, 3, 1), (2, 2, 1, 1, 1, 1, 1, 1), 8),  # a group for each channel
    ((1, 70, 90, 40), (40, 3, 3, 1), (1, 1, 1, 1, 1, 1, 1, 1), 40),  # the same in several strips and parts
    ((1, 40, 40, 3), (70, 7, 7, 3), (2, 2, 3, 3, 3, 3, 1, 1), 1),
    ((1, 6, 300, 5), (17, 1, 9, 5), (1, 1, 0, 4, 0, 4, 1, 1), 1),
    ((3, 7, 7, 130), (100, 3, 3, 130), (1, 1, 1, 1, 1, 1, 1, 1), 1),  # several blocks of k
    ((1, 12, 12, 6), (4, 3, 3, 6), (2, 3, 0, 0, 0, 0, 4, 2), 1),  # dilation and stride share a factor
    ((5, 40, 40, 16), (8, 3, 3, 16), (1, 1, 1, 1, 1, 1, 1, 1), 1),  # several bands of whole images
    ((2, 30, 31, 16), (32, 1, 1, 16), (1, 1, 0, 0, 0, 0, 1, 1), 1),  # a product of matrices
    ((2, 30, 31, 16), (32, 1, 1, 16), (2, 2, 0, 0, 0, 0, 1, 1), 1),
    ((2, 7, 9, 40), (50, 1, 1, 40), (2, 3, 0, 0, 0, 0, 1, 1), 1),  # a product of the pixels that it meets
    ((2, 3, 4, 40), (50, 1, 1, 40), (2, 1, 3, 2, 0, 1, 1, 1), 1),
    ((64, 7, 7, 64), (32, 3, 3, 64), (1, 1, 1, 1, 1, 1, 1, 1), 1),  # a gradient from several gathered blocks
]


def check_geometry(rng: np.random.Generator, geometry: Geometry, dtype: str = "float32") -> None:
    x_shape, w_shape, sizes, groups = geometry
    x, w, bias = integers(rng, x_shape), integers(rng, w_shape), integers(rng, w_shape[:1])
    expected = oracle.conv2d(x, w, sizes, groups)
    g = integers(rng, expected.shape)
    mx, mw, mg = tensor(x, dtype), tensor(w, dtype), tensor(g, dtype)
    assert same(_C.conv2d(mx, mw, tensor(bias, dtype), sizes, groups), expected + bias)
    got = _C.conv2d_input_gradient(mg, mw, x_shape, sizes, groups)
    assert same(got, oracle.conv2d_input_gradient(g, w, x_shape, sizes, groups))
    assert same(
        _C.conv2d_weight_gradient(mg, mx, w_shape, sizes, groups),
        oracle.conv2d_weight_gradient(g, x, w_shape, sizes, groups),
    )


@pytest.mark.parametrize("geometry", CORNERS, ids=str)
def test_corners_are_exact(level: str, geometry: Geometry) -> None:
    check_geometry(np.random.default_rng(1), geometry)


@pytest.mark.parametrize("seed", range(40))
def test_any_geometry_is_exact(level: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    check_geometry(rng, draw(rng))


def draw_depthwise(rng: np.random.Generator) -> Geometry:
    """A group for each of more channels than a vector has, with one output or a few."""
    (n, h, w, _), (_, r, s, _), sizes, _ = draw(rng)
    size = int(rng.choice([0, 3, 3, 5, 7]))  # some filters have kernels of their own
    r, s = (size, size) if size else (r, s)
    h, w = h + 2 * sizes[6] * r, w + 2 * sizes[7] * s
    groups = int(rng.integers(2, 90))
    return (n, h, w, groups), (groups * int(rng.choice([1, 1, 3])), r, s, 1), sizes, groups


@pytest.mark.parametrize("seed", range(200, 224))
def test_any_depthwise_geometry_is_exact(level: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    check_geometry(rng, draw_depthwise(rng), str(rng.choice(["float32", "float32", "float64"])))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("activation", [None, "relu", "relu6", "silu"])
def test_depthwise_with_all_that_ends_a_tile(level: str, dtype: str, activation: str | None) -> None:
    rng = np.random.default_rng(3)
    x, w = integers(rng, (2, 9, 8, 21), 1), integers(rng, (21, 3, 3, 1), 1)
    b, r = integers(rng, (21,), 2), integers(rng, (2, 9, 8, 21), 2)
    sizes = (1, 1, 1, 1, 1, 1, 1, 1)
    value = oracle.conv2d(x, w, sizes, 21) + b + r
    expected = {
        None: value,
        "relu": np.maximum(value, 0),
        "relu6": np.clip(value, 0, 6),
        "silu": value / (1 + np.exp(-value)),
    }[activation]
    for kind in ("float32", dtype):
        args = [tensor(v, kind) for v in (x, w, b)]
        got, pre = _C.conv2d(*args, sizes, 21, activation, True, tensor(r, kind))
        tolerance = 1e-6 if kind == "float32" else 1e-2
        np.testing.assert_allclose(numbers(got), expected, rtol=tolerance, atol=tolerance)
        assert same(pre, value)
        plain = _C.conv2d(*args, sizes, 21, activation, None, tensor(r, kind))
        np.testing.assert_array_equal(numbers(plain), numbers(got))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("seed", range(100, 106))
def test_any_dtype_is_exact(level: str, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_shape, w_shape, sizes, groups = draw(rng)
    x, w = integers(rng, x_shape, 1), integers(rng, w_shape, 1)
    expected = oracle.conv2d(x, w, sizes, groups)
    g = np.sign(integers(rng, expected.shape)) * (rng.random(expected.shape) < 0.2)
    mx, mw, mg = tensor(x, dtype), tensor(w, dtype), tensor(g.astype(np.float32), dtype)
    wide = {"bfloat16": 256, "float16": 2048}.get(dtype, np.inf)  # integers beyond are rounded
    for got, value in (
        (_C.conv2d(mx, mw, None, sizes, groups), expected),
        (
            _C.conv2d_input_gradient(mg, mw, x_shape, sizes, groups),
            oracle.conv2d_input_gradient(g, w, x_shape, sizes, groups),
        ),
        (
            _C.conv2d_weight_gradient(mg, mx, w_shape, sizes, groups),
            oracle.conv2d_weight_gradient(g, x, w_shape, sizes, groups),
        ),
    ):
        fits = np.abs(value) <= wide
        assert fits.any()
        assert (numbers(got)[fits] == value[fits]).all()


@pytest.mark.parametrize("file", ["conv.json", "cnn_layers.json"])
def test_outside_shapes_are_exact(file: str) -> None:
    """Those of the tables, with fewer images and pixels."""
    rng = np.random.default_rng(2)
    seen = set()
    for row in json.loads((SHAPES / file).read_text())["rows"]:
        layer = "in_c" in row
        channels, outputs = (row["in_c"], row["out_c"]) if layer else (row["c"], row["k"])
        r, s = (row["kernel_h"], row["kernel_w"]) if layer else (row["filter_h"], row["filter_w"])
        sh, sw = (row["stride"],) * 2 if layer else (row["stride_h"], row["stride_w"])
        ph, pw = (row["pad"],) * 2 if layer else (row["pad_h"], row["pad_w"])
        size = [min(row["h"], r + 2 * sh + 1), min(row["w"], s + 9 * sw)]
        shape = (1, *size, min(channels, 160) if row["groups"] == 1 else channels)
        groups = row["groups"]
        key = (shape, (min(outputs, 96) if groups == 1 else outputs, r, s, shape[3] // groups), sh, sw, ph, pw, groups)
        if key not in seen:
            seen.add(key)
            check_geometry(rng, (shape, key[1], (sh, sw, ph, pw, ph, pw, 1, 1), groups))
    assert len(seen) > 10


# ---- the store phase -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "tanh", "gelu"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_fused_is_the_same_as_afterwards(level: str, activation: str | None, bias: bool, residual: bool) -> None:
    rng = np.random.default_rng(3)
    for shape, filters in (
        ((2, 9, 11, 5), (20, 3, 3, 5)),
        ((1, 7, 7, 300), (50, 3, 3, 300)),
        ((2, 5, 5, 8), (9, 1, 1, 8)),
    ):
        x, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, filters))
        vector = rng.standard_normal(filters[0]).astype(np.float32) if bias else None
        plain = F.conv2d(x, w, vector, padding="same")
        added = rng.standard_normal(plain.shape).astype(np.float32) if residual else None
        value = F.conv2d(x, w, vector, padding="same", residual=added)
        np.testing.assert_allclose(value, plain + (0 if added is None else added), rtol=1e-4, atol=1e-4)
        fused = F.conv2d(x, w, vector, padding="same", activation=activation, residual=added)
        expected = value if activation is None else getattr(F, activation)(value)
        np.testing.assert_array_equal(fused, expected)


def test_places_in_padding_alone_are_fused_too(level: str) -> None:
    rng = np.random.default_rng(12)
    for taps, stride, padding in ((1, 1, ((2, 1), (0, 3))), (3, 2, ((5, 4), (6, 0))), (2, 5, ((9, 9), (9, 9)))):
        x, w, bias = integers(rng, (2, 4, 5, 7)), integers(rng, (20, taps, taps, 7)), integers(rng, (20,))
        padded = np.pad(x, ((0, 0), *padding, (0, 0)))
        residual = integers(rng, F.conv2d(padded, w, stride=stride).shape)
        geometry = (stride, stride, *(p[0] for p in padding), *(p[1] for p in padding), 1, 1)
        expected = oracle.conv2d(x, w, geometry, 1) + bias + residual
        got, pre = _C.conv2d(x, w, bias, geometry, 1, "relu", True, residual)
        assert same(got, np.maximum(expected, 0))
        assert same(pre, expected)
        assert same(_C.conv2d(x, w, bias, geometry, 1, None, None, residual), expected)


def test_transposed_is_the_gradient(level: str) -> None:
    rng = np.random.default_rng(4)
    for stride, padding, more, dilation in ((1, 0, 0, 1), (2, 1, 1, 1), (3, 0, 2, 2), ((2, 1), (0, 1), (1, 0), 1)):
        x, w, bias = integers(rng, (2, 5, 4, 6)), integers(rng, (6, 3, 2, 4)), integers(rng, (4,))
        y = F.conv_transpose2d(x, w, bias, stride, padding, more, dilation=dilation)
        pair = lambda v: v if isinstance(v, tuple) else (v, v)  # noqa: E731
        sizes = (*pair(stride), *pair(padding), *pair(padding), *pair(dilation))
        assert same(y, oracle.conv2d_input_gradient(x, w, y.shape, sizes, 1) + bias)
        assert same(
            F.conv_transpose2d(x, w, bias, stride, padding, more, dilation=dilation, activation="relu"),
            np.maximum(y, 0),
        )


def test_paddings_mean_the_same() -> None:
    rng = np.random.default_rng(5)
    x, w = integers(rng, (1, 8, 7, 3)), integers(rng, (4, 4, 3, 3))
    for stride in (1, 2, 3):
        same_size = F.conv2d(x, w, stride=stride, padding="same")
        assert same_size.shape[1:3] == (-(-8 // stride), -(-7 // stride))
        total = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in ((8, 4), (7, 3))]
        ends = [(t // 2, t - t // 2) for t in total]
        np.testing.assert_array_equal(same_size, F.conv2d(x, w, stride=stride, padding=ends))
    np.testing.assert_array_equal(F.conv2d(x, w, padding="valid"), F.conv2d(x, w))
    np.testing.assert_array_equal(F.conv2d(x, w, padding=2), F.conv2d(np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))), w))
    np.testing.assert_array_equal(F.conv2d(x, w, padding=(1, 2)), F.conv2d(x, w, padding=((1, 1), (2, 2))))


def test_sequences_are_images_of_one_row() -> None:
    rng = np.random.default_rng(6)
    x, w, bias = integers(rng, (2, 20, 3)), integers(rng, (5, 4, 3)), integers(rng, (5,))
    for stride, padding, dilation in ((1, 0, 1), (2, (1, 3), 2), (3, "same", 1)):
        ends = (
            padding if isinstance(padding, str) else ((0, 0), padding if isinstance(padding, tuple) else (padding,) * 2)
        )
        expected = F.conv2d(x[:, None], w[:, None], bias, (1, stride), ends, (1, dilation))[:, 0]
        np.testing.assert_array_equal(F.conv1d(x, w, bias, stride, padding, dilation), expected)


# ---- promises ------------------------------------------------------------------------------------------------------


def test_bits_do_not_depend_on_threads(threads: Callable[[int], None]) -> None:
    rng = np.random.default_rng(7)
    for shape, filters, sizes, groups in (
        ((3, 40, 40, 16), (48, 3, 3, 16), (1, 1, 1, 1, 1, 1, 1, 1), 1),
        ((5, 7, 7, 256), (256, 3, 3, 256), (1, 1, 1, 1, 1, 1, 1, 1), 1),
        ((2, 64, 64, 3), (32, 5, 5, 3), (2, 2, 2, 2, 2, 2, 1, 1), 1),
        ((2, 20, 20, 32), (64, 3, 3, 8), (1, 1, 0, 0, 0, 0, 1, 1), 4),
        ((3, 40, 50, 70), (70, 3, 3, 1), (1, 1, 1, 1, 1, 1, 1, 1), 70),
    ):
        x, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, filters))
        seen = set()
        for count in (1, 2, 3):
            threads(count)
            y = _C.conv2d(x, w, None, sizes, groups)
            slopes = np.sin(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
            gx = _C.conv2d_input_gradient(slopes, w, shape, sizes, groups)
            gw = _C.conv2d_weight_gradient(slopes, x, filters, sizes, groups)
            seen.add(y.tobytes() + gx.tobytes() + gw.tobytes())
        assert len(seen) == 1


def test_images_do_not_depend_on_each_other(level: str) -> None:
    rng = np.random.default_rng(8)
    x, w = rng.standard_normal((4, 9, 9, 7)).astype(np.float32), rng.standard_normal((6, 3, 3, 7)).astype(np.float32)
    alone = F.conv2d(x[2:3], w, padding=1)
    x[[0, 1, 3]] = np.nan
    together = F.conv2d(x, w, padding=1)
    np.testing.assert_array_equal(together[2:3], alone)
    assert np.isnan(together[[0, 1, 3]]).all()


def test_nothing_outside_the_arguments_is_touched(level: str, pages: list[GuardedPage]) -> None:
    rng = np.random.default_rng(9)
    for shape, filters, sizes, groups in (
        ((1, 5, 5, 3), (17, 3, 3, 3), (1, 1, 0, 0, 0, 0, 1, 1), 1),
        ((2, 4, 6, 5), (3, 2, 3, 5), (2, 1, 1, 1, 1, 1, 1, 1), 1),
        ((1, 3, 9, 17), (9, 1, 1, 17), (1, 2, 0, 0, 0, 0, 1, 1), 1),
        ((1, 4, 5, 17), (17, 3, 3, 1), (1, 1, 1, 1, 1, 1, 1, 1), 17),
        ((1, 7, 8, 5), (5, 5, 4, 1), (2, 1, 1, 2, 1, 2, 1, 1), 5),
    ):
        for dtype in (np.float32, np.float64):
            x, w = integers(rng, shape).astype(dtype), integers(rng, filters).astype(dtype)
            expected = oracle.conv2d(x, w, sizes, groups)
            g = integers(rng, expected.shape).astype(dtype)
            x_end, w_end, g_end = pages[0].end(x), pages[1].end(w), pages[2].end(g)
            assert same(_C.conv2d(x_end, w_end, None, sizes, groups), expected)
            assert same(
                _C.conv2d_input_gradient(g_end, w_end, shape, sizes, groups),
                oracle.conv2d_input_gradient(g, w, shape, sizes, groups),
            )
            got = _C.conv2d_weight_gradient(g_end, x_end, filters, sizes, groups)
            assert same(got, oracle.conv2d_weight_gradient(g, x, filters, sizes, groups))


def test_views_are_read_as_they_are(level: str) -> None:
    rng = np.random.default_rng(10)
    w = integers(rng, (5, 3, 3, 4))
    x = integers(rng, (2, 8, 9, 4))
    expected = F.conv2d(x, w)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)  # channels first in memory
    wide = np.full((2, 16, 9, 7), np.nan, np.float32)
    wide[:, ::2, :, 2:6] = x
    for view in (first, wide[:, ::2, :, 2:6], np.ascontiguousarray(x[:, ::-1])[:, ::-1]):
        np.testing.assert_array_equal(F.conv2d(view, w), expected)
    np.testing.assert_array_equal(F.conv2d(x, np.asfortranarray(w)), expected)


def test_a_changed_weight_is_packed_again() -> None:
    rng = np.random.default_rng(11)
    x, w = ml.tensor(integers(rng, (1, 6, 6, 16))), ml.tensor(integers(rng, (32, 3, 3, 16)))
    for step in range(5):
        expected = oracle.conv2d(x.numpy(), w.numpy().copy(), (1, 1, 0, 0, 0, 0, 1, 1), 1)
        assert same(F.conv2d(x, w), expected)
        if step % 2:
            _C.copy_(w, integers(rng, (32, 3, 3, 16)))


def test_nothing_to_do() -> None:
    w = np.ones((4, 3, 3, 2), np.float32)
    assert F.conv2d(np.ones((0, 5, 5, 2), np.float32), w).shape == (0, 3, 3, 4)
    sizes = (1, 1, 0, 0, 0, 0, 1, 1)
    empty = np.ones((0, 5, 5, 2), np.float32)
    slopes = np.ones((0, 3, 3, 4), np.float32)
    assert (_C.conv2d_weight_gradient(slopes, empty, w.shape, sizes, 1) == 0).all()
    bias = np.arange(4, dtype=np.float32)
    none = F.conv2d(np.ones((1, 5, 5, 0), np.float32), np.ones((4, 3, 3, 0), np.float32), bias)
    np.testing.assert_array_equal(none, np.broadcast_to(bias, (1, 3, 3, 4)))


@pytest.mark.parametrize(
    ("kind", "arguments", "shape"),
    [
        ("Conv2d", {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0), "dilation": (1, 2)}, (2, 4, 9, 8)),
        ("Conv2d", {"kernel_size": 3, "padding": "same", "groups": 2, "bias": False}, (2, 4, 9, 8)),
        ("Conv1d", {"kernel_size": 5, "stride": 2, "padding": 3}, (2, 4, 20)),
        ("ConvTranspose2d", {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}, (2, 4, 5, 6)),
        ("ConvTranspose2d", {"kernel_size": (2, 3), "groups": 2, "dilation": 2}, (2, 4, 5, 6)),
    ],
)
def test_layers_equal_torch(kind: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind)(4, 6, **arguments, dtype=torch.float64)
    ours = getattr(ml.nn, kind)(4, 6, **arguments, dtype="float64")
    # Channels go from behind the first axis to the end, of images and filters alike.
    last = lambda x: np.moveaxis(x.detach().numpy(), 1, -1)  # noqa: E731
    ours.load_state_dict({k: v.detach().numpy() if v.ndim == 1 else last(v) for k, v in theirs.state_dict().items()})
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    mx = ml.tensor(last(x).copy(), requires_grad=True)
    y, my = theirs(x), ours(mx)
    np.testing.assert_allclose(my.detach().numpy(), last(y), rtol=1e-10, atol=1e-10)
    y.sin().sum().backward()
    F.sum(F.sin(my)).backward()
    np.testing.assert_allclose(mx.grad.numpy(), last(x.grad), rtol=1e-10, atol=1e-10)
    for name, p in theirs.named_parameters():
        expected = p.grad.numpy() if p.ndim == 1 else last(p.grad)
        np.testing.assert_allclose(dict(ours.named_parameters())[name].grad.numpy(), expected, rtol=1e-10, atol=1e-10)


# ---- errors --------------------------------------------------------------------------------------------------------

X, W = np.ones((1, 8, 8, 3), np.float32), np.ones((4, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"weight": W[..., :2]}, ValueError, r"'weight': expected shape \(O, R, S, 3\) for x of shape \(1, 8, 8, 3\)"),
        ({"weight": W[0]}, ValueError, "'weight': expected 4 dimensions"),
        ({"x": X[0]}, ValueError, "'x': expected 4 dimensions"),
        ({"weight": W.astype(np.float64)}, TypeError, "'weight': expected float32"),
        ({"x": X.astype(np.int32)}, TypeError, "'x': expected a floating dtype"),
        ({"bias": np.ones(3, np.float32)}, ValueError, r"'bias': expected shape \(4,\)"),
        ({"residual": np.ones((1, 6, 6, 3), np.float32)}, ValueError, r"'residual': expected shape \(1, 6, 6, 4\)"),
        ({"stride": 0}, ValueError, "'stride': expected positive sizes, got 0"),
        ({"stride": -1}, ValueError, "'stride': expected positive sizes, got -1"),
        ({"stride": (1,)}, ValueError, "'stride': expected an int or a pair"),
        ({"stride": "a"}, TypeError, "'stride': expected an int or a pair"),
        ({"stride": True}, TypeError, "'stride': expected an int or a pair"),
        ({"stride": 1.5}, TypeError, "'stride': expected an int or a pair"),
        ({"dilation": 0}, ValueError, "'dilation': expected positive sizes, got 0"),
        ({"padding": -1}, ValueError, "'padding': expected sizes that are not negative, got -1"),
        ({"padding": 2**62}, ValueError, "'padding': expected a size that fits into memory"),
        ({"padding": "full"}, ValueError, "'padding': expected sizes, 'same' or 'valid'"),
        ({"padding": (1, 2, 3)}, ValueError, "'padding': expected an int or a pair"),
        ({"groups": 0}, ValueError, "'groups': expected a positive number that divides the 3 channels"),
        ({"groups": 2}, ValueError, "'groups': expected a positive number that divides the 3 channels"),
        ({"groups": 3, "weight": W[..., :1]}, ValueError, "'groups': expected a number that divides the 4 outputs"),
        ({"weight": np.ones((4, 0, 3, 3), np.float32)}, ValueError, "'weight': expected at least one row"),
        ({"weight": np.ones((4, 9, 3, 3), np.float32)}, ValueError, "'weight': expected a filter of at most 8 rows"),
        ({"activation": "swish"}, ValueError, "'activation': expected None or one of"),
    ],
)
def test_errors(change: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match="conv2d: argument " + text):
        F.conv2d(**({"x": X, "weight": W} | change))


@pytest.mark.parametrize("padding", [2**31, 2**20])
def test_an_output_that_is_too_large(padding: int) -> None:
    with pytest.raises((MemoryError, ValueError)):
        F.conv2d(X, W, padding=padding)


def test_gradients_of_another_shape_are_refused() -> None:
    sizes = (1, 1, 0, 0, 0, 0, 1, 1)
    for shape in ((1, 5, 6, 4), (1, 6, 6, 3), (0, 6, 6, 4), (1, 6, 6)):
        g = np.ones(shape, np.float32)
        with pytest.raises(ValueError, match=r"conv2d_input_gradient: argument 'g': expected"):
            _C.conv2d_input_gradient(g, W, X.shape, sizes, 1)
        with pytest.raises(ValueError, match=r"conv2d_weight_gradient: argument 'g': expected"):
            _C.conv2d_weight_gradient(g, X, W.shape, sizes, 1)


def test_errors_of_transposed_convolution() -> None:
    for change, text in (
        ({"output_padding": 2, "stride": 2}, "'output_padding': expected sizes from 0 to less than stride"),
        ({"padding": 9}, "'padding': expected a result of positive size"),
        ({"weight": np.ones((4, 3, 3, 3), np.float32)}, "'g': expected|'weight'"),
    ):
        with pytest.raises(ValueError, match=text):
            F.conv_transpose2d(**({"x": X, "weight": np.ones((3, 3, 3, 2), np.float32)} | change))
