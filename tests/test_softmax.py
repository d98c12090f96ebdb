"""Softmax, log-sum-exp and cross-entropy against NumPy in float64."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests import oracle

import mlext as ml
from mlext import _C
from mlext import functional as F

FLOATS = [np.float32, np.float64, np.float16]
# Relative and absolute error of one result.
RTOL = {np.float32: 4e-6, np.float64: 1e-14, np.float16: 2.0**-10}
ATOL = {np.float32: 1.2e-7, np.float64: 1e-15, np.float16: 2.0**-24}
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 192, 193, 511, 1000, 2049]


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def layouts(x: np.ndarray) -> Iterator[np.ndarray]:
    yield x
    yield np.asfortranarray(x)
    yield np.repeat(x, 3, axis=-1)[..., ::3]
    yield x[::-1].copy()[::-1]


def close(got: Any, expected: Any, dtype: Any, factor: float = 1) -> None:
    got = got.numpy() if isinstance(got, _C.Array) else got
    assert got.dtype == dtype
    assert got.shape == np.shape(expected)
    error = np.abs(got.astype(float) - expected)
    assert (error <= factor * np.maximum(RTOL[dtype] * np.abs(expected), ATOL[dtype])).all()


def check_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, grad: np.ndarray) -> None:
    """Central differences in one random direction, float64."""
    direction = np.random.default_rng(7).standard_normal(x.shape)
    h = 1e-5
    numeric = (f(x + h * direction) - f(x - h * direction)) / (2 * h)
    assert abs((grad * direction).sum() - numeric) <= 1e-6 * abs(numeric) + 1e-9


# ---- the formulas --------------------------------------------------------------------------------


def lse_of(x: np.ndarray, axis: int) -> np.ndarray:
    x = x.astype(np.longdouble)
    m = x.max(axis=axis, keepdims=True)
    return m + np.log(np.exp(x - m).sum(axis=axis, keepdims=True))


def log_softmax_of(x: np.ndarray, axis: int) -> np.ndarray:
    return (x - lse_of(x, axis)).astype(float)


def smooth(target: np.ndarray, smoothing: float) -> np.ndarray:
    return (1 - smoothing) * target + smoothing / target.shape[-1]


def reduced(losses: np.ndarray, count: float, reduction: str) -> np.ndarray:
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / count if count else np.float64(0)


def cross_entropy_of(
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray | None,
    ignore: int,
    smoothing: float,
    reduction: str,
) -> np.ndarray:
    logp = log_softmax_of(x.astype(float), -1)
    w = np.ones(x.shape[-1]) if w is None else w.astype(float)
    counted = y != ignore
    label = np.where(counted, y, 0)
    own = w[label]
    nll = -own * np.take_along_axis(logp, label[..., None], -1)[..., 0]
    losses = np.where(counted, (1 - smoothing) * nll - smoothing / x.shape[-1] * (w * logp).sum(-1), 0)
    return reduced(losses, (own * counted).sum(), reduction)


def cross_entropy_soft_of(
    x: np.ndarray, t: np.ndarray, w: np.ndarray | None, smoothing: float, reduction: str
) -> np.ndarray:
    w = np.ones(x.shape[-1]) if w is None else w.astype(float)
    losses = -(w * smooth(t.astype(float), smoothing) * log_softmax_of(x.astype(float), -1)).sum(-1)
    return reduced(losses, losses.size, reduction)


# ---- softmax, log_softmax, logsumexp -------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_every_axis_and_layout(level: str, dtype: Any, axis: int) -> None:
    x = (normal(5, 19, 70, dtype=dtype) * 3).astype(dtype)
    for v in layouts(x):
        close(_C.softmax(v, axis), np.exp(log_softmax_of(x, axis)), dtype)
        close(_C.log_softmax(v, axis), log_softmax_of(x, axis), dtype)
        for keepdims in (False, True):
            expected = lse_of(x, axis).astype(float)
            close(
                _C.logsumexp(v, axis, keepdims),
                expected if keepdims else expected.squeeze(axis),
                dtype,
            )


@pytest.mark.parametrize("n", SIZES)
def test_sizes_around_the_vector_widths(level: str, n: int) -> None:
    for dtype in FLOATS:
        x = normal(3, n, dtype=dtype, seed=n)
        for v, axis in ((x, 1), (np.ascontiguousarray(x.T), 0)):
            close(_C.softmax(v, axis), np.exp(log_softmax_of(v, axis)), dtype)
            close(_C.log_softmax(v, axis), log_softmax_of(v, axis), dtype)
            g = normal(*v.shape, dtype=dtype, seed=1)
            y = _C.softmax(v, axis)
            wide = y.astype(float) * (g - (y.astype(float) * g).sum(axis=axis, keepdims=True))
            error = np.abs(_C.softmax_backward(y, g, axis) - wide)
            assert (error <= 4 * RTOL[dtype] * y * (np.abs(g).max()) + ATOL[dtype]).all()


def test_long_rows_sum_to_one(level: str) -> None:
    x = normal(2, 100_000)
    y = _C.softmax(x, 1)
    assert (np.abs(y.astype(float).sum(axis=1) - 1) <= 4e-6).all()
    close(y, np.exp(log_softmax_of(x, 1)), np.float32)


def test_equal_logits_are_exact(level: str) -> None:
    for n in (1, 2, 8, 64, 1024):
        for value in (0, -3.5, 1e30):
            assert (_C.softmax(np.full((2, n), value, np.float32), 1) == 1 / n).all()
            assert (_C.softmax(np.full((n, 2), value, np.float32), 0) == 1 / n).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_bad_row_is_nan_alone(level: str, axis: int) -> None:
    for n in (5, 16, 40):
        x = normal(5, n)
        x[0, n // 2] = np.nan
        x[1, n // 2] = np.inf
        x[2] = -np.inf
        x[3, 0] = -np.inf
        x[3, 1:] = 1e30
        v = x if axis == 1 else np.ascontiguousarray(x.T)
        for op in (_C.softmax, _C.log_softmax):
            y = op(v, axis) if axis == 1 else op(v, axis).T
            assert np.isnan(y[:3]).all()
            assert not np.isnan(y[3:]).any()
            clean = np.where(np.arange(5)[:, None] == 4, x, 0)
            good = op(clean, axis) if axis == 1 else op(np.ascontiguousarray(clean.T), 0).T
            assert np.array_equal(y[4], good[4])
        lse = _C.logsumexp(v, axis, False)
        assert np.isnan(lse[0])
        assert lse[1] == np.inf
        assert lse[2] == -np.inf
        assert abs(lse[3] / 1e30 - 1) <= 1e-6


def test_huge_logits_stay_finite(level: str) -> None:
    x = np.array([[1e30, -1e30, 0], [88, 89, 90], [-200, -201, -150]], np.float32)
    close(_C.softmax(x, 1), np.exp(log_softmax_of(x, 1)), np.float32)
    assert np.isfinite(_C.log_softmax(x, 1)).all()


def test_small_losses_keep_their_relative_accuracy(level: str) -> None:
    for dtype in (np.float32, np.float64):
        for n in (2, 17, 300):
            x = np.zeros((3, n), dtype)
            x[0, 1], x[1, 0], x[2, n - 1] = 12, 25, 70
            y = x.argmax(axis=1)
            exact = np.log1p((n - 1) * np.exp(-x.max(axis=1).astype(np.longdouble)))
            loss = _C.cross_entropy(x, y, None, -100, 0.0, "none")[0]
            columns = -_C.log_softmax(np.ascontiguousarray(x.T), 0).max(axis=0)
            for got in (loss, columns, -_C.log_softmax(x, 1).max(axis=1)):
                assert (np.abs(got - exact) <= RTOL[dtype] * exact).all()


def test_gradients_of_confident_labels_keep_their_relative_accuracy(level: str) -> None:
    x, y = np.array([[12, 0, 0], [0, 25, 0], [0, 0, 70]], np.float32), np.array([0, 1, 2])
    for smoothing in (0.0, 0.5):
        _, stats = _C.cross_entropy(x, y, None, -100, smoothing, "sum")
        one = np.array(1, np.float32)
        grad = _C.cross_entropy_backward(x, y, None, stats, one, -100, smoothing, "sum")
        # p - (1 - s) - s / 3 at the label
        others = 2 * np.exp(-x.max(axis=1).astype(float))
        exact = smoothing * 2 / 3 - others / (1 + others)
        assert (np.abs(grad[y, y] - exact) <= RTOL[np.float32] * np.abs(exact)).all()


def test_softmax_gradients(level: str) -> None:
    x, g = normal(4, 7, 5, dtype=np.float64), normal(4, 7, 5, dtype=np.float64, seed=1)
    for axis in (0, 1, 2):
        for op, backward in (
            (_C.softmax, _C.softmax_backward),
            (_C.log_softmax, _C.log_softmax_backward),
        ):
            grad = backward(op(x, axis), g, axis)
            check_gradient(lambda v, op=op, axis=axis: (op(v, axis) * g).sum(), x, grad)


def test_empty_and_refused_axes() -> None:
    assert _C.softmax(np.zeros((2, 0), np.float32), 1).shape == (2, 0)
    assert _C.softmax(np.zeros((0, 2), np.float32), 1).shape == (0, 2)
    assert np.array_equal(_C.logsumexp(np.zeros((2, 0), np.float32), 1, False), [-np.inf, -np.inf])
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(IndexError, match="softmax: argument 'axis': expected -2 to 1 .* got 2"):
        _C.softmax(x, 2)
    with pytest.raises(TypeError, match="softmax: argument 'axis': expected an int, got float"):
        _C.softmax(x, 1.0)
    with pytest.raises(TypeError, match="softmax: argument 'x': expected a floating dtype"):
        _C.softmax(np.zeros(3, np.int32), 0)
    with pytest.raises(ValueError, match="softmax_backward: argument 'g': expected shape"):
        _C.softmax_backward(x, x.T.copy(), 0)


def test_bfloat16(level: str) -> None:
    x = _C.cast(_C.Array(normal(6, 50)), "bfloat16")
    expected = np.exp(log_softmax_of(x.numpy(), 1))
    got = _C.softmax(x, 1).numpy()
    assert (np.abs(got - expected) <= 2.0**-8 * expected).all()


# ---- masked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [*SIZES, 191, 192, 193])
def test_masked_sizes(level: str, n: int) -> None:
    rng = np.random.default_rng(n)
    for dtype in FLOATS:
        x = (3 * rng.standard_normal((5, n))).astype(dtype)
        mask = rng.random((5, n)) < 0.5
        mask[1], mask[2] = False, True
        want = oracle.masked_softmax(x.astype(float), mask)
        x = np.where(mask, x, np.array([np.nan, np.inf, -np.inf, 6e4], dtype)[np.arange(n) % 4])  # does not matter
        for v in layouts(x):
            for m in (mask, np.asfortranarray(mask)):
                got = F.softmax(v, mask=m)
                close(got, want, dtype)
                assert (got[~mask] == 0).all()
        close(F.softmax(np.ascontiguousarray(x.T), 0, mask=mask.T), want.T, dtype)


def test_a_mask_of_all_is_none(level: str) -> None:
    for n in (3, 40, 500):
        x = normal(4, 6, n)
        for axis in (0, 1, 2):
            close(F.softmax(x, axis, mask=np.ones(x.shape, bool)), oracle.softmax(x.astype(float), axis), np.float32)


@pytest.mark.parametrize("shape", [(), (7,), (6, 7), (6, 1), (3, 1, 1, 7), (1, 5, 1, 7), (3, 5, 6, 1), (3, 5, 6, 7)])
def test_masks_broadcast(shape: tuple[int, ...]) -> None:
    x, mask = normal(3, 5, 6, 7), np.random.default_rng(1).random(shape) < 0.7
    for axis in range(4):
        want = oracle.masked_softmax(x.astype(float), np.broadcast_to(mask, x.shape), axis)
        close(F.softmax(x, axis, mask=np.asarray(mask)), want, np.float32)
    last = x[..., None]
    close(F.softmax(last, 3, mask=np.asarray(mask)[..., None]), want[..., None], np.float32)


def test_gradient_of_what_is_masked_is_zero(level: str) -> None:
    x = ml.tensor(normal(4, 9), requires_grad=True)
    mask = np.random.default_rng(2).random((4, 9)) < 0.5
    mask[3] = False
    y = F.softmax(x, mask=mask)
    y.backward(ml.tensor(normal(4, 9, seed=1)))
    assert (x.grad.numpy()[~mask] == 0).all()
    assert (x.grad.numpy()[mask] != 0).any()


def test_a_bad_row_under_a_mask_is_nan_alone(level: str) -> None:
    for n in (5, 16, 300):
        x, mask = normal(4, n), np.ones((4, n), bool)
        x[0, 1], x[1, 2], x[2] = np.nan, np.inf, -np.inf
        mask[:, 0] = False
        y = F.softmax(x, mask=mask)
        assert np.isnan(y[:3]).any(axis=1).all()
        assert np.isfinite(y[3]).all()


def test_masks_of_threads(threads: Callable[[int], None]) -> None:
    x, mask = normal(3, 40, 33, 65), np.random.default_rng(3).random((3, 1, 33, 65)) < 0.5
    seen = set()
    for count in (1, 2, 3):
        threads(count)
        seen.add(F.softmax(x, mask=mask).tobytes())
    assert len(seen) == 1


def test_refused_masks() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match="softmax: argument 'mask': expected .*bool"):
        F.softmax(x, mask=x)
    with pytest.raises(ValueError, match=r"softmax: argument 'mask': expected a shape that broadcasts to that of x"):
        F.softmax(x, mask=np.ones((4, 2, 3), bool))
    with pytest.raises(ValueError, match="softmax"):
        F.softmax(x, mask=np.ones(2, bool))
    with pytest.raises(IndexError, match="softmax: argument 'axis'"):
        F.softmax(x, 2, mask=np.ones(3, bool))
    assert F.softmax(x[:0], mask=np.ones(3, bool)).shape == (0, 3)
    assert F.softmax(x[:, :0], mask=np.ones((2, 0), bool)).shape == (2, 0)


# ---- cross-entropy with labels -------------------------------------------------------------------

CASES = [
    (weighted, smoothing, reduction)
    for weighted in (False, True)
    for smoothing in (0.0, 0.1)
    for reduction in ("none", "mean", "sum")
]


@pytest.mark.parametrize(("weighted", "smoothing", "reduction"), CASES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy(level: str, dtype: Any, weighted: bool, smoothing: float, reduction: str) -> None:
    for classes in (1, 3, 10, 65):
        x = (normal(6, 4, classes, dtype=dtype) * 4).astype(dtype)
        y = np.random.default_rng(1).integers(0, classes, (6, 4))
        y[2, 1] = y[5, 3] = -100
        w = np.random.default_rng(2).uniform(0.5, 2, classes).astype(dtype) if weighted else None
        expected = cross_entropy_of(x, y, w, -100, smoothing, reduction)
        for v in layouts(x):
            loss, stats = _C.cross_entropy(v, y, w, -100, smoothing, reduction)
            close(loss, expected, dtype, 4)
            assert stats.shape == (6, 4, 2)
        g = normal(6, 4, dtype=dtype) if reduction == "none" else np.array(1.5, dtype)
        got = _C.cross_entropy_backward(x, y, w, stats, g, -100, smoothing, reduction)
        weights = np.ones(classes) if w is None else w.astype(float)
        own = np.where(y >= 0, weights[np.maximum(y, 0)], 0)
        onehot = smooth(np.eye(classes)[np.maximum(y, 0)], 0) * own[..., None] * (1 - smoothing)
        wanted = onehot + smoothing / classes * weights
        p = np.exp(log_softmax_of(x, -1))
        scale = g.astype(float)[..., None] / (own.sum() if reduction == "mean" else 1)
        gradient = np.where(y[..., None] >= 0, scale * (p * wanted.sum(-1, keepdims=True) - wanted), 0)
        assert got.dtype == dtype
        bound = 4 * RTOL[dtype] * np.abs(scale) * 3 + ATOL[dtype]
        assert (np.abs(got.astype(float) - gradient) <= bound).all()
        assert (got[2, 1] == 0).all()
        assert (got[5, 3] == 0).all()


@pytest.mark.parametrize(("weighted", "smoothing", "reduction"), CASES)
def test_cross_entropy_gradient(level: str, weighted: bool, smoothing: float, reduction: str) -> None:
    x = normal(9, 7, dtype=np.float64)
    y = np.arange(9) % 7
    y[4] = 3
    w = np.linspace(0.5, 2, 7) if weighted else None
    g = normal(9, dtype=np.float64) if reduction == "none" else np.array(0.7)
    _, stats = _C.cross_entropy(x, y, w, 3, smoothing, reduction)
    grad = _C.cross_entropy_backward(x, y, w, stats, g, 3, smoothing, reduction)
    check_gradient(lambda v: (_C.cross_entropy(v, y, w, 3, smoothing, reduction)[0] * g).sum(), x, grad)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64])
def test_labels_of_every_integer_type(dtype: Any) -> None:
    x, y = normal(5, 4), np.array([0, 3, 2, 1, 3])
    expected, _ = _C.cross_entropy(x, y, None, -100, 0.0, "none")
    strided = np.repeat(y, 2).astype(dtype)[::2]
    assert np.array_equal(_C.cross_entropy(x, strided, None, -100, 0.0, "none")[0], expected)
    assert np.array_equal(_C.nll(_C.log_softmax(x, 1), strided, None, -100, "none") > 0, expected > 0)


def test_labels_out_of_range() -> None:
    x = np.zeros((3, 3), np.float32)
    message = "cross_entropy: label 3 at position 1 is out of range for 3 classes"
    with pytest.raises(IndexError, match=message):
        _C.cross_entropy(x, np.array([0, 3, 7]), None, -100, 0.0, "mean")
    with pytest.raises(IndexError, match="label -1 at position 2"):
        _C.cross_entropy(x, np.array([0, 1, -1]), None, -100, 0.0, "mean")
    with pytest.raises(TypeError, match="'labels': expected an integer dtype, got float32"):
        _C.cross_entropy(x, np.zeros(3, np.float32), None, -100, 0.0, "mean")
    with pytest.raises(ValueError, match="cross_entropy: argument 'labels': expected shape"):
        _C.cross_entropy(x, np.zeros(2, np.int64), None, -100, 0.0, "mean")
    with pytest.raises(ValueError, match="cross_entropy: argument 'weight': expected shape"):
        _C.cross_entropy(x, np.zeros(3, np.int64), np.ones(2, np.float32), -100, 0.0, "mean")
    with pytest.raises(ValueError, match="'reduction': expected 'mean', 'sum' or 'none'"):
        _C.cross_entropy(x, np.zeros(3, np.int64), None, -100, 0.0, "average")
    with pytest.raises(ValueError, match="'label_smoothing': expected a number from 0 to 1"):
        _C.cross_entropy(x, np.zeros(3, np.int64), None, -100, np.nan, "mean")


@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_to_count_is_zero(rows: int) -> None:
    x, y = normal(rows, 4), np.full(rows, 2)
    loss, stats = _C.cross_entropy(x, y, None, 2, 0.1, "mean")
    assert loss == 0
    grad = _C.cross_entropy_backward(x, y, None, stats, np.array(1, np.float32), 2, 0.1, "mean")
    assert grad.shape == x.shape
    assert (grad == 0).all()
    assert _C.nll(x, y, None, 2, "mean") == 0
    if rows == 0:
        assert _C.cross_entropy_soft(x, x, None, 0.0, "mean")[0] == 0


@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_of_bad_and_huge_logits(level: str, soft: bool) -> None:
    x = normal(6, 20)
    x[0] *= np.float32(1e30)
    x[1, 3], x[2, 4] = np.nan, np.inf
    x[3] = -np.inf
    x[4, 5] = -np.inf  # a class masked out, not the label
    y = np.array([0, 1, 2, 3, 4, 5])
    t = np.eye(20, dtype=np.float32)[y]
    g = np.ones(6, np.float32)
    if soft:
        loss, stats = _C.cross_entropy_soft(x, t, None, 0.0, "none")
        grad = _C.cross_entropy_soft_backward(x, t, None, stats, g, 0.0, "none", False)
    else:
        loss, stats = _C.cross_entropy(x, y, None, -100, 0.0, "none")
        grad = _C.cross_entropy_backward(x, y, None, stats, g, -100, 0.0, "none")
    assert np.array_equal(np.isnan(loss), [False, True, True, True, False, False])
    assert np.isfinite(loss[[0, 4, 5]]).all()
    assert np.array_equal(np.isnan(grad).any(axis=1), np.isnan(loss))
    close(loss[5:], cross_entropy_of(x[5:], y[5:], None, -100, 0.0, "none"), np.float32)


def test_far_offset_keeps_the_gradient_accurate(level: str) -> None:
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    moved = x + np.float32(4096)  # exact
    y, one = np.array([1]), np.array(1, np.float32)
    grads = [
        _C.cross_entropy_backward(v, y, None, _C.cross_entropy(v, y, None, -100, 0.0, "sum")[1], one, -100, 0.0, "sum")
        for v in (x, moved)
    ]
    assert np.array_equal(*grads)


# ---- cross-entropy with probabilities ------------------------------------------------------------


@pytest.mark.parametrize(("weighted", "smoothing", "reduction"), CASES)
def test_cross_entropy_soft(level: str, weighted: bool, smoothing: float, reduction: str) -> None:
    for dtype in FLOATS:
        for classes in (1, 5, 33):
            x = normal(6, 4, classes, dtype=dtype)
            t = np.exp(log_softmax_of(normal(6, 4, classes, seed=1), -1)).astype(dtype)
            w = np.linspace(0.5, 2, classes).astype(dtype) if weighted else None
            expected = cross_entropy_soft_of(x, t, w, smoothing, reduction)
            for v in layouts(x):
                close(_C.cross_entropy_soft(v, t, w, smoothing, reduction)[0], expected, dtype, 4)


@pytest.mark.parametrize(("weighted", "smoothing", "reduction"), CASES)
def test_cross_entropy_soft_gradients(level: str, weighted: bool, smoothing: float, reduction: str) -> None:
    x = normal(6, 9, dtype=np.float64)
    t = np.exp(log_softmax_of(normal(6, 9, seed=1), -1))
    w = np.linspace(0.5, 2, 9) if weighted else None
    g = normal(6, dtype=np.float64) if reduction == "none" else np.array(0.7)
    _, stats = _C.cross_entropy_soft(x, t, w, smoothing, reduction)

    def loss(logits: np.ndarray, target: np.ndarray) -> float:
        return (_C.cross_entropy_soft(logits, target, w, smoothing, reduction)[0] * g).sum()

    args = (w, stats, g, smoothing, reduction)
    check_gradient(lambda v: loss(v, t), x, _C.cross_entropy_soft_backward(x, t, *args, False))
    check_gradient(lambda v: loss(x, v), t, _C.cross_entropy_soft_backward(x, t, *args, True))


def test_one_hot_targets_equal_labels(level: str) -> None:
    x, y = normal(50, 12), np.arange(50) % 12
    t = np.eye(12, dtype=np.float32)[y]
    for smoothing in (0.0, 0.3):
        hard, _ = _C.cross_entropy(x, y, None, -100, smoothing, "mean")
        soft, _ = _C.cross_entropy_soft(x, t, None, smoothing, "mean")
        close(soft, float(hard), np.float32)


# ---- threads -------------------------------------------------------------------------------------


def test_results_do_not_depend_on_threads(level: str) -> None:
    x, y = normal(5000, 37), np.arange(5000) % 37
    y[::7] = -100
    before = _C.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        _C.set_num_threads(threads)
        loss, stats = _C.cross_entropy(x, y, None, -100, 0.1, "mean")
        grad = _C.cross_entropy_backward(x, y, None, stats, np.array(1, np.float32), -100, 0.1, "mean")
        rows = [_C.softmax(x, 0), _C.softmax(x, 1), _C.log_softmax(x, 1), _C.logsumexp(x, 1, False)]
        results.append([a.tobytes() for a in (loss, stats, grad, *rows)])
    _C.set_num_threads(before)
    assert results[0] == results[1] == results[2]
