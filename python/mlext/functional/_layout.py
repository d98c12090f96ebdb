"""Channels first: views with channels last on the way in, and of the result on the way out.

Kernels know channels last alone. What comes in is copied into that order, unless its memory has it; what goes out is a
view with channels first of memory that has channels last. So a chain of layers copies once, at its entry.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from mlext import _C
from mlext.functional._common import record, require_array
from mlext.functional._geometry import check_rank

LAST = "channels_last"
FORMATS = (LAST, "channels_first")
IMAGES, SEQUENCES, SAMPLES = "(N, C, H, W)", "(N, C, T)", "(N, C, ...)"


def check_format(name: str, data_format: Any) -> str:
    """``data_format``, or an error that names the choices."""
    if not isinstance(data_format, str) or data_format not in FORMATS:
        raise ValueError(
            f"{name}: argument 'data_format': expected 'channels_last' or 'channels_first', got {data_format!r}"
        )
    return data_format


def shown_format(before: str, data_format: str) -> str:
    """What the ``repr`` of a layer shows, with its format unless that is channels last."""
    return before if data_format == LAST else ", ".join([before] * bool(before) + [f"{data_format=}"])


@functools.cache
def _orders(rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes that make channels the last of so many, and those that make them the second."""
    return (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))


def with_channels_last(x: Any) -> Any:
    """(N, C, ...) as (N, ..., C).

    A Tensor is made dense: forward and backward read one copy, or none if memory is in that order. An ndarray is
    viewed, and the kernel copies.
    """
    if x.ndim < 3:
        return x
    to_last, to_first = _orders(x.ndim)
    if isinstance(x, np.ndarray):
        return x.transpose(to_last)
    out = _C.dense(_C.permute(x, to_last))
    return record(out, "channels_last", (x,), (lambda g: _C.permute(g, to_first),)) if _C.tracks(x) else out


def with_channels_first(y: Any) -> Any:
    """View of (N, ..., C) as (N, C, ...)."""
    if y.ndim < 3:
        return y
    to_last, to_first = _orders(y.ndim)
    out = _C.permute(y, to_first)
    return record(out, "channels_first", (y,), (lambda g: _C.permute(g, to_last),)) if _C.tracks(y) else out


def in_format(function: Callable[..., Any], data_format: str, letters: str, x: Any, *args: Any, **options: Any) -> Any:
    """Call a function of channels last with what is in another format; an option "residual" is in it too.

    ``letters`` are the axes of x in that format.
    """
    name = function.__name__
    check_format(name, data_format)
    if letters == SAMPLES:
        require_array(name, "x", x, 2)
    else:
        check_rank(name, "x", x, letters)
    residual = options.get("residual")
    if residual is not None:
        require_array(name, "residual", residual, 2)
        options["residual"] = with_channels_last(residual)
    try:
        return with_channels_first(function(with_channels_last(x), *args, **options))
    except ValueError as error:
        seen = f"x {x.shape} is channels first; shapes here are those with channels last"
        raise ValueError(f"{error} ({seen})") from None
