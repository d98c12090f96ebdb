"""The loss family against its formulas in float64 NumPy, and against central differences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mlext import _C

FLOATS = [np.float32, np.float64, np.float16]
UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53, np.float16: 2.0**-11}
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65, 129, 4095, 4097, 20_000]


# ---- the formulas --------------------------------------------------------------------------------


def xlogy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(x == 0, 0, x * np.log(np.where(x == 0, 1, y)))


def huber(p: np.ndarray, t: np.ndarray, delta: float) -> np.ndarray:
    d = np.abs(p - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def smooth_l1(p: np.ndarray, t: np.ndarray, beta: float) -> np.ndarray:
    d = np.abs(p - t)
    return np.where(d < beta, d * d / (2 * beta or 1), d - beta / 2)


def with_logits(p: np.ndarray, t: np.ndarray, pos_weight: np.ndarray | None) -> np.ndarray:
    w = 1 if pos_weight is None else pos_weight.astype(float)
    return (1 - t) * np.logaddexp(0, p) + w * t * np.logaddexp(0, -p)


def binary(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return -t * np.maximum(np.log(p), -100) - (1 - t) * np.maximum(np.log1p(-p), -100)


def kl_div(p: np.ndarray, t: np.ndarray, log_target: bool) -> np.ndarray:
    return np.exp(t) * (t - p) if log_target else xlogy(t, t) - t * p


def poisson(p: np.ndarray, t: np.ndarray, log_input: bool, full: bool, eps: float) -> np.ndarray:
    loss = np.exp(p) - t * p if log_input else p - t * np.log(p + eps)
    above = np.where(t > 1, t, 1)
    stirling = above * np.log(above) - above + 0.5 * np.log(2 * np.pi * above)
    return loss + np.where(t > 1, stirling, 0) * full


@dataclass
class Loss:
    name: str
    formula: Callable[..., np.ndarray]
    parameters: tuple[Any, ...] = ()
    prediction: str = "real"
    target: str = "real"

    def __str__(self) -> str:
        return "-".join([self.name, *(str(p) for p in self.parameters if not isinstance(p, np.ndarray))])


POS_WEIGHT = np.array([0.5, 2.0, 3.0])
LOSSES = [
    Loss("mse", lambda p, t: (p - t) ** 2),
    Loss("mae", lambda p, t: np.abs(p - t)),
    Loss("huber", huber, (1.0,)),
    Loss("huber", huber, (0.3,)),
    Loss("smooth_l1", smooth_l1, (1.0,)),
    Loss("smooth_l1", smooth_l1, (0.25,)),
    Loss("smooth_l1", smooth_l1, (0.0,)),
    Loss("log_cosh", lambda p, t: np.logaddexp(p - t, t - p) - np.log(2)),
    Loss("hinge", lambda p, t: np.maximum(0, 1 - t * p), target="sign"),
    Loss("squared_hinge", lambda p, t: np.maximum(0, 1 - t * p) ** 2, target="sign"),
    Loss("binary_cross_entropy", binary, prediction="unit", target="unit"),
    Loss("binary_cross_entropy_with_logits", with_logits, (None,), target="unit"),
    Loss("binary_cross_entropy_with_logits", with_logits, (POS_WEIGHT,), target="unit"),
    Loss("kl_div", kl_div, (False,), "log", "unit"),
    Loss("kl_div", kl_div, (True,), "log", "log"),
    Loss("poisson_nll", poisson, (True, False, 1e-8), "real", "count"),
    Loss("poisson_nll", poisson, (True, True, 1e-8), "real", "count"),
    Loss("poisson_nll", poisson, (False, False, 1e-3), "count", "count"),
]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)


def draw(kind: str, shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = {
        "real": lambda: rng.standard_normal(shape) * 2,
        "sign": lambda: rng.choice([-1.0, 1.0], shape),
        "unit": lambda: rng.uniform(0.05, 0.95, shape),
        "log": lambda: np.log(rng.uniform(0.05, 0.95, shape)),
        "count": lambda: rng.uniform(0.1, 6, shape),
    }
    return values[kind]().astype(dtype)


def inputs(loss: Loss, shape: tuple[int, ...], dtype: Any) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...]]:
    typed = tuple(p.astype(dtype) if isinstance(p, np.ndarray) else p for p in loss.parameters)
    return draw(loss.prediction, shape, dtype, 1), draw(loss.target, shape, dtype, 2), typed


def reduced(losses: np.ndarray, reduction: str) -> np.ndarray:
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def layouts(x: np.ndarray) -> Iterator[np.ndarray]:
    yield x
    yield np.asfortranarray(x)
    yield np.repeat(x, 2, axis=-1)[..., ::2]
    yield x[::-1].copy()[::-1]


# ---- values --------------------------------------------------------------------------------------


@each_loss
@pytest.mark.parametrize("dtype", FLOATS)
def test_values(level: str, loss: Loss, dtype: Any) -> None:
    kernel = getattr(_C, loss.name)
    for n in SIZES:
        shape = (n, 3)
        p, t, parameters = inputs(loss, shape, dtype)
        w = draw("unit", shape, dtype, 3)
        losses = loss.formula(p.astype(float), t.astype(float), *parameters)
        # Terms of both signs cancel in some formulas: the bound is in units of their size.
        size = np.abs(losses) + (np.abs(p.astype(float)) + 1) * (np.abs(t.astype(float)) + 1)
        for weight in (None, w):
            expected = losses if weight is None else losses * w.astype(float)
            got = kernel(p, t, weight, "none", *parameters)
            assert got.dtype == dtype
            assert (np.abs(got - expected) <= 16 * UNIT[dtype] * size).all()
            for reduction in ("mean", "sum"):
                got = kernel(p, t, weight, reduction, *parameters)
                assert got.dtype == dtype
                assert got.shape == ()
                if dtype == np.float16 and reduction == "sum" and n > 1000:
                    continue  # above its largest number
                error = abs(float(got) - reduced(expected, reduction))
                assert error <= 16 * UNIT[dtype] * reduced(size, reduction)


@each_loss
def test_layouts(level: str, loss: Loss) -> None:
    p, t, parameters = inputs(loss, (5, 7, 3), np.float32)
    kernel, backward = getattr(_C, loss.name), getattr(_C, loss.name + "_backward")
    expected = kernel(p, t, None, "none", *parameters)
    g = draw("real", p.shape, np.float32, 4)
    gradient = backward(p, t, None, g, "none", *parameters, False)
    for vp in layouts(p):
        for vt in layouts(t):
            assert np.array_equal(kernel(vp, vt, None, "none", *parameters), expected)
            assert np.array_equal(backward(vp, vt, None, g, "none", *parameters, False), gradient)


@each_loss
def test_nan_reaches_the_loss(level: str, loss: Loss) -> None:
    for n in (1, 5, 16, 40):
        for which in (0, 1):
            p, t, parameters = inputs(loss, (n, 3), np.float32)
            (p, t)[which][n // 2, 1] = np.nan
            assert np.isnan(getattr(_C, loss.name)(p, t, None, "mean", *parameters))
            per_element = np.isnan(getattr(_C, loss.name)(p, t, None, "none", *parameters))
            assert per_element.sum() == 1
            assert per_element[n // 2, 1]


# ---- gradients -----------------------------------------------------------------------------------


@each_loss
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients_against_central_differences(level: str, loss: Loss, reduction: str) -> None:
    kernel, backward = getattr(_C, loss.name), getattr(_C, loss.name + "_backward")
    p, t, parameters = inputs(loss, (6, 5, 3), np.float64)
    g = draw("real", p.shape, np.float64, 4) if reduction == "none" else np.array(0.7)
    direction, h = np.random.default_rng(5).standard_normal(p.shape), 1e-6
    for weight in (None, draw("unit", p.shape, np.float64, 3)):
        for of_target in (False, True):

            def value(step: float, weight: Any = weight, of_target: bool = of_target) -> float:
                moved = (p, t + step * direction) if of_target else (p + step * direction, t)
                return (kernel(*moved, weight, reduction, *parameters) * g).sum()

            numeric = (value(h) - value(-h)) / (2 * h)
            grad = backward(p, t, weight, g, reduction, *parameters, of_target)
            assert grad.shape == p.shape
            assert abs((grad * direction).sum() - numeric) <= 1e-6 * abs(numeric) + 1e-8


@each_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_gradients_match_float64(level: str, loss: Loss, dtype: Any) -> None:
    backward = getattr(_C, loss.name + "_backward")
    for n in (1, 6, 17, 50):
        p, t, parameters = inputs(loss, (n, 3), dtype)
        wide = tuple(q.astype(float) if isinstance(q, np.ndarray) else q for q in parameters)
        for of_target in (False, True):
            g = np.array(2, dtype)
            got = backward(p, t, None, g, "sum", *parameters, of_target)
            expected = backward(p.astype(float), t.astype(float), None, g.astype(float), "sum", *wide, of_target)
            assert got.dtype == dtype
            assert (np.abs(got - expected) <= 64 * UNIT[dtype] * (np.abs(expected) + 1)).all()


# ---- special values ------------------------------------------------------------------------------


def test_binary_cross_entropy_is_at_most_100(level: str) -> None:
    p, t = np.array([0, 1, 0, 1], np.float32), np.array([0, 1, 1, 0], np.float32)
    assert np.array_equal(_C.binary_cross_entropy(p, t, None, "none"), [0, 0, 100, 100])
    g = np.ones(4, np.float32)
    assert np.isfinite(_C.binary_cross_entropy_backward(p, t, None, g, "none", False)).all()
    assert np.isfinite(_C.binary_cross_entropy_backward(p, t, None, g, "none", True)).all()


def test_huge_logits_stay_finite(level: str) -> None:
    p, t = np.array([1e30, -1e30, 200, -200], np.float32), np.array([1, 0, 0, 1], np.float32)
    loss = _C.binary_cross_entropy_with_logits(p, t, None, "none", None)
    assert np.array_equal(loss, np.array([0, 0, 200, 200], np.float32))
    g = np.ones(4, np.float32)
    grad = _C.binary_cross_entropy_with_logits_backward(p, t, None, g, "none", None, False)
    assert np.array_equal(grad, [0, 0, 1, -1])


def test_log_cosh_is_accurate_near_zero_and_far_away(level: str) -> None:
    d = np.array([1e-6, -1e-3, 0.1, 0.999, 1, 1.001, 20, 1e6], np.float32)
    wide = d.astype(np.longdouble)
    expected = np.abs(wide) + np.log1p(np.expm1(-2 * np.abs(wide)) / 2)
    got = _C.log_cosh(d, np.zeros_like(d), None, "none")
    assert (np.abs(got - expected) <= 8 * 2.0**-24 * expected).all()


def test_kl_div_of_impossible_targets_and_batchmean(level: str) -> None:
    p, t = np.log(np.full((4, 5), 0.2, np.float32)), np.eye(4, 5, dtype=np.float32)
    assert (np.abs(_C.kl_div(p, t, None, "none", False) - np.where(t == 1, np.log(5), 0)) <= 1e-6).all()
    assert abs(_C.kl_div(p, t, None, "batchmean", False) - np.log(5)) <= 1e-6
    grad = _C.kl_div_backward(p, t, None, np.array(1, np.float32), "batchmean", False, False)
    assert np.array_equal(grad, -t / 4)


@pytest.mark.parametrize("classes", [1, 3, 5000])
def test_pos_weight_repeats_along_the_last_axis(level: str, classes: int) -> None:
    shape = (7, 200 // classes + 1, classes)
    p, t = draw("real", shape, np.float64, 1), draw("unit", shape, np.float64, 2)
    w = np.random.default_rng(3).uniform(0.5, 3, classes)
    got = _C.binary_cross_entropy_with_logits(p, t, None, "none", w)
    assert (np.abs(got - with_logits(p, t, w)) <= 1e-13).all()
    one = _C.binary_cross_entropy_with_logits(p, t, None, "none", np.array(2.0))
    assert (np.abs(one - with_logits(p, t, np.array(2.0))) <= 1e-13).all()


def test_empty_means_are_nan_and_empty_sums_zero() -> None:
    x = np.zeros((0, 3), np.float32)
    assert np.isnan(_C.mse(x, x, None, "mean"))
    assert _C.mse(x, x, None, "sum") == 0
    assert _C.mse(x, x, None, "none").shape == (0, 3)
    assert _C.mse_backward(x, x, None, np.array(1, np.float32), "mean", False).shape == (0, 3)


# ---- negative log-likelihood ---------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_nll(weighted: bool, reduction: str) -> None:
    for dtype in FLOATS:
        x = draw("log", (6, 5, 7), dtype, 1)
        y = np.random.default_rng(2).integers(0, 7, (6, 5))
        y[1, 2] = -100
        w = draw("unit", (7,), dtype, 3) if weighted else None
        weights = np.ones(7) if w is None else w.astype(float)
        own = np.where(y >= 0, weights[np.maximum(y, 0)], 0)
        losses = -own * np.take_along_axis(x.astype(float), np.maximum(y, 0)[..., None], -1)[..., 0]
        expected = losses.sum() / own.sum() if reduction == "mean" else reduced(losses, reduction)
        for v in layouts(x):
            got = _C.nll(v, y, w, -100, reduction)
            assert got.dtype == dtype
            assert (np.abs(got - expected) <= 8 * UNIT[dtype] * (np.abs(expected) + 1)).all()
        g = np.ones((6, 5), dtype) if reduction == "none" else np.array(1, dtype)
        grad = _C.nll_backward(x, y, w, g, -100, reduction)
        wanted = -np.eye(7)[np.maximum(y, 0)] * own[..., None] / (own.sum() if reduction == "mean" else 1)
        assert (np.abs(grad - wanted) <= 4 * UNIT[dtype]).all()
    with pytest.raises(IndexError, match="nll: label 7 at position 0 is out of range"):
        _C.nll(x, np.full((6, 5), 7), None, -100, reduction)


# ---- refusals and threads ------------------------------------------------------------------------


@each_loss
def test_losses_do_not_broadcast(loss: Loss) -> None:
    p, _, parameters = inputs(loss, (2, 3), np.float32)
    for shape in ((3, 2), (2, 1), (3,), (1, 2, 3)):
        t = draw(loss.target, shape, np.float32, 2)
        with pytest.raises(ValueError, match=rf"{loss.name}: .* the shape of 'pred' \(2, 3\)"):
            getattr(_C, loss.name)(p, t, None, "mean", *parameters)


def test_refusals() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(TypeError, match="mse: argument 'target': expected float32"):
        _C.mse(x, x.astype(float), None, "mean")
    with pytest.raises(TypeError, match="mse: argument 'pred': expected a floating dtype"):
        _C.mse(x.astype(int), x.astype(int), None, "mean")
    with pytest.raises(ValueError, match="mse: argument 'reduction': .* got 'batchmean'"):
        _C.mse(x, x, None, "batchmean")
    with pytest.raises(ValueError, match="mse: argument 'weight': expected shape"):
        _C.mse(x, x, x[0], "mean")
    with pytest.raises(ValueError, match="mse_backward: argument 'g': expected shape"):
        _C.mse_backward(x, x, None, x, "mean", False)
    with pytest.raises(ValueError, match="huber: argument 'delta': expected a number above 0"):
        _C.huber(x, x, None, "mean", 0.0)
    with pytest.raises(ValueError, match="smooth_l1: argument 'beta': expected a number of 0"):
        _C.smooth_l1(x, x, None, "mean", np.nan)
    with pytest.raises(ValueError, match=r"pos_weight': expected shape \(\) or \(3,\)"):
        _C.binary_cross_entropy_with_logits(x, x, None, "mean", np.ones(2, np.float32))


@each_loss
def test_results_do_not_depend_on_threads(level: str, loss: Loss) -> None:
    p, t, parameters = inputs(loss, (40_001, 3), np.float32)
    kernel, backward = getattr(_C, loss.name), getattr(_C, loss.name + "_backward")
    before = _C.get_num_threads()
    results = set()
    for threads in (1, 2, 3):
        _C.set_num_threads(threads)
        mean = kernel(p, t, None, "mean", *parameters)
        grad = backward(p, t, None, np.array(1, np.float32), "mean", *parameters, False)
        results.add((mean.tobytes(), grad.tobytes()))
    _C.set_num_threads(before)
    assert len(results) == 1
