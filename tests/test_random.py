import math

import numpy as np
import pytest

from mlext import _C

LEVELS = _C.levels()
N = 200_000


def make_state(*values: int) -> _C.Array:
    """Key, counter and perhaps the counter's upper half, as unsigned 64-bit numbers."""
    return _C.Array(np.array(values, dtype=np.uint64).view(np.int64))


def words(*halves: int) -> int:
    return halves[0] | halves[1] << 32


# Random123's known answers for philox4x32-10: counter, key, result.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(level, counter, key, expected):
    state = make_state(words(*key), words(*counter[:2]), words(*counter[2:]))
    out = _C.random_bits(state, (4,)).numpy().view(np.uint32)
    assert out.tolist() == expected


def philox(key: int, counter: np.ndarray) -> np.ndarray:
    """Philox4x32-10 of counters (n,) in NumPy: (n, 4) words."""
    mask = np.uint64(0xFFFFFFFF)
    x = [counter & mask, counter >> np.uint64(32), np.zeros_like(counter), np.zeros_like(counter)]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p0, p1 = x[0] * np.uint64(0xD2511F53), x[2] * np.uint64(0xCD9E8D57)
        x = [
            (p1 >> np.uint64(32)) ^ x[1] ^ np.uint64(k[0]),
            p1 & mask,
            (p0 >> np.uint64(32)) ^ x[3] ^ np.uint64(k[1]),
            p0 & mask,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(x, axis=-1).astype(np.uint32)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 17, 255, 256, 257, 1023, 40_000])
def test_bits_are_the_sequence(level, n):
    key, start = 0x123456789ABCDEF0, 2**32 - 5  # the counter carries into its second word
    state = make_state(key, start)
    out = _C.random_bits(state, (n,)).numpy().view(np.uint32)
    blocks = (n + 3) // 4
    counters = np.uint64(start) + np.arange(blocks, dtype=np.uint64)
    assert np.array_equal(out, philox(key, counters).ravel()[:n])
    assert state.numpy()[1] == start + blocks


DRAWS = {
    "bits": lambda s, n: _C.random_bits(s, (n,)),
    "uniform32": lambda s, n: _C.random_uniform(s, (n,), -0.3, 1.7, "float32"),
    "uniform64": lambda s, n: _C.random_uniform(s, (n,), -0.3, 1.7, "float64"),
    "uniform_bf16": lambda s, n: _C.random_uniform(s, (n,), 0.0, 1.0, "bfloat16"),
    "normal32": lambda s, n: _C.random_normal(s, (n,), 0.1, 1.3, "float32"),
    "normal64": lambda s, n: _C.random_normal(s, (n,), 0.1, 1.3, "float64"),
    "normal_f16": lambda s, n: _C.random_normal(s, (n,), 0.0, 1.0, "float16"),
    "truncated": lambda s, n: _C.random_truncated_normal(s, (n,), 0.0, 1.0, -2.0, 2.0, "float32"),
    "bernoulli": lambda s, n: _C.random_bernoulli(s, (n,), 0.3, "bool"),
    "integers": lambda s, n: _C.random_integers(s, (n,), -3, 10),
    "permutation": lambda s, n: _C.random_permutation(s, n),
}


def hashed(name: str, n: int = 70_001) -> bytes:
    return DRAWS[name](make_state(7, 100), n).numpy().tobytes()


@pytest.mark.parametrize("name", DRAWS)
def test_same_bits_at_every_level_and_thread_count(name):
    before, threads = _C.get_isa(), _C.get_num_threads()
    seen = set()
    for isa in LEVELS:
        for count in (1, 2, 5):
            _C.set_isa(isa)
            _C.set_num_threads(count)
            seen.add(hashed(name))
    _C.set_isa(before)
    _C.set_num_threads(threads)
    assert len(seen) == 1


# A permutation of n is not the beginning of a longer one.
@pytest.mark.parametrize("name", [name for name in DRAWS if name != "permutation"])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 31, 256, 300])
def test_a_shorter_draw_is_a_prefix_and_the_state_moves_on(level, name, n):
    state = make_state(7, 100)
    short = DRAWS[name](state, n).numpy()
    assert np.array_equal(short, DRAWS[name](make_state(7, 100), 1000).numpy()[:n])
    if n >= 31:
        assert not np.array_equal(short, DRAWS[name](state, n).numpy())


def test_replay_gives_fresh_numbers():
    state = make_state(1, 0)
    program = _C.Program()
    program.begin()
    out = _C.random_uniform(state, (64,), 0.0, 1.0, "float32")
    program.end()
    first = out.numpy().copy()
    program.replay()
    second = out.numpy().copy()
    assert not np.array_equal(first, second)
    both = _C.random_uniform(make_state(1, 0), (128,), 0.0, 1.0, "float32").numpy()
    assert np.array_equal(np.concatenate([first, second]), both)


def ks_distance(sample: np.ndarray, cdf: np.ndarray) -> float:
    """Largest distance between the empirical distribution and cdf at the sorted sample."""
    n = len(sample)
    steps = np.arange(n + 1) / n
    return float(np.maximum(np.abs(cdf - steps[:-1]), np.abs(cdf - steps[1:])).max())


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


# The Kolmogorov-Smirnov statistic exceeds this with probability 1e-6; the numbers are fixed, so it
# never flickers.
KS_LIMIT = 2.7 / math.sqrt(N)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_distribution(level, dtype):
    x = _C.random_uniform(make_state(3, 0), (N,), -2.0, 5.0, dtype).numpy().astype(np.float64)
    assert x.min() >= -2
    assert x.max() < 5
    assert ks_distance(np.sort(x), (np.sort(x) + 2) / 7) < KS_LIMIT
    assert abs(x.mean() - 1.5) < 5 * 7 / math.sqrt(12 * N)
    lagged = np.corrcoef(x[:-1], x[1:])[0, 1]
    assert abs(lagged) < 5 / math.sqrt(N)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_values_are_the_bits(level, dtype):
    bits = _C.random_bits(make_state(3, 0), (1000,)).numpy().view(np.uint32)
    x = _C.random_uniform(make_state(3, 0), (500,), 0.0, 1.0, dtype).numpy()
    if dtype == "float32":
        expected = (bits[:500] >> 8).astype(np.float64) * 2.0**-24
    else:
        expected = (bits.view(np.uint64) >> np.uint64(12)).astype(np.float64) * 2.0**-52
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_never_reaches_high(level, dtype):
    # One unit in the last place wide: half of all sums round up.
    low, high = 1.0, 1.0 + 2.0 ** (-22 if dtype == "float32" else -51)
    x = _C.random_uniform(make_state(3, 0), (4096,), low, high, dtype).numpy()
    assert (x >= low).all()
    assert (x < high).all()
    assert (_C.random_uniform(make_state(3, 0), (5,), 2.0, 2.0, dtype).numpy() == 2).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_distribution(level, dtype):
    x = _C.random_normal(make_state(5, 0), (N,), 0.0, 1.0, dtype).numpy().astype(np.float64)
    assert ks_distance(np.sort(x), normal_cdf(np.sort(x))) < KS_LIMIT
    assert abs(x.mean()) < 5 / math.sqrt(N)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / N)
    assert abs((x**3).mean()) < 5 * math.sqrt(15 / N)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / N)
    # Both numbers of a pair share a radius; their product must not show it.
    assert abs((x[::2] * x[1::2]).mean()) < 5 / math.sqrt(N / 2)
    assert abs(np.corrcoef(np.abs(x[::2]), np.abs(x[1::2]))[0, 1]) < 5 / math.sqrt(N / 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_is_box_muller(level, dtype):
    bits = _C.random_bits(make_state(5, 0), (8192,)).numpy().view(np.uint32)
    if dtype == "float32":
        x = _C.random_normal(make_state(5, 0), (8192,), 0.0, 1.0, dtype).numpy()
        u = ((bits[0::2] >> 1).astype(np.float64) + 0.5) * 2.0**-31
        turn = (bits[1::2] >> 8).astype(np.float64) * 2.0**-24
    else:
        x = _C.random_normal(make_state(5, 0), (4096,), 0.0, 1.0, dtype).numpy()
        units = (bits.view(np.uint64) >> np.uint64(12)).astype(np.float64) * 2.0**-52
        u, turn = units[0::2] + 2.0**-53, units[1::2]
    # Near u = 1 the radius depends on the last bits of u: the oracle rounds u as the kernel does.
    r = np.sqrt(-2 * np.log(u.astype(dtype).astype(np.float64)))
    tolerance = 40 * np.finfo(dtype).eps
    for got, wave in ((x[0::2], np.cos), (x[1::2], np.sin)):
        error = np.abs(got - r * wave(2 * np.pi * turn))
        assert (error <= tolerance * np.maximum(r, 1e-3)).all()


def test_normal_mean_and_std(level):
    z = _C.random_normal(make_state(5, 0), (1000,), 0.0, 1.0, "float64").numpy()
    x = _C.random_normal(make_state(5, 0), (1000,), -3.0, 0.25, "float64").numpy()
    assert np.array_equal(x, z * 0.25 - 3.0)
    assert (_C.random_normal(make_state(5, 0), (9,), 4.0, 0.0, "float32").numpy() == 4).all()


@pytest.mark.parametrize(
    ("low", "high"),
    [(-2.0, 2.0), (0.5, 3.0), (-9.0, -4.0), (6.0, 7.0), (-math.inf, 0.3), (-math.inf, math.inf)],
)
def test_truncated_normal(low, high):
    x = np.sort(_C.random_truncated_normal(make_state(5, 0), (20_000,), 0.0, 1.0, low, high, "float64").numpy())
    assert x[0] >= low
    assert x[-1] <= high
    if low > 0:  # the upper tail, where the probabilities have their digits
        tail = normal_cdf(-x)
        top, bottom = normal_cdf(np.array([-low, -high]))
        cdf = (top - tail) / (top - bottom)
    else:
        ends = normal_cdf(np.array([low, high]))
        cdf = (normal_cdf(x) - ends[0]) / (ends[1] - ends[0])
    assert ks_distance(x, cdf) < 2.7 / math.sqrt(20_000)


def test_truncated_normal_far_out_and_scaled():
    far = _C.random_truncated_normal(make_state(5, 0), (100,), 0.0, 1.0, 50.0, 51.0, "float32").numpy()
    assert ((far >= 50) & (far <= 51)).all()
    x = _C.random_truncated_normal(make_state(5, 0), (1000,), 10.0, 0.02, 9.96, 10.04, "float32").numpy()
    assert ((x >= np.float32(9.96)) & (x <= np.float32(10.04))).all()
    assert abs(x.mean() - 10) < 0.003


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("dtype", ["bool", "float32", "float16", "int64"])
def test_bernoulli(level, p, dtype):
    x = _C.random_bernoulli(make_state(5, 0), (N,), p, dtype).numpy().astype(np.float64)
    assert set(np.unique(x)) <= {0.0, 1.0}
    assert abs(x.mean() - p) <= 5 * math.sqrt(p * (1 - p) / N)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 2), (-3, 4), (10, 1010), (-(2**62), 2**62)])
def test_integers_are_uniform(level, low, high):
    x = _C.random_integers(make_state(5, 0), (N,), low, high).numpy()
    assert x.dtype == np.int64
    assert x.min() >= low
    assert x.max() < high
    bins = min(high - low, 1000)
    places = (x.astype(object) - low) * bins // (high - low)
    counts = np.bincount(places.astype(np.int64), minlength=bins)
    chi_square = float(((counts - N / bins) ** 2 / (N / bins)).sum())
    assert abs(chi_square - (bins - 1)) <= 6 * math.sqrt(2 * (bins - 1))


def test_integers_reject_without_bias():
    # A quarter of all 64-bit draws falls into the unfair part: a generator that forgot it would
    # favour a third of the results.
    high = 3 * 2**61
    x = _C.random_integers(make_state(5, 0), (N,), -(2**62), high - 2**62).numpy()
    thirds = np.bincount((x.astype(object) + 2**62) % 3 == 0, minlength=2)
    assert abs(thirds[1] / N - 1 / 3) < 5 * math.sqrt(2 / 9 / N)
    halves = (x.astype(object) + 2**62 < high // 2).mean()
    assert abs(halves - 0.5) < 5 * 0.5 / math.sqrt(N)


def test_integers_cover_the_whole_range():
    x = _C.random_integers(make_state(5, 0), (1000,), -(2**63), 2**63 - 1).numpy()
    assert (x < 0).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("n", [0, 1, 2, 10, 1000, 100_000])
def test_permutation(level, n):
    x = _C.random_permutation(make_state(5, 0), n).numpy()
    assert np.array_equal(np.sort(x), np.arange(n))


def test_permutations_are_equally_likely():
    state = make_state(5, 0)
    counts: dict[tuple[int, ...], int] = {}
    draws = 24_000
    for _ in range(draws):
        key = tuple(_C.random_permutation(state, 4).numpy().tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 24
    chi_square = sum((c - draws / 24) ** 2 / (draws / 24) for c in counts.values())
    assert abs(chi_square - 23) <= 6 * math.sqrt(46)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [0, 1, 100, 20_001])
def test_dropout(level, dtype, p, n):
    x = _C.cast(_C.Array(np.linspace(1, 2, n)), dtype)
    y, mask = _C.dropout(x, p, make_state(9, 0))
    kept = mask.numpy()
    assert kept.dtype == np.bool_
    scale = 1 / (1 - p) if p < 1 else 0.0
    expected = np.where(kept, x.numpy().astype(np.float64) * scale, 0)
    tolerance = {"float32": 2e-7, "float64": 1e-15, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    assert (np.abs(y.numpy() - expected) <= tolerance * np.abs(expected)).all()
    assert abs(kept.sum() - n * (1 - p)) <= 5 * math.sqrt(n * p * (1 - p))
    g = _C.dropout_backward(x, mask, p)
    assert g.dtype == x.dtype
    assert np.array_equal(g.numpy(), y.numpy())


def test_dropout_of_a_strided_array_and_of_nan(level):
    x = np.arange(600, dtype=np.float32).reshape(20, 30)
    for view in (x.T, x[:, ::3], x[::-1], np.broadcast_to(x[0], (7, 30))):
        y, _ = _C.dropout(view, 0.5, make_state(9, 0))
        again, _ = _C.dropout(np.ascontiguousarray(view), 0.5, make_state(9, 0))
        assert np.array_equal(y.numpy(), again.numpy())
    bad = _C.Array(np.full(1000, np.nan, np.float32))
    y, mask = _C.dropout(bad, 0.5, make_state(9, 0))
    assert np.array_equal(np.isnan(y.numpy()), mask.numpy())
    assert (_C.dropout(bad, 1.0, make_state(9, 0))[0].numpy() == 0).all()


@pytest.mark.parametrize("p", [1.5, -0.1, math.nan, math.inf])
def test_probabilities_are_checked(p):
    x = _C.Array(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="dropout: argument 'p'"):
        _C.dropout(x, p, make_state(1, 0))
    with pytest.raises(ValueError, match="dropout_backward: argument 'p'"):
        _C.dropout_backward(x, _C.Array(np.ones(3, bool)), p)
    with pytest.raises(ValueError, match="random_bernoulli: argument 'p'"):
        _C.random_bernoulli(make_state(1, 0), (3,), p, "bool")


def test_arguments_are_checked():
    state = make_state(1, 0)
    with pytest.raises(TypeError, match="'state': expected a Tensor"):
        _C.random_bits(np.zeros(2, np.int64), (3,))
    with pytest.raises(TypeError, match="'state': expected int64"):
        _C.random_bits(_C.Array(np.zeros(2, np.int32)), (3,))
    with pytest.raises(ValueError, match="'state': expected shape"):
        _C.random_bits(_C.Array(np.zeros(4, np.int64)), (3,))
    with pytest.raises(ValueError, match="expected sizes of 0 or more"):
        _C.random_bits(state, (-1, 3))
    with pytest.raises(TypeError, match="'dtype'"):
        _C.random_uniform(state, (3,), 0.0, 1.0, "int64")
    with pytest.raises(ValueError, match="'high'"):
        _C.random_uniform(state, (3,), 1.0, 0.0, "float32")
    with pytest.raises(ValueError, match="'high'"):
        _C.random_uniform(state, (3,), -3e38, 3e38, "float32")
    with pytest.raises(ValueError, match="'std'"):
        _C.random_normal(state, (3,), 0.0, math.nan, "float32")
    with pytest.raises(ValueError, match="'high'"):
        _C.random_integers(state, (3,), 4, 4)
    with pytest.raises(ValueError, match="'n'"):
        _C.random_permutation(state, -1)
    with pytest.raises(ValueError, match="'high'"):
        _C.random_truncated_normal(state, (3,), 0.0, 1.0, 2.0, -2.0, "float32")
    assert state.numpy()[1] == 0
