"""The command ``mlext`` with recurrent networks: rows of images, sequences, series, texts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext.cli import main
from mlext.io import read, read_metadata

TEXT = "she sells sea shells by the sea shore.\n" * 40


def mlext(*args: Any) -> int:
    return main([str(a) for a in args])


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two series by the hour, behind a column of dates."""
    t, rng = np.arange(300), np.random.default_rng(0)
    values = np.stack([20 + 5 * np.sin(t / 4), 1e6 + 3e5 * np.cos(t / 4)], 1) * (1 + rng.normal(0, 0.001, (300, 2)))
    path = tmp_path / "series.csv"
    path.write_text("when,warm,load\n" + "".join(f"day {i},{a:.3f},{b:.1f}\n" for i, (a, b) in enumerate(values)))
    return path


def words(out: str, begin: str) -> list[str]:
    """The words of a line behind its begin."""
    return next(line for line in out.splitlines() if line.startswith(begin)).removeprefix(begin).split()


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_digits_row_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    began = time.process_time()
    assert mlext("train", "--model", kind, "--out", tmp_path / "a") == 0
    assert time.process_time() - began < 30
    out = capsys.readouterr().out
    assert "8 steps of 8 features, 10 classes" in out
    assert float(words(out, "test accuracy")[0]) >= 0.97
    digits = ml.datasets.load_digits()
    np.savez(tmp_path / "some.npz", x=digits.data[:50])
    assert mlext("predict", tmp_path / "a" / "model.safetensors", tmp_path / "some.npz") == 0
    predicted = np.array(capsys.readouterr().out.split()[1:]).astype(int)
    assert (predicted == digits.target[:50]).mean() >= 0.96


def test_sequences_of_features_of_different_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 160)
    x = np.stack([1e5 * rng.standard_normal((160, 9)), 1e-3 * (rng.standard_normal((160, 9)) + 2 * y[:, None])], 2)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    options = ("--model", "gru", "--hidden", 8, 8, "--dropout", 0.1, "--epochs", 15, "--lr", 0.02)
    assert mlext("train", "--data", tmp_path / "d.npz", *options, "--out", tmp_path / "a") == 0
    assert float(words(capsys.readouterr().out, "test accuracy")[0]) >= 0.95
    model = ml.load(tmp_path / "a" / "model.safetensors")
    assert (model.kind, model.hidden_size, model.num_layers, model.dropout) == ("gru", 8, 2, 0.1)
    assert mlext("predict", tmp_path / "a" / "model.safetensors", tmp_path / "d.npz", "--proba") == 0
    assert capsys.readouterr().out.startswith("0,1\n")


def test_series_are_forecast(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--task", "forecast", "--window", 16, "--horizon", 3, "--hidden", 32, "--lr", 0.01)
    assert mlext("train", "--data", table, *options, "--out", tmp_path / "a") == 0
    out = capsys.readouterr().out
    assert "225 rows for training, the last 75 for testing, 2 series, windows of 16 steps, 3 ahead" in out
    model = tmp_path / "a" / "model.safetensors"
    test = read_metadata(model)["test"]
    assert list(test) == ["warm", "load"]
    for name, found in test.items():
        assert found["rmse"] < 0.5 * found["last_value_rmse"]
        assert found["mae"] < 0.5 * found["last_value_mae"]
        assert words(out, f"test {name}: rmse ")[0] == f"{found['rmse']:.4g}"
    values = np.array([line.split(",")[1:] for line in table.read_text().splitlines()[1:]], float)
    ahead = [values[i : i + 3] for i in range(225, 298)]  # the forecasts whose steps are all in the last 75
    naive = np.sqrt(np.mean([(a - values[225 + i - 1]) ** 2 for i, a in enumerate(ahead)], axis=(0, 1)))
    np.testing.assert_allclose([test[n]["last_value_rmse"] for n in test], naive, rtol=1e-4)

    assert mlext("predict", model, table) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "warm,load"
    t = np.arange(300, 303)
    expected = np.stack([20 + 5 * np.sin(t / 4), 1e6 + 3e5 * np.cos(t / 4)], 1)
    np.testing.assert_allclose([[float(v) for v in row.split(",")] for row in rows[1:]], expected, rtol=0.1)


def test_what_a_forecast_learns_from_is_in_the_past(table: Path, tmp_path: Path) -> None:
    """Other values in the last rows change neither the model nor its scales."""
    lines = table.read_text().splitlines(keepends=True)
    other = tmp_path / "other.csv"
    other.write_text("".join(lines[:226]) + "day 0,1,-5\n" * 75)
    for path, name in ((table, "a"), (other, "b")):
        assert mlext("train", "--data", path, "--task", "forecast", "--epochs", 2, "--out", tmp_path / name) == 0
    one, two = (tmp_path / name / "model.safetensors" for name in "ab")
    assert all((read(one)[0][n].data == read(two)[0][n].data).all() for n in read(one)[0])
    assert read_metadata(one)["series"] == read_metadata(two)["series"]


def test_a_text_is_learnt_and_written(book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--hidden", 64, "--window", 40, "--epochs", 25, "--batch-size", 4)
    assert mlext("train", "--data", book, "--model", "lstm", *options, "--out", tmp_path / "a") == 0
    out = capsys.readouterr().out
    assert "1404 characters for training, 156 for testing, 13 different ones" in out
    model = tmp_path / "a" / "model.safetensors"
    bits = ml.load(model).bits_per_character(TEXT[1404:])
    assert words(out, "test bits per character")[0] == f"{bits:.4f}"
    assert bits < 1.0
    assert mlext("generate", model, "--prompt", "she sells", "--length", 29, "--temperature", 0) == 0
    assert capsys.readouterr().out == "she sells sea shells by the sea shore.\n"
    drawn = []
    for seed in (1, 1, 2):
        assert mlext("generate", model, "--length", 60, "--temperature", 2, "--top-k", 5, "--seed", seed) == 0
        drawn.append(capsys.readouterr().out)
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(text) == 61 for text in drawn)
    assert mlext("predict", model, book) == 2
    assert "a model of a text: 'mlext generate'" in capsys.readouterr().err


def test_texts_stream(book: Path, tmp_path: Path) -> None:
    args = ("--task", "text", "--hidden", 8, "--window", 10, "--epochs", 1)
    assert mlext("train", "--data", book, *args, "--out", tmp_path) == 0
    command = [sys.executable, "-m", "mlext", "generate", tmp_path / "model.safetensors", "--length", "100000000"]
    child = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert len(os.read(child.stdout.fileno(), 10)) > 0  # long before the last character
    child.stdout.close()
    assert child.wait(30) == 1
    assert child.stderr is not None
    with child.stderr:
        assert b"Traceback" not in child.stderr.read()


def test_time_is_limited_and_training_resumed(book: Path, tmp_path: Path) -> None:
    common = ("--data", book, "--task", "text", "--hidden", 16, "--window", 10, "--epochs", 4)
    assert mlext("train", *common, "--out", tmp_path / "whole") == 0
    assert mlext("train", *common[:-1], 2, "--out", tmp_path / "cut") == 0
    assert mlext("train", *common, "--out", tmp_path / "cut", "--resume") == 0
    whole, cut = (read(tmp_path / name / "model.safetensors")[0] for name in ("whole", "cut"))
    assert all((whole[n].data == cut[n].data).all() for n in whole)
    began = time.monotonic()
    assert mlext("train", *common[:-1], 10**6, "--seconds", 0.5, "--out", tmp_path / "limited") == 0
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model", "lstm", "--data", "flat.csv"], "expected sequences or images, got data of shape (N, 2); --task"),
        (
            ["--model", "lstm", "--hidden", "8", "16"],
            "--hidden: expected layers of one size for --model lstm, got 8 16",
        ),
        (["--model", "lstm", "--hidden"], "--hidden: expected layers of one size for --model lstm, got none"),
        (["--model", "gru", "--augment"], "--augment: expected --model cnn"),
        (["--window", "3"], "--window: expected --task forecast or text"),
        (["--horizon", "3", "--task", "text", "--data", "book.txt"], "--horizon: expected --task forecast"),
        (["--task", "forecast"], "--task forecast: expected --data PATH, got none"),
        (["--task", "text"], "--task text: expected --data PATH, got none"),
        (
            ["--task", "text", "--data", "book.txt", "--model", "mlp"],
            "--task text: expected --model lstm, gru or transformer, got mlp",
        ),
        (["--task", "forecast", "--data", "short.csv"], "expected more rows with --window 24 and --horizon 1, got 2"),
        (
            ["--task", "forecast", "--data", "series.csv", "--window", "0"],
            "'window': expected at least one step, got 0",
        ),
        (
            ["--task", "forecast", "--data", "series.csv", "--horizon", "0"],
            "'horizon': expected at least one step, got",
        ),
        (["--task", "forecast", "--data", "series.csv", "--test-size", "2"], "test_size"),
        (["--task", "forecast", "--data", "hole.csv"], "line 3, column 2 ('b'): value is missing"),
        (["--task", "forecast", "--data", "typo.csv"], "line 3, column 1 ('a'): '2x' is not a finite number"),
        (["--task", "text", "--data", "latin.txt"], "latin.txt: not UTF-8 text"),
        (["--task", "text", "--data", "empty.txt"], "empty.txt: expected a text, got 0 characters"),
        (["--task", "text", "--data", "book.txt", "--window", "2000"], "expected more than --window 2000 characters"),
        (["--task", "text", "--data", "book.txt", "--window", "0"], "--window: expected at least one step, got 0"),
        (["--task", "text", "--data", "nowhere.txt"], "nowhere.txt: No such file"),
        (["--seconds", "0"], "'seconds': expected a positive number, got 0"),
    ],
)
def test_mistakes_of_training(
    args: list[str],
    message: str,
    book: Path,
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flat.csv").write_text("1,2,0\n2,1,1\n" * 10)
    Path("short.csv").write_text("a\n1\n2\n3\n")
    Path("hole.csv").write_text("a,b\n1,2\n2,\n3,4\n")
    Path("typo.csv").write_text("a,b\n1,2\n2x,5\n3,4\n")
    Path("latin.txt").write_bytes(b"caf\xe9 " * 100)
    Path("empty.txt").write_bytes(b"")
    assert mlext("train", *args, "--out", "made") == 2
    err = capsys.readouterr().err
    assert err.startswith("mlext: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not Path("made").exists()


def test_mistakes_with_models(table: Path, book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, series = tmp_path / "t" / "model.safetensors", tmp_path / "f" / "model.safetensors"
    options = ("--hidden", 4, "--epochs", 1)
    assert mlext("train", "--data", book, "--task", "text", "--window", 9, *options, "--out", tmp_path / "t") == 0
    assert mlext("train", "--data", table, "--task", "forecast", *options, "--out", tmp_path / "f") == 0
    short, other, three = (tmp_path / name for name in ("short.csv", "other.csv", "three.csv"))
    short.write_text("warm,load\n1,2\n3,4\n")
    other.write_text("cold,load\n" + "1,2\n" * 30)
    three.write_text("1,2,3\n" * 30)
    capsys.readouterr()
    for args, message in (
        (("generate", series), "not a model of a text"),
        (("generate", text, "--prompt", "Zebra"), "expected characters of the model's vocabulary, got 'Z' at 0"),
        (("generate", text, "--prompt", ""), "'prompt': expected at least one character"),
        (("generate", text, "--temperature", "-1"), "'temperature': expected a finite number from 0 on"),
        (("generate", text, "--top-k", "0"), "'top_k': expected a positive int"),
        (("generate", text, "--length", "-1"), "'length': expected 0 or more"),
        (("generate", tmp_path / "nowhere"), "nowhere: No such file"),
        (("predict", series, table, "--proba"), "--proba: the model predicts numbers, not classes"),
        (("predict", series, short), "short.csv: expected at least 24 rows, those of a window, got 2"),
        (("predict", series, other), "other.csv: expected the columns warm, load, got cold, load"),
        (("predict", series, three), "three.csv: expected 2 series, got 3"),
    ):
        assert mlext(*args) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("mlext: error: ")
        assert err.count("\n") == 1
        assert message in err
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(line.split(",", 1)[1] for line in table.read_text().splitlines()[1:]))
    answers = []
    for path in (table, bare):
        assert mlext("predict", series, path) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    plain = tmp_path / "plain"
    ml.save(ml.models.Forecaster(2), plain)
    assert mlext("predict", plain, table) == 2
    assert "not a model that 'mlext train' wrote" in capsys.readouterr().err
