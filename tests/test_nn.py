"""Modules and layers: one contract for every row of cases/layers.py, and Module itself."""

import copy

import numpy as np
import pytest

import mlext as ml
from cases import layers
from gradcheck import check_gradient
from mlext import nn
from mlext.nn.module import Module

RNG = np.random.default_rng(0)
ROWS = pytest.mark.parametrize(("name", "make", "shapes"), layers.LAYERS, ids=layers.IDS)


def mlp(dtype="float32"):
    return nn.Sequential(nn.Linear(4, 8, dtype=dtype, rng=1), nn.ReLU(), nn.Linear(8, 3, dtype=dtype, rng=2))


# ---- every layer ---------------------------------------------------------------------------------


@ROWS
def test_gradient(name, make, shapes):
    layer = make(ml.float64)
    # Off the kinks of all activations: 0, +-0.3, +-0.5, 0.75, 3, 6.
    arrays = [RNG.uniform(0.05, 0.2, s) * RNG.choice([-1, 1], s) + RNG.choice([0, 1.2, -1.2], s) for s in shapes]
    check_gradient(layer, *arrays, parameters=layer.parameters())


@ROWS
@pytest.mark.parametrize("dtype", layers.DTYPES, ids=lambda d: d.name)
def test_ndarrays_become_tensors_of_the_parameters_dtype(name, make, shapes, dtype):
    layer = make(dtype)
    arrays = [RNG.standard_normal(s) for s in shapes]
    has_parameters = layer.num_parameters() > 0
    for source in (np.float32, np.float64):
        out = layer(*[a.astype(source) for a in arrays])
        assert type(out) is ml.Tensor
        assert out.dtype == (dtype if has_parameters else source)
    single = layer(*[a.astype(np.float32) for a in arrays]).detach().numpy()
    double = layer.to("float64")(*arrays).detach().numpy()
    assert (np.abs(single - double) <= 1e-4 + 1e-4 * np.abs(double)).all()


@ROWS
def test_state_makes_the_round_trip(name, make, shapes):
    a, b = make(ml.float32), make(ml.float32)
    for p in b.parameters():
        ml.init.uniform_(p, 5, 6)
    state = {key: value.numpy().copy() for key, value in a.state_dict().items()}
    assert b.load_state_dict(state) == ([], [])
    assert list(a.state_dict()) == list(b.state_dict())
    x = [RNG.standard_normal(s).astype(np.float32) for s in shapes]
    assert (a(*x).detach().numpy() == b(*x).detach().numpy()).all()


@ROWS
def test_repr_and_deep_copy(name, make, shapes):
    layer = make(ml.float32)
    assert repr(layer).startswith(type(layer).__name__ + "(")
    twin = copy.deepcopy(layer)
    assert repr(twin) == repr(layer)
    for a, b in zip(layer.parameters(), twin.parameters(), strict=True):
        assert a is not b
        assert a.data_ptr != b.data_ptr
        assert (a.detach().numpy() == b.detach().numpy()).all()


@ROWS
def test_config_makes_the_same_layer(name, make, shapes):
    layer = make(ml.float64)
    if isinstance(layer, (nn.Sequential, nn.Residual, nn.Skip, nn.TimeDistributed, nn.TransformerDecoder, nn.Lambda)):
        return
    assert repr(type(layer)(**layer.config())) == repr(layer)
    assert layer.num_parameters() == 0 or layer.config()["dtype"] == "float64"


@ROWS
def test_equal_to_torch(name, make, shapes):
    torch = pytest.importorskip("torch")
    layer = make(ml.float64)
    kind = type(layer).__name__
    if not hasattr(torch.nn, kind) or kind in ("Sequential",) or getattr(layer, "activation", None):
        return
    if kind in dict(layers.ACTIVATIONS):
        theirs = getattr(torch.nn, kind)(**dict(layers.ACTIVATIONS)[kind])
    elif kind in ("Linear", "Bilinear"):
        config = {k: v for k, v in layer.config().items() if k not in ("dtype", "activation")}
        theirs = getattr(torch.nn, kind)(**config, dtype=torch.float64)
        theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in layer.state_dict().items()})
    else:
        return
    arrays = [3 * RNG.standard_normal(s) for s in shapes]
    with torch.no_grad():
        expected = theirs(*[torch.tensor(a) for a in arrays]).numpy()
    got = layer(*arrays).detach().numpy()
    assert (np.abs(got - expected) <= 1e-12 * (1 + np.abs(expected))).all()


# ---- what a module owns --------------------------------------------------------------------------


class Block(Module):
    def __init__(self):
        self.first = nn.Linear(4, 4, rng=1)
        self.layers = nn.ModuleList([nn.Linear(4, 4, rng=2), nn.Linear(4, 4, rng=3)])
        self.scale = nn.Parameter(ml.ones(1))
        self.register_buffer("mean", ml.zeros(4))
        self.register_buffer("scratch", ml.zeros(4), persistent=False)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.first(x) * self.scale


def test_names():
    block = Block()
    names = [name for name, _ in block.named_parameters()]
    assert names == [
        "scale",
        "first.weight",
        "first.bias",
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
    ]
    assert sorted(block.state_dict()) == sorted([*names, "mean"])
    assert [name for name, _ in block.named_buffers()] == ["mean", "scratch"]
    assert [name for name, _ in block.named_modules()] == [
        "",
        "first",
        "layers",
        "layers.0",
        "layers.1",
    ]
    assert block.num_parameters() == 1 + 3 * 20


def test_a_shared_parameter_counts_once():
    block = Block()
    block.layers[1].weight = block.first.weight
    assert block.num_parameters() == 1 + 3 * 20 - 16
    assert "layers.1.weight" in block.state_dict()
    block.to("float64")
    assert block.layers[1].weight is block.first.weight
    assert block.mean.dtype == ml.float64


def test_assignment_is_checked():
    block = Block()
    with pytest.raises(TypeError, match=r"attribute 'scale' is a Parameter.*got Tensor"):
        block.scale = ml.ones(1)
    with pytest.raises(TypeError, match="register_buffer: argument 'value'"):
        block.register_buffer("x", np.zeros(3))
    with pytest.raises(ValueError, match="'scale' exists already"):
        block.register_buffer("scale", ml.zeros(1))
    block.scale = None
    assert block.num_parameters() == 60


def test_load_state_dict_is_all_or_nothing():
    block = Block()
    before = {k: v.numpy().copy() for k, v in block.state_dict().items()}
    bad = {k: v + 1 for k, v in before.items()}
    del bad["scale"]
    bad["stray"] = np.zeros(1)
    bad["first.weight"] = np.zeros((4, 5), np.float32)
    bad["first.bias"] = np.zeros(4)
    bad["mean"] = "no array"
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        block.load_state_dict(bad)
    text = str(caught.value)
    assert "missing: scale" in text
    assert "unexpected: stray" in text
    assert "shape of first.weight: expected (4, 4), got (4, 5)" in text
    assert "dtype of first.bias: expected float32, got float64" in text
    assert "type of mean" in text
    for name, value in block.state_dict().items():
        assert (value.numpy() == before[name]).all()
    fine = {k: v for k, v in before.items() if k != "scale"} | {"stray": np.zeros(1)}
    assert block.load_state_dict(fine, strict=False) == (["scale"], ["stray"])


# ---- calls ---------------------------------------------------------------------------------------


def test_integers_are_cast_unless_a_layer_takes_indices():
    assert nn.Linear(3, 2)(np.arange(6).reshape(2, 3)).dtype == ml.float32
    assert nn.Linear(3, 2)(np.arange(6, dtype=np.uint8).reshape(2, 3)).dtype == ml.float32
    words = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    assert words(np.array([[1, 2, 9]], np.int16)).shape == (1, 2)

    class Two(Module):
        def __init__(self):
            self.linear = nn.Linear(3, 2)

        def forward(self, x, lengths, mask=None):
            assert lengths.dtype == ml.int64
            assert mask.dtype == ml.bool_
            return self.linear(x)

    Two()(np.ones((2, 3)), np.array([1, 2]), mask=np.array([True]))


def test_an_ndarray_may_change_after_a_recorded_call():
    layer = nn.Linear(2, 1, rng=0)
    x = np.ones((1, 2), np.float32)
    out = layer(x).sum()
    x[:] = 100.0
    out.backward()
    assert (layer.weight.grad.numpy() == 1).all()


def test_without_a_tape_an_ndarray_is_not_copied():
    seen = []
    layer = nn.Lambda(lambda x: (seen.append(x.data_ptr), x)[1])
    x = np.ones(100, np.float32)
    with ml.no_grad():
        layer(x)
    assert seen == [x.ctypes.data]


def test_errors_carry_the_path():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(9, 3))
    with pytest.raises(ValueError, match=r"^1 \(Linear\): linear: ") as caught:
        model(np.ones((2, 4)))
    assert str(caught.value).count("(Linear)") == 1
    with pytest.raises(ValueError, match=r"^0.0 \(Linear\): linear: "):
        model(np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"^linear: "):
        nn.Linear(4, 8)(np.ones((2, 5)))

    class Model(Module):
        def __init__(self, inner):
            self.layers = nn.ModuleList([nn.Identity(), inner])

        def forward(self, x):
            return self.layers[1](self.layers[0](x))

    with pytest.raises(ValueError, match=r"^layers.1 \(Linear\): linear: "):
        Model(nn.Linear(3, 3))(np.ones((2, 5)))

    def fail(x):
        raise KeyError("mine")

    with pytest.raises(KeyError) as other:
        Model(nn.Lambda(fail))(np.ones((2, 5)))
    assert other.value.args == ("mine",)
    assert other.value.__notes__ == ["in layers.1 (Lambda)"]


def test_the_path_costs_little():
    import time

    layer, x = nn.Identity(), ml.ones(1)

    def seconds(fn):
        start = time.perf_counter()
        for _ in range(1000):
            fn(x)
        return time.perf_counter() - start

    # In turn, so that both find a quiet moment of a shared machine, and in units of a bare method call, about 0.1 us.
    rounds = [(seconds(layer), seconds(layer.forward)) for _ in range(30)]
    call, forward = map(min, zip(*rounds, strict=True))
    assert call < 15 * forward


def test_hooks():
    model = mlp()
    seen = []
    remove = model[0].register_forward_hook(lambda m, inputs, out: seen.append(out.shape))
    x = np.ones((2, 4), np.float32)
    fused = model(x).detach().numpy()
    assert seen == [(2, 8)]
    remove()
    assert (model(x).detach().numpy() == fused).all()
    assert seen == [(2, 8)]
    model[2].register_forward_hook(lambda m, inputs, out: out * 0.0)
    assert (model(x).detach().numpy() == 0).all()


@pytest.mark.parametrize("name", ["ReLU", "Sigmoid", "Tanh", "SiLU"])
def test_a_fused_activation_is_bitwise_the_same(name):
    linear, activation = nn.Linear(17, 9, rng=3), getattr(nn, name)()
    x = ml.tensor(RNG.standard_normal((11, 17)).astype(np.float32))
    model = nn.Sequential(linear, activation)
    apart = activation(linear(x))
    apart.sum().backward()
    gradient = linear.weight.grad.numpy().copy()
    model.zero_grad()
    together = model(x)
    assert together._node.op == "linear"
    together.sum().backward()
    assert (together.detach().numpy() == apart.detach().numpy()).all()
    assert (linear.weight.grad.numpy() == gradient).all()


# ---- modes ---------------------------------------------------------------------------------------


def test_train_eval_freeze():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.train()
    assert all(m.training for m in model.modules())
    mode = model[0]._mode()
    model.freeze()
    assert model[0]._mode() != mode
    assert model.num_parameters(trainable_only=True) == 0
    model.unfreeze()
    model(np.ones((1, 2))).sum().backward()
    model.zero_grad(set_to_none=False)
    assert (model[0].weight.grad.numpy() == 0).all()
    model.zero_grad()
    assert model[0].weight.grad is None


def test_predict():
    model = nn.Sequential(nn.Linear(4, 8, rng=1), nn.Dropout(0.9), nn.Linear(8, 3, rng=2))
    model[1].eval()
    x = RNG.standard_normal((10, 4))
    whole = model.predict(x)
    assert isinstance(whole, np.ndarray)
    assert whole.shape == (10, 3)
    assert [m.training for m in model.modules()] == [True, True, False, True]
    for size in (1, 3, 10, 64):
        batched = model.predict(x, batch_size=size)
        assert batched.shape == whole.shape
        assert (np.abs(batched - whole) <= 1e-6).all()
    assert model.predict(x[:0], batch_size=4).shape == (0, 3)
    assert model.predict(ml.tensor(x.astype(np.float32))).shape == (10, 3)
    with pytest.raises(ValueError, match="predict: argument 'batch_size': expected a positive int, got 0"):
        model.predict(x, batch_size=0)
    total = nn.Lambda(lambda x: x.sum())
    assert total.predict(x) == pytest.approx(x.sum())
    with pytest.raises(ValueError, match="cannot be joined along axis 0"):
        total.predict(x, batch_size=3)


def test_predict_of_several_inputs_and_outputs():
    class Pair(Module):
        def forward(self, a, b):
            return a + b, (a, b)

    a, b = RNG.standard_normal((2, 7, 3))
    added, (left, right) = Pair().predict((a, b), batch_size=2)
    assert (added == a + b).all()
    assert (left == a).all()
    assert (right == b).all()


def test_dropout():
    layer = nn.Dropout(0.25, rng=7)
    x = ml.ones(40000)
    out = layer(x).numpy()
    assert abs((out == 0).mean() - 0.25) <= 0.02
    assert (np.abs(out[out != 0] - 4 / 3) <= 1e-6).all()
    assert (layer(x).numpy() != out).any()
    assert (nn.Dropout(1.0)(x).numpy() == 0).all()
    assert (layer.eval()(x).numpy() == 1).all()
    for p in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"Dropout: argument 'p': expected a probability in \[0, 1\]"):
            nn.Dropout(p)


def test_embedding():
    layer = nn.Embedding(6, 3, padding_idx=-1, rng=0)
    assert layer.padding_idx == 5
    assert (layer.weight.detach().numpy()[5] == 0).all()
    indices = np.array([[0, 5], [2, 2]])
    out = layer(indices)
    assert (out.detach().numpy() == layer.weight.detach().numpy()[indices]).all()
    out.sum().backward()
    expected = np.zeros((6, 3))
    expected[0], expected[2] = 1, 2
    assert (layer.weight.grad.numpy() == expected).all()
    with pytest.raises(IndexError, match="6"):
        layer(np.array([6]))
    with pytest.raises(ValueError, match="Embedding: argument 'padding_idx'"):
        nn.Embedding(6, 3, padding_idx=6)


# ---- construction --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: nn.Linear(0, 3),
            ValueError,
            "Linear: argument 'in_features': expected a positive int, got 0",
        ),
        (
            lambda: nn.Linear(3, 2.5),
            TypeError,
            "Linear: argument 'out_features': expected a positive int, got 2.5",
        ),
        (lambda: nn.Linear(3, True), TypeError, "Linear: argument 'out_features'"),
        (lambda: nn.Linear(3, 3, activation="swish"), ValueError, "Linear: argument 'activation'"),
        (lambda: nn.LeakyReLU(slope=1), TypeError, "LeakyReLU: .*slope"),
        (lambda: nn.ReLU(1), TypeError, "ReLU: too many"),
        (
            lambda: nn.Sequential(ml.functional.relu),
            TypeError,
            "Sequential: expected a Module.*nn.Lambda",
        ),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), ValueError, "without '.'"),
        (
            lambda: nn.Residual(nn.Linear(3, 2))(np.ones((1, 3))),
            ValueError,
            r"residual: expected .*\(1, 3\)",
        ),
        (lambda: nn.Flatten(3)(np.ones((1, 3))), IndexError, "flatten: argument 'start_dim'"),
        (lambda: Module()(np.ones(1)), NotImplementedError, "forward is not defined"),
        (lambda: nn.Linear(3, 2).load_state_dict({}), ValueError, "missing: weight"),
    ],
)
def test_misuse(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_bias_shape_is_checked():
    layer = nn.Linear(3, 4)
    layer.bias = nn.Parameter(ml.zeros(5))
    with pytest.raises(ValueError, match=r"linear: argument 'bias': expected shape \(4,\).*got \(5,\)"):
        layer(np.ones((1, 3)))


def test_initial_values_are_torchs_distribution():
    layer = nn.Linear(400, 300, rng=0)
    weight, bound = layer.weight.detach().numpy(), 1 / 20
    assert (np.abs(weight) <= bound).all()
    assert abs(weight.std() - bound / np.sqrt(3)) <= 0.01 * bound
    assert (np.abs(layer.bias.detach().numpy()) <= bound).all()
    assert (nn.Linear(400, 300, rng=0).weight.detach().numpy() == weight).all()
    ml.manual_seed(3)
    first = nn.Linear(4, 4).weight.detach().numpy().copy()
    ml.manual_seed(3)
    assert (nn.Linear(4, 4).weight.detach().numpy() == first).all()


# ---- containers ----------------------------------------------------------------------------------


def test_sequential_is_a_list():
    a, b, c = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)
    model = nn.Sequential(a, b).append(c)
    assert len(model) == 3
    assert model[-1] is c
    assert list(model) == [a, b, c]
    assert b in model
    assert isinstance(model[1:], nn.Sequential)
    assert [n for n, _ in model[1:].named_children()] == ["0", "1"]
    model[1] = nn.Tanh()
    model.insert(0, nn.Identity())
    assert [type(m).__name__ for m in model] == ["Identity", "Linear", "Tanh", "Linear"]
    del model[0]
    assert [n for n, _ in model.named_children()] == ["0", "1", "2"]
    named = nn.Sequential({"fc": a, "act": b})
    assert [n for n, _ in named.named_parameters()] == ["fc.weight", "fc.bias"]
    with pytest.raises(IndexError, match="Sequential: expected an index from -3 to 2, got 3"):
        model[3]


def test_module_dict():
    heads = nn.ModuleDict({"a": nn.Linear(2, 1)})
    heads["b"] = nn.Linear(2, 2)
    assert list(heads) == ["a", "b"]
    assert "b" in heads
    assert [n for n, _ in heads.named_parameters()][0] == "a.weight"
    del heads["a"]
    assert len(heads) == 1


def test_repr_is_a_tree():
    assert repr(nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU()))) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=8, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )
    assert repr(nn.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"


def test_summary():
    text = mlp().summary((5, 4))
    lines = text.splitlines()
    assert lines[0].split() == ["name", "type", "output", "shape", "parameters"]
    assert lines[3].split() == ["0", "Linear", "(5,", "8)", "40"]
    assert lines[-1] == "67 parameters, 67 trainable"
    assert "output" not in mlp().summary()
    assert "(2, 3, 4)" in nn.Embedding(5, 4).summary((2, 3))


def test_apply():
    seen = []
    mlp().apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Linear", "Sequential"]


def test_a_compiled_call_follows_the_module():
    model = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Dropout(0.5, rng=0))
    step = ml.compile(lambda x: model(x))
    x = np.ones((2, 3), np.float32)
    model.eval()
    first = step(x).numpy().copy()
    assert (step(x).numpy() == first).all()
    assert step.captures == 1
    ml.init.zeros_(model[0].weight)
    assert (step(x).numpy() == model(x).detach().numpy()).all()
    assert step.captures == 1
    model.train()
    assert (step(ml.ones(2, 3).numpy()).numpy() == 0).any() or step.captures == 2
    assert step.captures == 2
    model.eval()
    model[0] = nn.Linear(3, 3, rng=5)
    assert (step(x).numpy() == model(x).detach().numpy()).all()
    # Integer and double ndarrays are cast inside the capture, as outside.
    assert (step(x.astype(np.float64)).numpy() == model(x).detach().numpy()).all()
    assert (step(x.astype(np.int64)).numpy() == model(x).detach().numpy()).all()
