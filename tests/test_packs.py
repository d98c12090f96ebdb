"""Kept panels of a weight: made at the second use, never stale, the same bits, given back."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import _C
from mlext import functional as F

Array = np.ndarray[Any, Any]

# Rows with kept panels, and on both sides of where dot products and large products begin; partial panels and blocks.
SHAPES = [
    (1, 40, 30),
    (6, 64, 100),
    (7, 64, 100),
    (9, 48, 33),
    (16, 33, 257),
    (24, 100, 1500),
    (70, 130, 96),
    (513, 40, 40),
]


def draw(rng: np.random.Generator, *shape: int, dtype: Any = np.float32) -> Array:
    return rng.standard_normal(shape).astype(dtype)


def bits(x: Any) -> bytes:
    return np.ascontiguousarray(x.numpy()).tobytes()


def allocations(call: Callable[[], Any]) -> int:
    before = ml.memory_stats()["allocations"]
    call()
    return ml.memory_stats()["allocations"] - before


@pytest.fixture
def pair() -> tuple[ml.Tensor, ml.Tensor]:
    """16 rows and a weight that is worth keeping."""
    rng = np.random.default_rng(3)
    return ml.tensor(draw(rng, 16, 80)), ml.tensor(draw(rng, 50, 80))


def expect_fresh(x: ml.Tensor, weight: ml.Tensor) -> None:
    """What linear gives is what a weight that nothing was kept of gives."""
    assert bits(F.linear(x, weight)) == bits(F.linear(x, ml.tensor(weight.numpy().copy())))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bits_do_not_depend_on_what_was_kept(level: str, shape: tuple[int, int, int], dtype: str) -> None:
    m, n, k = shape
    rng = np.random.default_rng(0)
    x, w, b = (ml.tensor(draw(rng, *s), dtype=dtype) for s in ((m, k), (n, k), (n,)))
    results = [bits(F.linear(x, w, b, activation="relu")) for _ in range(4)]
    products = [bits(x @ w.T) for _ in range(4)]
    inner = ml.tensor(draw(rng, k, n), dtype=dtype)
    others = [bits(x @ inner) for _ in range(4)]
    for found in (results, products, others):
        assert found == [found[0]] * 4


def test_batches_of_any_size_use_their_own_panels(level: str) -> None:
    """How wide panels are depends on how many rows there are."""
    rng = np.random.default_rng(4)
    weight = draw(rng, 100, 80)
    w = ml.tensor(weight)
    for _ in range(3):
        for rows in (7, 12, 16, 8, 14, 30):
            x = ml.tensor(draw(rng, rows, 80))
            assert bits(F.linear(x, w)) == bits(F.linear(x, ml.tensor(weight)))


def test_a_level_uses_its_own_panels(pair: tuple[ml.Tensor, ml.Tensor]) -> None:
    x, w = pair
    before = _C.get_isa()
    try:
        for _ in range(2):
            for level in _C.levels():
                _C.set_isa(level)
                np.testing.assert_allclose(F.linear(x, w).numpy(), x.numpy() @ w.numpy().T, rtol=1e-4, atol=1e-4)
    finally:
        _C.set_isa(before)


def test_the_second_use_packs_and_later_ones_do_not(pair: tuple[ml.Tensor, ml.Tensor]) -> None:
    x, w = pair
    found = [allocations(lambda: F.linear(x, w)) for _ in range(5)]
    assert found == [1, 2, 1, 1, 1]  # the result; and once the panels


def test_prediction_never_packs_again() -> None:
    rng = np.random.default_rng(1)
    model = ml.nn.Sequential(ml.nn.Linear(80, 64), ml.nn.ReLU(), ml.nn.Linear(64, 30))
    x = draw(rng, 32, 80)
    for _ in range(3):
        model.predict(x)
    counts = [allocations(lambda: model.predict(x)) for _ in range(5)]
    assert counts == [1] * 5


def test_training_does_not_pack(pair: tuple[ml.Tensor, ml.Tensor]) -> None:
    x, w = pair
    weight = ml.Parameter(w)
    optimizer = ml.optim.SGD([weight], lr=0.1)

    def step() -> None:
        loss = F.linear(x, weight).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(2):
        step()
    once = allocations(step)
    assert [allocations(step) for _ in range(4)] == [once] * 4
    with ml.no_grad():
        uses = [allocations(lambda: F.linear(x, weight)) for _ in range(3)]
    assert sum(uses) == 4  # and the panels that step() did not keep


def optimizer_step(w: ml.Tensor) -> None:
    w.requires_grad = True
    w.grad = ml.ones(*w.shape)
    ml.optim.SGD([w], lr=0.5).step()
    w.requires_grad = False
    w.grad = None


def step_that_throws_after_writing(w: ml.Tensor) -> None:
    w.requires_grad = True
    w.grad = ml.ones(*w.shape)
    w.grad.numpy()[0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="produced NaN"), ml.nan_check():
        ml.optim.SGD([w], lr=0.5).step()
    w.requires_grad = False
    w.grad = None


def write_through_numpy(w: ml.Tensor) -> None:
    w.numpy()[3, 5] += 1


def write_through_a_view(w: ml.Tensor) -> None:
    w.T[5:7].numpy()[...] += 4


def assign(w: ml.Tensor) -> None:
    w[2:4] = w[2:4] + 7.0


CHANGES = [optimizer_step, step_that_throws_after_writing, write_through_numpy, write_through_a_view, assign]


@pytest.mark.parametrize("change", CHANGES)
def test_panels_are_never_stale(pair: tuple[ml.Tensor, ml.Tensor], change: Callable[[ml.Tensor], None]) -> None:
    x, w = pair
    for _ in range(3):
        before = [bits(F.linear(x, w)) for _ in range(3)]
        change(w)
        assert bits(F.linear(x, w)) != before[0]
        for _ in range(3):
            expect_fresh(x, w)


def test_an_array_that_lives_on_may_write_at_any_time(pair: tuple[ml.Tensor, ml.Tensor]) -> None:
    x, w = pair
    for _ in range(3):
        F.linear(x, w)
    row = w.numpy()[1:2].T  # a view of a view: its base keeps the memory
    for value in range(5):
        row[...] = value
        F.linear(x, w)
        expect_fresh(x, w)
        assert allocations(lambda: F.linear(x, w)) == 1  # nothing is kept meanwhile
    del row
    gc.collect()
    assert sum(allocations(lambda: F.linear(x, w)) for _ in range(3)) == 4


def test_memory_of_others_is_never_kept() -> None:
    rng = np.random.default_rng(5)
    x, array = draw(rng, 16, 80), draw(rng, 50, 80)
    weight = ml.Tensor(array)  # over the same memory
    for value in range(4):
        array[0] = value
        for w in (array, weight):
            got = np.asarray(F.linear(ml.tensor(x), w))
            np.testing.assert_allclose(got, x @ array.T, rtol=1e-4, atol=1e-4)


def test_a_replay_that_changes_the_weight_between_two_uses() -> None:
    def build() -> tuple[Callable[[Any], Any], ml.Parameter]:
        rng = np.random.default_rng(7)
        weight = ml.Parameter(ml.tensor(draw(rng, 50, 80)))
        optimizer = ml.optim.SGD([weight], lr=0.01)

        def step(x: ml.Tensor) -> ml.Tensor:
            total = F.linear(x, weight).mean() + F.linear(x * 2.0, weight).mean() + F.linear(x, weight).sum()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            with ml.no_grad():
                return F.linear(x, weight) + F.linear(x, weight)

        return step, weight

    x = draw(np.random.default_rng(8), 16, 80)
    eager, eager_weight = build()
    compiled, weight = build()
    compiled = ml.compile(compiled)
    for _ in range(5):
        assert bits(eager(ml.tensor(x))) == bits(compiled(ml.tensor(x)))
    assert bits(eager_weight) == bits(weight)


def test_a_weight_that_is_computed_in_a_replay() -> None:
    @ml.compile
    def call(x: ml.Tensor, scale: ml.Tensor) -> ml.Tensor:
        weight = base * scale
        return F.linear(x, weight) + F.linear(x, weight) + F.linear(x, weight)

    rng = np.random.default_rng(9)
    base, x = ml.tensor(draw(rng, 50, 80)), draw(rng, 16, 80)
    for value in range(1, 6):
        got = call(ml.tensor(x), ml.tensor(np.float32(value))).numpy()
        np.testing.assert_allclose(got, 3 * value * (x @ base.numpy().T), rtol=1e-4, atol=1e-3)


def test_panels_go_with_the_weight() -> None:
    rng = np.random.default_rng(2)
    x = ml.tensor(draw(rng, 16, 300))
    gc.collect()
    start = ml.memory_stats()["in_use"]
    weight = ml.tensor(draw(rng, 200, 300))
    alone = ml.memory_stats()["in_use"]
    for _ in range(3):
        F.linear(x, weight)
    assert ml.memory_stats()["in_use"] >= alone + weight.nbytes
    del weight
    gc.collect()
    assert ml.memory_stats()["in_use"] == start


def test_many_parts_of_one_weight() -> None:
    rng = np.random.default_rng(4)
    x, weight = ml.tensor(draw(rng, 16, 80)), ml.tensor(draw(rng, 320, 80))
    expected = x.numpy() @ weight.numpy().T
    for _ in range(3):
        for first in range(0, 320, 40):  # twice as many parts as are kept
            got = F.linear(x, weight[first : first + 40]).numpy()
            np.testing.assert_allclose(got, expected[:, first : first + 40], rtol=1e-4, atol=1e-4)


def test_threads_that_pack_at_once(pair: tuple[ml.Tensor, ml.Tensor]) -> None:
    x, _ = pair
    expected: dict[int, bytes] = {}
    wrong: list[int] = []
    weights = [ml.tensor(draw(np.random.default_rng(i), 50, 80)) for i in range(40)]
    for i, w in enumerate(weights):
        expected[i] = bits(F.linear(x, ml.tensor(w.numpy().copy())))
    barrier = threading.Barrier(4)

    def work() -> None:
        for i, w in enumerate(weights):
            barrier.wait()
            wrong.extend(i for _ in range(4) if bits(F.linear(x, w)) != expected[i])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
