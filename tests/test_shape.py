import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import _C
from mlext import functional as F

DTYPES = [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int32, np.int64, np.bool_]


def tensor(x: Any, dtype: Any = None) -> _C.Array:
    return _C.Array(np.array(x, dtype=dtype))


def numbered(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)


def kinds(x: np.ndarray) -> Iterator[np.ndarray]:
    """Arrays equal to x in every layout: gaps, other orders, any strides, misaligned."""
    yield x
    yield np.asfortranarray(x)
    wide = np.repeat(x, 3, axis=-1) if x.ndim else x
    yield wide[..., ::3] if x.ndim else x
    if x.ndim:
        yield x[::-1].copy()[::-1]
        yield x[..., ::-1].copy()[..., ::-1]
    if x.ndim and x.shape[0] > 1 and (x == x[:1]).all():
        yield np.broadcast_to(x[:1], x.shape)
    raw = bytearray(x.nbytes + 1)
    odd = np.frombuffer(raw, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    yield odd


def same(got: Any, expected: np.ndarray) -> None:
    got = got.numpy() if isinstance(got, _C.Array) else got
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert np.array_equal(got, expected)


# ---- views ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 3, 4), (6, 4)),
        ((2, 3, 4), (-1,)),
        ((2, 3, 4), (4, -1, 1, 2)),
        ((6,), (1, 6, 1)),
        ((1,), ()),
        ((), (1, 1)),
        ((0, 3), (3, 0, 5)),
        ((0, 3), (-1, 3)),
        ((1, 1, 1), (1,)),
    ],
)
def test_reshape(shape, wanted):
    x = numbered(*shape)
    for kind in kinds(x):
        same(_C.reshape(kind, wanted), x.reshape(wanted))
    t = tensor(x)
    assert _C.reshape(t, wanted).data_ptr == t.data_ptr


def test_reshape_copies_only_if_it_must():
    x = numbered(4, 6, 10)
    t = tensor(x)
    cut = _C.slice(t, (0, 0, 0), (4, 6, 4), (1, 1, 1))  # rows have gaps, rows of rows do not
    for wanted, view in [
        ((24, 4), True),
        ((4, 2, 3, 2, 2), True),
        ((4, 24), False),
        ((96,), False),
    ]:
        got = _C.reshape(cut, wanted)
        same(got, x[:, :, :4].reshape(wanted))
        assert (got.data_ptr == t.data_ptr) is view
    swapped = _C.permute(t, (1, 0, 2))
    assert _C.reshape(swapped, (6, 2, 2, 10)).data_ptr == t.data_ptr
    same(_C.reshape(swapped, (24, 10)), x.transpose(1, 0, 2).reshape(24, 10))


def test_reshape_of_every_permutation():
    x = numbered(2, 3, 4, 5)
    for axes in itertools.permutations(range(4)):
        y = _C.permute(tensor(x), axes)
        same(y, x.transpose(axes))
        for wanted in [(120,), (6, 20), (2, -1), (4, 5, 6), (2, 3, 2, 2, 5)]:
            same(_C.reshape(y, wanted), x.transpose(axes).reshape(wanted))


def test_views_share_memory_and_version():
    t = tensor(numbered(3, 4))
    row = _C.select(t, 0, 1)
    _C.copy_(row, 7.0)
    assert (t.numpy()[1] == 7).all()
    assert t._version == row._version == 1


def test_a_view_of_an_ndarray_is_an_ndarray_that_keeps_it_alive():
    y = _C.permute(numbered(3, 4), (1, 0))
    assert isinstance(y, np.ndarray)
    same(y, numbered(3, 4).T)
    fixed = numbered(3, 4)
    fixed.flags.writeable = False
    assert not _C.reshape(fixed, (12,)).flags.writeable


@pytest.mark.parametrize(("shape", "wanted"), [((3, 1), (2, 3, 4)), ((), (2, 2)), ((1, 0), (5, 0)), ((4,), (4,))])
def test_broadcast_to(shape, wanted):
    x = numbered(*shape)
    same(_C.broadcast_to(tensor(x), wanted), np.broadcast_to(x, wanted))


def test_broadcast_to_more_than_2_to_the_31_elements():
    y = _C.broadcast_to(tensor(np.float32(1)), (2**16, 2**16 + 1))
    assert y.size == 2**16 * (2**16 + 1)
    same(_C.slice(y, (2**16 - 1, 2**16), (2**16, 2**16 + 1), (1, 1)), np.ones((1, 1), np.float32))


@pytest.mark.parametrize("n", [0, 1, 5])
def test_slice_is_pythons(n):
    x = numbered(n, 3)
    edges = [None, *range(-n - 1, n + 2)]
    for start, stop, step in itertools.product(edges, edges, [None, 1, 2, 3, -1, -2, -7]):
        a, b, c = slice(start, stop, step).indices(n)
        got = _C.slice(tensor(x), (a, 2), (b, -1), (c, -1))
        same(got, x[start:stop:step, ::-1])
        same(_C.dense(got), x[start:stop:step, ::-1])


def test_select_expand_squeeze_flip():
    x = numbered(2, 1, 4, 1)
    t = tensor(x)
    for axis, at in [(0, 1), (-2, -4), (2, 3), (1, 0)]:
        same(_C.select(t, axis, at), np.take(x, at, axis))
    for axes in [(0,), (-1,), (2, 0), (1, -1)]:
        same(_C.expand_dims(t, axes), np.expand_dims(x, axes))
    same(_C.squeeze(t, None), x.squeeze())
    same(_C.squeeze(t, (-1,)), x.squeeze(-1))
    same(_C.squeeze(t, (1, 3)), x.squeeze((1, 3)))
    same(_C.squeeze(t, ()), x)
    for axes in [(), (0,), (2,), (0, -2)]:
        same(_C.flip(t, axes), np.flip(x, axes))
    same(_C.flip(tensor(np.zeros((0, 2))), (0, 1)), np.zeros((0, 2)))


def test_kernels_read_flipped_views(level):
    x = np.linspace(-2, 2, 77, dtype=np.float32).reshape(7, 11)
    for axes in [(0,), (1,), (0, 1)]:
        view, expected = _C.flip(tensor(x), axes), np.flip(x, axes)
        same(_C.dense(view), expected)
        same(_C.add(view, 1.0), expected + 1)
        same(_C.mul(view, tensor(x)), expected * x)
        same(_C.cast(view, "float64"), expected.astype(np.float64))
        target = tensor(np.zeros_like(x))
        _C.copy_(_C.flip(target, axes), tensor(x))
        same(target, expected)
    line = _C.flip(tensor(numbered(1000)), (0,))
    same(_C.dense(line), numbered(1000)[::-1])


@pytest.mark.parametrize("sizes", [[4], [1, 3], [0, 4, 0], [1] * 4, [2, 2]])
def test_split(sizes):
    x = numbered(3, 4, 2)
    parts = _C.split(tensor(x), np.array(sizes), 1)
    for got, expected in zip(parts, np.split(x, np.cumsum(sizes)[:-1], 1), strict=True):
        same(got, expected)


def test_bad_views():
    x = tensor(numbered(3, 4))
    for wanted, match in [
        ((-2, 3), "sizes of 0 or more, or one -1, got -2 at position 0"),
        ((-1, -1), "at most one size of -1"),
        ((5, -1), "sizes that divide the 12 elements"),
        ((5, 3), "12 elements"),
        ((0, -1), "sizes that divide"),
        ((2**40, 2**40), "12 elements"),
    ]:
        with pytest.raises(ValueError, match=f"reshape: argument 'shape': expected {match}"):
            _C.reshape(x, wanted)
    with pytest.raises(ValueError, match="at most 8 dimensions, got 9"):
        _C.reshape(x, (1,) * 9)
    with pytest.raises(ValueError, match="expand_dims: argument 'axes': expected at most 8"):
        _C.expand_dims(x, (0, 1, 2, 3, 4, 5, 6))
    with pytest.raises(ValueError, match="permute: argument 'axes': expected different axes"):
        _C.permute(x, (0, 0))
    with pytest.raises(ValueError, match="permute: argument 'axes': expected one int per"):
        _C.permute(x, (0,))
    with pytest.raises(IndexError, match="permute: argument 'axis': expected -2 to 1"):
        _C.permute(x, (0, 2))
    with pytest.raises(ValueError, match="broadcast_to: argument 'shape': expected a shape that x"):
        _C.broadcast_to(x, (3,))
    with pytest.raises(ValueError, match="broadcast_to"):
        _C.broadcast_to(x, (3, 5))
    with pytest.raises(ValueError, match="broadcast_to: argument 'shape': expected sizes"):
        _C.broadcast_to(x, (-1, 4))
    with pytest.raises(IndexError, match="slice: argument 'starts'"):
        _C.slice(x, (0, 0), (4, 4), (1, 1))
    with pytest.raises(IndexError, match="slice: argument 'starts'"):
        _C.slice(x, (-1, 0), (3, 4), (1, 1))
    with pytest.raises(ValueError, match="slice: argument 'steps'"):
        _C.slice(x, (0, 0), (3, 4), (1, 0))
    with pytest.raises(IndexError, match="select: argument 'index': expected -3 to 2 for axis 0"):
        _C.select(x, 0, 3)
    with pytest.raises(ValueError, match="squeeze: argument 'axes'"):
        _C.squeeze(x, (0,))
    with pytest.raises(ValueError, match="split: argument 'sizes'"):
        _C.split(x, np.array([1, 1]), 0)
    with pytest.raises(ValueError, match="split: argument 'sizes'"):
        _C.split(x, np.array([4, -1]), 0)


# ---- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 70), (5, 4), (16, 16), (17, 33), (64, 3), (130, 257), (0, 5)])
def test_transposed_copies(level, dtype, shape):
    x = numbered(*shape, dtype=dtype)
    same(_C.dense(_C.permute(tensor(x), (1, 0))), np.ascontiguousarray(x.T))


def test_permuted_copies(level):
    x = numbered(3, 20, 5, 34)
    for axes in itertools.permutations(range(4)):
        y = _C.dense(_C.permute(tensor(x), axes))
        same(y, np.ascontiguousarray(x.transpose(axes)))
        cut = x[1:, ::2, ::-1, 3:30].transpose(axes)
        t = _C.slice(tensor(x), (1, 0, 4, 3), (3, 20, -1, 30), (1, 2, -1, 1))
        same(_C.dense(_C.permute(t, axes)), np.ascontiguousarray(cut))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(dtype, axis):
    parts = [numbered(3, 4, 5, dtype=dtype)] * 3
    parts[1] = np.take(parts[1], [0, 2], axis)
    parts.append(np.take(parts[0], [], axis))
    expected = np.concatenate(parts, axis)
    same(_C.concat(parts, axis), expected)
    same(_C.concat([tensor(p) for p in parts], axis), expected)
    for layout in zip(*(kinds(p) for p in parts[:3]), strict=False):
        same(_C.concat(list(layout), axis), np.concatenate(parts[:3], axis))


@pytest.mark.parametrize("axis", [0, 1])
def test_concat_of_large_and_odd_pieces(axis):
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((200, 700)[:2]).astype(np.float32) for _ in range(4)]
    parts[2] = np.take(parts[2], np.arange(13), axis)
    same(_C.concat(parts, axis), np.concatenate(parts, axis))
    same(_C.concat(parts[:1], axis), parts[0])


def test_concat_checks():
    x = numbered(2, 3)
    with pytest.raises(ValueError, match="concat: argument 'arrays'"):
        _C.concat([], 0)
    with pytest.raises(TypeError, match="concat: argument 'arrays'"):
        _C.concat([x, None], 0)
    with pytest.raises(TypeError, match=r"concat: argument 'arrays\[1\]': expected float32"):
        _C.concat([x, x.astype(np.float64)], 0)
    with pytest.raises(ValueError, match=r"argument 'arrays\[1\]': expected shape \(3, 3\)"):
        _C.concat([x, numbered(3, 4)], 0)
    with pytest.raises(ValueError, match=r"concat: argument 'arrays\[1\]'"):
        _C.concat([x, numbered(3)], 0)
    with pytest.raises(IndexError, match="concat: argument 'axis'"):
        _C.concat([x, x], 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad(dtype, mode):
    x = (numbered(3, 4, 5) % 7).astype(dtype)
    for before, after in itertools.product([(0, 0, 0), (2, 1, 3), (0, 3, 4)], [(0, 0, 0), (1, 3, 2)]):
        widths = list(zip(before, after, strict=True))
        value = {"constant_values": 1} if mode == "constant" else {}
        expected = np.pad(x, widths, mode=mode, **value)
        for kind in kinds(x):
            same(_C.pad(kind, before, after, 1.0, mode), expected)


def test_pad_edges():
    same(_C.pad(np.full((), 3.0), (), (), 0.0, "constant"), np.full((), 3.0))
    same(_C.pad(np.zeros((0, 2)), (1, 1), (0, 0), 5.0, "constant"), np.full((1, 3), 5.0))
    same(
        _C.pad(numbered(70_000), (3,), (4,), -1.0, "constant"),
        np.pad(numbered(70_000), (3, 4), constant_values=-1),
    )
    half = _C.pad(tensor([1.0], np.float16), (1,), (0,), 0.1, "constant").numpy()
    assert half[0] == np.float16(0.1)
    x = numbered(3, 4)
    with pytest.raises(ValueError, match="pad: argument 'before': expected one int per dimension"):
        _C.pad(x, (1,), (0, 0), 0.0, "constant")
    with pytest.raises(ValueError, match="pad: argument 'after': expected widths of 0 or more"):
        _C.pad(x, (1, 0), (0, -1), 0.0, "constant")
    with pytest.raises(ValueError, match="pad: argument 'before': expected less than the size 3"):
        _C.pad(x, (3, 0), (0, 0), 0.0, "reflect")
    with pytest.raises(ValueError, match="pad: argument 'mode'"):
        _C.pad(x, (1, 0), (0, 0), 0.0, "wrap")
    with pytest.raises(ValueError, match="pad: argument 'value'"):
        _C.pad(x.astype(np.int8), (1, 0), (0, 0), 300.0, "constant")
    with pytest.raises(ValueError, match="pad: argument 'x'"):
        _C.pad(np.zeros((0, 2)), (1, 1), (0, 0), 0.0, "edge")


def test_repeat_and_tile():
    x = numbered(2, 3, 4)
    for kind in kinds(x):
        for axis, n in itertools.product([0, 1, -1], [0, 1, 3]):
            same(_C.repeat(kind, n, axis), np.repeat(x, n, axis))
        for reps in [(), (2,), (1, 3), (2, 1, 3), (2, 1, 1, 2), (1, 1, 1), (0, 2, 2)]:
            same(_C.tile(kind, reps), np.tile(x, reps))
    with pytest.raises(ValueError, match="repeat: argument 'repeats'"):
        _C.repeat(x, -1, 0)
    with pytest.raises(ValueError, match="tile: argument 'repeats'"):
        _C.tile(x, (2, -1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_triangles_and_ranges(dtype):
    x = numbered(2, 5, 7, dtype=dtype)
    for k in [-9, -5, -1, 0, 1, 6, 7, 2**62, -(2**62)]:
        near = int(np.clip(k, -100, 100))
        for kind in kinds(x):
            same(_C.tril(kind, k), np.tril(x, near))
            same(_C.triu(kind, k), np.triu(x, near))
        same(_C.eye(5, 7, k, dtype), np.eye(5, 7, near, dtype))
    if dtype is not np.bool_:
        same(_C.arange(2.0, 11.0, 3.0, dtype), np.arange(2, 11, 3, dtype))
        same(_C.arange(5.0, 5.0, 1.0, dtype), np.arange(5, 5, 1, dtype))
        same(_C.arange(5.0, 2.0, -1.0, dtype), np.array([5, 4, 3], dtype))
        same(_C.arange(5.0, 9.0, -1.0, dtype), np.array([], dtype))
    same(_C.tril(np.zeros((0, 3)), 0), np.zeros((0, 3)))


def test_ranges_are_checked():
    same(_C.arange(0.0, 1.0, 0.1, "float64"), np.arange(10) * 0.1)
    same(_C.arange(0.0, 100_000.0, 1.0, "int64"), np.arange(100_000))
    for args, match in [
        ((0.0, 3.0, 0.0, "float32"), "'step'"),
        ((0.0, np.inf, 1.0, "float32"), "'stop'"),
        ((0.0, np.nan, 1.0, "float32"), "'stop'"),
        ((np.nan, 1.0, 1.0, "float32"), "'start'"),
        ((0.0, 1.0, 0.1, "int64"), "'step'"),
        ((0.0, 300.0, 1.0, "int8"), "'stop'"),
    ]:
        with pytest.raises(ValueError, match=f"arange: argument {match}"):
            _C.arange(*args)
    with pytest.raises(ValueError, match="2 or more dimensions"):
        _C.tril(np.zeros(3), 0)
    with pytest.raises(ValueError, match="0 or more"):
        _C.eye(-1, 3, 0, "float32")


# ---- gather and scatter --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take(dtype, axis):
    x = numbered(6, 5, 7, dtype=dtype)
    for indices in [[0], [4, -1, 0, 4, -5], [[1, 2, 3], [0, -2, -1]], [], 3]:
        i = np.array(indices, np.int64)
        for kind in kinds(x):
            same(_C.take(kind, i, axis), np.take(x, i, axis))
        for index_dtype in (np.int8, np.int32, np.int64):
            same(_C.take(tensor(x), tensor(i, index_dtype), axis), np.take(x, i, axis))


@pytest.mark.parametrize("index_dtype", [np.int16, np.uint16, np.uint8, np.uint64, ">i4"])
def test_indices_of_any_width(index_dtype):
    x, i = numbered(6, 5), np.array([3, 0, 5, 1])
    same(_C.take(x, i.astype(index_dtype), 0), x[i])
    same(_C.take(x, np.repeat(i, 2).astype(index_dtype)[::2], 0), x[i])
    same(_C.take(x, i.astype(index_dtype)[::-1], 0), x[i[::-1]])


def test_indices_are_checked():
    x, g = numbered(6, 5), numbered(3, 5)
    for bad, at in [([0, 6, -9], 1), ([0, -7, 2], 1), ([1, 2, 100], 2)]:
        match = rf"expected -6 to 5 for axis 0 of size 6, got {bad[at]} at position {at}"
        with pytest.raises(IndexError, match="take: argument 'indices': " + match):
            _C.take(x, np.array(bad), 0)
        with pytest.raises(IndexError, match="take_backward: argument 'indices': " + match):
            _C.take_backward((6, 5), np.array(bad), g, 0)
    with pytest.raises(IndexError, match="take_along: argument 'indices': expected -5 to 4"):
        _C.take_along(x, np.full((6, 2), 5), 1)
    with pytest.raises(IndexError, match="take_along_backward: argument 'indices'"):
        _C.take_along_backward((6, 5), np.full((6, 2), 5), numbered(6, 2), 1)
    with pytest.raises(IndexError, match="one_hot: argument 'indices': expected 0 to 2 .*got -1"):
        _C.one_hot(np.array([0, -1]), 3, "float32")
    with pytest.raises(IndexError, match="take: argument 'indices'"):
        _C.take(np.zeros((0, 3)), np.array([0]), 0)
    for dtype in (np.float32, np.bool_):
        for call in (lambda i: _C.take(x, i, 0), lambda i: _C.one_hot(i, 3, "float32")):
            with pytest.raises(TypeError, match="'indices': expected an integer dtype"):
                call(np.zeros(3, dtype))
            with pytest.raises(TypeError, match="'indices': expected an integer dtype"):
                call(tensor(np.zeros(3, dtype)))
    with pytest.raises(IndexError, match="below 2\\*\\*63"):
        _C.take(x, np.array([2**63 + 1], np.uint64), 0)
    with pytest.raises(ValueError, match="take_along: argument 'indices': expected shape"):
        _C.take_along(x, np.zeros((5, 2), np.int64), 1)
    with pytest.raises(ValueError, match="take_backward: argument 'g': expected shape"):
        _C.take_backward((6, 5), np.zeros(2, np.int64), g, 0)


def scattered(shape: tuple[int, ...], i: np.ndarray, g: np.ndarray, axis: int) -> np.ndarray:
    out = np.zeros(shape)
    lead = np.moveaxis(out, axis, 0)
    first = np.moveaxis(g.reshape(shape[:axis] + (i.size,) + shape[axis + 1 :]), axis, 0)
    np.add.at(lead, i.ravel(), first)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_take_backward(level, dtype, axis):
    shape = (6, 5, 67)
    rng = np.random.default_rng(0)
    for i in [np.array([2]), rng.integers(-5, 5, (4, 9)), np.zeros(0, np.int64), np.full(50, 3)]:
        # Small integers: every sum is exact in every dtype.
        g = rng.integers(-2, 3, shape[:axis] + i.shape + shape[axis + 1 :]).astype(np.float64)
        cast = _C.cast(tensor(g), dtype)
        got = _C.take_backward(shape, i, cast, axis)
        assert got.dtype == cast.dtype
        assert np.array_equal(got.numpy().astype(np.float64), scattered(shape, i, g, axis))


@pytest.mark.parametrize(("shape", "axis"), [((5000, 1), 0), ((5000,), 0), ((300, 256), 0), ((40, 30, 3), 1)])
def test_take_backward_does_not_depend_on_threads(level, shape, axis):
    rng = np.random.default_rng(0)
    i = rng.integers(0, shape[axis], 70_000 // int(np.prod(shape[axis + 1 :])))
    g = rng.standard_normal(shape[:axis] + i.shape + shape[axis + 1 :]).astype(np.float32)
    threads, seen = _C.get_num_threads(), []
    for count in (1, 2, 5):
        _C.set_num_threads(count)
        seen.append(_C.take_backward(shape, i, g, axis))
    _C.set_num_threads(threads)
    expected = scattered(shape, i, g, axis)
    assert (np.abs(seen[0] - expected) <= 1e-4 * np.maximum(np.abs(expected), 1)).all()
    assert all(np.array_equal(seen[0], s) for s in seen[1:])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_along(axis):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 5, 6))
    shape = list(x.shape)
    shape[axis] = 3
    i = rng.integers(-x.shape[axis], x.shape[axis], shape)
    for kind in kinds(x):
        same(_C.take_along(kind, i, axis), np.take_along_axis(x, i, axis))
    for dtype in ("float32", "float64", "bfloat16"):
        g = rng.integers(-2, 3, shape).astype(np.float64)
        expected = np.zeros(x.shape)
        where = list(np.ogrid[tuple(slice(n) for n in shape)])
        where[axis] = i
        np.add.at(expected, tuple(where), g)
        got = _C.take_along_backward(x.shape, i, _C.cast(tensor(g), dtype), axis)
        assert np.array_equal(got.numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_hot(dtype):
    i = np.array([[0, 2, 1], [3, 3, 0]])
    same(_C.one_hot(i, 4, dtype), np.eye(4, dtype=dtype)[i])
    same(_C.one_hot(np.zeros((0, 2), np.int64), 4, dtype), np.zeros((0, 2, 4), dtype))
    with pytest.raises(ValueError, match="one_hot: argument 'classes'"):
        _C.one_hot(i, 0, dtype)


# ---- order ---------------------------------------------------------------------------------------


def tricky(dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Ties, signed zeros, infinities, NaNs, extreme integers."""
    rng = np.random.default_rng(0)
    if dtype is np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        pool = np.array([info.min, info.max, 0, 1, 2, info.max // 2], dtype)
    else:
        pool = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0, 1, -1, 1.5, -2, 6e-8], dtype)
    return rng.choice(pool, shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sort(dtype, axis):
    x = tricky(dtype, (5, 40, 3))
    expected = np.argsort(x, axis, kind="stable")  # NaN last
    for kind in kinds(x):
        values, indices = _C.sort(kind, axis, False)
        assert np.array_equal(indices, expected)
        assert np.array_equal(values, np.take_along_axis(x, expected, axis), equal_nan=True)
    # Descending: NaN first, equal elements still in their order.
    back = np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    values, indices = _C.sort(x, axis, True)
    assert np.array_equal(indices, x.shape[axis] - 1 - back)
    for k in (0, 1, 2, x.shape[axis]):
        top, at = _C.topk(x, k, axis)
        assert np.array_equal(top, np.take(values, np.arange(k), axis), equal_nan=True)
        assert np.array_equal(at, np.take(indices, np.arange(k), axis))


def test_sort_edges():
    for shape in [(0,), (0, 3), (3, 0), (1,)]:
        values, indices = _C.sort(np.zeros(shape), -1, False)
        assert values.shape == indices.shape == shape
    x = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    same(_C.sort(x, 0, False)[0], np.sort(x))
    same(_C.topk(x, 100, 0)[0], np.sort(x)[::-1][:100].copy())
    bf16 = _C.cast(tensor([3.0, -1.0, np.nan, 2.0, -0.0, 0.0], np.float32), "bfloat16")
    assert _C.sort(bf16, 0, False)[1].numpy().tolist() == [1, 4, 5, 3, 0, 2]
    with pytest.raises(ValueError, match="topk: argument 'k': expected 0 to the size 6"):
        _C.topk(bf16, 7, 0)
    with pytest.raises(IndexError, match="sort: argument 'axis'"):
        _C.sort(np.ones(()), 0, False)


def test_replay_checks_and_reads_indices_again():
    x, i = tensor(numbered(6, 5)), tensor([1, 2, 3])
    program = _C.Program()
    program.begin()
    y = _C.take(x, i, 0)
    program.end()
    _C.copy_(i, np.array([5, -1, 0]))
    program.replay()
    same(y, numbered(6, 5)[[5, -1, 0]])
    _C.copy_(i, np.array([5, 6, 0]))
    with pytest.raises(IndexError, match="got 6 at position 1"):
        program.replay()


def test_slices_are_joined_without_a_copy() -> None:
    whole = ml.tensor(np.arange(60.0).reshape(3, 5, 4))
    parts = F.split(whole, (2, 1, 2), 1)
    joined = _C.join(parts, 1)
    np.testing.assert_array_equal(joined.numpy(), whole.numpy())
    parts[0][0, 0, 0] = -1.0
    assert joined[0, 0, 0].item() == -1.0  # a view
    for others, axis in (
        (parts[::-1], 1),  # in another order
        ([parts[0], parts[0]], 1),
        ([whole[:, :1], whole[:, 2:]], 1),  # with a gap
        ([whole[:2], whole[1:]], 0),  # one over the other
        ([whole[:, :2], whole[:, 2:4]], 0),  # along another axis
        ([whole[:1], whole[1:].numpy()], 0),
    ):
        joined = _C.join(others, axis)
        expected = np.concatenate([np.asarray(a) for a in others], axis)
        np.testing.assert_array_equal(np.asarray(joined), expected)
    with pytest.raises(IndexError, match="axis"):
        _C.join(parts, 3)
    with pytest.raises(ValueError, match="arrays"):
        _C.join([], 0)
