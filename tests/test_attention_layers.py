"""Layers of transformers: against PyTorch, against their own definitions, and step by step with caches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mlext as ml
from gradcheck import check_gradient
from mlext import functional as F
from mlext import nn

Array = np.ndarray[Any, Any]


def array(value: Any) -> Array:
    return value.detach().numpy()


def drawn(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def shaken(module: nn.Module, seed: int = 5) -> nn.Module:
    """The module with all parameters drawn, biases and norms too: zeros and ones hide mistakes."""
    rng = np.random.default_rng(seed)
    for parameter in module.parameters():
        ml._C.copy_(parameter, rng.standard_normal(parameter.shape) * 0.4)
    return module


def same_as_torch(ours: nn.Module, theirs: Any, call: Any, torch_call: Any, *inputs: Array) -> None:
    """Load torch's state, and compare outputs and the gradients of inputs and of parameters."""
    torch = pytest.importorskip("torch")
    theirs = theirs.double()
    with torch.no_grad():
        for i, parameter in enumerate(theirs.parameters()):
            parameter.copy_(torch.from_numpy(drawn(i, *parameter.shape) * 0.4))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = [ml.tensor(a, requires_grad=True) for a in inputs]
    y = [torch.tensor(a, requires_grad=True) for a in inputs]
    got, expected = call(ours, *x), torch_call(theirs, *y)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(array(a), b.detach().numpy(), rtol=1e-6, atol=1e-9)
    g = drawn(9, *got[0].shape)
    got[0].backward(ml.tensor(g))
    expected[0].backward(torch.from_numpy(g))
    for a, b in zip(x, y, strict=True):
        np.testing.assert_allclose(array(a.grad), b.grad.numpy(), rtol=1e-6, atol=1e-9)
    grads = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        np.testing.assert_allclose(array(parameter.grad), grads[name].numpy(), rtol=1e-6, atol=1e-9, err_msg=name)


# ---- multi-head attention ------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(8, 8), (5, 8), (5, 6)])
def test_attention_is_that_of_torch(bias: bool, sizes: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    key_size, value_size = sizes
    ours = nn.MultiHeadAttention(8, 2, key_size=key_size, value_size=value_size, bias=bias, dtype="float64")
    theirs = torch.nn.MultiheadAttention(8, 2, bias=bias, kdim=key_size, vdim=value_size, batch_first=True)
    hidden = np.arange(7) >= np.array([7, 4, 1])[:, None]
    inputs = drawn(1, 3, 5, 8), drawn(2, 3, 7, key_size), drawn(3, 3, 7, value_size)

    def torch_call(layer: Any, *x: Any) -> Any:
        return layer(*x, key_padding_mask=torch.from_numpy(hidden), average_attn_weights=False)

    same_as_torch(ours, theirs, lambda m, *x: m(*x, lengths=[7, 4, 1], need_weights=True), torch_call, *inputs)
    same_as_torch(ours, theirs, lambda m, *x: (m(*x, lengths=[7, 4, 1]),), lambda m, *x: torch_call(m, *x)[:1], *inputs)
    floats = np.where(hidden, -np.inf, drawn(4, 3, 7))[:, None, None]
    y, weights = ours(*inputs, mask=floats, need_weights=True)
    np.testing.assert_allclose(array(y), array(ours(*inputs, mask=floats)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(array(weights).sum(-1), 1, rtol=1e-9)


def test_self_attention_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.MultiHeadAttention(8, 4, dtype="float64"), torch.nn.MultiheadAttention(8, 4, batch_first=True)
    ahead = torch.from_numpy(np.triu(np.ones((6, 6), bool), 1))
    x = drawn(1, 2, 6, 8)

    def torch_call(layer: Any, x: Any) -> Any:
        return layer(x, x, x, attn_mask=ahead, need_weights=False)[:1]

    same_as_torch(ours, theirs, lambda m, x: (m(x, is_causal=True),), torch_call, x)
    same_as_torch(ours, theirs, lambda m, x: (m(x, mask=array(~ml.tensor(ahead.numpy()))),), torch_call, x)
    expected = array(ours(x))
    for other in (ours(x, x), ours(x, x, x), ours(ml.tensor(x), value=x)):  # ndarrays: not one product
        np.testing.assert_allclose(array(other), expected, rtol=1e-9, atol=1e-12)


def test_initial_values_are_those_of_torch() -> None:
    layer = nn.MultiHeadAttention(64, 4, rng=0)
    bound = (6 / (4 * 64)) ** 0.5
    assert 0.98 * bound < np.abs(array(layer.in_proj_weight)).max() <= bound
    assert (array(layer.in_proj_bias) == 0).all()
    assert (array(layer.out_proj.bias) == 0).all()
    assert 0.98 / 8 < np.abs(array(layer.out_proj.weight)).max() <= 1 / 8


@pytest.mark.parametrize("groups", [1, 2])
def test_shared_heads_are_copies_of_heads(groups: int) -> None:
    few = shaken(nn.MultiHeadAttention(12, 4, num_kv_heads=groups, dtype="float64"))
    assert few.in_proj_weight.shape == ((4 + 2 * groups) * 3, 12)
    many = nn.MultiHeadAttention(12, 4, dtype="float64")

    def spread(a: Array) -> Array:
        heads = a.reshape(4 + 2 * groups, 3, *a.shape[1:])
        parts = heads[:4], *(np.repeat(h, 4 // groups, 0) for h in (heads[4 : 4 + groups], heads[4 + groups :]))
        return np.concatenate(parts).reshape(36, *a.shape[1:])

    state = {name: array(value) for name, value in few.state_dict().items()}
    state |= {name: spread(state[name]) for name in ("in_proj_weight", "in_proj_bias")}
    many.load_state_dict(state)
    x, memory = drawn(1, 2, 5, 12), drawn(2, 2, 7, 12)
    np.testing.assert_allclose(array(few(x, is_causal=True)), array(many(x, is_causal=True)), rtol=1e-9)
    np.testing.assert_allclose(array(few(x, memory)), array(many(x, memory)), rtol=1e-9)
    y, weights = few(x, memory, need_weights=True)
    np.testing.assert_allclose(array(y), array(few(x, memory)), rtol=1e-9)
    assert weights.shape == (2, 4, 5, 7)
    check_gradient(lambda x, m: few(x, m), x, memory, parameters=few.parameters())


def test_options_reach_the_scores() -> None:
    x = drawn(1, 2, 6, 8)
    layer = shaken(nn.MultiHeadAttention(8, 2, window=(2, 1), soft_cap=0.5, alibi=True, dtype="float64"))
    weights = array(layer(x, need_weights=True)[1])
    projected = x @ array(layer.in_proj_weight).T + array(layer.in_proj_bias)
    q, k, _ = (a.reshape(2, 6, 2, 4) for a in np.split(projected, 3, -1))
    i, j = np.ogrid[:6, :6]
    scores = 0.5 * np.tanh(np.einsum("nshd,nthd->nhst", q, k) / 2 / 0.5)
    scores -= np.array([2.0**-4, 2.0**-8])[:, None, None] * abs(i - j)
    e = np.exp(scores) * ((j >= i - 2) & (j <= i + 1))
    np.testing.assert_allclose(weights, e / e.sum(-1, keepdims=True), rtol=1e-9)
    assert "slopes" not in layer.state_dict()
    assert layer.to("float32").slopes.dtype == ml.float32


def test_slopes_of_any_number_of_heads() -> None:
    for heads, expected in ((1, [8]), (2, [4, 8]), (4, [2, 4, 6, 8]), (3, [4, 8, 2]), (6, [2, 4, 6, 8, 1, 3])):
        slopes = array(nn.MultiHeadAttention(heads, heads, alibi=True).slopes)
        np.testing.assert_array_equal(slopes, 2.0 ** -np.array(expected, np.float32))


def test_dropout_of_weights_in_training_only() -> None:
    x = drawn(1, 2, 6, 8)
    layer = nn.MultiHeadAttention(8, 2, dropout=0.5, dtype="float64", rng=0)
    plain = nn.MultiHeadAttention(8, 2, dtype="float64", rng=0)
    assert not np.allclose(array(layer(x)), array(plain(x)))
    np.testing.assert_array_equal(array(layer.eval()(x)), array(plain(x)))


# ---- positions -----------------------------------------------------------------------------------


def test_waves_of_positions() -> None:
    t, i = np.ogrid[3:8, :7]
    angles = t / 10000 ** ((i - i % 2) / 7)
    expected = np.where(i % 2 == 0, np.sin(angles), np.cos(angles))
    layer = nn.SinusoidalPosition(7, 8)
    x = drawn(0, 2, 5, 7)
    np.testing.assert_allclose(array(layer(x, 3)), x + expected, rtol=1e-12)
    np.testing.assert_array_equal(array(layer(x, np.arange(3, 8))), array(layer(x, 3)))
    each = array(layer(x, [[3, 4, 5, 6, 7], [7, 6, 5, 4, 3]]))
    np.testing.assert_allclose(each, x + np.stack([expected, expected[::-1]]), rtol=1e-12)


def test_learned_positions() -> None:
    layer, x = nn.LearnedPosition(8, 3, dtype="float64", rng=0), drawn(0, 2, 5, 3)
    rows = array(layer.weight)
    assert 0.01 < rows.std() < 0.03
    np.testing.assert_array_equal(array(layer(x, 3)), x + rows[3:])
    np.testing.assert_array_equal(array(layer(x, [0, 1, 2, 0, 1])), x + rows[[0, 1, 2, 0, 1]])
    check_gradient(lambda x: layer(x, 2), x, parameters=layer.parameters())


@pytest.mark.parametrize("interleaved", [False, True])
def test_scores_of_turned_heads_know_distances_alone(interleaved: bool) -> None:
    layer = nn.RotaryPosition(6, interleaved=interleaved)
    q, k = drawn(0, 1, 1, 2, 6), drawn(1, 1, 1, 2, 6)

    def score(i: int, j: int) -> Array:
        return (array(layer(ml.tensor(q), i)) * array(layer(ml.tensor(k), j))).sum(-1)

    np.testing.assert_allclose(score(7, 3), score(5004, 5000), rtol=1e-9)
    assert not np.allclose(score(7, 3), score(7, 4))
    np.testing.assert_allclose(score(9, 9), (q * k).sum(-1), rtol=1e-9)
    x = drawn(2, 2, 3, 2, 6)
    np.testing.assert_allclose(array(layer(x, [[4, 5, 6], [0, 1, 2]]))[:1], array(layer(x[:1], 4)), rtol=1e-12)
    np.testing.assert_allclose((array(layer(x)) ** 2).sum(-1), (x**2).sum(-1), rtol=1e-9)


def test_frequencies_of_llama() -> None:
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"original_max_position_embeddings": 8192, "rope_type": "llama3"}  # type: ignore[dict-item]
    plain, scaled = nn.RotaryPosition(128, base=5e5), nn.RotaryPosition(128, base=5e5, scaling=scaling)
    a, b = plain._frequencies(), scaled._frequencies()
    lengths = 2 * np.pi / a
    np.testing.assert_array_equal(a[lengths < 8192 / 4], b[lengths < 8192 / 4])
    np.testing.assert_allclose(a[lengths > 8192] / 8, b[lengths > 8192], rtol=1e-12)
    middle = (lengths > 8192 / 4) & (lengths < 8192)
    assert middle.any()
    smooth = (8192 / lengths[middle] - 1) / 3
    np.testing.assert_allclose(b[middle], (1 - smooth) * a[middle] / 8 + smooth * a[middle], rtol=1e-12)


# ---- caches --------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "shared": {"num_kv_heads": 1},
    "rotary": {"rotary": nn.RotaryPosition(4)},
    "alibi": {"alibi": True, "soft_cap": 2.0},
    "window": {"window": (2, 0), "rotary": nn.RotaryPosition(4, interleaved=True)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("capacity", [None, 100])
def test_steps_with_a_cache_are_the_whole(kind: str, capacity: int | None) -> None:
    layer = shaken(nn.MultiHeadAttention(8, 2, **KINDS[kind]))
    x = drawn(1, 3, 100, 8).astype(np.float32)  # more than a page
    cache = nn.KeyValueCache(capacity)
    with ml.no_grad():
        expected = array(layer(x, is_causal=True))
        parts = [layer(x[:, a:b], is_causal=True, cache=cache) for a, b in ((0, 5), (5, 6), (6, 80))]
        parts += [layer(x[:, i : i + 1], is_causal=True, cache=cache) for i in range(80, 100)]
    np.testing.assert_allclose(np.concatenate([array(p) for p in parts], 1), expected, rtol=1e-5, atol=1e-5)
    assert cache.length == 100
    assert cache.keys.shape == cache.values.shape == (3, 100, layer.num_kv_heads, 4)
    cache.reset()
    assert cache.length == 0


@pytest.mark.parametrize("chunks", [[1] * 12, [5, 1, 1, 5], [2, 3, 1, 6], [3, 1, 8]])
def test_a_window_of_keys_is_windowed_attention(chunks: list[int]) -> None:
    layer = shaken(nn.MultiHeadAttention(8, 2, window=(3, 0), rotary=nn.RotaryPosition(4)))
    x = drawn(1, 2, 12, 8).astype(np.float32)
    cache, at, parts = nn.KeyValueCache(window=4), 0, []
    with ml.no_grad():
        expected = array(layer(x, is_causal=True))
        for steps in chunks:
            parts.append(array(layer(x[:, at : at + steps], is_causal=True, cache=cache)))
            at += steps
    np.testing.assert_allclose(np.concatenate(parts, 1), expected, rtol=1e-5, atol=1e-5)
    assert cache.length == 12
    assert cache.keys.shape == (2, 4, 2, 4)


def test_beams_go_on_from_others() -> None:
    layer = shaken(nn.MultiHeadAttention(8, 2))
    x = drawn(1, 3, 4, 8).astype(np.float32)
    with ml.no_grad():
        for options in ({}, {"window": 2}):
            windowed = shaken(nn.MultiHeadAttention(8, 2, window=(1, 0))) if options else layer
            picked, plain = nn.KeyValueCache(**options), nn.KeyValueCache(**options)
            windowed(x, is_causal=True, cache=picked)
            windowed(x[[2, 0, 0, 1]], is_causal=True, cache=plain)
            picked.reorder([2, 0, 0, 1])
            np.testing.assert_array_equal(array(picked.keys), array(plain.keys))
            step = drawn(2, 4, 1, 8).astype(np.float32)
            a, b = (array(windowed(step, is_causal=True, cache=c)) for c in (picked, plain))
            np.testing.assert_array_equal(a, b)
        with pytest.raises(IndexError):
            picked.reorder([4])


def test_a_cache_of_half_types_is_half_as_large() -> None:
    layer = shaken(nn.MultiHeadAttention(8, 2, alibi=True))
    x = drawn(1, 2, 6, 8).astype(np.float32)
    cache = nn.KeyValueCache(dtype="bfloat16")
    with ml.no_grad():
        y = layer(x, is_causal=True, cache=cache)
        np.testing.assert_allclose(array(y), array(layer(x, is_causal=True)), atol=0.05)
    assert cache.keys.dtype == cache.values.dtype == ml.bfloat16
    assert y.dtype == ml.float32


def test_a_memory_is_projected_once() -> None:
    layer = shaken(nn.MultiHeadAttention(8, 2))
    x, memory = drawn(1, 2, 3, 8).astype(np.float32), drawn(2, 2, 5, 8).astype(np.float32)
    cache = nn.KeyValueCache(fixed=True)
    with ml.no_grad():
        expected = array(layer(x, memory))
        np.testing.assert_array_equal(array(layer(x, memory, cache=cache)), expected)
        np.testing.assert_array_equal(array(layer(x, np.full_like(memory, np.nan), cache=cache)), expected)
        assert cache.length == 5
        with pytest.raises(ValueError, match=r"'cache': expected keys of shape \(2, 4\), got \(2, 5\); reset"):
            layer(x, memory[:, :4], cache=cache)
        with pytest.raises(ValueError, match="expected nothing more, since it is fixed"):
            cache.append(cache.keys, cache.values)


def test_a_refused_step_leaves_the_cache() -> None:
    layer, cache = nn.MultiHeadAttention(8, 2), nn.KeyValueCache()
    x = ml.ones(1, 2, 8)
    with ml.no_grad():
        layer(x, cache=cache)
        with pytest.raises(ValueError, match="'mask'"):
            layer(x, cache=cache, mask=ml.ones(2, 9))
        assert cache.length == 2
        cache.reset()
        with pytest.raises(ValueError, match="'mask'"):
            layer(x, cache=cache, mask=ml.ones(2, 9))
        layer(ml.ones(3, 2, 8), cache=cache)  # other sequences, since there are none yet
    assert cache.keys.shape == (3, 2, 2, 4)


# ---- layers and stacks ---------------------------------------------------------------------------


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize(("activation", "bias"), [("relu", True), ("gelu", False)])
def test_encoder_layers_are_those_of_torch(norm_first: bool, activation: str, bias: bool) -> None:
    torch = pytest.importorskip("torch")
    arguments = (8, 2, 12, 0.0, activation, 1e-3)
    ours = nn.TransformerEncoderLayer(*arguments, norm_first=norm_first, bias=bias, dtype="float64")
    theirs = torch.nn.TransformerEncoderLayer(*arguments, True, norm_first, bias)
    x, hidden = drawn(1, 3, 6, 8), np.arange(6) >= np.array([6, 2, 5])[:, None]
    ahead = torch.from_numpy(np.triu(np.ones((6, 6), bool), 1))
    same_as_torch(
        ours,
        theirs,
        lambda m, x: (m(x, lengths=[6, 2, 5], is_causal=True),),
        lambda m, x: (m(x, ahead, torch.from_numpy(hidden)),),
        x,
    )


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_layers_are_those_of_torch(norm_first: bool) -> None:
    torch = pytest.importorskip("torch")
    ours = nn.TransformerDecoderLayer(8, 2, 12, 0.0, norm_first=norm_first, dtype="float64")
    theirs = torch.nn.TransformerDecoderLayer(8, 2, 12, 0.0, batch_first=True, norm_first=norm_first)
    hidden = np.arange(5) >= np.array([5, 2, 4])[:, None]
    ahead = torch.from_numpy(np.triu(np.ones((6, 6), bool), 1))
    same_as_torch(
        ours,
        theirs,
        lambda m, x, memory: (m(x, memory, memory_lengths=[5, 2, 4]),),
        lambda m, x, memory: (m(x, memory, ahead, memory_key_padding_mask=torch.from_numpy(hidden)),),
        drawn(1, 3, 6, 8),
        drawn(2, 3, 5, 8),
    )
    same_as_torch(
        ours,
        theirs,
        lambda m, x, memory: (m(x, memory, is_causal=False, memory_mask=np.eye(6, 5) == 0, lengths=[6, 6, 6]),),
        lambda m, x, memory: (m(x, memory, memory_mask=torch.eye(6, 5) == 1),),
        drawn(1, 3, 6, 8),
        drawn(2, 3, 5, 8),
    )


def test_stacks_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, norm_first=True, dtype="float64", rng=0)
    ours = nn.TransformerEncoder(layer, 3, nn.LayerNorm(8, dtype="float64"))
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True, norm_first=True)
    theirs = torch.nn.TransformerEncoder(theirs, 3, torch.nn.LayerNorm(8), enable_nested_tensor=False)
    x, memory = drawn(1, 3, 6, 8), drawn(2, 3, 5, 8)
    same_as_torch(ours, theirs, lambda m, x: (m(x),), lambda m, x: (m(x),), x)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, 0.0, dtype="float64"), 2)
    theirs = torch.nn.TransformerDecoderLayer(8, 2, 12, 0.0, batch_first=True)
    theirs = torch.nn.TransformerDecoder(theirs, 2)
    ahead = torch.from_numpy(np.triu(np.ones((6, 6), bool), 1))
    same_as_torch(decoder, theirs, lambda m, *x: (m(*x),), lambda m, *x: (m(*x, ahead),), x, memory)


def test_layers_of_a_stack_start_differently() -> None:
    def made() -> nn.TransformerEncoder:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, activation="silu", rng=3), 3)

    stack, again = made(), made()
    first, second, third = (array(layer.linear1.weight) for layer in stack.layers)
    assert not np.allclose(first, second)
    assert not np.allclose(second, third)
    assert stack.layer is stack.layers[0]
    assert stack.layers[2].config() == stack.layer.config()
    for a, b in zip(stack.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(array(a), array(b))
    built = nn.TransformerEncoder(lambda: nn.TransformerEncoderLayer(8, 2, 12), 2)
    assert built.layers[0] is not built.layers[1]
    x = ml.ones(1, 3, 8)
    np.testing.assert_array_equal(array(stack.eval()(x)), array(stack.eval()(x)))
    assert not np.allclose(array(stack.train()(x)), array(stack.train()(x)))


def test_stacks_decode_step_by_step() -> None:
    encoder = shaken(nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 2)).eval()
    decoder = shaken(nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, norm_first=True), 2)).eval()
    x, memory = drawn(1, 2, 6, 8).astype(np.float32), drawn(2, 2, 5, 8).astype(np.float32)
    with ml.no_grad():
        caches = encoder.new_caches(6)
        steps = [array(encoder(x[:, i : i + 1], is_causal=True, caches=caches)) for i in range(6)]
        np.testing.assert_allclose(np.concatenate(steps, 1), array(encoder(x, is_causal=True)), rtol=1e-5, atol=1e-5)
        pairs = decoder.new_caches()
        steps = [array(decoder(x[:, i : i + 1], memory, memory_lengths=[5, 3], caches=pairs)) for i in range(6)]
        whole = array(decoder(x, memory, memory_lengths=[5, 3]))
        np.testing.assert_allclose(np.concatenate(steps, 1), whole, rtol=1e-5, atol=1e-5)
        own = [cache for cache, _ in decoder.new_caches()]
        np.testing.assert_allclose(array(decoder(x, memory, memory_lengths=[5, 3], caches=own)), whole, rtol=1e-5)


def test_a_layer_of_llama_is_its_formula() -> None:
    rotary = nn.RotaryPosition(6)
    options: dict[str, Any] = {"norm": "rms", "num_kv_heads": 1, "head_dim": 6, "rotary": rotary, "dtype": "float64"}
    layer = shaken(nn.TransformerEncoderLayer(8, 2, 10, 0.0, "swiglu", 1e-3, True, False, **options))
    x, p = drawn(1, 2, 5, 8), {name: array(value) for name, value in layer.named_parameters()}

    def rms(a: Array, weight: Array) -> Array:
        return a / np.sqrt((a**2).mean(-1, keepdims=True) + 1e-3) * weight

    projected = rms(x, p["norm1.weight"]) @ p["self_attn.in_proj_weight"].T
    q, k, v = (a.reshape(2, 5, -1, 6) for a in np.split(projected, [12, 18], -1))
    q, k = array(rotary(ml.tensor(q))), array(rotary(ml.tensor(k)))
    scores = np.einsum("nshd,ntd->nhst", q, k[:, :, 0]) / 6**0.5 + np.triu(np.full((5, 5), -np.inf), 1)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("nhst,ntd->nshd", e / e.sum(-1, keepdims=True), v[:, :, 0]).reshape(2, 5, 12)
    y = x + mixed @ p["self_attn.out_proj.weight"].T
    z = rms(y, p["norm2.weight"])
    gate, up = z @ p["mlp.gate_proj.weight"].T, z @ p["mlp.up_proj.weight"].T
    y = y + (gate / (1 + np.exp(-gate)) * up) @ p["mlp.down_proj.weight"].T
    np.testing.assert_allclose(array(layer(x, is_causal=True)), y, rtol=1e-9)
    assert [n for n in p if "bias" in n] == []
    decoder = nn.TransformerDecoderLayer(8, 2, 10, norm="rms", head_dim=6, rotary=rotary)
    assert decoder.rotary is rotary
    assert decoder.multihead_attn.rotary is None
    assert decoder.multihead_attn.out_proj.weight.shape == (8, 12)


def test_a_gated_mlp_is_its_formula() -> None:
    layer = shaken(nn.GatedMLP(4, 7, bias=True, activation="tanh", dtype="float64"))
    x = drawn(1, 2, 3, 4)
    wg, bg, wu, bu, wd, bd = (array(p) for p in layer.parameters())
    expected = (np.tanh(x @ wg.T + bg) * (x @ wu.T + bu)) @ wd.T + bd
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-9)
    assert [n for n, _ in nn.GatedMLP(4, 7).named_parameters()] == [f"{n}_proj.weight" for n in ("gate", "up", "down")]


@pytest.mark.parametrize("score", ["dot", "general"])
def test_dot_product_attention_is_its_formula(score: str) -> None:
    layer = nn.DotProductAttention(3, 3 if score == "dot" else 4, score, dtype="float64", rng=0)
    query, keys = drawn(1, 2, 6, 3), drawn(2, 2, 7, layer.key_size)
    w = np.eye(3) if score == "dot" else array(layer.key.weight)
    for lengths in (None, [7, 3]):
        context, weights = layer(query, keys, lengths)
        e = np.exp(query @ w @ keys.swapaxes(1, 2)) * (np.arange(7) < np.array(lengths or [7, 7])[:, None])[:, None]
        shares = e / e.sum(-1, keepdims=True)
        np.testing.assert_allclose(array(weights), shares, rtol=1e-9)
        np.testing.assert_allclose(array(context), shares @ keys, rtol=1e-9)
    check_gradient(lambda q, k: layer(q, k, [7, 3])[0], query, keys, parameters=layer.parameters())


# ---- together with the rest ----------------------------------------------------------------------


def test_a_step_of_training_is_captured() -> None:
    x = drawn(1, 2, 6, 8).astype(np.float32)

    def trained(wrap: Any) -> tuple[nn.Module, list[float]]:
        rotary = nn.RotaryPosition(4)
        model = nn.Sequential(
            nn.LearnedPosition(6, 8, rng=0),
            nn.SinusoidalPosition(8),
            nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, 0.0, rng=0), 2),
            nn.MultiHeadAttention(8, 2, rotary=rotary, alibi=True, window=(3, 0), rng=0),
            nn.GatedMLP(8, 12, rng=0),
        )
        optimizer = ml.optim.SGD(model.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            loss = F.mean(F.square(model(x)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = wrap(step)
        return model, [run(x + i).item() for i in range(3)]

    (a, losses), (b, replayed) = trained(lambda f: f), trained(ml.compile)
    assert losses == replayed
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_array_equal(array(p), array(q))
    expected = array(a.eval()(x))
    for _ in range(3):
        np.testing.assert_array_equal(a.predict(x), expected)


def test_half_types_and_quantised_layers(tmp_path: Any) -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 2, 64, rng=0), 2, nn.LayerNorm(32)).eval()
    x = drawn(1, 2, 6, 32).astype(np.float32)
    expected = model.predict(x)
    small = ml.quantize(model)
    assert type(small.layers[1].linear1) is nn.WeightOnlyLinear
    np.testing.assert_allclose(small.predict(x), expected, atol=0.1)
    ml.save(small, tmp_path / "m.safetensors")
    np.testing.assert_array_equal(ml.load(tmp_path / "m.safetensors").predict(x), small.predict(x))
    np.testing.assert_allclose(model.to("bfloat16").predict(x).astype(np.float32), expected, atol=0.1)


def test_pictures_of_weights(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    layer = nn.MultiHeadAttention(8, 2, rng=0)
    weights = layer(drawn(1, 1, 4, 8), drawn(2, 1, 3, 8), need_weights=True)[1]
    figure = ml.plot.attention(weights, tmp_path / "w.png", query_labels="abcd", key_labels=["the", "cat", "sat"])
    assert (tmp_path / "w.png").stat().st_size > 2000
    assert [axes.get_title() for axes in figure.axes] == ["head 0", "head 1"]
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["the", "cat", "sat"]
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == list("abcd")
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), array(weights)[0, 1])
    assert len(ml.plot.attention(array(weights)[0, 0]).axes) == 1
    for call, text in (
        (lambda: ml.plot.attention(np.ones((2, 1, 3, 3))), "'weights': expected weights"),
        (lambda: ml.plot.attention(weights, key_labels="abcd"), "'key_labels': expected 3 labels, got 4"),
        (lambda: ml.plot.attention(weights, columns=0), "'columns': expected a positive int"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


# ---- errors --------------------------------------------------------------------------------------


class Mine(nn.Module):
    def __init__(self, size: int) -> None:
        self.linear = nn.Linear(size, size)


def test_errors_of_layers() -> None:
    x, attention = ml.ones(2, 5, 8), nn.MultiHeadAttention(8, 2)
    separate = nn.MultiHeadAttention(8, 2, key_size=3)
    position, rotary = nn.LearnedPosition(6, 8), nn.RotaryPosition(4)
    encoder = nn.TransformerEncoderLayer(8, 2, 16)
    for call, error, text in (
        (lambda: nn.MultiHeadAttention(8, 3), ValueError, "'num_heads': expected a divisor of embed_dim, 8, got 3"),
        (lambda: nn.MultiHeadAttention(8, 4, num_kv_heads=3), ValueError, "'num_kv_heads': expected a divisor of num_"),
        (lambda: nn.MultiHeadAttention(8, 0), ValueError, "'num_heads': expected a positive int"),
        (lambda: nn.MultiHeadAttention(8, 3, head_dim=0), ValueError, "'head_dim': expected a positive int"),
        (lambda: nn.TransformerEncoderLayer(8, 2, norm="batch"), ValueError, "'norm': expected 'layer' or 'rms'"),
        (lambda: nn.MultiHeadAttention(8, 2, rotary=10000.0), TypeError, "'rotary': expected a RotaryPosition"),
        (lambda: nn.MultiHeadAttention(8, 4, rotary=rotary), ValueError, "'rotary': expected head_dim=2"),
        (lambda: nn.MultiHeadAttention(8, 2, window=3), ValueError, r"'window': expected None or a pair"),
        (lambda: nn.MultiHeadAttention(8, 2, window=(-1, 0)), ValueError, r"'window': expected None or a pair"),
        (lambda: nn.MultiHeadAttention(8, 2, dropout=1.5), ValueError, "expected a probability"),
        (lambda: attention(x[0]), ValueError, r"'query': expected 3 dimensions \(N, S, E\)"),
        (lambda: attention(x[:, :, :6]), ValueError, r"'query': expected 8 features, got shape \(2, 5, 6\)"),
        (lambda: attention(x, x[:, :, :6]), ValueError, "'key': expected 8 features"),
        (lambda: attention(x, x[:1]), ValueError, "'key': expected 2 sequences, got 1"),
        (lambda: attention(x, x[:, :4], x[:, :3]), ValueError, "'value': expected 2 sequences of 4 steps, as key"),
        (lambda: separate(x), ValueError, "'key': expected 3 features"),
        (lambda: attention(x, mask=ml.ones(4, 5)), ValueError, "'mask'"),
        (lambda: attention(x, lengths=[6, 1]), ValueError, "'lengths'"),
        (lambda: F.attention_weights(x, x), ValueError, r"'q': expected 4 dimensions \(N, S, H, D\)"),
        (lambda: F.attention_weights(*[ml.ones(1, 2, 1, 4)] * 2, align="left"), ValueError, "'align': expected one of"),
        (
            lambda: F.attention_weights(ml.ones(1, 2, 3, 4), ml.ones(1, 2, 2, 4)),
            ValueError,
            r"'k': expected shape \(N, T, G, D\) with N and D of q",
        ),
        (lambda: F.rotary(ml.ones(1, 2, 1, 3), x, x), ValueError, "'cos': expected shape"),
        (lambda: F.rotary(ml.ones(1, 2, 1, 4), ml.ones(2, 3), x), ValueError, "'cos': expected shape"),
        (lambda: nn.RotaryPosition(5), ValueError, "'head_dim': expected an even number, got 5"),
        (lambda: nn.RotaryPosition(4, base=0), ValueError, "'base': expected a number above 1"),
        (lambda: nn.RotaryPosition(4, scaling={"factor": 2}), ValueError, "'scaling': expected a dict of factor, low_"),
        (lambda: rotary(ml.ones(1, 2, 1, 6)), ValueError, "'x': expected 4 features"),
        (
            lambda: position(ml.ones(1, 5, 8), 2),
            ValueError,
            r"expected steps up to position 5 \(max_len=6\), got 5 from",
        ),
        (lambda: position(ml.ones(1, 2, 8), [3, 6]), IndexError, "6"),
        (lambda: position(ml.ones(1, 2, 7)), ValueError, "'x': expected 8 features"),
        (lambda: position(ml.ones(1, 2, 8), -1), ValueError, "'offset': expected 0 or more, got -1"),
        (lambda: position(ml.ones(1, 2, 8), 0.5), TypeError, "'offset': expected integers"),
        (lambda: position(ml.ones(1, 2, 8), [1, 2, 3]), ValueError, r"'offset': expected an int or shape \(2,\)"),
        (lambda: nn.SinusoidalPosition(8, 4)(x), ValueError, "SinusoidalPosition: argument 'x': expected steps up to"),
        (
            lambda: nn.TransformerEncoderLayer(10, 3),
            ValueError,
            "TransformerEncoderLayer: argument 'nhead': expected a divisor of d_model, 10, got 3",
        ),
        (lambda: nn.TransformerEncoderLayer(8, 2, activation="swish"), ValueError, "'activation'"),
        (lambda: encoder(ml.ones(2, 5, 7)), ValueError, r"'x': expected 8 features \(d_model\), got shape"),
        (
            lambda: nn.TransformerDecoderLayer(8, 2, 16)(x, ml.ones(2, 5, 7)),
            ValueError,
            "TransformerDecoderLayer: argument 'memory': expected 8 features",
        ),
        (lambda: nn.TransformerEncoder("layer", 2), TypeError, "'layer': expected a layer or a function"),
        (lambda: nn.TransformerEncoder(Mine(3), 2), TypeError, "'layer': expected a layer that has its arguments as"),
        (lambda: nn.TransformerEncoder(F.relu, 0), ValueError, "'num_layers': expected a positive int"),
        (lambda: nn.TransformerEncoder(encoder, 1, F.relu), TypeError, "'norm': expected a Module"),
        (lambda: nn.TransformerEncoder(encoder, 2)(x, caches=[]), ValueError, "'caches': expected 2 caches, one for"),
        (lambda: nn.DotProductAttention(3, 4), ValueError, "'key_size': expected 3, as query_size, for score='dot'"),
        (lambda: nn.DotProductAttention(3, 3, "cosine"), ValueError, "'score': expected one of dot, general"),
        (lambda: nn.DotProductAttention(8, 8)(x, x[:1]), ValueError, "'keys': expected 2 sequences, as query, got 1"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_errors_of_caches() -> None:
    x, k = ml.ones(2, 3, 8), ml.ones(2, 3, 2, 4)
    attention, windowed = nn.MultiHeadAttention(8, 2), nn.MultiHeadAttention(8, 2, window=(3, 0))
    slanted = nn.MultiHeadAttention(8, 2, window=(3, 0), alibi=True)
    full, ring = nn.KeyValueCache(4), nn.KeyValueCache(window=4)
    full.append(k, k)
    with pytest.raises(RuntimeError, match="no gradients flow through a cache; decode under mlext.no_grad"):
        attention(x, cache=nn.KeyValueCache())
    for call, text in (
        (lambda: nn.KeyValueCache(0), "'capacity': expected a positive int"),
        (lambda: nn.KeyValueCache(8, window=4), "'window': expected None with capacity or fixed"),
        (lambda: nn.KeyValueCache().keys, "expected a cache that holds something"),
        (lambda: full.append(k, k), "expected at most 4 steps, got 3 and 3 more"),
        (lambda: full.append(k[:1], k[:1]), r"'k': expected shape \(2, 3, 2, 4\), got \(1, 3, 2, 4\); reset"),
        (lambda: full.append(k, k[:, :2]), r"'v': expected shape \(2, 3, 2, 'D'\), got"),
        (lambda: full.append(x, x), r"'k': expected 4 dimensions \(N, T, G, D\)"),
        (lambda: attention(x, cache=ring), r"'cache': expected a layer with window=\(3, 0\) for a cache of 4 steps"),
        (lambda: windowed(x, cache=ring, lengths=[1, 2]), "'cache': expected one without a window for mask, lengths"),
        (lambda: slanted(x, cache=ring), "'cache': expected one without a window for mask, lengths or alibi"),
    ):
        with ml.no_grad(), pytest.raises(ValueError, match=text):
            call()
    assert full.length == 3
    assert ring.length == 0
    with ml.no_grad(), pytest.raises(RuntimeError, match="compile: a KeyValueCache changes at every call"):
        ml.compile(lambda x: attention(x, cache=nn.KeyValueCache()))(x)
