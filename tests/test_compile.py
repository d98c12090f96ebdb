"""mlext.compile: replays are bitwise the eager results, state included; what cannot be replayed is refused."""

import gc

import numpy as np
import pytest

import mlext as ml
import mlext.functional as F
from mlext import _C, losses, nn, optim

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
}


def build(optimizer, dropout=0.0, seed=0):
    ml.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))
    return model, OPTIMIZERS[optimizer](model.parameters())


def batches(count, n=8, seed=1):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((n, 6)).astype(np.float32), rng.integers(0, 3, n)) for _ in range(count)]


def train(optimizer, compiled, dropout=0.0, change=None):
    model, opt = build(optimizer, dropout)

    def step(x, y):
        loss = losses.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    run = ml.compile(step) if compiled else step
    seen = []
    for i, (x, y) in enumerate(batches(12)):
        if change:
            change(i, model, opt)
        seen.append(run(x, y).item())
    return seen, {k: v.numpy().copy() for k, v in model.state_dict().items()}


def assert_same(a, b):
    assert a[0] == b[0]
    assert a[1].keys() == b[1].keys()
    for k in a[1]:
        assert np.array_equal(a[1][k], b[1][k]), k


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_bitwise_eager(optimizer):
    assert_same(train(optimizer, True), train(optimizer, False))


def test_random_numbers_are_new_at_every_replay():
    assert_same(train("adam", True, dropout=0.5), train("adam", False, dropout=0.5))
    ml.manual_seed(3)
    draw = ml.compile(lambda x: F.dropout(x, 0.5))
    x = ml.ones(64)
    assert draw(x).tolist() != draw(x).tolist()


def test_learning_rate_and_modes_are_seen():
    def change(i, model, opt):
        if i == 4:
            opt.lr = 0.001
        if i == 6:
            model.eval()
        if i == 8:
            model.train()
        if i == 9:
            next(iter(model.parameters())).requires_grad = False

    assert_same(train("adam", True, 0.3, change), train("adam", False, 0.3, change))


def test_new_shapes_and_dtypes_are_captured_anew():
    f = ml.compile(lambda x: x * 2.0 + 1.0)
    for shape in [(2,), (3,), (2,), (3,)]:
        assert f(ml.ones(shape)).tolist() == [3.0] * shape[0]
    assert f.captures == 2
    f(ml.ones(2, dtype="float64"))
    assert f.captures == 3
    f.clear()
    assert f.captures == 0


def test_plain_arguments_are_part_of_the_signature():
    f = ml.compile(lambda x, k, flag=True: x * k if flag else x)
    x = ml.ones(1)
    assert [f(x, 2.0).item(), f(x, 3.0).item(), f(x, 2.0).item()] == [2.0, 3.0, 2.0]
    assert f.captures == 2
    assert f(x, 2.0, flag=False).item() == 1.0
    assert f(x, k=2.0).item() == 2.0


def test_ndarray_arguments_in_any_layout():
    f = ml.compile(lambda x: F.exp(x))
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    for view in (x, x[::-1], np.asfortranarray(x), x.astype(">f4")):
        assert np.array_equal(f(view).numpy(), F.exp(view))
    assert f.captures == 1


def test_outputs_are_the_callers():
    f = ml.compile(lambda x: x + 1.0)
    first = f(ml.zeros(2))
    second = f(ml.ones(2))
    assert first.tolist() == [1.0, 1.0]
    assert second.tolist() == [2.0, 2.0]


def test_structured_outputs():
    f = ml.compile(lambda x: {"a": (x, x * 2.0), "b": 7, "c": [None, x + 1.0]})
    f(ml.zeros(1))
    out = f(ml.ones(1))
    assert (out["a"][1].item(), out["b"], out["c"][0], out["c"][1].item()) == (2.0, 7, None, 2.0)


@pytest.mark.parametrize("compiled", [True, False])
def test_gradient_accumulation_over_calls(compiled):
    w = ml.tensor([1.0], requires_grad=True)

    def micro(x):
        (w * x).sum().backward()

    run = ml.compile(micro) if compiled else micro
    seen = []
    for i in range(1, 7):
        run(ml.tensor([float(i)]))
        seen.append(w.grad.item())
        if i == 3:
            w.grad = None
    assert seen == [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]


def test_gradients_are_left_where_eager_leaves_them():
    model, opt = build("sgd")

    @ml.compile
    def step(x, y):
        opt.zero_grad()
        loss = losses.cross_entropy(model(x), y)
        loss.backward()
        return loss

    data = batches(3)
    for x, y in data:
        step(x, y)
        opt.zero_grad()
    step(*data[0])
    got = [p.grad.numpy().copy() for p in model.parameters()]
    opt.zero_grad()
    losses.cross_entropy(model(data[0][0]), data[0][1]).backward()
    for a, p in zip(got, model.parameters(), strict=True):
        assert np.array_equal(a, p.grad.numpy())


CLOSED = np.ones(2, np.float32)
READS = {
    "item": lambda x: x * x.sum().item(),
    "float": lambda x: x * float(x.sum()),
    "branch": lambda x: x if (x.sum() > 0.0) else -x,
    "numpy": lambda x: F.exp(x.numpy()),
    "asarray": lambda x: np.asarray(x),
    "mask": lambda x: x[x > 0.0],
    "closed-over ndarray": lambda x: x + CLOSED,
    "tensor()": lambda x: x + ml.tensor(CLOSED),
    "Tensor()": lambda x: x + ml.Tensor(CLOSED),
    "seeded rng": lambda x: F.dropout(x, 0.5, rng=3),
}


@pytest.mark.parametrize("what", READS)
def test_what_cannot_be_replayed_is_refused(what):
    f = ml.compile(READS[what])
    with pytest.raises(RuntimeError, match="compile:"):
        f(ml.ones(2))
    assert not ml._C.is_capturing()
    assert f.captures == 0
    assert ml.compile(lambda x: x * 2.0)(ml.ones(1)).item() == 2.0


def test_an_error_inside_leaves_everything_usable():
    f = ml.compile(lambda x: F.matmul(x, ml.ones(5, 5)))
    with pytest.raises(ValueError, match="matmul"):
        f(ml.ones(2, 2))
    assert not ml._C.is_capturing()


def test_endless_captures_are_an_error():
    f = ml.compile(lambda x, k: x * k)
    for i in range(64):
        f(ml.ones(1), float(i))
    with pytest.raises(RuntimeError, match="captured 64 times"):
        f(ml.ones(1), 64.0)


def test_compiled_functions_nest():
    inner = ml.compile(lambda x: x * 2.0)
    outer = ml.compile(lambda x: inner(x) + 1.0)
    assert [outer(ml.ones(1)).item(), outer(ml.tensor([4.0])).item()] == [3.0, 9.0]


def test_replays_allocate_nothing_and_programs_die():
    gc.collect()
    start = ml.memory_stats()["in_use"]
    f = ml.compile(lambda x: F.tanh(F.matmul(x, x)).sum())
    x = ml.ones(32, 32)
    f(x)
    before = ml.memory_stats()
    for _ in range(50):
        f(x)
    after = ml.memory_stats()
    assert after["in_use"] == before["in_use"]
    assert after["system_allocations"] == before["system_allocations"]
    del f, x
    gc.collect()
    assert ml.memory_stats()["in_use"] <= start


def test_no_grad_is_part_of_the_signature():
    w = ml.tensor([2.0], requires_grad=True)
    f = ml.compile(lambda x: w * x)
    with ml.no_grad():
        assert f(ml.ones(1)).item() == 2.0
    assert f(ml.ones(1)).item() == 2.0
    assert f.captures == 2


def test_weights_changed_between_calls_are_seen():
    model, _ = build("sgd")
    f = ml.compile(lambda x: model(x))
    x = np.ones((2, 6), np.float32)
    f(x)
    ml._C.copy_(next(iter(model.parameters())), 0.0)
    assert np.array_equal(f(x).numpy(), model(x).detach().numpy())


def test_a_replay_counts_as_a_write_to_what_it_writes():
    state = ml.tensor([5.0])

    def advance(x):
        nonlocal state
        state += x
        return state * 1.0

    compiled = ml.compile(advance)
    compiled(ml.tensor([1.0]))
    leaf = ml.tensor([2.0], requires_grad=True)
    product = leaf * state
    assert compiled(ml.tensor([1.0])).tolist() == [7.0]
    with pytest.raises(RuntimeError, match="a value that mul saved for its gradient was changed in place"):
        product.backward()


def test_predict_replays_in_evaluation_mode():
    model, opt = build("sgd", dropout=0.5)
    x, y = batches(1)[0]
    with model.evaluating():
        expected = model(x).detach().numpy()
    for _ in range(3):
        got = model.predict(x)
        assert isinstance(got, np.ndarray)
        assert np.array_equal(got, expected)
    assert model.training
    losses.cross_entropy(model(x), y).backward()
    opt.step()
    with model.evaluating():
        changed = model(x).detach().numpy()
    assert not np.array_equal(changed, expected)
    assert np.array_equal(model.predict(x), changed)
    assert np.array_equal(model.predict(x, batch_size=3), changed)
    assert np.array_equal(got, expected), "what was returned stays what it was"


def test_predict_does_not_copy_large_inputs():
    model = ml.nn.Linear(64, 8)
    x = np.random.default_rng(0).standard_normal((8192, 64)).astype(np.float32)
    large = model.predict(x)
    assert _C.entry_count(vars(model)["_predictor"]) == 0
    assert np.array_equal(large, model.predict(x, batch_size=1024))
    assert _C.entry_count(vars(model)["_predictor"]) == 1


def test_predict_sees_a_module_that_changes():
    class Scaled(nn.Module):
        def __init__(self):
            self.factor = 2.0
            self.calls = 0

        def forward(self, x):
            return x * self.factor

    class Counting(Scaled):
        def forward(self, x):
            self.calls += 1
            return x * float(self.calls)

    class Reading(nn.Module):
        def forward(self, x):
            return x * 2.0 if x.sum() > 0.0 else x

    scaled, x = Scaled(), np.ones(3, np.float32)
    assert scaled.predict(x).tolist() == [2.0] * 3
    scaled.factor = 5.0
    assert scaled.predict(x).tolist() == [5.0] * 3
    counting = Counting()
    assert [counting.predict(x)[0] for _ in range(4)] == [1.0, 2.0, 3.0, 4.0]
    reading = Reading()
    assert [reading.predict(s * x)[0] for s in (1, -1, 1)] == [2.0, -1.0, 2.0]


def test_predict_takes_any_number_of_shapes():
    model, _ = build("sgd")
    for n in range(1, 60):
        assert model.predict(np.ones((n, 6), np.float32)).shape == (n, 3)
