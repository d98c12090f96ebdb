"""The CTC loss: against the sum over all paths, formulas in NumPy, PyTorch, differences, and what it must refuse."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests import oracle

import mlext as ml
from _simd_tools import GuardedPage
from gradcheck import check_gradient
from mlext import _C, losses, metrics

Array = np.ndarray[Any, Any]
INF = float("inf")

# (N, T, C, S): fewer labels than lanes, all but one of them, as many, several vectors; short rows and long ones.
SIZES = [(3, 7, 4, 2), (2, 20, 5, 7), (3, 25, 40, 8), (2, 60, 3, 16), (2, 90, 33, 41), (1, 1, 600, 1)]


def draw(sizes: tuple[int, int, int, int], seed: int = 0, blank: int = 0, spread: float = 2.0) -> tuple[Array, ...]:
    """Scores, labels, and lengths that leave room for every label and a blank beside it, but for the first sequence."""
    n, t, c, s = sizes
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c - 1, (n, s))
    labels += labels >= blank
    counts = rng.integers(0, s + 1, n)
    counts[0] = s
    frames = np.maximum(rng.integers(t // 2, t + 1, n), np.minimum(2 * counts, t))
    return spread * rng.standard_normal((n, t, c)), labels, frames, counts


def expected(x: Array, labels: Array, frames: Any, counts: Any, blank: int = 0) -> tuple[Array, Array]:
    """Losses and gradients of the oracle."""
    values, slopes = np.zeros(len(x)), np.zeros_like(x)
    for n in range(len(x)):
        values[n], slopes[n, : frames[n]] = oracle.ctc(x[n, : frames[n]], labels[n, : counts[n]], blank)
    return values, slopes


def losses_and_slopes(x: Array, labels: Any, **options: Any) -> tuple[Array, Array]:
    """Those of each sequence."""
    scores = ml.tensor(x, requires_grad=True)
    each = losses.ctc(scores, labels, reduction="none", **options)
    each.sum().backward()
    assert scores.grad is not None
    assert scores.grad.dtype == scores.dtype == each.dtype
    return each.detach().numpy(), scores.grad.numpy()


def spells(path: tuple[int, ...], blank: int) -> list[int]:
    return [c for c, _ in itertools.groupby(path) if c != blank]


@pytest.mark.parametrize("labels", [[], [1], [2, 1], [1, 1], [2, 2, 1], [0, 2, 0]])
@pytest.mark.parametrize("frames", [0, 1, 3, 5])
def test_sum_over_all_paths(level: str, labels: list[int], frames: int) -> None:
    blank = 0 if 0 not in labels else 1
    x = np.random.default_rng(1).standard_normal((1, frames, 3))
    p = oracle.softmax(x[0]) if frames else x[0]
    total, shares = 0.0, np.zeros((frames, 3))
    for path in itertools.product(range(3), repeat=frames):
        if spells(path, blank) == labels:
            chance = float(np.prod(p[np.arange(frames), list(path)]))
            total += chance
            shares[np.arange(frames), list(path)] += chance
    got, slopes = losses_and_slopes(x, np.array([labels], int), blank=blank)
    if total == 0:
        assert got[0] == INF
        assert np.isnan(slopes).all()
    else:
        np.testing.assert_allclose(got, -np.log(total), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(slopes[0], p - shares / total, atol=1e-14)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("spread", [0.0, 2.0, 300.0])  # 300: ways that differ by more than the range of float64
def test_values_are_those_of_the_formulas(level: str, sizes: tuple[int, int, int, int], spread: float) -> None:
    blank = sizes[2] - 1
    x, labels, frames, counts = draw(sizes, 2, blank, spread)
    options = {"input_lengths": frames, "target_lengths": counts, "blank": blank}
    for dtype, tolerance in (("float64", 1e-12 * max(spread, 1.0)), ("float32", 2e-6)):
        scores = x.astype(dtype)
        values, slopes = expected(scores.astype(np.float64), labels, frames, counts, blank)
        got = losses_and_slopes(scores, labels, **options)
        np.testing.assert_allclose(got[0], values, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(got[1], slopes, atol=tolerance)
        assert losses.ctc(scores, labels, reduction="none", **options).tobytes() == got[0].tobytes()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("sizes", SIZES[:5])
def test_equal_to_torch(sizes: tuple[int, int, int, int], reduction: str) -> None:
    torch = pytest.importorskip("torch")
    blank = 1
    x, labels, frames, counts = draw(sizes, 3, blank)
    g = np.random.default_rng(4).standard_normal(len(x) if reduction == "none" else ())
    ours, theirs = ml.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    options: dict[str, Any] = {"blank": blank, "reduction": reduction}
    loss = losses.ctc(ours, labels, input_lengths=frames, target_lengths=counts, **options)
    log_p = theirs.log_softmax(-1).transpose(0, 1)
    right = torch.nn.functional.ctc_loss(log_p, *map(torch.tensor, (labels, frames, counts)), **options)
    (loss * ml.tensor(g)).sum().backward()
    (right * torch.tensor(g)).sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), right.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradients_are_those_of_differences(reduction: str) -> None:
    x, labels, frames, counts = draw((4, 12, 5, 4), 5)
    check_gradient(
        lambda a: losses.ctc(a, labels, input_lengths=frames, target_lengths=counts, reduction=reduction),
        x,
    )


def test_log_probabilities_are_scores() -> None:
    x, labels, *_ = draw((2, 15, 6, 5), 6)
    np.testing.assert_allclose(losses.ctc(oracle.log_softmax(x), labels), losses.ctc(x, labels), rtol=1e-13)


@pytest.mark.parametrize("spread", [0.0, 4.0])
def test_ten_thousand_frames(level: str, spread: float) -> None:
    x, labels, _, counts = draw((1, 10_000, 12, 40), 7, spread=spread)
    values, slopes = expected(x.astype(np.longdouble), labels, [10_000], counts)
    got = losses_and_slopes(x, labels)
    unit = 2.0**-53
    distance = 8 * 10_000 * unit * (1 + float((x.max(-1, keepdims=True) - x).max()))
    if np.finfo(np.longdouble).eps > unit / 1000:  # the oracle is no better than the kernel
        distance += 1e-8
    np.testing.assert_allclose(got[0], values.astype(float), rtol=4 * unit, atol=distance)
    np.testing.assert_allclose(got[1], slopes.astype(float), atol=distance)
    single = x.astype(np.float32)
    values, slopes = expected(single.astype(np.float64), labels, [10_000], counts)
    got = losses_and_slopes(single, labels)
    np.testing.assert_allclose(got[0], values, rtol=1e-6)
    np.testing.assert_allclose(got[1], slopes, atol=1e-6)


# ---- lengths, and what has none --------------------------------------------------------------------------------------


def test_padding_is_not_read(level: str) -> None:
    x, labels, frames, counts = draw((4, 20, 5, 6), 8)
    options = {"input_lengths": frames, "target_lengths": counts}
    right = losses_and_slopes(x, labels, **options)
    for n in range(len(x)):
        x[n, frames[n] :] = np.nan
        labels[n, counts[n] :] = 0 if n % 2 else 10**6
    got = losses_and_slopes(x, labels, **options)
    assert got[0].tobytes() == right[0].tobytes()
    assert got[1].tobytes() == right[1].tobytes()
    assert all((got[1][n, frames[n] :] == 0).all() for n in range(len(x)))


def test_nothing_beyond_the_arrays_is_touched(level: str, pages: list[GuardedPage]) -> None:
    for dtype in ("float32", "float64"):
        x, labels, *_ = draw((1, 9, 5, 3), 9)
        right = losses.ctc(x.astype(dtype), labels)
        for name in ("begin", "end"):
            a, b = getattr(pages[0], name)(x.astype(dtype)), getattr(pages[1], name)(labels)
            assert losses.ctc(a, b) == right
            assert _C.ctc(a, b, None, None, 0, False, "mean", True)[0] == right


def test_lengths_come_in_every_form() -> None:
    x, labels, frames, counts = draw((3, 20, 5, 6), 10)
    right = losses.ctc(x, labels, input_lengths=frames, target_lengths=counts)
    for make in (list, ml.tensor, lambda a: a.astype(np.uint8), lambda a: ml.tensor(a.astype(np.int32))):
        got = losses.ctc(x, labels, input_lengths=make(frames), target_lengths=make(counts))
        assert float(got) == right
    assert isinstance(losses.ctc(x, labels, input_lengths=list(frames)), np.generic | np.ndarray)
    for made in (labels.astype(np.int32), labels.astype(np.uint16), ml.tensor(labels.astype(np.int32))):
        assert float(losses.ctc(x, made)) == losses.ctc(x, labels)
    np.testing.assert_array_equal(losses.ctc(np.asfortranarray(x), np.asfortranarray(labels)), losses.ctc(x, labels))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_targets_that_do_not_fit(reduction: str) -> None:
    x, labels, *_ = draw((3, 4, 5, 3), 11)
    labels[1] = 2  # three times the same needs five frames
    labels[0], labels[2] = [1, 2, 3], [3, 1, 2]
    for zero in (False, True):
        scores = ml.tensor(x, requires_grad=True)
        loss = losses.ctc(scores, labels, zero_infinity=zero, reduction=reduction)
        loss.sum().backward()
        slopes, values = scores.grad.numpy(), loss.detach().numpy()
        assert np.isfinite(slopes[[0, 2]]).all()
        assert (slopes[1] == 0).all() if zero else np.isnan(slopes[1]).all()
        assert np.isfinite(np.delete(values, 1) if reduction == "none" else values).all() == (zero or values.ndim > 0)
        if reduction == "none":
            assert values[1] == (0 if zero else INF)


def test_empty_targets_are_all_blanks() -> None:
    x = np.random.default_rng(12).standard_normal((2, 6, 4))
    right = -oracle.log_softmax(x)[:, :, 2].sum(1)
    for labels, counts in ((np.zeros((2, 0), int), None), (np.full((2, 3), 2), [0, 0])):
        got = losses.ctc(x, labels, target_lengths=counts, blank=2, reduction="none")
        np.testing.assert_allclose(got, right, rtol=1e-14)
        assert losses.ctc(x, labels, target_lengths=counts, blank=2) == pytest.approx(right.mean(), rel=1e-14)


def test_nothing_at_all() -> None:
    for shape, labels in (((0, 5, 3), (0, 2)), ((0, 0, 3), (0, 0))):
        x = ml.tensor(np.zeros(shape), requires_grad=True)
        loss = losses.ctc(x, np.ones(labels, int), input_lengths=[], target_lengths=[])
        loss.backward()
        assert loss.item() == 0
        assert x.grad.shape == shape
    assert losses.ctc(np.zeros((0, 5, 3)), np.ones((0, 2), int), reduction="none").shape == (0,)
    no_frames = losses.ctc(np.zeros((2, 0, 3)), np.ones((2, 1), int), target_lengths=[0, 1], reduction="none")
    assert no_frames.tolist() == [0, INF]
    assert losses.ctc(np.zeros((1, 3, 1)), np.zeros((1, 0), int)) == 0  # the blank is the only class


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_extreme_scores(level: str) -> None:
    x = np.zeros((5, 2, 3), np.float32)
    x[0, :, 0] = -1e30  # a path without it
    x[1, :, 1] = -1e30  # no path without it
    x[2, :, 1] = -INF
    x[3, 1, 2] = np.nan
    x[4, 0, 2] = INF
    got, slopes = losses_and_slopes(x, np.ones((5, 1), int))
    assert got[0] == pytest.approx(np.log(4), rel=1e-6)
    assert got[1] == pytest.approx(1e30, rel=1e-6)
    assert got[2] == INF
    assert np.isnan(got[3:]).all()
    assert np.isfinite(slopes[:2]).all()
    assert np.isnan(slopes[2:]).all()
    zero = losses.ctc(x, np.ones((5, 1), int), zero_infinity=True, reduction="none")
    assert zero[2] == 0
    assert np.isnan(zero[3:]).all()


@pytest.mark.parametrize(("dtype", "unit"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
def test_half_types_are_storage(dtype: str, unit: float) -> None:
    x, labels, *_ = draw((2, 30, 5, 6), 13)
    scores = ml.tensor(x).astype(dtype)
    exact = scores.astype("float32").numpy()
    half = ml.tensor(scores, requires_grad=True)
    loss = losses.ctc(half, labels)
    (loss * 1024.0).backward()
    assert half.grad.dtype == loss.dtype == half.dtype
    single = ml.tensor(exact, requires_grad=True)
    right = losses.ctc(single, labels)
    (right * 1024.0).backward()
    assert loss.item() == pytest.approx(right.item(), rel=unit)
    got = half.grad.astype("float32").numpy()
    np.testing.assert_allclose(got, single.grad.numpy(), rtol=unit, atol=1e-7)


def test_bits_depend_neither_on_threads_nor_on_the_batch(threads: Callable[[int], None]) -> None:
    x, labels, frames, counts = draw((9, 200, 20, 30), 14)
    options = {"input_lengths": frames, "target_lengths": counts}
    threads(1)
    right = losses_and_slopes(x.astype(np.float32), labels, **options)
    for count in (2, 5):
        threads(count)
        for a, b in zip(losses_and_slopes(x.astype(np.float32), labels, **options), right, strict=True):
            assert a.tobytes() == b.tobytes()
    for n in range(len(x)):
        alone = {name: lengths[n : n + 1] for name, lengths in options.items()}
        got = losses_and_slopes(x[n : n + 1].astype(np.float32), labels[n : n + 1], **alone)
        assert got[0][0] == right[0][n]
        assert got[1].tobytes() == right[1][n].tobytes()


# ---- the house -------------------------------------------------------------------------------------------------------


def test_replays_are_eager_and_read_labels_again() -> None:
    w = ml.tensor(np.random.default_rng(15).standard_normal((5, 5)), requires_grad=True)
    counts = ml.tensor([3, 2])

    def step(x: Any, labels: Any, frames: Any) -> Any:
        w.grad = None
        loss = losses.ctc(x @ w, labels, input_lengths=frames, target_lengths=counts)
        loss.backward()
        return loss

    compiled = ml.compile(step)
    for seed in range(4):
        x, labels, frames, _ = draw((2, 12, 5, 3), seed)
        frames = np.maximum(frames, 7)
        got = compiled(x, labels, frames).item(), w.grad.numpy().copy()
        assert got[0] == step(ml.tensor(x), labels, frames).item()
        np.testing.assert_array_equal(got[1], w.grad.numpy())
    for label in (5, 0):
        labels[1, 1] = label
        with pytest.raises(IndexError, match=rf"label {label} at position \(1, 1\)"):
            compiled(x, labels, frames)


def test_labels_that_are_none() -> None:
    x, labels = np.zeros((2, 6, 4), np.float32), np.ones((2, 3), int)
    for label, why in ((4, "out of range for 4 classes"), (-1, "out of range"), (0, "the blank")):
        labels[1, 2] = label
        with pytest.raises(IndexError, match=rf"ctc: label {label} at position \(1, 2\) is {why}"):
            losses.ctc(x, labels)
        losses.ctc(x, labels, target_lengths=[3, 2])


X, Y = np.zeros((2, 6, 4), np.float32), np.ones((2, 3), int)
REFUSED: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
    (X[0], Y, {}, ValueError, r"argument 'prediction': expected 3 dimensions \(N, T, C\), got shape \(6, 4\)"),
    (X[:, :, :0], Y, {}, ValueError, "argument 'prediction': expected at least one class"),
    (X.astype(int), Y, {}, TypeError, "argument 'prediction': expected a floating dtype"),
    (X, Y.astype(float), {}, TypeError, "argument 'target': expected an integer dtype, got float64"),
    (X, Y[:1], {}, ValueError, r"argument 'target': expected shape \(2, S\).* got \(1, 3\)"),
    (X, Y[0], {}, ValueError, "argument 'target'"),
    (X, [[1], [2]], {}, TypeError, "argument 'target'"),
    (X, Y, {"input_lengths": [7, 6]}, ValueError, "'input_lengths': expected lengths from 0 to 6.* 7 at position 0"),
    (X, Y, {"input_lengths": [6, -1]}, ValueError, "'input_lengths': .* -1 at position 1"),
    (X, Y, {"input_lengths": [6]}, ValueError, r"'input_lengths': expected shape \(2,\) \(one per sequence\)"),
    (X, Y, {"input_lengths": [6.0, 5.0]}, TypeError, "'input_lengths': expected integers, got float64"),
    (X, Y, {"target_lengths": [3, 4]}, ValueError, "'target_lengths': expected lengths from 0 to 3.* 4 at position 1"),
    (X, Y, {"target_lengths": ml.tensor([1.0, 2.0])}, TypeError, "'target_lengths': expected an integer dtype"),
    (X, Y, {"blank": 4}, ValueError, "'blank': expected a class, 0 to 3, got 4"),
    (X, Y, {"blank": -1}, ValueError, "'blank'"),
    (X, Y, {"reduction": "average"}, ValueError, "'reduction': expected 'mean', 'sum' or 'none', got 'average'"),
]


@pytest.mark.parametrize(("x", "labels", "options", "error", "message"), REFUSED)
def test_refusals(x: Any, labels: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"ctc: .*{message}"):
        losses.ctc(x, labels, **options)


# ---- decoding --------------------------------------------------------------------------------------------------------


def test_greedy_decode_spells_the_best_path() -> None:
    x = np.random.default_rng(16).standard_normal((6, 30, 4))
    lengths = np.array([30, 0, 1, 17, 29, 30])
    for blank in (0, 3):
        found = metrics.ctc_greedy_decode(x, lengths, blank)
        for path, n, got in zip(x.argmax(-1), lengths, found, strict=True):
            assert got.dtype == np.int64
            assert got.tolist() == spells(tuple(path[:n].tolist()), blank)
    assert [d.tolist() for d in metrics.ctc_greedy_decode(ml.tensor(x))] == [
        d.tolist() for d in metrics.ctc_greedy_decode(x, np.full(6, 30))
    ]
    assert metrics.ctc_greedy_decode(np.zeros((0, 5, 3))) == []
    for options in ({"input_lengths": [31] * 6}, {"input_lengths": [3]}, {"blank": 4}):
        with pytest.raises(ValueError, match=f"argument '{next(iter(options))}'"):
            metrics.ctc_greedy_decode(x, **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="argument 'input_lengths'"):
        metrics.ctc_greedy_decode(x, np.full(6, 2.0))
    with pytest.raises(ValueError, match="argument 'prediction'"):
        metrics.ctc_greedy_decode(x[0])
