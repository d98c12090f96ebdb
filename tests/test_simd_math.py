"""csrc/simd at every ISA level: the error of each math function against a wider oracle."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext.functional as F
from _simd_tools import LEVELS, TYPES, Array, as_int, from_int, run, same_bits, special_values

Op = Callable[..., Array]

# The largest error of each math function in units in the last place, over all levels.
# csrc/simd/math.h states the same.
MAX_ULP: dict[str, tuple[float, float]] = {
    #              float32 float64
    "exp": (1.0, 1.1),
    "exp2": (1.2, 1.2),
    "expm1": (1.7, 1.6),
    "log": (1.0, 1.0),
    "log2": (1.5, 1.5),
    "log1p": (1.2, 1.2),
    "tanh": (1.7, 1.7),
    "sigmoid": (1.9, 1.9),
    "erf": (1.4, 1.4),
    "sin": (1.0, 1.0),
    "cos": (1.0, 1.0),
    "pow": (1.3, 1.3),
    "softplus": (1.7, 1.7),
    "normal_cdf": (4.5, 4.5),
    "gelu": (3.5, 3.5),
    "gelu_tanh": (3.5, 3.5),
}


# ---- math functions ------------------------------------------------------------------------------


def erf_oracle(x: Array) -> Array:
    """erf by its series of positive terms, 2/sqrt(pi) exp(-x^2) sum 2^k x^(2k+1) / (2k+1)!!."""
    a = np.minimum(np.abs(x), x.dtype.type(7))
    term = a.copy()
    total = a.copy()
    for k in range(1, 180):
        term = term * (2 * a * a) / (2 * k + 1)
        total += term
    two_over_root_pi = x.dtype.type(2) / np.sqrt(np.arctan(x.dtype.type(1)) * 4)
    return np.copysign(two_over_root_pi * np.exp(-a * a) * total, x)


def upper_tail(a: Array) -> Array:
    """P(X > a) of the normal distribution: by erf below 2.5, by its continued fraction above."""
    one = a.dtype.type(1)
    root_half = np.sqrt(one / 2)
    small = (one - erf_oracle(a * root_half)) / 2
    b = np.clip(a, 2.5, 60)
    fraction = b.copy()
    for k in range(300, 0, -1):
        fraction = b + k / fraction
    density = np.exp(-b * b / 2) / np.sqrt(8 * np.arctan(one))
    return np.where(a < 2.5, small, density / fraction)


def normal_oracle(x: Array) -> Array:
    tail = upper_tail(np.abs(x))
    return np.where(np.isnan(x), x, np.where(x > 0, 1 - tail, tail))


def sigmoid_oracle(x: Array) -> Array:
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, 1) / (1 + z)


def gelu_oracle(x: Array) -> Array:
    bounded = np.maximum(x, -60)
    return np.where(x < -60, -0.0, bounded * normal_oracle(bounded))


def gelu_tanh_oracle(x: Array) -> Array:
    t = x.dtype.type
    c = np.sqrt(t(2) / (4 * np.arctan(t(1)))) * 2
    a = np.clip(x, -60, 60)
    scaled = a * sigmoid_oracle(c * (a + t("0.044715") * a * a * a))
    return np.where(x > 60, x, np.where(x < -60, -0.0, scaled))


def softplus_oracle(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


ORACLES: dict[str, Op] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": sigmoid_oracle,
    "erf": erf_oracle,
    "sin": np.sin,
    "cos": np.cos,
    "softplus": softplus_oracle,
    "normal_cdf": normal_oracle,
    "gelu": gelu_oracle,
    "gelu_tanh": gelu_tanh_oracle,
}
UNARY = sorted(ORACLES)


def ulp_error(got: Array, exact: Array) -> Array:
    """|got - exact| in units in the last place; infinite where special values differ."""
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        _, exponent = np.frexp(exact)
        unit = np.ldexp(exact.dtype.type(1), np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))
        error = (np.abs(got.astype(exact.dtype) - exact) / unit).astype(np.float64)
    special = ~np.isfinite(rounded) | ~np.isfinite(got)
    agree = (got == rounded) | (np.isnan(got) & np.isnan(exact))
    error[special] = np.where(agree[special], 0.0, np.inf)
    # The last finite number and infinity are neighbours.
    overflow = special & np.isfinite(exact) & ~np.isnan(got) & (np.abs(exact) >= info.max)
    error[overflow] = 0.0
    zeros = (got == 0) & (rounded == 0)
    error[zeros & (np.signbit(got) != np.signbit(rounded))] = np.inf
    return error


def widen(x: Array) -> Array:
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


BREAKPOINTS = [
    *[k * math.log(2) / 2 for k in range(-10, 11)],  # ends of the exponential's reduction
    *[k * math.pi / 4 for k in range(-20, 21)],
    *[2.0**k * math.sqrt(0.5) for k in range(-4, 5)],  # where the logarithm changes exponent
    *[
        sign * b
        for sign in (-1, 1)
        for b in (0.55, 1.0, 2.5, 4.0, 6.0, 9.02, 19.07, 10.0, 11.5, 14.5, 20.0, 23.0, 39.0)
    ],
    *[sign * b for sign in (-1, 1) for b in (1e5, 8e5, 2.0**-15, 2.0**-30)],
    *[
        88.7228394,
        -87.3365479,
        -103.972084,
        709.782712893384,
        -708.3964185322641,
        -745.1332191019412,
    ],
    *[128.0, -126.0, -149.0, -150.0, 1024.0, -1022.0, -1074.0, -1075.0, -18.0, -40.0],
]


def math_inputs(dtype: Any, n: int, seed: int) -> Array:
    """Random bit patterns, the ranges where the functions vary, neighbours of every breakpoint."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(
        0,
        2 ** (8 * np.dtype(dtype).itemsize),
        n,
        dtype=np.uint32 if dtype is np.float32 else np.uint64,
    )
    ranges = [rng.uniform(-r, r, n) for r in (1, 8, 40, 110, 800)]
    small = np.ldexp(rng.uniform(-2, 2, n), rng.integers(-40, 1, n))
    info = np.finfo(dtype)
    subnormal = rng.uniform(-2, 2, 500).astype(dtype) * dtype(info.tiny)
    points = np.array(BREAKPOINTS, dtype)
    with np.errstate(all="ignore"):
        near = as_int(points)[:, None] + np.arange(-40, 41, dtype=as_int(points).dtype)
        parts = [
            bits.view(dtype),
            *ranges,
            small,
            1 + small / 4,
            subnormal,
            from_int(near.ravel()),
            special_values(dtype),
        ]
        return np.concatenate([np.asarray(p).astype(dtype) for p in parts])


def test_table_is_the_one_in_math_h() -> None:
    header = Path(__file__).parents[1] / "csrc" / "simd" / "math.h"
    if not header.exists():
        pytest.skip("no sources here")
    rows = re.findall(r"(\w+) +(\d\.\d) (\d\.\d)", header.read_text())
    assert {name: (float(f), float(d)) for name, f, d in rows} == MAX_ULP


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("function", UNARY)
def test_accuracy(level: str, function: str, dtype: Any) -> None:
    x = math_inputs(dtype, 20000, 17)
    with np.errstate(all="ignore"):
        error = ulp_error(run(level, function, x), ORACLES[function](widen(x)))
    worst = np.argmax(error)
    limit = MAX_ULP[function][TYPES.index(dtype)]
    assert (error <= limit).all(), f"{function}({x[worst]!r}) is off by {error[worst]} ulp"


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("function", UNARY)
def test_tail_equals_body(level: str, function: str, dtype: Any) -> None:
    """The same element has the same value in a full and in a partial vector."""
    x = math_inputs(dtype, 50, 3)
    whole = run(level, function, x)
    for start in range(0, 40):
        part = run(level, function, np.ascontiguousarray(x[start : start + 37]))
        assert same_bits(part, whole[start : start + 37])


def pow_inputs(dtype: Any) -> tuple[Array, Array]:
    rng = np.random.default_rng(23)
    n = 20000
    special = np.array([*special_values(dtype), 3, -3, 1e5 + 1, -1e5 - 1, 1e30, -1e30], dtype)
    wide = 170 if dtype is np.float32 else 1400
    pairs = [
        (np.exp(rng.uniform(-wide / 2, wide / 2, n)), rng.uniform(-2, 2, n)),
        (rng.uniform(0, 3, n), rng.uniform(-80, 80, n)),
        (1 + np.ldexp(rng.uniform(-1, 1, n), rng.integers(-20, 0, n)), rng.uniform(-1e5, 1e5, n)),
        (-rng.integers(1, 1000, n).astype(float), rng.integers(-20, 21, n).astype(float)),
        (np.repeat(special, len(special)), np.tile(special, len(special))),
    ]
    x, y = zip(*pairs, strict=True)
    return np.concatenate(x).astype(dtype), np.concatenate(y).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_pow(level: str, dtype: Any) -> None:
    x, y = pow_inputs(dtype)
    with np.errstate(all="ignore"):
        exact = np.power(widen(x), widen(y))
        error = ulp_error(run(level, "pow", x, y), exact)
    worst = np.argmax(error)
    assert (error <= MAX_ULP["pow"][TYPES.index(dtype)]).all(), f"pow({x[worst]!r}, {y[worst]!r}): {error[worst]} ulp"


@pytest.mark.slow
@pytest.mark.parametrize("function", ["exp", "log", "tanh", "sigmoid", "erf"])
def test_every_float32(function: str) -> None:
    """All 2^32 inputs, at every level, in chunks."""
    oracle = np.vectorize(math.erf, otypes=[np.float64]) if function == "erf" else ORACLES[function]
    chunk = 1 << 22
    for start in range(0, 1 << 32, chunk):
        x = np.arange(start, start + chunk, dtype=np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            exact = oracle(widen(x))
            for level in LEVELS:
                error = ulp_error(run(level, function, x), exact)
                assert (error <= MAX_ULP[function][0]).all(), (
                    level,
                    float(x[np.argmax(error)]),
                    error.max(),
                )


def seconds(call: Callable[[], Any]) -> float:
    """Shortest of many."""
    found = []
    for _ in range(30):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


# A result below the smallest number is known to be 0, and so is a tail that does not count: a CPU that finds out by
# itself takes ten times as long.
UNDERFLOW: list[tuple[str, Op, float, float]] = [
    ("exp", F.exp, -0.7, -1e4),
    ("sigmoid", F.sigmoid, -0.7, -1e4),
    ("softplus", F.softplus, -0.7, -1e4),
    ("gelu", F.gelu, -1.7, -1e4),
    ("gelu", F.gelu, 1.7, 13.5),
    ("gelu_tanh", lambda x: F.gelu(x, "tanh"), -1.7, -1e4),
    ("gelu_tanh", lambda x: F.gelu(x, "tanh"), 1.7, 13.5),
    ("softmax", F.softmax, 0.0, -1e4),
]


@pytest.mark.parametrize(("name", "op", "usual", "far"), UNDERFLOW)
def test_what_underflows_takes_no_longer(level: str, name: str, op: Op, usual: float, far: float) -> None:
    rows = [np.full((16, 512), value, np.float32) for value in (usual, far)]
    for x in rows:
        x[:, 0] = 0.0  # the maximum of a softmax
    times = [seconds(lambda x=x: op(x)) for x in rows]
    assert times[1] < 3 * times[0], name
