import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlext import _C

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
Arrays = list[np.ndarray]


def tensor(x: Any, dtype: Any = None) -> _C.Array:
    return _C.Array(np.array(x, dtype=dtype))


def tensors(arrays: Arrays) -> list[_C.Array]:
    return [tensor(a) for a in arrays]


SHAPES = [(1,), (7, 5), (16,), (33,), (3, 2, 4), (0, 4), (129, 130)]


def random_arrays(seed: int, dtype: Any = np.float32, shapes: Any = SHAPES) -> Arrays:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


# ---- the rules in NumPy, float64: p, g, states (modified in place), hyper, step number -----------


def np_sgd(p, g, s, h, t, nesterov=False):
    lr, momentum, dampening, decay = h
    g = g + decay * p
    if s:
        s[0][...] = g if t == 1 else momentum * s[0] + (1 - dampening) * g
        g = g + momentum * s[0] if nesterov else s[0]
    p -= lr * g


def np_adam(p, g, s, h, t, decoupled=False):
    lr, b1, b2, eps, decay = h
    if decoupled:
        p *= 1 - lr * decay
    else:
        g = g + decay * p
    s[0][...] = b1 * s[0] + (1 - b1) * g
    s[1][...] = b2 * s[1] + (1 - b2) * g * g
    v = s[1]
    if len(s) == 3:
        s[2][...] = np.maximum(s[2], v)
        v = s[2]
    p -= lr / (1 - b1**t) * s[0] / (np.sqrt(v / (1 - b2**t)) + eps)


def np_rmsprop(p, g, s, h, t, momentum=False, centered=False):
    lr, alpha, eps, decay, mu = h
    g = g + decay * p
    s[0][...] = alpha * s[0] + (1 - alpha) * g * g
    square = s[0]
    if centered:
        s[-1][...] = alpha * s[-1] + (1 - alpha) * g
        square = square - s[-1] ** 2
    step = g / (np.sqrt(square) + eps)
    if momentum:
        s[1][...] = mu * s[1] + step
        step = s[1]
    p -= lr * step


def np_adagrad(p, g, s, h, t):
    lr, lr_decay, decay, eps = h
    g = g + decay * p
    s[0] += g * g
    p -= lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s[0]) + eps)


def np_adadelta(p, g, s, h, t):
    lr, rho, eps, decay = h
    g = g + decay * p
    s[0][...] = rho * s[0] + (1 - rho) * g * g
    delta = np.sqrt(s[1] + eps) / np.sqrt(s[0] + eps) * g
    s[1][...] = rho * s[1] + (1 - rho) * delta**2
    p -= lr * delta


def np_adamax(p, g, s, h, t):
    lr, b1, b2, eps, decay = h
    g = g + decay * p
    s[0][...] = b1 * s[0] + (1 - b1) * g
    s[1][...] = np.maximum(b2 * s[1], np.abs(g) + eps)
    p -= lr / (1 - b1**t) * s[0] / s[1]


def np_nadam(p, g, s, h, t):
    lr, b1, b2, eps, decay, momentum_decay = h
    g = g + decay * p
    mu = [b1 * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in range(1, t + 2)]
    s[0][...] = b1 * s[0] + (1 - b1) * g
    s[1][...] = b2 * s[1] + (1 - b2) * g * g
    root = np.sqrt(s[1] / (1 - b2**t)) + eps
    p -= lr * (1 - mu[-2]) / (1 - math.prod(mu[:-1])) * g / root
    p -= lr * mu[-1] / (1 - math.prod(mu)) * s[0] / root


def np_radam(p, g, s, h, t):
    lr, b1, b2, eps, decay = h
    g = g + decay * p
    s[0][...] = b1 * s[0] + (1 - b1) * g
    s[1][...] = b2 * s[1] + (1 - b2) * g * g
    limit = 2 / (1 - b2) - 1
    rho = limit - 2 * t * b2**t / (1 - b2**t)
    step = s[0] / (1 - b1**t)
    if rho > 5:
        rect = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        step = step * rect * math.sqrt(1 - b2**t) / (np.sqrt(s[1]) + eps)
    p -= lr * step


def np_lion(p, g, s, h, t):
    lr, b1, b2, decay = h
    p *= 1 - lr * decay
    p -= lr * np.sign(b1 * s[0] + (1 - b1) * g)
    s[0][...] = b2 * s[0] + (1 - b2) * g


class Rule:
    """One optimizer: its oracle, its call, its number of states and its hyper-parameters."""

    def __init__(
        self,
        oracle: Callable[..., None],
        states: int,
        hyper: list[float],
        call: Callable[..., None],
    ):
        self.oracle, self.states, self.hyper, self.call = oracle, states, hyper, call


def plain(name: str) -> Callable[..., None]:
    door = getattr(_C, name)
    return lambda p, g, s, h, t, found=None: door(p, g, *s, h, t, found)


def adam(name: str) -> Callable[..., None]:
    door = getattr(_C, name)
    return lambda p, g, s, h, t, found=None: door(p, g, s[0], s[1], s[2] if len(s) == 3 else [], h, t, found)


def sgd(nesterov: bool) -> Callable[..., None]:
    return lambda p, g, s, h, t, found=None: _C.sgd_(p, g, s[0] if s else [], h, t, nesterov, found)


def rmsprop(momentum: bool, centered: bool) -> Rule:
    def call(p, g, s, h, t, found=None):
        _C.rmsprop_(p, g, s[0], s[1] if momentum else [], s[-1] if centered else [], h, t, found)

    def oracle(p, g, s, h, t):
        np_rmsprop(p, g, s, h, t, momentum, centered)

    return Rule(oracle, 1 + momentum + centered, [0.01, 0.9, 1e-8, 0.02, 0.8 if momentum else 0.0], call)


class Nadam:
    """nadam_ with its running product, which starts at 1."""

    def __init__(self) -> None:
        self.product = tensor([1.0])

    def __call__(self, p, g, s, h, t, found=None):
        if t.numpy()[0] == 0:
            self.product = tensor([1.0])
        _C.nadam_(p, g, *s, self.product, h, t, found)


ADAM = [0.01, 0.9, 0.99, 1e-8, 0.1]
RULES = {
    "sgd": Rule(np_sgd, 0, [0.1, 0.0, 0.0, 0.01], sgd(False)),
    "momentum": Rule(np_sgd, 1, [0.1, 0.9, 0.3, 0.01], sgd(False)),
    "nesterov": Rule(lambda *a: np_sgd(*a, nesterov=True), 1, [0.1, 0.9, 0.0, 0.01], sgd(True)),
    "adam": Rule(np_adam, 2, ADAM, adam("adam_")),
    "amsgrad": Rule(np_adam, 3, ADAM, adam("adam_")),
    "adamw": Rule(lambda *a: np_adam(*a, decoupled=True), 2, ADAM, adam("adamw_")),
    "rmsprop": rmsprop(False, False),
    "rmsprop_momentum": rmsprop(True, False),
    "rmsprop_centered": rmsprop(False, True),
    "rmsprop_both": rmsprop(True, True),
    "adagrad": Rule(np_adagrad, 1, [0.1, 0.05, 0.01, 1e-10], plain("adagrad_")),
    "adadelta": Rule(np_adadelta, 2, [1.0, 0.9, 1e-6, 0.01], plain("adadelta_")),
    "adamax": Rule(np_adamax, 2, ADAM, plain("adamax_")),
    "nadam": Rule(np_nadam, 2, [*ADAM, 0.004], Nadam()),
    "radam": Rule(np_radam, 2, ADAM, plain("radam_")),
    "lion": Rule(np_lion, 1, [0.01, 0.9, 0.99, 0.1], plain("lion_")),
}


def make_states(rule: Rule, params: Arrays) -> list[list[_C.Array]]:
    return [[tensor(np.zeros_like(p)) for p in params] for _ in range(rule.states)]


def close(got: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    scale = np.maximum(np.abs(expected), 1)
    assert (np.abs(got.astype(np.float64) - expected) <= tolerance * scale).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", RULES)
def test_rule_against_numpy(level, name, dtype):
    rule = RULES[name]
    start = random_arrays(0, dtype)
    params, hyper, step = tensors(start), tensor(rule.hyper, np.float64), tensor([0], np.int64)
    states = make_states(rule, start)
    expected = [p.astype(np.float64) for p in start]
    expected_states = [[np.zeros_like(p) for p in expected] for _ in range(rule.states)]
    for t in range(1, 9):
        grads = random_arrays(t, dtype)
        rule.call(params, tensors(grads), states, hyper, step)
        for i, (p, g) in enumerate(zip(expected, grads, strict=True)):
            rule.oracle(p, g.astype(np.float64), [s[i] for s in expected_states], rule.hyper, t)
        assert step.numpy()[0] == t
    for i, p in enumerate(expected):
        close(params[i].numpy(), p, 8 * TOLERANCE[dtype])
        for k in range(rule.states):
            close(states[k][i].numpy(), expected_states[k][i], 8 * TOLERANCE[dtype])


def torch_cases(torch: Any) -> dict[str, tuple[Any, dict[str, Any], list[float]]]:
    o = torch.optim
    return {
        "sgd": (o.SGD, {"lr": 0.1, "weight_decay": 0.01}, [0.1, 0, 0, 0.01]),
        "momentum": (
            o.SGD,
            {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
            [0.1, 0.9, 0.3, 0.01],
        ),
        "nesterov": (o.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, [0.1, 0.9, 0, 0]),
        "adam": (o.Adam, {}, [1e-3, 0.9, 0.999, 1e-8, 0]),
        "amsgrad": (o.Adam, {"amsgrad": True, "weight_decay": 0.1}, [1e-3, 0.9, 0.999, 1e-8, 0.1]),
        "adamw": (o.AdamW, {}, [1e-3, 0.9, 0.999, 1e-8, 1e-2]),
        "rmsprop": (o.RMSprop, {}, [0.01, 0.99, 1e-8, 0, 0]),
        "rmsprop_both": (
            o.RMSprop,
            {"momentum": 0.9, "centered": True, "weight_decay": 0.1},
            [0.01, 0.99, 1e-8, 0.1, 0.9],
        ),
        "adagrad": (o.Adagrad, {"lr_decay": 0.1}, [0.01, 0.1, 0, 1e-10]),
        "adadelta": (o.Adadelta, {}, [1.0, 0.9, 1e-6, 0]),
        "adamax": (o.Adamax, {}, [2e-3, 0.9, 0.999, 1e-8, 0]),
        "nadam": (o.NAdam, {}, [2e-3, 0.9, 0.999, 1e-8, 0, 4e-3]),
        "radam": (o.RAdam, {}, [1e-3, 0.9, 0.999, 1e-8, 0]),
    }


TORCH_NAMES = [n for n in RULES if n not in ("lion", "rmsprop_momentum", "rmsprop_centered")]


@pytest.mark.parametrize("name", TORCH_NAMES)
def test_twenty_steps_equal_torch(name):
    torch = pytest.importorskip("torch")
    make, options, hyper = torch_cases(torch)[name]
    rule = RULES[name]
    start = random_arrays(0, np.float32, [(5, 7), (33,)])
    theirs = [torch.tensor(p, requires_grad=True) for p in start]
    optimizer = make(theirs, **options)
    params, h, step = tensors(start), tensor(hyper, np.float64), tensor([0], np.int64)
    states = make_states(rule, start)
    for t in range(20):
        grads = random_arrays(t + 1, np.float32, [(5, 7), (33,)])
        for p, g in zip(theirs, grads, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
        rule.call(params, tensors(grads), states, h, step)
    for ours, p in zip(params, theirs, strict=True):
        expected = p.detach().numpy().astype(np.float64)
        assert (np.abs(ours.numpy() - expected) <= 1e-5 * np.abs(expected) + 1e-6).all()


@pytest.mark.parametrize("name", RULES)
def test_same_bits_for_any_thread_count(level, name):
    rule, threads = RULES[name], _C.get_num_threads()
    start = random_arrays(0, np.float32, [(3,), (200, 301), (5,), (40_001,)])
    seen = set()
    for count in (1, 2, 5):
        _C.set_num_threads(count)
        params, states, step = tensors(start), make_states(rule, start), tensor([0], np.int64)
        for t in range(2):
            grads = tensors(random_arrays(t + 1, np.float32, [(3,), (200, 301), (5,), (40_001,)]))
            rule.call(params, grads, states, tensor(rule.hyper, np.float64), step)
        seen.add(b"".join(p.numpy().tobytes() for p in params))
    _C.set_num_threads(threads)
    assert len(seen) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in RULES if RULES[name].states])
def test_states_do_not_become_subnormal(level, name, dtype):
    """Where no gradient comes any more they would decay to numbers that cost 150 cycles each, for ever."""
    rule, least = RULES[name], np.finfo(dtype).smallest_normal
    params, step = tensors(random_arrays(0, dtype, [(37,)])), tensor([0], np.int64)
    states = [[tensor(np.linspace(0.5, 3, 37).astype(dtype) * least)] for _ in range(rule.states)]
    for _ in range(3):
        rule.call(params, [tensor(np.zeros(37, dtype))], states, tensor(rule.hyper, np.float64), step)
    for (state,) in states:
        values = np.abs(state.numpy())
        assert ((values == 0) | (values >= least)).all()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("count", [0, 1, 120])
def test_a_list_is_its_entries(level, name, count):
    rule = RULES[name]
    shapes = [(1 + i * 37 % 200,) for i in range(count)]
    start, grads = random_arrays(0, np.float32, shapes), random_arrays(1, np.float32, shapes)
    hyper = tensor(rule.hyper, np.float64)
    params, states = tensors(start), make_states(rule, start)
    rule.call(params, tensors(grads), states, hyper, tensor([0], np.int64))
    for i in range(count):
        one, state = tensors(start[i : i + 1]), make_states(rule, start[i : i + 1])
        rule.call(one, tensors(grads[i : i + 1]), state, hyper, tensor([0], np.int64))
        assert np.array_equal(one[0].numpy(), params[i].numpy())


@pytest.mark.parametrize("name", RULES)
def test_missing_gradients_leave_parameter_and_state(name):
    rule = RULES[name]
    start = random_arrays(0)
    params, states = tensors(start), make_states(rule, start)
    grads: list[Any] = tensors(random_arrays(1))
    grads[1] = grads[3] = None
    rule.call(params, grads, states, tensor(rule.hyper, np.float64), tensor([0], np.int64))
    for i, (before, p) in enumerate(zip(start, params, strict=True)):
        changed = i not in (1, 3) and before.size > 0
        assert np.array_equal(before, p.numpy()) is not changed
        assert all((s[i].numpy() != 0).any() == changed for s in states)


@pytest.mark.parametrize("name", RULES)
def test_strided_gradients_and_nan(level, name):
    rule = RULES[name]
    start = [np.ones((6, 9), np.float32), np.ones(20, np.float32)]
    wide = random_arrays(1, np.float32, [(9, 6), (40,)])
    hyper = tensor(rule.hyper, np.float64)
    views = [_C.permute(tensor(wide[0]), (1, 0)), tensor(wide[1][::2])]
    params, states = tensors(start), make_states(rule, start)
    rule.call(params, views, states, hyper, tensor([0], np.int64))
    same, states = tensors(start), make_states(rule, start)
    rule.call(same, tensors([wide[0].T.copy(), wide[1][::2].copy()]), states, hyper, tensor([0], np.int64))
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(params, same, strict=True))

    bad = wide[1][::2].copy()
    bad[[3, 19]] = np.nan
    params, states = tensors(start[1:]), make_states(rule, start[1:])
    rule.call(params, tensors([bad]), states, hyper, tensor([0], np.int64))
    assert np.array_equal(np.isnan(params[0].numpy()), np.isnan(bad))


@pytest.mark.parametrize("name", RULES)
def test_found_makes_a_step_do_nothing(name):
    rule = RULES[name]
    start = random_arrays(0)
    params, states, step = tensors(start), make_states(rule, start), tensor([0], np.int64)
    grads, hyper = tensors(random_arrays(1)), tensor(rule.hyper, np.float64)
    rule.call(params, grads, states, hyper, step, tensor([1], np.float32))
    assert step.numpy()[0] == 0
    assert all(np.array_equal(a, p.numpy()) for a, p in zip(start, params, strict=True))
    rule.call(params, grads, states, hyper, step, tensor([0], np.float32))
    assert step.numpy()[0] == 1
    assert not np.array_equal(start[1], params[1].numpy())


def test_replay_reads_hyper_and_step():
    start = random_arrays(0)
    params, states, step = tensors(start), make_states(RULES["adam"], start), tensor([0], np.int64)
    grads, hyper = tensors(random_arrays(1)), tensor(ADAM, np.float64)
    program = _C.Program()
    program.begin()
    _C.adam_(params, grads, states[0], states[1], [], hyper, step, None)
    program.end()
    version = params[1]._version
    _C.copy_(hyper, np.array([0.5, 0.9, 0.99, 1e-8, 0.1]))
    program.replay()
    assert step.numpy()[0] == 2
    assert params[1]._version > version

    same, states, step = tensors(start), make_states(RULES["adam"], start), tensor([0], np.int64)
    for lr in (ADAM[0], 0.5):
        _C.adam_(same, grads, *states, [], tensor([lr, *ADAM[1:]], np.float64), step, None)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(params, same, strict=True))


# ---- lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_global_norm(level, dtype):
    arrays = random_arrays(0, dtype)
    expected = math.sqrt(sum(float((a.astype(np.float64) ** 2).sum()) for a in arrays))
    norm = _C.global_norm([*tensors(arrays), None]).numpy()
    assert norm.dtype == dtype
    assert norm.shape == ()
    assert abs(float(norm) - expected) <= TOLERANCE[dtype] * expected
    assert float(_C.global_norm(arrays)) == float(norm)  # ndarrays, read only
    strided = [tensor(arrays[1].T), _C.permute(tensor(arrays[1]), (1, 0))]
    twice = float(_C.global_norm(strided).numpy())
    assert abs(twice - math.sqrt(2) * np.linalg.norm(arrays[1].astype(np.float64))) <= TOLERANCE[dtype] * twice


def test_global_norm_of_large_numbers_and_of_nothing(level):
    assert float(_C.global_norm([tensor(np.full(100, 1e30, np.float32))]).numpy()) == pytest.approx(1e31)
    assert float(_C.global_norm([]).numpy()) == 0
    assert float(_C.global_norm([None, tensor(np.zeros((0, 3)))]).numpy()) == 0
    assert math.isnan(float(_C.global_norm([tensor([1.0, np.nan])]).numpy()))


def test_global_norm_does_not_depend_on_threads(level):
    threads, seen = _C.get_num_threads(), set()
    arrays = tensors(random_arrays(0, np.float64, [(100_001,), (3,), (50_000,)]))
    for count in (1, 2, 5):
        _C.set_num_threads(count)
        seen.add(float(_C.global_norm(arrays).numpy()))
    _C.set_num_threads(threads)
    assert len(seen) == 1


@pytest.mark.parametrize("max_norm", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clip_by_norm(level, dtype, max_norm):
    arrays = random_arrays(0, dtype)
    grads: list[Any] = [*tensors(arrays), None, _C.permute(tensor(arrays[1]), (1, 0))]
    norm = float(_C.clip_by_norm_(grads, max_norm).numpy())
    squares = sum(float((a.astype(np.float64) ** 2).sum()) for a in [*arrays, arrays[1]])
    assert abs(norm - math.sqrt(squares)) <= TOLERANCE[dtype] * norm
    factor = min(1.0, max_norm / (math.sqrt(squares) + 1e-6))
    for g, a in zip(grads, [*arrays, None, arrays[1].T], strict=True):
        if a is None:
            continue
        if factor == 1:
            assert np.array_equal(g.numpy(), a)
        close(g.numpy(), factor * a.astype(np.float64), TOLERANCE[dtype])


def test_clip_by_norm_shows_nan():
    grads = [tensor([1.0, 2.0]), tensor([np.nan, 1.0])]
    assert math.isnan(float(_C.clip_by_norm_(grads, 1.0).numpy()))
    assert all(np.isnan(g.numpy()).all() for g in grads)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_list_operations(level, dtype):
    a, b = random_arrays(0, dtype), random_arrays(1, dtype)
    wide = [x.astype(np.float64) for x in a]
    other = [x.astype(np.float64) for x in b]
    cases = [
        (lambda t: _C.clip_by_value_(t, 0.5), lambda x, y: np.clip(x, -0.5, 0.5)),
        (lambda t: _C.scale_(t, tensor([0.3])), lambda x, y: 0.3 * x),
        (lambda t: _C.add_scaled_(t, tensors(b), -0.7), lambda x, y: x - 0.7 * y),
        (
            lambda t: _C.add_penalty_grad_(tensors(b), t, 0.1, 0.2),
            lambda x, y: x + 0.1 * np.sign(y) + 0.2 * y,
        ),
        (lambda t: _C.lerp_(t, tensors(b), 0.25), lambda x, y: x + 0.25 * (y - x)),
        (lambda t: _C.lerp_(t, b, 1.0), lambda x, y: y),
    ]
    for run, oracle in cases:
        targets = tensors(a)
        run(targets)
        for t, x, y in zip(targets, wide, other, strict=True):
            close(t.numpy(), oracle(x, y), TOLERANCE[dtype])
        strided = _C.permute(tensor(a[-1].T), (1, 0))
        targets = [*tensors(a[:-1]), strided]
        run(targets)
        close(strided.numpy(), oracle(wide[-1], other[-1]), TOLERANCE[dtype])


def test_clip_by_value_keeps_nan(level):
    x = tensor(np.array([np.nan, 3, -3, 0.1] * 9, np.float32))
    _C.clip_by_value_([x], 1.0)
    assert np.array_equal(x.numpy(), np.array([np.nan, 1, -1, 0.1] * 9, np.float32), equal_nan=True)


@pytest.mark.parametrize("bad", [None, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 15, 40_000])
def test_unscale_check(level, bad, place):
    arrays = random_arrays(0, np.float32, [(3,), (40_001,)])
    if bad is not None:
        arrays[1][place] = bad
    grads, found = tensors(arrays), tensor([0], np.float32)
    _C.unscale_check_(grads, tensor([8.0], np.float32), found)
    assert found.numpy()[0] == (bad is not None)
    assert all(np.array_equal(g.numpy(), a / 8, equal_nan=True) for g, a in zip(grads, arrays, strict=True))
    # A clean list leaves what an earlier one found.
    _C.unscale_check_(tensors(arrays[:1]), tensor([8.0]), found)
    assert found.numpy()[0] == (bad is not None)


def test_lists_are_checked():
    p, g, h, t = (
        tensors(random_arrays(0)),
        tensors(random_arrays(1)),
        tensor([0.1, 0, 0, 0]),
        tensor([0], np.int64),
    )
    before = [a.numpy().copy() for a in p]
    with pytest.raises(ValueError, match=r"sgd_: argument 'grads': expected 7 entries"):
        _C.sgd_(p, g[:-1], [], h, t, False, None)
    with pytest.raises(ValueError, match=r"'grads\[1\]': expected shape \(7, 5\), got \(16,\)"):
        _C.sgd_(p, [g[0], g[2], *g[2:]], [], h, t, False, None)
    with pytest.raises(TypeError, match=r"'grads\[6\]': expected float32"):
        _C.sgd_(p, [*g[:-1], tensor(g[-1].numpy(), np.float64)], [], h, t, False, None)
    with pytest.raises(TypeError, match=r"'params\[0\]': expected a Tensor"):
        _C.sgd_([a.numpy() for a in p], g, [], h, t, False, None)
    with pytest.raises(ValueError, match=r"'params\[0\]': expected row-major memory"):
        _C.sgd_([_C.permute(p[1], (1, 0))], [_C.permute(g[1], (1, 0))], [], h, t, False, None)
    with pytest.raises(ValueError, match="'hyper': expected shape"):
        _C.sgd_(p, g, [], tensor([0.1]), t, False, None)
    with pytest.raises(TypeError, match="'hyper': expected float64"):
        _C.sgd_(p, g, [], tensor([0.1, 0, 0, 0], np.float32), t, False, None)
    with pytest.raises(TypeError, match="'step': expected int64"):
        _C.sgd_(p, g, [], h, tensor([0.0]), False, None)
    with pytest.raises(TypeError, match="'params': expected dtype float32 or float64"):
        _C.sgd_([tensor([1, 2])], [tensor([1, 2])], [], h, t, False, None)
    with pytest.raises(TypeError, match="'params'"):
        _C.sgd_(p[0], g, [], h, t, False, None)
    with pytest.raises(ValueError, match="'limit'"):
        _C.clip_by_value_(g, math.nan)
    with pytest.raises(ValueError, match="'max_norm'"):
        _C.clip_by_norm_(g, -1.0)
    assert t.numpy()[0] == 0
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, p, strict=True))
