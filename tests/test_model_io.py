"""``mlext.save`` and ``mlext.load``: models, dicts, the official package, hostile descriptions."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mlext as ml
from mlext.io import FileFormatError, architecture, read, read_metadata, write
from mlext.io.state import pack, to_entry, to_tensor, unpack


def same(a, b):
    x, y = a.numpy(), b.numpy()
    return a.dtype == b.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def all_layers():
    nn = ml.nn
    return nn.Sequential(
        nn.Linear(4, 6, bias=False, activation="relu"),
        nn.Residual(nn.Sequential(nn.Linear(6, 6), nn.Tanh())),
        nn.PReLU(6),
        nn.LeakyReLU(0.2),
        nn.GELU("tanh"),
        nn.Hardtanh(-2.0, 2.0),
        nn.Dropout(0.25, rng=3),
        nn.Identity(),
        nn.Flatten(1),
        nn.Linear(6, 3),
        nn.Softmax(-1),
    ).eval()


def test_a_model_comes_back_whole(tmp_path):
    model, path = all_layers(), tmp_path / "m.safetensors"
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("f")
    state = ml.random.default_generator().get_state()
    ml.save(model, path, {"made": "here", "n": [1, 2]})
    copy = ml.load(path).eval()
    assert ml.random.default_generator().get_state() == state  # loading draws nothing
    assert repr(copy) == repr(model)
    assert [n for n, _ in copy.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert all(same(a, b) for a, b in zip(model.parameters(), copy.parameters(), strict=True))
    assert copy(x).numpy().tobytes() == model(x).numpy().tobytes()
    assert read_metadata(path) == {"made": "here", "n": [1, 2]}


@pytest.mark.parametrize("name", sorted(architecture.registry()))
def test_every_layer_describes_itself(name, tmp_path):
    examples = {
        "Linear": (3, 2),
        "Conv1d": (3, 2, 3),
        "AdaptiveAvgPool2d": (2,),
        "AdaptiveMaxPool2d": ((2, 3),),
        "AvgPool1d": (2,),
        "AvgPool2d": (2,),
        "DepthwiseConv2d": (3, 2, 2),
        "SeparableConv2d": (3, 4, 2),
        "Upsample": ((4, 4),),
        "Permute": ((0, 2, 1),),
        "BatchNorm": (3,),
        "GroupNorm": (2, 6),
        "InstanceNorm": (3,),
        "LayerNorm": ((2, 3),),
        "RMSNorm": (3,),
        "MaxPool1d": (2,),
        "MaxPool2d": (2,),
        "Conv2d": (3, 2, (3, 2), 1, ((1, 0), (0, 2))),
        "ConvTranspose2d": (3, 2, 3, 2),
        "QuantizedLinear": (3, 2),
        "QuantizedConv1d": (6, 4, 3, 2, (1, 0), 2, 2),
        "QuantizedConv2d": (3, 2, (3, 2), 1, ((1, 0), (0, 2))),
        "WeightOnlyLinear": (70, 2, 4, 32),
        "Bilinear": (2, 3, 4),
        "Embedding": (5, 2, 0),
        **dict.fromkeys(("WeightOnlyRNN", "WeightOnlyGRU", "WeightOnlyLSTM"), (3, 2, 2)),
        **dict.fromkeys(("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"), (3, 2)),
        "Residual": (ml.nn.Linear(2, 2),),
        "Skip": (ml.nn.Linear(2, 2),),
        "TimeDistributed": (ml.nn.Linear(2, 2),),
        "Bidirectional": (ml.nn.GRU(3, 2, dropout=0.5), "sum"),
        "AdditiveAttention": (2, 3, 4),
        "DotProductAttention": (2, 3, "general"),
        "MultiHeadAttention": (8, 2),
        "LearnedPosition": (5, 4),
        "SinusoidalPosition": (4, 10),
        "RotaryPosition": (4,),
        "GatedMLP": (4, 6),
        "TransformerEncoderLayer": (8, 2, 6, 0.0, "gelu", 1e-6, True, False),
        "TransformerDecoderLayer": (8, 2, 6, 0.1, "swiglu"),
        "TransformerEncoder": (ml.nn.TransformerEncoderLayer(8, 2, 6, bias=False), 2, ml.nn.LayerNorm(8)),
        "TransformerDecoder": (ml.nn.TransformerDecoderLayer(8, 2, 6), 3),
        "SequenceClassifier": (5, 2, 3, 2),
        "CharacterModel": ("some text\n\u20ac", 3, 4),
        "Forecaster": (2, 3, 4),
        "GPT": (5,),
        "BERT": (5,),
        "VisionTransformer": ((4, 6), 2, 3),
        "TimeSeriesTransformer": (4, 3),
        "Seq2Seq": (4, 5, 3, 2),
        "Sequential": (ml.nn.Linear(2, 2), ml.nn.ReLU()),
        "ModuleList": ([ml.nn.Linear(2, 2)],),
        "ModuleDict": ({"a": ml.nn.Linear(2, 2)},),
    }
    cls = architecture.registry()[name]
    try:
        module = cls(*examples.get(name, ()))
    except TypeError:
        pytest.fail(f"give test_every_layer_describes_itself arguments for {name}")
    path = tmp_path / "m.safetensors"
    ml.save(module, path)
    copy = ml.load(path)
    assert repr(copy) == repr(module)
    assert set(copy.state_dict()) == set(module.state_dict())
    assert all(same(copy.state_dict()[n], value) for n, value in module.state_dict().items())


def test_layers_without_bias_come_back_without(tmp_path):
    path = tmp_path / "m.safetensors"
    model = ml.nn.Sequential(ml.nn.GRU(3, 2, bias=False), ml.nn.LastStep(), ml.nn.Linear(2, 2, bias=False))
    ml.save(model, path)
    assert set(ml.load(path).state_dict()) == set(model.state_dict())
    assert ml.nn.Bidirectional(ml.nn.GRU(3, 2, bias=False)).reverse.bias_ih_l0 is None


def test_options_of_attention_come_back(tmp_path):
    llama = {"factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192}
    path, rotary = tmp_path / "m.safetensors", ml.nn.RotaryPosition(2, interleaved=True, scaling=llama)
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("f")
    for options in (
        {"num_kv_heads": 2, "bias": False, "rotary": rotary, "window": (2, None)},
        {"head_dim": 6, "rotary": ml.nn.RotaryPosition(6, base=500.0)},
        {"key_size": 8, "value_size": 8, "soft_cap": 0.5, "alibi": True, "dropout": 0.5},
    ):
        first = ml.nn.MultiHeadAttention(8, 4, **options)
        model = ml.nn.Sequential(first, ml.nn.MultiHeadAttention(8, 4, **options))
        ml.save(model, path)
        copy = ml.load(path)
        assert repr(copy) == repr(model)
        assert copy[0].rotary is copy[1].rotary
        assert copy.predict(x).tobytes() == model.predict(x).tobytes()


def test_generators_of_layers_inside_are_the_default_again(tmp_path):
    path = tmp_path / "m.safetensors"
    ml.save(ml.models.SequenceClassifier(3, 2, 4, dropout=0.5, rng=7), path)
    copy = ml.load(path)
    assert copy.recurrent.rng is None
    assert copy.head[1].rng is None


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_changed_layers_inside_a_model_survive(weights, tmp_path):
    x, path = np.random.default_rng(0).normal(size=(5, 6, 3)).astype("f"), tmp_path / "m.safetensors"
    small = ml.quantize(ml.models.SequenceClassifier(3, 2, 32, bidirectional=True, rng=0), weights=weights)
    ml.save(ml.nn.Sequential(small), path)
    copy = ml.load(path)
    assert repr(copy[0]) == repr(small)
    assert copy.predict(x).tobytes() == small.predict(x).tobytes()
    separable = ml.nn.SeparableConv2d(3, 4, 2, rng=0)
    separable.pointwise = shared = ml.nn.Conv2d(3, 4, 1, activation="relu", rng=1)
    ml.save(ml.nn.Sequential(separable, shared), path)
    copy = ml.load(path)
    assert copy[0].pointwise is copy[1]
    assert copy[1].activation == "relu"


def test_names_sharing_freezing_and_dtype_survive(tmp_path):
    shared = ml.nn.Linear(3, 3, dtype="float64")
    model = ml.nn.Sequential({"first": shared, "act": ml.nn.ReLU(), "again": shared})
    shared.bias.requires_grad = False
    path = tmp_path / "m.safetensors"
    ml.save(model, path)
    copy = ml.load(path)
    assert copy[0] is copy[2]
    assert copy[0].weight.dtype == ml.float64
    assert copy[0].weight.requires_grad
    assert not copy[0].bias.requires_grad
    assert "first.weight" in copy.state_dict()


def test_loading_into_a_model_is_all_or_nothing(tmp_path):
    path = tmp_path / "m.safetensors"
    ml.save(ml.nn.Linear(3, 2, rng=0), path)
    target = ml.nn.Linear(3, 2, rng=1)
    assert ml.load(path, target) is target
    assert same(target.weight, ml.nn.Linear(3, 2, rng=0).weight)
    other = ml.nn.Sequential(ml.nn.Linear(3, 2, rng=5))
    before = other[0].weight.numpy().copy()
    with pytest.raises(ValueError, match="(?s)missing: 0.weight.*unexpected: weight"):
        ml.load(path, other)
    assert (other[0].weight.numpy() == before).all()


def test_a_users_class_needs_the_model(tmp_path):
    class Mine(ml.nn.Module):
        def __init__(self):
            self.layer = ml.nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x)

    model, path = Mine(), tmp_path / "m.safetensors"
    ml.save(model, path)
    with pytest.raises(ValueError, match=r"Mine is not a layer.*load\(path, model\)"):
        ml.load(path)
    assert same(ml.load(path, Mine()).layer.weight, model.layer.weight)
    with pytest.raises(TypeError, match="expected a Module or a dict"):
        ml.save(3, path)
    with pytest.raises(TypeError, match="metadata"):
        ml.save(model, path, {"x": object()})


def test_saving_where_the_model_came_from(tmp_path):
    path = tmp_path / "m.safetensors"
    model = ml.nn.Linear(50, 50, rng=0)
    ml.save(model, path)
    loaded = ml.load(path)
    ml.save({"other": np.zeros(3, np.float32)}, path)
    assert same(loaded.weight, model.weight)
    ml.save(loaded, path)
    assert same(ml.load(path).weight, model.weight)


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool_"]
)
def test_a_dict_of_arrays_keeps_every_dtype(dtype, tmp_path):
    path = tmp_path / "d.safetensors"
    value = ml.tensor(np.arange(6).reshape(2, 3) % 2, dtype=dtype)
    ml.save({"a": value, "b": ml.tensor([1.5])}, path)
    found = ml.load(path)
    assert set(found) == {"a", "b"}
    assert same(found["a"], value)


@pytest.mark.parametrize(("dtype", "entry"), [("bfloat16", "BF16"), ("float16", "F16")])
def test_half_types_keep_their_bits(dtype, entry, tmp_path):
    bits = np.arange(1 << 16, dtype=np.uint16)
    path, again = tmp_path / "h.safetensors", tmp_path / "again.safetensors"
    from mlext.io import Entry

    write(path, {"h": Entry(entry, bits if entry == "BF16" else bits.view(np.float16))})
    found = ml.load(path)["h"]
    assert found.dtype.name == dtype
    ml.save({"h": found}, again)
    back = read(again)[0]["h"].data.view(np.uint16)
    exponent = 0x7F80 if entry == "BF16" else 0x7C00
    nan = ((bits & exponent) == exponent) & ((bits & (exponent ^ 0x7FFF)) != 0)
    assert (back[~nan] == bits[~nan]).all()
    assert np.isnan(found.numpy()[nan]).all()


def test_the_official_package_reads_and_writes_our_files(tmp_path):
    official = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "m.safetensors"
    model = ml.nn.Sequential(ml.nn.Linear(3, 2, rng=0), ml.nn.ReLU())
    ml.save(model, path)
    theirs = official.load_file(path)
    assert (theirs["0.weight"] == model[0].weight.numpy()).all()
    official.save_file({"x": np.arange(5, dtype=np.int32)}, path)
    assert ml.load(path)["x"].tolist() == [0, 1, 2, 3, 4]


def describe(tmp_path, architecture_, **arrays):
    path = tmp_path / "bad.safetensors"
    text = json.dumps({"format": 1, "architecture": architecture_})
    write(path, arrays or {"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)}, {"mlext": text})
    return path


LINEAR = {"class": "Linear", "args": {"in_features": 3, "out_features": 2}}


@pytest.mark.parametrize(
    ("tree", "match"),
    [
        (7, "expected a module"),
        ({"class": "os.system", "args": {}}, "not a layer"),
        ({"class": "Module", "args": {}}, "not a layer"),
        ({"class": "Lambda", "args": {"function": "print"}}, "not a layer"),
        ({"class": ["Linear"]}, "not a layer"),
        ({"class": "Linear"}, "no arguments"),
        ({"class": "Linear", "args": {"in_features": 3}}, "out_features"),
        ({"class": "Linear", "args": {"in_features": 3, "out_features": 2, "evil": 1}}, "evil"),
        ({"class": "Linear", "args": {"in_features": 10**12, "out_features": 10**12}}, "larger than the file"),
        ({"class": "Linear", "args": {"in_features": 60000, "out_features": 60000}}, "more than the file"),
        ({"class": "Linear", "args": {"in_features": -3, "out_features": 2}}, "positive"),
        ({"class": "Linear", "args": {"in_features": 3, "out_features": 4}}, "more than the file|shape"),
        ({"class": "Sequential", "children": [["0", LINEAR], ["1", {"same": 0}]]}, "no module"),
        ({"class": "Sequential", "children": [["0"]]}, "malformed child"),
        ({"class": "Sequential", "children": [["0", {"same": 9}]]}, "no module"),
        (LINEAR | {"changed": [["forward", LINEAR]]}, "no module 'forward' to change"),
        (LINEAR | {"changed": [3]}, "malformed child"),
        ({"class": "CharacterModel", "args": {"vocabulary": 3}}, "expected characters"),
        ({"class": "resnet18", "args": {}}, "not a layer"),
    ],
)
def test_hostile_architectures_are_refused(tree, match, tmp_path):
    with pytest.raises(FileFormatError, match=match):
        ml.load(describe(tmp_path, tree))


def test_deep_nesting_is_refused(tmp_path):
    tree = LINEAR
    for _ in range(300):
        tree = {"class": "Residual", "args": {"module": {"module": tree}}}
    with pytest.raises(FileFormatError, match="nested"):
        ml.load(describe(tmp_path, tree))


@pytest.mark.parametrize("text", ["{", "[1]", '{"format": 2}', "[" * 100_000])
def test_malformed_descriptions_are_refused(text, tmp_path):
    path = tmp_path / "bad.safetensors"
    write(path, {"a": np.zeros(1)}, {"mlext": text})
    with pytest.raises(FileFormatError, match="mlext"):
        ml.load(path)


def test_dtypes_mlext_lacks_are_named(tmp_path):
    path = tmp_path / "u.safetensors"
    write(path, {"a": np.zeros(3, np.uint32)})
    with pytest.raises(FileFormatError, match="'a' has dtype U32"):
        ml.load(path)


def test_nested_state_survives_json():
    state = {
        "n": 3, "big": 2**127, "x": 0.1, "inf": float("inf"), "none": None, "flag": True, "text": "$a",
        "list": [1, [2.5, ml.tensor([1.0, 2.0])]], "tuple": (1, (2, "x")), "np": np.arange(3, dtype=np.uint64),
        1: "int key", "$odd": {"$tensor": 5}, "a": {"b.c": np.zeros(1)}, "a.b": {"c": np.ones(1)},
    }  # fmt: skip
    arrays = {}
    text = json.dumps(pack(state, arrays))
    from mlext.io import Entry
    from mlext.io.safetensors import _to_entry

    entries = {name: v if isinstance(v, Entry) else _to_entry(name, v) for name, v in arrays.items()}
    back = unpack(json.loads(text), entries)
    assert list(back) == list(state)
    assert back["big"] == 2**127
    assert back["x"] == 0.1
    assert back["tuple"] == (1, (2, "x"))
    assert isinstance(back["list"][1][1], ml.Tensor)
    assert back["list"][1][1].tolist() == [1.0, 2.0]
    assert back["np"].dtype == np.uint64
    assert back["a"]["b.c"].tolist() == [0.0]
    assert back["a.b"]["c"].tolist() == [1.0]
    assert back["$odd"] == {"$tensor": 5}
    with pytest.raises(TypeError, match="state 'a.0'"):
        pack({"a": [object()]}, {})
    for bad in ({"$tensor": "none"}, {"$tensor": 3}, {"$items": 5}, {"$items": [[[1], 2]]}, {"$x": 1}):
        with pytest.raises(ValueError, match="malformed"):
            unpack(bad, {})


def test_entries_and_tensors():
    value = ml.tensor([1.0, -2.5], dtype="bfloat16")
    entry = to_entry(value)
    assert entry.dtype == "BF16"
    assert entry.data.tolist() == [0x3F80, 0xC020]
    assert same(to_tensor(entry), value)
