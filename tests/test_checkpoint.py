"""Checkpoints: bit-exact resume, in the middle of an epoch too, and after kill -9 at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mlext as ml
from mlext.io import FileFormatError, read
from mlext.training import Callback, ModelCheckpoint, Trainer, load_checkpoint, save_checkpoint

CHILD = Path(__file__).with_name("_train_child.py")


class Stop(Callback):
    """Raises in the middle of an epoch, after the checkpoint of that batch."""

    def __init__(self, at):
        self.left = at

    def on_batch_end(self, step, logs):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class SaveAt(Callback):
    def __init__(self, path, at):
        self.path, self.left = path, at

    def on_batch_end(self, step, logs):
        self.left -= 1
        if self.left == 0:
            save_checkpoint(self.path, self.trainer)
            raise KeyboardInterrupt


def data(n=70):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 5)).astype("f")
    return x, (x[:, 0] > 0).astype(np.int64)


def trainer(callbacks=(), seed=0, **options):
    ml.manual_seed(7)
    nn = ml.nn
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.3, rng=1), nn.Dropout(0.1), nn.Linear(8, 2))
    return Trainer(
        model,
        "cross_entropy",
        ml.optim.Adam(model.parameters(), lr=0.01),
        ["accuracy"],
        callbacks,
        seed=seed,
        **options,
    )


def bits(t):
    state = t.optimizer.state_dict()["groups"][0]["state"]
    tensors = [*t.model.state_dict().values(), *[v for vs in state.values() for v in vs]]
    generators = [g.get_state() for g in ml.training.checkpoint.generators(t.model).values()]
    return [v.numpy().tobytes() for v in tensors], generators, t.history.state_dict()


@pytest.mark.parametrize("at", [1, 3, 5, 6, 9, 10, 14])
@pytest.mark.parametrize(
    "options", [{}, {"gradient_accumulation": 2}, {"mixed_precision": "float16"}, {"compile": False}], ids=repr
)
def test_resume_is_bit_exact_at_any_batch(at, options, tmp_path):
    x, y = data()
    whole = trainer(**options)
    whole.fit(x, y, epochs=3, batch_size=16, verbose=0, validation_data=(x, y))
    path = tmp_path / "c.safetensors"
    cut = trainer([SaveAt(path, at)], **options)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(x, y, epochs=3, batch_size=16, verbose=0, validation_data=(x, y))
    rest = trainer([SaveAt(path, -1)], seed=99, **options)
    ml.manual_seed(1234)
    rest.fit(x, y, epochs=3, batch_size=16, verbose=0, validation_data=(x, y), resume=path)
    assert bits(rest) == bits(whole)


def test_resume_between_epochs_with_callbacks(tmp_path):
    x, y = data()
    path = tmp_path / "c.safetensors"

    def callbacks():
        return [ModelCheckpoint(path), ml.training.EarlyStopping("loss", patience=3, restore_best_weights=True)]

    whole = trainer(callbacks())
    whole.fit(x, y, epochs=6, batch_size=16, verbose=0)
    trainer(callbacks()).fit(x, y, epochs=3, batch_size=16, verbose=0)
    rest = trainer(callbacks())
    rest.fit(x, y, epochs=6, batch_size=16, verbose=0, resume=path)
    assert bits(rest) == bits(whole)
    assert rest.callbacks[1].state_dict()["best"] == whole.callbacks[1].state_dict()["best"]


def test_a_loader_of_the_users_resumes(tmp_path):
    x, y = data()
    path = tmp_path / "c.safetensors"

    def run(callbacks, resume=None):
        t = trainer(callbacks)
        loader = ml.data.DataLoader((x, y), batch_size=16, shuffle=True, rng=4)
        t.fit(loader, epochs=2, verbose=0, resume=resume)
        return t

    whole = run([SaveAt(path, -1)])
    with pytest.raises(KeyboardInterrupt):
        run([SaveAt(path, 7)])
    assert bits(run([SaveAt(path, -1)], path)) == bits(whole)


def test_an_iterable_resumes_by_reading_up_to_the_place(tmp_path):
    x, y = data()
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 64, 16)]
    path = tmp_path / "c.safetensors"
    whole = trainer([SaveAt(path, -1)])
    whole.fit(batches, epochs=2, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        trainer([SaveAt(path, 6)]).fit(batches, epochs=2, verbose=0)
    rest = trainer([SaveAt(path, -1)])
    rest.fit(batches, epochs=2, verbose=0, resume=path)
    assert bits(rest) == bits(whole)


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path):
    x, y = data()
    path = tmp_path / "c.safetensors"
    t = trainer()
    t.fit(x, y, epochs=1, verbose=0)
    save_checkpoint(path, t)
    with pytest.raises(ValueError, match="callbacks"):
        load_checkpoint(path, trainer([ModelCheckpoint(path)]))
    model = ml.nn.Linear(5, 2)
    with pytest.raises(ValueError, match="missing: weight"):
        load_checkpoint(path, Trainer(model, "cross_entropy", ml.optim.Adam(model.parameters()), ["accuracy"]))
    other = trainer()
    other.optimizer = ml.optim.SGD(other.model.parameters(), lr=0.1)
    before = [v.numpy().copy() for v in other.model.state_dict().values()]
    with pytest.raises(ValueError, match="SGD"):
        load_checkpoint(path, other)
    assert all((a == b.numpy()).all() for a, b in zip(before, other.model.state_dict().values(), strict=True))
    with pytest.raises(ValueError, match="size"):
        trainer().fit(x[:30], y[:30], epochs=2, batch_size=16, verbose=0, resume=path)
    with pytest.raises(FileNotFoundError):
        trainer().fit(x, y, epochs=2, verbose=0, resume=tmp_path / "none")
    ml.save(t.model, path)
    with pytest.raises(FileFormatError, match="not a checkpoint"):
        load_checkpoint(path, t)


def test_save_best_only_and_names(tmp_path):
    x, y = data()
    t = trainer([ModelCheckpoint(tmp_path / "e{epoch}.safetensors", every=2)])
    t.fit(x, y, epochs=5, verbose=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e2.safetensors", "e4.safetensors"]
    best = ModelCheckpoint(tmp_path / "best.safetensors", "accuracy", save_best_only=True)
    t = trainer([best])
    t.fit(x, y, epochs=4, verbose=0)
    assert best.best == max(t.history["accuracy"])
    t = trainer([ModelCheckpoint(tmp_path / "last.safetensors", min_seconds=3600)])
    t.fit(x, y, epochs=3, verbose=0)
    again = trainer([ModelCheckpoint(tmp_path / "last.safetensors", min_seconds=3600)])
    load_checkpoint(tmp_path / "last.safetensors", again)
    assert again.epoch == 3


def test_ctrl_c_leaves_the_last_checkpoint_and_the_history(tmp_path):
    x, y = data()
    path = tmp_path / "c.safetensors"
    t = trainer([Stop(12), ModelCheckpoint(path)])
    with pytest.raises(KeyboardInterrupt):
        t.fit(x, y, epochs=9, batch_size=16, verbose=0)
    assert len(t.history) == 2
    assert read(path)[0]
    again = trainer([Stop(-1), ModelCheckpoint(path)])
    again.fit(x, y, epochs=3, batch_size=16, verbose=0, resume=path)
    whole = trainer([Stop(-1), ModelCheckpoint(tmp_path / "other")])
    whole.fit(x, y, epochs=3, batch_size=16, verbose=0)
    assert bits(again) == bits(whole)


def run_child(checkpoint, result):
    return subprocess.Popen([sys.executable, str(CHILD), str(checkpoint), str(result)], env=os.environ)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_fifty_kills_change_no_bit(tmp_path):
    assert run_child(tmp_path / "whole.safetensors", tmp_path / "expected").wait() == 0
    expected = (tmp_path / "expected").read_text()
    checkpoint, result = tmp_path / "c.safetensors", tmp_path / "result"
    chance = random.Random(0)
    kills = finished = 0
    while kills < 50:
        child = run_child(checkpoint, result)
        # Killed at a random moment after its first checkpoint of this run, or anywhere in the import.
        began = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        deadline = time.monotonic() + 60
        if chance.random() < 0.9:
            while child.poll() is None and time.monotonic() < deadline:
                if checkpoint.exists() and checkpoint.stat().st_mtime_ns != began:
                    break
                time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        code = child.wait()
        kills += code == -signal.SIGKILL
        if checkpoint.exists():
            read(checkpoint)  # never torn
        if result.exists():
            assert result.read_text() == expected
            finished += 1
            result.unlink()
            checkpoint.unlink()
    assert run_child(checkpoint, result).wait() == 0
    assert result.read_text() == expected
    assert len([p for p in tmp_path.iterdir() if p.suffix == ".tmp"]) == 0
