"""Pooling: every window against PyTorch and the formula, edges, errors."""

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

# kernel size, stride, padding
WINDOWS: list[tuple[Any, Any, Any]] = [
    (2, None, 0),
    (3, 2, 1),
    (3, 1, 1),
    ((2, 3), (1, 2), (1, 1)),
    ((1, 4), 5, 0),
    (5, 3, 2),
    ((7, 6), 1, 0),
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_formula(level: str, window: tuple[Any, Any, Any], dtype: Any) -> None:
    rng = np.random.default_rng(1)
    size, stride, padding = window
    for channels in (1, 3, 16, 33, 64, 130):
        x = rng.standard_normal((2, 7, 9, channels)).astype(dtype)
        steps = size if stride is None else stride
        np.testing.assert_array_equal(F.max_pool2d(x, *window), oracle.pool2d(x, np.max, size, steps, padding))
        mean = oracle.pool2d(x.astype(np.float64), np.mean, size, steps, padding)
        got = F.avg_pool2d(x, *window, count_include_pad=False)
        np.testing.assert_allclose(got, mean, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_equal_to_torch(window: tuple[Any, Any, Any], ceil_mode: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    x = rng.integers(-3, 4, (2, 8, 11, 5)).astype(np.float64)  # with ties
    last = lambda t: np.moveaxis(t.detach().numpy(), 1, -1)  # noqa: E731
    pooled = torch.nn.functional
    for ours, theirs, options in (
        (F.max_pool2d, pooled.max_pool2d, {}),
        (F.avg_pool2d, pooled.avg_pool2d, {"count_include_pad": True}),
        (F.avg_pool2d, pooled.avg_pool2d, {"count_include_pad": False}),
    ):
        tx = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
        mx = ml.tensor(x, requires_grad=True)
        ty, my = theirs(tx, *window, ceil_mode=ceil_mode, **options), ours(mx, *window, ceil_mode=ceil_mode, **options)
        np.testing.assert_allclose(my.detach().numpy(), last(ty), rtol=1e-14, atol=1e-14)
        g = rng.standard_normal(my.shape)
        my.backward(ml.tensor(g))
        ty.backward(torch.tensor(np.moveaxis(g, -1, 1).copy()))
        np.testing.assert_allclose(mx.grad.numpy(), last(tx.grad), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rectified_is_relu(level: str, window: tuple[Any, Any, Any], dtype: str) -> None:
    rng = np.random.default_rng(6)
    x = rng.integers(-3, 2, (2, 8, 11, 21)).astype(dtype)  # windows of 0 and of less among them
    x[0, 3, 3, 5] = np.nan
    fused, plain = (ml.tensor(x, requires_grad=True) for _ in range(2))
    got, expected = F.max_pool2d(fused, *window, activation="relu"), F.relu(F.max_pool2d(plain, *window))
    np.testing.assert_array_equal(got.detach().numpy(), expected.detach().numpy())
    g = ml.tensor(rng.standard_normal(got.shape).astype(dtype))
    got.backward(g)
    expected.backward(g)
    np.testing.assert_array_equal(fused.grad.numpy(), plain.grad.numpy())


def test_a_model_rectifies_what_it_pooled() -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, 12, 12, 3)).astype(np.float32)
    layers = [ml.nn.Conv2d(3, 8, 3, rng=0), ml.nn.ReLU(), ml.nn.MaxPool2d(2), ml.nn.ReLU(), ml.nn.MaxPool2d(2)]
    results = []
    seen: list[Any] = []
    for apart in (False, True):
        model = ml.nn.Sequential(*layers)
        for p in model.parameters():
            p.grad = None
        removers = [layer.register_forward_hook(lambda *_: seen.append(1)) for layer in layers if apart]
        with ml.profile() as profile:
            y = model(ml.tensor(x))
            F.sum(F.sin(y)).backward()
        for remove in removers:
            remove()
        assert len(seen) == (5 if apart else 0)
        assert ("relu" in {row.name for row in profile.rows()}) is apart
        results.append([y.detach().numpy(), *(p.grad.numpy().copy() for p in model.parameters())])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [1, 2, 3, (5, 2), (9, 12)])
def test_parts_equal_torch(size: Any) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(3).standard_normal((2, 8, 11, 5))
    tx = torch.tensor(np.moveaxis(x, -1, 1).copy())
    for ours, theirs in (
        (F.adaptive_max_pool2d, torch.nn.functional.adaptive_max_pool2d),
        (F.adaptive_avg_pool2d, torch.nn.functional.adaptive_avg_pool2d),
    ):
        np.testing.assert_allclose(ours(x, size), np.moveaxis(theirs(tx, size).numpy(), 1, -1), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types(level: str, dtype: str) -> None:
    x = np.random.default_rng(4).integers(-4, 5, (2, 6, 6, 20)).astype(np.float32)
    half = _C.empty(x.shape, dtype)
    _C.copy_(half, x)
    numbers = lambda t: t.numpy().astype(np.float32)  # noqa: E731
    np.testing.assert_array_equal(numbers(F.max_pool2d(half, 3, 2, 1)), oracle.pool2d(x, np.max, 3, 2, 1))
    np.testing.assert_array_equal(numbers(F.avg_pool2d(half, 2)), oracle.pool2d(x, np.mean, 2, 2, 0))


def test_nan_and_infinity(level: str) -> None:
    x = np.zeros((1, 4, 4, 20), np.float32)
    x[0, 1, 1, 3] = np.nan
    x[0, 2:, 2:] = -np.inf
    y = F.max_pool2d(x, 2)
    assert np.isnan(y[0, 0, 0, 3])
    assert np.isnan(y).sum() == 1
    assert (y[0, 1, 1] == -np.inf).all()
    one = np.ones_like(y)
    g = _C.max_pool2d_gradient(one, x, y, (2, 2, 2, 2, 0, 0, 0, 0), False, False, False)
    # One pixel of each window gets the gradient: the first of equal ones, and the NaN.
    assert g.sum() == one.sum()
    assert g[0, 1, 1, 3] == 1
    assert (g[0, 2, 2] == 1).all()


def test_bits_do_not_depend_on_threads(threads: Callable[[int], None]) -> None:
    x = np.random.default_rng(5).standard_normal((2, 60, 60, 130)).astype(np.float32)
    geometry = (3, 3, 2, 2, 1, 1, 1, 1)
    seen = set()
    for count in (1, 2, 3):
        threads(count)
        bits = b""
        for run, gradient in ((_C.max_pool2d, _C.max_pool2d_gradient), (_C.avg_pool2d, _C.avg_pool2d_gradient)):
            y = run(x, geometry, False, False, False)
            bits += y.tobytes() + gradient(y, x, y, geometry, False, False, False).tobytes()
        seen.add(bits)
    assert len(seen) == 1


def test_nothing_outside_the_arguments_is_touched(level: str, pages: list[GuardedPage]) -> None:
    rng = np.random.default_rng(6)
    for channels in (1, 5, 17, 70):
        x = pages[0].end(rng.standard_normal((1, 3, 3, channels)).astype(np.float32))
        y = F.max_pool2d(x, 2, 1)
        g = pages[1].end(np.ones_like(y))
        geometry = (2, 2, 1, 1, 0, 0, 0, 0)
        got = _C.max_pool2d_gradient(g, x, pages[2].end(y), geometry, False, False, False)
        assert got.sum() == y.size


def test_views_and_nothing() -> None:
    x = np.random.default_rng(7).standard_normal((2, 3, 8, 8)).astype(np.float32)
    view = x.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(F.max_pool2d(view, 2), F.max_pool2d(view.copy(), 2))
    assert F.max_pool2d(np.ones((0, 4, 4, 3), np.float32), 2).shape == (0, 2, 2, 3)
    assert F.avg_pool2d(np.ones((1, 4, 4, 0), np.float32), 2).shape == (1, 2, 2, 0)


X = np.ones((1, 8, 8, 3), np.float32)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"kernel_size": 0}, ValueError, "'kernel_size': expected positive sizes, got 0"),
        ({"kernel_size": 1.5}, TypeError, "'kernel_size': expected an int or a pair"),
        ({"kernel_size": 9}, ValueError, "'kernel_size': expected at most 8 rows"),
        ({"stride": 0}, ValueError, "'stride': expected positive sizes, got 0"),
        ({"padding": 2}, ValueError, "'padding': expected at most half of the window of 2 rows, got 2"),
        ({"padding": -1}, ValueError, "'padding': expected sizes that are not negative"),
        ({"x": X[0]}, ValueError, "'x': expected 4 dimensions"),
        ({"x": X.astype(np.int32)}, TypeError, "'x': expected a floating dtype"),
        ({"x": X[:, :0], "kernel_size": 1}, ValueError, "'x'|'kernel_size'"),
    ],
)
def test_errors(change: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match="max_pool2d: argument (" + text + ")"):
        F.max_pool2d(**({"x": X, "kernel_size": 2} | change))


def test_gradients_of_another_shape_are_refused() -> None:
    geometry = (2, 2, 2, 2, 0, 0, 0, 0)
    y = F.max_pool2d(X, 2)
    for g, values in ((y[:, 1:], y), (y, y[:, 1:]), (y[0], y)):
        with pytest.raises(ValueError, match="max_pool2d_gradient: argument '[gy]': expected"):
            _C.max_pool2d_gradient(g, X, values, geometry, False, False, False)
    with pytest.raises(ValueError, match="'output_size': expected positive sizes, got 0"):
        F.adaptive_avg_pool2d(X, 0)
    with pytest.raises(ValueError, match="max_pool1d: argument 'x': expected 3 dimensions"):
        F.max_pool1d(X, 2)
