"""The tutorial programs: each runs, and shows what it says it shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

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
