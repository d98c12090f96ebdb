"""SwiGLU and GEGLU: sizes, slices of one array, half types, far arguments, gradients in one pass, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests import oracle

import mlext as ml
from mlext import functional as F

Array = np.ndarray[Any, Any]
SIZES = [0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100]
OPS: dict[str, tuple[Any, Any]] = {
    "swiglu": (F.swiglu, oracle.silu),
    "geglu": (F.geglu, oracle.gelu),
    "geglu_tanh": (lambda a, b: F.geglu(a, b, approximate="tanh"), oracle.gelu_tanh),
}
ops = pytest.mark.parametrize("op", OPS)


def slope(meaning: Any, x: Array) -> Array:
    h = 1e-5
    return np.asarray((meaning(x + h) - meaning(x - h)) / (2 * h))


def gradients(call: Any, gate: Any, up: Any, g: Any) -> tuple[Any, Any, Any]:
    a, b = (ml.tensor(v, requires_grad=True) for v in (gate, up))
    y = call(a, b)
    y.backward(ml.tensor(g))
    return y.detach(), a.grad, b.grad


@ops
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_values_and_gradients(level: str, op: str, dtype: Any) -> None:
    call, meaning = OPS[op]
    for n in SIZES:
        gate, up, g = (3 * np.random.default_rng(n).standard_normal((3, n))).astype(dtype)
        wide = [v.astype(float) for v in (gate, up, g)]
        want = (meaning(wide[0]) * wide[1], wide[2] * wide[1] * slope(meaning, wide[0]), wide[2] * meaning(wide[0]))
        bound = max(float(np.finfo(dtype).eps), 1e-11)  # that of the difference quotient
        for got, right in zip(gradients(call, gate, up, g), want, strict=True):
            assert got.numpy().dtype == dtype
            assert (np.abs(got.numpy() - right) <= 8 * bound * (np.abs(right) + 9)).all()


@ops
def test_halves_of_one_array_cost_no_copy(op: str) -> None:
    call = OPS[op][0]
    both = ml.tensor(np.random.default_rng(1).standard_normal((4, 5, 38)).astype(np.float32))
    gate, up = both[..., :19], both[..., 19:]
    with ml.profile() as profile:
        y = call(gate, up)
    assert {row.name for row in profile.rows()} == {op}
    np.testing.assert_array_equal(y.numpy(), call(gate.numpy().copy(), up.numpy().copy()))
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, -1)[..., ::2], lambda a: a[:1]):
        a, b = change(gate.numpy()), change(up.numpy())
        np.testing.assert_array_equal(call(a, b), call(a.copy(), b.copy()))
    column = both.numpy()[:, :, :1]
    np.testing.assert_array_equal(call(column, column), call(column.copy(), column.copy()))


@ops
def test_both_gradients_are_one_launch(op: str) -> None:
    a, b = (ml.tensor(np.ones((3, 8), np.float32), requires_grad=True) for _ in range(2))
    y = OPS[op][0](a, b)
    with ml.profile() as profile:
        y.backward(ml.tensor(np.ones((3, 8), np.float32)))
    assert sum(row.calls for row in profile.rows() if row.name == op) == 1


@ops
def test_far_gates_and_nan(level: str, op: str) -> None:
    call = OPS[op][0]
    gate = np.array([-1e30, -200, -50, 50, 200, 1e10, 0, np.nan], np.float32)
    y, of_gate, of_up = (v.numpy() for v in gradients(call, gate, np.full(8, 2, np.float32), np.ones(8, np.float32)))
    np.testing.assert_allclose(y[:7], [0, 0, 0, 100, 400, 2e10, 0], atol=1e-6)
    np.testing.assert_allclose(of_up[:7], [0, 0, 0, 50, 200, 1e10, 0], atol=1e-6)
    np.testing.assert_allclose(of_gate[1:7], [0, 0, 2, 2, 2, 1], atol=1e-6)
    assert np.isnan([y[7], of_gate[7], of_up[7]]).all()


def test_bfloat16(level: str) -> None:
    gate, up = np.random.default_rng(2).integers(-8, 9, (2, 3, 37)).astype(np.float32) / 4
    for call, meaning in OPS.values():
        got = call(ml.tensor(gate, dtype="bfloat16"), ml.tensor(up, dtype="bfloat16"))
        want = meaning(gate.astype(float)) * up
        assert got.dtype == ml.bfloat16
        assert (np.abs(got.numpy().astype(float) - want) <= 2.0**-8 * np.abs(want) + 1e-6).all()


def test_bits_do_not_depend_on_threads(threads: Callable[[int], None]) -> None:
    gate, up = np.random.default_rng(3).standard_normal((2, 50, 3000)).astype(np.float32)
    seen = set()
    for count in (1, 2, 3):
        threads(count)
        seen.add(F.swiglu(gate, up).tobytes() + F.swiglu(gate[:, :1500], up[:, 1500:]).tobytes())
    assert len(seen) == 1


X = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.swiglu(X, X[:1]), ValueError, "swiglu: argument 'up': expected shape .2, 3., that of 'gate'"),
        (lambda: F.swiglu(X, X.astype(float)), TypeError, "swiglu: argument 'up'"),
        (lambda: F.swiglu(X.astype(int), X.astype(int)), TypeError, "swiglu: argument 'gate': expected a floating"),
        (lambda: F.geglu(X, X.T), ValueError, "geglu: argument 'up': expected shape"),
        (lambda: F.geglu(X, X, "sigmoid"), ValueError, "geglu: argument 'approximate': expected 'none' or 'tanh'"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
