"""The tutorial programs: each runs, and shows what it says it shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import mlext as ml

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.stem)
def test_examples_are_short_and_tested(path):
    text = path.read_text()
    assert len(text.splitlines()) < 80
    assert 'if __name__ == "__main__":\n    main()' in text
    assert f'run("{path.stem}")' in Path(__file__).read_text()


def test_linear_regression(capsys):
    best, by_hand, unit = run("linear_regression")
    assert np.allclose(by_hand, best, rtol=1e-6)
    assert np.allclose(unit, best, rtol=1e-4)
    assert capsys.readouterr().out.count("\n") == 4


def test_logistic_regression():
    history = run("logistic_regression")
    assert history["val_accuracy"][-1] >= 0.94
    assert history["loss"][-1] < history["loss"][0] / 3


def test_batch_stochastic_minibatch():
    found = run("batch_stochastic_minibatch")
    assert [found[name][0] for name in ("batch", "mini-batch", "stochastic")] == [20, 160, 5120]
    assert found["stochastic"][1][0] < found["mini-batch"][1][0] < found["batch"][1][0]
    assert found["stochastic"][2] > found["mini-batch"][2]


def test_backpropagation_by_hand():
    assert max(run("backpropagation_by_hand")) < 1e-14


def test_regression_2_10_1():
    errors = run("regression_2_10_1")
    assert errors["test"] < 13
    assert errors["test"] < errors["plane"] / 1.5


def test_xor():
    predicted = run("xor")
    assert (np.abs(predicted[:, 0] - [0, 1, 1, 0]) < 0.05).all()


def test_gradients_vanish_explode_nan():
    norms, clipped, made, cured = run("gradients_vanish_explode_nan")
    vanishing, exploding, healthy = norms.values()
    assert vanishing[0] < 1e-5 * vanishing[1]
    assert exploding[0] > 1e9
    assert 0.1 < healthy[0] < 10
    assert abs(clipped - 1) < 1e-3
    assert made.startswith("epoch ")
    assert cured < 0.5


def test_overfitting():
    found = run("overfitting")
    fitted, new, _ = found.pop("no cure")
    assert new > 2 * 0.1225 > 4 * fitted
    assert all(cured < 0.75 * new for _, cured, _ in found.values())
    assert found["early stopping"][2] < 1000


def test_digits_cnn():
    found = run("digits_cnn")
    assert np.mean(found) >= 0.985
    assert min(found) >= 0.98


def test_convolutional_autoencoder():
    before, after = run("convolutional_autoencoder")
    assert after < 0.55 * before


def test_transfer_learning():
    shares, seconds = run("transfer_learning")
    assert shares["frozen base"] > 0.85
    assert shares["frozen base"] > shares["from nothing"] - 0.03
    assert seconds["frozen base"] < 0.7 * seconds["from nothing"]


def test_gan_digits():
    made, real = run("gan_digits")
    assert made.min() >= 0
    assert made.max() <= 1
    # The drawn ones are as bright as the real ones, in about the same places, and differ from each other.
    assert abs(made.mean() - real.mean()) < 0.08
    assert np.corrcoef(made.mean(0).ravel(), real.mean(0).ravel())[0, 1] > 0.8
    assert made.std(0).mean() > 0.1


def test_tutorial_cnns():
    found = run("tutorial_cnns")
    assert min(found.values()) > 0.93


def test_tutorial_rnns():
    found = run("tutorial_rnns")
    assert [value > floor for value, floor in zip(found.values(), (0.95, 0.9, 0.8, 0.95), strict=True)] == [True] * 4


def test_digits_rows_lstm():
    found = run("digits_rows_lstm")
    assert all(np.mean(shares) >= 0.975 and min(shares) >= 0.96 for shares in found.values())


def test_character_model():
    before, after, written = run("character_model")
    assert before > 6
    assert after < 3.2
    assert len(written) == 300
    assert written.count(" ") > 20


def test_character_transformer():
    before, after, written = run("character_transformer")
    assert before > 6
    assert after < 3.2
    assert len(written) == 300
    assert written.count(" ") > 20


def test_digits_vision_transformer(tmp_path):
    accuracy, weights = run("digits_vision_transformer")
    assert accuracy >= 0.98
    assert [block.shape for block in weights] == [(100, 4, 16, 16)] * 2
    assert all(np.allclose(block.sum(-1), 1, atol=1e-5) for block in weights)
    pytest.importorskip("matplotlib")
    assert len(ml.plot.attention(weights[0][0], tmp_path / "a.png").axes) == 4


def test_sentiment():
    labels, shares = run("sentiment")
    assert ((shares > 0.5) == labels).sum() >= 9


def test_translate_dates():
    assert run("translate_dates") >= 0.95


def test_forecast_series():
    found = run("forecast_series")
    assert (found["GRU"] < 0.9 * found["as yesterday"]).all()
    assert (found["GRU"] < 0.5 * found["as now"]).all()


def test_pictures_of_filters_and_activations(tmp_path):
    pytest.importorskip("matplotlib")
    model = ml.nn.Sequential(ml.nn.Conv2d(3, 10, 3, rng=0), ml.nn.ReLU(), ml.nn.Flatten(), ml.nn.Linear(360, 2, rng=1))
    assert len(ml.plot.filters(model[0], tmp_path / "filters.png").axes) == 10
    assert len(ml.plot.filters(np.zeros((3, 2, 2, 5))).axes) == 3
    image = np.random.default_rng(0).random((8, 8, 3))
    assert len(ml.plot.activations(model, image, tmp_path / "maps.png", columns=4).axes) == 10
    assert (tmp_path / "maps.png").stat().st_size > 2000
    assert not model[0]._hooks
    assert model.training
    for call, text in (
        (lambda: ml.plot.filters(np.zeros((3, 2))), "filters: argument 'weight': expected images or filters"),
        (
            lambda: ml.plot.activations(model, image, layer="9"),
            "activations: argument 'layer': expected a path such as",
        ),
        (lambda: ml.plot.activations(model, image, layer="3"), "activations: argument 'layer': expected images"),
        (lambda: ml.plot.filters(model[0], columns=0), "filters: argument 'columns': expected a positive int"),
    ):
        with pytest.raises(ValueError, match=text):
            call()
