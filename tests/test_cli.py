"""The command ``mlext``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import mlext as ml
from mlext.cli import main
from mlext.io import read, read_metadata


def mlext(*args):
    return main([str(a) for a in args])


def fast(tmp_path, *args):
    return mlext("train", "--epochs", 3, "--hidden", 16, "--out", tmp_path / "out", *args)


@pytest.fixture
def table(tmp_path):
    """A CSV file of three classes with names, in a header and a quoted column."""
    rng = np.random.default_rng(0)
    names = np.array(["red", "green", "blue"])
    label = np.arange(90) % 3
    x = rng.normal(size=(90, 2)) * 0.3 + np.array([[0, 0], [3, 0], [0, 3]])[label] * 10
    lines = ['"width, mm",height,colour'] + [f"{a:.3f},{b:.3f},{names[c]}" for (a, b), c in zip(x, label, strict=True)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_cnn_on_the_digits(tmp_path, capsys):
    assert mlext("train", "--model", "cnn", "--epochs", 6, "--augment", "--out", tmp_path / "a") == 0
    out = capsys.readouterr().out
    assert "images of 8x8x1" in out
    assert float(out.partition("test accuracy ")[2].split()[0]) >= 0.97
    digits = ml.datasets.load_digits()
    np.savez(tmp_path / "some.npz", x=digits.data[:50])
    model = str(tmp_path / "a" / "model.safetensors")
    assert mlext("predict", model, tmp_path / "some.npz") == 0
    predicted = capsys.readouterr().out.split()[1:]
    assert (np.array(predicted).astype(int) == digits.target[:50]).mean() >= 0.96


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--augment"], "--augment: expected --model cnn"),
        (["--model", "cnn", "--data", "TABLE"], "--model cnn: expected images, got data of shape (N, 2)"),
        (["--model", "cnn", "--hidden", "0"], "'out_channels': expected a positive int"),
    ],
)
def test_a_cnn_wants_images(tmp_path, capsys, table, args, text):
    args = [str(table) if arg == "TABLE" else arg for arg in args]
    assert mlext("train", *args, "--out", tmp_path / "a") == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_the_main_job(tmp_path, capsys):
    began = time.process_time()
    assert mlext("train", "--out", tmp_path / "a") == 0
    assert time.process_time() - began < 10
    out, err = capsys.readouterr()
    accuracy = float(out.partition("test accuracy ")[2].split()[0])
    assert accuracy >= 0.97
    assert "confusion matrix" in out
    assert err.count("\n") >= 20
    folder = tmp_path / "a"
    history = json.loads((folder / "history.json").read_text())
    assert history["epochs"] == list(range(20))
    assert read_metadata(folder / "model.safetensors")["test"] == {"accuracy": pytest.approx(accuracy, abs=1e-4)}
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert "pip install mlext[plot]" in out
    else:
        assert (folder / "learning_curve.png").stat().st_size > 5000
    assert mlext("train", "--out", tmp_path / "b") == 0
    for name in ("model.safetensors", "history.json"):
        assert (folder / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert mlext("train", "--out", tmp_path / "c", "--seed", 1) == 0
    assert (folder / "history.json").read_bytes() != (tmp_path / "c" / "history.json").read_bytes()


def test_csv_classes_to_predictions(table, tmp_path, capsys):
    assert fast(tmp_path, "--data", table, "--epochs", 40, "--lr", 0.01) == 0
    out = capsys.readouterr().out
    assert "3 classes" in out
    assert "blue green   red" in out
    model = tmp_path / "out" / "model.safetensors"
    assert mlext("predict", model, table) == 0
    rows = capsys.readouterr().out.split()
    truth = [line.split(",")[-1] for line in table.read_text().splitlines()[1:]]
    assert rows[0] == "prediction"
    assert np.mean([a == b for a, b in zip(rows[1:], truth, strict=True)]) > 0.95
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(line.rsplit(",", 1)[0] for line in table.read_text().splitlines()))
    assert mlext("predict", model, bare, "--proba", "--out", tmp_path / "p.csv") == 0
    shares = np.loadtxt(tmp_path / "p.csv", delimiter=",", skiprows=1)
    assert (tmp_path / "p.csv").read_text().startswith("blue,green,red\n")
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-4)
    assert [("blue", "green", "red")[k] for k in shares.argmax(axis=1)] == rows[1:]
    x = np.array([[float(v) for v in line.split(",")[:2]] for line in bare.read_text().splitlines()[1:]])
    state = read_metadata(model)["preparation"]
    logits = ml.load(model).predict(((x - state["offset"]) / state["scale"]).astype("f"))
    assert (logits.argmax(axis=1) == shares.argmax(axis=1)).all()


def test_regression_in_its_own_unit(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 100, (300, 2))
    y = 5000 + 30 * x[:, 0] - 20 * x[:, 1]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(f"{a:.4f};{t:.4f};{b:.4f}" for (a, b), t in zip(x, y, strict=True)))
    assert fast(tmp_path, "--data", path, "--target", 1, "--epochs", 40) == 0
    out = capsys.readouterr().out
    assert float(out.partition("r2 ")[2].split()[0]) > 0.98
    assert mlext("predict", tmp_path / "out" / "model.safetensors", path) == 0
    found = np.array(capsys.readouterr().out.split()[1:], float)
    assert np.corrcoef(found, y)[0, 1] > 0.99
    assert np.abs(found - y).mean() < 200
    assert mlext("predict", tmp_path / "out" / "model.safetensors", path, "--proba") == 2


def test_npz_with_labels_that_are_not_codes(tmp_path, capsys):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 80)
    x = rng.normal(size=(80, 2, 3)) + 4 * label[:, None, None]
    np.savez(tmp_path / "d.npz", x=x, y=np.array([3, 7])[label])
    assert fast(tmp_path, "--data", tmp_path / "d.npz", "--epochs", 30) == 0
    assert "test accuracy 1.0" in capsys.readouterr().out
    assert mlext("predict", tmp_path / "out" / "model.safetensors", tmp_path / "d.npz") == 0
    assert set(capsys.readouterr().out.split()[1:]) == {"3", "7"}
    np.savez(tmp_path / "s.npz", x_train=x[:60], y_train=label[:60], x_test=x[60:], y_test=label[60:])
    assert fast(tmp_path, "--data", tmp_path / "s.npz") == 0
    assert "60 samples for training, 20 for testing" in capsys.readouterr().out


def test_image_folder(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for k, name in enumerate(("dark", "light")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 100, (6, 6), np.uint8) + np.uint8(120 * k)
            (tmp_path / "images" / name / f"{i}.pgm").write_bytes(b"P5\n6 6\n255\n" + pixels.tobytes())
    assert fast(tmp_path, "--data", tmp_path / "images", "--size", 4, "--epochs", 20) == 0
    assert "test accuracy 1.0" in capsys.readouterr().out
    assert mlext("predict", tmp_path / "out" / "model.safetensors", tmp_path / "images") == 0
    assert capsys.readouterr().out.split() == ["prediction", *["dark"] * 12, *["light"] * 12]


def test_resume_goes_on(tmp_path, capsys):
    assert mlext("train", "--epochs", 4, "--out", tmp_path / "whole") == 0
    assert mlext("train", "--epochs", 2, "--out", tmp_path / "cut") == 0
    assert mlext("train", "--epochs", 4, "--out", tmp_path / "cut", "--resume") == 0
    whole, cut = (read(tmp_path / name / "model.safetensors")[0] for name in ("whole", "cut"))
    assert all((whole[n].data == cut[n].data).all() for n in whole)
    assert "epoch 3/4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "--data", "nowhere.csv"], "nowhere.csv: no such file or folder"),
        (["train", "--data", "bad.csv"], "bad.csv: line 3, column 1"),
        (["train", "--data", "ragged.csv"], "line 2: expected 2 fields, got 3"),
        (["train", "--data", "table.csv", "--target", "colur"], "expected one column of that name"),
        (["train", "--data", "table.csv", "--task", "regression"], "--task regression"),
        (["train", "--optimizer", "adm"], "unknown optimizer 'adm'; known are"),
        (["train", "--lr", "nan"], "lr"),
        (["train", "--epochs", "0"], "epochs"),
        (["train", "--batch-size", "0"], "batch_size"),
        (["train", "--hidden", "0"], "out_features"),
        (["train", "--dropout", "1.5"], "Dropout"),
        (["train", "--test-size", "2"], "test_size"),
        (["train", "--resume", "--out", "none"], "checkpoint.safetensors: no such file"),
        (["train", "--lr", "1e30", "--epochs", "2"], "not finite|has (inf|nan)"),
        (["predict", "nowhere", "table.csv"], "nowhere: No such file"),
        (["predict", "table.csv", "table.csv"], "table.csv: "),
        (["predict", "plain.safetensors", "table.csv"], "not a model that 'mlext train' wrote"),
        (["bench", "--seconds", "-1"], "seconds"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(args, message, table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\nx,4\n")
    (tmp_path / "ragged.csv").write_text("1,2\n3,4,5\n")
    ml.save({"a": np.zeros(2)}, "plain.safetensors")
    assert main(args) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("mlext: error: ")
    import re

    assert re.search(message, last), last


def test_wrong_data_for_a_model(table, tmp_path, capsys):
    assert fast(tmp_path, "--data", table) == 0
    model = tmp_path / "out" / "model.safetensors"
    other = tmp_path / "other.csv"
    other.write_text("width,height\n1,2\n")
    assert mlext("predict", model, other) == 2
    assert "expected the columns width, mm, height, got width, height" in capsys.readouterr().err
    other.write_text("1,2,3,4\n")
    assert mlext("predict", model, other) == 2
    assert "the model takes data of shape (N, 2), got (N, 4)" in capsys.readouterr().err


def test_usage_errors_and_help(capsys):
    for args in ([], ["fly"], ["train", "--epochs", "many"]):
        with pytest.raises(SystemExit) as caught:
            main(args)
        assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help"])
    assert caught.value.code == 0
    assert "--label-smoothing" in capsys.readouterr().out


def test_info_and_bench(capsys):
    assert mlext("info") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"mlext {ml.__version__}\n")
    assert "levels" in out
    assert "not built" in out
    before = ml.get_num_threads()
    try:
        assert mlext("bench", "--seconds", 0.002, "--threads", 1) == 0
    finally:
        ml.set_num_threads(before)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("training step 2-10-1, batch 4") for line in lines)
    assert "matmul 512 x 512 x 512" in lines[4]
    # NumPy is always there to compare with: "1.9x" ends the row of a matrix product.
    assert re.search(r"\d\.?\d*x", lines[2] + lines[3] + lines[4])


def start(*args):
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "mlext", *map(str, args)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="SIGINT")
def test_ctrl_c_exits_130_and_leaves_a_checkpoint(tmp_path):
    child = start("train", "--epochs", 100000, "--out", tmp_path)
    for line in child.stderr:
        if line.startswith("epoch      3/"):
            break
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert time.monotonic() - began < 10
    assert err.splitlines()[-1] == "mlext: interrupted"
    assert "Traceback" not in err
    read(tmp_path / "checkpoint.safetensors")
    resumed = start("train", "--epochs", 5, "--out", tmp_path, "--resume")
    resumed.communicate(timeout=60)
    assert resumed.returncode == 0


def test_a_closed_pipe_is_no_traceback():
    child = start("info")
    child.stdout.close()
    with child.stderr:
        assert "Traceback" not in child.stderr.read()
    child.wait(30)
