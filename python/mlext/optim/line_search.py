"""A line search for the strong Wolfe conditions (Nocedal & Wright 2006, algorithms 3.5 and 3.6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Evaluate = Callable[[Vector], tuple[float, Vector]]

# Sufficient decrease, curvature, evaluations at most.
C1, C2, MAX_EVALUATIONS = 1e-4, 0.9, 25


class _Point(NamedTuple):
    length: float
    loss: float
    gradient: Vector
    slope: float


def strong_wolfe(
    evaluate: Evaluate,
    start: Vector,
    length: float,
    direction: Vector,
    loss: float,
    gradient: Vector,
    slope: float,
    tolerance: float,
) -> tuple[float, Vector, float, int]:
    """Return loss, gradient, step length and number of evaluations.

    ``loss``, ``gradient`` and ``slope`` (along ``direction``) are those at ``start``. If no length
    fulfils the conditions, the best one seen is returned.
    """
    origin = _Point(0.0, loss, gradient, slope)
    used = 0

    def at(step: float) -> _Point:
        nonlocal used
        used += 1
        value, g = evaluate(start + step * direction)
        return _Point(step, value, g, float(g @ direction))

    def decreases(p: _Point) -> bool:
        return p.loss <= loss + C1 * p.length * slope

    def flat_enough(p: _Point) -> bool:
        return abs(p.slope) <= -C2 * slope

    previous, point = origin, at(length)
    # Bracketing: go on until an interval must hold a good length.
    while True:
        if not decreases(point) or (used > 1 and point.loss >= previous.loss):
            low, high = previous, point
            break
        if flat_enough(point):
            return point.loss, point.gradient, point.length, used
        if point.slope >= 0:
            low, high = point, previous
            break
        if used >= MAX_EVALUATIONS:
            return point.loss, point.gradient, point.length, used
        reach = point.length + 0.01 * (point.length - previous.length), point.length * 10.0
        following = min(max(_minimum(previous, point, *reach), reach[0]), reach[1])
        previous, point = point, at(following)
    # Zooming: shrink the interval around the lower end.
    while used < MAX_EVALUATIONS:
        width = abs(high.length - low.length)
        if width * np.abs(direction).max() < tolerance:
            break
        point = at(_inside(low, high))
        if not decreases(point) or point.loss >= low.loss:
            high = point
            continue
        if flat_enough(point):
            low = point
            break
        if point.slope * (high.length - low.length) >= 0:
            high = low
        low = point
    return low.loss, low.gradient, low.length, used


def _inside(low: _Point, high: _Point) -> float:
    """Return the minimum of a cubic, kept a tenth of the interval away from its ends."""
    left, right = sorted((low.length, high.length))
    margin = 0.1 * (right - left)
    return min(max(_minimum(low, high, left, right), left + margin), right - margin)


def _minimum(a: _Point, b: _Point, left: float, right: float) -> float:
    """Return where the cubic through two losses and slopes is lowest, or else the middle."""
    middle = (left + right) / 2.0
    if not (math.isfinite(b.loss) and math.isfinite(b.slope)) or a.length == b.length:
        return middle
    d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.length - b.length)
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return middle
    d2 = math.copysign(math.sqrt(square), b.length - a.length)
    divisor = b.slope - a.slope + 2.0 * d2
    if divisor == 0:
        return middle
    found = b.length - (b.length - a.length) * ((b.slope + d2 - d1) / divisor)
    return found if math.isfinite(found) else middle
