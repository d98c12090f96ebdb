"""``data_format="channels_first"``: exactly what channels last gives, what PyTorch gives, one copy for a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import _C, nn
from mlext import functional as F

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)
FIRST: dict[str, Any] = {"data_format": "channels_first"}


def drawn(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def first(x: Any) -> Any:
    """(N, ..., C) as (N, C, ...), in memory too."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def last(x: Any) -> Any:
    return np.moveaxis(x, 1, -1)


def row_major(x: Any) -> bool:
    return bool(x.strides == tuple(np.cumprod((1, *x.shape[:0:-1]))[::-1]))


# ---- functions -------------------------------------------------------------------------------------------------------

W, B, C = drawn(5, 3, 2, 3), drawn(5), drawn(3)
# Name, function of x and the format, shape of x with channels last.
FUNCTIONS: list[tuple[str, Callable[..., Any], tuple[int, ...]]] = [
    ("conv2d", lambda x, **f: F.conv2d(x, W, B, (2, 1), "same", activation="tanh", **f), (2, 7, 6, 3)),
    ("conv2d, groups", lambda x, **f: F.conv2d(x, drawn_once, padding=1, groups=3, **f), (2, 7, 6, 3)),
    ("conv1d", lambda x, **f: F.conv1d(x, W[:, 0], B, 2, 1, **f), (2, 9, 3)),
    ("conv_transpose2d", lambda x, **f: F.conv_transpose2d(x, W, C, 2, 1, 1, **f), (2, 4, 6, 5)),
    ("max_pool2d", lambda x, **f: F.max_pool2d(x, (3, 2), 2, 1, ceil_mode=True, **f), (2, 7, 6, 3)),
    ("max_pool2d, relu", lambda x, **f: F.max_pool2d(x, 2, activation="relu", **f), (2, 7, 6, 3)),
    ("avg_pool2d", lambda x, **f: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False, **f), (2, 7, 6, 3)),
    ("avg_pool2d, ceil", lambda x, **f: F.avg_pool2d(x, 3, 2, ceil_mode=True, **f), (2, 8, 6, 3)),
    ("max_pool1d", lambda x, **f: F.max_pool1d(x, 3, 2, 1, ceil_mode=True, **f), (2, 8, 3)),
    ("avg_pool1d", lambda x, **f: F.avg_pool1d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False, **f), (2, 8, 3)),
    ("adaptive_max_pool2d", lambda x, **f: F.adaptive_max_pool2d(x, (3, 2), **f), (2, 7, 6, 3)),
    ("adaptive_avg_pool2d", lambda x, **f: F.adaptive_avg_pool2d(x, (3, 2), **f), (2, 7, 6, 3)),
    ("global_max_pool2d", F.global_max_pool2d, (2, 7, 6, 3)),
    ("global_avg_pool2d", F.global_avg_pool2d, (2, 7, 6, 3)),
    ("batch_norm", lambda x, **f: F.batch_norm(x, None, None, C, C, True, activation="relu", **f), (3, 4, 5, 3)),
    ("batch_norm, sequences", lambda x, **f: F.batch_norm(x, C, C * C, eps=0.1, **f), (3, 4, 3)),
    ("batch_norm, rows", lambda x, **f: F.batch_norm(x, None, None, training=True, **f), (4, 3)),
    ("group_norm", lambda x, **f: F.group_norm(x, 2, eps=0.1, activation="relu", **f), (3, 4, 5, 6)),
    ("instance_norm", lambda x, **f: F.instance_norm(x, C, C, 0.1, activation="relu", **f), (3, 4, 5, 3)),
    ("instance_norm, volumes", lambda x, **f: F.instance_norm(x, **f), (3, 4, 2, 5, 3)),
    ("interpolate", lambda x, **f: F.interpolate(x, (5, 9), **f), (2, 4, 6, 3)),
    ("interpolate, bilinear", lambda x, **f: F.interpolate(x, None, 1.5, "bilinear", True, **f), (2, 4, 6, 3)),
    ("dropout2d", lambda x, **f: F.dropout2d(x, 0.4, rng=3, **f), (2, 4, 6, 9)),
    ("prelu", lambda x, **f: F.prelu(x, C, **f), (2, 4, 6, 3)),
]
drawn_once = drawn(6, 3, 3, 1)


@pytest.mark.parametrize(("name", "function", "shape"), FUNCTIONS, ids=[row[0] for row in FUNCTIONS])
def test_functions_equal_channels_last(name: str, function: Callable[..., Any], shape: tuple[int, ...]) -> None:
    x = drawn(*shape)
    expected, got = function(x), function(first(x), **FIRST)
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, np.moveaxis(expected, -1, 1) if expected.ndim > 2 else expected)
    a, b = ml.tensor(x, requires_grad=True), ml.tensor(first(x), requires_grad=True)
    ya, yb = function(a), function(b, **FIRST)
    np.testing.assert_array_equal(yb.detach().numpy(), got)
    g = drawn(*ya.shape)
    ya.backward(ml.tensor(g))
    yb.backward(ml.tensor(first(g) if g.ndim > 2 else g))
    assert b.grad.shape == b.shape
    np.testing.assert_array_equal(b.grad.numpy(), first(a.grad.numpy()) if len(shape) > 2 else a.grad.numpy())


def test_a_residual_is_in_the_format_too() -> None:
    x, r = drawn(2, 5, 6, 3), drawn(2, 3, 5, 5)
    expected = F.conv2d(x, W, B, residual=r, activation="relu")
    got = F.conv2d(first(x), W, B, residual=first(r), activation="relu", **FIRST)
    np.testing.assert_array_equal(last(got), expected)
    x, r = x[0], drawn(5, 5, 5)
    got = F.conv1d(first(x), W[:, 0], residual=first(r), **FIRST)
    np.testing.assert_array_equal(last(got), F.conv1d(x, W[:, 0], residual=r))


def test_running_statistics_are_those_of_channels() -> None:
    x = drawn(4, 5, 6, 3)
    stats = [(ml.zeros(3), ml.ones(3)) for _ in range(2)]
    F.batch_norm(ml.tensor(x), *stats[0], training=True)
    F.batch_norm(ml.tensor(first(x)), *stats[1], training=True, **FIRST)
    for a, b in zip(*stats, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: str) -> None:
    x, w = ml.tensor(drawn(2, 6, 7, 3)).astype(dtype), ml.tensor(W).astype(dtype)
    got = F.relu(F.conv2d(F.permute(x, 0, 3, 1, 2), w, **FIRST))
    assert got.dtype.name == dtype
    assert not row_major(got)
    expected = F.relu(F.conv2d(x, w))
    np.testing.assert_array_equal(last(got.astype("float32").numpy()), expected.astype("float32").numpy(), strict=True)


# ---- against PyTorch -------------------------------------------------------------------------------------------------


def torch_weight(weight: Any) -> Any:
    """Channels of filters come second there."""
    return np.ascontiguousarray(np.moveaxis(weight, -1, 1))


D: dict[str, Any] = {"dtype": "float64", "rng": 1, **FIRST}
NORM: dict[str, Any] = {"dtype": "float64", **FIRST}
# Our layer, the name and arguments of theirs, the shape of x with channels first.
LAYERS: list[tuple[Callable[[], nn.Module], str, tuple[Any, ...], tuple[int, ...]]] = [
    (
        lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), 1, 2, **D),
        "Conv2d",
        (4, 6, (3, 2), (2, 1), (1, 0), 1, 2),
        (2, 4, 7, 6),
    ),
    (lambda: nn.Conv1d(3, 4, 3, 2, 1, **D), "Conv1d", (3, 4, 3, 2, 1), (2, 3, 9)),
    (lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, 1, **D), "ConvTranspose2d", (3, 4, 3, 2, 1, 1), (2, 3, 4, 5)),
    (lambda: nn.DepthwiseConv2d(3, 3, 2, padding=1, **D), "Conv2d", (3, 6, 3, 1, 1, 1, 3), (2, 3, 7, 6)),
    (lambda: nn.MaxPool2d(3, 2, 1, **FIRST), "MaxPool2d", (3, 2, 1), (2, 3, 7, 6)),
    (lambda: nn.MaxPool1d(3, 2, 1, **FIRST), "MaxPool1d", (3, 2, 1), (2, 3, 7)),
    (lambda: nn.AvgPool2d(3, 2, 1, **FIRST), "AvgPool2d", (3, 2, 1), (2, 3, 7, 6)),
    (lambda: nn.AvgPool1d(3, 2, 1, **FIRST), "AvgPool1d", (3, 2, 1), (2, 3, 7)),
    (lambda: nn.AdaptiveMaxPool2d((3, 2), **FIRST), "AdaptiveMaxPool2d", ((3, 2),), (2, 3, 7, 6)),
    (lambda: nn.AdaptiveAvgPool2d((3, 2), **FIRST), "AdaptiveAvgPool2d", ((3, 2),), (2, 3, 7, 6)),
    (lambda: nn.BatchNorm(3, **NORM), "BatchNorm2d", (3,), (4, 3, 5, 6)),
    (lambda: nn.BatchNorm(3, **NORM), "BatchNorm1d", (3,), (4, 3, 5)),
    (lambda: nn.GroupNorm(2, 6, **NORM), "GroupNorm", (2, 6), (3, 6, 4, 5)),
    (lambda: nn.InstanceNorm(3, affine=True, **NORM), "InstanceNorm2d", (3, 1e-5, 0.1, True), (3, 3, 4, 5)),
    (lambda: nn.Upsample(scale_factor=2, **FIRST), "Upsample", (None, 2), (2, 3, 4, 5)),
    (lambda: nn.Upsample((5, 7), None, "bilinear", **FIRST), "Upsample", ((5, 7), None, "bilinear"), (2, 3, 4, 5)),
    (lambda: nn.PReLU(3, **NORM), "PReLU", (3,), (2, 3, 4, 5)),
]


@pytest.mark.parametrize(("make", "name", "arguments", "shape"), LAYERS, ids=[row[1] for row in LAYERS])
def test_layers_equal_torch(
    make: Callable[[], nn.Module], name: str, arguments: tuple[Any, ...], shape: tuple[int, ...]
) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(), getattr(torch.nn, name)(*arguments).double()
    for key, value in ours.named_parameters():
        array = value.detach().numpy()
        theirs.get_parameter(key).data = torch.tensor(torch_weight(array) if array.ndim > 2 else array)
    x = RNG.standard_normal(shape)
    a, b = ml.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ya, yb = ours(a), theirs(b)
    g = RNG.standard_normal(tuple(yb.shape))
    np.testing.assert_allclose(ya.detach().numpy(), yb.detach().numpy(), rtol=1e-12, atol=1e-12)
    ya.backward(ml.tensor(g))
    yb.backward(torch.tensor(g))
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-11, atol=1e-11)
    for key, value in ours.named_parameters():
        expected = theirs.get_parameter(key).grad.numpy()
        got = value.grad.numpy()
        np.testing.assert_allclose(torch_weight(got) if got.ndim > 2 else got, expected, rtol=1e-11, atol=1e-11)


def test_global_pools_equal_torch() -> None:
    x = drawn(2, 3, 4, 5)
    np.testing.assert_allclose(nn.GlobalAvgPool2d(**FIRST)(x).numpy(), x.mean((2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(nn.GlobalMaxPool2d(**FIRST)(x).numpy(), x.max((2, 3)))


def test_a_model_of_torch_runs_with_its_own_weights() -> None:
    """Flatten joins (C, H, W) in this order, so a dense layer behind it takes the weight as it is."""
    torch = pytest.importorskip("torch")
    t = torch.nn
    theirs = t.Sequential(
        *(t.Conv2d(3, 8, 3, padding=1), t.BatchNorm2d(8), t.ReLU(), t.MaxPool2d(2), t.Conv2d(8, 4, 3), t.Tanh()),
        *(t.Flatten(), t.Linear(4 * 4 * 3, 5)),
    ).eval()
    ours = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1, **FIRST), nn.BatchNorm(8, **FIRST), nn.ReLU(), nn.MaxPool2d(2, **FIRST)),
        *(nn.Conv2d(8, 4, 3, **FIRST), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 4 * 3, 5)),
    ).eval()
    state = {key: value.numpy() for key, value in theirs.state_dict().items() if value.ndim}
    ours.load_state_dict({key: np.moveaxis(v, 1, -1) if v.ndim == 4 else v for key, v in state.items()})
    x = drawn(2, 3, 12, 10)
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours.predict(x), expected, rtol=1e-5, atol=1e-5)


# ---- whole models ----------------------------------------------------------------------------------------------------


def network(**options: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, rng=0, **options),
        nn.BatchNorm(16, **options),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1, rng=2, **options))),
        nn.MaxPool2d(2, **options),
        nn.Hardswish(),
        nn.SeparableConv2d(16, 24, 3, rng=1, **options),
        nn.GlobalAvgPool2d(**options),
        nn.Linear(24, 4, rng=3),
    )


def conversions(run: Callable[[], Any]) -> int:
    with ml.profile() as profile:
        run()
    return sum(row.calls for row in profile.rows() if row.name in ("copy", "transpose"))


def test_a_chain_converts_once() -> None:
    x = drawn(2, 12, 10, 3)
    model, twin = network(**FIRST), network()
    here, there = ml.tensor(first(x)), ml.tensor(x)
    assert conversions(lambda: model(here)) == conversions(lambda: twin(there)) + 1 == 1
    # The way back reads what the way there copied; gradients of x come back in its own order.
    usual = conversions(lambda: twin(there).sum().backward())
    assert conversions(lambda: model(here).sum().backward()) == usual + 1
    here.requires_grad_(True)
    assert conversions(lambda: model(here).sum().backward()) == usual + 2


def test_results_lie_channels_last() -> None:
    y = F.conv2d(ml.tensor(drawn(2, 3, 6, 7)), W, **FIRST)
    assert y.shape == (2, 5, 4, 6)
    assert y.strides == (120, 1, 30, 5)
    added, tested = y + 1.0, y > 0.0
    assert F.gelu(y).strides == added.strides == tested.strides == y.strides


def test_training_equals_channels_last() -> None:
    x, labels = drawn(32, 12, 10, 3), RNG.integers(0, 4, 32)
    states = []
    for compile in (False, True):
        for options, images in (({}, x), (FIRST, first(x))):
            model = network(**options)
            optimizer = ml.optim.Adam(model.parameters(), lr=1e-2)
            trainer = ml.training.Trainer(model, "cross_entropy", optimizer, compile=compile, seed=0)
            trainer.fit(images, labels, epochs=3, batch_size=8, verbose=0)
            states.append({key: value.numpy() for key, value in model.state_dict().items()})
    for state in states[1:]:
        for key, value in states[0].items():
            np.testing.assert_array_equal(state[key], value, err_msg=key)


def test_saved_and_loaded(tmp_path: Any) -> None:
    more = nn.Sequential(
        *(
            nn.Upsample(scale_factor=2, **FIRST),
            nn.Dropout2d(0.5, **FIRST),
            nn.Skip(nn.Conv2d(3, 2, 1, **FIRST), **FIRST),
        ),
        *(nn.PReLU(5, **FIRST), nn.AdaptiveAvgPool2d(4, **FIRST), nn.GlobalMaxPool2d(**FIRST)),
    )
    x = drawn(2, 3, 12, 10)
    for model in (network(**FIRST), more):
        ml.save(model, tmp_path / "model")
        copy = ml.load(tmp_path / "model")
        assert repr(copy) == repr(model)
        np.testing.assert_array_equal(copy.predict(x), model.predict(x))


def test_repr_shows_what_is_not_the_default() -> None:
    assert "data_format" not in repr(network())
    assert repr(nn.GlobalAvgPool2d(**FIRST)) == "GlobalAvgPool2d(data_format='channels_first')"
    assert repr(nn.GlobalAvgPool2d()) == "GlobalAvgPool2d()"
    assert repr(nn.Conv1d(2, 3, 1, **FIRST)) == "Conv1d(2, 3, kernel_size=(1,), data_format='channels_first')"
    assert repr(network(**FIRST)).count("data_format='channels_first'") == 7


def test_fuse() -> None:
    x = drawn(4, 3, 12, 10)
    model = network(**FIRST)
    model(x)
    fused = ml.fuse(model)
    assert len(fused) == len(model) - 1
    np.testing.assert_allclose(fused.predict(x), model.predict(x), rtol=1e-4, atol=1e-5)
    mixed = nn.Sequential(nn.Conv2d(3, 3, 1, **FIRST), nn.BatchNorm(3))
    assert len(ml.fuse(mixed)) == 2


def test_skip_joins_channels() -> None:
    inner = nn.Conv2d(3, 2, 1, rng=0)
    x = drawn(2, 4, 5, 3)
    got = nn.Skip(nn.Conv2d(3, 2, 1, rng=0, **FIRST), **FIRST)(first(x)).detach().numpy()
    np.testing.assert_array_equal(last(got), nn.Skip(inner)(x).detach().numpy())


MODELS: list[tuple[Callable[..., nn.Module], dict[str, Any], tuple[int, ...]]] = [
    (ml.models.lenet5, {}, (2, 28, 28, 1)),
    (ml.models.resnet18, {"num_classes": 3}, (1, 32, 32, 3)),
    (ml.models.mobilenet_v2, {"num_classes": 3}, (1, 32, 32, 3)),
    (ml.models.unet, {"widths": (4, 8)}, (1, 8, 12, 1)),
    (ml.models.conv_autoencoder, {}, (2, 8, 12, 1)),
    (
        lambda **o: ml.models.VisionTransformer((8, 12), 4, 3, embed_dim=8, num_layers=1, num_heads=2, **o),
        {},
        (2, 8, 12, 3),
    ),
]


@pytest.mark.parametrize(("make", "options", "shape"), MODELS, ids=[row[0].__name__ for row in MODELS])
def test_models(make: Callable[..., nn.Module], options: dict[str, Any], shape: tuple[int, ...], tmp_path: Any) -> None:
    x = drawn(*shape)
    model, twin = make(**options, **FIRST, rng=0).eval(), make(**options, rng=0).eval()
    expected, got = twin.predict(x), model.predict(first(x))
    np.testing.assert_array_equal(got, first(expected) if expected.ndim == 4 else expected)
    assert set(model.state_dict()) == set(twin.state_dict())
    ml.save(model, tmp_path / "model")
    np.testing.assert_array_equal(ml.load(tmp_path / "model").predict(first(x)), got)
    with pytest.raises(ValueError, match="'data_format': expected 'channels_last' or 'channels_first', got 'NCHW'"):
        make(**options, data_format="NCHW")


@pytest.mark.parametrize("make", [ml.models.vgg16, ml.models.resnet50])
def test_large_models_take_the_format(make: Callable[..., Any]) -> None:
    model = make(2, **FIRST, rng=0)
    assert repr(model[0]) == "Permute(axes=(0, 2, 3, 1))"


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_errors() -> None:
    x = drawn(2, 3, 6, 7)
    rows: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (
            lambda: F.conv2d(x, W, data_format="NCHW"),
            ValueError,
            "conv2d: argument 'data_format': expected 'channels_last' or 'channels_first', got 'NCHW'",
        ),
        (lambda: F.max_pool1d(x[0], 2, data_format=None), ValueError, "max_pool1d: argument 'data_format'"),
        (lambda: nn.Conv2d(3, 4, 3, data_format="first"), ValueError, "Conv2d: argument 'data_format'"),
        (lambda: nn.Upsample(2, data_format=np.ones(2)), ValueError, "Upsample: argument 'data_format'"),
        (lambda: nn.BatchNorm(3, data_format=1), ValueError, "BatchNorm: argument 'data_format'"),
        (lambda: nn.SeparableConv2d(3, 4, 3, data_format=()), ValueError, "argument 'data_format'"),
        (lambda: nn.AvgPool1d(3, data_format="channels"), ValueError, "AvgPool1d: argument 'data_format'"),
        (lambda: F.conv2d(x[0], W, **FIRST), ValueError, r"conv2d: .*'x': expected 4 dimensions \(N, C, H, W\)"),
        (lambda: F.conv1d(x, W[:, 0], **FIRST), ValueError, r"expected 3 dimensions \(N, C, T\), got shape"),
        (lambda: F.instance_norm(x[0, 0, 0], **FIRST), ValueError, "instance_norm: argument 'x': expected 2 or more"),
        (lambda: F.conv2d([1], W, **FIRST), TypeError, "conv2d: argument 'x': expected a Tensor or ndarray, got list"),
        (lambda: F.conv2d(x, W, residual=1, **FIRST), TypeError, "conv2d: argument 'residual'"),
        (lambda: F.conv2d(x, W.astype("d"), **FIRST), TypeError, "conv2d: argument 'weight'"),
        (
            lambda: F.conv2d(last(x), W, **FIRST),
            ValueError,
            r"conv2d: argument 'weight': .* \(x \(2, 6, 7, 3\) is channels first; shapes here are those with",
        ),
        (lambda: nn.Permute((0, 1.5)), TypeError, "Permute: argument 'axes': expected an int"),
        (lambda: nn.Permute((0, 1))(x), ValueError, "permute: argument 'axes'"),
    ]
    for call, kind, message in rows:
        with pytest.raises(kind, match=message):
            call()


@pytest.mark.parametrize("shape", [(0, 3, 5, 6), (2, 0, 5, 6)])
def test_empty(shape: tuple[int, ...]) -> None:
    w = np.zeros((4, 3, 3, shape[1]), np.float32)
    assert F.conv2d(np.zeros(shape, np.float32), w, **FIRST).shape == (shape[0], 4, 3, 4)
    assert F.global_avg_pool2d(np.zeros(shape, np.float32), **FIRST).shape == shape[:2]
    assert F.max_pool2d(ml.zeros(*shape), 2, **FIRST).shape == (*shape[:2], 2, 3)


# ---- the order of memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(1, 0, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_elementwise_keeps_the_order_of_memory(axes: tuple[int, ...]) -> None:
    base, other = drawn(3, 4, 2, 5), drawn(3, 4, 2, 5)
    x, y = base.transpose(axes), other.transpose(axes)
    a, b = F.permute(ml.tensor(base), axes), F.permute(ml.tensor(other), axes)
    rows: list[tuple[Any, Array]] = [
        (F.relu(a), np.maximum(x, 0)),
        (a + b, x + y),
        (a * 2.0 - 1.0, x * np.float32(2) - np.float32(1)),
        (a < b, x < y),
        (a + ml.tensor(y.copy()), x + y),  # the first one's order
        (a * ml.tensor(y[:1, :, :1].copy()), x * y[:1, :, :1]),  # broadcast
        (a + ml.tensor(y[0, 0, 0].copy()), x + y[0, 0, 0]),
    ]
    for got, expected in rows:
        assert got.strides == a.strides
        np.testing.assert_array_equal(got.numpy(), expected)
    assert row_major(ml.tensor(x.copy()) + b)
    np.testing.assert_array_equal((ml.tensor(x.copy()) + b).numpy(), x + y)
    gaps = a[:, :, :, ::2] if a.shape[3] > 2 else a[:, ::2]
    assert row_major(F.relu(gaps))
    half = a.astype("float16")
    np.testing.assert_array_equal((half + half).numpy(), x.astype("float16") * 2)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
def test_copies_of_few_channels(level: str, channels: int, dtype: str) -> None:
    for rows, columns in ((1, 70), (13, 11), (16, 24), (31, 67)):
        x = RNG.integers(0, 200, (2, channels, rows, columns)).astype(dtype)
        planes, points = ml.tensor(x), ml.tensor(np.ascontiguousarray(last(x)))
        np.testing.assert_array_equal(_C.dense(F.permute(planes, 0, 2, 3, 1)).numpy(), last(x))
        np.testing.assert_array_equal(_C.dense(F.permute(points, 0, 3, 1, 2)).numpy(), x)
        # Gaps between rows, between channels, and between points.
        for part in (planes[:, :, :, 1:], planes[:, 1:], planes[:, :, 1:], planes[:, :, :, ::2]):
            np.testing.assert_array_equal(_C.dense(F.permute(part, 0, 2, 3, 1)).numpy(), last(part.numpy()))
        for part in (points[:, :, :, 1:], points[:, :, 1:], points[:, 1:]):
            np.testing.assert_array_equal(_C.dense(F.permute(part, 0, 3, 1, 2)).numpy(), first(part.numpy()))
        into = ml.zeros(2, rows, columns, channels + 2, dtype=dtype)
        _C.copy_(into[:, :, :, 1:-1], F.permute(planes, 0, 2, 3, 1))
        np.testing.assert_array_equal(into.numpy(), np.pad(last(x), ((0, 0), (0, 0), (0, 0), (1, 1))))
