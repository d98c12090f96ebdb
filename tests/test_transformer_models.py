"""Models made of transformer layers: shapes and sizes, step by step and at once, against PyTorch, what they refuse."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext.models import BERT, GPT, CharacterModel, TimeSeriesTransformer, VisionTransformer

Array = np.ndarray[Any, Any]
LLAMA: dict[str, Any] = {"norm": "rms", "activation": "swiglu", "position": "rotary", "bias": False, "num_kv_heads": 2}
SMALL: dict[str, Any] = {"context": 16, "embed_dim": 16, "num_layers": 2, "num_heads": 4, "rng": 0}
KINDS = {"gpt2": SMALL, "llama": SMALL | LLAMA, "untied": SMALL | LLAMA | {"tie_weights": False, "head_dim": 6}}


def array(value: Any) -> Array:
    return value.detach().numpy()


def shaken(model: Any, scale: float = 0.4) -> Any:
    """The model with all parameters drawn: the initial ones are so small that mistakes would hide."""
    rng = np.random.default_rng(5)
    for parameter in model.parameters():
        ml._C.copy_(parameter, rng.standard_normal(parameter.shape) * scale)
    return model


def indices_of(*shape: int, below: int = 11, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, below, shape)


# ---- GPT -----------------------------------------------------------------------------------------


def test_sizes_of_published_models() -> None:
    """As many parameters as published for GPT-2 small, counted by one layer, and as the formula of Llama says."""
    gpt2 = GPT(50257, num_layers=1)
    layer = sum(p.size for p in gpt2.blocks.layers[0].parameters())
    assert gpt2.num_parameters() + 11 * layer == 124_439_808
    small = GPT(7, context=8, embed_dim=12, num_layers=3, num_heads=2, **{k: LLAMA[k] for k in LLAMA if "kv" not in k})
    assert small.hidden_dim == 32
    assert small.num_parameters() == 7 * 12 + 3 * (4 * 144 + 3 * 12 * 32 + 2 * 12) + 12


def test_initial_values() -> None:
    model = GPT(300, context=64, embed_dim=64, num_layers=8, num_heads=4, rng=1, tie_weights=False)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (array(parameter) == 0).all()
        elif parameter.ndim == 2:
            std = 0.005 if "out_proj" in name or "linear2" in name else 0.02
            assert abs(array(parameter).std() / std - 1) < 0.05, name
            assert abs(array(parameter).mean()) < 0.1 * std, name
    loss = ml.losses.cross_entropy(model(indices_of(2, 64, below=300)), indices_of(2, 64, below=300, seed=1))
    assert abs(loss.item() - np.log(300)) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_knows_those_before_alone(kind: str) -> None:
    model = shaken(GPT(11, **KINDS[kind])).eval()
    x = indices_of(3, 9)
    y = array(model(x))
    assert y.shape == (3, 9, 11)
    changed = x.copy()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    z = array(model(changed))
    np.testing.assert_array_equal(y[:, :5], z[:, :5])
    assert (np.abs(y[:, 5:] - z[:, 5:]).max(-1) > 1e-4).all()
    swapped = x.copy()
    swapped[:, [0, 1]] = x[:, [1, 0]]
    rows = x[:, 0] != x[:, 1]
    assert (np.abs(y - array(model(swapped)))[rows, 8].max(-1) > 1e-4).all()  # order matters


@pytest.mark.parametrize("kind", KINDS)
def test_steps_with_caches_are_the_whole(kind: str) -> None:
    model = shaken(GPT(11, **KINDS[kind])).eval()
    x = indices_of(2, 16)
    with ml.no_grad():
        caches = model.new_caches()
        parts = [model(x[:, :7], caches=caches), *[model(x[:, i : i + 1], caches=caches) for i in range(7, 16)]]
        np.testing.assert_allclose(np.concatenate([array(p) for p in parts], 1), array(model(x)), rtol=1e-4, atol=1e-4)
        with pytest.raises(ValueError, match=r"'indices': expected at most 16 steps \(context\), got 1 behind 16"):
            model(x[:, :1], caches=caches)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 16, 40])
def test_generation_with_caches_is_that_without(kind: str, length: int) -> None:
    """Far beyond the context: both see the last 16 steps at most, and 8 when they begin anew."""
    model = shaken(GPT(11, **KINDS[kind]))
    prompt = indices_of(3, length)
    found = [np.array(list(model.generate(prompt, 40, temperature=0, use_cache=c))) for c in (True, False)]
    np.testing.assert_array_equal(*found)
    assert found[0].shape == (40, 3)
    assert model.training
    seen = prompt[:, -16:]
    for step in found[0]:
        if seen.shape[1] > 16:
            seen = seen[:, -8:]
        np.testing.assert_array_equal(model.predict(seen)[:, -1].argmax(-1), step)
        seen = np.concatenate([seen, step[:, None]], 1)
    alone = list(model.generate(prompt[1], 40, temperature=0))
    assert alone == found[0][:, 1].tolist()
    assert all(type(index) is int for index in alone)


def test_generation_is_repeated_by_its_seed() -> None:
    model = GPT(11, **SMALL)
    prompt = indices_of(2, 3)
    a, b, c = (np.array(list(model.generate(prompt, 30, rng=seed))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert (a[:, 0] != a[:, 1]).any()
    first = list(itertools.islice(model.generate(prompt, 10**9, rng=1), 30))  # as they are asked for
    np.testing.assert_array_equal(first, a)
    x = ml.tensor([1.0], requires_grad=True)
    generated = model.generate(prompt, 2)
    next(generated)
    assert (x * 2).requires_grad  # the tape is on between steps
    best = list(model.generate(prompt[0], 12, temperature=0))
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-7}):
        assert list(model.generate(prompt[0], 12, **options)) == best
    shaken(model)
    drawn = {int(i) for row in (model.generate(prompt[:1], 1, top_k=3, rng=s) for s in range(60)) for i in next(row)}
    assert drawn <= set(np.argsort(-model.predict(prompt[:1])[0, -1])[:3].tolist())
    assert len(drawn) > 1


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_models_are_saved_loaded_and_quantised(kind: str, tmp_path: Path) -> None:
    llama3 = {"factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}
    options = KINDS[kind] | ({"rope_scaling": llama3, "rope_base": 500.0} if kind == "llama" else {})
    model, x = shaken(GPT(11, **options)), indices_of(2, 9)
    ml.save(model, tmp_path / "m")
    copy = ml.load(tmp_path / "m")
    assert repr(copy) == repr(model)
    assert copy.config() == model.config()
    np.testing.assert_array_equal(copy.predict(x), model.predict(x))
    small = ml.quantize(shaken(GPT(11, **options | {"embed_dim": 64, "head_dim": 16})), weights="int4")
    ml.save(small, tmp_path / "q")
    np.testing.assert_array_equal(ml.load(tmp_path / "q").predict(x), small.predict(x))


def test_gpt_refuses() -> None:
    model = GPT(11, **SMALL)
    for call, error, text in (
        (lambda: GPT(11, embed_dim=10, num_heads=4), ValueError, "GPT: argument 'num_heads': expected a divisor of em"),
        (lambda: GPT(0), ValueError, "GPT: argument 'vocabulary_size': expected a positive int, got 0"),
        (lambda: GPT(11, position="alibi"), ValueError, "GPT: argument 'position': expected 'learned' or 'rotary'"),
        (lambda: GPT(11, **SMALL | {"norm": "batch"}), ValueError, "'norm': expected 'layer' or 'rms', got 'batch'"),
        (lambda: GPT(11, **SMALL | {"activation": "sine"}), ValueError, "activation"),
        (lambda: model(indices_of(2, 17)), ValueError, r"expected at most 16 steps \(context\), got 17"),
        (lambda: model(indices_of(5)), ValueError, r"GPT: argument 'indices': expected 2 dimensions \(N, T\)"),
        (lambda: model(np.array([[0, 11]])), IndexError, "11"),
        (lambda: model(np.array([[0, -12]])), IndexError, "-12"),
        (lambda: model.generate([0, 11], 3), IndexError, "'indices': expected 0 to 10, got 11"),
        (lambda: model.generate([-1], 3), IndexError, "'indices': expected 0 to 10, got -1"),
        (lambda: model.generate([], 3), ValueError, "'indices': expected shape .* at least one step, got"),
        (
            lambda: model.generate(np.zeros((2, 0), int), 3),
            ValueError,
            "'indices': expected shape .* at least one step",
        ),
        (lambda: model.generate([[[1]]], 3), ValueError, "'indices': expected shape .T. or .N, T."),
        (lambda: model.generate([0.5], 3), TypeError, "'indices': expected integers, got float64"),
        (lambda: model.generate([1], -1), ValueError, "'steps': expected 0 or more, got -1"),
        (lambda: model.generate([1], 3, temperature=float("nan")), ValueError, "'temperature': expected a finite numb"),
        (lambda: model.generate([1], 3, top_k=0), ValueError, "'top_k': expected a positive int, got 0"),
        (lambda: model.generate([1], 3, top_p=0.0), ValueError, r"'top_p': expected a number in \(0, 1\], got 0"),
        (lambda: model(indices_of(1, 3), caches=model.new_caches()), RuntimeError, "cache"),
        (lambda: model(indices_of(1, 3), caches=model.new_caches()[:1]), ValueError, "'caches': expected 2 caches"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_losses_of_a_training_are_those_of_torch() -> None:
    """A hundred steps of AdamW from the same values over the same batches."""
    torch = pytest.importorskip("torch")
    from torch_transformers import gpt2

    model = GPT(11, **SMALL)
    ours = {name: array(value) for name, value in model.state_dict().items()}
    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in as_gpt2(ours, 2).items()}
    text = np.random.default_rng(0).integers(0, 11, 400)
    text[1::2] = (text[::2] + 3) % 11  # something to learn
    step_of_ours = ml.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    step_of_theirs = torch.optim.AdamW(theirs.values(), lr=3e-3, weight_decay=0.1)
    losses: list[tuple[float, float]] = []
    for step in range(100):
        begins = np.random.default_rng(step).integers(0, 380, 8)
        batch = np.stack([text[b : b + 17] for b in begins])
        loss = ml.losses.cross_entropy(model(batch[:, :-1]), batch[:, 1:])
        model.zero_grad()
        loss.backward()
        step_of_ours.step()
        scores = gpt2(theirs, torch.from_numpy(batch[:, :-1]), 2, 4)
        expected = torch.nn.functional.cross_entropy(scores.flatten(0, 1), torch.from_numpy(batch[:, 1:]).flatten())
        step_of_theirs.zero_grad()
        expected.backward()
        step_of_theirs.step()
        losses.append((loss.item(), expected.item()))
    np.testing.assert_allclose(*np.array(losses).T, rtol=1e-4)
    assert losses[-1][0] < 0.8 * losses[0][0]


def as_gpt2(state: dict[str, Array], layers: int) -> dict[str, Array]:
    """The values of a GPT under the names of published weights of GPT-2."""
    found = {"wte.weight": state["tokens.weight"], "wpe.weight": state["positions.weight"]}
    names = {"norm1": "ln_1", "norm2": "ln_2", "linear1": "mlp.c_fc", "linear2": "mlp.c_proj"}
    for i, kind in itertools.product(range(layers), ("weight", "bias")):
        own = {theirs: state[f"blocks.layers.{i}.{ours}.{kind}"] for ours, theirs in names.items()}
        own["attn.c_attn"] = state[f"blocks.layers.{i}.self_attn.in_proj_{kind}"]
        own["attn.c_proj"] = state[f"blocks.layers.{i}.self_attn.out_proj.{kind}"]
        found |= {f"h.{i}.{name}.{kind}": np.ascontiguousarray(value.T) for name, value in own.items()}
    return found | {f"ln_f.{kind}": state[f"blocks.norm.{kind}"] for kind in ("weight", "bias")}


# ---- encoders ------------------------------------------------------------------------------------

BERT_SMALL: dict[str, Any] = {"context": 12, "embed_dim": 16, "num_layers": 2, "num_heads": 4, "rng": 0}


def test_bert_reads_what_is_there() -> None:
    model, x = shaken(BERT(11, **BERT_SMALL)).eval(), indices_of(3, 9)
    segments, lengths = indices_of(3, 9, below=2), np.array([9, 4, 1])
    steps, whole = model(x, segments, lengths)
    assert steps.shape == (3, 9, 16)
    assert whole.shape == (3, 16)
    there = np.arange(9) < lengths[:, None]
    for mask in (there, there[:, None, None], there.tolist()):
        np.testing.assert_array_equal(array(model(x, segments, mask=mask)[1]), array(whole))
    for i, n in enumerate(lengths):
        alone, one = model(x[i : i + 1, :n], segments[i : i + 1, :n].tolist())
        np.testing.assert_allclose(array(alone)[0], array(steps)[i, :n], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(array(one)[0], array(whole)[i], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(array(model(x)[0]), array(model(x, np.zeros_like(x))[0]))
    assert np.abs(array(model(x)[0]) - array(steps)).max() > 0.01
    assert BERT(30522, num_layers=1).num_parameters() + 11 * 7_087_872 == 109_482_240  # BERT base
    for call, error, text in (
        (lambda: model(indices_of(1, 13)), ValueError, r"BERT: .*'indices': expected at most 12 steps \(context\)"),
        (lambda: model(np.array([[11]])), IndexError, "11"),
        (lambda: model(x, np.full_like(x, 2)), IndexError, "2"),
        (lambda: model(x, segments[:, :4]), ValueError, r"'segments': expected shape \(3, 9\), got \(3, 4\)"),
        (lambda: model(x, mask=there[:2]), ValueError, r"'mask': expected shape \(3, 9\), got \(2, 9\)"),
        (lambda: BERT(11, embed_dim=10, num_heads=4), ValueError, "BERT: argument 'num_heads': expected a divisor"),
        (lambda: BERT(11, segments=0), ValueError, "BERT: argument 'segments': expected a positive int, got 0"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_rows_of_the_benchmark_are_expressed() -> None:
    """Keras' examples: heads wider than E / H, an activation behind the second layer, means over features."""
    wide: dict[str, Any] = {"num_heads": 4, "head_dim": 64, "hidden_dim": 128, "pool": "flatten", "head": (2048, 1024)}
    wide |= {"embed_dim": 64, "num_layers": 8, "last_activation": "gelu", "dropout": 0.1, "head_dropout": 0.5}
    assert VisionTransformer(72, 6, 100, **wide).num_parameters() == 21_759_012
    series: dict[str, Any] = {"head_dim": 256, "hidden_dim": 4, "pool": "features", "head": (128,), "dropout": 0.25}
    model = TimeSeriesTransformer(1, 2, steps=500, head_dropout=0.4, **series)
    assert model.num_parameters() == 93_130
    assert model.predict(np.ones((2, 500, 1), "f")).shape == (2, 2)


@pytest.mark.parametrize("pool", ["class", "mean", "flatten"])
def test_vision_transformers_are_those_of_the_paper(pool: str) -> None:
    torch = pytest.importorskip("torch")
    from torch_transformers import vision_transformer

    last = "gelu" if pool == "flatten" else None
    options: dict[str, Any] = {"embed_dim": 8, "num_layers": 2, "num_heads": 2, "head_dim": 6, "last_activation": last}
    model = shaken(VisionTransformer((4, 6), (2, 3), 5, in_channels=2, pool=pool, **options)).eval()
    x = np.random.default_rng(1).standard_normal((3, 4, 6, 2)).astype("f")
    w = {name: torch.from_numpy(array(value)) for name, value in model.state_dict().items()}
    act = torch.nn.functional.gelu if last else lambda y: y
    y = vision_transformer(w, torch.from_numpy(x), (2, 3), 2, 2, pool, act)
    expected = torch.nn.functional.linear(y, w["scores.0.weight"], w["scores.0.bias"])
    np.testing.assert_allclose(array(model(x)), expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pool", ["steps", "features"])
def test_time_series_transformers_are_their_formula(pool: str) -> None:
    torch = pytest.importorskip("torch")
    from torch_transformers import block

    model = shaken(TimeSeriesTransformer(4, 3, steps=7, num_layers=2, num_heads=2, pool=pool, head=(5,))).eval()
    x = np.random.default_rng(1).standard_normal((3, 7, 4)).astype("f")
    w = {name: torch.from_numpy(array(value)) for name, value in model.state_dict().items()}
    y = torch.from_numpy(x)
    for i in range(2):
        y = block(w, f"blocks.{i}", y, 2, torch.relu, lambda z: z)
    y = y.mean(1 if pool == "steps" else 2)
    y = torch.relu(torch.nn.functional.linear(y, w["scores.0.weight"], w["scores.0.bias"]))
    y = torch.nn.functional.linear(y, w["scores.1.weight"], w["scores.1.bias"])
    np.testing.assert_allclose(array(model(x)), y.numpy(), rtol=1e-4, atol=1e-4)


def test_order_matters_with_positions() -> None:
    x = np.random.default_rng(1).standard_normal((3, 7, 4)).astype("f")
    for position in (None, "learned", "sinusoidal"):
        model = shaken(TimeSeriesTransformer(4, 3, steps=7, embed_dim=8, position=position, norm=True))
        changed = np.abs(model.predict(x) - model.predict(x[:, ::-1])).max()
        assert (changed > 1e-3) == (position is not None)


def test_dropout_in_training_alone() -> None:
    images, series = np.ones((2, 4, 4, 1), "f"), np.ones((2, 7, 4), "f")
    vision: dict[str, Any] = {"in_channels": 1, "embed_dim": 8, "num_layers": 1, "num_heads": 2}
    for make, x in (
        (lambda **p: VisionTransformer(4, 2, 3, **vision, **p, rng=0), images),
        (lambda **p: TimeSeriesTransformer(4, 3, head=(5,), **p, rng=0), series),
    ):
        for options in ({"dropout": 0.5}, {"head_dropout": 0.5}):
            model = make(**options)
            assert np.abs(array(model(x)) - model.predict(x)).max() > 1e-4
            np.testing.assert_array_equal(model.predict(x), make().predict(x))


def test_encoders_refuse() -> None:
    small: dict[str, Any] = {"embed_dim": 8, "num_layers": 1, "num_heads": 2}
    model = VisionTransformer(4, 2, 3, **small)
    for call, text in (
        (lambda: VisionTransformer(5, 2, 3), r"'patch_size': expected divisors of the image's \(5, 5\), got \(2, 2\)"),
        (lambda: VisionTransformer((4, 4, 4), 2, 3), "'image_size': expected one or two numbers"),
        (lambda: VisionTransformer(4, 2, 3, pool="max"), "'pool': expected 'class', 'mean' or 'flatten', got 'max'"),
        (
            lambda: VisionTransformer(4, 2, 3, embed_dim=10),
            "VisionTransformer: argument 'num_heads': expected a divisor",
        ),
        (lambda: model(ml.ones(1, 4, 4, 1)), r"'x': expected shape \(N, 4, 4, 3\), got \(1, 4, 4, 1\)"),
        (lambda: TimeSeriesTransformer(3, 2), "TimeSeriesTransformer: argument 'num_heads': expected a divisor of"),
        (lambda: TimeSeriesTransformer(4, 2, pool="max"), "'pool': expected 'steps' or 'features', got 'max'"),
        (lambda: TimeSeriesTransformer(4, 2, pool="features"), "'steps': expected a number for learned positions or"),
        (lambda: TimeSeriesTransformer(4, 2, position="learned"), "'steps': expected a number for learned positions"),
        (lambda: TimeSeriesTransformer(4, 2, position="x"), "'position': expected 'learned', 'sinusoidal' or None"),
        (lambda: TimeSeriesTransformer(4, 2, steps=5)(ml.ones(1, 6, 4)), "'x': expected 4 features of 5 steps, got"),
        (lambda: TimeSeriesTransformer(4, 2)(ml.ones(1, 6, 3)), r"'x': expected 4 features, got shape \(1, 6, 3\)"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


# ---- characters ----------------------------------------------------------------------------------

TEXT = "the quick brown fox jumps over the lazy dog. " * 60


def test_characters_by_a_transformer(tmp_path: Path) -> None:
    model = CharacterModel(TEXT, 32, 64, 2, kind="transformer", context=32, rng=0)
    assert (model.num_heads, model.context) == (4, 32)
    indices = model.encode(TEXT)
    count = (len(indices) - 1) // 32
    x, y = indices[: count * 32].reshape(count, 32), indices[1 : count * 32 + 1].reshape(count, 32)
    optimizer = ml.optim.Adam(model.parameters(), lr=5e-3)
    trainer = ml.training.Trainer(model, "cross_entropy", optimizer, compile=True, seed=0)
    trainer.fit(x, y, epochs=30, batch_size=16, verbose=0)
    written = "".join(model.generate("the quick b", 79, temperature=0))  # beyond the context
    assert written == "rown fox jumps over the lazy dog. the quick brown fox jumps over the lazy dog. "
    assert model.bits_per_character(TEXT) < 0.2
    ml.save(model, tmp_path / "m")
    copy = ml.load(tmp_path / "m")
    assert repr(copy) == repr(model)
    np.testing.assert_array_equal(copy.predict(x[:2]), model.predict(x[:2]))

    state, parts = None, []
    with model.evaluating():
        for part in np.split(indices[:32], [1, 7]):
            scores, state = model.advance(part[None], state)
            parts.append(array(scores))
    np.testing.assert_allclose(np.concatenate(parts, 1), model.predict(indices[None, :32]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("context", [7, 16])
def test_bits_of_every_character_are_counted_once(context: int) -> None:
    """Each from all of the context's half before it at least, and the text's first ones from what there is."""
    model = shaken(CharacterModel("abcdefgh", 8, 16, kind="transformer", num_heads=2, context=context))
    half = context // 2
    indices = indices_of(100, below=8)
    nats = 0.0
    for begin in range(0, 99, context - half):
        first = max(0, begin - half)
        right = indices[begin + 1 : begin + 1 + context - half]
        scores = model.predict(indices[None, first : begin + len(right)])[0, begin - first :].astype(np.float64)
        nats -= (scores - np.log(np.exp(scores).sum(-1, keepdims=True)))[np.arange(len(right)), right].sum()
    bits = model.bits_per_character(model.decode(indices))
    assert abs(bits / (nats / np.log(2) / 99) - 1) < 1e-6


def test_character_models_refuse() -> None:
    for options, text in (
        ({"kind": "lstm", "context": 8}, "CharacterModel: argument 'context': expected None for kind 'lstm', got 8"),
        ({"kind": "gru", "num_heads": 2}, "CharacterModel: argument 'num_heads': expected None for kind 'gru', got 2"),
        ({"kind": "transformer", "num_heads": 0}, "'num_heads': expected a positive int, got 0"),
        ({"kind": "transformer", "embedding_dim": 6}, "'num_heads': expected a divisor of embed_dim, 6, got 4"),
    ):
        with pytest.raises(ValueError, match=text):
            CharacterModel("abc", **options)
    model = CharacterModel("abc", 8, 8, kind="transformer", context=4)
    with pytest.raises(ValueError, match="'prompt': expected at least one character"):
        model.generate("", 3)
    with pytest.raises(ValueError, match="'length': expected 0 or more, got -1"):
        model.generate("a", -1)
    with pytest.raises(ValueError, match=r"expected at most 4 steps \(context\), got 5"):
        model(indices_of(1, 5, below=3))
