"""Initial values: moments, bounds, structure."""

import math

import numpy as np
import pytest

import mlext as ml
from mlext import init

SHAPE = (300, 200)
FAN_IN, FAN_OUT = 200, 300


def drawn(fn, *args, shape=SHAPE, dtype="float64", **kwargs):
    x = ml.nn.Parameter(ml.zeros(shape, dtype=dtype))
    assert fn(x, *args, rng=0, **kwargs) is x
    return x.detach().numpy()


@pytest.mark.parametrize(
    ("fn", "kwargs", "std"),
    [
        (init.xavier_uniform_, {}, math.sqrt(2 / (FAN_IN + FAN_OUT))),
        (init.xavier_normal_, {"gain": 2.0}, 2 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
        (init.kaiming_uniform_, {"nonlinearity": "relu"}, math.sqrt(2 / FAN_IN)),
        (init.kaiming_uniform_, {"a": math.sqrt(5)}, math.sqrt(1 / 3 / FAN_IN)),
        (init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / FAN_OUT)),
        (init.lecun_uniform_, {}, math.sqrt(1 / FAN_IN)),
        (init.lecun_normal_, {}, math.sqrt(1 / FAN_IN)),
        (init.normal_, {"mean": 0.0, "std": 3.0}, 3.0),
        (init.uniform_, {"low": -1.0, "high": 1.0}, 1 / math.sqrt(3)),
    ],
)
def test_moments(fn, kwargs, std):
    for dtype in ("float32", "float64"):
        x = drawn(fn, dtype=dtype, **kwargs)
        count = x.size
        # Five standard errors of mean and standard deviation.
        assert abs(x.mean()) <= 5 * std / math.sqrt(count)
        assert abs(x.std() - std) <= 5 * std / math.sqrt(2 * count)
        if "uniform" in fn.__name__:
            assert (np.abs(x) <= math.sqrt(3) * std * (1 + 1e-6)).all()
        else:
            assert (np.abs(x) > math.sqrt(3) * std).any()


def test_fans():
    assert init.fans(ml.zeros(7, 5)) == (5, 7)
    assert init.fans(ml.zeros(16, 3, 3, 8)) == (72, 144)
    assert init.fans(ml.zeros(16, 4, 8)) == (32, 64)
    with pytest.raises(ValueError, match="fans: argument 'tensor': expected 2 or more dimensions"):
        init.xavier_uniform_(ml.zeros(3))


def test_truncated_normal():
    x = drawn(init.truncated_normal_, 1.0, 2.0, 0.0, 4.0)
    assert (x >= 0).all()
    assert (x <= 4).all()
    # Mean and standard deviation of a normal (1, 2) cut to [0, 4].
    phi = lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    cdf = lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2)))  # noqa: E731
    a, b = -0.5, 1.5
    mass = cdf(b) - cdf(a)
    mean = 1 + 2 * (phi(a) - phi(b)) / mass
    assert abs(x.mean() - mean) <= 5 * 2 / math.sqrt(x.size)


@pytest.mark.parametrize("shape", [(20, 20), (30, 10), (10, 30), (8, 3, 3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_orthogonal(shape, dtype):
    q = drawn(init.orthogonal_, 2.0, shape=shape, dtype=dtype).reshape(shape[0], -1).astype(np.float64)
    product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert (np.abs(product - 4 * np.eye(len(product))) <= tolerance).all()


def test_sparse():
    x = drawn(init.sparse_, 0.3, 0.5, shape=(100, 50))
    assert ((x == 0).sum(axis=0) == 30).all()
    assert abs(x[x != 0].std() - 0.5) <= 0.05
    assert len({tuple(np.flatnonzero(column)) for column in x.T}) > 40
    with pytest.raises(ValueError, match="sparse_: argument 'sparsity'"):
        init.sparse_(ml.zeros(3, 3), 1.5)


def test_constants():
    x = ml.nn.Parameter(ml.ones(3, 4))
    assert (init.constant_(x, 2.5).detach().numpy() == 2.5).all()
    assert (init.zeros_(x).detach().numpy() == 0).all()
    assert (init.ones_(x).detach().numpy() == 1).all()
    assert (init.eye_(x).detach().numpy() == np.eye(3, 4)).all()
    assert x.is_leaf
    assert x.requires_grad


def test_gain():
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert init.calculate_gain("tanh") == 5 / 3
    with pytest.raises(ValueError, match="calculate_gain: argument 'nonlinearity'.*'swish'"):
        init.calculate_gain("swish")
    with pytest.raises(ValueError, match="argument 'mode'"):
        init.kaiming_normal_(ml.zeros(2, 2), mode="fan")


def test_reproducible_and_half():
    assert (drawn(init.normal_) == drawn(init.normal_)).all()
    half = ml.zeros(1000, dtype="bfloat16")
    init.normal_(half, rng=0)
    assert abs(half.numpy().std() - 1) <= 0.1


def test_misuse():
    with pytest.raises(TypeError, match="zeros_: argument 'tensor': expected a Tensor, got ndarray"):
        init.zeros_(np.ones(3))
    x = ml.tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="expected a leaf, got the result of mul"):
        init.zeros_(x * 2)
