"""Complete networks: against PyTorch's with generated weights, fused, saved, trained; wrong checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import models, nn

Array = np.ndarray[Any, Any]


def pair(name: str) -> tuple[Any, nn.Module, tuple[int, ...]]:
    """PyTorch's network, ours, and the shape of an input."""
    from tests import torch_models as theirs

    return {
        "lenet5": lambda: (theirs.lenet5(), models.lenet5(rng=0), (2, 28, 28, 1)),
        "vgg16": lambda: (theirs.VGG16(10), models.vgg16(10, rng=0), (1, 64, 96, 3)),
        "resnet18": lambda: (theirs.ResNet((2, 2, 2, 2), False, 10), models.resnet18(10, rng=0), (2, 64, 96, 3)),
        "resnet50": lambda: (theirs.ResNet((3, 4, 6, 3), True, 10), models.resnet50(10, rng=0), (2, 64, 96, 3)),
        "mobilenet_v2": lambda: (theirs.MobileNetV2(10), models.mobilenet_v2(10, rng=0), (2, 64, 96, 3)),
    }[name]()


def relative(got: Array, expected: Array) -> float:
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", ["lenet5", "vgg16", "resnet18", "resnet50", "mobilenet_v2"])
def test_equal_to_torch_with_its_weights(name: str) -> None:
    torch = pytest.importorskip("torch")
    from tests.torch_models import generate

    theirs, ours, shape = pair(name)
    theirs = generate(theirs, 1).eval()
    models.from_torch(ours, theirs.state_dict())
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(np.moveaxis(x, -1, 1).copy())).numpy()
    assert relative(ours.predict(x), expected) < 1e-4
    fused = ml.fuse(ours)
    assert relative(fused.predict(x), expected) < 1e-4
    assert not any(isinstance(module, nn.BatchNorm) for module in fused.modules())


def test_fused_models_are_saved(tmp_path: Path) -> None:
    model = models.resnet18(5, rng=0)
    x = np.random.default_rng(3).standard_normal((4, 32, 32, 3)).astype(np.float32)
    model(x)  # moves the running averages
    fused = ml.fuse(model)
    assert relative(fused.predict(x), model.predict(x)) < 1e-4
    ml.save(fused, tmp_path / "fused")
    np.testing.assert_array_equal(ml.load(tmp_path / "fused").predict(x), fused.predict(x))
    ml.save(model, tmp_path / "model")
    np.testing.assert_array_equal(ml.load(tmp_path / "model").predict(x), model.predict(x))


def test_fuse_leaves_alone_what_it_must() -> None:
    shared = nn.Conv2d(2, 2, 1, rng=0)
    model = nn.Sequential(
        *(shared, nn.BatchNorm(2), shared, nn.BatchNorm(2)),  # one weight, two norms
        *(nn.Conv2d(2, 2, 1, activation="relu", rng=1), nn.BatchNorm(2)),  # not a linear map
        *(nn.Conv2d(2, 2, 1, rng=2), nn.BatchNorm(2, track_running_stats=False)),
        *(nn.Flatten(1, 2), nn.Linear(2, 3, rng=3), nn.BatchNorm(3, affine=False, activation="relu")),
    )
    x = np.random.default_rng(4).standard_normal((4, 3, 3, 2)).astype(np.float32)
    model(x)
    fused = ml.fuse(model)
    np.testing.assert_allclose(fused.predict(x), model.predict(x), rtol=1e-5, atol=1e-6)
    kinds = [type(module).__name__ for module in fused.children()]
    assert kinds == [
        "Conv2d",
        "BatchNorm",
        "Conv2d",
        "BatchNorm",
        "Conv2d",
        "BatchNorm",
        "Conv2d",
        "BatchNorm",
        "Flatten",
        "Linear",
    ]
    assert model.training
    assert not fused.training
    with pytest.raises(TypeError, match="fuse: argument 'model': expected a Module"):
        ml.fuse(3)


def test_a_block_ends_in_one_kernel() -> None:
    model = ml.fuse(models.resnet18(5, rng=0))
    x = ml.tensor(np.random.default_rng(5).standard_normal((1, 32, 32, 3)).astype(np.float32))
    with ml.no_grad(), ml.profile() as profile:
        model(x)
    assert {row.name for row in profile.rows()} == {"conv2d", "max_pool2d", "avg_pool2d", "linear"}


@pytest.mark.parametrize("activation", [None, "relu", "gelu_tanh"])
def test_residual_with_a_shortcut(activation: str | None) -> None:
    inner, around = nn.Sequential(nn.Tanh(), nn.Linear(4, 3, rng=1)), nn.Linear(4, 3, rng=2)
    block = nn.Residual(inner, around, activation=activation)
    apart = nn.Residual(nn.Sequential(inner, nn.Identity()), around, activation=activation)
    grads = []
    for module in (block, apart):
        x = ml.tensor(np.linspace(-2, 2, 20, dtype=np.float32).reshape(5, 4), requires_grad=True)
        module(x).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(block.predict(np.ones((2, 4))), apart.predict(np.ones((2, 4))), rtol=1e-6)
    np.testing.assert_allclose(*grads, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="residual"):
        nn.Residual(nn.Sequential(nn.Linear(4, 5, rng=0)), around)(np.ones((2, 4), np.float32))


@pytest.mark.parametrize("make", [models.unet, models.conv_autoencoder])
def test_images_to_images_learn(make: Any) -> None:
    rng = np.random.default_rng(6)
    x = (rng.random((8, 16, 16, 1)) < 0.3).astype(np.float32)
    model = make(rng=0)
    target = x[..., 0].astype(np.int64) if make is models.unet else x
    loss_of = ml.losses.cross_entropy if make is models.unet else ml.losses.binary_cross_entropy
    optimizer = ml.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = loss_of(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    with pytest.raises(ValueError, match="'widths': expected at least one"):
        make(widths=())


def test_wrong_checkpoints_change_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.BatchNorm(2))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    state = {name: np.ones_like(value) for name, value in before.items()}
    state["0.weight"] = np.ones((2, 1, 3, 3), np.float32)
    for name, value, text in (
        ("0.weight", np.ones((2, 1, 5, 5), np.float32), "shape of 0.weight"),
        ("other", 1, "other"),
    ):
        with pytest.raises(ValueError, match=text):
            models.from_torch(model, state | {name: np.asarray(value, np.float32)})
    with pytest.raises(ValueError, match="missing: 1.running_var"):
        models.from_torch(model, {name: value for name, value in state.items() if name != "1.running_var"})
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    models.from_torch(model, state | {"1.num_batches_tracked": np.asarray(3)})
    assert (model[0].weight.numpy() == 1).all()


def small_cnn(torch: Any) -> tuple[Any, nn.Module]:
    """Two normalised convolutions, in PyTorch and here, with PyTorch's values."""
    t = torch.nn
    theirs = t.Sequential(
        *(t.Conv2d(3, 16, 3, padding=1), t.BatchNorm2d(16), t.ReLU(), t.MaxPool2d(2)),
        *(t.Conv2d(16, 32, 3, padding=1), t.BatchNorm2d(32), t.ReLU(), t.MaxPool2d(2), t.Flatten(), t.Linear(512, 10)),
    )
    ours = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, rng=0), nn.BatchNorm(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1, rng=0), nn.BatchNorm(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        nn.Linear(512, 10, rng=0),
    )
    return theirs, ours


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_losses_of_training_equal_those_of_torch(name: str) -> None:
    """50 steps of the same data with the same options, in float64: 1e-4 would not tell rounding from a fault."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    rng = np.random.default_rng(7)
    theirs, ours = small_cnn(torch) if name == "small" else pair("resnet18")[:2]
    theirs, ours = theirs.double(), ours.to("float64")
    models.from_torch(ours, {k: v.detach() for k, v in theirs.state_dict().items()})
    size, batch, lr = (16, 32, 0.02) if name == "small" else (32, 8, 0.001)
    options = {"lr": lr, "momentum": 0.9, "weight_decay": 1e-3}
    step_of_theirs, step_of_ours = (
        torch.optim.SGD(theirs.parameters(), **options),
        ml.optim.SGD(ours.parameters(), **options),
    )

    @ml.compile
    def step(x: Any, y: Any) -> Any:
        loss = ml.losses.cross_entropy(ours(x), y)
        step_of_ours.zero_grad()
        loss.backward()
        step_of_ours.step()
        return loss

    for i in range(50):
        x, y = rng.standard_normal((batch, size, size, 3)), rng.integers(0, 10, batch)
        expected = torch.nn.functional.cross_entropy(
            theirs(torch.tensor(np.moveaxis(x, -1, 1).copy())), torch.tensor(y)
        )
        step_of_theirs.zero_grad()
        expected.backward()
        step_of_theirs.step()
        assert abs(step(x, y).item() / expected.item() - 1) < 1e-6, i
