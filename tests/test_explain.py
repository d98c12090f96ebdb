"""What explain_gemm says is what a product does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext import functional as F

# (m, n, k), transpose_b, the kernel, and whether panels of b are kept.
CHOICES = [
    ((8, 8, 8), False, "compact", False),
    ((64, 64, 64), False, "compact", False),
    ((1, 512, 512), True, "dot", False),
    ((6, 512, 512), True, "dot", False),
    ((500, 4, 512), True, "dot", False),
    ((7, 512, 512), True, "tile", True),
    ((512, 64, 512), True, "tile", True),
    ((513, 64, 512), True, "tile", False),
    ((7, 10, 20), True, "compact", False),
    ((200, 100, 64), True, "compact", True),
    ((1, 512, 520), False, "gemv", False),
    ((300, 300, 300), False, "tile", False),
    ((400, 300, 300), False, "tile", True),
    ((36, 512, 1024), False, "tile", False),
    ((37, 512, 1024), False, "tile", True),
]


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = ml.get_num_threads()
    ml.set_num_threads(1)
    yield
    ml.set_num_threads(before)


def panels_kept(product: Callable[[], Any]) -> int:
    """How many arrays of panels the second time makes for the third."""
    counts = []
    for _ in range(3):
        before = ml.memory_stats()["allocations"]
        product()
        counts.append(ml.memory_stats()["allocations"] - before)
    return counts[1] - counts[2]


@pytest.mark.parametrize(("shape", "transpose_b", "kernel", "keeps"), CHOICES)
def test_the_choice_is_the_one_that_is_made(
    shape: tuple[int, int, int], transpose_b: bool, kernel: str, keeps: bool, one_thread: None
) -> None:
    m, n, k = shape
    plan = ml.explain_gemm(m, n, k, transpose_b=transpose_b)
    if ml.get_isa().startswith("avx512"):
        assert (plan.kernel, plan.keeps_b) == (kernel, keeps)
    # At any level: panels are kept if and only if it says so.
    x = ml.tensor(np.ones((m, k), np.float32))
    w = ml.tensor(np.ones((n, k) if transpose_b else (k, n), np.float32))
    assert panels_kept(lambda: F.linear(x, w) if transpose_b else F.matmul(x, w)) == plan.keeps_b


@pytest.mark.parametrize("dtype", ["float32", ml.float64, np.float16, "bfloat16"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (9, 48, 512), (1000, 1000, 1000), (5, 3, 4000), (4000, 3, 5)])
def test_fields_are_sound(shape: tuple[int, int, int], dtype: Any) -> None:
    m, n, k = shape
    for batch in (1, 40):
        for transposed in (False, True):
            plan = ml.explain_gemm(m, n, k, dtype, transpose_a=transposed, transpose_b=not transposed, batch=batch)
            assert (plan.m, plan.n, plan.k, plan.batch, plan.level) == (m, n, k, batch, ml.get_isa())
            assert 1 <= plan.threads <= min(plan.tasks, ml.get_num_threads())
            assert plan.tile[0] >= 1
            assert plan.tile[1] >= 1
            assert 1 <= plan.block_k <= k
            assert not plan.keeps_b or plan.packs_b
            assert plan.bound in ("arithmetic", "memory")
            assert plan.seconds > 0
            assert plan.reasons
            for word in (plan.kernel, plan.dtype, "predicted", *plan.reasons):
                assert word in str(plan)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 48, 511), (4, 64, 1024), (600, 64, 1024), (3000, 64, 1024)])
def test_products_of_bytes(shape: tuple[int, int, int], dtype: str) -> None:
    m, n, k = shape
    plan = ml.explain_gemm(m, n, k, dtype)
    assert (plan.kernel, plan.packs_a, plan.packs_b, plan.dtype) == ("tile", True, True, dtype)
    assert 1 <= plan.block_k <= k
    assert "GOP/s" in str(plan)
    assert any("bytes" in reason for reason in plan.reasons)
    with pytest.raises(ValueError, match="argument 'batch': expected 1 for a product of bytes, got 2"):
        ml.explain_gemm(m, n, k, dtype, batch=2)


@pytest.mark.parametrize("shape", [(9, 48, 511), (4, 64, 1024), (600, 64, 1024), (3000, 64, 1024)])
def test_panels_of_bytes_are_kept_if_it_says_so(shape: tuple[int, int, int], one_thread: None) -> None:
    m, n, k = shape
    a, b = ml.tensor(np.ones((m, k), np.uint8)), ml.tensor(np.ones((k, n), np.int8))
    assert panels_kept(lambda: F.matmul_integer(a, b)) == ml.explain_gemm(m, n, k, "uint8").keeps_b


def test_more_work_takes_longer() -> None:
    seconds = [ml.explain_gemm(n, n, n).seconds for n in (32, 128, 512, 2048)]
    assert seconds == sorted(seconds)
    assert ml.explain_gemm(512, 512, 512, "float64").seconds >= 1.8 * ml.explain_gemm(512, 512, 512).seconds


def test_more_products_take_longer(one_thread: None) -> None:
    one, three = (ml.explain_gemm(64, 64, 64, batch=batch).seconds for batch in (1, 3))
    assert three >= 2.99 * one


def test_threads_take_parts_of_large_products_only(one_thread: None) -> None:
    assert ml.explain_gemm(512, 512, 512).threads == 1
    ml.set_num_threads(2)
    assert ml.explain_gemm(512, 512, 512).threads == 2
    assert ml.explain_gemm(16, 16, 16).threads == 1


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((0, 4, 4), ValueError, "explain_gemm: argument 'm': expected at least 1, got 0"),
        ((4, 4, -1), ValueError, "explain_gemm: argument 'k': expected at least 1, got -1"),
        ((4, 2.0, 4), TypeError, "explain_gemm: argument 'n': expected an int, got float"),
        ((True, 4, 4), TypeError, "explain_gemm: argument 'm': expected an int, got bool"),
        ((4, 4, 4, "int32"), TypeError, "argument 'dtype': expected a floating dtype, int8 or uint8, got int32"),
        ((4, 4, 4, "float13"), TypeError, "explain_gemm: argument 'dtype': expected a dtype"),
    ],
)
def test_what_it_refuses(arguments: tuple[Any, ...], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ml.explain_gemm(*arguments)


@pytest.mark.parametrize(
    ("x", "weight", "options", "kernel", "copies"),
    [
        ((1, 56, 56, 64), (64, 3, 3, 64), {"padding": 1}, "winograd", False),
        ((1, 56, 56, 64), (64, 3, 3, 64), {"dtype": "bfloat16"}, "winograd", False),
        ((1, 6, 6, 64), (64, 3, 3, 64), {"padding": 1}, "winograd", False),
        ((1, 56, 56, 64), (64, 3, 3, 64), {"dtype": "float64"}, "tiles", False),
        ((1, 56, 56, 64), (64, 3, 3, 64), {"dilation": 2}, "tiles", False),
        ((1, 56, 56, 3), (64, 3, 3, 3), {"padding": 1}, "tiles", True),
        ((1, 56, 56, 3), (64, 3, 3, 3), {}, "tiles", False),
        ((1, 56, 56, 3), (64, 3, 3, 3), {"dtype": "bfloat16"}, "tiles", True),
        ((4, 14, 14, 64), (256, 1, 1, 64), {}, "product", False),
        ((4, 14, 14, 64), (256, 1, 1, 64), {"stride": 2}, "product", True),
        ((4, 56, 56, 64), (256, 1, 1, 64), {"stride": 2}, "tiles", False),
        ((1, 14, 14, 48), (48, 3, 3, 1), {"padding": "same", "groups": 48}, "depthwise", False),
        ((1, 14, 14, 48), (96, 3, 3, 1), {"groups": 48}, "depthwise", False),
        ((1, 14, 14, 48), (48, 3, 3, 4), {"groups": 12}, "tiles", False),
    ],
)
def test_convolutions(x: Any, weight: Any, options: dict[str, Any], kernel: str, copies: bool) -> None:
    plan = ml.explain_conv(x, weight, **options)
    assert (plan.kernel, plan.copies) == (kernel, copies)
    given = {k: v for k, v in options.items() if k != "dtype"}
    assert plan.result_shape == F.conv2d(np.zeros(x, np.float32), np.zeros(weight, np.float32), None, **given).shape
    assert plan.seconds > 0
    text = str(plan)
    assert kernel in text
    assert all(reason in text for reason in plan.reasons)
    assert 0 <= plan.block <= plan.runs[0]


@pytest.mark.parametrize(
    ("x", "weight", "options", "error", "text"),
    [
        ((1, 5, 5), (4, 3, 3, 3), {}, ValueError, "'x_shape': expected 4 sizes"),
        ((1, 5, 5, 0), (4, 3, 3, 0), {}, ValueError, "'x_shape': expected positive sizes"),
        ((1, 5, 5, 3), (4, 3, 3, 2), {}, ValueError, "'weight': expected shape"),
        ((1, 5, 5, 3), (4, 3, 3, 3), {"groups": 2}, ValueError, "'groups'"),
        ((1, 5, 5, 3), (4, 3, 3, 3), {"stride": 0}, ValueError, "'stride': expected positive sizes"),
        ((1, 5, 5, 3), (4, 3, 3, 3), {"dtype": "int8"}, TypeError, "'dtype': expected a floating dtype"),
        ((1, 5, 5, 3.5), (4, 3, 3, 3), {}, TypeError, "'x_shape': expected an int"),
    ],
)
def test_convolutions_that_are_none(x: Any, weight: Any, options: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match="explain_conv: argument " + text):
        ml.explain_conv(x, weight, **options)
