"""Recurrent networks against PyTorch and Keras: losses of training, and outputs with converted weights."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import _keras_child
import mlext as ml
from mlext import nn

Array = np.ndarray[Any, Any]
STEPS = 100


def trained(model: nn.Module, loss_of: Any) -> Any:
    """A captured step of Adam."""
    optimizer = ml.optim.Adam(model.parameters(), lr=2e-3)

    @ml.compile
    def step(x: Any, y: Any) -> Any:
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def compare(ours: nn.Module, theirs: Any, batches: list[tuple[Array, Array]], tolerance: float) -> None:
    import torch

    theirs_step = torch.optim.Adam(theirs.parameters(), lr=2e-3)
    step = trained(ours, ml.losses.cross_entropy)
    losses = []
    for i in range(STEPS):
        x, y = batches[i % len(batches)]
        out = theirs(torch.tensor(x))
        expected = torch.nn.functional.cross_entropy(out.reshape(-1, out.shape[-1]), torch.tensor(y).reshape(-1))
        theirs_step.zero_grad()
        expected.backward()
        theirs_step.step()
        losses.append(expected.item())
        assert abs(step(x, y).item() / expected.item() - 1) < tolerance, i
    assert losses[-1] < 0.6 * losses[0]  # it learns: equal losses that stand still would say little


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_losses_of_a_classifier_equal_those_of_torch(dtype: str, tolerance: float) -> None:
    """Two layers of GRU in both directions; the curve in float32 is compared to 1e-4, in float64 to rounding."""
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = torch.nn.GRU(5, 12, 2, batch_first=True, bidirectional=True)
            self.head = torch.nn.Linear(24, 4)

        def forward(self, x: Any) -> Any:
            last = self.recurrent(x)[1]
            return self.head(torch.cat([last[-2], last[-1]], 1))

    torch.manual_seed(0)
    theirs = Theirs().to(getattr(torch, dtype))
    ours = ml.models.SequenceClassifier(5, 4, 12, 2, kind="gru", bidirectional=True, dtype=dtype)
    ours.load_state_dict({k.replace("head", "head.2"): v.detach().numpy() for k, v in theirs.state_dict().items()})
    rng = np.random.default_rng(1)
    batches = []
    for _ in range(5):
        y = rng.integers(0, 4, 24)
        x = rng.standard_normal((24, 9, 5)) + np.eye(4, 5)[y][:, None] * 0.7
        batches.append((x.astype(dtype), y))
    compare(ours, theirs, batches, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_losses_of_a_language_model_equal_those_of_torch(dtype: str, tolerance: float) -> None:
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(10, 6)
            self.recurrent = torch.nn.LSTM(6, 20, 2, batch_first=True)
            self.head = torch.nn.Linear(20, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.recurrent(self.embedding(x))[0])

    torch.manual_seed(0)
    theirs = Theirs().to(getattr(torch, dtype))
    ours = ml.models.CharacterModel("abcdefghij", 6, 20, 2, dtype=dtype)
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    text = ours.encode("abcdefghijabadbdcedf" * 30)
    batches = [(text[i : i + 480].reshape(16, 30), text[i + 1 : i + 481].reshape(16, 30)) for i in (0, 40, 100)]
    compare(ours, theirs, batches, tolerance)


# ---- Keras ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    """Inputs, weights and outputs of their layers."""
    path = tmp_path_factory.mktemp("keras") / "found.npz"
    child = subprocess.run([sys.executable, _keras_child.__file__, path], capture_output=True, text=True, check=False)
    if child.returncode == _keras_child.MISSING:
        pytest.skip("could not find keras and a backend")
    assert child.returncode == 0, child.stderr
    return dict(np.load(path))


def from_keras(kind: str, weights: list[Array]) -> dict[str, Array]:
    """State of our layer from kernel (C, G H), recurrent kernel (H, G H) and bias of theirs.

    Their GRU has the gates z, r, n and, with reset_after, both biases as two rows; their LSTM has i, f, g, o as ours,
    and one bias.
    """
    kernel, recurrent, bias = weights
    parts = [kernel.T, recurrent.T]
    parts += [bias[0], bias[1]] if kind == "GRU" else [bias, np.zeros_like(bias)]
    if kind == "GRU":
        for i, part in enumerate(parts):
            z, r, n = np.split(part, 3)
            parts[i] = np.concatenate([r, z, n])
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return {name: np.ascontiguousarray(part) for name, part in zip(names, parts, strict=True)}


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("merge", _keras_child.MERGES)
def test_outputs_equal_those_of_keras(kind: str, merge: str | None, keras: dict[str, Array]) -> None:
    weights = [keras[f"{kind}.{merge}.{i}"] for i in range(3 if merge is None else 6)]
    ours: Any = getattr(nn, kind)(5, 7)
    if merge is None:
        ours.load_state_dict(from_keras(kind, weights))
    else:
        ours = nn.Bidirectional(ours, merge)
        ours.layer.load_state_dict(from_keras(kind, weights[:3]))
        ours.reverse.load_state_dict(from_keras(kind, weights[3:]))
    np.testing.assert_allclose(ours.predict(keras["x"])[0], keras[f"{kind}.{merge}"], rtol=1e-5, atol=2e-6)
