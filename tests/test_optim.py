"""Optimizers, schedules, and what is done to gradients."""

import copy
import math

import numpy as np
import pytest

import mlext as ml
from cases import optim as cases
from mlext import nn, optim

RNG = np.random.default_rng(0)
ROWS = pytest.mark.parametrize(("name", "arguments", "theirs", "more"), cases.OPTIMIZERS, ids=cases.IDS)
SHAPES = [(3, 4), (5,), (1,), (2, 3, 2)]


def problem(dtype="float64"):
    """Parameters and a loss whose gradients change with the parameters."""
    rng = np.random.default_rng(1)
    start = [rng.standard_normal(s) for s in SHAPES]
    goals = [rng.standard_normal(s) for s in SHAPES]
    params = [nn.Parameter(ml.tensor(a, dtype=dtype)) for a in start]

    def loss(params, tensor):
        total = 0.0
        for p, g in zip(params, goals, strict=True):
            d = p - tensor(g)
            total = (d * d * d * d).sum() * 0.01 + (d * d).sum() + total
        return total

    return start, params, loss


def run(optimizer, params, loss, steps, dtype="float64"):
    for _ in range(steps):
        optimizer.zero_grad()
        loss(params, lambda a: ml.tensor(a, dtype=dtype)).backward()
        optimizer.step()


@ROWS
def test_equal_to_torch_over_20_steps(name, arguments, theirs, more):
    torch = pytest.importorskip("torch")
    if theirs is None:
        return
    start, params, loss = problem()
    run(getattr(optim, name)(params, **arguments), params, loss, 20)
    others = [torch.tensor(a, requires_grad=True) for a in start]
    # Some of torch's optimizers keep scalars of their state in the default dtype.
    torch.set_default_dtype(torch.float64)
    try:
        optimizer = getattr(torch.optim, theirs)(others, **{**arguments, **more})
        for _ in range(20):
            optimizer.zero_grad()
            loss(others, torch.tensor).backward()
            optimizer.step()
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, other in zip(params, others, strict=True):
        expected = other.detach().numpy()
        assert (np.abs(ours.detach().numpy() - expected) <= 1e-11 * (1 + np.abs(expected))).all()


def test_defaults_are_torchs():
    torch = pytest.importorskip("torch")
    for name, theirs in {(row[0], row[2]) for row in cases.OPTIMIZERS if row[2]}:
        ours = getattr(optim, name)([nn.Parameter(ml.zeros(1))]).param_groups[0]
        expected = getattr(torch.optim, theirs)([torch.zeros(1, requires_grad=True)]).param_groups[0]
        for key in ours.keys():
            assert ours[key] == expected[key], (name, key)


def lion(p, g, m, lr=0.01, decay=0.1):
    p = p * (1 - lr * decay) - lr * np.sign(0.9 * m + 0.1 * g)
    return p, 0.99 * m + 0.01 * g


def adamw(p, g, m, v, t, lr=0.01, decay=0.1):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p * (1 - lr * decay) - lr * step, m, v


def test_formulas():
    a, b = RNG.standard_normal((2, 7))
    p, q = nn.Parameter(ml.tensor(a)), nn.Parameter(ml.tensor(a))
    one, two = (
        optim.Lion([p], lr=0.01, weight_decay=0.1),
        optim.AdamW([q], lr=0.01, weight_decay=0.1),
    )
    x, y, m, n, v = a, a, 0 * a, 0 * a, 0 * a
    for t in range(1, 6):
        g = np.sin(t * b)
        p.grad, q.grad = ml.tensor(g), ml.tensor(g)
        one.step()
        two.step()
        x, m = lion(x, g, m)
        y, n, v = adamw(y, g, n, v, t)
        assert (np.abs(p.detach().numpy() - x) <= 1e-14).all()
        assert (np.abs(q.detach().numpy() - y) <= 1e-14).all()


@ROWS
def test_a_parameter_without_a_gradient_stays(name, arguments, theirs, more):
    _, params, loss = problem()
    idle = nn.Parameter(ml.ones(3, dtype="float64"))
    optimizer = getattr(optim, name)([*params, idle], **arguments)
    state = copy.deepcopy([t.numpy() for ts in optimizer.param_groups[0].state.values() for t in ts[4:]])
    run(optimizer, params, loss, 3)
    assert (idle.detach().numpy() == 1).all()
    after = [t.numpy() for ts in optimizer.param_groups[0].state.values() for t in ts[4:]]
    assert all((a == b).all() for a, b in zip(state, after, strict=True))


@ROWS
def test_resume_is_bit_exact(name, arguments, theirs, more):
    for dtype in ("float32", "float64"):
        _, params, loss = problem(dtype)
        optimizer = getattr(optim, name)(params, **arguments)
        run(optimizer, params, loss, 4, dtype)
        saved = optimizer.state_dict()
        values = [p.detach().numpy().copy() for p in params]
        run(optimizer, params, loss, 3, dtype)
        again = [nn.Parameter(ml.tensor(v)) for v in values]
        fresh = getattr(optim, name)(again, **{**arguments, "lr": 0.5})
        fresh.load_state_dict(saved)
        run(fresh, again, loss, 3, dtype)
        for a, b in zip(params, again, strict=True):
            assert (a.detach().numpy() == b.detach().numpy()).all()


@ROWS
def test_a_compiled_step_is_bitwise_the_eager_one(name, arguments, theirs, more):
    results = []
    for compiled in (False, True):
        _, params, loss = problem("float32")
        goals = [ml.tensor(np.full(s, 0.5, np.float32)) for s in SHAPES]
        optimizer = getattr(optim, name)(params, **arguments)

        def step(x, params=params, optimizer=optimizer, goals=goals):
            total = sum(((p - g) * (p - g) * x).sum() for p, g in zip(params, goals, strict=True))
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            return total

        fn = ml.compile(step) if compiled else step
        for i in range(6):
            if i == 3:
                optimizer.lr = 0.003  # seen by the captured step
            fn(ml.ones(1))
        results.append([p.detach().numpy().copy() for p in params])
        assert not compiled or fn.captures <= 2
    for eager, replayed in zip(*results, strict=True):
        assert (eager == replayed).all()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("Adam", {"lr": 1e-2}),
        ("AdamW", {"lr": 1e-2}),
        ("RMSprop", {"lr": 1e-3}),
    ],
)
def test_loss_curve_of_an_mlp_is_torchs(name, arguments):
    torch = pytest.importorskip("torch")
    x = RNG.standard_normal((64, 10)).astype(np.float32)
    y = RNG.integers(0, 4, 64)
    ours = nn.Sequential(nn.Linear(10, 32, rng=1), nn.Tanh(), nn.Linear(32, 4, rng=2))
    theirs = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
    theirs.load_state_dict({k: torch.tensor(v.numpy().copy()) for k, v in ours.state_dict().items()})
    a, b = (
        getattr(optim, name)(ours.parameters(), **arguments),
        getattr(torch.optim, name)(theirs.parameters(), **arguments),
    )
    for _ in range(100):
        a.zero_grad()
        loss = ml.losses.cross_entropy(ours(x), y)
        loss.backward()
        a.step()
        b.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        expected.backward()
        b.step()
        assert abs(loss.item() - expected.item()) <= 1e-4 * expected.item()


# ---- groups and arguments ------------------------------------------------------------------------


def test_groups():
    a, b = nn.Parameter(ml.ones(2)), nn.Parameter(ml.ones(2))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    for p in (a, b):
        p.grad = ml.ones(2)
    optimizer.step()
    assert np.allclose(a.detach().numpy(), 0.9, rtol=0, atol=1e-7)
    assert (b.detach().numpy() == 0.5).all()
    optimizer.lr = 1.0
    assert [g["lr"] for g in optimizer.param_groups] == [1.0, 1.0]
    optimizer.param_groups[0]["lr"] = 0.25
    assert optimizer.lr == 0.25
    adam = optim.Adam([a])
    adam.param_groups[0]["betas"] = (0.5, 0.6)
    assert (adam.param_groups[0].hyper.numpy()[1:3] == [0.5, 0.6]).all()
    assert list(adam.param_groups[0].keys()) == ["lr", "eps", "weight_decay", "betas"]
    with pytest.raises(KeyError, match="unknown hyper-parameter 'mu'"):
        adam.param_groups[0]["mu"] = 1.0


W = nn.Parameter(ml.zeros(2))
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: optim.SGD([W], lr=NAN),
            ValueError,
            "SGD: argument 'lr': expected a finite number of 0 or more, got nan",
        ),
        (lambda: optim.SGD([W], lr=-1), ValueError, "SGD: argument 'lr': .*got -1"),
        (lambda: optim.SGD([W], lr=INF), ValueError, "SGD: argument 'lr': .*got inf"),
        (lambda: optim.SGD([W], lr="1"), TypeError, "SGD: argument 'lr': .*got '1'"),
        (lambda: optim.SGD([W], momentum=-0.1), ValueError, "SGD: argument 'momentum'"),
        (lambda: optim.SGD([W], nesterov=True), ValueError, "SGD: argument 'nesterov'"),
        (
            lambda: optim.Adam([W], betas=(1.0, 2.0)),
            ValueError,
            r"Adam: argument 'betas': expected two numbers in \[0, 1\), got \(1.0, 2.0\)",
        ),
        (lambda: optim.Adam([W], betas=(0.9, NAN)), ValueError, "Adam: argument 'betas'"),
        (lambda: optim.Adam([W], betas=0.9), ValueError, "Adam: argument 'betas'"),
        (lambda: optim.Adam([W], eps=-1), ValueError, "Adam: argument 'eps': .*got -1"),
        (lambda: optim.AdamW([W], weight_decay=NAN), ValueError, "AdamW: argument 'weight_decay'"),
        (lambda: optim.RMSprop([W], alpha=1.0), ValueError, "RMSprop: argument 'alpha'"),
        (lambda: optim.Adadelta([W], rho=-1), ValueError, "Adadelta: argument 'rho'"),
        (
            lambda: optim.Adagrad([W], initial_accumulator_value=-1),
            ValueError,
            "Adagrad: argument 'initial_accumulator_value'",
        ),
        (
            lambda: optim.SGD([]),
            ValueError,
            "SGD: argument 'params': expected at least one Parameter, got an empty list",
        ),
        (
            lambda: optim.SGD([W, W]),
            ValueError,
            "SGD: argument 'params': expected every Parameter once",
        ),
        (
            lambda: optim.SGD([{"params": [W]}, {"params": [W]}]),
            ValueError,
            "expected every Parameter once",
        ),
        (
            lambda: optim.SGD([{"params": [W], "beta": 1}]),
            ValueError,
            "unknown hyper-parameters \\['beta'\\]",
        ),
        (
            lambda: optim.SGD(W),
            TypeError,
            "SGD: argument 'params': expected a list of Parameters, got Parameter",
        ),
        (
            lambda: optim.SGD([np.zeros(2)]),
            TypeError,
            "expected Parameters, got ndarray at position 0",
        ),
        (
            lambda: optim.SGD([W * 2.0]),
            ValueError,
            "expected leaves, got the result of mul at position 0",
        ),
        (
            lambda: optim.SGD([W, nn.Parameter(ml.zeros(1, dtype="float64"))]),
            TypeError,
            "one dtype per group",
        ),
        (
            lambda: optim.SGD([nn.Parameter(ml.zeros(1, dtype="float16"))]),
            TypeError,
            "expected float32 or float64",
        ),
        (lambda: optim.LBFGS([W]).step(), TypeError, "LBFGS: step: argument 'closure'"),
        (
            lambda: optim.LBFGS([W], line_search_fn="armijo"),
            ValueError,
            "LBFGS: argument 'line_search_fn'",
        ),
        (lambda: optim.clip_grad_norm([W], -1), ValueError, "clip_grad_norm: argument 'max_norm'"),
        (lambda: optim.clip_grad_norm([W], NAN), ValueError, "clip_grad_norm: argument 'max_norm'"),
        (
            lambda: optim.clip_grad_value([W], NAN),
            ValueError,
            "clip_grad_value: argument 'clip_value'",
        ),
        (lambda: optim.add_penalty([W], l1=-1.0), ValueError, "add_penalty: argument 'l1'"),
        (lambda: optim.LossScaler(0), ValueError, "LossScaler: argument 'init_scale'"),
        (lambda: optim.StepLR(W, 1), TypeError, "StepLR: argument 'optimizer'"),
    ],
)
def test_misuse(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_momentum_cannot_appear_later():
    optimizer = optim.SGD([W])
    with pytest.raises(ValueError, match="SGD: argument 'momentum': expected 0, as at construction, got 0.9"):
        optimizer.param_groups[0]["momentum"] = 0.9


def test_a_state_that_does_not_fit_changes_nothing():
    _, params, loss = problem()
    optimizer = optim.Adam(params)
    run(optimizer, params, loss, 2)
    before = optimizer.state_dict()
    other = optim.Adam([nn.Parameter(ml.zeros(3, dtype="float64"))]).state_dict()
    for bad in (other, optim.SGD(params).state_dict(), {**before, "groups": []}):
        with pytest.raises(ValueError, match="Adam: load_state_dict: nothing was loaded"):
            optimizer.load_state_dict(bad)
    after = optimizer.state_dict()["groups"][0]
    assert after["step"] == 2
    for name, tensors in before["groups"][0]["state"].items():
        for a, b in zip(tensors, after["state"][name], strict=True):
            assert (a.numpy() == b.numpy()).all()


def test_setting_lr_inside_a_compiled_step_is_refused():
    optimizer = optim.SGD([nn.Parameter(ml.zeros(1))])

    @ml.compile
    def step(x):
        optimizer.lr = 0.5
        return x * 1.0

    with pytest.raises(RuntimeError, match="compile: SGD: a hyper-parameter was set inside"):
        step(np.ones(1, np.float32))


# ---- L-BFGS --------------------------------------------------------------------------------------


def rosenbrock(w):
    x, y = w[:-1], w[1:]
    return ((1.0 - x) * (1.0 - x)).sum() + 100.0 * ((y - x * x) * (y - x * x)).sum()


def minimise(optimizer, w, calls):
    evaluations = []

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(w)
        loss.backward()
        evaluations.append(float(loss.detach()))
        return loss

    for _ in range(calls):
        optimizer.step(closure)
    return evaluations


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_equals_torch(line_search):
    torch = pytest.importorskip("torch")
    start = np.array([-1.2, 1.0, 0.5, 0.8])
    arguments = {
        "lr": 1.0 if line_search else 0.002,
        "max_iter": 5,
        "history_size": 3,
        "line_search_fn": line_search,
    }
    w, v = nn.Parameter(ml.tensor(start)), torch.tensor(start, requires_grad=True)
    ours = minimise(optim.LBFGS([w], **arguments), w, 4)
    theirs = minimise(torch.optim.LBFGS([v], **arguments), v, 4)
    if line_search is None:
        assert len(ours) == len(theirs)
        assert np.allclose(ours, theirs, rtol=1e-8, atol=0)
        assert np.allclose(w.detach().numpy(), v.detach().numpy(), rtol=1e-8, atol=0)
    else:
        assert rosenbrock(w).item() <= 1.5 * max(1e-3, rosenbrock(v).item())


def test_lbfgs_minimises():
    w = nn.Parameter(ml.tensor(np.array([-1.2, 1.0, -1.2, 1.0])))
    optimizer = optim.LBFGS([w], line_search_fn="strong_wolfe", max_iter=100, max_eval=500, tolerance_change=1e-14)
    minimise(optimizer, w, 3)
    assert (np.abs(w.detach().numpy() - 1) <= 1e-6).all()


def test_lbfgs_resumes():
    start = np.array([-1.2, 1.0, 0.5])
    w = nn.Parameter(ml.tensor(start))
    a = optim.LBFGS([w], line_search_fn="strong_wolfe", max_iter=4)
    minimise(a, w, 2)
    v = nn.Parameter(ml.tensor(w.detach().numpy().copy()))
    b = optim.LBFGS([v], line_search_fn="strong_wolfe", max_iter=4)
    b.load_state_dict(a.state_dict())
    assert minimise(a, w, 2) == minimise(b, v, 2)
    assert (w.detach().numpy() == v.detach().numpy()).all()


# ---- schedules -----------------------------------------------------------------------------------

SCHEDULES = [
    ("ConstantLR", {"factor": 0.25, "total_iters": 7}),
    ("StepLR", {"step_size": 9, "gamma": 0.7}),
    ("MultiStepLR", {"milestones": [30, 10, 60], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.97}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 13}),
    ("PolynomialLR", {"total_iters": 40, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 30, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 11}),
    ("LambdaLR", {"lr_lambda": lambda step: 1.0 / (1 + step)}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 101}),
    (
        "OneCycleLR",
        {"max_lr": 0.7, "total_steps": 120, "anneal_strategy": "linear", "three_phase": True},
    ),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 8, "step_size_down": 5}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 8, "mode": "triangular2"}),
    (
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 8, "mode": "exp_range", "gamma": 0.98},
    ),
]


def schedule_pair(torch, build, momentum=0.9):
    """Our rates and momenta, and torch's, over 100 steps."""
    import warnings

    ours = optim.SGD([nn.Parameter(ml.zeros(1))], lr=0.3, momentum=momentum)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3, momentum=momentum)
    curves = ([], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = [(ours, build(optim, ours)), (theirs, build(torch.optim.lr_scheduler, theirs))]
        for curve, (optimizer, schedule) in zip(curves, pairs, strict=True):
            for _ in range(100):
                curve.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
                optimizer.step()
                schedule.step()
    return np.array(curves[0]), np.array(curves[1])


@pytest.mark.parametrize(("name", "arguments"), SCHEDULES)
def test_schedules_equal_torch(name, arguments):
    torch = pytest.importorskip("torch")
    ours, theirs = schedule_pair(torch, lambda module, o: getattr(module, name)(o, **arguments))
    assert (np.abs(ours - theirs) <= 1e-10).all()


def test_sequential_equals_torch():
    torch = pytest.importorskip("torch")

    def build(module, optimizer):
        parts = [
            module.LinearLR(optimizer, start_factor=0.1, total_iters=10),
            module.CosineAnnealingLR(optimizer, T_max=40),
            module.ExponentialLR(optimizer, gamma=0.9),
        ]
        return module.SequentialLR(optimizer, parts, milestones=[10, 50])

    ours, theirs = schedule_pair(torch, build)
    assert (np.abs(ours - theirs) <= 1e-10).all()


@pytest.mark.parametrize("arguments", [{}, {"mode": "max", "threshold": 0.05, "threshold_mode": "abs", "cooldown": 2}])
def test_plateau_equals_torch(arguments):
    torch = pytest.importorskip("torch")
    metrics = np.cumsum(RNG.standard_normal(80)) * 0.1 + 3
    ours = optim.SGD([nn.Parameter(ml.zeros(1))], lr=0.3)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    a = optim.ReduceLROnPlateau(ours, factor=0.5, patience=3, **arguments)
    b = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=3, **arguments)
    rates = []
    for metric in metrics:
        a.step(metric)
        b.step(metric)
        rates.append((ours.lr, theirs.param_groups[0]["lr"]))
    rates = np.array(rates)
    assert (rates[:, 0] == rates[:, 1]).all()
    assert len(set(rates[:, 0])) > 2


def test_inverse_time_decay():
    optimizer = optim.SGD([nn.Parameter(ml.zeros(1))], lr=1.0)
    schedule = optim.InverseTimeDecay(optimizer, decay_steps=2, decay_rate=0.5)
    rates = [optimizer.lr]
    for _ in range(3):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates == [1.0, 1 / 1.25, 1 / 1.5, 1 / 1.75]
    assert schedule.get_last_lr() == [1 / 1.75]


@pytest.mark.parametrize(("name", "arguments"), SCHEDULES)
def test_schedules_resume(name, arguments):
    def make():
        optimizer = optim.SGD([nn.Parameter(ml.zeros(1))], lr=0.3, momentum=0.9)
        return optimizer, getattr(optim, name)(optimizer, **arguments)

    a, one = make()
    for _ in range(17):
        one.step()
    b, two = make()
    b.load_state_dict(a.state_dict())
    two.load_state_dict(one.state_dict())
    for _ in range(20):
        one.step()
        two.step()
        assert a.lr == b.lr


def test_one_cycle_ends():
    optimizer = optim.Adam([nn.Parameter(ml.zeros(1))])
    schedule = optim.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    assert abs(optimizer.lr - 1 / 25) <= 1e-15
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)
    for _ in range(9):
        schedule.step()
    assert abs(optimizer.lr - 1 / 25 / 1e4) <= 1e-18
    with pytest.raises(ValueError, match="'total_steps': the cycle has 10 steps, got step 10"):
        schedule.step()


# ---- gradients -----------------------------------------------------------------------------------


def with_gradients(dtype="float64"):
    params = [nn.Parameter(ml.zeros(*s, dtype=dtype)) for s in SHAPES]
    gradients = [RNG.standard_normal(s) for s in SHAPES]
    for p, g in zip(params, gradients, strict=True):
        p.grad = ml.tensor(g, dtype=dtype)
    return [*params, nn.Parameter(ml.zeros(2, dtype=dtype))], gradients


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clip_grad_norm(limit):
    params, gradients = with_gradients()
    norm = math.sqrt(sum((g**2).sum() for g in gradients))
    assert abs(optim.clip_grad_norm(params, limit).item() - norm) <= 1e-12 * norm
    factor = min(1.0, limit / (norm + 1e-6))
    for p, g in zip(params, gradients, strict=False):
        assert (np.abs(p.grad.numpy() - factor * g) <= 1e-14).all()
    assert params[-1].grad is None


def test_clip_grad_value_and_penalty():
    params, gradients = with_gradients()
    optim.clip_grad_value(params, 0.3)
    for p, g in zip(params, gradients, strict=False):
        assert (p.grad.numpy() == np.clip(g, -0.3, 0.3)).all()
        ml.init.constant_(p, -2.0)
    optim.add_penalty(params, l1=0.25, l2=0.5)
    for p, g in zip(params, gradients, strict=False):
        assert (np.abs(p.grad.numpy() - (np.clip(g, -0.3, 0.3) - 0.25 - 1.0)) <= 1e-15).all()


def test_clipping_leaves_shared_gradients_alone():
    a, b = nn.Parameter(ml.ones(2)), nn.Parameter(ml.ones(2))
    (a + b).sum().backward()
    assert abs(optim.clip_grad_norm([a, b], 1.0).item() - 2) <= 1e-6
    for p in (a, b):
        assert (np.abs(p.grad.numpy() - 0.5) <= 1e-5).all()


def test_loss_scaler():
    w = nn.Parameter(ml.tensor([1.0, 2.0]))
    optimizer, scaler = optim.SGD([w], lr=0.5), optim.LossScaler(8.0, growth_interval=2)
    expected = np.array([1.0, 2.0], np.float32)
    for i, scale in enumerate([8.0, 8.0, 16.0, 16.0, 8.0]):
        assert scaler.get_scale() == scale
        optimizer.zero_grad()
        scaler.scale((w * w).sum() * 0.5).backward()
        if i == 3:
            w.grad = ml.tensor([float("inf"), 1.0])
        scaler.step(optimizer)
        scaler.update()
        if i != 3:
            expected = expected * np.float32(0.5)
        assert (np.abs(w.detach().numpy() - expected) <= 1e-6).all()
    again = optim.LossScaler()
    again.load_state_dict(scaler.state_dict())
    assert again.state_dict() == scaler.state_dict()
    optimizer.zero_grad()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    assert (w.grad.numpy() == 1).all()
    with pytest.raises(RuntimeError, match="unscale_ was already called"):
        scaler.unscale_(optimizer)


def test_moving_average():
    w = nn.Parameter(ml.tensor([0.0]))
    average = optim.ExponentialMovingAverage([w], decay=0.75)
    expected = 0.0
    for value in (1.0, 3.0, -2.0):
        ml.init.constant_(w, value)
        average.update()
        expected = 0.75 * expected + 0.25 * value
    with average.applied():
        assert w.item() == expected
    assert w.item() == -2.0
    other = optim.ExponentialMovingAverage([w])
    other.load_state_dict(average.state_dict())
    assert other.averages[0].item() == expected
    assert other.decay == 0.75
