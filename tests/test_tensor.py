"""Tensor and the tape: construction, conversion, misuse, long chains, hooks, in-place changes."""

import copy
import gc
import pickle

import numpy as np
import pytest

import mlext as ml
import mlext.functional as F


def test_construction():
    assert ml.tensor([1.0, 2.0]).dtype == ml.float32
    assert ml.tensor([1, 2]).dtype == ml.int64
    assert ml.tensor([True]).dtype == ml.bool_
    assert ml.tensor(np.zeros(3)).dtype == ml.float64
    assert ml.tensor(3.0).shape == ()
    assert ml.zeros(2, 3).shape == ml.ones((2, 3)).shape == (2, 3)
    assert ml.tensor([[1, 2]], dtype="float16").dtype == np.float16


def test_tensor_copies_and_from_numpy_shares():
    x = np.arange(3.0, dtype=np.float32)
    copied, shared = ml.tensor(x), ml.from_numpy(x)
    x[0] = 7
    assert copied.tolist() == [0, 1, 2]
    assert shared.tolist() == [7, 1, 2]
    shared += 1
    assert x.tolist() == [8, 2, 3]


@pytest.mark.parametrize("bad", [None, "text", b"1", [[1, 2], [3]], object(), [1, "a"], (n for n in range(3))])
def test_what_is_not_numbers_is_refused(bad):
    with pytest.raises(TypeError, match="tensor: argument 'data'"):
        ml.tensor(bad)


def test_read_only_memory_is_not_written():
    x = np.zeros(3, np.float32)
    x.flags.writeable = False
    t = ml.from_numpy(x)
    with pytest.raises(ValueError, match="read-only"):
        t += 1.0
    assert not t.numpy().flags.writeable
    assert x.tolist() == [0, 0, 0]


def test_numpy_interoperation():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = ml.tensor(x)
    assert np.array_equal(np.asarray(t), x)
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert isinstance(x + t, ml.Tensor)
    assert np.array_equal((x + t).numpy(), 2 * x)
    assert np.array_equal(np.from_dlpack(t), x)
    assert np.array_equal(ml.from_dlpack(x).numpy(), x)
    array = t.numpy()
    del t
    gc.collect()
    assert np.array_equal(array, x), "the ndarray keeps the memory alive"


def test_scalars_and_truth():
    t = ml.tensor([2.5])
    assert (t.item(), float(t), int(t), bool(t)) == (2.5, 2.5, 2, True)
    assert [0, 1, 2][ml.tensor(1)] == 1
    with pytest.raises(ValueError, match="ambiguous"):
        bool(ml.ones(2))
    with pytest.raises(ValueError, match="one element"):
        ml.ones(2).item()
    with pytest.raises(TypeError, match="integer tensor"):
        [0, 1][ml.tensor(1.0)]


def test_repr():
    assert repr(ml.tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert "requires_grad=True" in repr(ml.tensor([1.0], requires_grad=True))
    assert "op=mul" in repr(ml.tensor([1.0], requires_grad=True) * 2)


def test_copy_and_pickle_protocol():
    t = ml.tensor([1.0, 2.0], requires_grad=True)
    for other in (copy.deepcopy(t), copy.copy(t), pickle.loads(pickle.dumps(t))):
        assert other.tolist() == t.tolist()
        assert other.requires_grad
        assert other.data_ptr != t.data_ptr
    parameter = copy.deepcopy(ml.Parameter(np.ones(2, np.float32)))
    assert type(parameter) is ml.Parameter


INDEX_KEYS = [
    0,
    -1,
    slice(1, 3),
    slice(None, None, 2),
    slice(None, None, -1),
    slice(3, 0, -2),
    slice(5, 2),
    Ellipsis,
    None,
    (1, 2),
    (0, slice(1, 4)),
    (slice(None), 2),
    (Ellipsis, -1),
    (None, 1),
    (slice(1, 3), None, slice(None)),
    (1, Ellipsis, 2),
    [0, 2, 0],
    (slice(None), [1, -1]),
    np.array([[0, 1], [2, 0]]),
    np.int64(1),
    (2, [0, 3]),
    (None, 2, slice(None), None),
    (slice(1, 1),),
    (),
]


@pytest.mark.parametrize("key", INDEX_KEYS, ids=str)
def test_indexing_is_numpys(key):
    x = np.arange(60, dtype=np.float64).reshape(4, 5, 3)
    t = ml.tensor(x, requires_grad=True)
    got = t[key]
    assert np.array_equal(got.detach().numpy(), x[key])
    assert np.array_equal(F.getitem(t.detach(), key).numpy(), x[key])
    seed = np.random.default_rng(0).standard_normal(x[key].shape)
    got.backward(seed)
    expected = np.zeros_like(x)
    np.add.at(expected, key, seed)
    np.testing.assert_allclose(t.grad.numpy(), expected)


def test_boolean_indexing():
    x = np.arange(12.0).reshape(3, 4)
    t = ml.tensor(x)
    assert np.array_equal(t[x > 4].numpy(), x[x > 4])
    assert np.array_equal(t[np.array([True, False, True])].numpy(), x[[True, False, True]])
    assert np.array_equal(t[t > 4.0].numpy(), x[x > 4])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (5, "out of range"),
        ((0, 0, 0), "too many"),
        ((..., ...), "one ellipsis"),
        ("a", "expected ints"),
        ([9], "got 9 at position 0"),
        (np.array([True]), "boolean index"),
        (1.5, "expected ints"),
    ],
)
def test_bad_indices(key, message):
    with pytest.raises(IndexError, match=message):
        ml.zeros(3, 4)[key]


def test_item_assignment():
    t = ml.zeros(3, 4)
    t[1] = 2.0
    t[:, 0] = np.array([1, 2, 3], np.float32)
    t[2, ::2] = ml.tensor([7.0, 8.0])
    assert t.tolist() == [[1, 0, 0, 0], [2, 2, 2, 2], [7, 0, 8, 0]]
    with pytest.raises(RuntimeError, match="item assignment"):
        ml.tensor([1.0], requires_grad=True)[0] = 2.0
    with pytest.raises(TypeError, match="mask"):
        t[np.ones((3, 4), bool)] = 1.0


# ---- the tape --------------------------------------------------------------------------------------------------------


def test_fan_out_and_accumulation():
    x = ml.tensor([3.0], requires_grad=True)
    y = x * x + x
    (y + y).backward()
    assert x.grad.tolist() == [14.0]
    (x * 2).backward()
    assert x.grad.tolist() == [16.0]


def test_shared_gradients_stay_apart():
    a = ml.tensor([1.0], requires_grad=True)
    b = ml.tensor([2.0], requires_grad=True)
    (a + b).backward()
    (a * 3).backward()
    assert a.grad.tolist() == [4.0]
    assert b.grad.tolist() == [1.0]


def test_no_grad_and_detach():
    x = ml.tensor([1.0], requires_grad=True)
    with ml.no_grad():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    assert not (x.detach() * 2).requires_grad

    @ml.no_grad()
    def f():
        return x * 2

    assert not f().requires_grad


def test_ndarray_kept_by_the_tape_is_copied():
    x = np.array([2.0], np.float32)
    w = ml.tensor([3.0], requires_grad=True)
    y = w * x
    x[0] = 100.0
    y.backward()
    assert w.grad.tolist() == [2.0]


def test_in_place_change_of_a_saved_value():
    x = ml.tensor([2.0], requires_grad=True)
    w = ml.tensor([5.0])
    y = x * w
    w += 1.0
    with pytest.raises(RuntimeError, match="a value that mul saved for its gradient was changed in place"):
        y.backward()


def test_graph_is_used_once():
    x = ml.tensor([2.0], requires_grad=True)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="already used"):
        y.backward()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ml.ones(2).backward(), RuntimeError, "does not require"),
        (lambda: (ml.tensor([1.0, 2.0], requires_grad=True) * 2).backward(), ValueError, "single element"),
        (lambda: (ml.tensor([1.0], requires_grad=True) * 2).backward(ml.ones(3)), ValueError, "expected shape"),
        (lambda: ml.tensor([1], requires_grad=True), TypeError, "floating"),
    ],
)
def test_misuse_of_backward(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_two_hundred_thousand_chained_ops():
    x = ml.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(200_000):
        y = y + 1.0
    y.backward()
    assert x.grad.tolist() == [1.0]
    # A graph that is dropped without backward() unwinds without recursion too.
    y = x
    for _ in range(200_000):
        y = y * 1.0
    del y
    gc.collect()


def test_memory_returns_to_where_it_was():
    gc.collect()
    before = ml.memory_stats()["in_use"]
    x = ml.tensor(np.ones((100, 100), np.float32), requires_grad=True)
    y = x
    for _ in range(50):
        y = F.tanh(y * 1.01)
    y.sum().backward()
    x.register_hook(lambda g: None)
    del x, y
    gc.collect()
    assert ml.memory_stats()["in_use"] == before


def test_nodes_form_no_cycles():
    gc.collect()
    gc.disable()
    try:
        before = ml.memory_stats()["in_use"]
        for _ in range(20):
            x = ml.tensor(np.ones(1000, np.float32), requires_grad=True)
            F.softmax(F.exp(F.sigmoid(x))).sum()
            del x
        assert ml.memory_stats()["in_use"] == before
    finally:
        gc.enable()


def test_hooks():
    x = ml.tensor([1.0], requires_grad=True)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    remove = x.register_hook(lambda g: g * 10)
    (y * 3).backward()
    assert seen == [3.0]
    assert x.grad.tolist() == [60.0]
    remove()
    x.grad = None
    (x * 2).backward()
    assert x.grad.tolist() == [2.0]


def test_errors_in_hooks_and_own_functions_name_the_op():
    x = ml.tensor([1.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        y.backward()
    assert "backward of mul" in str(caught.value.__notes__)
    y = x * 2
    y.register_hook(lambda g: ml.ones(5))
    with pytest.raises(ValueError, match="hook"):
        y.backward()
    (x * 2).backward()
    assert x.grad.tolist() == [2.0]


def test_differentiable():
    @ml.differentiable
    def scaled(x, w):
        return x * w, lambda g: (g * w, g * x)

    x = ml.tensor([2.0], requires_grad=True)
    w = ml.tensor([5.0], requires_grad=True)
    (scaled(x, w) * 3).backward()
    assert (x.grad.tolist(), w.grad.tolist()) == ([15.0], [6.0])

    @ml.differentiable
    def wrong(x):
        return x * 2, lambda g: ml.ones(7)

    with pytest.raises(ValueError, match=r"wrong: backward: argument 0: expected a gradient of shape \(1,\)"):
        wrong(x).backward()


def test_grad_and_value_and_grad():
    value, (da, db) = ml.value_and_grad(lambda a, b: (a * a * b).sum(), argnums=(0, 1))(ml.tensor([3.0]), 2.0)
    assert (value.item(), da.item(), db.item()) == (18.0, 12.0, 9.0)
    assert ml.grad(lambda x: x * 0.5)(4.0).item() == 0.5
    x = ml.tensor([1.0], requires_grad=True)
    ml.grad(lambda y: (x * y).sum())(ml.tensor([2.0]))
    assert x.grad is None, "grad() leaves .grad alone"
    with pytest.raises(ValueError, match="one element"):
        ml.grad(lambda x: x)(ml.ones(2))


def test_in_place_operators():
    x = ml.ones(3)
    address = x.data_ptr
    x += 1.0
    x *= ml.tensor([1.0, 2.0, 3.0])
    x -= 1.0
    x /= 2.0
    assert x.tolist() == [0.5, 1.5, 2.5]
    assert x.data_ptr == address
    leaf = ml.tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="in-place change of a leaf"):
        leaf += 1.0


def test_overlap_gives_what_a_copy_would_give():
    x = np.arange(10, dtype=np.float32)
    expected = x.copy()
    expected[1:] += x[:-1].copy()
    t = ml.from_numpy(x)
    view = t[1:]
    view += t[:-1]
    assert np.array_equal(x, expected)
    with pytest.raises(ValueError, match="broadcast view"):
        ml.zeros(1).broadcast_to((3,)).__iadd__(1.0)
