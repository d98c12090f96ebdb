"""Trainer, callbacks, history: what is reported is exact, what goes wrong says where."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

import mlext as ml
from mlext.training import (
    Callback,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ProgressBar,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
    Trainer,
)


def data(n=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype("f")
    return x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)


def mlp(seed=0, out=2, last=()):
    return ml.nn.Sequential(ml.nn.Linear(4, 8, rng=seed), ml.nn.Tanh(), ml.nn.Linear(8, out, rng=seed + 1), *last)


def make(model=None, loss="cross_entropy", metrics=(), callbacks=(), lr=0.1, **options):
    model = mlp() if model is None else model
    return Trainer(model, loss, ml.optim.SGD(model.parameters(), lr=lr), metrics, callbacks, seed=0, **options)


def weights(trainer):
    return b"".join(v.numpy().tobytes() for v in trainer.model.state_dict().values())


def fit(trainer, *args, **options):
    trainer.fit(*(args or data()), **{"epochs": 3, "batch_size": 16, "verbose": 0, **options})
    return trainer


# ---- the step --------------------------------------------------------------------------------------------------------


def by_hand(x, y, epochs=3, batch_size=16):
    model = mlp()
    optimizer = ml.optim.SGD(model.parameters(), lr=0.1)
    rng = np.random.default_rng(0)
    loader = ml.data.DataLoader((x, y), batch_size=batch_size, shuffle=True, rng=rng)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for bx, by in loader:
            loss = ml.losses.cross_entropy(model(bx), by)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(bx)
        losses.append(total / len(x))
    return model, losses


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_fit_is_the_loop_one_would_write(compile, steps):
    x, y = data()
    model, losses = by_hand(x, y)
    trainer = fit(make(compile=compile, steps_per_execution=steps))
    assert weights(trainer) == b"".join(v.numpy().tobytes() for v in model.state_dict().values())
    assert trainer.history["loss"] == losses


def test_guarded_training_is_bitwise_the_same():
    assert weights(fit(make(callbacks=[TerminateOnNaN()]))) == weights(fit(make()))


def test_accumulation_is_the_step_of_all_samples():
    x, y = data(50)
    small = fit(make(gradient_accumulation=4), x, y, batch_size=8, shuffle=False)
    large = fit(make(), x, y, batch_size=32, shuffle=False)
    for a, b in zip(small.model.state_dict().values(), large.model.state_dict().values(), strict=True):
        assert (np.abs(a.numpy() - b.numpy()) <= 1e-6).all()
    assert np.allclose(small.history["loss"][0], large.history["loss"][0], atol=0.05)


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("mixed", ["bfloat16", "float16"])
def test_mixed_precision_learns_and_keeps_float32_weights(mixed, compile):
    trainer = fit(make(mixed_precision=mixed, compile=compile, lr=0.5), epochs=30)
    exact = fit(make(lr=0.5), epochs=30)
    assert {p.dtype for p in trainer.model.parameters()} == {ml.float32}
    assert abs(trainer.history["loss"][-1] - exact.history["loss"][-1]) < 0.02
    assert weights(trainer) != weights(exact)
    assert trainer.model(data()[0]).dtype == ml.float32


def test_mixed_precision_is_captured_once_per_shape():
    trainer = fit(make(mixed_precision="bfloat16", compile=True), epochs=4)
    assert trainer._stepper._compiled["fused"].captures == 2  # 16 rows, and the last 2


def test_clipping_and_penalties_change_the_step_as_they_should():
    x, y = data(16)

    def step(**options):
        trainer = make(lr=1.0, **options)
        before = [p.numpy().copy() for p in trainer.model.parameters()]
        fit(trainer, x, y, epochs=1)
        return [b - p.numpy() for b, p in zip(before, trainer.model.parameters(), strict=True)], before

    plain, before = step()
    clipped, _ = step(clip_norm=0.01)
    assert abs(np.sqrt(sum(np.sum(d.astype("d") ** 2) for d in clipped)) - 0.01) < 1e-5
    limited, _ = step(clip_value=0.001)
    assert max(np.abs(d).max() for d in limited) < 0.00101
    both, _ = step(l1=0.5, l2=0.25)
    for d, p, w in zip(both, plain, before, strict=True):
        assert np.allclose(d, p + 0.5 * np.sign(w) + 0.25 * w, atol=1e-5)


class Peeks(ml.nn.Module):
    """Reads a value in forward: cannot be captured; and draws numbers before it does."""

    def __init__(self):
        self.layer = mlp()
        self.drop = ml.nn.Dropout(0.5, rng=3)
        self.inner = ml.nn.Sequential(Reads())

    def forward(self, x):
        return self.inner(self.drop(self.layer(x)))


class Reads(ml.nn.Module):
    def forward(self, x):
        return x * 2 if x.sum().item() > -1e9 else x


def test_a_model_that_cannot_be_captured_trains_uncompiled_and_no_step_counts_twice():
    stream = io.StringIO()
    auto, plain = make(Peeks(), callbacks=[ProgressBar(stream)]), make(Peeks(), compile=False)
    fit(auto)
    fit(plain)
    assert weights(auto) == weights(plain)
    assert auto.history["loss"] == plain.history["loss"]
    assert stream.getvalue().count("training uncompiled: ") == 1
    with pytest.raises(RuntimeError, match="compile: "):
        fit(make(Peeks(), compile=True))


class LateRead(ml.optim.SGD):
    """Reads a value after the update: everything has changed by then."""

    def step(self, closure=None):
        super().step()
        self.param_groups[0].params[0].sum().item()


def test_a_refusal_after_the_update_does_not_apply_it_twice():
    def run(compile):
        model = mlp()
        trainer = Trainer(model, "cross_entropy", LateRead(model.parameters(), lr=0.1), compile=compile, seed=0)
        return weights(fit(trainer))

    assert run("auto") == run(False) == weights(fit(make()))


def test_changing_shapes_fall_back_rather_than_fail():
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(n, 4)).astype("f"), np.zeros(n, np.int64)) for n in range(1, 71)]
    auto, plain = make(), make(compile=False)
    auto.fit(batches, verbose=0)
    plain.fit(batches, verbose=0)
    assert weights(auto) == weights(plain)
    assert not auto._stepper.compiling


def test_lbfgs_trains():
    x, y = data()
    model = mlp()
    trainer = Trainer(model, "cross_entropy", ml.optim.LBFGS(model.parameters()), seed=0)
    fit(trainer, x, y, batch_size=50, epochs=5)
    assert trainer.history["loss"][-1] < 0.1


def test_several_inputs_and_several_outputs_sizes():
    class Two(ml.nn.Module):
        def __init__(self):
            self.a, self.b = ml.nn.Linear(4, 2), ml.nn.Linear(3, 2)

        def forward(self, a, b):
            return self.a(a) + self.b(b)

    x, y = data()
    trainer = make(Two(), metrics=["accuracy"])
    fit(trainer, (x, x[:, :3]), y, validation_split=0.2)
    assert trainer.predict((x, x[:, :3])).shape == (50, 2)
    batches = [((x[:10], x[:10, :3]), y[:10])] * 3
    assert len(trainer.fit(batches, verbose=0)) == 1


# ---- data ------------------------------------------------------------------------------------------------------------


def test_the_epoch_loss_is_the_mean_over_samples():
    x, y = data(23)
    trainer = make(lr=0.0, metrics=["accuracy"])
    fit(trainer, x, y, epochs=1, batch_size=5)
    expected = ml.losses.cross_entropy(trainer.model(x), y).item()
    assert abs(trainer.history["loss"][0] - expected) < 1e-6
    assert abs(trainer.evaluate(x, y, batch_size=7)["loss"] - expected) < 1e-6
    assert trainer.history["accuracy"][0] == trainer.evaluate(x, y)["accuracy"]


def test_weights_of_samples_and_classes():
    x, y = data(24)
    weight = np.random.default_rng(1).uniform(0, 2, 24).astype("f")
    table = np.array([0.5, 2.0], "f")[y]
    expected = fit(make(), x, y, sample_weight=weight * table, epochs=2)
    found = fit(make(), x, y, sample_weight=weight, class_weight={0: 0.5, 1: 2.0}, epochs=2)
    assert weights(found) == weights(expected) != weights(fit(make(), x, y, epochs=2))
    assert weights(fit(make(), x, y, class_weight={0: 1.0}, epochs=2)) == weights(fit(make(), x, y, epochs=2))
    loader = ml.data.DataLoader((x, y, weight), 16, True, rng=0)
    assert weights(fit(make(), loader, epochs=2)) == weights(fit(make(), x, y, sample_weight=weight, epochs=2))


def test_validation_split_takes_the_end_and_evaluates_in_eval_mode():
    x, y = data(50)
    model = mlp(last=[ml.nn.Dropout(0.9, rng=0)])
    trainer = make(model, lr=0.0, metrics=["accuracy"])
    fit(trainer, x, y, validation_split=0.2, epochs=1)
    model.eval()
    assert abs(trainer.history["val_loss"][0] - ml.losses.cross_entropy(model(x[40:]), y[40:]).item()) < 1e-6
    split = fit(make(), x, y, validation_split=0.2)
    assert weights(split) == weights(fit(make(), x[:40], y[:40], validation_data=(x[40:], y[40:])))
    assert weights(split) == weights(fit(make(), x[:40], y[:40]))


def test_data_sets_loaders_and_iterables():
    x, y = data(48)
    array = fit(make(), x, y, shuffle=False)
    batches = [(x[i : i + 16], y[i : i + 16]) for i in (0, 16, 32)]
    assert weights(fit(make(), batches)) == weights(array)
    assert weights(fit(make(), ml.data.DataLoader((x, y), 16))) == weights(array)
    assert weights(fit(make(), ml.datasets.base.Dataset(x, y), shuffle=False)) == weights(array)
    assert weights(fit(make(), ml.tensor(x), ml.tensor(y), shuffle=False)) == weights(array)
    assert weights(fit(make(), x.astype("d"), y.astype(np.int32), shuffle=False)) == weights(array)
    assert len(fit(make(), x, y, batch_size=1000, epochs=1).history) == 1


def test_a_torch_loader_works():
    torch = pytest.importorskip("torch")
    x, y = data(48)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), 16)
    assert weights(fit(make(), loader)) == weights(fit(make(), x, y, shuffle=False))


def test_manual_seed_decides_the_order():
    def run(seed):
        ml.manual_seed(seed)
        model = mlp()
        return weights(fit(Trainer(model, "cross_entropy", ml.optim.SGD(model.parameters(), lr=0.1))))

    assert run(1) == run(1) != run(2)


def test_binary_accuracy_thresholds():
    x, y = data()
    target = y[:, None].astype("f")
    logits = make(mlp(out=1), "binary_cross_entropy_with_logits", ["accuracy"])
    fit(logits, x, target, epochs=20)
    expected = ((logits.predict(x) >= 0) == target).mean()
    assert logits.evaluate(x, target)["accuracy"] == pytest.approx(expected)
    shares = make(mlp(out=1, last=[ml.nn.Sigmoid()]), "binary_cross_entropy", ["accuracy"])
    fit(shares, x, target, epochs=20)
    assert shares.evaluate(x, target)["accuracy"] == pytest.approx(((shares.predict(x) >= 0.5) == target).mean())


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda t, x, y: t.fit(x[:0], y[:0]), ValueError, "empty"),
        (lambda t, x, y: t.fit(x, y, batch_size=0), ValueError, "batch_size"),
        (lambda t, x, y: t.fit(x, y, batch_size=2.5), TypeError, "batch_size"),
        (lambda t, x, y: t.fit(x, y[:-1]), ValueError, "one length"),
        (lambda t, x, y: t.fit(x), ValueError, "'y'"),
        (lambda t, x, y: t.fit(x, y, epochs=0), ValueError, "epochs"),
        (lambda t, x, y: t.fit(x, y, validation_split=1.5), ValueError, "validation_split"),
        (lambda t, x, y: t.fit(x, y, sample_weight=np.ones((50, 2))), ValueError, "sample_weight"),
        (lambda t, x, y: t.fit(x, y, class_weight={0: -1.0}), ValueError, "class_weight"),
        (lambda t, x, y: t.fit(x, y, verbose=7), ValueError, "verbose"),
        (lambda t, x, y: t.fit([], verbose=0), ValueError, "no batches"),
        (lambda t, x, y: t.fit([x, x], verbose=0), TypeError, "expected batches"),
        (lambda t, x, y: t.evaluate([]), ValueError, "no batches"),
        (lambda t, x, y: t.fit(iter([(x, y)]), epochs=2, verbose=0), ValueError, "an iterator runs once"),
    ],
)
def test_bad_data_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call(make(), *data())


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"loss": "cross_entrpy"}, ValueError, "did you mean 'cross_entropy'.*mse"),
        ({"loss": 3}, TypeError, "loss"),
        ({"metrics": ["acuracy"]}, ValueError, "did you mean 'accuracy'"),
        ({"gradient_accumulation": 0}, ValueError, "gradient_accumulation"),
        ({"mixed_precision": "int8"}, ValueError, "mixed_precision"),
        ({"compile": "sometimes"}, ValueError, "compile"),
        ({"steps_per_execution": 2, "gradient_accumulation": 2}, ValueError, "steps_per_execution"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        make(**arguments)


def test_bad_loss_functions_are_named():
    with pytest.raises(TypeError, match="Tensor of one element"):
        fit(make(loss=lambda p, t: p))
    with pytest.raises(TypeError, match="model"):
        Trainer(3, "mse", None)


def test_a_wrong_batch_in_the_middle_says_where():
    x, y = data(48)
    batches = [(x[:16], y[:16]), (x[:16], y[:16]), (x[:16, :3], y[:16])]
    with pytest.raises(ValueError, match="Linear") as caught:
        make().fit(batches, verbose=0)
    assert caught.value.__notes__ == ["in epoch 1, step 3"]


def test_a_loader_that_raises_says_where():
    x, y = data(48)

    class Loader:
        count = 0

        def __iter__(self):
            for _ in range(3):
                self.count += 1
                if self.count == 5:
                    raise OSError("disk gone")
                yield x[:16], y[:16]

    trainer = make()
    with pytest.raises(OSError, match="disk gone") as caught:
        trainer.fit(Loader(), epochs=4, verbose=0)
    assert caught.value.__notes__ == ["in epoch 2, step 2"]
    assert len(trainer.history) == 1


# ---- NaN -------------------------------------------------------------------------------------------------------------


def guarded(model, x, y, loss="mse", lr=0.01, **options):
    trainer = make(model, loss, callbacks=[TerminateOnNaN()], lr=lr, **options)
    before = weights(trainer)
    with pytest.raises(FloatingPointError) as caught:
        fit(trainer, x, y, epochs=1)
    return str(caught.value), before == weights(trainer), trainer


def test_terminate_on_nan_names_the_input():
    x, y = data()
    x[3, 2] = np.nan
    text, untouched, _ = guarded(mlp(), x, y, "cross_entropy")
    assert "the input x of the batch has nan" in text
    assert text.startswith("epoch 1, step ")


def test_terminate_on_nan_names_the_weights():
    model = mlp()
    bad = model[2].weight.numpy().copy()
    bad[1, 1] = np.inf
    model.load_state_dict({**model.state_dict(), "2.weight": bad})
    text, _, _ = guarded(model, *data(), "cross_entropy")
    assert "the weights were not finite before this batch: 2.weight has inf at index (1, 1)" in text


@pytest.mark.parametrize("compile", ["auto", False])
def test_terminate_on_nan_names_the_layer_and_keeps_the_weights(compile):
    class Log(ml.nn.Module):
        def forward(self, x):
            return ml.functional.log(x)

    x, _ = data()
    text, untouched, trainer = guarded(mlp(out=1, last=[Log()]), x, np.ones((50, 1), "f"), compile=compile)
    assert "epoch 1, step 1: layer 3 (Log): its output has nan" in text
    assert untouched
    assert trainer.history.epochs == []


def test_terminate_on_nan_names_the_loss_and_the_gradient():
    x, _ = data()
    big = lambda p, t: ml.losses.mse(p * 1e30, t)  # noqa: E731
    text, untouched, _ = guarded(mlp(out=1), x, np.zeros((50, 1), "f"), big)
    assert "the loss is inf" in text
    assert untouched
    # sqrt(0) is finite, its slope is not
    root = lambda p, t: ml.functional.sqrt((p * 0).square()).mean()  # noqa: E731
    text, untouched, _ = guarded(mlp(out=1), x, np.zeros((50, 1), "f"), root)
    assert "the gradient of 2.bias has nan" in text
    assert "first NaN: " in text
    assert untouched


def test_a_loss_that_is_not_finite_warns_without_the_callback():
    x, y = data()
    x[0, 0] = np.inf
    with pytest.warns(RuntimeWarning, match="the loss is nan in epoch 1, step .*TerminateOnNaN"):
        fit(make(), x, y, epochs=1)


# ---- callbacks -------------------------------------------------------------------------------------------------------


class Script(Callback):
    """Replaces a value of the logs by a script."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]


def test_early_stopping_stops_and_restores():
    seen = []
    stop = EarlyStopping(patience=2, restore_best_weights=True)
    look = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(weights(trainer)))
    trainer = make(callbacks=[Script([3.0, 2.0, 2.5, float("nan"), 1.0]), look, stop])
    fit(trainer, epochs=5)
    assert len(trainer.history) == 4
    assert (stop.best, stop.best_epoch) == (2.0, 1)
    assert weights(trainer) == seen[1]


def test_early_stopping_modes_and_mistakes():
    trainer = make(callbacks=[Script([0.5, 0.6, 0.6], "val_accuracy"), EarlyStopping("val_accuracy", 1)])
    assert len(fit(trainer, epochs=3).history) == 3
    trainer = make(callbacks=[Script([0.5, 0.6, 0.6], "x"), EarlyStopping("x", 1, mode="min")])
    assert len(fit(trainer, epochs=3).history) == 2
    with pytest.raises(ValueError, match="no 'val_loss'.*validation_data"):
        fit(make(callbacks=[EarlyStopping()]))
    with pytest.raises(ValueError, match="mode"):
        EarlyStopping(mode="up")


def test_learning_rates():
    rates = []
    look = LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(trainer.optimizer.lr))
    trainer = make(callbacks=[LearningRateScheduler(lambda epoch, lr: 0.1 / (epoch + 1)), look])
    fit(trainer)
    assert rates == [0.1, 0.05, 0.1 / 3]
    rates.clear()
    model = mlp()
    optimizer = ml.optim.SGD(model.parameters(), lr=1.0)
    schedule = ml.optim.ExponentialLR(optimizer, 0.5)
    look = LambdaCallback(on_batch_end=lambda step, logs: rates.append(optimizer.lr))
    trainer = Trainer(model, "cross_entropy", optimizer, callbacks=[LearningRateScheduler(schedule, "batch"), look])
    fit(trainer, epochs=1)
    assert rates == [0.5, 0.25, 0.125, 0.0625]
    rates.clear()
    plateau = ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1, min_lr=0.03)
    look = LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(trainer.optimizer.lr))
    trainer = make(callbacks=[Script([1.0] * 8), plateau, look])
    fit(trainer, epochs=8)
    assert rates == [0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.03, 0.03]
    with pytest.raises(ValueError, match="interval"):
        LearningRateScheduler(lambda e, lr: lr, "batch")


def test_hooks_run_in_order():
    calls = []
    names = [n for n in vars(Callback) if n.startswith("on_")]
    hooks = {n: (lambda *args, n=n: calls.append((n, *[a for a in args if isinstance(a, int)]))) for n in names}
    fit(make(callbacks=[LambdaCallback(**hooks)]), *data(20), epochs=2)
    epoch = [("on_batch_begin", 0), ("on_batch_end", 0), ("on_batch_begin", 1), ("on_batch_end", 1)]
    middle = [[("on_epoch_begin", e), *epoch, ("on_epoch_end", e)] for e in (0, 1)]
    assert calls == [("on_train_begin",), *middle[0], *middle[1], ("on_train_end",)]
    with pytest.raises(TypeError, match="unknown hook 'on_epoch'"):
        LambdaCallback(on_epoch=print)


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    trainer = fit(make(metrics=["accuracy"], callbacks=[CSVLogger(path)]))
    lines = path.read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy"
    assert [float(line.split(",")[1]) for line in lines[1:]] == trainer.history["loss"]


def test_tensorboard(tmp_path):
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"pip install mlext\[tensorboard\]"):
            TensorBoard(tmp_path)
        return
    fit(make(callbacks=[TensorBoard(tmp_path)]))
    assert b"loss" in next(tmp_path.iterdir()).read_bytes()


def test_progress_lines_and_bar():
    lines = io.StringIO()
    fit(make(callbacks=[ProgressBar(lines)], metrics=["accuracy"]), epochs=2)
    shown = lines.getvalue().splitlines()
    assert len(shown) == 2
    assert shown[0].startswith("epoch 1/2  loss 0.")
    assert "  accuracy 0." in shown[1]

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    fit(make(callbacks=[ProgressBar(screen)]), epochs=1)
    assert "epoch 1/1  [#" in screen.getvalue()
    assert screen.getvalue().endswith(" s\n")


def test_verbose_zero_is_silent(capsys):
    fit(make())
    assert capsys.readouterr() == ("", "")
    make().fit(*data(), verbose=1)
    assert capsys.readouterr().err.startswith("epoch 1/1  loss ")


# ---- history, plots --------------------------------------------------------------------------------------------------


def test_history():
    history = History()
    history.append(0, {"loss": 1.0})
    history.append(1, {"loss": float("nan"), "val_loss": 2.0})
    history.append(2, {"val_loss": 3.0})
    assert history.history == {
        "loss": [1.0, pytest.approx(float("nan"), nan_ok=True), None],
        "val_loss": [None, 2.0, 3.0],
    }
    assert json.loads(history.to_json()) == {
        "epochs": [0, 1, 2],
        "loss": [1.0, None, None],
        "val_loss": [None, 2.0, 3.0],
    }
    with pytest.raises(KeyError, match="no 'acc'; there are loss, val_loss"):
        history["acc"]


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    import sys

    from mlext import plot

    trainer = fit(make(metrics=["accuracy", "confusion_matrix"]), *data(), validation_split=0.2)
    path = tmp_path / "curve.png"
    figure = trainer.history.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [3, 3]
    matrix = plot.confusion_matrix([[5, 1], [0, 7]], ["cat", "dog"], tmp_path / "m.svg")
    assert [t.get_text() for t in matrix.axes[0].texts] == ["5", "1", "0", "7"]
    assert "matplotlib.pyplot" not in sys.modules
    with pytest.raises(ValueError, match="at least one epoch"):
        plot.learning_curves(History())
    with pytest.raises(ValueError, match="square"):
        plot.confusion_matrix([[1, 2]])
