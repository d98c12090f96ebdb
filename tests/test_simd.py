"""csrc/simd at every ISA level: each vector operation against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from _simd_tools import (
    LEVELS,
    TYPES,
    Array,
    GuardedPage,
    as_int,
    from_int,
    lanes_of,
    run,
    same_bits,
    special_values,
)
from mlext import _C


def sample(dtype: Any, n: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    special = special_values(dtype)
    values = (rng.standard_normal(n) * 10.0 ** rng.integers(-3, 4, n)).astype(dtype)
    return np.where(rng.random(n) < 0.3, rng.choice(special, n), values)


def logical_shift(x: Array) -> Array:
    unsigned = x.view(np.uint32 if x.itemsize == 4 else np.uint64)
    return (unsigned >> 3).view(x.dtype)


def nan_first(pick: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda x, y: np.where(np.isnan(x), x, np.where(np.isnan(y), y, pick(x, y)))


def number(condition: Array, like: Array) -> Array:
    return np.asarray(condition).astype(like.dtype)


Op = Callable[..., Array]
OPS: dict[str, Op] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "min": lambda x, y: np.where(x < y, x, y),
    "max": lambda x, y: np.where(x > y, x, y),
    "min_nan": nan_first(lambda x, y: np.where(x < y, x, y)),
    "max_nan": nan_first(lambda x, y: np.where(x > y, x, y)),
    "abs": np.abs,
    "sqrt": np.sqrt,
    "round": np.rint,
    "floor": np.floor,
    "copysign": np.copysign,
    "xorsign": lambda x, y: np.where(np.signbit(y), -x, x),
    "sign_of": lambda x: np.copysign(np.zeros_like(x), x),
    "lt": lambda x, y: number(x < y, x),
    "le": lambda x, y: number(x <= y, x),
    "gt": lambda x, y: number(x > y, x),
    "ge": lambda x, y: number(x >= y, x),
    "eq": lambda x, y: number(x == y, x),
    "ne": lambda x, y: number(x != y, x),
    "is_nan": lambda x: number(np.isnan(x), x),
    "select": lambda x, y, z: np.where(x < y, y, z),
    "mask_and": lambda x, y, z: number((x < y) & (y < z), x),
    "mask_or": lambda x, y, z: number((x < y) | (y < z), x),
    "mask_xor": lambda x, y, z: number((x < y) ^ (y < z), x),
    "mask_not": lambda x, y: number(~(x < y), x),
    "int_add": lambda x, y: from_int(as_int(x) + as_int(y)),
    "int_sub": lambda x, y: from_int(as_int(x) - as_int(y)),
    "int_and": lambda x, y: from_int(as_int(x) & as_int(y)),
    "int_or": lambda x, y: from_int(as_int(x) | as_int(y)),
    "int_xor": lambda x, y: from_int(as_int(x) ^ as_int(y)),
    "int_not": lambda x: from_int(~as_int(x)),
    "int_shl": lambda x: from_int(as_int(x) << 3),
    "int_sar": lambda x: from_int(as_int(x) >> 3),
    "int_shr": logical_shift,
    "int_eq": lambda x, y: number(as_int(x) == as_int(y), x),
    "int_gt": lambda x, y: number(as_int(x) > as_int(y), x),
    "int_lt": lambda x, y: number(as_int(x) < as_int(y), x),
    "int_select": lambda x, y, z: np.where(x < y, y, z),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", OPS)
def test_operation(level: str, op: str, dtype: Any, pages: list[GuardedPage]) -> None:
    """Every length around one and two vectors, every buffer ending at a guard page."""
    arity = OPS[op].__code__.co_argcount if hasattr(OPS[op], "__code__") else 2 if op == "copysign" else 1
    lanes = lanes_of(level, dtype)
    for n in [*range(2 * lanes + 2), 250]:
        operands = [pages[k].end(sample(dtype, n, 100 * n + k)) for k in range(arity)]
        out = pages[3].end(np.full(n, 7, dtype))
        _C._simd(level, op, out, *operands)
        with np.errstate(all="ignore"):
            assert same_bits(out, OPS[op](*operands)), n


@pytest.mark.parametrize("dtype", TYPES)
def test_fma(level: str, dtype: Any) -> None:
    """Fused where the level says so: the product is exact in twice the precision."""
    rng = np.random.default_rng(0)
    wide = np.longdouble if dtype is np.float64 else np.float64
    x, y, z = (rng.standard_normal(1003).astype(dtype) for _ in range(3))
    if dtype is np.float64:  # products of these fit into the 64 bits of a longdouble
        x, y = x.astype(np.float32).astype(dtype), y.astype(np.float32).astype(dtype)
    fused = (x.astype(wide) * y.astype(wide) + z.astype(wide)).astype(dtype)
    got = run(level, "fma", x, y, z)
    if level == "portable":
        assert same_bits(got, x * y + z) or same_bits(got, fused)
    else:
        assert (np.abs(got - fused) <= np.spacing(np.abs(fused)) * 1e-3).all()


def tree(x: Array, op: Callable[[Array, Array], Array]) -> Array:
    distance = len(x) // 2
    while distance:
        x = op(x, x[np.arange(len(x)) ^ distance])
        distance //= 2
    return x


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("op", "pick"),
    [
        ("reduce_add", np.add),
        ("reduce_max", nan_first(lambda x, y: np.where(x > y, x, y))),
        ("reduce_min", nan_first(lambda x, y: np.where(x < y, x, y))),
    ],
)
def test_reduction_order(level: str, op: str, pick: Any, dtype: Any) -> None:
    lanes = lanes_of(level, dtype)
    for seed in range(50):
        x = sample(dtype, lanes, seed)
        with np.errstate(all="ignore"):
            assert same_bits(run(level, op, x)[:1], tree(x, pick)[:1])


@pytest.mark.parametrize("dtype", TYPES)
def test_partial_lanes(level: str, dtype: Any, pages: list[GuardedPage]) -> None:
    """Lanes past n are zero or the fill value; Mask::first(n) has n bits; any, all, bits."""
    lanes = lanes_of(level, dtype)
    for n in range(1, lanes + 1):
        x = pages[0].end(np.arange(1, n + 1).astype(dtype))
        total = n * (n + 1) // 2
        assert (run(level, "load_zeros", x) == total).all()
        assert (run(level, "load_ones", x) == total + lanes - n).all()
        assert (run(level, "mask_first", x) == 2**n - 1).all()
    rng = np.random.default_rng(1)
    for _ in range(50):
        x = rng.integers(0, 3, lanes).astype(dtype)
        y = np.full(lanes, rng.integers(0, 4)).astype(dtype)
        less = x < y
        assert (run(level, "mask_bits", x, y) == int((less * 2 ** np.arange(lanes)).sum())).all()
        assert (run(level, "any", x, y) == less.any()).all()
        assert (run(level, "all", x, y) == less.all()).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_integers(level: str, dtype: Any) -> None:
    limit = 2**22 if dtype is np.float32 else 2**51
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.integers(-limit + 1, limit, 500), [0, 1, -1, limit - 1, 1 - limit]])
    assert (as_int(run(level, "to_int", x.astype(dtype))) == x).all()
    assert (run(level, "to_float", from_int(x.astype(as_int(np.zeros(1, dtype)).dtype))) == x).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_scale_rounds_once(level: str, dtype: Any) -> None:
    limit = 160 if dtype is np.float32 else 1100
    rng = np.random.default_rng(3)
    x = (rng.uniform(0.25, 4, 4000) * rng.choice([-1, 1], 4000)).astype(dtype)
    n = rng.integers(-limit, limit + 1, 4000)
    with np.errstate(all="ignore"):
        assert same_bits(run(level, "scale", x, n.astype(dtype)), np.ldexp(x, n))


@pytest.mark.parametrize("dtype", TYPES)
def test_stream(level: str, dtype: Any) -> None:
    memory = np.zeros(4096 // np.dtype(dtype).itemsize + 16, dtype)
    skip = -memory.ctypes.data % 64 // memory.itemsize
    out = memory[skip : skip + 1024 // memory.itemsize * 2]
    x = sample(dtype, len(out), 5)
    _C._simd(level, "stream", out, x)
    assert same_bits(out, x)


# ---- conversions ---------------------------------------------------------------------------------


def bf16_to_float(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float_to_bf16(x: Array) -> Array:
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), bits >> 16 | 0x40, rounded).astype(np.uint16)


def conversion_input(source: Any, n: int) -> Array:
    rng = np.random.default_rng(n)
    if source is np.bool_:
        return rng.integers(0, 2, n).astype(bool)
    if np.issubdtype(source, np.integer):
        info = np.iinfo(source)
        return rng.integers(info.min, info.max, n, dtype=source, endpoint=True)
    return sample(source, n, n)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *[(s, np.float32) for s in (np.float32, np.float16, np.int8, np.uint8, np.bool_, np.int32)],
        *[(s, np.float64) for s in (np.float64, np.float32, np.int32, np.int64)],
        (np.float32, np.float16),
        (np.float64, np.float32),
    ],
)
def test_conversion(level: str, source: Any, target: Any, pages: list[GuardedPage]) -> None:
    for n in [*range(35), 301]:
        x = pages[0].end(conversion_input(source, n))
        out = pages[1].end(np.zeros(n, target))
        _C._simd(level, "convert", out, x)
        with np.errstate(all="ignore"):
            assert same_bits(out, x.astype(target)), n


def test_bfloat16(level: str, pages: list[GuardedPage]) -> None:
    every = np.arange(1 << 16).astype(np.uint16)
    assert same_bits(run(level, "convert", every, dtype=np.float32), bf16_to_float(every))
    for n in range(35):
        x = pages[0].end(sample(np.float32, n, n))
        out = pages[1].end(np.zeros(n, np.uint16))
        _C._simd(level, "convert", out, x)
        assert (out == float_to_bf16(x)).all()
        back = pages[2].end(np.zeros(n, np.float32))
        _C._simd(level, "convert", back, out)
        assert same_bits(back, bf16_to_float(out))


def test_half_rounding(level: str) -> None:
    """All float16 values; float32 ones at and next to every rounding boundary of both formats."""
    every = np.arange(1 << 16).astype(np.uint16).view(np.float16)
    wide = run(level, "convert", every, dtype=np.float32)
    with np.errstate(all="ignore"):
        assert same_bits(wide, every.astype(np.float32))
    for bits in (13, 16):
        base = (np.arange(1 << (32 - bits), dtype=np.uint64) << bits)[:, None]
        offsets = np.array(
            [0, 1, 2 ** (bits - 1) - 1, 2 ** (bits - 1), 2 ** (bits - 1) + 1, 2**bits - 1],
            np.uint64,
        )
        x = (base + offsets).ravel().astype(np.uint32).view(np.float32)
        assert (run(level, "convert", x, dtype=np.uint16) == float_to_bf16(x)).all()
        with np.errstate(all="ignore"):
            assert same_bits(run(level, "convert", x, dtype=np.float16), x.astype(np.float16))


# ---- the door ------------------------------------------------------------------------------------


def test_refusals() -> None:
    x = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="level"):
        _C._simd("avx1024", "exp", x, x)
    with pytest.raises(ValueError, match="'op'"):
        _C._simd(LEVELS[0], "nonsense", x, x)
    with pytest.raises(ValueError, match="'b'"):
        _C._simd(LEVELS[0], "add", x, x)
    with pytest.raises(TypeError, match="'b'"):
        _C._simd(LEVELS[0], "add", x, x, x.astype(np.float64))
