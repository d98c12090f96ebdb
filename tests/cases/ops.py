"""One row per differentiable function: forward, gradient, dtype, level, layout and replay tests all read it.

``ulps`` bounds the error of a float32 result: at most ulps * eps * (|expected| + scale), where
scale is 1 unless the row's result is a sum of many terms. ``low`` and ``high`` bound the inputs,
``kinks`` are values that inputs keep away from.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests import oracle

import mlext as ml
import mlext.functional as F


@dataclass(frozen=True)
class Case:
    name: str
    fn: Any
    meaning: Any
    shapes: tuple = ((5, 7),)
    low: float = -3.0
    high: float = 3.0
    kinks: tuple = ()
    ulps: float = 8.0
    floats: bool = True
    elementwise: bool = True
    constants: dict = field(default_factory=dict)

    def arrays(self, rng, dtype=np.float64, shapes=None):
        return [self.array(rng, s, dtype) for s in shapes or self.shapes]

    def array(self, rng, shape, dtype=np.float64):
        x = rng.uniform(self.low, self.high, shape)
        for kink in self.kinks:
            x = np.where(np.abs(x - kink) < 0.05, x + 0.1, x)
        return x.astype(dtype)


def unary(name, meaning, **options):
    return Case(name, getattr(F, name), meaning, **options)


IDX = np.array([2, 0, 2, 1])
ROWS_OF_IDX = np.tile(IDX, (5, 1))
MASK = np.random.default_rng(5).random((5, 7)) < 0.6
MASK[2], MASK[:, 3] = False, False  # a row and a column in which nothing takes part
CONSTANTS = {}


def like(x, indices):
    """``indices`` as the kind of array that ``x`` is: a captured function may not use an ndarray of its own."""
    if isinstance(x, np.ndarray):
        return indices
    if id(indices) not in CONSTANTS:
        CONSTANTS[id(indices)] = ml.from_numpy(indices)
    return CONSTANTS[id(indices)]


ANGLES = np.random.default_rng(9).uniform(-4, 4, (4, 3))
TABLES = {name: (np.cos(ANGLES).astype(name), np.sin(ANGLES).astype(name)) for name in ("float32", "float64")}


def tables(x):
    """Cosines and sines for an x of 4 steps, in the dtype that they must have."""
    return [like(x, table) for table in TABLES["float64" if x.dtype.name == "float64" else "float32"]]


ELEMENTWISE = [
    unary("neg", np.negative),
    unary("abs", np.abs, kinks=(0,)),
    unary("exp", np.exp),
    unary("exp2", np.exp2),
    unary("expm1", np.expm1),
    unary("log", np.log, low=0.1),
    unary("log2", np.log2, low=0.1),
    unary("log1p", np.log1p, low=-0.9),
    unary("sqrt", np.sqrt, low=0.1),
    unary("rsqrt", lambda x: 1 / np.sqrt(x), low=0.1),
    unary("reciprocal", lambda x: 1 / x, low=0.2),
    unary("square", np.square),
    unary("sin", np.sin),
    unary("cos", np.cos),
    unary("erf", oracle.erf),
    unary("tanh", np.tanh),
    unary("sigmoid", oracle.sigmoid),
    unary("relu", oracle.relu, kinks=(0,)),
    unary("relu6", lambda x: np.clip(x, 0, 6), low=-2, high=8, kinks=(0, 6)),
    Case(
        "leaky_relu",
        lambda x: F.leaky_relu(x, 0.1),
        lambda x: np.where(x > 0, x, 0.1 * x),
        kinks=(0,),
    ),
    Case("elu", lambda x: F.elu(x, 1.5), lambda x: oracle.elu(x, 1.5), kinks=(0,)),
    Case("celu", lambda x: F.celu(x, 0.7), lambda x: oracle.celu(x, 0.7), kinks=(0,)),
    unary("selu", oracle.selu, kinks=(0,)),
    unary("gelu", oracle.gelu),
    Case("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), oracle.gelu_tanh),
    unary("silu", lambda x: x * oracle.sigmoid(x)),
    unary("mish", lambda x: x * np.tanh(oracle.softplus(x))),
    Case("softplus", lambda x: F.softplus(x, 2.0), lambda x: oracle.softplus(x, 2.0)),
    unary("softsign", lambda x: x / (1 + np.abs(x)), kinks=(0,)),
    unary("log_sigmoid", lambda x: -oracle.softplus(-x)),
    unary("hard_sigmoid", oracle.hard_sigmoid, low=-5, high=5, kinks=(-3, 3)),
    unary("hard_swish", lambda x: x * oracle.hard_sigmoid(x), low=-5, high=5, kinks=(-3, 3)),
    unary("hard_tanh", lambda x: np.clip(x, -1, 1), kinks=(-1, 1)),
    unary("soft_shrink", oracle.soft_shrink, kinks=(-0.5, 0.5)),
    Case("clip", lambda x: F.clip(x, -1.5, 0.5), lambda x: np.clip(x, -1.5, 0.5), kinks=(-1.5, 0.5)),
    Case("pow_scalar", lambda x: F.pow(x, 2.5), lambda x: x**2.5, low=0.2, ulps=16),
    Case("square_by_pow", lambda x: F.pow(x, 2), lambda x: x**2),
    Case("astype", lambda x: F.astype(F.astype(x, "float64"), x.dtype), lambda x: x),
    Case(
        "scalar_arithmetic",
        lambda x: ((2 - x) * 3 / 4 + 1 if hasattr(x, "grad") else F.add(F.div(F.mul(F.sub(2.0, x), 3.0), 4.0), 1.0)),
        lambda x: (2 - x) * 3 / 4 + 1,
    ),
]

TWO = ((5, 7), (5, 7))
BINARY = [
    Case("add", F.add, np.add, TWO),
    Case("sub", F.sub, np.subtract, TWO),
    Case("mul", F.mul, np.multiply, TWO),
    Case("div", F.div, np.divide, TWO, low=0.3),
    Case("pow", F.pow, np.power, TWO, low=0.3, ulps=16),
    Case("maximum", F.maximum, np.maximum, TWO),
    Case("minimum", F.minimum, np.minimum, TWO),
    Case("add_row", F.add, np.add, ((5, 7), (7,))),
    Case("sub_column", F.sub, np.subtract, ((5, 1), (5, 7))),
    Case("mul_outer", F.mul, np.multiply, ((5, 1), (7,))),
    Case("div_scalar_array", F.div, np.divide, ((), (5, 7)), low=0.3),
    Case("where", lambda a, b: F.where(F.gt(a, 0.0), a, b), lambda a, b: np.where(a > 0, a, b), TWO),
    Case("swiglu", F.swiglu, lambda a, b: oracle.silu(a) * b, TWO, ulps=16),
    Case("geglu", F.geglu, lambda a, b: oracle.gelu(a) * b, TWO, ulps=16),
    Case("geglu_tanh", lambda a, b: F.geglu(a, b, "tanh"), lambda a, b: oracle.gelu_tanh(a) * b, TWO, ulps=16),
    Case("prelu", F.prelu, lambda x, w: np.where(x > 0, x, w * x), ((5, 7), (7,)), kinks=(0,)),
]

REDUCTIONS = [
    Case("sum", F.sum, np.sum, ulps=64),
    Case("sum_axis", lambda x: F.sum(x, 0), lambda x: x.sum(0), ulps=32),
    Case(
        "sum_axes_kept",
        lambda x: F.sum(x, (0, 2), keepdims=True),
        lambda x: x.sum((0, 2), keepdims=True),
        ((3, 4, 5),),
        ulps=64,
    ),
    Case("mean", F.mean, np.mean, ulps=64),
    Case("mean_axis", lambda x: F.mean(x, -1), lambda x: x.mean(-1), ulps=32),
    Case("prod", lambda x: F.prod(x, 1), lambda x: x.prod(1), ((4, 5),), low=0.5, high=1.5, ulps=32),
    Case("max", lambda x: F.max(x, 1), lambda x: x.max(1)),
    Case("min", lambda x: F.min(x, 0, keepdims=True), lambda x: x.min(0, keepdims=True)),
    Case("var", lambda x: F.var(x, 1, ddof=1), lambda x: x.var(1, ddof=1), ulps=64),
    Case("std", lambda x: F.std(x, 0), lambda x: x.std(0), ulps=64),
    Case("norm", lambda x: F.norm(x, 1), lambda x: np.sqrt((x * x).sum(1)), ulps=32),
    Case("cumsum", lambda x: F.cumsum(x, 1), lambda x: x.cumsum(1), ulps=64),
    Case("logsumexp", F.logsumexp, oracle.logsumexp, ulps=16),
    Case("softmax", F.softmax, oracle.softmax, ulps=32),
    Case("softmax_axis", lambda x: F.softmax(x, 0), lambda x: oracle.softmax(x, 0), ulps=32),
    Case(
        "softmax_masked",
        lambda x: F.softmax(x, mask=like(x, MASK)),
        lambda x: oracle.masked_softmax(x, MASK),
        elementwise=False,
        ulps=32,
    ),
    Case(
        "softmax_masked_axis",
        lambda x: F.softmax(x, 0, mask=like(x, MASK)),
        lambda x: oracle.masked_softmax(x, MASK, 0),
        elementwise=False,
        ulps=32,
    ),
    Case("log_softmax", F.log_softmax, oracle.log_softmax, ulps=32),
    Case(
        "log_softmax_axis",
        lambda x: F.log_softmax(x, 1),
        lambda x: oracle.log_softmax(x, 1),
        ((2, 3, 4),),
        ulps=32,
    ),
]

SHAPES = [
    Case("reshape", lambda x: F.reshape(x, (7, -1)), lambda x: x.reshape(7, -1)),
    Case("flatten", lambda x: F.flatten(x, 1), lambda x: x.reshape(2, 12), ((2, 3, 4),)),
    Case("permute", lambda x: F.permute(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1), ((2, 3, 4),)),
    Case("transpose", F.transpose, lambda x: x.swapaxes(-1, -2)),
    Case("expand_dims", lambda x: F.expand_dims(x, 1), lambda x: x[:, None]),
    Case("squeeze", lambda x: F.squeeze(x, 1), lambda x: x[:, 0], ((5, 1, 3),)),
    Case(
        "broadcast_to",
        lambda x: F.broadcast_to(x, (3, 5, 7)),
        lambda x: np.broadcast_to(x, (3, 5, 7)),
        ((5, 1),),
    ),
    Case("flip", lambda x: F.flip(x, 0), lambda x: x[::-1]),
    Case(
        "concat",
        lambda a, b: F.concat([a, b], 1),
        lambda a, b: np.concatenate([a, b], 1),
        ((3, 4), (3, 2)),
    ),
    Case("stack", lambda a, b: F.stack([a, b], 1), lambda a, b: np.stack([a, b], 1), TWO),
    Case("split", lambda x: F.mul(*F.split(x, 2, 1)), lambda x: x[:, :3] * x[:, 3:], ((4, 6),)),
    Case("narrow", lambda x: F.narrow(x, 1, 2, 3), lambda x: x[:, 2:5]),
    Case("slice", lambda x: F.slice(x, (3, 0), (0, 7), (-2, 3)), lambda x: x[3:0:-2, ::3]),
    Case(
        "pad",
        lambda x: F.pad(x, ((1, 2), (0, 3)), 1.5),
        lambda x: np.pad(x, ((1, 2), (0, 3)), constant_values=1.5),
    ),
    Case("tile", lambda x: F.tile(x, (2, 3)), lambda x: np.tile(x, (2, 3))),
    Case("repeat", lambda x: F.repeat(x, 3, 1), lambda x: np.repeat(x, 3, 1)),
    Case("gather", lambda x: F.gather(x, like(x, IDX)), lambda x: x[IDX]),
    Case("gather_axis", lambda x: F.gather(x, like(x, IDX), 1), lambda x: x[:, IDX]),
    Case("embedding", lambda w: F.embedding(like(w, IDX), w), lambda w: w[IDX]),
    Case(
        "take_along_axis",
        lambda x: F.take_along_axis(x, like(x, ROWS_OF_IDX), 1),
        lambda x: np.take_along_axis(x, ROWS_OF_IDX, 1),
    ),
    Case(
        "scatter_add",
        lambda x, s: F.scatter_add(x, like(x, IDX), s),
        lambda x, s: oracle.scatter_add(x, IDX, s),
        ((5, 7), (4, 7)),
    ),
    Case("tril", F.tril, np.tril),
    Case("triu", lambda x: F.triu(x, 1), lambda x: np.triu(x, 1)),
    Case("sort", lambda x: F.sort(x, 1)[0], lambda x: np.sort(x, 1)),
    Case("topk", lambda x: F.topk(x, 3)[0], lambda x: -np.sort(-x, 1)[:, :3]),
]


def joined(results):
    """Two results of one shape as one."""
    return F.concat(results, 1)


def _linear(x, w, b):
    return x @ w.T + b


CAUSAL = np.tril(np.ones((3, 5), bool))
BANDED = np.triu(np.tril(np.ones((5, 4), bool)), -1) & (np.arange(4) != 0)


PRODUCTS = [
    Case(
        "attention_weights",
        lambda q, k: F.attention_weights(q, k, is_causal=True, soft_cap=2.0),
        lambda q, k: oracle.attention_weights(q, k, CAUSAL, 2.0),
        ((2, 3, 4, 6), (2, 5, 2, 6)),
        ulps=64,
        elementwise=False,
    ),
    Case(
        "attention_weights_window",  # the first query sees no key
        lambda q, k, s: F.attention_weights(q, k, like(q, BANDED), window=(1, 0), alibi=s),
        lambda q, k, s: oracle.attention_weights(q, k, BANDED, slopes=s),
        ((2, 5, 2, 4), (2, 4, 1, 4), (2,)),
        ulps=128,
        elementwise=False,
    ),
    Case("matmul", F.matmul, np.matmul, ((5, 7), (7, 4)), ulps=64),
    Case("matmul_vector", F.matmul, np.matmul, ((5, 7), (7,)), ulps=64),
    Case("vector_matmul", F.matmul, np.matmul, ((7,), (7, 4)), ulps=64),
    Case("dot", F.matmul, np.matmul, ((7,), (7,)), ulps=64),
    Case("matmul_batch", F.matmul, np.matmul, ((3, 5, 7), (3, 7, 4)), ulps=64),
    Case("matmul_broadcast", F.matmul, np.matmul, ((2, 1, 5, 7), (3, 7, 4)), ulps=64),
    Case("linear", F.linear, _linear, ((5, 7), (4, 7), (4,)), ulps=64),
    Case("linear_3d", F.linear, _linear, ((2, 5, 7), (4, 7), (4,)), ulps=64),
    Case("linear_no_bias", F.linear, lambda x, w: x @ w.T, ((5, 7), (4, 7)), ulps=64),
    Case(
        "conv2d",
        lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 2)),
        lambda x, w, b: oracle.conv2d(x, w, (2, 1, 1, 2, 1, 2, 1, 1)) + b,
        ((2, 5, 6, 3), (4, 3, 2, 3), (4,)),
        ulps=256,
    ),
    Case(
        "conv2d_groups",
        lambda x, w: F.conv2d(x, w, padding="same", dilation=(1, 2), groups=2, activation="silu"),
        lambda x, w: oracle.silu(oracle.conv2d(x, w, (1, 1, 1, 1, 1, 1, 1, 2), 2)),
        ((2, 4, 5, 4), (6, 3, 2, 2)),
        low=-1,
        high=1,
        ulps=256,
    ),
    Case(
        "conv2d_residual",
        lambda x, w, r: F.conv2d(x, w, activation="relu", residual=r),
        lambda x, w, r: np.maximum(oracle.conv2d(x, w, (1, 1, 0, 0, 0, 0, 1, 1)) + r, 0),
        ((2, 4, 5, 3), (5, 1, 1, 3), (2, 4, 5, 5)),
        ulps=256,
    ),
    Case(
        "conv1d",
        lambda x, w, b: F.conv1d(x, w, b, 2, (1, 0)),
        lambda x, w, b: oracle.conv2d(x[:, None], w[:, None], (1, 2, 0, 1, 0, 0, 1, 1))[:, 0] + b,
        ((2, 7, 3), (4, 3, 3), (4,)),
        ulps=256,
    ),
    Case(
        "conv_transpose2d",
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, (1, 0), activation="tanh"),
        lambda x, w, b: np.tanh(oracle.conv_transpose2d(x, w, (2, 6, 5, 2), (2, 2, 1, 1, 1, 1, 1, 1)) + b),
        ((2, 3, 3, 3), (3, 3, 3, 2), (2,)),
        low=-0.5,
        high=0.5,
        ulps=256,
    ),
    Case(
        "max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: oracle.pool2d(x, np.max, 3, 2, 1), ((2, 5, 6, 3),)
    ),
    Case(
        "max_pool1d",
        lambda x: F.max_pool1d(x, 2),
        lambda x: oracle.pool2d(x[:, None], np.max, (1, 2), (1, 2), 0)[:, 0],
        ((2, 7, 3),),
    ),
    Case(
        "avg_pool2d",
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda x: oracle.pool2d(x, np.mean, 3, 2, 1),
        ((2, 5, 6, 3),),
    ),
    Case(
        "avg_pool1d",
        lambda x: F.avg_pool1d(x, 3, 1),
        lambda x: oracle.pool2d(x[:, None], np.mean, (1, 3), 1, 0)[:, 0],
        ((2, 7, 3),),
    ),
    Case("global_avg_pool2d", F.global_avg_pool2d, lambda x: x.mean(axis=(1, 2)), ((2, 5, 6, 3),)),
    Case("global_max_pool2d", F.global_max_pool2d, lambda x: x.max(axis=(1, 2)), ((2, 5, 6, 3),)),
    Case(
        "interpolate",
        lambda x: F.interpolate(x, (7, 3)),
        lambda x: x[:, np.arange(7) * 4 // 7][:, :, np.arange(3) * 5 // 3],
        ((2, 4, 5, 3),),
        elementwise=False,
    ),
    Case(
        "interpolate_bilinear",
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        oracle.doubled,
        ((2, 4, 5, 3),),
        elementwise=False,
    ),
    Case(
        "batch_norm",
        lambda x, w, b: F.batch_norm(x, None, None, w, b),
        lambda x, w, b: oracle.normalized(x, (0, 1, 2)) * w + b,
        ((3, 5, 4, 6), (6,), (6,)),
        ulps=64,
        elementwise=False,
    ),
    Case(
        "group_norm",
        lambda x, w, b: F.group_norm(x, 2, w, b),
        lambda x, w, b: oracle.normalized(x.reshape(3, 20, 2, 3), (1, 3)).reshape(x.shape) * w + b,
        ((3, 5, 4, 6), (6,), (6,)),
        ulps=64,
        elementwise=False,
    ),
    Case(
        "instance_norm",
        lambda x, w, b: F.instance_norm(x, w, b),
        lambda x, w, b: oracle.normalized(x, (1, 2)) * w + b,
        ((3, 5, 4, 6), (6,), (6,)),
        ulps=64,
        elementwise=False,
    ),
    Case(
        "layer_norm",
        lambda x, w, b: F.layer_norm(x, (4, 6), w, b),
        lambda x, w, b: oracle.normalized(x, (1, 2)) * w + b,
        ((5, 4, 6), (4, 6), (4, 6)),
        ulps=64,
        elementwise=False,
    ),
    Case(
        "rms_norm",
        lambda x, w: F.rms_norm(x, 7, w, 1e-5),
        lambda x, w: oracle.over_root_mean_square(x) * w,
        ((5, 7), (7,)),
        ulps=64,
        elementwise=False,
    ),
    Case(
        "add_layer_norm",
        lambda x, r, w, b: joined(F.add_layer_norm(x, r, 7, w, b)),
        lambda x, r, w, b: np.concatenate([oracle.normalized(x + r, (1,)) * w + b, x + r], 1),
        ((5, 7), (5, 7), (7,), (7,)),
        ulps=64,
        elementwise=False,
    ),
    Case(
        "add_rms_norm",
        lambda x, r, w: joined(F.add_rms_norm(x, r, 7, w, 1e-5)),
        lambda x, r, w: np.concatenate(
            [(x + r) / np.sqrt(np.mean((x + r) ** 2, -1, keepdims=True) + 1e-5) * w, x + r], 1
        ),
        ((5, 7), (5, 7), (7,)),
        ulps=64,
        elementwise=False,
    ),
    Case(
        "rotary",
        lambda x: F.rotary(x, *tables(x)),
        lambda x: oracle.rotary(x, *TABLES["float64"]),
        ((2, 4, 3, 6),),
        elementwise=False,
    ),
    Case(
        "rotary_interleaved",
        lambda x: F.rotary(x, *tables(x), interleaved=True),
        lambda x: oracle.rotary(x, *TABLES["float64"], True),
        ((2, 4, 3, 9),),
        elementwise=False,
    ),
    Case(
        "linear_residual",
        lambda x, w, b, r: F.linear(x, w, b, "relu", residual=r),
        lambda x, w, b, r: np.maximum(_linear(x, w, b) + r, 0),
        ((5, 7), (4, 7), (4,), (5, 4)),
        ulps=64,
    ),
    Case(
        "bilinear",
        F.bilinear,
        lambda a, b, w, c: np.einsum("ni,oij,nj->no", a, w, b) + c,
        ((5, 3), (5, 4), (2, 3, 4), (2,)),
        ulps=256,
    ),
] + [
    Case(
        f"linear_{name}",
        lambda x, w, b, name=name: F.linear(x, w, b, activation=name),
        lambda x, w, b, act=act: act(_linear(x, w, b)),
        ((5, 7), (4, 7), (4,)),
        ulps=128,
        low=-1,
        high=1,
    )
    for name, act in {
        "relu": oracle.relu,
        "relu6": lambda x: np.clip(x, 0, 6),
        "sigmoid": oracle.sigmoid,
        "tanh": np.tanh,
        "gelu": oracle.gelu,
        "gelu_tanh": oracle.gelu_tanh,
        "silu": lambda x: x * oracle.sigmoid(x),
    }.items()
]

ALL = ELEMENTWISE + BINARY + REDUCTIONS + SHAPES + PRODUCTS
