"""Minimal filtering: within its bound, exact where it must be, and what every convolution promises."""

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
ROUNDOFF, GAIN = 2.0**-24, {2: 16, 4: 211}

# (N, H, W, C), outputs, padding before and after of rows and of columns; and the pixels of a row of a tile.
CASES = [
    ((1, 16, 16, 64), 64, (1, 1, 1, 1), 4),
    ((2, 17, 13, 33), 70, (1, 1, 1, 1), 4),  # tiles over the edges, idle lanes
    ((3, 14, 15, 48), 37, (0, 0, 0, 0), 4),
    ((2, 12, 30, 40), 50, (2, 0, 0, 2), 4),
    ((1, 9, 12, 40), 64, (5, 4, 3, 2), 4),  # tiles of nothing but padding
    ((1, 20, 20, 300), 130, (1, 1, 1, 1), 4),  # points of a block that do not stay in L2
    ((70, 8, 8, 32), 32, (1, 1, 1, 1), 4),  # several blocks
    ((2, 6, 6, 64), 64, (1, 1, 1, 1), 2),
    ((3, 6, 5, 130), 50, (1, 1, 1, 1), 2),
    ((5, 7, 12, 60), 66, (0, 0, 0, 0), 2),
    ((3, 7, 7, 300), 130, (1, 1, 1, 1), 2),
]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def draw(rng: np.random.Generator, shape: tuple[int, ...], outputs: int) -> tuple[Array, Array]:
    return normal(rng, shape), normal(rng, (outputs, 3, 3, shape[3]))


def sizes(pads: tuple[int, ...]) -> tuple[int, ...]:
    """The geometry of the kernels: strides, padding before, after, dilations."""
    top, bottom, left, right = pads
    return (1, 1, top, left, bottom, right, 1, 1)


def ends(pads: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    return (pads[0], pads[1]), (pads[2], pads[3])


def tile_of(shape: tuple[int, ...], outputs: int, pads: tuple[int, ...], dtype: str = "float32") -> int:
    """Pixels of a row of a tile; 0 if it is computed otherwise."""
    plan = ml.explain_conv(shape, (outputs, 3, 3, shape[3]), padding=ends(pads), dtype=dtype)
    return int(plan.reasons[0][2]) if plan.kernel == "winograd" else 0


def check(got: Array, expected: Array, x: Array, w_sum: Array, channels: int, tile: int) -> None:
    """Within the bound that always holds, and within what random data should have."""
    error = np.abs(got - expected)
    bound = GAIN[tile] * (channels + 32) * ROUNDOFF * np.abs(x).max() * w_sum
    assert (error <= bound).all()
    assert np.sqrt(np.mean(error**2)) <= 2.5 * ROUNDOFF * np.sqrt(channels) * expected.std()


@pytest.mark.parametrize(("shape", "outputs", "pads", "tile"), CASES)
def test_errors_are_within_the_bound(
    level: str, shape: tuple[int, ...], outputs: int, pads: tuple[int, ...], tile: int
) -> None:
    rng = np.random.default_rng(0)
    assert tile_of(shape, outputs, pads) == tile
    x, w = draw(rng, shape, outputs)
    bias = normal(rng, (outputs,))
    wide = [v.astype(np.float64) for v in (x, w, bias)]
    expected = _C.conv2d(*wide, sizes(pads), 1)
    check(_C.conv2d(x, w, bias, sizes(pads), 1), expected, x, np.abs(w).sum((1, 2, 3)), shape[3], tile)
    g = normal(rng, expected.shape)
    expected = _C.conv2d_input_gradient(g.astype(np.float64), wide[1], shape, sizes(pads), 1)
    got = _C.conv2d_input_gradient(g, w, shape, sizes(pads), 1)
    check(got, expected, g, np.abs(w).sum((0, 1, 2)), outputs, 4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("shape", "outputs", "pads", "tile"), [case for case in CASES if case[3] == 2])
def test_small_integers_are_exact(
    level: str, dtype: str, shape: tuple[int, ...], outputs: int, pads: tuple[int, ...], tile: int
) -> None:
    rng = np.random.default_rng(1)
    assert tile_of(shape, outputs, pads, dtype) == tile
    x, w = (rng.integers(-1, 2, s).astype(np.float32) for s in (shape, (outputs, 3, 3, shape[3])))
    args = [_C.empty(v.shape, dtype) for v in (x, w)]
    for to, v in zip(args, (x, w), strict=True):
        _C.copy_(to, v)
    expected = oracle.conv2d(x, w, sizes(pads), 1)
    assert np.abs(expected).max() <= 256
    got = _C.conv2d(*args, None, sizes(pads), 1)
    np.testing.assert_array_equal(got.numpy().astype(np.float32), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("activation", [None, "relu", "relu6", "gelu"])
def test_all_that_ends_a_tile(level: str, dtype: str, activation: str | None) -> None:
    rng = np.random.default_rng(2)
    shape, outputs, pads = (2, 11, 14, 40), 50, (1, 1, 1, 1)
    assert tile_of(shape, outputs, pads, dtype) == 4
    x, w = draw(rng, shape, outputs)
    bias, residual = normal(rng, (outputs,)), normal(rng, (2, 11, 14, outputs))
    args = [_C.empty(v.shape, dtype) for v in (x, w, bias, residual)]
    for to, v in zip(args, (x, w, bias, residual), strict=True):
        _C.copy_(to, v)
    mx, mw, mb, mr = args
    wide = [v.numpy().astype(np.float64) for v in args]
    value = _C.conv2d(*wide[:3], sizes(pads), 1) + wide[3]
    expected = value if activation is None else getattr(F, activation)(value)
    tolerance = {"float32": 1e-4, "bfloat16": 0.01, "float16": 1e-3}[dtype]
    close = lambda a, b: np.testing.assert_allclose(  # noqa: E731
        a.numpy().astype(np.float64), b, rtol=tolerance, atol=10 * tolerance
    )
    got, pre = _C.conv2d(mx, mw, mb, sizes(pads), 1, activation, True, mr)
    close(got, expected)
    close(pre, value)
    plain = _C.conv2d(mx, mw, mb, sizes(pads), 1, activation, None, mr)
    np.testing.assert_array_equal(plain.numpy(), got.numpy())


def test_bits_depend_on_the_shape_of_an_image_alone(level: str, threads: Callable[[int], None]) -> None:
    for shape, outputs, pads, _ in CASES:
        rng = np.random.default_rng(3)
        x, w = draw(rng, (max(shape[0], 3), *shape[1:]), outputs)
        own = ml.tensor(w) * 1.0  # memory of its own: transformed filters are kept from the second call on
        y = F.conv2d(x, w, padding=ends(pads))
        for count in (1, 2, 3):
            threads(count)
            for _ in range(3):
                np.testing.assert_array_equal(F.conv2d(x, own, padding=ends(pads)), y)
        others = x.copy()
        others[[0, 2]] = np.nan
        np.testing.assert_array_equal(F.conv2d(others, w, padding=ends(pads))[1], y[1])
        np.testing.assert_array_equal(F.conv2d(x[1:2], w, padding=ends(pads)), y[1:2])


def test_a_changed_filter_is_transformed_again() -> None:
    rng = np.random.default_rng(4)
    x, w = (ml.tensor(v) * 1.0 for v in draw(rng, (1, 12, 12, 64), 64))
    for step in range(5):
        np.testing.assert_array_equal(F.conv2d(x, w).numpy(), F.conv2d(x.numpy(), w.numpy().copy()))
        if step % 2:
            _C.copy_(w, normal(rng, (64, 3, 3, 64)))


def test_views_are_read_as_they_are(level: str) -> None:
    rng = np.random.default_rng(5)
    x, w = draw(rng, (2, 12, 13, 40), 48)
    expected = F.conv2d(x, w)
    wide = np.full((2, 24, 13, 47), np.nan, np.float32)
    wide[:, ::2, :, 5:45] = x
    for view in (wide[:, ::2, :, 5:45], np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1], np.asfortranarray(x)):
        np.testing.assert_array_equal(F.conv2d(view, w), expected)


def test_nothing_outside_the_arguments_is_touched(level: str, pages: list[GuardedPage]) -> None:
    rng = np.random.default_rng(6)
    for shape, outputs, pads, tile in (
        ((1, 4, 8, 32), 50, (3, 3, 1, 1), 4),
        ((1, 4, 6, 37), 67, (3, 3, 2, 2), 4),
        ((1, 4, 4, 64), 50, (2, 2, 1, 1), 2),
    ):
        assert tile_of(shape, outputs, pads) == tile
        x, w = draw(rng, shape, outputs)
        expected = F.conv2d(x, w, padding=ends(pads))
        for place in ("begin", "end"):
            mx, mw = getattr(pages[0], place)(x), getattr(pages[3], place)(w)
            np.testing.assert_array_equal(F.conv2d(mx, mw, padding=ends(pads)), expected)
    g, w = draw(rng, (1, 8, 4, 32), 50)
    w = np.ascontiguousarray(w.transpose(3, 1, 2, 0))  # outputs of g
    expected = _C.conv2d_input_gradient(g, w, (1, 10, 6, 50), sizes((0, 0, 0, 0)), 1)
    got = _C.conv2d_input_gradient(pages[0].end(g), pages[3].end(w), (1, 10, 6, 50), sizes((0, 0, 0, 0)), 1)
    np.testing.assert_array_equal(got, expected)


def test_the_switch(direct: None) -> None:
    rng = np.random.default_rng(7)
    x, w = draw(rng, (1, 16, 16, 64), 64)
    assert ml.config.winograd is False
    assert tile_of(x.shape, 64, (0, 0, 0, 0)) == 0
    direct_sums = F.conv2d(x, w)
    ml.config.winograd = True
    assert ml.config.winograd is True
    assert ml.show_config()["winograd"] is True
    assert tile_of(x.shape, 64, (0, 0, 0, 0)) == 4
    assert (F.conv2d(x, w) != direct_sums).any()
    ml.config.winograd = False
    np.testing.assert_array_equal(F.conv2d(x, w), direct_sums)
    for wrong in (1, None, "off"):
        with pytest.raises(TypeError, match="config: argument 'winograd': expected True or False"):
            ml.config.winograd = wrong  # type: ignore[assignment]


def test_a_program_keeps_what_it_was_captured_with() -> None:
    rng = np.random.default_rng(8)
    x, w = draw(rng, (1, 16, 16, 64), 64)
    filters = ml.tensor(w)
    step = ml.compile(lambda v: F.conv2d(v, filters))
    first = step(ml.tensor(x)).numpy()
    try:
        ml.config.winograd = False
        np.testing.assert_array_equal(step(ml.tensor(x)).numpy(), first)
    finally:
        ml.config.winograd = True


@pytest.mark.parametrize(
    ("x", "weight", "options"),
    [
        ((1, 32, 32, 64), (64, 3, 3, 64), {"dtype": "float64"}),
        ((1, 32, 32, 64), (64, 3, 3, 64), {"stride": 2}),
        ((1, 32, 32, 64), (64, 3, 3, 64), {"dilation": 2}),
        ((1, 32, 32, 64), (64, 3, 1, 64), {}),
        ((1, 32, 32, 64), (64, 5, 5, 64), {}),
        ((1, 32, 32, 64), (64, 3, 3, 32), {"groups": 2}),
        ((1, 32, 32, 8), (64, 3, 3, 8), {}),
        ((1, 5, 5, 64), (64, 3, 3, 64), {}),
    ],
)
def test_the_rest_is_computed_otherwise(x: Any, weight: Any, options: dict[str, Any]) -> None:
    assert ml.explain_conv(x, weight, **options).kernel == "tiles"
