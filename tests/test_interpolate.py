"""Images of another size: against PyTorch, in a captured step, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import functional as F
from mlext import nn


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "aligned"])
@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 3), (11, 12), (8, 1)])
def test_equal_to_torch(mode: str, size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, g = rng.standard_normal((2, 4, 6, 3)), rng.standard_normal((2, *size, 3))
    aligned = mode == "aligned"
    options = {"mode": "nearest"} if mode == "nearest" else {"mode": "bilinear", "align_corners": aligned}
    mx = ml.tensor(x, requires_grad=True)
    tx = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    my, ty = F.interpolate(mx, size, **options), torch.nn.functional.interpolate(tx, size, **options)
    my.backward(ml.tensor(g))
    ty.backward(torch.tensor(np.moveaxis(g, -1, 1).copy()))
    np.testing.assert_allclose(my.detach().numpy(), np.moveaxis(ty.detach().numpy(), 1, -1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(mx.grad.numpy(), np.moveaxis(tx.grad.numpy(), 1, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_in_a_captured_step(mode: str) -> None:
    layer = nn.Upsample((9, 13), mode=mode)  # sizes that no other test makes constants for
    step = ml.compile(lambda x: layer(x))
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal((2, 4, 6, 3)).astype(np.float32)
        np.testing.assert_array_equal(step(x).numpy(), layer(x).numpy())


X = np.ones((1, 4, 4, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.interpolate(X), ValueError, "'size': expected either"),
        (lambda: F.interpolate(X, 2, 2.0), ValueError, "'size': expected either"),
        (lambda: F.interpolate(X, 0), ValueError, "'size': expected positive sizes"),
        (lambda: F.interpolate(X, (2, 2, 2)), ValueError, "'size': expected an int or a pair"),
        (lambda: F.interpolate(X, scale_factor=0.1), ValueError, "'scale_factor': expected positive sizes"),
        (lambda: F.interpolate(X, scale_factor=float("nan")), ValueError, "'scale_factor': expected positive numbers"),
        (lambda: F.interpolate(X, 2, mode="cubic"), ValueError, "'mode': expected 'nearest' or 'bilinear'"),
        (lambda: F.interpolate(X, 2, align_corners=True), ValueError, "'align_corners'"),
        (lambda: F.interpolate(X[0], 2), ValueError, "'x': expected 4 dimensions"),
        (lambda: F.interpolate(X[:, :0], 2), ValueError, "'size': expected positive sizes"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match="interpolate: argument " + text):
        call()


def test_channels_are_dropped_as_a_whole() -> None:
    x = np.ones((8, 3, 5, 16), np.float32)
    y = F.dropout2d(ml.tensor(x), 0.5, rng=1).numpy()
    per_channel = y.reshape(8, 15, 16)
    assert (per_channel == per_channel[:, :1]).all()
    assert set(np.unique(y)) == {0.0, 2.0}
    assert isinstance(F.dropout2d(x, 0.5, rng=1), np.ndarray)
    np.testing.assert_array_equal(F.dropout2d(x, 0.5, rng=1), y)
    assert F.dropout2d(x, 0.5, training=False) is x
    with pytest.raises(ValueError, match="dropout2d: argument 'p'"):
        F.dropout2d(x, 1.5)
