"""Metrics against scikit-learn, batch by batch and whole."""

import warnings

import numpy as np
import pytest

from mlext import metrics

RNG = np.random.default_rng(0)


class Tensorlike:
    """Anything with ``__array__``, as the package's tensors."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


@pytest.fixture(scope="module")
def sk():
    return pytest.importorskip("sklearn.metrics")


def close(a, b, tolerance=1e-12):
    return bool((np.abs(np.asarray(a) - np.asarray(b)) <= tolerance).all())


LABELS = [
    (RNG.integers(0, 2, 50), RNG.integers(0, 2, 50)),
    (RNG.integers(0, 5, 200), RNG.integers(0, 5, 200)),
    (RNG.integers(0, 3, 30), RNG.integers(2, 5, 30)),  # labels that are never right
    (np.array([7, -3, 7, 1000]), np.array([7, 7, -3, 1000])),
    (np.array([1]), np.array([1])),
]


@pytest.mark.parametrize("pair", range(len(LABELS)))
def test_labels_equal_scikit_learn(sk, pair):
    p, t = LABELS[pair]
    assert metrics.accuracy(p, t) == sk.accuracy_score(t, p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a single label
        assert (metrics.confusion_matrix(p, t) == sk.confusion_matrix(t, p)).all()
        assert close(
            metrics.confusion_matrix(p, t, normalize=True),
            sk.confusion_matrix(t, p, normalize="true"),
        )
    for name in ("precision", "recall", "f1"):
        ours, theirs = getattr(metrics, name), getattr(sk, f"{name}_score")
        for average in ("macro", "micro", "weighted", None):
            for zero in (0.0, 1.0):
                got = ours(p, t, average=average, zero_division=zero)
                assert close(got, theirs(t, p, average=average, zero_division=zero))


@pytest.mark.parametrize("seed", range(5))
def test_binary_equal_scikit_learn(sk, seed):
    rng = np.random.default_rng(seed)
    p, t = rng.integers(0, 2, 20), rng.integers(0, 2, 20)
    for name in ("precision", "recall", "f1"):
        assert close(getattr(metrics, name)(p, t), getattr(sk, f"{name}_score")(t, p))
    score = np.round(rng.random(20), 1)  # with ties
    assert close(metrics.roc_auc(score, t), sk.roc_auc_score(t, score))


@pytest.mark.parametrize("average", ["macro", "weighted", None])
def test_auc_of_several_classes_equals_scikit_learn(sk, average):
    scores = RNG.random((100, 4)).round(2)
    scores /= scores.sum(axis=1, keepdims=True)
    t = np.concatenate([np.arange(4), RNG.integers(0, 4, 96)])
    expected = sk.roc_auc_score(t, scores, multi_class="ovr", average=average)
    assert close(metrics.roc_auc(scores, t, average=average), expected)


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_top_k_equals_scikit_learn(sk, k):
    scores = RNG.random((100, 6))
    t = np.concatenate([np.arange(6), RNG.integers(0, 6, 94)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k == classes
        assert metrics.top_k_accuracy(scores, t, k) == sk.top_k_accuracy_score(t, scores, k=k)
    tied = scores.round(1)
    if k < 6:
        assert metrics.top_k_accuracy(tied, t, k) == sk.top_k_accuracy_score(t, tied, k=k)


@pytest.mark.parametrize("shape", [(2,), (50,), (50, 1), (50, 3)])
def test_regression_equals_scikit_learn(sk, shape):
    p, t = RNG.normal(size=shape) + 100, RNG.normal(size=shape) + 100
    assert close(metrics.mse(p, t), sk.mean_squared_error(t, p))
    assert close(metrics.mae(p, t), sk.mean_absolute_error(t, p))
    assert close(metrics.rmse(p, t), sk.root_mean_squared_error(t, p))
    assert close(metrics.r2(p, t), sk.r2_score(t, p))
    constant = np.ones(shape)
    assert metrics.r2(constant, constant) == sk.r2_score(constant, constant) == 1
    assert metrics.r2(p, constant) == sk.r2_score(constant, p) == 0


def test_forms_of_predictions():
    scores = RNG.random((20, 3)).astype(np.float32)
    t = RNG.integers(0, 3, 20)
    expected = (scores.argmax(1) == t).mean()
    assert metrics.accuracy(scores, t) == expected
    assert metrics.accuracy(scores, np.eye(3)[t]) == expected
    assert metrics.accuracy(Tensorlike(scores), Tensorlike(t.astype(np.uint8))) == expected
    assert metrics.accuracy(scores.argmax(1).astype(float), t) == expected
    assert metrics.accuracy(scores.reshape(4, 5, 3), t.reshape(4, 5)) == expected
    assert metrics.accuracy([0.2, 0.5, 0.9], [0, 1, 0], threshold=0.5) == 2 / 3
    assert metrics.accuracy([[0.2], [0.9]], [[0], [1]], threshold=0.5) == 1
    assert metrics.accuracy([True, False], [1, 1]) == 0.5
    assert isinstance(metrics.accuracy([1], [1]), float)
    assert (metrics.confusion_matrix(scores, t, classes=4)[3] == 0).all()
    assert isinstance(metrics.f1([1], [1]), float)


BAD = [
    (metrics.accuracy, ([1, 2], [1, 2, 3]), {}, ValueError, r"expected labels \(3,\)"),
    (metrics.accuracy, ([[1.0], [0.0]], [1, 0]), {}, ValueError, r"got shape \(2, 1\)"),
    (metrics.accuracy, ([0.3, 0.7], [0, 1]), {}, ValueError, "threshold="),
    (metrics.accuracy, ([0, 1], [0.5, 1]), {}, ValueError, "'target': expected labels"),
    (metrics.accuracy, ([np.nan, 1], [0, 1]), {}, ValueError, r"got nan at \(0,\)"),
    (metrics.accuracy, ([0, 1], [0, np.inf]), {}, ValueError, "got inf"),
    (metrics.accuracy, ([], []), {}, ValueError, "expected values"),
    (metrics.accuracy, (["a"], ["a"]), {}, TypeError, "expected numbers"),
    (metrics.accuracy, ([1j], [1]), {}, TypeError, "complex"),
    (metrics.accuracy, (np.zeros((2, 3)), [0, 3]), {}, ValueError, r"0..2, got 3 at \(1,\)"),
    (metrics.accuracy, (np.zeros((2, 3)), [-1, 0]), {}, ValueError, "got -1"),
    (metrics.accuracy, (np.ones((2, 3)), np.ones((2, 3))), {}, ValueError, "one-hot"),
    (metrics.accuracy, ([1], [1e300]), {}, ValueError, "too large"),
    (metrics.accuracy, ([1], np.array([2**64 - 1], np.uint64)), {}, ValueError, "too large"),
    (metrics.top_k_accuracy, (np.zeros((2, 3)), [0, 1], 0), {}, ValueError, "'k'"),
    (metrics.top_k_accuracy, (np.zeros((2, 3)), [0, 1], 4), {}, ValueError, "'k'"),
    (metrics.top_k_accuracy, (np.zeros(2), [0, 1], 1), {}, ValueError, r"\(N, classes\)"),
    (metrics.top_k_accuracy, (np.zeros((2, 3)), [0, 5], 1), {}, ValueError, "0..2, got 5"),
    (metrics.precision, ([0, 2], [0, 1]), {}, ValueError, "'binary' needs"),
    (metrics.precision, ([0, 2], [0, 1]), {"average": "max"}, ValueError, "got 'max'"),
    (metrics.recall, ([0, 2], [0, 1]), {"classes": 2, "average": None}, ValueError, "got 0..2"),
    (metrics.confusion_matrix, ([0], [0]), {"classes": 0}, ValueError, "at least 1"),
    (metrics.roc_auc, ([0.1, 0.2], [1, 1]), {}, ValueError, "only one"),
    (metrics.roc_auc, ([0.1, 0.2], [0, 0]), {}, ValueError, "class 1 does not occur"),
    (metrics.roc_auc, ([0.1, 0.2], [1, 2]), {}, ValueError, "labels 0 and 1"),
    (metrics.roc_auc, (np.zeros((2, 3)), [0, 1]), {}, ValueError, "class 2 does not occur"),
    (metrics.roc_auc, ([0.1, np.nan], [0, 1]), {}, ValueError, "got nan"),
    (metrics.roc_auc, (np.eye(2), [0, 1]), {"average": "micro"}, ValueError, "'average'"),
    (metrics.mse, (np.zeros(3), np.zeros((3, 1))), {}, ValueError, r"expected shape \(3,\)"),
    (metrics.mae, (np.zeros((3, 1)), np.zeros(3)), {}, ValueError, r"expected shape \(3, 1\)"),
    (metrics.rmse, ([1.0], [np.nan]), {}, ValueError, "got nan"),
    (metrics.r2, ([1.0], [1.0]), {}, ValueError, "at least 2"),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_refused(case):
    function, arguments, options, error, text = BAD[case]
    with pytest.raises(error, match=text):
        function(*arguments, **options)


CLASS_METRICS = ["accuracy", "precision", "recall", "f1", "confusion_matrix", "top_3_accuracy"]


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_streaming_classification_equals_whole(name):
    scores, t = RNG.random((103, 6)), RNG.integers(0, 6, 103)
    metric = metrics.get(name)
    assert isinstance(metric, metrics.Metric)
    for _ in range(2):  # the second time after reset
        for start in range(0, 103, 10):
            metric.update(scores[start : start + 10], t[start : start + 10])
        if name == "top_3_accuracy":
            expected = metrics.top_k_accuracy(scores, t, 3)
        elif name in ("precision", "recall", "f1"):
            expected = getattr(metrics, name)(scores, t, average="macro")
        else:
            expected = getattr(metrics, name)(scores, t)
        assert close(metric.result(), expected)
        metric.reset()


@pytest.mark.parametrize("name", ["mse", "mae", "rmse", "r2"])
@pytest.mark.parametrize("shape", [(103,), (103, 3)])
def test_streaming_regression_equals_whole(name, shape):
    p, t = RNG.normal(size=shape) + 1e6, RNG.normal(size=shape) + 1e6  # large sums must not cancel
    metric = metrics.get(name)
    for _ in range(2):
        for start in range(0, 103, 10):
            metric.update(p[start : start + 10], t[start : start + 10])
        expected = getattr(metrics, name)(p, t)
        assert abs(metric.result() - expected) <= 1e-9 * abs(expected)
        metric.reset()
    assert np.isnan(metric.result())
    if shape == (103, 3) and name in ("rmse", "r2"):
        metric.update(p, t)
        with pytest.raises(ValueError, match="expected 3 outputs"):
            metric.update(p[:, :2], t[:, :2])


def test_streaming_scores_with_options():
    p, t = RNG.integers(0, 2, 40), RNG.integers(0, 2, 40)
    metric = metrics.F1(average="binary")
    metric.update(p[:7], t[:7])
    metric.update(p[7:], t[7:])
    assert close(metric.result(), metrics.f1(p, t))
    per_class = metrics.Recall(average=None, classes=3)
    per_class.update(p, t)
    assert close(per_class.result(), metrics.recall(p, t, average=None, classes=3))
    assert np.isnan(metrics.Precision().result())
    with pytest.raises(ValueError, match="expected labels 0..2, got 0..5"):
        per_class.update([5, 0], [0, 0])
    with pytest.raises(ValueError, match="expected labels"):
        metrics.ConfusionMatrix().update([10**9], [0])
    accuracy = metrics.Accuracy(threshold=0.5)
    accuracy.update([[0.9], [0.1]], [[1], [1]])
    assert accuracy.result() == 0.5


def test_streaming_classes_give_what_the_functions_give():
    rng = np.random.default_rng(3)
    prediction, target = rng.standard_normal((30, 4)), rng.standard_normal((30, 4))
    labels = rng.integers(0, 4, 30)
    pairs = [
        (metrics.MeanSquaredError(), metrics.mse, target),
        (metrics.MeanAbsoluteError(), metrics.mae, target),
        (metrics.RootMeanSquaredError(), metrics.rmse, target),
        (metrics.R2(), metrics.r2, target),
        (metrics.TopKAccuracy(2), lambda p, t: metrics.top_k_accuracy(p, t, 2), labels),
    ]
    for metric, function, wanted in pairs:
        for part in (slice(0, 11), slice(11, 30)):
            metric.update(prediction[part], wanted[part])
        np.testing.assert_allclose(metric.result(), function(prediction, wanted), rtol=1e-12)
    batches = metrics.BatchMean(lambda p, t: float(np.mean(p)), "mean")
    batches.update(prediction, target)
    np.testing.assert_allclose(batches.result(), prediction.mean())


def test_get():
    for name in (
        "accuracy",
        "mean_squared_error",
        "mean_absolute_error",
        "top_k_accuracy",
        "root_mean_squared_error",
    ):
        assert isinstance(metrics.get(name), metrics.Metric)
    own = metrics.Accuracy(name="mine")
    assert metrics.get(own) is own

    def bias(prediction, target):
        return float(np.mean(prediction) - np.mean(target))

    metric = metrics.get(bias)
    assert metric.name == "bias"
    metric.update([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    metric.update([5.0], [0.0])
    assert metric.result() == 2.0
    with pytest.raises(ValueError, match="unknown metric 'acuracy'; known are accuracy"):
        metrics.get("acuracy")
    for bad in (3, None, metrics.Accuracy):
        with pytest.raises(TypeError, match="expected a name"):
            metrics.get(bad)


def test_mean():
    mean = metrics.Mean("loss")
    assert np.isnan(mean.result())
    mean.add(1.0, 3)
    mean.add(5.0)
    assert (mean.name, mean.result()) == ("loss", 2.0)
