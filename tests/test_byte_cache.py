"""Keys and values in bytes: rows with scales, attention over them, and caches of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.test_attention import SHAPES, WAYS, draw, options_of

import mlext as ml
from mlext import _C, models, nn
from mlext import functional as F

Array = np.ndarray[Any, Any]
attend = F.scaled_dot_product_attention


def in_bytes(k: Array, v: Array) -> tuple[dict[str, Any], Array, Array]:
    """Arguments that say k and v in bytes, and what these stand for."""
    (kb, ks), (vb, vs) = _C.quantize_rows(k), _C.quantize_rows(v)
    return {"k": kb, "v": vb, "k_scale": ks, "v_scale": vs}, kb * ks[..., None], vb * vs[..., None]


@pytest.mark.parametrize("columns", [0, 1, 5, 16, 33, 200])
def test_rows_are_whole_steps_of_their_largest_size(columns: int, level: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, columns)).astype(np.float32)
    x[0, 1] = 0
    values, scale = _C.quantize_rows(x)
    assert values.dtype == np.int8
    assert scale.shape == (3, 4)
    largest = np.abs(x).max(-1, initial=0)
    np.testing.assert_allclose(scale, np.where(largest > 0, largest / 127, 1), rtol=1e-7)
    np.testing.assert_array_equal(values, np.rint(x / scale[..., None]))
    for dtype in (np.float16, np.float64):
        for a, b in zip(
            _C.quantize_rows(x.astype(np.float16).astype(dtype)), _C.quantize_rows(x.astype(np.float16)), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_rows_without_a_scale_say_so(level: str) -> None:
    x = np.ones((3, 20), np.float32)
    x[0, 3], x[1, 19] = np.nan, np.inf
    scale = _C.quantize_rows(x)[1]
    assert np.isnan(scale[0])
    assert np.isinf(scale[1])
    assert scale[2] == np.float32(1) / 127


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention_is_that_of_what_bytes_stand_for(shape: tuple[int, ...], level: str) -> None:
    rng = np.random.default_rng(1)
    for way in WAYS:
        q, k, v = draw(shape, rng, np.float32)
        options = options_of(way, shape, rng, np.float32)
        given, k, v = in_bytes(k, v)
        np.testing.assert_allclose(
            attend(q, **given, **options), attend(q, k, v, **options), rtol=1e-5, atol=1e-5 * np.abs(v).max()
        )


def test_scales_are_taken_as_they_lie() -> None:
    q, k, v = draw((2, 1, 90, 4, 2, 16, 16), np.random.default_rng(2), np.float32)
    given = in_bytes(k, v)[0]
    expected = attend(q, **given)
    apart = {name: np.repeat(a, 2, 1)[:, ::2] for name, a in given.items()}
    np.testing.assert_array_equal(attend(q, **apart), expected)


def test_threads_do_not_change_bits() -> None:
    for shape in [(1, 1, 5000, 4, 2, 64, 64), (1, 100, 900, 4, 2, 32, 32)]:
        q, k, v = draw(shape, np.random.default_rng(3), np.float32)
        given, found, before = in_bytes(k, v)[0], [], ml.get_num_threads()
        try:
            for threads in (1, 2, 3):
                ml.set_num_threads(threads)
                found.append(attend(q, **given))
        finally:
            ml.set_num_threads(before)
        assert all((a == found[0]).all() for a in found)


def test_wrong_bytes() -> None:
    q, k, v = draw((2, 3, 5, 4, 2, 8, 8), np.random.default_rng(4), np.float32)
    good = in_bytes(k, v)[0]
    for change, error, text in (
        ({"k": k}, TypeError, "'k': expected int8"),
        ({"v": v}, TypeError, "'v': expected int8"),
        ({"k_scale": None}, TypeError, "'k_scale': expected what a step of bytes stands for"),
        ({"v_scale": None}, TypeError, "'v_scale': expected what a step of bytes stands for"),
        ({"k_scale": good["k_scale"][..., :1]}, ValueError, r"'k_scale': expected shape \(2, 5, 2\)"),
        ({"v_scale": good["v_scale"].astype(np.float64)}, TypeError, "'v_scale': expected float32"),
        ({"k_scale": None, "v_scale": None}, TypeError, "'k': expected "),
    ):
        with pytest.raises(error, match=text):
            attend(q, **{**good, **change})
    with pytest.raises(TypeError, match="'q': expected float32 or a half type with k of bytes"):
        attend(q.astype(np.float64), **good)
    with pytest.raises(RuntimeError, match="'q': expected an array that tracks no gradient with k and v of bytes"):
        attend(ml.tensor(q, requires_grad=True), **good)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("options", [{}, {"window": (6, 0)}, {"num_kv_heads": 1, "alibi": True}], ids=str)
def test_a_cache_of_bytes(options: dict[str, Any], dtype: str) -> None:
    layer = nn.MultiHeadAttention(64, 2, rng=0, dtype=dtype, **options)
    x = ml.tensor(np.random.default_rng(5).standard_normal((3, 40, 64)), dtype=dtype)
    caches = [nn.KeyValueCache(dtype="int8")]
    if "window" in options:
        caches.append(nn.KeyValueCache(window=7, dtype="int8"))
    with ml.no_grad():
        expected = layer(x, is_causal=True).numpy().astype(np.float32)
        for cache in caches:
            parts = [layer(x[:, a:b], is_causal=True, cache=cache) for a, b in ((0, 12), (12, 13), (13, 30))]
            parts += [layer(x[:, i : i + 1], is_causal=True, cache=cache) for i in range(30, 40)]
            got = F.concat(parts, 1)
            assert got.dtype.name == dtype
            # Two roundings to 1/254 of the largest of 32 numbers, which is about 2 of their deviations.
            assert np.abs(got.numpy().astype(np.float32) - expected).max() < 0.02 * np.abs(expected).max()
            assert [a.dtype.name for a in cache.kept] == ["int8", "int8", "float32", "float32"]
            assert cache.keys is not None


def test_a_cache_of_bytes_as_a_memory_with_weights_and_beams() -> None:
    layer, rng = nn.MultiHeadAttention(16, 2, rng=0), np.random.default_rng(6)
    x, memory = (rng.standard_normal((2, steps, 16)).astype(np.float32) for steps in (3, 9))
    plain, cache = nn.KeyValueCache(fixed=True), nn.KeyValueCache(fixed=True, dtype="int8")
    with ml.no_grad():
        for _ in range(2):
            (y, p), (z, w) = (layer(x, memory, cache=c, need_weights=True) for c in (plain, cache))
            np.testing.assert_allclose(z.numpy(), y.numpy(), atol=0.02)
            np.testing.assert_allclose(w.numpy(), p.numpy(), atol=0.02)
            np.testing.assert_allclose(layer(x, memory, cache=cache).numpy(), z.numpy(), atol=1e-5)
        before = layer(x[[1, 0]], memory[[1, 0]], cache=nn.KeyValueCache(fixed=True, dtype="int8")).numpy()
        cache.reorder([1, 0])
        np.testing.assert_array_equal(layer(x[[1, 0]], memory[[1, 0]], cache=cache).numpy(), before)


def test_a_model_generates_from_bytes() -> None:
    model = models.GPT(50, context=32, embed_dim=64, num_heads=2, num_layers=2, rng=0)
    told = {kind: list(model.generate([1, 2, 3], 60, temperature=0, cache_dtype=kind)) for kind in (None, "int8")}
    assert len(told["int8"]) == 60
    agree = np.mean([a == b for a, b in zip(told[None][:20], told["int8"][:20], strict=True)])
    assert agree == 1
    with pytest.raises(
        TypeError, match="KeyValueCache: argument 'dtype': expected a floating dtype or int8, got int32"
    ):
        model.generate([1], 2, cache_dtype="int32")
