"""What reaches a kernel and what is refused, and with which words."""

import numpy as np
import pytest

import mlext as ml
import mlext.functional as F
from mlext import _C

X = np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    "value",
    [
        np.array(["1", "2"]),
        np.array([b"1"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, "f4,i4"),
        np.array([None, 1], object),
        np.zeros(2, np.complex64),
        np.zeros(2, np.int16),
        np.zeros(2, np.longdouble),
    ],
    ids=lambda v: str(v.dtype),
)
def test_dtypes_we_do_not_have(value):
    with pytest.raises(TypeError, match=r"exp: argument 'x': expected dtype float32.*, got "):
        F.exp(value)


@pytest.mark.parametrize("value", [None, "text", [[1.0, 2.0], [3.0]], [1.0], 2.0, (n for n in range(3)), object()])
def test_what_is_not_an_array(value):
    with pytest.raises(TypeError, match="exp: argument 'x': expected a Tensor or ndarray, got "):
        F.exp(value)


def test_masked_arrays():
    with pytest.raises(TypeError, match=r"masked arrays are not supported; use .filled\(\)"):
        F.exp(np.ma.array([1.0, 2.0], mask=[0, 1]))


def test_mixed_dtypes():
    with pytest.raises(TypeError, match="float32 and float64"):
        F.add(X, X.astype(np.float64))
    with pytest.raises(TypeError, match="matmul: argument 'b': expected float32"):
        F.matmul(X, X.T.astype(np.float64))


def test_integers_where_floats_are_needed():
    with pytest.raises(TypeError, match="exp: argument 'x': expected a floating dtype"):
        F.exp(np.arange(3))
    with pytest.raises(TypeError, match="expected an integer"):
        F.add(np.arange(3), 0.5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.matmul(np.float32(3), X), (TypeError, ValueError), "matmul: argument 'a'"),
        (lambda: F.matmul(np.array(3, np.float32), X), ValueError, "matmul: argument 'a'"),
        (lambda: F.matmul(X, np.ones((5, 2), np.float32)), ValueError, r"matmul: argument 'b'.*4.*\(5, 2\)"),
        (lambda: F.matmul(np.ones((2, 3, 4), "f4"), np.ones((5, 4, 6), "f4")), ValueError, r"\(2,.*\(5,"),
        (
            lambda: F.linear(X, np.ones((2, 4), "f4"), np.ones(5, "f4")),
            ValueError,
            r"linear: argument 'bias'.*\(2,\).*\(5,\)",
        ),
        (lambda: F.linear(X, np.ones((2, 5), "f4")), ValueError, "linear: argument 'weight'"),
        (lambda: F.linear(X, np.ones((2, 4), "f4"), activation="rleu"), ValueError, "activation"),
        (lambda: F.add(X, np.ones((2, 4), "f4")), ValueError, "do not broadcast"),
        (lambda: F.softmax(X, 2), IndexError, "-2 to 1"),
        (lambda: F.softmax(X, 1.0), TypeError, "axis"),
        (lambda: F.sum(X, 5), IndexError, "axis"),
        (lambda: F.sum(X, 1.5), TypeError, "axis"),
        (lambda: F.max(np.ones((0, 3), "f4"), 0), ValueError, "max"),
        (lambda: F.argmax(np.ones((0,), "f4")), ValueError, "argmax"),
        (lambda: F.reshape(X, (-2, 3)), ValueError, "-2"),
        (lambda: F.reshape(X, (-1, -1)), ValueError, "reshape"),
        (lambda: F.reshape(X, (5, 5)), ValueError, "reshape"),
        (lambda: ml.zeros(-1, 3), ValueError, r"\(-1, 3\)"),
        (lambda: F.permute(X, (0, 0)), ValueError, "permute"),
        (lambda: F.concat([]), ValueError, "concat"),
        (lambda: F.concat([X, X[:, :2]], 0), ValueError, "concat"),
        (lambda: F.split(X, 3, 1), ValueError, "split"),
        (lambda: F.gather(X, np.array([0, 3])), IndexError, "3"),
        (lambda: F.embedding(np.array([0.5]), X), TypeError, "integer"),
        (lambda: F.embedding(np.array([True]), X), TypeError, "integer"),
        (lambda: F.embedding(np.array([2**63], np.uint64), X), IndexError, "2\\*\\*63"),
        (lambda: F.embedding(np.array([7]), X), IndexError, "7"),
        (lambda: F.dropout(X, 1.5), ValueError, "dropout: argument 'p'"),
        (lambda: F.dropout(X, float("nan")), ValueError, "dropout: argument 'p'"),
        (lambda: F.clip(X, 2, 1), ValueError, "clip"),
        (lambda: ml.set_num_threads(0), ValueError, "threads"),
        (lambda: ml.set_num_threads(1.5), TypeError, "threads"),
        (lambda: ml.set_isa("avx1024"), ValueError, "unknown level 'avx1024'"),
        (lambda: ml.zeros(2, dtype="float128"), TypeError, "dtype"),
        (lambda: ml.zeros(2**40, 2**40), MemoryError, "overflows"),
        (lambda: ml.zeros(2**50), MemoryError, "cannot allocate"),
        (lambda: F.exp(np.zeros((1,) * 9, "f4")), ValueError, "at most 8 dimensions, got 9"),
        (lambda: F.exp(np.zeros((1,) * 40, "f4")), ValueError, "at most 8 dimensions, got 40"),
        (lambda: F.broadcast_to(X, (2, 4)), ValueError, "broadcast_to"),
        (lambda: F.where(X, X, X), TypeError, "condition"),
    ],
)
def test_refusals_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert F.add(X, X).sum() == 24, "the next call works"


def test_missing_and_surplus_arguments():
    with pytest.raises(TypeError, match="add: missing argument 'b'|add: argument 'b'"):
        _C.add(X)
    with pytest.raises(TypeError, match="exp: expected at most 1 arguments, got 2"):
        _C.exp(X, X)


def test_zero_sizes():
    empty = np.ones((0, 3), np.float32)
    assert F.exp(empty).shape == (0, 3)
    assert F.matmul(np.ones((2, 0), "f4"), empty).tolist() == [[0, 0, 0]] * 2
    assert F.matmul(empty, np.ones((3, 5), "f4")).shape == (0, 5)
    assert F.sum(empty, 0).tolist() == [0, 0, 0]
    assert F.prod(empty).item() == 1
    assert F.softmax(np.ones((2, 0), "f4")).shape == (2, 0)
    assert F.concat([empty, empty]).shape == (0, 3)
    assert np.isnan(F.mean(empty)).all()


def test_views_cost_nothing_and_never_lie():
    t = ml.tensor(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    before = ml.memory_stats()["allocations"]
    views = [t.permute(2, 0, 1), t.reshape(6, 4), t[:, 1], t.transpose(), t[:, ::-1], t.expand_dims(0)]
    assert ml.memory_stats()["allocations"] == before
    for v in views:
        lo, hi = t.data_ptr, t.data_ptr + t.nbytes
        assert lo <= v.data_ptr < hi


@pytest.mark.parametrize("count", [2**31 + 64])
def test_more_than_two_billion_elements(count):
    ones = np.broadcast_to(np.int8(1), (count,))
    assert F.sum(ones).item() == count
    last = np.zeros(count, np.uint8)
    last[-1] = 7
    assert F.argmax(last).item() == count - 1
    assert F.max(last).item() == 7
    assert F.gather(last, np.array([count - 1, 0])).tolist() == [7, 0]
    assert F.add(last, last)[-1] == 14


def test_another_thread_may_write_while_a_kernel_reads():
    import threading

    x = np.zeros(1 << 16, np.float32)
    indices = np.zeros(1 << 16, np.int64)
    stop = threading.Event()

    def scribble():
        rng = np.random.default_rng(0)
        while not stop.is_set():
            indices[:] = rng.integers(-(2**40), 2**40, indices.size)
            x[:] = np.nan
            indices[:] = 0

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(200):
            F.exp(x)
            try:
                F.gather(x, indices)
            except IndexError:
                pass
    finally:
        stop.set()
        thread.join()
