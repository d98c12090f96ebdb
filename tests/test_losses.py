"""Losses: gradients, torch, closed forms, and refusals."""

import numpy as np
import pytest

import mlext as ml
from cases import losses as cases
from gradcheck import check_gradient
from mlext import losses

RNG = np.random.default_rng(0)
ROWS = pytest.mark.parametrize(("name", "arguments", "kind", "theirs", "their_arguments"), cases.LOSSES, ids=cases.IDS)
REDUCTIONS = ["mean", "sum", "none"]


def close(a, b, rtol=1e-10, atol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool((np.abs(a - b) <= atol + rtol * np.abs(b)).all())


@ROWS
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient(name, arguments, kind, theirs, their_arguments, reduction):
    p, t = cases.draw(kind)
    loss = getattr(losses, name)

    def of_prediction(x):
        return loss(x, t, reduction=reduction, **arguments)

    check_gradient(of_prediction, p)
    if kind in ("numbers", "logits", "log-probabilities", "log-target", "counts"):
        check_gradient(
            lambda a, b: loss(a, b, reduction=reduction, **arguments),
            p,
            t + (kind == "counts") * 2.5,
        )


@ROWS
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
def test_equal_to_torch(name, arguments, kind, theirs, their_arguments, reduction):
    torch = pytest.importorskip("torch")
    if theirs is None:
        return
    p, t = cases.draw(kind, seed=1)
    x = ml.tensor(p, requires_grad=True)
    y = torch.tensor(p, requires_grad=True)
    ours = getattr(losses, name)(x, t, reduction=reduction, **arguments)
    expected = getattr(torch.nn.functional, theirs)(y, torch.tensor(t), reduction=reduction, **their_arguments)
    assert close(ours.detach(), expected.detach())
    ours.sum().backward()
    expected.sum().backward()
    assert close(x.grad, y.grad)


@ROWS
def test_dtypes_and_kinds_of_input(name, arguments, kind, theirs, their_arguments):
    p, t = cases.draw(kind)
    loss = getattr(losses, name)
    expected = loss(p, t, **arguments)
    assert isinstance(expected, np.ndarray | np.floating)
    single = loss(p.astype(np.float32), t, **arguments)
    assert single.dtype == np.float32
    assert close(single, expected, 1e-4, 1e-5)
    assert close(loss(ml.tensor(p), ml.tensor(t), **arguments), expected)
    assert close(loss(np.asfortranarray(p), t[::1], **arguments), expected)


@ROWS
def test_sample_weight(name, arguments, kind, theirs, their_arguments):
    p, t = cases.draw(kind)
    loss = getattr(losses, name)
    w = RNG.uniform(0, 2, len(p))
    each = np.asarray(loss(p, t, reduction="none", **arguments))
    spread = w.reshape(-1, *[1] * (each.ndim - 1))
    assert close(loss(p, t, reduction="none", sample_weight=w, **arguments), each * spread)
    assert close(loss(p, t, sample_weight=w, **arguments), (each * spread).sum() / each.size)
    check_gradient(lambda x: loss(x, t, sample_weight=w, **arguments), p)
    with pytest.raises(ValueError, match=f"{name}: argument 'sample_weight'"):
        loss(p, t, sample_weight=w[:-1], **arguments)


@ROWS
def test_no_silent_broadcasting(name, arguments, kind, theirs, their_arguments):
    loss = getattr(losses, name)
    p = cases.draw(kind, (2, 3))[0]
    for shape in ((3, 2), (2, 1), (1, 3), (3,)):
        with pytest.raises(ValueError, match=f"{name}: argument 'target': expected shape \\(2, 3\\)"):
            loss(p, np.ones(shape), **arguments)
    with pytest.raises(ValueError, match="reduction"):
        loss(p, p, reduction="average", **arguments)
    with pytest.raises(TypeError, match="target"):
        loss(p, [1.0], **arguments)


def test_the_remedy_for_a_column():
    with pytest.raises(ValueError, match=r"got \(4,\); use target.reshape\(4, 1\)"):
        losses.mse(np.ones((4, 1)), np.ones(4))


def test_a_tensor_target_must_have_the_dtype():
    with pytest.raises(TypeError):
        losses.mse(ml.ones(3), ml.ones(3, dtype="float64"))


# ---- cross-entropy -------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_equals_torch(reduction, smoothing, weighted, soft):
    torch = pytest.importorskip("torch")
    x = 3 * RNG.standard_normal((6, 4, 5))
    y = RNG.dirichlet(np.ones(5), (6, 4)) if soft else RNG.integers(0, 5, (6, 4))
    if not soft:
        y[2, 1] = y[0, 0] = -100
    w = RNG.uniform(0.5, 2, 5) if weighted else None
    ours, theirs = ml.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    loss = losses.cross_entropy(ours, y, weight=w, label_smoothing=smoothing, reduction=reduction)
    moved = torch.tensor(y).movedim(-1, 1) if soft else torch.tensor(y)
    expected = torch.nn.functional.cross_entropy(
        theirs.movedim(-1, 1),
        moved,
        weight=None if w is None else torch.tensor(w),
        label_smoothing=smoothing,
        reduction=reduction,
    )
    assert close(loss.detach(), expected.detach())
    loss.sum().backward()
    expected.sum().backward()
    assert close(ours.grad, theirs.grad)


def test_cross_entropy_gradients():
    x, labels = RNG.standard_normal((6, 5)), RNG.integers(0, 5, 6)
    w, s = RNG.uniform(0.5, 2, 5), RNG.uniform(0, 2, 6)
    check_gradient(lambda a: losses.cross_entropy(a, labels), x)
    check_gradient(lambda a: losses.cross_entropy(a, labels, weight=w, label_smoothing=0.2), x)
    check_gradient(lambda a: losses.cross_entropy(a, labels, sample_weight=s), x)
    check_gradient(lambda a, t: losses.cross_entropy(a, t), x, RNG.dirichlet(np.ones(5), 6))
    check_gradient(lambda a: losses.nll(ml.functional.log_softmax(a), labels, weight=w), x)
    check_gradient(lambda a: losses.multiclass_hinge(a, labels, p=2), x)


def test_cross_entropy_one_hot_is_labels():
    x, labels = RNG.standard_normal((6, 5)), RNG.integers(0, 5, 6)
    expected = losses.cross_entropy(x, labels)
    assert close(losses.cross_entropy(x, np.eye(5)[labels]), expected)
    assert close(losses.cross_entropy(x, np.eye(5, dtype=np.int64)[labels]), expected)
    assert close(losses.cross_entropy(x, ml.tensor(labels)).numpy(), expected)
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    assert close(expected, -log_p[np.arange(6), labels].mean())
    assert close(losses.nll(log_p, labels), expected)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_out_of_range(labels):
    with pytest.raises(IndexError, match=f"label {[n for n in labels if n not in (0, 1, 2)][0]} at position"):
        losses.cross_entropy(np.zeros((2, 3), np.float32), np.array(labels))
    with pytest.raises(IndexError):
        losses.multiclass_hinge(np.zeros((2, 3), np.float32), np.array(labels))


def test_labels_of_the_wrong_kind():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match="cross_entropy: argument 'target': expected integer labels, got float"):
        losses.cross_entropy(x, np.zeros(2))
    with pytest.raises(ValueError, match=r"expected labels of shape \(2,\) .* got \(3,\)"):
        losses.cross_entropy(x, np.zeros(3, int))
    with pytest.raises(ValueError, match="label_smoothing"):
        losses.cross_entropy(x, np.zeros(2, int), label_smoothing=1.5)


def test_nothing_to_average():
    x = ml.tensor(RNG.standard_normal((2, 3)), requires_grad=True)
    loss = losses.cross_entropy(x, np.array([-100, -100]))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad.numpy() == 0).all()
    assert losses.cross_entropy(ml.zeros(0, 3), np.zeros(0, int)).item() == 0


def test_extreme_logits():
    x = np.array([[1e30, -1e30, 0], [np.inf, 0, 0], [-np.inf] * 3, [np.nan, 0, 0], [0, 0, 0]], np.float32)
    each = losses.cross_entropy(x, np.zeros(5, int), reduction="none")
    assert each[0] == 0
    assert np.isnan(each[1:4]).all()
    assert abs(each[4] - np.log(3)) <= 1e-6


# ---- the others against torch or formulas --------------------------------------------------------


def test_binary_cross_entropy_weights():
    torch = pytest.importorskip("torch")
    x, t = cases.draw("logits")
    w, pos = RNG.uniform(0.5, 2, (6, 5)), RNG.uniform(0.5, 2, 5)
    ours = losses.binary_cross_entropy(x, t, with_logits=True, weight=w, pos_weight=pos)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(x), torch.tensor(t), weight=torch.tensor(w), pos_weight=torch.tensor(pos)
    )
    assert close(ours, theirs.numpy())
    check_gradient(lambda a: losses.binary_cross_entropy(a, t, with_logits=True, weight=w, pos_weight=pos), x)
    with pytest.raises(ValueError, match="pos_weight"):
        losses.binary_cross_entropy(x, t, pos_weight=pos)


def test_kl_div_batchmean():
    p, t = cases.draw("log-probabilities")
    expected = (t * (np.log(t) - p)).sum() / len(p)
    assert close(losses.kl_div(p, t, reduction="batchmean"), expected)


def test_pairs_and_triplets_equal_torch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    a, b, c = RNG.standard_normal((3, 6, 4))
    signs = RNG.choice([-1.0, 1.0], 6)
    rows = [
        (losses.cosine_embedding, f.cosine_embedding_loss, (a, b, signs), {"margin": 0.1}),
        (losses.triplet_margin, f.triplet_margin_loss, (a, b, c), {"margin": 2.0}),
        (losses.triplet_margin, f.triplet_margin_loss, (a, b, c), {"margin": 2.0, "swap": True}),
        (losses.triplet_margin, f.triplet_margin_loss, (a, b, c), {"margin": 2.0, "p": 3.0}),
        (losses.margin_ranking, f.margin_ranking_loss, (a[:, 0], b[:, 0], signs), {"margin": 0.2}),
    ]
    for ours, theirs, arguments, options in rows:
        for reduction in REDUCTIONS:
            got = ours(*arguments, **options, reduction=reduction)
            expected = theirs(*map(torch.tensor, arguments), **options, reduction=reduction)
            assert close(got, expected.numpy())
    check_gradient(lambda x, y: losses.cosine_embedding(x, y, signs), a, b)
    check_gradient(lambda x, y, z: losses.triplet_margin(x, y, z, margin=2.0), a, b, c)
    check_gradient(lambda x, y: losses.margin_ranking(x, y, signs), a[:, 0], b[:, 0])


def test_multiclass_hinge_equals_torch():
    torch = pytest.importorskip("torch")
    x, labels = RNG.standard_normal((6, 5)), RNG.integers(0, 5, 6)
    for p in (1, 2):
        got = losses.multiclass_hinge(x, labels, p=p, margin=0.8)
        expected = torch.nn.functional.multi_margin_loss(torch.tensor(x), torch.tensor(labels), p=p, margin=0.8)
        assert close(got, expected.numpy())


def test_formulas():
    p, t = cases.draw("numbers")
    assert close(losses.log_cosh(p, t), np.log(np.cosh(p - t)).mean())
    assert close(losses.quantile(p, t, q=0.3), np.maximum(0.3 * (t - p), -0.7 * (t - p)).mean())
    s = np.sign(t)
    assert close(losses.hinge(p, s), np.maximum(0, 1 - s * p).mean())
    assert close(losses.squared_hinge(p, s), (np.maximum(0, 1 - s * p) ** 2).mean())
    x, y = cases.draw("logits")
    y = (y > 0.5).astype(float)
    q = 1 / (1 + np.exp(-x))
    q = np.where(y == 1, q, 1 - q)
    expected = -(np.where(y == 1, 0.25, 0.75) * (1 - q) ** 2 * np.log(q)).mean()
    assert close(losses.focal(x, y), expected)
    a, b = cases.draw("probabilities")
    overlap = (2 * (a * b).sum(1) + 1) / (a.sum(1) + b.sum(1) + 1)
    assert close(losses.dice(a, b), (1 - overlap).mean())
    assert np.isfinite(losses.log_cosh(np.array([1e4]), np.array([0.0])))


@pytest.mark.parametrize(
    ("loss", "arguments"),
    [
        ("huber", {"delta": 0.0}),
        ("smooth_l1", {"beta": -1.0}),
        ("quantile", {"q": 1.0}),
        ("focal", {"gamma": float("nan")}),
        ("focal", {"alpha": 2.0}),
        ("dice", {"smooth": -1.0}),
        ("poisson_nll", {"eps": -1.0}),
    ],
)
def test_arguments_are_checked(loss, arguments):
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=f"{loss}: argument '{name}'"):
        getattr(losses, loss)(np.ones((2, 2)), np.ones((2, 2)), **arguments)


def test_a_compiled_loss_casts_its_targets():
    w = ml.tensor([0.5, 2.0], requires_grad=True)

    @ml.compile
    def step(t):
        return losses.mse(w * 1.0, t)

    for dtype in (np.float64, np.float32):
        t = np.array([1.0, 1.0], dtype)
        assert step(t).item() == step(t).item() == losses.mse(w, t).item()
