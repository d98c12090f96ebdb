"""The reduce family against NumPy in float64: dtypes, levels, layouts, sizes around the widths."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mlext import _C

FLOATS = [np.float32, np.float64, np.float16]
INTEGERS = [np.int8, np.uint8, np.int32, np.int64, np.bool_]
# Unit roundoff of what a sum is kept in, and of what it is returned in.
SUM_UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53, np.float16: 2.0**-24}
OUT_UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53, np.float16: 2.0**-11}
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 511, 513, 2047, 2049, 4099]


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def layouts(x: np.ndarray) -> Iterator[np.ndarray]:
    """Arrays equal to x with other strides: Fortran order, gaps, reversed."""
    yield x
    yield np.asfortranarray(x)
    if x.ndim:
        yield np.repeat(x, 3, axis=-1)[..., ::3]
        yield np.repeat(x, 2, axis=0)[::2]
        yield x[::-1].copy()[::-1]


AXES = [None, 0, 1, 2, -1, (0, 1), (0, 2), (1, 2), (2, 0), (0, 1, 2), ()]


def exact_sum(x: np.ndarray, axes: Any, keepdims: bool) -> np.ndarray:
    return x.astype(np.longdouble).sum(axis=axes, keepdims=keepdims)


# ---- sum and mean --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axes", AXES)
def test_sum_and_mean_of_every_axis_and_layout(level: str, dtype: Any, axes: Any) -> None:
    x = normal(5, 19, 37, dtype=dtype)
    count = x.size / exact_sum(x, axes, False).size
    for keepdims in (False, True):
        expected = exact_sum(x, axes, keepdims)
        bound = 32 * SUM_UNIT[dtype] * np.abs(x.astype(float)).sum(axis=axes, keepdims=keepdims)
        rounding = 2 * OUT_UNIT[dtype] * np.abs(expected)
        for v in layouts(x):
            total, mean = _C.sum(v, axes, keepdims), _C.mean(v, axes, keepdims)
            assert total.dtype == mean.dtype == dtype
            assert total.shape == mean.shape == expected.shape
            assert (np.abs(total - expected) <= bound + rounding).all()
            tiny = np.finfo(dtype).smallest_subnormal
            assert (np.abs(mean - expected / count) <= (bound + rounding) / count + tiny).all()


@pytest.mark.parametrize("n", SIZES)
def test_sums_around_the_vector_widths(level: str, n: int) -> None:
    for dtype in FLOATS:
        x = normal(3, n, dtype=dtype, seed=n)
        for v, axes in ((x, 1), (np.ascontiguousarray(x.T), 0)):
            expected = exact_sum(v, axes, False)
            bound = 32 * SUM_UNIT[dtype] * np.abs(v.astype(float)).sum(axis=axes)
            assert (np.abs(_C.sum(v, axes, False) - expected) <= bound + OUT_UNIT[dtype] * np.abs(expected)).all()
            squares = exact_sum(v.astype(float) ** 2, axes, False)
            if dtype != np.float16:
                assert (np.abs(_C.sumsq(v, axes, False) - squares) <= 33 * SUM_UNIT[dtype] * squares).all()


@pytest.mark.parametrize("shape", [(1 << 20,), (200_000, 3), (3, 200_000), (50_000, 17), (5, 30_000, 2)])
def test_long_sums_stay_within_32_units(level: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).random(shape, dtype=np.float32)
    for axes in (None, *range(len(shape))):
        expected = exact_sum(x, axes, False)
        # All terms are positive, so this is a bound on the relative error too.
        assert (np.abs(_C.sum(x, axes, False) - expected) <= 16 * 2.0**-24 * expected).all()


def test_integer_valued_sums_are_exact(level: str) -> None:
    x = np.random.default_rng(2).integers(-8, 9, (513, 300)).astype(np.float32)
    for axes in (None, 0, 1):
        assert (_C.sum(x, axes, False) == x.astype(np.int64).sum(axis=axes)).all()
        assert (_C.sumsq(x, axes, False) == (x.astype(np.int64) ** 2).sum(axis=axes)).all()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_sum_to_int64(level: str, dtype: Any) -> None:
    top = 2 if dtype == np.bool_ else 100
    x = np.random.default_rng(3).integers(0, top, (4, 33, 17)).astype(dtype)
    for axes in AXES:
        for v in layouts(x):
            total, product = _C.sum(v, axes, False), _C.prod(v, axes, False)
            assert total.dtype == product.dtype == np.int64
            assert np.array_equal(total, x.sum(axis=axes, dtype=np.int64))
            assert np.array_equal(product, x.prod(axis=axes, dtype=np.int64))


def test_bfloat16_sums_in_float32(level: str) -> None:
    x = _C.cast(_C.Array(normal(300, 70)), "bfloat16")
    wide = x.numpy().astype(float)
    for axes in (None, 0, 1):
        total = _C.sum(x, axes, False)
        expected = wide.sum(axis=axes)
        bound = 32 * 2.0**-24 * np.abs(wide).sum(axis=axes) + 2.0**-8 * np.abs(expected)
        assert (np.abs(total.numpy() - expected) <= bound).all()
        assert np.array_equal(_C.max(x, axes, False).numpy(), wide.max(axis=axes))


# ---- products and extremes -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_products(level: str, dtype: Any) -> None:
    x = np.random.default_rng(4).uniform(0.9, 1.1, (7, 40, 3)).astype(dtype)
    for axes in AXES:
        expected = x.astype(float).prod(axis=axes)
        count = x.size / expected.size
        for v in layouts(x):
            error = np.abs(_C.prod(v, axes, False) - expected)
            assert (error <= (count * SUM_UNIT[dtype] + OUT_UNIT[dtype]) * np.abs(expected)).all()


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_extremes(level: str, dtype: Any) -> None:
    x = (normal(6, 35, 18) * 40).astype(dtype) if dtype != np.bool_ else normal(6, 35, 18) > 2
    for axes in AXES:
        for v in layouts(x):
            for mine, theirs in ((_C.max, np.max), (_C.min, np.min)):
                got = mine(v, axes, True)
                assert got.dtype == dtype
                assert np.array_equal(got, theirs(x, axis=axes, keepdims=True))


@pytest.mark.parametrize("n", SIZES)
def test_nan_and_infinities_reach_the_result_from_every_place(level: str, n: int) -> None:
    for at in {0, n // 2, n - 1}:
        for dtype in FLOATS:
            x = normal(n, 2, dtype=dtype)
            x[at, 1] = np.nan
            for op in (_C.max, _C.min, _C.sum, _C.mean, _C.prod, _C.norm):
                for v in (x, np.asfortranarray(x)):
                    assert np.array_equal(np.isnan(op(v, 0, False)), [False, True])
            x[at, 1] = np.inf
            assert _C.max(x, 0, False)[1] == np.inf
            assert _C.sum(x, 0, False)[1] == np.inf


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_positions_are_of_the_first_extreme(level: str, dtype: Any) -> None:
    # Few distinct values: ties everywhere.
    x = np.random.default_rng(5).integers(0, 2 if dtype == np.bool_ else 4, (6, 50, 21)).astype(dtype)
    for v in layouts(x):
        for mine, theirs in ((_C.argmax, np.argmax), (_C.argmin, np.argmin)):
            for axis in (0, 1, 2, -1, None):
                got = mine(v, axis, False)
                assert got.dtype == np.int64
                assert np.array_equal(got, theirs(x, axis=axis))
            assert mine(v, 1, True).shape == (6, 1, 21)
            assert mine(v, None, True).shape == (1, 1, 1)


@pytest.mark.parametrize("n", SIZES)
def test_positions_around_the_vector_widths(level: str, n: int) -> None:
    for dtype in (np.float32, np.float64, np.int32):
        x = (normal(2, n, seed=n) * 1000).astype(dtype)
        for v, axis in ((x, 1), (np.ascontiguousarray(x.T), 0)):
            assert np.array_equal(_C.argmax(v, axis, False), v.argmax(axis=axis))
            assert np.array_equal(_C.argmin(v, axis, False), v.argmin(axis=axis))


def test_positions_take_the_first_nan(level: str) -> None:
    x = normal(3, 40)
    x[1, 17] = x[1, 30] = np.nan
    for v, axis in ((x, 1), (np.ascontiguousarray(x.T), 0)):
        for op, oracle in ((_C.argmax, np.argmax), (_C.argmin, np.argmin)):
            got = op(v, axis, False)
            assert got[1] == 17
            assert np.array_equal(got, oracle(v, axis=axis))


def test_any_and_all(level: str) -> None:
    x = np.random.default_rng(6).random((5, 64, 9)) < 0.02
    for axes in AXES:
        for v in (x, x.astype(np.float32), x.astype(np.int32), x.astype(np.float16)):
            assert np.array_equal(_C.any(v, axes, False), x.any(axis=axes))
            assert np.array_equal(_C.all(~x if v is x else 1 - v, axes, False), (~x).all(axis=axes))
    assert _C.any(x, None, False).dtype == np.bool_
    assert _C.any(np.array([np.nan], np.float32), None, False)  # as in NumPy: NaN is not zero


# ---- variance and norm ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_variance(level: str, dtype: Any) -> None:
    x = normal(9, 31, 20, dtype=dtype)
    wide = x.astype(float)
    for axes in AXES[:-1]:
        for ddof in (0, 1):
            expected = wide.var(axis=axes, ddof=ddof, keepdims=True)
            for v in layouts(x):
                var, mean = _C.var(v, axes, True, ddof)
                assert var.dtype == mean.dtype == dtype
                assert (np.abs(var - expected) <= 40 * OUT_UNIT[dtype] * expected).all()
                bound = 4 * OUT_UNIT[dtype] * np.abs(wide).mean(axis=axes, keepdims=True)
                assert (np.abs(mean - wide.mean(axis=axes, keepdims=True)) <= bound).all()


def test_variance_survives_a_huge_mean_and_constant_rows(level: str) -> None:
    x = (normal(4, 1000, dtype=np.float64) + 1e8).astype(np.float32)
    expected = x.astype(float).var(axis=1)
    assert (np.abs(_C.var(x, 1, False, 0)[0] - expected) <= 1e-6 * expected).all()
    for value in (0.1, 1e8, -3e19):
        constant = np.full((3, 77), value, np.float32)
        assert (_C.var(constant, 1, False, 0)[0] <= 1e-28 * value**2).all()
        assert (_C.var(constant, 1, False, 0)[0] >= 0).all()


def test_variance_of_too_few_is_nan(level: str) -> None:
    with np.errstate(all="ignore"):
        assert np.isnan(_C.var(np.ones((2, 1), np.float32), 1, False, 1)[0]).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_norm(level: str, dtype: Any) -> None:
    x = normal(8, 45, dtype=dtype)
    for axes in (None, 0, 1):
        expected = np.sqrt((x.astype(float) ** 2).sum(axis=axes))
        error = np.abs(_C.norm(x, axes, False) - expected)
        assert (error <= 20 * OUT_UNIT[dtype] * expected).all()


def test_norm_of_float32_does_not_overflow(level: str) -> None:
    x = np.full(4, 1e30, np.float32)
    assert abs(_C.norm(x, None, False) / 2e30 - 1) <= 1e-6
    assert _C.norm(np.full(4, 1e-30, np.float32), None, False) > 1.9e-30


# ---- empty arrays and refusals -------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
def test_empty_arrays(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    for axis in (None, *range(len(shape))):
        assert np.array_equal(_C.sum(x, axis, False), x.sum(axis=axis))
        assert np.array_equal(_C.prod(x, axis, False), x.prod(axis=axis))
        assert np.array_equal(_C.any(x, axis, False), x.any(axis=axis))
        assert np.array_equal(_C.all(x, axis, False), x.all(axis=axis))
        reduced = x.shape[axis] if axis is not None else 0
        if reduced == 0:
            assert np.isnan(_C.mean(x, axis, False)).all()
            assert np.isnan(_C.var(x, axis, False, 0)[0]).all()
            for op in (_C.max, _C.min):
                with pytest.raises(ValueError, match=r"m(ax|in): argument 'x': expected at least one element"):
                    op(x, axis, False)
            with pytest.raises(ValueError, match="argmax: argument 'x': expected at least one element"):
                _C.argmax(x, axis, False)
        else:
            assert _C.max(x, axis, True).size == 0
            assert _C.argmin(x, axis, True).size == 0
    assert _C.cumsum(x, 0, False).shape == shape


def test_refusals() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(IndexError, match="sum: argument 'axis': expected -2 to 1"):
        _C.sum(x, 2, False)
    with pytest.raises(ValueError, match="max: argument 'axes': expected each axis once"):
        _C.max(x, (1, -1), False)
    with pytest.raises(TypeError, match=r"mean: .* expected a floating dtype, got int32; convert"):
        _C.mean(np.ones(3, np.int32), None, False)
    with pytest.raises(TypeError, match="var: argument 'x': expected a floating dtype"):
        _C.var(np.ones(3, np.bool_), None, False, 0)
    with pytest.raises(TypeError, match="sum: argument 'axes': expected an int or a tuple"):
        _C.sum(x, 1.0, False)
    with pytest.raises(ValueError, match=r"sum_to: shapes \(2, 3\) and \(2,\) do not broadcast"):
        _C.sum_to(x, (2,))
    with pytest.raises(ValueError, match=r"sum_to: argument 'shape': .* broadcasts to \(2, 3\)"):
        _C.sum_to(x, (4, 2, 3))
    with pytest.raises(IndexError, match="cumsum"):
        _C.cumsum(x, 5, False)


def test_scalars() -> None:
    x = np.array(3.0, np.float32)
    for op in (_C.sum, _C.mean, _C.max, _C.prod, _C.norm):
        assert op(x, None, False).shape == ()
        assert op(x, (), True) == 3
    assert _C.argmax(x, None, False) == 0


# ---- gradients' helpers --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5, 6), (5, 6), (6,), (1, 6), (4, 1, 6), (4, 5, 1), (1, 1, 1), (), (1,), (5, 1)])
def test_sum_to_is_the_adjoint_of_broadcasting(level: str, shape: tuple[int, ...]) -> None:
    g = normal(4, 5, 6, dtype=np.float64)
    x = normal(*shape, dtype=np.float64, seed=1)
    got = _C.sum_to(g, shape)
    assert got.shape == shape
    assert abs((got * x).sum() - (g * np.broadcast_to(x, g.shape)).sum()) <= 1e-12
    assert np.array_equal(_C.sum_to(g[:1], (5, 6)), g[0])


def test_max_backward_shares_among_ties(level: str) -> None:
    x = np.array([[1, 3, 3], [2, 0, -1]], np.float64)
    g = np.array([[6.0], [5.0]])
    got = _C.max_backward(x, x.max(axis=1, keepdims=True), g, 1)
    assert np.array_equal(got, [[0, 3, 3], [5, 0, 0]])
    whole = _C.max_backward(x, x.max(keepdims=True), np.array([[8.0]]), None)
    assert np.array_equal(whole, [[0, 4, 4], [0, 0, 0]])
    half = _C.max_backward(x.astype(np.float16), np.float16([[3], [2]]), g.astype(np.float16), 1)
    assert np.array_equal(half, got)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_cumsum(level: str, dtype: Any) -> None:
    x = (normal(4, 33, 300) * 3).astype(dtype)
    out = dtype if dtype in FLOATS else np.int64
    for axis in (0, 1, 2):
        for v in layouts(x):
            for reverse in (False, True):
                order = slice(None, None, -1 if reverse else 1)
                turned = x.swapaxes(axis, 0)[order]
                wide = np.cumsum(turned, axis=0, dtype=float if dtype in FLOATS else np.int64)
                expected = wide[order].swapaxes(axis, 0)
                got = _C.cumsum(v, axis, reverse)
                assert got.dtype == out
                unit = OUT_UNIT.get(dtype, 0)
                bound = unit * np.abs(expected) + 300 * 2.0**-53 * 300
                assert (np.abs(got - expected) <= (bound if dtype in FLOATS else 0)).all()


# ---- threads and views ---------------------------------------------------------------------------


def test_results_do_not_depend_on_threads(level: str) -> None:
    arrays = [
        normal(300_000),
        normal(70_000, 9),
        normal(9, 70_000),
        normal(40, 50, 60),
        normal(2000, 1500),
    ]
    before = _C.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        _C.set_num_threads(threads)
        results.append(
            [
                op(x, axes, False).tobytes()
                for x in arrays
                for op in (_C.sum, _C.mean, _C.prod, _C.norm, _C.max)
                for axes in (None, 0, x.ndim - 1)
            ]
            + [_C.var(x, 0, False, 1)[0].tobytes() for x in arrays]
            + [_C.argmax(x, 0, False).tobytes() for x in arrays]
            + [_C.cumsum(x, 0, True).tobytes() for x in arrays]
        )
    _C.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_tensor_in_tensor_out() -> None:
    x = _C.Array(normal(3, 4))
    assert isinstance(_C.sum(x, 0, False), _C.Array)
    assert isinstance(_C.sum(normal(3, 4), 0, False), np.ndarray)
