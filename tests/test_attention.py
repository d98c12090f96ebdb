"""Softmax attention: against its formula in float64, PyTorch, and what it promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import oracle
from tests.gradcheck import check_gradient

import mlext as ml
from _simd_tools import GuardedPage
from mlext import _C
from mlext import functional as F

Array = np.ndarray[Any, Any]
attend = F.scaled_dot_product_attention

# (N, Tq, Tk, H, G, D, V): one of each, few rows, groups of heads, several blocks of keys and of rows, parts of keys.
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1),
    (2, 5, 7, 2, 1, 3, 5),
    (2, 3, 4, 4, 2, 16, 16),
    (1, 64, 64, 2, 2, 64, 64),
    (1, 200, 300, 4, 2, 17, 48),
    (1, 1, 3000, 2, 1, 32, 33),
    (1, 2, 1100, 2, 2, 256, 256),
    (20, 6, 6, 1, 1, 4, 4),
    (1, 17, 5, 1, 1, 16, 100),
]
WAYS = [
    "plain",
    "causal",
    "bottom_right",
    "window",
    "soft_cap",
    "alibi",
    "lengths",
    "hidden",
    "row_hidden",
    "added",
    "negative",
    "all",
]


def options_of(way: str, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
    n, tq, tk, h, *_ = shape
    made: dict[str, Any] = {
        "plain": {},
        "causal": {"is_causal": True},
        "bottom_right": {"is_causal": True, "align": "bottom_right"},
        "window": {"window": (4, 2)},
        "soft_cap": {"soft_cap": 2.0},
        "alibi": {"alibi": np.linspace(0.1, 1, h).astype(dtype)},
        "lengths": {"lengths": rng.integers(0, tk + 1, n)},
        "hidden": {"mask": rng.random((n, 1, tq, tk)) < 0.7},
        "row_hidden": {"mask": rng.random((tq, 1)) < 0.5},
        "added": {"mask": rng.standard_normal((1, h, 1, tk)).astype(dtype)},
        "negative": {"scale": -0.3},
    }
    made["all"] = {**made["bottom_right"], **made["soft_cap"], **made["alibi"], **made["lengths"], **made["hidden"]}
    made["all"]["window"] = (100, None)
    return dict(made[way])


def draw(shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float64) -> list[Array]:
    n, tq, tk, h, g, d, v = shape
    return [rng.standard_normal(s).astype(dtype) for s in ((n, tq, h, d), (n, tk, g, d), (n, tk, g, v))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values(shape: tuple[int, ...], dtype: str, level: str) -> None:
    rng = np.random.default_rng(0)
    for way in WAYS:
        q, k, v = draw(shape, rng, dtype)
        options = options_of(way, shape, rng, dtype)
        expected, spread = oracle.attention(q, k, v, **options)
        got = attend(q, k, v, **options)
        assert got.dtype == dtype
        # A score has a rounding error for each feature, which its weight is multiplied with.
        limit = np.finfo(dtype).eps * (16 + 2 * shape[5]) * spread
        assert (np.abs(got - expected) <= limit).all(), way


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_compute_in_float32(dtype: str, level: str) -> None:
    rng = np.random.default_rng(1)
    for shape in SHAPES:
        for way in ("plain", "causal", "added"):
            q, k, v = (ml.tensor(a, dtype=dtype) for a in draw(shape, rng))
            options = options_of(way, shape, rng, np.float32)
            if way == "added":
                options["mask"] = ml.tensor(options["mask"], dtype=dtype)
            got = attend(q, k, v, **options).numpy().astype(np.float64)
            if way == "added":
                options["mask"] = options["mask"].numpy().astype(np.float64)
            expected, spread = oracle.attention(*(a.numpy().astype(np.float64) for a in (q, k, v)), **options)
            eps = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
            assert (np.abs(got - expected) <= eps * np.abs(expected) + 2e-5 * spread + 1e-7).all(), (shape, way)


@pytest.mark.parametrize("shape", [*SHAPES[:3], (1, 130, 200, 2, 2, 16, 24), (1, 250, 420, 4, 2, 8, 4)], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_gradient(way: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    options = options_of(way, shape, rng, np.float64)
    check_gradient(lambda q, k, v: attend(q, k, v, **options), *draw(shape, rng))


def test_gradient_at_every_level(level: str) -> None:
    rng = np.random.default_rng(3)
    q, k, v = draw((2, 40, 230, 4, 2, 20, 12), rng)
    w = rng.standard_normal((2, 40, 4, 12))

    def gradients(dtype: Any, arrays: list[Array]) -> list[Array]:
        tensors = [ml.tensor(a, dtype=dtype, requires_grad=True) for a in arrays]
        attend(*tensors, is_causal=True, align="bottom_right").backward(ml.tensor(w, dtype=dtype))
        return [t.grad.numpy().astype(np.float64) for t in tensors]

    rounded = [ml.tensor(a, dtype="bfloat16").numpy().astype(np.float64) for a in (q, k, v)]
    expected = gradients("float64", rounded)
    for dtype, limit in (("float32", 2e-6), ("bfloat16", 0.04), ("float16", 0.01)):
        for got, want in zip(gradients(dtype, rounded), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=limit, atol=limit * np.abs(want).max())


@pytest.mark.parametrize("way", WAYS)
def test_weights_in_the_open_are_those_of_the_kernel(way: str) -> None:
    rng = np.random.default_rng(3)
    for shape in SHAPES[1:3]:
        q, k, v = draw(shape, rng)
        options = options_of(way, shape, rng, np.float64)
        weights = F.attention_weights(q, k, **options)
        values = np.repeat(v, shape[3] // shape[4], 2)
        expected = np.einsum("nhij,njhd->nihd", weights, values)
        np.testing.assert_allclose(attend(q, k, v, **options), expected, rtol=1e-10, atol=1e-12)


def test_packed_sequences_are_those_alone() -> None:
    rng = np.random.default_rng(4)
    arrays = draw((1, 50, 50, 2, 1, 8, 8), rng)
    offsets = [0, 13, 13, 40, 50]
    spans = [(a, b) for a, b in zip(offsets, offsets[1:], strict=False) if b > a]
    for options in ({}, {"is_causal": True}, {"window": (3, 0)}):
        got = attend(*arrays, offsets=offsets, **options)
        alone = [attend(*(x[:, a:b] for x in arrays), **options) for a, b in spans]
        np.testing.assert_allclose(got, np.concatenate(alone, 1), rtol=1e-12, atol=1e-14)
        check_gradient(lambda q, k, v, o=options: attend(q, k, v, offsets=offsets, **o), *arrays)


def test_what_comes_behind_a_length_is_not_read() -> None:
    rng = np.random.default_rng(5)
    q, k, v = draw((2, 70, 300, 2, 2, 8, 8), rng)
    expected = attend(q, k, v, lengths=[100, 0])
    k[0, 100:], v[0, 100:], k[1], v[1] = np.nan, np.inf, np.nan, np.nan
    np.testing.assert_array_equal(attend(q, k, v, lengths=[100, 0]), expected)
    assert not expected[1].any()
    tensors = [ml.tensor(a, requires_grad=True) for a in (q, k, v)]
    attend(*tensors, lengths=[100, 0]).sum().backward()
    gq, gk, gv = (t.grad.numpy() for t in tensors)
    assert np.isfinite(gq).all()
    assert gq[0].any()
    assert not gq[1].any()
    for g in (gk, gv):
        assert np.isfinite(g).all()
        assert not g[0, 100:].any()
        assert not g[1].any()


def test_a_query_that_sees_nothing_gets_nothing() -> None:
    rng = np.random.default_rng(6)
    q, k, v = (ml.tensor(a, requires_grad=True) for a in draw((1, 6, 4, 1, 1, 8, 8), rng))
    mask = np.ones((6, 4), bool)
    mask[2] = False
    for options in (
        {"mask": mask},
        {"mask": np.where(mask, 0.0, -np.inf)},
        {"is_causal": True, "align": "bottom_right"},
    ):
        out = attend(q, k, v, **options)
        out.sum().backward()
        row = 2 if "mask" in options else 0
        assert not out.numpy()[0, row].any()
        assert not q.grad.numpy()[0, row].any()
        for t in (q, k, v):
            assert np.isfinite(t.grad.numpy()).all()
            t.grad = None


def test_exact_results(level: str) -> None:
    rng = np.random.default_rng(7)
    q, k, v = draw((2, 9, 1, 3, 3, 8, 5), rng, np.float32)
    np.testing.assert_array_equal(attend(q, k, v), np.broadcast_to(v, (2, 9, 3, 5)))  # one key
    whole = rng.integers(-8, 8, (1, 256, 1, 20)).astype(np.float32)
    got = attend(np.zeros((1, 70, 1, 8), np.float32), np.zeros((1, 256, 1, 8), np.float32), whole)
    np.testing.assert_array_equal(got, np.broadcast_to(whole.mean(1, keepdims=True), got.shape))  # all alike


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_large_scores(dtype: str) -> None:
    rng = np.random.default_rng(8)
    q, k, v = draw((1, 70, 500, 1, 1, 16, 8), rng)
    tensors = [ml.tensor(a, dtype=dtype) for a in (50 * q, 50 * k, v)]
    rounded = [t.numpy().astype(np.float64) for t in tensors]
    got = attend(*tensors, scale=1.0).numpy().astype(np.float64)
    expected, _ = oracle.attention(*rounded, scale=1.0)
    assert np.abs(np.einsum("nihd,njhd->nhij", *rounded[:2])).max() > 1e4
    np.testing.assert_allclose(got, expected, rtol=0.01, atol=0.01)


def test_infinity_and_nan_go_through() -> None:
    q, k, v = draw((1, 70, 300, 1, 1, 16, 8), np.random.default_rng(9), np.float32)
    k[0, 250, 0, 3] = np.nan
    assert np.isnan(attend(q, k, v)).all()
    assert np.isnan(attend(q[:, :2], k, v)).all()
    assert np.isfinite(attend(q, k, v, is_causal=True)).all()


def test_views_are_taken_as_they_lie() -> None:
    rng = np.random.default_rng(10)
    for dtype in ("float32", "bfloat16"):
        fused = ml.tensor(rng.standard_normal((2, 33, 4 + 2 + 2, 8)), dtype=dtype)
        parts = [fused[:, :, :4], fused[:, :, 4:6], fused[:, :, 6:]]
        copies = [ml.tensor(p.numpy().astype(np.float64), dtype=dtype) for p in parts]
        np.testing.assert_array_equal(attend(*parts).numpy(), attend(*copies).numpy())
    x = rng.standard_normal((2, 8, 4, 33))  # features far apart
    q, k, v = (np.ascontiguousarray(x.transpose(0, 3, 2, 1)),) * 3
    np.testing.assert_array_equal(attend(*(x.transpose(0, 3, 2, 1),) * 3), attend(q, k, v))


def test_threads_do_not_change_bits() -> None:
    before = ml.get_num_threads()
    try:
        for shape in [(1, 300, 700, 2, 1, 16, 16), (1, 1, 5000, 2, 1, 16, 16), (3, 40, 40, 2, 2, 16, 16)]:
            found = []
            for threads in (1, 2, 3):
                ml.set_num_threads(threads)
                tensors = [
                    ml.tensor(a, dtype="float32", requires_grad=True) for a in draw(shape, np.random.default_rng(1))
                ]
                out = attend(*tensors, dropout_p=0.1, rng=5)
                out.backward(ml.tensor(np.ones(out.shape, np.float32)))
                found.append([out.numpy(), *(t.grad.numpy() for t in tensors)])
            for other in found[1:]:
                for a, b in zip(found[0], other, strict=True):
                    np.testing.assert_array_equal(a, b)
    finally:
        ml.set_num_threads(before)


def test_dropout() -> None:
    rng = np.random.default_rng(12)
    q, k, _ = draw((2, 50, 400, 2, 2, 8, 8), rng)
    eye = np.broadcast_to(np.eye(400)[:, None], (2, 400, 2, 400))  # what comes out are the weights themselves
    kept = attend(q, k, eye, dropout_p=0.25, rng=3)
    whole = attend(q, k, eye)
    dropped = kept == 0
    np.testing.assert_allclose(kept[~dropped], whole[~dropped] / 0.75, rtol=1e-12)
    assert abs(dropped.mean() - 0.25) < 0.01
    assert not np.array_equal(dropped[0], dropped[1])
    assert not np.array_equal(dropped[:, 0], dropped[:, 1])
    again, other = attend(q, k, eye, dropout_p=0.25, rng=3), attend(q, k, eye, dropout_p=0.25, rng=4)
    np.testing.assert_array_equal(kept, again)
    assert not np.array_equal(kept, other)
    assert not attend(q, k, eye, dropout_p=1.0, rng=3).any()
    for options in ({}, {"is_causal": True}, {"soft_cap": 2.0}):
        check_gradient(
            lambda q, k, v, o=options: attend(q, k, v, dropout_p=0.4, rng=7, **o), *draw((2, 30, 230, 2, 1, 8, 4), rng)
        )


def test_a_replay_draws_anew() -> None:
    q, k, v = draw((1, 40, 40, 2, 2, 8, 8), np.random.default_rng(13), np.float32)
    generator = ml.random.Generator(1)
    qt = ml.tensor(q, requires_grad=True)

    @ml.compile
    def step(k: Any, v: Any) -> Any:
        qt.grad = None
        out = attend(qt, k, v, dropout_p=0.5, rng=generator)
        out.sum().backward()
        return out, qt.grad

    eager = ml.random.Generator(1)
    for _ in range(3):
        out, grad = (np.array(t.numpy()) for t in step(k, v))
        mine = ml.tensor(q, requires_grad=True)
        expected = attend(mine, ml.tensor(k), ml.tensor(v), dropout_p=0.5, rng=eager)
        expected.sum().backward()
        np.testing.assert_array_equal(out, expected.numpy())
        np.testing.assert_array_equal(grad, mine.grad.numpy())


def test_memory_grows_with_the_steps() -> None:
    def peak(steps: int) -> int:
        tensors = [ml.tensor(np.ones((1, steps, 1, 16), np.float32), requires_grad=True) for _ in range(3)]
        _C.reset_peak_memory()
        before = _C.memory_stats()["in_use"]
        attend(*tensors, is_causal=True).sum().backward()
        return int(_C.memory_stats()["peak"]) - before

    assert peak(8192) < 3 * peak(4096)  # of T squared it would be four times as much
    assert peak(8192) < 8192 * 8192  # bytes: a quarter of the scores


def test_nothing_outside_the_arguments_is_touched(level: str, pages: list[GuardedPage]) -> None:
    for shape in SHAPES[:3]:
        arrays = draw(shape, np.random.default_rng(14), np.float32)
        expected = attend(*arrays)
        guarded = [page.end(a) for page, a in zip(pages, arrays, strict=False)]
        np.testing.assert_array_equal(attend(*guarded), expected)


def test_equals_torch() -> None:
    torch = pytest.importorskip("torch")
    q, k, v = draw((2, 30, 30, 4, 2, 8, 6), np.random.default_rng(15))
    mask = np.random.default_rng(1).standard_normal((2, 1, 30, 30))
    for ours, theirs in [({}, {}), ({"is_causal": True},) * 2, ({"mask": mask}, {"attn_mask": torch.tensor(mask)})]:
        tensors = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
        mine = [ml.tensor(a, requires_grad=True) for a in (q, k, v)]
        swapped = [t.transpose(1, 2) for t in tensors]
        expected = torch.nn.functional.scaled_dot_product_attention(*swapped, enable_gqa=True, **theirs).transpose(1, 2)
        got = attend(*mine, **ours)
        np.testing.assert_allclose(got.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
        expected.sum().backward()
        got.sum().backward()
        for a, b in zip(mine, tensors, strict=True):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


ROWS = json.loads((Path(__file__).parent.parent / "bench/shapes/attention.json").read_text())["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_rows_of_the_benchmark(row: dict[str, Any]) -> None:
    n, tq, tk, h, g, d = (row[name] for name in ("batch", "q_len", "kv_len", "heads", "kv_heads", "head_dim"))
    n, h, g = min(n, 2), h // g, 1  # some sequences, one group of heads
    size = (n, tq, tk, h, g, d, d)
    rng = np.random.default_rng(16)
    q, k, v = draw(size, rng, np.float32)
    got = attend(q, k, v, is_causal=row["causal"])
    some = rng.integers(0, tq, 3)  # the oracle holds all scores
    hidden = np.arange(tk) <= some[:, None] if row["causal"] else None
    expected, spread = oracle.attention(q[:, some], k, v, mask=hidden)
    assert (np.abs(got[:, some] - expected) <= 2.0**-23 * (16 + 2 * d) * spread).all()


Q, K, V = np.zeros((2, 5, 4, 8)), np.zeros((2, 7, 2, 8)), np.zeros((2, 7, 2, 3))
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"q": Q[0]}, ValueError, r"argument 'q': expected 4 dimensions \(N, Tq, H, D\)"),
    ({"q": Q.astype(np.float32)}, TypeError, "argument 'k'"),
    ({"q": Q.astype(int)}, TypeError, "argument 'q'"),
    ({"q": Q[..., :0], "k": K[..., :0]}, ValueError, "argument 'q': expected at least one feature"),
    ({"k": K[:, :, :1].repeat(3, 2)}, ValueError, "argument 'k': expected a number of heads that divides the 4 of q"),
    ({"k": K[..., :7]}, ValueError, "argument 'k'"),
    ({"k": K[:1]}, ValueError, "argument 'k'"),
    ({"v": V[:, :6]}, ValueError, "argument 'v'"),
    ({"v": V[0]}, ValueError, "argument 'v'"),
    ({"mask": np.zeros((5, 6), bool)}, ValueError, r"argument 'mask': expected a shape that broadcasts to"),
    ({"mask": np.zeros((5, 7), int)}, TypeError, "argument 'mask': expected bool or the dtype"),
    ({"mask": np.zeros((5, 7), np.float32)}, TypeError, "argument 'mask'"),
    ({"mask": np.zeros((1, 1, 1, 5, 7), bool)}, ValueError, "argument 'mask'"),
    ({"scale": float("nan")}, ValueError, "argument 'scale': expected a finite number"),
    ({"dropout_p": 1.5}, ValueError, "argument 'dropout_p'"),
    ({"dropout_p": -0.1}, ValueError, "argument 'dropout_p'"),
    ({"align": "right"}, ValueError, "argument 'align': expected 'top_left' or 'bottom_right'"),
    ({"window": 3}, TypeError, "argument 'window': expected None or a pair"),
    ({"window": (1.5, 0)}, TypeError, "argument 'window': expected integers"),
    ({"window": (-1, 0)}, ValueError, "argument 'window': expected 0 or more"),
    ({"alibi": np.zeros(3)}, ValueError, "argument 'alibi'"),
    ({"soft_cap": 0.0}, ValueError, "argument 'soft_cap'"),
    ({"soft_cap": float("inf")}, ValueError, "argument 'soft_cap'"),
    ({"lengths": [7, 8]}, ValueError, "argument 'lengths': expected lengths from 0 to 7"),
    ({"lengths": [7]}, ValueError, "argument 'lengths': expected shape"),
    ({"lengths": [1.0, 2.0]}, TypeError, "argument 'lengths': expected integers"),
    ({"offsets": [0, 5]}, ValueError, "argument 'offsets': expected q and k with one row"),
    ({"offsets": [1, 5]}, ValueError, "argument 'offsets': expected where each sequence begins"),
    ({"offsets": [0, 4, 3, 5]}, ValueError, "argument 'offsets'"),
    ({"offsets": [0.0, 5.0]}, TypeError, "argument 'offsets': expected integers"),
]


@pytest.mark.parametrize("row", BAD, ids=lambda row: str(list(row[0])))
def test_wrong_inputs(row: tuple[dict[str, Any], type[Exception], str]) -> None:
    wrong, error, message = row
    with pytest.raises(error, match=message):
        attend(**{"q": Q, "k": K, "v": V, **wrong})


def test_a_mask_that_learns_is_refused() -> None:
    mask = ml.tensor(np.zeros((5, 7)), requires_grad=True)
    with pytest.raises(ValueError, match="argument 'mask': expected one that needs no gradient"):
        attend(ml.tensor(Q), K, V, mask)


@pytest.mark.parametrize(
    "shape", [(0, 3, 3, 2, 1, 4, 4), (2, 0, 3, 2, 1, 4, 4), (2, 3, 3, 0, 1, 4, 4), (2, 3, 3, 2, 1, 4, 0)]
)
def test_empty(shape: tuple[int, ...]) -> None:
    tensors = [ml.tensor(a, requires_grad=True) for a in draw(shape, np.random.default_rng(0))]
    out = attend(*tensors)
    assert out.shape == (shape[0], shape[1], shape[3], shape[6])
    out.sum().backward()
    assert all(not t.grad.numpy().any() for t in tensors)


def test_no_keys() -> None:
    q, k, v = (ml.tensor(a, requires_grad=True) for a in draw((2, 3, 0, 2, 1, 4, 5), np.random.default_rng(0)))
    out = attend(q, k, v)
    assert out.shape == (2, 3, 2, 5)
    assert not out.numpy().any()
    out.sum().backward()
    assert not q.grad.numpy().any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gradients_of_slices_are_slices(groups: int, dtype: str) -> None:
    whole = np.random.default_rng(15).standard_normal((2, 70, 4 + 2 * groups, 16))
    options: dict[str, Any] = {"is_causal": True, "lengths": [70, 33]}
    x = ml.tensor(whole, dtype=dtype, requires_grad=True)
    q, k, v = F.split(x, (4, groups, groups), 2)
    attend(q, k, v, **options).sum().backward()
    apart = [ml.tensor(a.copy(), dtype=dtype, requires_grad=True) for a in np.split(whole, (4, 4 + groups), 2)]
    attend(*apart, **options).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.concatenate([a.grad.numpy() for a in apart], 2))
    assert x.grad.numpy().any()
