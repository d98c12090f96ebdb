"""Every row of tests/cases/ops.py: meaning, gradient, dtypes, levels, layouts, threads, replay."""

import numpy as np
import pytest
from tests.cases.ops import ALL, BINARY, ELEMENTWISE
from tests.gradcheck import check_gradient

import mlext as ml
import mlext.functional as F
from _simd_tools import GuardedPage
from mlext import _C

EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52, "bfloat16": 2.0**-7, "float16": 2.0**-10}
# Around every vector width of every level, and the empty and single cases.
LENGTHS = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 257]

rows = pytest.mark.parametrize("case", ALL, ids=lambda c: c.name)


def assert_close(case, got, arrays, eps):
    expected = case.meaning(*[np.asarray(a, np.float64) for a in arrays])
    got = np.asarray(got)
    assert got.shape == expected.shape
    error = np.abs(got.astype(np.float64) - expected)
    allowed = case.ulps * eps * (np.abs(expected) + 1)
    assert (error <= allowed).all(), f"worst {np.max(error / allowed):.2f} of the bound"


@rows
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_meaning_at_every_level(case, dtype, level):
    arrays = case.arrays(np.random.default_rng(1), dtype)
    got = case.fn(*arrays)
    assert isinstance(got, np.ndarray)
    assert got.dtype == dtype
    assert_close(case, got, arrays, EPS[dtype])


@rows
def test_gradient(case):
    check_gradient(case.fn, *case.arrays(np.random.default_rng(2)))


@rows
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types(case, dtype):
    tensors = [ml.tensor(a, dtype=dtype) for a in case.arrays(np.random.default_rng(3), np.float32)]
    got = case.fn(*tensors)
    assert got.dtype == getattr(ml, dtype)
    assert_close(case, got.astype("float32").numpy(), [t.astype("float32").numpy() for t in tensors], EPS[dtype])


@rows
def test_tensor_in_tensor_out(case):
    arrays = case.arrays(np.random.default_rng(4), np.float32)
    plain = case.fn(*arrays)
    taped = case.fn(*[ml.tensor(a, requires_grad=True) for a in arrays])
    assert isinstance(taped, ml.Tensor)
    assert taped.requires_grad
    assert np.array_equal(plain, taped.detach().numpy())
    untaped = case.fn(*[ml.tensor(a) for a in arrays])
    assert not untaped.requires_grad


LAYOUTS = {
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "gaps": lambda x: np.repeat(x, 2, -1)[..., ::2] if x.ndim else x,
    "misaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@rows
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_bits(case, layout):
    arrays = case.arrays(np.random.default_rng(5), np.float32)
    changed = [LAYOUTS[layout](a) if a.ndim else a for a in arrays]
    copies = [a.copy() for a in changed]
    got = case.fn(*changed)
    assert np.array_equal(got, case.fn(*arrays))
    for before, after in zip(copies, changed, strict=True):
        assert np.array_equal(before, after), "an input was written"


@rows
def test_gradients_do_not_depend_on_layout(case):
    arrays = case.arrays(np.random.default_rng(6))

    def gradients(change):
        tensors = [ml.tensor(a, requires_grad=True) for a in arrays]
        out = case.fn(*tensors)
        seed = np.random.default_rng(0).standard_normal(out.shape)
        out.backward(change(seed) if seed.ndim else seed)
        return [t.grad.numpy() for t in tensors]

    for a, b in zip(gradients(lambda g: g), gradients(LAYOUTS["transposed"]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("case", ELEMENTWISE, ids=lambda c: c.name)
def test_lengths_around_vector_widths(case, level):
    for n in LENGTHS:
        arrays = case.arrays(np.random.default_rng(n), np.float32, [(n,)])
        assert_close(case, case.fn(*arrays), arrays, EPS[np.float32])


@pytest.mark.parametrize("case", BINARY[:7], ids=lambda c: c.name)
def test_binary_lengths_and_scalars(case, level):
    for n in LENGTHS:
        for shapes in [((n,), (n,)), ((n,), (1,)), ((1,), (n,))]:
            arrays = case.arrays(np.random.default_rng(n), np.float32, shapes)
            assert_close(case, case.fn(*arrays), arrays, EPS[np.float32])


@rows
def test_reads_nothing_outside_its_inputs(case, level, pages):
    shapes = [[(n,) for _ in case.shapes] for n in LENGTHS[1:]] if case in ELEMENTWISE else []
    for dtype in (np.float32, np.float64):
        for shape in [*shapes, case.shapes]:
            arrays = case.arrays(np.random.default_rng(11), dtype, shape)
            expected = case.fn(*arrays)
            for side in (GuardedPage.begin, GuardedPage.end):
                guarded = [side(page, a) for page, a in zip(pages, arrays, strict=False)]
                assert np.array_equal(case.fn(*guarded), expected)


@rows
def test_thread_count_changes_no_bit(case):
    shapes = [tuple(n * 40 if i == 0 and len(s) > 1 else n for i, n in enumerate(s)) for s in case.shapes]
    arrays = case.arrays(np.random.default_rng(7), np.float32, case.shapes if case in PINNED else shapes)
    before = ml.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            ml.set_num_threads(threads)
            results.append(case.fn(*arrays))
    finally:
        ml.set_num_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


# Rows whose meaning fixes their sizes.
PINNED = [c for c in ALL if c not in ELEMENTWISE and c not in BINARY[:7]]


@rows
def test_replay_gives_the_same_bits(case):
    with ml.no_grad():
        case.fn(*[ml.tensor(a) for a in case.arrays(np.random.default_rng(8), np.float32)])  # makes the row's constants
    compiled = ml.compile(lambda *inputs: case.fn(*inputs))
    for seed in (8, 9, 10):
        tensors = [ml.tensor(a) for a in case.arrays(np.random.default_rng(seed), np.float32)]
        assert np.array_equal(compiled(*tensors).numpy(), case.fn(*tensors).numpy())
    assert compiled.captures == 1


@pytest.mark.parametrize("case", ELEMENTWISE, ids=lambda c: c.name)
def test_nan_goes_through(case):
    x = np.full(19, np.nan, np.float32)
    assert np.isnan(case.fn(x)).all()


def test_logic(level):
    a, b = np.array([True, True, False, False] * 9), np.array([True, False, True, False] * 9)
    assert np.array_equal(F.logical_and(a, b), a & b)
    assert np.array_equal(F.logical_or(a, b), a | b)
    assert np.array_equal(F.logical_xor(a, b), a ^ b)
    assert np.array_equal(F.logical_not(a), ~a)
    assert np.array_equal((ml.tensor(a) & ml.tensor(b)).numpy(), a & b)
    assert np.array_equal((~ml.tensor(a)).numpy(), ~a)


def test_integers_wrap_and_compare(level):
    a = np.array([1, -2, 127, -128], np.int8)
    b = np.array([3, 5, 1, -1], np.int8)
    with np.errstate(over="ignore"):
        for name, meaning in {
            "add": np.add,
            "sub": np.subtract,
            "mul": np.multiply,
            "maximum": np.maximum,
            "lt": np.less,
            "ge": np.greater_equal,
            "eq": np.equal,
            "ne": np.not_equal,
        }.items():
            got = getattr(_C, name)(a, b)
            assert np.array_equal(got, meaning(a, b)), name
            assert got.dtype == meaning(a, b).dtype


CASTS = ["float32", "float64", "int8", "uint8", "int32", "int64", "bool"]


@pytest.mark.parametrize("source", CASTS)
@pytest.mark.parametrize("target", CASTS)
def test_casts(source, target, level):
    values = np.array([0, 1, 2, 100, 1, 0, 77, 3] * 5)
    x = values.astype(source)
    got = ml.functional.astype(x, target)
    assert got.dtype == np.dtype(target)
    assert np.array_equal(got, x.astype(target))


def test_cast_to_integer_saturates_and_sends_nan_to_zero(level):
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.9, -2.9, 2147483647.0], np.float64)
    assert ml.functional.astype(x, "int32").tolist() == [0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 2, -2, 2**31 - 1]
    assert ml.functional.astype(x, "int64").tolist()[:5] == [0, 2**63 - 1, -(2**63), 2**63 - 1, -(2**63)]
    assert ml.functional.astype(x, "uint8").tolist() == [0, 255, 0, 255, 0, 2, 0, 255]


def test_half_casts_round_to_nearest_even():
    bits = np.arange(0, 2**16, dtype=np.uint16)
    halves = bits.view(np.float16)
    wide = ml.functional.astype(halves, "float32")
    assert np.array_equal(wide, halves.astype(np.float32), equal_nan=True)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    assert np.array_equal(ml.functional.astype(x, "float16"), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_where_takes_a_number_in_every_dtype(dtype: str) -> None:
    got = F.where(np.array([True, False, False]), ml.tensor([1.0, 2.0, 3.0], dtype=dtype), -2.5)
    assert got.dtype == ml.tensor(1.0, dtype=dtype).dtype
    assert got.tolist() == [1.0, -2.5, -2.5]
    assert F.where(np.array([False]), ml.tensor([1.0], dtype=dtype), float("-inf")).tolist() == [float("-inf")]
