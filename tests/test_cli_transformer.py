"""The command ``mlext`` with transformers: images, sequences and texts."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext.cli import main
from mlext.cli.fitting import _up_and_down

TEXT = "she sells sea shells by the sea shore.\n" * 40


def mlext(*args: Any) -> int:
    return main([str(a) for a in args])


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(TEXT)
    return path


def words(out: str, begin: str) -> list[str]:
    """The words of a line behind its begin."""
    return next(line for line in out.splitlines() if line.startswith(begin)).removeprefix(begin).split()


def test_digits_patch_by_patch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.process_time()
    assert mlext("train", "--model", "transformer", "--out", tmp_path / "a") == 0
    assert time.process_time() - began < 120
    out = capsys.readouterr().out
    assert "images of 8x8x1, 10 classes" in out
    assert float(words(out, "test accuracy")[0]) >= 0.98
    path = tmp_path / "a" / "model.safetensors"
    model = ml.load(path)
    assert (model.patch_size, model.pool, model.dropout) == ((2, 2), "flatten", 0.2)
    digits = ml.datasets.load_digits()
    np.savez(tmp_path / "some.npz", x=digits.data[:50])
    assert mlext("predict", path, tmp_path / "some.npz") == 0
    predicted = np.array(capsys.readouterr().out.split()[1:]).astype(int)
    assert (predicted == digits.target[:50]).mean() >= 0.98


def test_sequences_whose_middle_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 240)
    x = np.stack([1e5 * rng.standard_normal((240, 9)), 1e-3 * rng.standard_normal((240, 9))], 2)
    x[:, 4, 1] += 4e-3 * y  # not the mean over the steps: the other ones hide it
    np.savez(tmp_path / "d.npz", x=x, y=y)
    options = ("--hidden", 16, 16, "--dropout", 0.1, "--epochs", 40, "--lr", 0.01)
    made = ("--model", "transformer", *options, "--out", tmp_path / "a")
    assert mlext("train", "--data", tmp_path / "d.npz", *made) == 0
    out = capsys.readouterr().out
    assert "9 steps of 2 features, 2 classes" in out
    assert float(words(out, "test accuracy")[0]) >= 0.9
    model = ml.load(tmp_path / "a" / "model.safetensors")
    assert (model.channels, model.embed_dim, model.num_layers, model.num_heads) == (2, 16, 2, 4)
    assert mlext("predict", tmp_path / "a" / "model.safetensors", tmp_path / "d.npz", "--proba") == 0
    assert capsys.readouterr().out.startswith("0,1\n")


def test_images_of_any_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shape, patch in (((28, 28), (4, 4)), ((9, 6, 3), (1, 2)), ((64, 32, 1), (8, 8))):
        x = np.random.default_rng(0).integers(0, 256, (12, *shape), np.uint8)
        np.savez(tmp_path / "d.npz", x=x, y=np.arange(12) % 2)
        options = ("--model", "transformer", "--epochs", 1, "--hidden", 6, "--augment", "--out", tmp_path / "a")
        assert mlext("train", "--data", tmp_path / "d.npz", *options) == 0
        capsys.readouterr()
        model = ml.load(tmp_path / "a" / "model.safetensors")
        assert (model.image_size, model.patch_size, model.num_heads) == (shape[:2], patch, 2)


def test_a_text_is_learnt_and_written(book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--hidden", 32, 32, "--window", 40, "--epochs", 60, "--batch-size", 4, "--dropout", 0, "--lr", 0.005)
    assert mlext("train", "--data", book, "--model", "transformer", *options, "--out", tmp_path / "a") == 0
    out = capsys.readouterr().out
    assert "1404 characters for training, 156 for testing, 13 different ones" in out
    path = tmp_path / "a" / "model.safetensors"
    model = ml.load(path)
    assert (model.kind, model.embedding_dim, model.hidden_size, model.context) == ("transformer", 32, 128, 40)
    bits = model.bits_per_character(TEXT[1404:])
    assert words(out, "test bits per character")[0] == f"{bits:.4f}"
    assert bits < 1.0
    assert mlext("generate", path, "--prompt", "she sells", "--length", 107, "--temperature", 0) == 0
    assert capsys.readouterr().out == TEXT[:117]  # beyond the context
    drawn = []
    for seed in (1, 1, 2):
        assert mlext("generate", path, "--length", 60, "--temperature", 2, "--top-p", 0.9, "--seed", seed) == 0
        drawn.append(capsys.readouterr().out)
    assert drawn[0] == drawn[1] != drawn[2]
    assert mlext("generate", path, "--top-p", 0) == 2
    assert "'top_p': expected a number in (0, 1], got 0.0" in capsys.readouterr().err


def test_training_is_resumed_and_goes_further_than_planned(book: Path, tmp_path: Path) -> None:
    common = ("--data", book, "--model", "transformer", "--hidden", 8, "--window", 10, "--epochs")
    assert mlext("train", *common, 2, "--out", tmp_path / "a") == 0
    assert mlext("train", *common, 4, "--resume", "--out", tmp_path / "a") == 0
    history = json.loads((tmp_path / "a" / "history.json").read_text())
    assert history["epochs"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--task", "forecast", "--data", "flat.csv"],
            "--task forecast: expected --model lstm or gru, got transformer",
        ),
        (["--data", "flat.csv"], "--model transformer: expected sequences or images, got data of shape (N, 2)"),
        (["--hidden", "8", "16"], "--hidden: expected layers of one size for --model transformer, got 8 16"),
        (["--data", "steps.npz", "--augment"], "--augment: expected --model cnn or transformer, and images"),
        (["--task", "text", "--data", "book.txt", "--window", "0"], "'context': expected a positive int"),
    ],
)
def test_mistakes(
    args: list[str],
    message: str,
    book: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flat.csv").write_text("1,2,0\n2,1,1\n" * 10)
    np.savez("steps.npz", x=np.ones((8, 5, 2)), y=np.arange(8) % 2)
    assert mlext("train", "--model", "transformer", *args, "--out", "made") == 2
    err = capsys.readouterr().err
    assert err.startswith("mlext: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not Path("made").exists()


def test_the_learning_rate_rises_and_falls() -> None:
    def rates(steps: int, **options: Any) -> list[float]:
        optimizer = ml.optim.SGD(ml.nn.Linear(1, 1).parameters(), lr=2.0)
        args = argparse.Namespace(**{"epochs": 10, "batch_size": 4, "seconds": np.inf, **options})
        schedule = _up_and_down(optimizer, (np.zeros(38), np.zeros(38)), args)
        found = []
        for _ in range(steps):
            found.append(optimizer.lr)
            schedule.step()
        return found

    whole = rates(100)
    assert np.argmax(whole) in range(7, 12)
    assert max(whole) > 1.9
    assert (np.diff(whole[:8]) > 0).all()
    assert (np.diff(whole[11:]) < 0).all()
    assert whole[0] > 0
    assert whole[-1] < 1e-12
    assert rates(105)[-1] < 1e-12
    endless = rates(20, epochs=10**9, seconds=1e-9)  # the time is over at once
    assert max(endless[1:]) < 1e-12
