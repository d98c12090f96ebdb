"""Normalisation: against float64 and PyTorch, accuracy far from 0, running averages, edges, errors."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests import oracle

import mlext as ml
from _simd_tools import GuardedPage
from mlext import _C, nn
from mlext import functional as F

Array = np.ndarray[Any, Any]

# Few channels join rows, many rows make several blocks, widths are not whole vectors.
SHAPES = [(4, 5, 7, 6), (8, 33, 3), (5, 40), (2, 16, 16, 64), (3, 9, 9, 130), (64, 64, 3), (2, 700, 4), (3, 1, 1)]


def expected(name: str, x: Array, w: Array, b: Array) -> Array:
    """In float64, with the group norm of two groups."""
    x, w, b = x.astype(np.float64), w.astype(np.float64), b.astype(np.float64)
    c = x.shape[-1]
    if name == "batch_norm":
        return oracle.normalized(x, tuple(range(x.ndim - 1))) * w + b
    if name == "layer_norm":
        return oracle.normalized(x, (-1,)) * w + b
    if name == "rms_norm":
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * w
    groups = c if name == "instance_norm" else 2 - c % 2
    parts = x.reshape(x.shape[0], -1, groups, c // groups)
    return oracle.normalized(parts, (1, 3)).reshape(x.shape) * w + b


def run(name: str, x: Any, w: Any, b: Any, **options: Any) -> Any:
    c = x.shape[-1]
    if name == "batch_norm":
        return F.batch_norm(x, None, None, w, b, **options)
    if name == "group_norm":
        return F.group_norm(x, 2 - c % 2, w, b, **options)
    if name == "instance_norm":
        return F.instance_norm(x, w, b, **options)
    return F.layer_norm(x, c, w, b) if name == "layer_norm" else F.rms_norm(x, c, w, 1e-5)


NAMES = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_formula(level: str, name: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    for shape in SHAPES:
        x = (3 * rng.standard_normal(shape) + 5).astype(dtype)
        w, b = rng.standard_normal((2, shape[-1])).astype(dtype)
        want = expected(name, x, w, b)
        error = np.abs(run(name, x, w, b) - want).max()
        assert error <= 64 * np.finfo(dtype).eps * max(np.abs(want).max(), 1), (shape, error)


@pytest.mark.parametrize("name", NAMES[:3])
def test_relu_is_that_of_the_result(level: str, name: str) -> None:
    rng = np.random.default_rng(2)
    for shape in SHAPES:
        x = rng.standard_normal(shape).astype(np.float32)
        w, b = rng.standard_normal((2, shape[-1])).astype(np.float32)
        grads = []
        for fused in (False, True):
            parts = [ml.tensor(v, requires_grad=True) for v in (x, w, b)]
            y = run(name, *parts, activation="relu") if fused else F.relu(run(name, *parts))
            y.backward(ml.tensor(x))
            grads.append([y.detach().numpy(), *(part.grad.numpy() for part in parts)])
        for plain, fused_one in zip(*grads, strict=True):
            np.testing.assert_array_equal(plain, fused_one)


@pytest.mark.parametrize("name", [*NAMES[:4], "given"])
@pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
def test_equal_to_torch(name: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    if name == "instance_norm" and len(shape) == 2:
        return  # torch has none of single pixels
    rng, c = np.random.default_rng(3), shape[-1]
    x, g = rng.standard_normal((2, *shape))
    w, b, mean = rng.standard_normal((3, c))
    var = rng.random(c) + 0.1
    first = (lambda a: a) if name == "layer_norm" else (lambda a: np.moveaxis(a, -1, 1).copy())
    last = (
        (lambda t: t.detach().numpy()) if name == "layer_norm" else (lambda t: np.moveaxis(t.detach().numpy(), 1, -1))
    )
    tx, tw, tb = (torch.tensor(v, requires_grad=True) for v in (first(x), w, b))
    mx, mw, mb = (ml.tensor(v, requires_grad=True) for v in (x, w, b))
    nf = torch.nn.functional
    if name == "given":
        ty = nf.batch_norm(tx, torch.tensor(mean), torch.tensor(var), tw, tb)
        my = F.batch_norm(mx, ml.tensor(mean), ml.tensor(var), mw, mb)
    else:
        my = run(name, mx, mw, mb)
        ty = {
            "batch_norm": lambda: nf.batch_norm(tx, None, None, tw, tb, True),
            "group_norm": lambda: nf.group_norm(tx, 2 - c % 2, tw, tb),
            "instance_norm": lambda: nf.instance_norm(tx, None, None, tw, tb),
            "layer_norm": lambda: nf.layer_norm(tx, (c,), tw, tb),
        }[name]()
    my.backward(ml.tensor(g))
    ty.backward(torch.tensor(first(g)))
    for got, want in ((my, last(ty)), (mx.grad, last(tx.grad)), (mw.grad, tw.grad.numpy()), (mb.grad, tb.grad.numpy())):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-10 * max(np.abs(want).max(), 1))


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm", "layer_norm"])
def test_far_from_zero(level: str, name: str) -> None:
    # A difference of large sums would leave nothing of a deviation of 1 at 30,000. The rounding of x itself is 1 / 500.
    shape = (2, 4000, 5) if name != "layer_norm" else (10, 4000)
    x = (np.random.default_rng(4).standard_normal(shape) + 3e4).astype(np.float32)
    w, b = np.ones(shape[-1], np.float32), np.zeros(shape[-1], np.float32)
    np.testing.assert_allclose(run(name, x, w, b), expected(name, x, w, b), rtol=0, atol=4e-3)
    x[:, :1000] = 0  # rows that squares are taken about, far from the others
    np.testing.assert_allclose(run(name, x, w, b), expected(name, x, w, b), rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_squares_that_overflow(level: str, name: str) -> None:
    rng = np.random.default_rng(13)
    for shape in ((3, 90, 5), (4, 70, 64)):
        x = rng.standard_normal(shape).astype(np.float32)
        x[:, :, 1] *= np.float32(1e20)  # beside channels of size 1
        w, b = np.ones(shape[-1], np.float32), np.zeros(shape[-1], np.float32)
        np.testing.assert_allclose(run(name, x, w, b), expected(name, x, w, b), rtol=1e-5, atol=1e-5)
    # A mean that is rounded to float32 is off by as much as the largest value of a constant row may be.
    constant = np.full((3, 20, 6), 2.0**100, np.float32)
    w, b = np.ones(6, np.float32), np.zeros(6, np.float32)
    np.testing.assert_allclose(run(name, constant, w, b), 1.0 if name == "rms_norm" else 0.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_half_types(level: str, name: str, dtype: str) -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(-8, 9, (3, 40, 6)).astype(np.float32)
    w, b = rng.integers(-3, 4, (2, 6)).astype(np.float32)
    halves = [_C.cast(ml.tensor(v), dtype) for v in (x, w, b)]
    y = run(name, *halves)
    want = expected(name, x, w, b)
    assert y.dtype.name == dtype
    np.testing.assert_allclose(
        y.numpy().astype(np.float32), want, rtol=2.0 ** (-8 if dtype == "bfloat16" else -11), atol=1e-5
    )


def test_running_averages() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.BatchNorm(5, momentum=0.3), torch.nn.BatchNorm1d(5, momentum=0.3)
    rng = np.random.default_rng(6)
    for _ in range(3):
        x = rng.standard_normal((7, 5)).astype(np.float32) + 2
        ours(x)
        theirs(torch.tensor(x))
    np.testing.assert_allclose(ours.running_mean.numpy(), theirs.running_mean.numpy(), rtol=1e-6)
    np.testing.assert_allclose(ours.running_var.numpy(), theirs.running_var.numpy(), rtol=1e-6)
    before = ours.running_mean.numpy().copy()
    np.testing.assert_allclose(
        ours.eval()(x).numpy(), theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(ours.running_mean.numpy(), before)


def test_running_averages_of_halves_and_replays() -> None:
    layer = nn.BatchNorm(3).to("bfloat16")
    layer(_C.cast(ml.ones(4, 3), "bfloat16"))
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1, rtol=0.01)
    eager, replayed = nn.BatchNorm(3), nn.BatchNorm(3)
    step = ml.compile(lambda x: replayed(x))
    rng = np.random.default_rng(7)
    for _ in range(4):
        x = rng.standard_normal((6, 3)).astype(np.float32)
        np.testing.assert_array_equal(eager(x).detach().numpy(), step(x).detach().numpy())
    np.testing.assert_array_equal(eager.running_var.numpy(), replayed.running_var.numpy())


def test_relu_runs_in_the_kernel_of_a_sequential() -> None:
    model = nn.Sequential(nn.BatchNorm(4), nn.ReLU())
    x = ml.tensor(np.random.default_rng(8).standard_normal((6, 4)).astype(np.float32), requires_grad=True)
    with ml.profile() as profile:
        y = model(x)
    assert {row.name for row in profile.rows()} == {"batch_norm", "running_statistics"}
    np.testing.assert_array_equal(y.detach().numpy(), F.relu(nn.BatchNorm(4)(x)).detach().numpy())


def test_bits_do_not_depend_on_threads(threads: Callable[[int], None]) -> None:
    rng = np.random.default_rng(9)
    x, g = rng.standard_normal((2, 6, 50, 50, 24)).astype(np.float32)
    w, b = rng.standard_normal((2, 24)).astype(np.float32)
    seen = set()
    for count in (1, 2, 3):
        threads(count)
        bits = b""
        for name in NAMES:
            parts = [ml.tensor(v, requires_grad=True) for v in (x, w, b)]
            y = run(name, *parts)
            y.backward(ml.tensor(g))
            bits += y.detach().numpy().tobytes() + b"".join(
                p.grad.numpy().tobytes() for p in parts if p.grad is not None
            )
        seen.add(bits)
    assert len(seen) == 1


def test_nothing_outside_the_arguments_is_touched(level: str, pages: list[GuardedPage]) -> None:
    rng = np.random.default_rng(10)
    for channels in (1, 5, 17, 70):
        x = pages[0].end(rng.standard_normal((1, 3, channels)).astype(np.float32))
        w = pages[1].end(rng.standard_normal(channels).astype(np.float32))
        g = pages[2].end(np.ones_like(x))
        y, mean, var = _C.normalize("batch_norm", x, w, w, channels, False, 1e-5, True)
        assert np.isfinite(y).all()
        for got in _C.normalize_gradient(g, x, mean, var, w, w, channels, False, 1e-5, True, False):
            assert np.isfinite(got).all()
        y, stats = _C.normalize_rows("layer_norm", x, channels, w, w, 1e-5, True)
        for got in _C.normalize_rows_gradient(g, None, x, stats, channels, w, True):
            assert np.isfinite(got).all()
        y, total, stats = _C.add_normalize_rows("add_rms_norm", x, g, channels, w, w, 1e-5, False)
        for got in (y, total, *_C.normalize_rows_gradient(g, x, total, stats, channels, w, False)):
            assert np.isfinite(got).all()


def test_nan_stays_in_its_group() -> None:
    x = np.random.default_rng(11).standard_normal((2, 9, 6)).astype(np.float32)
    x[1, 3, 4] = np.nan
    assert np.isnan(F.group_norm(x, 2)).sum() == 9 * 3
    assert np.isnan(F.group_norm(x, 2, activation="relu")).sum() == 9 * 3
    assert np.isnan(F.instance_norm(x)).sum() == 9
    assert np.isnan(F.layer_norm(x, 6)).sum() == 6


def test_views_and_nothing() -> None:
    x = np.random.default_rng(12).standard_normal((2, 3, 8, 8)).astype(np.float32)
    view = x.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(F.instance_norm(view), F.instance_norm(view.copy()))
    assert F.group_norm(np.ones((0, 4, 6), np.float32), 2).shape == (0, 4, 6)
    assert F.layer_norm(np.ones((0, 6), np.float32), 6).shape == (0, 6)
    x = ml.tensor(np.ones((0, 6), np.float32), requires_grad=True)
    w = ml.tensor(np.ones(6, np.float32), requires_grad=True)
    F.layer_norm(x, 6, w).backward(ml.zeros(0, 6))
    np.testing.assert_array_equal(w.grad.numpy(), np.zeros(6, np.float32))


# ---- of sums ---------------------------------------------------------------------------------------------------------

SUMS = {
    "add_layer_norm": (F.add_layer_norm, F.layer_norm),
    "add_rms_norm": (F.add_rms_norm, F.rms_norm),
}
sums = pytest.mark.parametrize("name", SUMS)


def of_sum(name: str, x: Any, r: Any, w: Any, b: Any) -> Any:
    n = x.shape[-1]
    return F.add_layer_norm(x, r, n, w, b) if name == "add_layer_norm" else F.add_rms_norm(x, r, n, w, 1e-5)


@sums
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_sums_and_their_norms(level: str, name: str, dtype: Any) -> None:
    rng = np.random.default_rng(14)
    for n in (1, 2, 7, 8, 9, 16, 17, 33, 65, 130, 700):
        x, r = (3 * rng.standard_normal((2, 5, n)) + 2).astype(dtype)
        w, b = rng.standard_normal((2, n)).astype(dtype)
        y, total = of_sum(name, x, r, w, b)
        np.testing.assert_array_equal(total, x + r)
        want = expected(name.removeprefix("add_"), total, w, b)
        assert np.abs(y - want).max() <= 64 * np.finfo(dtype).eps * max(np.abs(want).max(), 1), n


@sums
def test_norms_of_sums_are_norms(level: str, name: str) -> None:
    """Bit for bit what the two ops apart give, in both directions, whichever results are used."""
    rng = np.random.default_rng(15)
    values = [rng.standard_normal((6, 70)).astype(np.float32) for _ in range(2)]
    w, b, g, g_sum = (rng.standard_normal(s).astype(np.float32) for s in ((70,), (70,), (6, 70), (6, 70)))
    for uses in (("y",), ("sum",), ("y", "sum"), ("sum", "y")):
        found = []
        for fused in (True, False):
            x, r, weight, bias = leaves = [ml.tensor(v, requires_grad=True) for v in (*values, w, b)]
            if fused:
                y, total = of_sum(name, x, r, weight, bias)
            else:
                total = x + r
                y = F.layer_norm(total, 70, weight, bias) if "layer" in name else F.rms_norm(total, 70, weight, 1e-5)
            parts = {"y": y * ml.tensor(g), "sum": total * ml.tensor(g_sum)}
            loss = parts[uses[0]] if len(uses) == 1 else parts[uses[0]] + parts[uses[1]]
            loss.sum().backward()
            found.append([y.detach(), total.detach(), *(leaf.grad for leaf in leaves)])
        for one, other in zip(*found, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=1e-6)


@sums
def test_gradients_of_both_results_are_one_launch(name: str) -> None:
    x, r = (ml.tensor(np.eye(4, 8, dtype=np.float32), requires_grad=True) for _ in range(2))
    y, total = SUMS[name][0](x, r, 8)
    joint = F.concat([y, total], 1)
    with ml.profile() as profile:
        joint.backward(ml.ones(4, 16))
    calls = {row.name: row.calls for row in profile.rows()}
    assert calls["normalize_rows_gradient"] == 1
    assert "add" not in calls


@sums
def test_strides_nothing_and_errors_of_sums(name: str) -> None:
    call = SUMS[name][0]
    x = np.random.default_rng(16).standard_normal((3, 4, 6)).astype(np.float32)
    r = x[::-1].transpose(0, 2, 1).copy().transpose(0, 2, 1)
    for got, want in zip(call(x, r, 6), call(x, r.copy(), 6), strict=True):
        np.testing.assert_array_equal(got, want)
    assert [v.shape for v in call(x[:0], r[:0], 6)] == [(0, 4, 6)] * 2
    with pytest.raises(ValueError, match=f"{name}: argument 'residual': expected shape"):
        call(x, r[0], 6)
    with pytest.raises(TypeError, match=f"{name}: argument 'residual'"):
        call(x, r.astype(float), 6)
    with pytest.raises(ValueError, match=f"{name}: argument 'normalized_shape'"):
        call(x, r, 5)
    with pytest.raises(ValueError, match=f"{name}: argument 'eps'"):
        call(x, r, 6, eps=-1)
    x[1, 2, 3] = np.nan
    assert np.isnan(call(x, r, 6)[0]).sum() == 6


def test_a_sum_does_not_keep_itself_alive() -> None:
    x = ml.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    gc.collect()
    y, total = F.add_layer_norm(x, x, 3)
    del y, total
    assert gc.collect() == 0


X = np.ones((4, 5, 6), np.float32)
SIX = np.ones(6, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.batch_norm([1.0], None, None), TypeError, "batch_norm: argument 'x': expected a Tensor or ndarray"),
        (lambda: F.batch_norm(SIX, None, None), ValueError, "batch_norm: argument 'x': expected 2 or more dim"),
        (lambda: F.batch_norm(X[:1, :1], None, None), ValueError, "batch_norm: argument 'x': expected more than one"),
        (lambda: F.batch_norm(X, SIX, None), ValueError, "batch_norm: argument 'running_var': expected both"),
        (
            lambda: F.batch_norm(X, SIX[:5], SIX[:5]),
            ValueError,
            "batch_norm: argument 'running_mean': expected 6 values",
        ),
        (lambda: F.batch_norm(X, SIX[:5].copy(), SIX[:5].copy(), training=True), ValueError, "'running_mean'"),
        (lambda: F.batch_norm(X, None, None, momentum=2), ValueError, "batch_norm: argument 'momentum'"),
        (lambda: F.batch_norm(X, None, None, eps=-1), ValueError, "batch_norm: argument 'eps'"),
        (lambda: F.batch_norm(X, None, None, eps=float("nan")), ValueError, "batch_norm: argument 'eps'"),
        (lambda: F.batch_norm(X, None, None, SIX[:5]), ValueError, "batch_norm: argument 'weight'"),
        (lambda: F.batch_norm(X, None, None, SIX, SIX.astype(np.float64)), TypeError, "batch_norm: argument 'bias'"),
        (lambda: F.batch_norm(X, None, None, activation="gelu"), ValueError, "batch_norm: argument 'activation'"),
        (lambda: F.batch_norm(X.astype(int), None, None), TypeError, "batch_norm: argument 'x': expected a floating"),
        (lambda: F.group_norm(X, 4), ValueError, "group_norm: argument 'num_groups': expected a positive div"),
        (lambda: F.group_norm(X, 0), ValueError, "group_norm: argument 'num_groups': expected a positive div"),
        (lambda: F.group_norm(X, 1.5), TypeError, "group_norm: argument 'num_groups': expected an int"),
        (lambda: F.group_norm(X[:, :0], 1), ValueError, "group_norm: argument 'x': expected at least one value"),
        (lambda: F.layer_norm(X, 5), ValueError, "layer_norm: argument 'normalized_shape': expected the last sizes"),
        (lambda: F.layer_norm(X, (5, 6), SIX), ValueError, "layer_norm: argument 'weight': expected shape"),
        (lambda: F.layer_norm(X, ()), ValueError, "layer_norm: argument 'normalized_shape'"),
        (lambda: F.rms_norm(X, (3, 4, 5, 6)), ValueError, "rms_norm: argument 'normalized_shape'"),
        (
            lambda: nn.GroupNorm(4, 6),
            ValueError,
            "GroupNorm: argument 'num_groups': expected a divisor of num_channels=6",
        ),
        (lambda: nn.BatchNorm(0), ValueError, "BatchNorm: argument 'num_features': expected a positive int"),
        (lambda: nn.BatchNorm(3, momentum=float("nan")), ValueError, "BatchNorm: argument 'momentum'"),
        (lambda: nn.LayerNorm(3, eps=-1), ValueError, "LayerNorm: argument 'eps'"),
        (lambda: nn.RMSNorm(-3), ValueError, "RMSNorm: argument 'normalized_shape'"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_a_refused_batch_leaves_running_averages_alone() -> None:
    layer = nn.BatchNorm(6)
    with pytest.raises(ValueError, match="weight"):
        layer(np.ones((4, 5), np.float32))
    np.testing.assert_array_equal(layer.running_mean.numpy(), 0)
