"""Where filters and windows go over images: strides, paddings, dilations, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from mlext.functional._common import require_array

Sizes: TypeAlias = "int | Sequence[int]"
Padding: TypeAlias = "str | int | Sequence[int] | Sequence[Sequence[int]]"
Geometry: TypeAlias = tuple[int, ...]  # strides, padding before, padding after, dilations; of rows and of columns


def check_rank(name: str, what: str, value: Any, letters: str) -> None:
    """Raise unless an array has as many axes as ``letters``, such as "(N, H, W, C)"."""
    require_array(name, what, value, 0)
    rank = letters.count(",") + 1
    if value.ndim != rank:
        raise ValueError(f"{name}: argument '{what}': expected {rank} dimensions {letters}, got shape {value.shape}")


def as_int(name: str, what: str, value: Any) -> int:
    """``value`` as an int, or an error that names the argument."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: argument '{what}': expected an int, got {value!r}")
    return int(value.__index__())


def as_pair(name: str, what: str, value: Any) -> tuple[int, int]:
    """An int for both axes, or one for each."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name}: argument '{what}': expected an int or a pair of ints, got {value!r}")
        return as_int(name, what, value[0]), as_int(name, what, value[1])
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: argument '{what}': expected an int or a pair of ints, got {value!r}")
    return (int(value.__index__()),) * 2


def geometry_of(
    name: str, size: Sequence[int], taps: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> Geometry:
    """Strides, paddings before and after, and dilations, of rows and of columns; the kernel checks their values."""
    strides, dilations = as_pair(name, "stride", stride), as_pair(name, "dilation", dilation)
    if padding == "same" and min(*strides, *dilations) > 0:
        before, after = [], []
        for n, r, s, d in zip(size, taps, strides, dilations, strict=True):
            total = max((-(-n // s) - 1) * s + d * (r - 1) + 1 - n, 0)
            before.append(total // 2)
            after.append(total - total // 2)
    elif isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{name}: argument 'padding': expected sizes, 'same' or 'valid', got {padding!r}")
        before = after = [0, 0]
    elif isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != 2:
            raise ValueError(f"{name}: argument 'padding': expected a pair of pairs, got {padding!r}")
        ends = [as_pair(name, "padding", p) for p in padding]
        before, after = [p[0] for p in ends], [p[1] for p in ends]
    else:
        before = after = list(as_pair(name, "padding", padding))
    return (*strides, *before, *after, *dilations)


def geometry_of_sequence(name: str, steps: int, taps: int, stride: Any, padding: Any, dilation: Any) -> Geometry:
    """Those of a sequence, as an image of one row."""
    if not isinstance(padding, (str, int)):
        padding = as_pair(name, "padding", padding)
    strides, dilations = (1, as_int(name, "stride", stride)), (1, as_int(name, "dilation", dilation))
    around = padding if isinstance(padding, str) else ((0, 0), padding)
    return geometry_of(name, (1, steps), (1, taps), strides, around, dilations)
