"""Real numbers as integers of few bits."""

from __future__ import annotations

from typing import Any

import numpy as np


def pack_nibbles(values: Any) -> Any:
    """Return integers from -8 to 7 as the two halves of bytes: of every 32 the first 16 low, the others high."""
    rows, columns = values.shape
    padded = np.full((rows, -(-columns // 32) * 32), 8, np.uint8)
    padded[:, :columns] = values.astype(np.int16) + 8
    blocks = padded.reshape(rows, -1, 2, 16)
    return np.ascontiguousarray(blocks[:, :, 0] | blocks[:, :, 1] << 4).reshape(rows, -1)


def quantize_rows(weight: Any, largest: int) -> tuple[Any, Any]:
    """Return integers from ``-largest`` to ``largest``, and what a step of each row stands for, as float64."""
    weight = weight.astype(np.float64)
    scale = np.abs(weight).max(axis=1, initial=0.0) / largest
    scale[scale == 0] = 1.0  # a row of zeros
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def quantize_filters(weight: Any, bias: Any, low: float, high: float) -> dict[str, Any]:
    """Return what a quantised layer holds, of a weight (O, ..., C) and for inputs from ``low`` to ``high``."""
    x_scale, x_zero = input_step(low, high)
    filters = weight.detach().numpy()
    values, scale = quantize_rows(filters.reshape(len(filters), -1), 127)
    step = scale * np.float64(x_scale)
    added = 0.0 if bias is None else bias.detach().numpy().astype(np.float64)
    # q(x) stands for x_scale * (q(x) - x_zero): the zero leaves the sum here.
    offset = added - step * x_zero * values.sum(axis=1)
    behind = [(0, 0)] * (filters.ndim - 1) + [(0, -filters.shape[-1] % 4)]
    return {
        "values": np.pad(values.reshape(filters.shape), behind),
        "scale": step.astype(np.float32),
        "offset": offset.astype(np.float32),
        "x_scale": np.array([x_scale], np.float32),
        "x_zero": np.array([x_zero], np.uint8),
    }


def quantize_rows_to_4_bits(weight: Any) -> tuple[Any, Any]:
    """Return integers from -8 to 7, and of many steps per row the one with the least squared error.

    With 16 values it pays to cut off the largest weights, and to have the larger side of a row on the side of the -8.
    """
    weight = weight.astype(np.float64)
    top = np.abs(weight).max(axis=1, initial=0.0)
    sign = np.where(weight.max(axis=1, initial=0.0) == top, -1.0, 1.0)
    top[top == 0] = 1.0
    best, scale = np.full(len(weight), np.inf), np.ones(len(weight))
    for cut in np.linspace(1.0, 0.6, 21):
        for step in (cut * top / 7, cut * sign * top / 8):
            error = ((_to_4_bits(weight, step) * step[:, None] - weight) ** 2).sum(axis=1)
            better = error < best
            best[better], scale[better] = error[better], step[better]
    return _to_4_bits(weight, scale).astype(np.int8), scale


def _to_4_bits(weight: Any, step: Any) -> Any:
    return np.clip(np.rint(weight / step[:, None]), -8, 7)


def input_step(low: float, high: float) -> tuple[np.float32, int]:
    """Return what a step of a byte stands for, and the byte of 0, so that ``low`` to ``high`` fit; 0 is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    # No smaller than has a reciprocal in float32.
    scale = np.float32(max((high - low) / 255, 1e-30)) if high > low else np.float32(1)
    return scale, int(np.clip(np.rint(-low / np.float64(scale)), 0, 255))
