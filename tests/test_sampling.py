"""Drawing classes: shares, restrictions on their own and together, ties, the same draws for a seed, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import functional as F

Array = np.ndarray[Any, Any]
SHARES = np.array([0.05, 0.4, 0.1, 0.3, 0.15])


def drawn(shares: Any, **options: Any) -> set[int]:
    """What comes up in 2,000 draws."""
    return set(F.sample(np.tile(np.log(shares), (2000, 1)), rng=0, **options).tolist())


def kept(scores: Array, top_k: int | None, top_p: float | None, min_p: float | None) -> list[int]:
    """What may be drawn from one row, by the definitions."""
    p = np.exp(scores - scores.max())
    p /= p.sum()
    if top_k is not None:
        p[p < np.sort(p)[::-1][min(top_k, len(p)) - 1]] = 0
        p /= p.sum()
    if top_p is not None:
        order = np.argsort(p, kind="stable")[::-1]
        before = np.cumsum(p[order]) - p[order]
        p[order[before >= top_p]] = 0
    if min_p is not None:
        p[p < min_p * p.max()] = 0
    return np.flatnonzero(p).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_classes_come_with_their_probabilities(dtype: Any) -> None:
    logits = np.tile(np.log(SHARES) + 3, (20000, 1)).astype(dtype)
    for temperature in (1.0, 0.5, 2.0):
        right = SHARES ** (1 / temperature)
        found = F.sample(logits, temperature=temperature, rng=1)
        assert found.dtype == np.int64
        np.testing.assert_allclose(np.bincount(found, minlength=5) / 20000, right / right.sum(), atol=0.015)


def test_shapes_and_kinds() -> None:
    logits = np.random.default_rng(0).standard_normal((2, 3, 7)).astype(np.float32)
    for given in (logits, ml.tensor(logits), ml.tensor(logits, requires_grad=True), logits[:, ::-1][:, ::-1]):
        found = F.sample(given, rng=3)
        assert isinstance(found, np.ndarray)
        assert found.shape == (2, 3)
        np.testing.assert_array_equal(found, F.sample(logits, rng=3))
    assert F.sample(logits[0, 0], rng=0).shape == ()
    assert F.sample(logits[:0], rng=0).shape == (0, 3)
    assert F.sample(np.zeros((4, 1)), rng=0).tolist() == [0] * 4
    halves = F.sample(ml.tensor(logits, dtype="bfloat16"), temperature=0)
    assert halves.shape == (2, 3)


def test_draws_are_those_of_the_seed() -> None:
    logits = np.random.default_rng(1).standard_normal((50, 100))
    np.testing.assert_array_equal(F.sample(logits, rng=5), F.sample(logits, rng=5))
    assert (F.sample(logits, rng=5) != F.sample(logits, rng=6)).any()
    generator = ml.random.Generator(5)
    first, second = F.sample(logits, rng=generator), F.sample(logits, rng=generator)
    np.testing.assert_array_equal(first, F.sample(logits, rng=5))
    assert (first != second).any()
    ml.manual_seed(9)
    one = F.sample(logits)
    ml.manual_seed(9)
    np.testing.assert_array_equal(one, F.sample(logits))


def test_the_most_likely_one() -> None:
    logits = np.array([[1.0, 5.0, 5.0], [2.0, 1.0, 0.0]])
    assert F.sample(logits, temperature=0).tolist() == [1, 0]
    assert F.sample(logits[1:], temperature=1e-6, rng=0).tolist() == [0]
    huge = np.array([-3e38, 3e38, 0], np.float32)
    assert F.sample(huge, temperature=1e-3, rng=0) == 1
    assert F.sample(huge, temperature=1e-300, rng=0) == 1
    flat = F.sample(np.tile(np.array([0, 5, -np.inf], np.float32), (100, 1)), temperature=1e300, rng=0)
    assert set(flat.tolist()) == {0, 1}
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):
        assert drawn(SHARES, **options) == {1}


def test_restrictions_alone() -> None:
    assert drawn(SHARES) == {0, 1, 2, 3, 4}
    assert drawn(SHARES, top_k=2) == {1, 3}
    assert drawn(SHARES, top_k=99) == {0, 1, 2, 3, 4}
    assert drawn(SHARES, top_p=0.69) == {1, 3}
    assert drawn(SHARES, top_p=0.71) == {1, 3, 4}
    assert drawn(SHARES, top_p=1.0) == {0, 1, 2, 3, 4}
    assert drawn(SHARES, min_p=0.37) == {1, 3, 4}
    assert drawn(SHARES, min_p=0.0) == {0, 1, 2, 3, 4}
    # A sum that is reached exactly needs no more: of powers of 2.
    assert drawn([0.5, 0.25, 0.125, 0.125], top_p=0.75) == {0, 1}
    assert drawn([0.5, 0.25, 0.125, 0.125], top_p=0.7500001) == {0, 1, 3}


def test_ties() -> None:
    assert drawn([0.2, 0.2, 0.4, 0.2], top_k=2) == {0, 1, 2, 3}
    assert drawn([0.25] * 4, top_p=0.5) == {2, 3}
    many = np.zeros((400, 2000))
    found = F.sample(many, top_p=0.01, rng=0)
    assert (found >= 1980).all()


def test_restrictions_together() -> None:
    rng = np.random.default_rng(2)
    for classes in (3, 40, 700, 3000):
        scores = rng.standard_normal(classes) * 2
        for options in [(5, 0.8, None), (None, 0.9, 0.1), (classes // 2, 0.95, 0.01), (None, 0.999, None)]:
            top_k, top_p, min_p = options
            allowed = kept(scores, *options)
            found = F.sample(np.tile(scores, (300, 1)), top_k=top_k, top_p=top_p, min_p=min_p, rng=0)
            assert set(found.tolist()) <= set(allowed)
            if len(allowed) < 10:
                assert set(found.tolist()) == set(allowed)


def test_as_transformers_does() -> None:
    """The rules of its TopK, TopP and MinP warpers, in torch."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    for _ in range(20):
        scores = np.round(rng.standard_normal(30) * 2, 1)  # with ties
        t = torch.tensor(scores)
        t = t.masked_fill(t < torch.topk(t, 12)[0][-1], -torch.inf)
        ascending, order = torch.sort(t, stable=True)
        remove = ascending.softmax(-1).cumsum(-1) <= 1 - 0.85
        remove[-1:] = False
        t[order[remove]] = -torch.inf
        p = t.softmax(-1)
        t[p < 0.05 * p.max()] = -torch.inf
        allowed = set(torch.nonzero(torch.isfinite(t))[:, 0].tolist())
        assert allowed == set(kept(scores, 12, 0.85, 0.05))
        found = F.sample(np.tile(scores, (3000, 1)), top_k=12, top_p=0.85, min_p=0.05, rng=0)
        assert set(found.tolist()) == allowed


def test_classes_that_cannot_be() -> None:
    logits = np.array([0.0, -np.inf, 0.0, -np.inf])
    assert set(F.sample(np.tile(logits, (500, 1)), rng=0).tolist()) == {0, 2}
    assert set(F.sample(np.tile(logits, (500, 1)), top_k=3, top_p=0.999, rng=0).tolist()) == {0, 2}


def test_many_classes() -> None:
    logits = np.random.default_rng(4).standard_normal((3, 128_000)).astype(np.float32) * 4
    for options in ({}, {"top_k": 50}, {"top_p": 0.9}, {"top_p": 0.9999}, {"min_p": 0.1}):
        found = F.sample(logits, rng=0, **options)
        for row, got in zip(logits.astype(float), found, strict=True):
            assert got in kept(row, *(options.get(name) for name in ("top_k", "top_p", "min_p")))


X = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.sample(X, temperature=-0.1), ValueError, "sample: argument 'temperature': expected a finite number"),
        (lambda: F.sample(X, temperature=np.nan), ValueError, "sample: argument 'temperature'"),
        (lambda: F.sample(X, top_k=0), ValueError, "sample: argument 'top_k': expected a positive int, got 0"),
        (lambda: F.sample(X, top_k=1.5), TypeError, "sample: argument 'top_k': expected an int"),
        (lambda: F.sample(X, top_p=0.0), ValueError, r"sample: argument 'top_p': expected a number in \(0, 1\], got 0"),
        (lambda: F.sample(X, top_p=1.01), ValueError, "sample: argument 'top_p'"),
        (lambda: F.sample(X, top_p=np.nan), ValueError, "sample: argument 'top_p'"),
        (lambda: F.sample(X, min_p=-0.1), ValueError, r"sample: argument 'min_p': expected a number in \[0, 1\]"),
        (lambda: F.sample(X.astype(int)), TypeError, "sample: argument 'logits': expected a floating dtype, got int64"),
        (lambda: F.sample([1.0]), TypeError, "sample: argument 'logits': expected a Tensor or ndarray, got list"),
        (lambda: F.sample(X[:, :0]), ValueError, r"sample: argument 'logits': expected shape \(..., C\)"),
        (lambda: F.sample(X[0, 0]), TypeError, "sample: argument 'logits'"),
        (lambda: F.sample(np.array([[1.0, 2.0], [np.nan, 1.0]])), ValueError, "'logits': expected numbers .* in row 1"),
        (lambda: F.sample(np.array([1.0, np.inf])), ValueError, "'logits': expected numbers or -inf"),
        (lambda: F.sample(np.full(3, -np.inf)), ValueError, "'logits': expected .* at least one number in a row"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
