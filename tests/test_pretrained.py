"""Published weights: read under their names, against the architectures written in PyTorch, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext.io import Entry, FileFormatError, write
from mlext.models import load_bert, load_gpt2, load_llama

Array = np.ndarray[Any, Any]
Weights = dict[str, Array]

GPT2: dict[str, Any] = {"model_type": "gpt2", "vocab_size": 11, "n_positions": 12, "n_embd": 8, "n_layer": 2}
GPT2 |= {"n_head": 2, "n_inner": None, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
BERT: dict[str, Any] = {"model_type": "bert", "vocab_size": 11, "max_position_embeddings": 12, "type_vocab_size": 2}
BERT |= {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
BERT |= {"hidden_act": "gelu", "hidden_dropout_prob": 0.1}
LLAMA: dict[str, Any] = {"model_type": "llama", "vocab_size": 11, "max_position_embeddings": 12, "hidden_size": 16}
LLAMA |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 20}
LLAMA |= {"hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 500.0}


def drawn(shapes: dict[str, tuple[int, ...]], dtype: str = "f") -> Weights:
    rng = np.random.default_rng(0)
    return {name: (0.4 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def both(name: str, weight: tuple[int, ...], bias: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": weight, f"{name}.bias": (bias,)}


def gpt2_weights() -> Weights:
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (11, 8), "wpe.weight": (12, 8), **both("ln_f", (8,), 8)}
    for i in range(2):
        shapes |= both(f"h.{i}.ln_1", (8,), 8) | both(f"h.{i}.ln_2", (8,), 8)
        shapes |= both(f"h.{i}.attn.c_attn", (8, 24), 24) | both(f"h.{i}.attn.c_proj", (8, 8), 8)
        shapes |= both(f"h.{i}.mlp.c_fc", (8, 32), 32) | both(f"h.{i}.mlp.c_proj", (32, 8), 8)
    return drawn(shapes)


def bert_weights() -> Weights:
    rows = {"word": 11, "position": 12, "token_type": 2}
    shapes: dict[str, tuple[int, ...]] = {f"embeddings.{n}_embeddings.weight": (k, 8) for n, k in rows.items()}
    shapes |= both("embeddings.LayerNorm", (8,), 8) | both("pooler.dense", (8, 8), 8)
    for i in range(2):
        p = f"encoder.layer.{i}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= both(f"{p}.attention.{name}", (8, 8), 8)
        shapes |= both(f"{p}.attention.output.LayerNorm", (8,), 8) | both(f"{p}.output.LayerNorm", (8,), 8)
        shapes |= both(f"{p}.intermediate.dense", (20, 8), 20) | both(f"{p}.output.dense", (8, 20), 8)
    return drawn(shapes)


def llama_weights(tied: bool = False) -> Weights:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (11, 16), "model.norm.weight": (16,)}
    shapes |= {} if tied else {"lm_head.weight": (11, 16)}
    for i in range(2):
        rows = {"q": (16, 16), "k": (8, 16), "v": (8, 16), "o": (16, 16)}
        shapes |= {f"model.layers.{i}.self_attn.{n}_proj.weight": shape for n, shape in rows.items()}
        dense = {"gate": (20, 16), "up": (20, 16), "down": (16, 20)}
        shapes |= {f"model.layers.{i}.mlp.{n}_proj.weight": shape for n, shape in dense.items()}
        shapes |= {f"model.layers.{i}.{n}_layernorm.weight": (16,) for n in ("input", "post_attention")}
    return drawn(shapes)


def written(folder: Path, weights: Any, config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    write(folder / "model.safetensors", weights)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def torches(weights: Weights) -> Any:
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(value) for name, value in weights.items()}


X = np.random.default_rng(1).integers(0, 11, (3, 9))


def test_gpt2(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch_transformers import gpt2

    weights = gpt2_weights()
    expected = gpt2(torches(weights), torch.from_numpy(X), 2, 2).numpy()
    model = load_gpt2(written(tmp_path / "a", weights, GPT2))
    assert not model.training
    np.testing.assert_allclose(model(X).numpy(), expected, rtol=1e-4, atol=1e-4)
    old = {f"transformer.{name}": value for name, value in weights.items()} | {"lm_head.weight": weights["wte.weight"]}
    old |= {f"transformer.h.{i}.attn.bias": np.tril(np.ones((1, 1, 12, 12), np.uint8)) for i in range(2)}
    old |= {f"transformer.h.{i}.attn.masked_bias": np.float32(-1e4) for i in range(2)}
    folder = written(tmp_path / "b", old, {"no": "entries"})
    np.testing.assert_array_equal(load_gpt2(folder / "model.safetensors", config=GPT2)(X).numpy(), model(X).numpy())
    other = old | {"lm_head.weight": -weights["wte.weight"]}
    untied = load_gpt2(written(tmp_path / "c", other, GPT2 | {"tie_word_embeddings": False}))
    np.testing.assert_allclose(untied(X).numpy(), -expected, rtol=1e-4, atol=1e-4)
    best = [int(i) for i in model.generate([1, 2, 3], 5, temperature=0)]
    assert best[0] == model(np.array([[1, 2, 3]])).numpy()[0, -1].argmax()


def test_bert(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch_transformers import bert

    weights, segments, lengths = bert_weights(), X % 2, np.array([9, 4, 1])
    known = np.arange(9) < lengths[:, None]
    inputs = [torch.from_numpy(a) for a in (X, segments, known)]
    expected = [a.numpy() for a in bert(torches(weights), *inputs, 2, 2)]
    model = load_bert(written(tmp_path / "a", weights, BERT))
    old = {f"bert.{n}".replace("LayerNorm.weight", "LayerNorm.gamma"): v for n, v in weights.items()}
    old = {n.replace("LayerNorm.bias", "LayerNorm.beta"): v for n, v in old.items()}
    old |= {"cls.predictions.bias": np.zeros(11, "f"), "bert.embeddings.position_ids": np.arange(12)[None]}
    for other in (model, load_bert(written(tmp_path / "b", old, BERT))):
        steps, whole = other(X, segments, lengths)
        np.testing.assert_allclose(steps.numpy()[known], expected[0][known], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(whole.numpy(), expected[1], rtol=1e-4, atol=1e-4)
    assert model.dropout == 0.1


@pytest.mark.parametrize("tied", [False, True])
def test_llama(tied: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch_transformers import llama

    weights, config = llama_weights(tied), LLAMA | {"tie_word_embeddings": tied}
    expected = llama(torches(weights), torch.from_numpy(X), 2, 4, 2, 500.0).numpy()
    model = load_llama(written(tmp_path / "a", weights, config))
    np.testing.assert_allclose(model(X).numpy(), expected, rtol=1e-4, atol=1e-4)
    newer = {k: v for k, v in config.items() if k != "rope_theta"}
    newer |= {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    np.testing.assert_array_equal(load_llama(tmp_path / "a", config=newer)(X).numpy(), model(X).numpy())
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"original_max_position_embeddings": 64}
    scaled = load_llama(tmp_path / "a", config=config | {"rope_scaling": scaling})
    assert scaled.rope_scaling[0] == ("factor", 8.0)
    assert np.abs(scaled(X).numpy() - expected).max() > 1e-4


def test_sharded_files_and_half_types(tmp_path: Path) -> None:
    weights = llama_weights()
    whole = load_llama(written(tmp_path / "a", weights, LLAMA))(X).numpy()
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    files = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(weights)}
    for file in set(files.values()):
        write(folder / file, {name: value for name, value in weights.items() if files[name] == file})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}))
    for path in (folder, index):
        np.testing.assert_array_equal(load_llama(path)(X).numpy(), whole)
    for bad in ({"weight_map": {"a": "../x"}}, {"weight_map": {"a": 3}}, {"weight_map": {"a": ".."}}, {}):
        index.write_text(json.dumps(bad))
        with pytest.raises(FileFormatError, match="weight_map: expected names of files in the same folder"):
            load_llama(folder)
    index.write_text("[1]")
    with pytest.raises(FileFormatError, match="expected an object, got list"):
        load_llama(folder)

    bits = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in weights.items()}
    half = {name: Entry("BF16", value) for name, value in bits.items()}
    cut = {name: (value.astype(np.uint32) << 16).view(np.float32) for name, value in bits.items()}
    exact = load_llama(written(tmp_path / "c", cut, LLAMA))(X).numpy()
    found = load_llama(written(tmp_path / "d", half, LLAMA))
    np.testing.assert_array_equal(found(X).numpy(), exact)
    small = load_llama(tmp_path / "d", dtype="bfloat16")
    assert {p.dtype for p in small.parameters()} == {ml.bfloat16}
    assert small.num_parameters() == found.num_parameters()


def without(weights: Weights, *names: str) -> Weights:
    return {name: value for name, value in weights.items() if name not in names}


def test_tensors_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    weights = without(llama_weights(), "lm_head.weight", "model.layers.1.self_attn.k_proj.weight")
    weights |= {"model.layers.0.mlp.up_proj.weight": np.ones((16, 20), "f"), "model.layers.2.odd": np.ones(1)}
    weights |= {"model.norm.weight": np.ones(16, np.int8)}  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="load_llama: .* 5 tensors do not fit, nothing was loaded:") as error:
        load_llama(written(tmp_path / "a", weights, LLAMA))
    lines = str(error.value).splitlines()[1:]
    assert sorted(line.strip() for line in lines if "layers.1.self" not in line) == [
        "dtype of norm.weight: expected a floating one, got I8",
        "missing: lm_head.weight",
        "shape of layers.0.mlp.up_proj.weight: expected (20, 16), got (16, 20)",
        "unexpected: layers.2.odd",
    ]
    assert "  missing: layers.1.self_attn.k_proj.weight" in lines
    gpt2 = gpt2_weights() | {"classifier.weight": np.ones(3, "f")}
    with pytest.raises(ValueError, match=r"1 tensors do not fit(?s:.*)unexpected: classifier.weight"):
        load_gpt2(written(tmp_path / "b", gpt2, GPT2))
    with pytest.raises(ValueError, match=r"shape of h.0.mlp.c_fc.weight: expected \(8, 24\), got \(8, 32\)"):
        load_gpt2(tmp_path / "b", config=GPT2 | {"n_inner": 24})
    with pytest.raises(ValueError, match=r"missing: pooler.dense.weight$"):
        load_bert(written(tmp_path / "c", without(bert_weights(), "pooler.dense.weight"), BERT))


def test_configurations_that_are_refused(tmp_path: Path) -> None:
    folders: dict[Callable[..., Any], tuple[Path, dict[str, Any]]] = {
        load_gpt2: (written(tmp_path / "a", gpt2_weights(), GPT2), GPT2),
        load_bert: (written(tmp_path / "b", bert_weights(), BERT), BERT),
        load_llama: (written(tmp_path / "c", llama_weights(), LLAMA), LLAMA),
    }
    for load, changed, text in (
        (load_gpt2, {"model_type": "bert"}, "load_gpt2: argument 'config': expected model_type 'gpt2', got 'bert'"),
        (
            load_gpt2,
            {"scale_attn_by_inverse_layer_idx": True},
            "expected scale_attn_by_inverse_layer_idx False",
        ),
        (load_gpt2, {"scale_attn_weights": False}, "expected scale_attn_weights True, got False"),
        (load_gpt2, {"activation_function": "sine"}, "activation"),
        (
            load_bert,
            {"position_embedding_type": "relative_key"},
            "type 'absolute', got 'relative_key'",
        ),
        (load_bert, {"is_decoder": True}, "expected is_decoder False, got True"),
        (load_llama, {"hidden_act": "gelu"}, "load_llama: argument 'config': expected hidden_act 'silu', got 'gelu'"),
        (load_llama, {"mlp_bias": True}, "expected mlp_bias False, got True"),
        (
            load_llama,
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            "RotaryPosition: argument 'scaling'",
        ),
    ):
        folder, config = folders[load]
        with pytest.raises(ValueError, match=text):
            load(folder, config=config | changed)
    with pytest.raises(ValueError, match="load_gpt2: argument 'config': expected an entry 'n_head', got"):
        load_gpt2(tmp_path / "a", config={k: v for k, v in GPT2.items() if k != "n_head"})
    (tmp_path / "a" / "config.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"config\.json: not JSON"):
        load_gpt2(tmp_path / "a")
    (tmp_path / "a" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json: no such file; argument 'config' may give its entries"):
        load_gpt2(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match=r"expected model\.safetensors or model\.safetensors\.index\.json"):
        load_gpt2(tmp_path, config=GPT2)
