"""Rotary embedding: against complex numbers, strides, gradients, partial rotation, edges, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests import oracle

import mlext as ml
from _simd_tools import GuardedPage
from mlext import functional as F

Array = np.ndarray[Any, Any]
PAIRS = [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 64]


def tables(*shape: int, dtype: Any = np.float32, seed: int = 0) -> tuple[Array, Array]:
    angles = np.random.default_rng(seed).uniform(-10, 10, shape)
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_against_complex_numbers(level: str, dtype: Any, interleaved: bool) -> None:
    rng = np.random.default_rng(1)
    computed = np.float64 if dtype == np.float64 else np.float32
    for pairs in PAIRS:
        for rest in (0, 1, 16):
            x = rng.standard_normal((2, 3, 4, 2 * pairs + rest)).astype(dtype)
            for shape in ((3, pairs), (2, 3, pairs)):
                cos, sin = tables(*shape, dtype=computed)
                want = oracle.rotary(x.astype(np.float64), cos.astype(float), sin.astype(float), interleaved)
                got = F.rotary(x, cos, sin, interleaved=interleaved)
                assert got.dtype == dtype
                assert got.shape == x.shape
                assert (np.abs(got - want) <= 2 * np.finfo(dtype).eps * 5).all(), (pairs, rest, shape)
                assert np.array_equal(got[..., 2 * pairs :], x[..., 2 * pairs :])


@pytest.mark.parametrize("interleaved", [False, True])
def test_slices_of_a_projection_cost_no_copy(interleaved: bool) -> None:
    cos, sin = tables(5, 4)
    constants = ml.tensor(cos), ml.tensor(sin)
    fused = ml.tensor(np.random.default_rng(2).standard_normal((2, 5, 3, 6, 8)).astype(np.float32))
    for part in range(3):
        view = fused[:, :, part]
        with ml.profile() as profile:
            got = F.rotary(view, *constants, interleaved=interleaved)
        assert {row.name for row in profile.rows()} == {"rotary"}
        want = F.rotary(view.numpy().copy(), cos, sin, interleaved=interleaved)
        np.testing.assert_array_equal(got.numpy(), want)
    heads_first = np.ascontiguousarray(want.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    features_apart = np.asfortranarray(want)
    reference = F.rotary(want, cos, sin, interleaved=interleaved)
    for view in (heads_first, features_apart, want[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(F.rotary(view, cos, sin, interleaved=interleaved), reference)
    shared = np.broadcast_to(want[:1, :, :1], want.shape)
    np.testing.assert_array_equal(F.rotary(shared, cos, sin), F.rotary(shared.copy(), cos, sin))


@pytest.mark.parametrize("interleaved", [False, True])
def test_the_gradient_is_the_opposite_turn(level: str, interleaved: bool) -> None:
    rng = np.random.default_rng(3)
    x, g = rng.standard_normal((2, 2, 5, 3, 11))
    cos, sin = tables(2, 5, 4, dtype=np.float64)
    tensor = ml.tensor(x, requires_grad=True)
    F.rotary(tensor, cos, sin, interleaved=interleaved).backward(ml.tensor(g))
    np.testing.assert_allclose(tensor.grad.numpy(), oracle.rotary(g, cos, -sin, interleaved), rtol=1e-13, atol=1e-13)


def test_bfloat16(level: str) -> None:
    x = ml.tensor(np.random.default_rng(4).integers(-8, 9, (1, 3, 2, 36)).astype(np.float32), dtype="bfloat16")
    cos, sin = tables(3, 18)
    for interleaved in (False, True):
        got = F.rotary(x, ml.tensor(cos), ml.tensor(sin), interleaved=interleaved)
        want = oracle.rotary(x.numpy().astype(float), cos.astype(float), sin.astype(float), interleaved)
        assert got.dtype == ml.bfloat16
        assert (np.abs(got.numpy().astype(float) - want) <= 2.0**-8 * np.abs(want) + 1e-5).all()


def test_lengths_of_vectors_do_not_change() -> None:
    x = np.random.default_rng(5).standard_normal((2, 7, 3, 64)).astype(np.float32)
    for interleaved in (False, True):
        y = F.rotary(x, *tables(7, 32), interleaved=interleaved)
        np.testing.assert_allclose(np.linalg.norm(y, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3, 2, 8), (2, 0, 2, 8), (2, 3, 0, 8), (2, 3, 2, 0)])
def test_nothing(shape: tuple[int, ...]) -> None:
    cos, sin = tables(shape[1], min(4, shape[3] // 2))
    assert F.rotary(np.ones(shape, np.float32), cos, sin).shape == shape


def test_nothing_outside_the_arguments_is_touched(level: str, pages: list[GuardedPage]) -> None:
    rng = np.random.default_rng(6)
    for features, pairs in ((2, 1), (7, 3), (10, 5), (34, 17), (35, 9)):
        for side in (GuardedPage.begin, GuardedPage.end):
            x = side(pages[0], rng.standard_normal((1, 2, 3, features)).astype(np.float32))
            cos, sin = (side(page, table) for page, table in zip(pages[1:], tables(2, pairs), strict=False))
            for interleaved in (False, True):
                assert np.isfinite(F.rotary(x, cos, sin, interleaved=interleaved)).all()


def test_bits_do_not_depend_on_threads(threads: Callable[[int], None]) -> None:
    x = np.random.default_rng(7).standard_normal((3, 300, 4, 64)).astype(np.float32)
    cos, sin = tables(3, 300, 32)
    seen = set()
    for count in (1, 2, 3):
        threads(count)
        seen.add(F.rotary(x, cos, sin).tobytes())
    assert len(seen) == 1


X = np.ones((2, 3, 4, 8), np.float32)
COS, SIN = tables(3, 4)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.rotary(X[0], COS, SIN), ValueError, r"rotary: argument 'x': expected shape \(N, T, H, D\), got"),
        (lambda: F.rotary(X.astype(int), COS, SIN), TypeError, "rotary: argument 'x': expected a floating"),
        (lambda: F.rotary(X, COS.astype(float), SIN), TypeError, "rotary: argument 'cos': expected .*float32"),
        (lambda: F.rotary(X, COS, SIN.astype(float)), TypeError, "rotary: argument 'sin': expected .*float32"),
        (lambda: F.rotary(X.astype(float), COS, SIN), TypeError, "rotary: argument 'cos': expected .*float64"),
        (lambda: F.rotary(X, COS[:2], SIN[:2]), ValueError, r"rotary: argument 'cos': expected shape \(T, P\)"),
        (lambda: F.rotary(X, COS[None], SIN[None]), ValueError, "rotary: argument 'cos': expected shape"),
        (lambda: F.rotary(X[..., :7], COS, SIN), ValueError, "rotary: argument 'cos': expected shape .* 2 P <= D"),
        (lambda: F.rotary(X, COS, SIN[:, :3]), ValueError, "rotary: argument 'sin': expected shape"),
        (lambda: F.rotary(X, COS[0], SIN[0]), ValueError, "rotary: argument 'cos': expected shape"),
        (
            lambda: F.rotary(X, ml.tensor(COS, requires_grad=True), SIN),
            ValueError,
            r"rotary: argument 'cos': expected a constant, got a Tensor that requires a gradient; use .detach\(\)",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
