"""Matrix products: exact on integers for every shape, layout, dtype and level; bounded on reals; safe at every edge."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from _simd_tools import GuardedPage
from mlext import _C
from mlext import functional as F

Array = np.ndarray[Any, Any]
SHAPES = json.loads((Path(__file__).parents[1] / "bench" / "shapes" / "gemm.json").read_text())
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = _C.get_num_threads()
    yield _C.set_num_threads
    _C.set_num_threads(before)


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32, most: int = 3) -> Array:
    """Small integers: products and sums of them are exact in any order."""
    return rng.integers(-most, most + 1, shape).astype(dtype)


def layout(x: Array, kind: str) -> Array:
    """The same values at other strides."""
    if kind == "transposed":
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if kind == "padded":
        wide = np.full((*x.shape[:-1], x.shape[-1] + 3), np.nan, x.dtype)
        wide[..., :-3] = x
        return wide[..., :-3]
    if kind == "strided":
        wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if kind == "reversed":
        return np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1]
    return x


def tensor(x: Array, dtype: str) -> Any:
    """A Tensor of a dtype that NumPy need not know."""
    out = _C.empty(x.shape, dtype)
    _C.copy_(out, x)
    return out


def numbers(x: Any) -> Array:
    return x.numpy().astype(np.float32)  # type: ignore[no-any-return]


def same(got: Array, expected: Array) -> bool:
    return bool(got.shape == expected.shape and (got == expected).all())


# ---- exactness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_remainder_is_exact(level: str, dtype: Any) -> None:
    # Up to two of the largest tiles and one more, in each direction, the others in sizes that leave remainders.
    rng = np.random.default_rng(0)
    for n in range(1, 100):
        for m, k in ((5, 7), (17, 19)):
            for rows, cols, depth in ((m, n, k), (n, m, k), (m, k, n)):
                a, b = integers(rng, (rows, depth), dtype), integers(rng, (depth, cols), dtype)
                assert same(_C.matmul(a, b), a @ b), (rows, cols, depth)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_panels_packed_on_the_way_are_exact(level: str, dtype: Any) -> None:
    # B too large for L1, and many rows: the first tile of a panel packs it, with what remains of four steps of k.
    rng = np.random.default_rng(15)
    for m in (19, 20, 29, 43, 50):
        for n, k in ((64, 161), (70, 160), (97, 129), (128, 90), (139, 83)):
            for batch in ((), (3,)):
                a, b = integers(rng, (*batch, m, k), dtype), integers(rng, (*batch, k, n), dtype)
                assert same(_C.matmul(a, b), a @ b), (m, n, k)
                assert same(_C.matmul(layout(a, "padded"), layout(b, "padded")), a @ b), (m, n, k)


@pytest.mark.parametrize("kind_a", ["dense", "transposed", "padded", "strided", "reversed"])
@pytest.mark.parametrize("kind_b", ["dense", "transposed", "padded", "strided", "reversed"])
def test_every_layout_is_exact(level: str, kind_a: str, kind_b: str) -> None:
    rng = np.random.default_rng(1)
    sizes = [(1, 1, 1), (1, 200, 70), (200, 1, 70), (3, 5, 600), (40, 33, 17), (65, 130, 90), (90, 150, 513), (7, 7, 0)]
    for m, n, k in sizes:
        for dtype in (np.float32, np.float64):
            a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
            got = _C.matmul(layout(a, kind_a), layout(b, kind_b))
            assert same(got, a @ b), (m, n, k, dtype)


def test_rows_at_page_distance(level: str) -> None:
    # A with rows 4 KiB apart is packed; with k along the rows' other direction too.
    rng = np.random.default_rng(2)
    for k in (1024, 2048):
        a, b = integers(rng, (70, k)), integers(rng, (k, 200))
        assert same(_C.matmul(a, b), a @ b)
        assert same(_C.matmul(layout(a, "transposed"), b), a @ b)


def test_zero_strides(level: str) -> None:
    rng = np.random.default_rng(3)
    row, column = integers(rng, (1, 300)), integers(rng, (300, 1))
    a, b = np.broadcast_to(row, (50, 300)), np.broadcast_to(column, (300, 70))
    other = integers(rng, (300, 70))
    assert same(_C.matmul(a, other), a @ other)
    assert same(_C.matmul(other.T, a.T), other.T @ a.T)
    assert same(_C.matmul(a, b), a @ b)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_accumulate_in_float32(level: str, dtype: str) -> None:
    rng = np.random.default_rng(4)
    shapes = ((1, 1, 3), (5, 33, 70), (64, 50, 1100), (300, 40, 30), (1, 100, 600), (100, 1, 600), (500, 1, 3000))
    for m, n, k in shapes:
        a, b = integers(rng, (m, k), most=1), integers(rng, (k, n), most=1)
        # Sums stay below 256, which bfloat16 holds exactly.
        expected = a @ b
        assert np.abs(expected).max() <= 256
        assert same(numbers(_C.matmul(tensor(a, dtype), tensor(b, dtype))), expected)
    # 4096 ones: bfloat16 sums would stop at 256.
    ones = tensor(np.ones((3, 4096), np.float32), dtype)
    flat = tensor(np.ones((4096, 20), np.float32), dtype)
    assert (numbers(_C.matmul(ones, flat)) == 4096).all()


def half_view(x: Array, kind: str, dtype: str) -> Any:
    """A Tensor of a half type with the values of x at other strides."""
    if kind == "transposed":
        return ml.tensor(x.swapaxes(-1, -2).copy(), dtype=dtype).transpose()
    if kind == "padded":
        return ml.tensor(np.pad(x, ((0, 0), (0, 3)), constant_values=np.nan), dtype=dtype)[:, :-3]
    if kind == "strided":
        return ml.tensor(np.repeat(x, 2, axis=-1), dtype=dtype)[:, ::2]
    return ml.tensor(x, dtype=dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind_a", ["dense", "transposed", "padded", "strided"])
@pytest.mark.parametrize("kind_b", ["dense", "transposed", "padded", "strided"])
def test_every_layout_of_half_types_is_exact(level: str, dtype: str, kind_a: str, kind_b: str) -> None:
    # Odd and even depth: pairs of steps of k may be multiplied at once. Few rows: dot products of what lies there.
    rng = np.random.default_rng(16)
    for m, n, k in ((1, 40, 70), (3, 50, 33), (6, 9, 600), (8, 20, 64), (40, 33, 18), (65, 130, 91), (30, 100, 1100)):
        a, b = integers(rng, (m, k), most=1), integers(rng, (k, n), most=1)
        got = _C.matmul(half_view(a, kind_a, dtype), half_view(b, kind_b, dtype))
        assert same(numbers(got), a @ b), (m, n, k)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batches_of_half_types_are_exact(level: str, dtype: str) -> None:
    rng = np.random.default_rng(17)
    for m, n, k in ((5, 40, 16), (20, 33, 30), (33, 17, 9)):
        a, b = integers(rng, (3, m, k), most=1), integers(rng, (3, k, n), most=1)
        for x in (tensor(a, dtype), half_view(a, "transposed", dtype)):
            assert same(numbers(_C.matmul(x, tensor(b, dtype))), a @ b), (m, n, k)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_meet_the_float32_bound(level: str, dtype: str) -> None:
    rng = np.random.default_rng(18)
    for m, n, k in ((4, 30, 900), (50, 70, 900), (50, 70, 901)):
        a, b = (tensor(rng.standard_normal(shape).astype(np.float32), dtype) for shape in ((m, k), (k, n)))
        x, y = numbers(a).astype(np.float64), numbers(b).astype(np.float64)
        # Against a result in float32: the half type's own rounding, and the float32 bound below it.
        error = np.abs(numbers(_C.matmul(a, b)) - x @ y)
        unit = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
        assert (error <= unit * np.abs(x @ y) * 1.01 + 32 * 2.0**-24 * (np.abs(x) @ np.abs(y))).all()


def capped(size: int, most: int) -> int:
    """A size that leaves the remainders of the original; beyond `most`, blocks only repeat."""
    return size if size <= most else most - most % 48 + size % 48


def test_outside_shapes_are_exact() -> None:
    # Every row of bench/shapes/gemm.json as the linear layer it is there: X (n, k) times W^T (k, m), with W (m, k) as
    # stored if A is transposed, else (k, m); X is stored (k, n) if B is transposed. Sampled rows are compared.
    rng = np.random.default_rng(5)
    for row in SHAPES["rows"]:
        m, n, k = capped(row["n"], 150), capped(row["m"], 800), capped(row["k"], 1100)
        x, w = integers(rng, (m, k)), integers(rng, (k, n))
        right = layout(w, "transposed") if row["trans_a"] else w
        left = layout(x, "transposed") if row["trans_b"] else x
        got = _C.matmul(left, right)
        picked = rng.integers(0, m, 3)
        assert (got[picked] == x[picked] @ w).all(), row


# ---- reals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_bound(level: str, dtype: Any) -> None:
    rng = np.random.default_rng(6)
    unit = np.finfo(dtype).eps / 2
    wide: Any = np.float64 if dtype == np.float32 else np.longdouble
    for m, n, k in ((20, 30, 40), (1, 64, 3000), (64, 1, 3000), (13, 50, 3000), (30, 60, 2000), (4, 4, 50_000)):
        for kind in ("dense", "transposed"):
            for positive in (False, True):
                a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
                if positive:
                    a, b = np.abs(a), np.abs(b)
                exact = a.astype(wide) @ b.astype(wide)
                bound = 32 * unit * (np.abs(a).astype(wide) @ np.abs(b).astype(wide))
                got = _C.matmul(a, layout(b, kind))
                assert (np.abs(got - exact) <= bound).all(), (m, n, k, kind, positive)


def test_nan_and_infinity_propagate(level: str) -> None:
    for m, n, k in ((1, 1, 20), (5, 60, 20), (70, 70, 300), (1, 300, 40), (3, 40, 40)):
        for kind in ("dense", "transposed"):
            a, b = np.zeros((m, k), np.float32), np.zeros((k, n), np.float32)
            b[k // 2, n - 1] = np.inf  # 0 * inf is NaN: a skipped zero would show
            got = _C.matmul(a, layout(b, kind))
            assert np.isnan(got[:, n - 1]).all()
            assert (got[:, : n - 1] == 0).all()
            b[:] = 1
            a[m - 1, k - 1] = np.nan
            got = _C.matmul(layout(a, kind), b)
            assert np.isnan(got[m - 1]).all()
            assert (got[: m - 1] == 0).all()


# ---- alpha, beta, empty ---------------------------------------------------------------------------------------------


def test_alpha_and_beta(level: str) -> None:
    rng = np.random.default_rng(7)
    for m, n, k in ((3, 4, 5), (20, 100, 7), (80, 90, 130), (80, 90, 1100), (1, 200, 600), (5, 3, 600)):
        for kind in ("dense", "transposed"):
            a, b, c = integers(rng, (m, k)), integers(rng, (k, n)), integers(rng, (m, n))
            got = _C.gemm(a, layout(b, kind), layout(c, kind), -2.0, 3.0)
            assert same(got, -2 * (a @ b) + 3 * c)
            assert same(_C.gemm(a, b, c), a @ b + c)
            assert same(_C.gemm(a, b, None, 0.5), 0.5 * (a @ b))


def test_beta_zero_never_reads_c(level: str) -> None:
    a, b = np.ones((30, 40), np.float32), np.ones((40, 50), np.float32)
    assert (_C.gemm(a, b, np.full((30, 50), np.nan, np.float32), 1.0, 0.0) == 40).all()


def test_no_depth_and_no_extent(level: str) -> None:
    for dtype in (np.float32, np.float64):
        assert same(_C.matmul(np.ones((3, 0), dtype), np.ones((0, 5), dtype)), np.zeros((3, 5), dtype))
        c = np.arange(15, dtype=dtype).reshape(3, 5)
        assert same(_C.gemm(np.ones((3, 0), dtype), np.ones((0, 5), dtype), c, np.inf, 2.0), 2 * c)
    bias = np.arange(5, dtype=np.float32)
    got = _C.linear(np.ones((3, 0), np.float32), np.ones((5, 0), np.float32), bias, "relu")
    assert same(got, np.broadcast_to(bias, (3, 5)))
    for m, n, k in ((0, 3, 4), (3, 0, 4), (0, 0, 0)):
        assert _C.matmul(np.ones((m, k), np.float32), np.ones((k, n), np.float32)).shape == (m, n)
    assert _C.matmul(np.ones((0, 2, 3), np.float32), np.ones((3, 4), np.float32)).shape == (0, 2, 4)


# ---- NumPy's rules for shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((4,), (4,)),
        ((4,), (4, 3)),
        ((3, 4), (4,)),
        ((4,), (2, 4, 3)),
        ((2, 3, 4), (4,)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (1, 5, 4, 6)),
        ((1, 3, 4), (5, 4, 6)),
        ((2, 3, 4), (1, 4, 5)),
        ((3, 2, 1, 4), (4, 5)),
        ((2, 2, 1, 2, 2, 2, 3, 4), (2, 1, 2, 1, 2, 2, 4, 3)),
        ((40, 8, 8), (40, 8, 8)),
        ((6, 60, 70), (6, 70, 80)),
    ],
)
def test_broadcasting(level: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    x, y = integers(rng, a), integers(rng, b)
    kinds = ["dense", "transposed", "padded"]
    for kind_a in kinds if len(a) > 1 else ["dense"]:
        for kind_b in kinds if len(b) > 1 else ["dense"]:
            assert same(np.asarray(_C.matmul(layout(x, kind_a), layout(y, kind_b))), np.asarray(x @ y))


def test_batch_of_views(level: str) -> None:
    rng = np.random.default_rng(9)
    x = integers(rng, (4, 6, 5, 8))
    y = integers(rng, (4, 8, 6, 3))
    got = _C.matmul(x.transpose(0, 2, 1, 3), y[:, :, 0][:, None])
    assert same(got, x.transpose(0, 2, 1, 3) @ y[:, :, 0][:, None])
    assert same(_C.matmul(x[:, ::2], y[0, :, 0]), x[:, ::2] @ y[0, :, 0])
    assert same(_C.matmul(x.swapaxes(0, 1), y[0, :, 0]), x.swapaxes(0, 1) @ y[0, :, 0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: _C.matmul(np.ones((3, 4), np.float32), np.ones((5, 2), np.float32)),
            ValueError,
            "matmul: argument 'b': expected shape (4, n) to match a of shape (3, 4), got (5, 2)",
        ),
        (
            lambda: _C.matmul(np.ones((2, 3, 4), np.float32), np.ones((5, 4, 6), np.float32)),
            ValueError,
            "matmul: argument 'b': expected batch dimensions that broadcast with (2,) of a (2, 3, 4), "
            "got (5,) of b (5, 4, 6)",
        ),
        (
            lambda: _C.matmul(np.ones((3, 4), np.float32), np.ones((4, 2))),
            TypeError,
            "matmul: argument 'b': expected float32 (dtype of 'a'), got float64",
        ),
        (
            lambda: _C.matmul(np.array(3, np.float32), np.ones((4, 2), np.float32)),
            ValueError,
            "matmul: argument 'a': expected 1 or more dimensions, got shape ()",
        ),
        (
            lambda: _C.linear(np.ones((2, 3), np.float32), np.ones((4, 3), np.float32), np.ones(5, np.float32)),
            ValueError,
            "linear: argument 'bias': expected shape (4,), got (5,)",
        ),
        (
            lambda: _C.linear(np.ones((2, 3), np.float32), np.ones((4, 5), np.float32)),
            ValueError,
            "linear: argument 'weight': expected shape (out, 3) to match x of shape (2, 3), got (4, 5)",
        ),
        (
            lambda: _C.gemm(np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 2))),
            ValueError,
            "gemm: argument 'c': expected shape (2, 4), got (4, 2)",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


# ---- epilogues ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear(level: str, activation: str | None, dtype: Any) -> None:
    rng = np.random.default_rng(10)
    tolerance = 40 * np.finfo(dtype).eps
    for shape, out in (((1, 30), 40), ((70, 30), 45), ((2, 3, 600), 33), ((5,), 3), ((40, 600), 70), ((33, 16), 1)):
        x, w, bias = (rng.standard_normal(s).astype(dtype) for s in (shape, (out, shape[-1]), (out,)))
        for vector in (bias, None):
            value = x.astype(np.float64) @ w.T.astype(np.float64) + (0 if vector is None else vector)
            expected = value if activation is None else ACTIVATIONS[activation](value)
            y, pre = _C.linear(x, w, vector, activation, True)
            scale = np.abs(x).astype(np.float64) @ np.abs(w.T) + 1
            assert y.shape == (*shape[:-1], out)
            assert (np.abs(pre - value) <= tolerance * scale).all()
            assert (np.abs(y - expected) <= tolerance * scale).all()
            # Fused or not, to the bit: layers may fuse on their own.
            assert same(_C.linear(x, w, vector, activation), y)
            assert same(_C.linear(x, w, vector), pre)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
def test_linear_half_is_exact_on_integers(level: str, dtype: str, activation: str | None) -> None:
    rng = np.random.default_rng(11)
    for shape, out in (((1, 30), 40), ((70, 30), 45), ((3, 600), 33)):
        x, w, bias = integers(rng, shape, most=1), integers(rng, (out, shape[-1]), most=1), integers(rng, (out,))
        value = x @ w.T + bias
        got, pre = _C.linear(tensor(x, dtype), tensor(w, dtype), tensor(bias, dtype), activation, True)
        assert same(numbers(pre), value)
        assert same(numbers(got), ACTIVATIONS[activation](value) if activation else value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
def test_residual_is_added_once(level: str, dtype: str, activation: str | None) -> None:
    """Whichever kernel computes it, with and without a bias, from a view too."""
    rng = np.random.default_rng(12)
    for m, out, k in ((1, 40, 30), (5, 30, 300), (30, 45, 64), (40, 97, 1100), (100, 20, 2100), (100, 1, 9), (9, 5, 0)):
        x, w, bias = integers(rng, (m, k), most=1), integers(rng, (out, k), most=1), integers(rng, (out,))
        residual = integers(rng, (m, out))
        for vector in (bias, None):
            value = x @ w.T + residual + (0 if vector is None else vector)
            arrays = [tensor(x, dtype), tensor(w, dtype), None if vector is None else tensor(vector, dtype)]
            for added in (tensor(residual, dtype), tensor(residual.T.copy(), dtype).T):
                got, pre = _C.linear(*arrays, activation, True, added)
                assert same(numbers(pre), value)
                assert same(numbers(got), ACTIVATIONS[activation](value) if activation else value)
                assert same(numbers(_C.linear(*arrays, activation, False, added)), numbers(got))
                assert same(numbers(added), residual)


def test_bias_with_stride(level: str) -> None:
    bias = np.arange(20, dtype=np.float32)[::2]
    got = _C.linear(np.ones((4, 3), np.float32), np.zeros((10, 3), np.float32), bias)
    assert same(got, np.broadcast_to(bias, (4, 10)))


# ---- promises -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(300, 300, 300), (1, 5000, 700), (16, 1100, 1024), (2000, 20, 600), (50, 60, 9000), (150, 130, 100)],
)
@pytest.mark.parametrize("kind", ["dense", "transposed"])
def test_bits_do_not_depend_on_threads(threads: Callable[[int], None], kind: str, m: int, n: int, k: int) -> None:
    rng = np.random.default_rng(12)
    a = layout(rng.standard_normal((m, k)).astype(np.float32), kind)
    b = layout(rng.standard_normal((k, n)).astype(np.float32), kind)
    bias = rng.standard_normal(n).astype(np.float32)
    results = []
    for count in (1, 2, 3, 8):
        threads(count)
        results.append((_C.matmul(a, b), _C.linear(a, b.T, bias, "gelu")))
    for product, affine in results[1:]:
        assert same(product, results[0][0])
        assert same(affine, results[0][1])


def test_rows_do_not_depend_on_other_rows(level: str) -> None:
    rng = np.random.default_rng(13)
    for m, n, k in ((40, 60, 50), (100, 130, 600), (12, 200, 700)):
        for kind in ("dense", "transposed"):
            a = rng.standard_normal((m, k)).astype(np.float32)
            b = layout(rng.standard_normal((k, n)).astype(np.float32), kind)
            before = _C.matmul(a, b)
            changed = rng.standard_normal((m, k)).astype(np.float32) * 1e3
            changed[::3] = a[::3]
            assert same(_C.matmul(changed, b)[::3], before[::3])


def test_idle_lanes_cost_nothing(level: str) -> None:
    """Ten columns fill part of a vector; what was left of subnormal numbers behind them took 80 times as long."""
    rng = np.random.default_rng(19)
    x, w = ml.tensor(rng.standard_normal((200, 100), np.float32)), rng.standard_normal((16, 100), np.float32)
    seconds = {}
    for outputs in (10, 16):
        leftovers = [ml.full((size,), 1e-40) for size in (1000, 2000, 4000, 8000)]
        del leftovers  # the pool hands their memory out again
        weight = ml.tensor(w[:outputs])
        times = []
        for _ in range(30):
            start = time.perf_counter()
            F.linear(x, weight)
            times.append(time.perf_counter() - start)
        seconds[outputs] = min(times)
    assert seconds[10] < 10 * seconds[16]


# Both factors at the end of memory: what is behind a row of B is read up to the last one, but nothing behind that.
AT_THE_END: dict[str, Callable[[GuardedPage, Array], Array]] = {
    "dense": lambda page, x: page.end(x),
    "transposed": lambda page, x: page.end(x.T).T,
    "reversed": lambda page, x: page.end(x[::-1])[::-1],
    "slice": lambda page, x: page.end(np.pad(x, ((0, 0), (3, 0)), constant_values=np.nan))[:, 3:],
}


def test_nothing_outside_the_arguments_is_touched(level: str, pages: list[GuardedPage]) -> None:
    rng = np.random.default_rng(14)
    for dtype in (np.float32, np.float64):
        for m, n, k in ((1, 1, 1), (3, 5, 7), (9, 17, 5), (1, 49, 9), (13, 11, 17), (2, 33, 13), (20, 19, 23)):
            a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
            for left in ("dense", "transposed"):
                x = AT_THE_END[left](pages[0], a)
                for right in AT_THE_END.values():
                    assert same(_C.matmul(x, right(pages[1], b)), a @ b)
                row = pages[1].end(b[:1])
                assert same(_C.matmul(x, np.broadcast_to(row, (k, n))), a @ np.broadcast_to(b[:1], (k, n)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(1, 9, 64), (5, 30, 300), (6, 7, 2500), (20, 50, 40), (40, 97, 130), (30, 97, 1100), (100, 200, 2100)]
)
def test_fused_relu_is_relu_afterwards(level: str, shape: tuple[int, int, int], dtype: type, bias: bool) -> None:
    """Whichever kernel computes it, and only after the last block of k."""
    m, n, k = shape
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((n, k)).astype(dtype)
    x[0, 0] = np.nan
    x[-1] = 0
    w[-1] = -np.abs(w[-1])  # sums of -0
    b = rng.standard_normal(n).astype(dtype) if bias else None
    for weight in (w, np.asfortranarray(w)):
        plain = _C.linear(x, weight, b)
        fused = _C.linear(x, weight, b, "relu")
        np.testing.assert_array_equal(np.signbit(fused), np.signbit(_C.relu(plain)))
        np.testing.assert_array_equal(fused, _C.relu(plain))
        assert m == 1 or (fused == 0).any()
