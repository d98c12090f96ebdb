"""Scaling, splitting, mini-batches and augmentation."""

import json

import numpy as np
import pytest

from mlext import data
from mlext.data import ArrayDataset, DataLoader, MinMaxScaler, StandardScaler
from mlext.data.rng import as_generator, get_state, set_state

RNG = np.random.default_rng(0)


# ---- generators


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"])
def test_generator_state_through_json(kind):
    rng = np.random.Generator(getattr(np.random, kind)(5))
    rng.integers(0, 10, 3, dtype=np.uint32)  # half a word is left over
    text = json.dumps(get_state(rng))
    expected = [rng.integers(2**32, dtype=np.uint32), rng.random(), *rng.standard_normal(5)]
    other = np.random.Generator(getattr(np.random, kind)(1))
    set_state(other, json.loads(text))
    assert [
        other.integers(2**32, dtype=np.uint32),
        other.random(),
        *other.standard_normal(5),
    ] == expected


def test_generator_errors():
    with pytest.raises(TypeError, match="rng"):
        as_generator(1.5)
    with pytest.raises(TypeError, match="rng"):
        as_generator(True)
    with pytest.raises(ValueError, match="seed >= 0"):
        as_generator(-1)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="PCG64.*MT19937"):
        set_state(rng, get_state(np.random.Generator(np.random.MT19937(0))))
    with pytest.raises(ValueError, match="malformed"):
        set_state(rng, {"bit_generator": "PCG64", "state": {}})
    assert as_generator(None).random() != as_generator(None).random()
    assert as_generator(rng) is rng


# ---- scalers


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize(
    ("name", "options"),
    [("StandardScaler", {}), ("MinMaxScaler", {}), ("MinMaxScaler", {"feature_range": (-2, 3)})],
)
def test_scalers_equal_scikit_learn(name, options, dtype):
    reference = getattr(pytest.importorskip("sklearn.preprocessing"), name)(**options)
    ours = getattr(data, name)(**options)
    x = (RNG.random((50, 4)) * 100).astype(dtype)
    x[:, 2] = 7  # a constant feature
    y = (RNG.random((20, 4)) * 100).astype(dtype)
    expected = reference.fit(x.astype(np.float64)).transform(y.astype(np.float64))
    got = ours.fit(x).transform(y)
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    assert got.dtype == (dtype if np.dtype(dtype).kind == "f" else np.float64)
    assert (np.abs(got - expected) <= tolerance).all()
    assert (np.abs(ours.inverse_transform(got) - y) <= tolerance * 100).all()


@pytest.mark.parametrize("make", [StandardScaler, lambda: MinMaxScaler((-1, 1))])
def test_scaler_state(make):
    x = RNG.random((10, 2, 3))
    scaler = make().fit(x)
    other = make()
    other.load_state_dict(scaler.state_dict())
    assert (other.transform(x) == scaler.transform(x)).all()
    assert other.transform(x).shape == x.shape
    with pytest.raises(ValueError, match="keys"):
        other.load_state_dict({"mean": 1})
    with pytest.raises(ValueError, match="finite"):
        other.load_state_dict({"offset": np.zeros(2), "scale": np.zeros(2)})
    with pytest.raises(ValueError, match="finite"):
        other.load_state_dict({"offset": np.full(2, np.nan), "scale": np.ones(2)})


def test_constant_features_stay_finite():
    for value in (0.1, 1e10 / 3, -1e-20):
        x = np.full((1000, 1), value)
        assert (np.abs(StandardScaler().fit_transform(x)) < 1e-3).all()
        assert (MinMaxScaler().fit_transform(x) == 0).all()


def test_scaler_errors():
    scaler = StandardScaler()
    with pytest.raises(RuntimeError, match="call fit first"):
        scaler.transform([[1.0]])
    with pytest.raises(RuntimeError, match="call fit first"):
        scaler.state_dict()
    with pytest.raises(ValueError, match="at least one row"):
        scaler.fit(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"value at \(1, 0\) is nan"):
        scaler.fit([[1.0], [np.nan]])
    with pytest.raises(TypeError, match="expected numbers"):
        scaler.fit([["a"]])
    with pytest.raises(ValueError, match="scalar"):
        scaler.fit(1.0)
    scaler.fit(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"expected shape \(N, \*\(3,\)\).*got \(2, 1\)"):
        scaler.transform(np.zeros((2, 1)))  # never broadcast
    for bad in ((1, 1), (2, 1), (0, np.inf), (np.nan, 1)):
        with pytest.raises(ValueError, match="low < high"):
            MinMaxScaler(bad)


# ---- one_hot, train_test_split


def test_one_hot():
    labels = RNG.integers(0, 5, (3, 4))
    assert (data.one_hot(labels, 5) == np.eye(5)[labels]).all()
    assert data.one_hot([1], dtype=np.int8).tolist() == [[0, 1]]
    assert data.one_hot([1]).dtype == np.float32
    assert data.one_hot(np.zeros((0,), int), 3).shape == (0, 3)
    assert data.one_hot(np.array([255], np.uint8)).shape == (1, 256)
    with pytest.raises(IndexError, match="expected 0..2, got 3 at \\(1,\\)"):
        data.one_hot([0, 3], 3)
    with pytest.raises(IndexError, match="got -1"):
        data.one_hot([-1, 1])
    with pytest.raises(TypeError, match="integers"):
        data.one_hot([0.0])
    with pytest.raises(ValueError, match="classes"):
        data.one_hot(np.zeros(0, int))
    with pytest.raises(ValueError, match="classes"):
        data.one_hot([0], 0)


@pytest.mark.parametrize("size", [0.25, 0.3, 1, 13, np.float32(0.5), np.int64(3)])
@pytest.mark.parametrize("stratify", [False, True])
def test_split_is_a_partition(size, stratify):
    x, y = np.arange(40), np.arange(40) % 3
    if stratify and size == 1:
        return
    parts = data.train_test_split(x, y, test_size=size, stratify=y if stratify else None, rng=0)
    x_train, x_test, y_train, y_test = parts
    expected = int(size) if size >= 1 else int(np.ceil(40 * size))
    assert len(x_test) == expected
    assert sorted([*x_train, *x_test]) == list(range(40))
    assert (y_train == x_train % 3).all()
    assert (y_test == x_test % 3).all()
    again = data.train_test_split(x, y, test_size=size, stratify=y if stratify else None, rng=0)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))
    other = data.train_test_split(x, test_size=size, rng=1)
    assert not (other[0] == x_train).all()
    if stratify:
        exact = np.bincount(y) * expected / 40
        assert (np.abs(np.bincount(y_test, minlength=3) - exact) < 1).all()
        assert (np.diff(x_test) < 0).any()  # shuffled, not sorted by label


def test_split_in_order_and_default():
    train, test = data.train_test_split(np.arange(8), shuffle=False)
    assert (train.tolist(), test.tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7])


@pytest.mark.parametrize(
    ("arrays", "options", "error", "text"),
    [
        ([], {}, ValueError, "at least one"),
        ([[1, 2], [1, 2, 3]], {}, ValueError, r"equal length.*\(2,\), \(3,\)"),
        ([5], {}, ValueError, "equal length"),
        ([[1]], {}, ValueError, "leave a part empty"),
        ([[1, 2]], {"test_size": 2}, ValueError, "leave a part empty"),
        ([[1, 2]], {"test_size": 0}, ValueError, "leave a part empty"),
        ([[1, 2]], {"test_size": -1}, ValueError, "leave a part empty"),
        ([[1, 2]], {"test_size": 1.0}, ValueError, "fraction"),
        ([[1, 2]], {"test_size": np.nan}, ValueError, "fraction"),
        ([[1, 2]], {"test_size": "a"}, TypeError, "int or float"),
        ([[1, 2]], {"test_size": True}, TypeError, "int or float"),
        ([[1, 2]], {"stratify": [0, 1], "shuffle": False}, ValueError, "shuffle=True"),
        ([[1, 2]], {"stratify": [0]}, ValueError, r"expected shape \(2,\)"),
        ([[1, 2, 3]], {"stratify": [0, 0, 1]}, ValueError, "label 1 occurs once"),
        ([[1, 2, 3, 4]], {"stratify": [0, 0, 1, 1], "test_size": 1}, ValueError, "do not fit"),
    ],
)
def test_split_errors(arrays, options, error, text):
    with pytest.raises(error, match=text):
        data.train_test_split(*arrays, **options)


# ---- loader


class Items:
    """A data set read item by item."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return np.full(2, index), index


def test_loader_order_and_shapes():
    x, y = np.arange(14).reshape(7, 2), np.arange(7)
    for dataset in ((x, y), ArrayDataset(x, y)):
        batches = list(DataLoader(dataset, 3))
        assert [len(b[0]) for b in batches] == [3, 3, 1]
        assert (np.concatenate([b[0] for b in batches]) == x).all()
        assert (np.concatenate([b[1] for b in batches]) == y).all()
    loader = DataLoader(x, 3, drop_last=True)
    assert len(loader) == 2 == len(list(loader))
    assert isinstance(next(iter(loader)), np.ndarray)
    assert len(DataLoader(x, 100)) == 1
    assert [b[1].tolist() for b in DataLoader(Items(), 4)] == [[0, 1, 2, 3], [4, 5, 6]]
    assert next(iter(DataLoader(Items(), 4)))[0].shape == (4, 2)
    assert list(DataLoader(Items(), 4, collate=len)) == [4, 3]
    assert [b.tolist() for b in DataLoader([1, 2, 3], 2)] == [[1, 2], [3]]


def test_loader_takes_a_dataset():
    from mlext.datasets import load_iris

    x, y = next(iter(DataLoader(load_iris(), 10)))
    assert (x.shape, y.shape) == ((10, 4), (10,))


def test_loader_shuffles_reproducibly():
    def epochs(seed, count=3):
        loader = DataLoader((np.arange(50),), 8, shuffle=True, rng=seed)
        return [np.concatenate([b[0] for b in loader]).tolist() for _ in range(count)]

    first = epochs(3)
    assert first == epochs(3)
    assert first != epochs(4)
    assert first[0] != first[1] != first[2]
    assert all(sorted(epoch) == list(range(50)) for epoch in first)
    assert first == epochs(np.random.default_rng(3))


def test_leaving_an_epoch_early_does_not_change_the_next():
    whole = DataLoader(np.arange(20), 3, shuffle=True, rng=0)
    epochs = [np.concatenate(list(whole)).tolist() for _ in range(2)]
    broken = DataLoader(np.arange(20), 3, shuffle=True, rng=0)
    for _ in broken:
        break
    assert np.concatenate(list(broken)).tolist() == epochs[1]


def noisy(x, rng):
    return x + rng.random(x.shape)


@pytest.mark.parametrize("kind", ["PCG64", "Philox"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stop", range(0, 13))
def test_resume_is_bit_exact(kind, shuffle, stop):
    def make(seed):
        rng = np.random.Generator(getattr(np.random, kind)(seed))
        x = np.arange(22, dtype=np.float64)
        return DataLoader((x, x), 6, shuffle, rng=rng, transform=noisy)

    loader, seen, state = make(1), [], None
    for epoch in range(3):
        if len(seen) == stop and state is None:
            state = json.dumps(loader.state_dict())
        for batch in loader:
            seen.append((epoch, *[part.tobytes() for part in batch]))
            if len(seen) == stop:
                state = json.dumps(loader.state_dict())
    if state is None:
        state = json.dumps(loader.state_dict())
    assert len(seen) == 12
    resumed = make(99)
    resumed.load_state_dict(json.loads(state))
    rest = []
    while resumed.epoch < 3:
        epoch = resumed.epoch
        rest += [(epoch, *[part.tobytes() for part in batch]) for batch in resumed]
    assert rest == seen[stop:]
    assert resumed.state_dict() == loader.state_dict()


def test_checkpoint_in_the_last_batch_ends_the_epoch_first():
    loader = DataLoader(np.arange(4), 2, rng=0)
    for _ in loader:
        state = loader.state_dict()
    other = DataLoader(np.arange(4), 2, rng=1)
    other.load_state_dict(state)
    assert list(other) == []
    assert other.epoch == 1
    assert len(list(other)) == 2


def test_transform_sees_each_batch_once():
    loader = DataLoader((np.zeros((10, 2)), np.arange(10)), 4, rng=0, transform=noisy)
    first = list(loader)
    assert [batch[1].tolist() for batch in first] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    values = np.concatenate([batch[0].ravel() for batch in first])
    assert len(np.unique(values)) == 20
    second = np.concatenate([batch[0].ravel() for batch in loader])
    assert not (values == second).any()


def test_two_iterations_at_once_are_refused():
    loader = DataLoader(np.arange(10), 2)
    first, second = iter(loader), iter(loader)
    next(second)
    with pytest.raises(RuntimeError, match="newer iteration"):
        next(first)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((np.zeros(3), 0), ValueError, "batch_size.*got 0"),
        ((np.zeros(3), -2), ValueError, "batch_size.*got -2"),
        ((np.zeros(3), 2.0), TypeError, "batch_size.*float 2.0"),
        ((np.zeros(3), True), TypeError, "batch_size.*bool"),
        ((np.zeros(3), None), TypeError, "batch_size"),
        ((np.zeros((0, 2)), 1), ValueError, "empty"),
        (([], 1), ValueError, "empty"),
        (((), 1), ValueError, "at least one array"),
        (((np.zeros(3), np.zeros(4)), 1), ValueError, r"equal length.*\(3,\), \(4,\)"),
        (((np.zeros(3), 1.0), 1), ValueError, "equal length"),
        ((5, 1), TypeError, "len and indexing, got int"),
        ((np.zeros(3), 4, False, True), ValueError, "less than one batch"),
    ],
)
def test_loader_errors(arguments, error, text):
    with pytest.raises(error, match=text):
        DataLoader(*arguments)


def test_loader_state_errors():
    loader = DataLoader(np.arange(10), 2, rng=0)
    state = loader.state_dict()
    for change, text in (
        ({"size": 9}, "size is 10, but 9"),
        ({"batch_size": 3}, "batch_size is 2, but 3"),
        ({"position": 6}, "position 6 of 5"),
        ({"position": -1}, "position -1"),
    ):
        with pytest.raises(ValueError, match=text):
            loader.load_state_dict({**state, **change})
    with pytest.raises(ValueError, match="lacks rng"):
        loader.load_state_dict({k: v for k, v in state.items() if k != "rng"})


# ---- augmentation

SHAPES = [(4, 6, 5), (4, 6, 5, 3), (1, 1, 1, 1), (0, 6, 5, 3)]
DTYPES = [np.uint8, np.float32, np.float64, np.int16]
CHANGES = [
    data.RandomFlip(True, True),
    data.RandomShift(2),
    data.RandomShift((0, 3)),
    data.RandomRotation(30),
    data.RandomZoom(0.5, 2),
    data.GaussianNoise(3),
    data.Compose(data.RandomFlip(), data.RandomShift(1), data.GaussianNoise(1)),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: type(c).__name__)
def test_changes_keep_shape_and_dtype_and_are_reproducible(change, shape, dtype):
    x = (RNG.random(shape) * 255).astype(dtype)
    before = x.copy()
    first = change(x, np.random.default_rng(1))
    assert (first.shape, first.dtype) == (shape, dtype)
    assert (x == before).all()
    assert (first == change(x, np.random.default_rng(1))).all()
    assert not np.shares_memory(first, x)
    if len(x) > 1:
        assert not (first == x).all()


def test_flip():
    x = RNG.random((4, 3, 2, 1))
    assert (data.flip(x) == x[:, :, ::-1]).all()
    assert (data.flip(x, horizontal=False, vertical=True) == x[:, ::-1]).all()
    some = data.flip(x, horizontal=[True, False, True, False])
    assert (some[::2] == x[::2, :, ::-1]).all()
    assert (some[1::2] == x[1::2]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (1, 0), (-2, 3), (0, -4), (6, 0), (0, 99)])
def test_shift_by_whole_pixels_is_exact(dtype, dy, dx):
    x = (RNG.random((3, 6, 5, 2)) * 255).astype(dtype)
    expected = np.full_like(x, 7)
    for r in range(6):
        for c in range(5):
            if 0 <= r - dy < 6 and 0 <= c - dx < 5:
                expected[:, r, c] = x[:, r - dy, c - dx]
    assert (data.shift(x, dy, dx, fill=7) == expected).all()


def test_shift_per_image_and_by_halves():
    x = RNG.random((2, 4, 4))
    moved = data.shift(x, dx=[1, 0])
    assert (moved[0, :, 1:] == x[0, :, :-1]).all()
    assert (moved[1] == x[1]).all()
    half = data.shift(x, dx=0.5)
    assert np.allclose(half[:, :, 1:], (x[:, :, 1:] + x[:, :, :-1]) / 2, rtol=0, atol=1e-15)
    assert np.allclose(half[:, :, 0], x[:, :, 0] / 2, rtol=0, atol=1e-15)


@pytest.mark.parametrize("turns", [1, 2, 3, 4, -1])
def test_right_angles_are_rot90(turns):
    x = RNG.integers(0, 256, (3, 7, 7, 2)).astype(np.uint8)
    assert (data.rotate(x, 90 * turns) == np.rot90(x, turns, axes=(1, 2))).all()


@pytest.mark.parametrize("angle", [10, -33, 200])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.6])
def test_warp_equals_scipy(angle, factor):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = RNG.random((2, 9, 12))
    t = np.deg2rad(angle)
    centre = (np.array(x.shape[1:]) - 1) / 2
    for got, matrix in (
        (data.rotate(x, angle), np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])),
        (data.zoom(x, factor), np.eye(2) / factor),
    ):
        for i in range(2):
            expected = ndimage.affine_transform(x[i], matrix, centre - matrix @ centre, order=1, mode="grid-constant")
            assert (np.abs(got[i] - expected) <= 1e-12).all()


def test_noise_statistics():
    noise = data.add_noise(np.zeros((10, 50, 50)), 2.0, np.random.default_rng(0))
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 2) < 0.05
    clipped = data.add_noise(np.full((2, 50, 50), 250, np.uint8), 20, np.random.default_rng(0))
    assert clipped.max() == 255
    assert clipped.min() > 150  # clipped, not wrapped around


def test_random_ranges():
    x = np.zeros((2000, 9, 9), np.float32)
    x[:, 4, 4] = 1
    moved = data.RandomShift((1, 3))(x, np.random.default_rng(0))
    where = np.argwhere(moved == 1)
    assert set(where[:, 1]) == {3, 4, 5}
    assert set(where[:, 2]) == set(range(1, 8))
    x[:, 4, 4], x[:, 4, 0] = 0, 1
    flipped = data.RandomFlip(p=0.25)(x, np.random.default_rng(0))[:, 4, 8].mean()
    assert abs(flipped - 0.25) < 0.04
    assert (data.RandomFlip(p=0)(x, np.random.default_rng(0)) == x).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: data.flip(np.zeros((3, 3))), ValueError, r"\(N, H, W\)"),
        (lambda: data.flip(np.zeros((3, 3, 3), bool)), TypeError, "expected numbers"),
        (lambda: data.flip(np.zeros((3, 3, 3)), horizontal=[True]), ValueError, "horizontal"),
        (lambda: data.shift(np.zeros((3, 3, 3)), np.nan), ValueError, "'dy'.*finite"),
        (lambda: data.rotate(np.zeros((3, 3, 3)), [1, 2]), ValueError, "'degrees'.*(3,)"),
        (lambda: data.zoom(np.zeros((3, 3, 3)), 0), ValueError, "'factor'.*> 0"),
        (lambda: data.GaussianNoise(-1), ValueError, "'std'"),
        (lambda: data.GaussianNoise(np.nan), ValueError, "'std'"),
        (lambda: data.RandomFlip(p=1.5), ValueError, "'p'"),
        (lambda: data.RandomShift(-1), ValueError, "'pixels'"),
        (lambda: data.RandomShift((1, 2, 3)), ValueError, "'pixels'"),
        (lambda: data.RandomRotation(np.inf), ValueError, "'degrees'"),
        (lambda: data.RandomZoom(0, 1), ValueError, "low"),
        (lambda: data.RandomZoom(2, 1), ValueError, "low"),
        (lambda: data.Compose(3), TypeError, "change 0"),
    ],
)
def test_augmentation_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
