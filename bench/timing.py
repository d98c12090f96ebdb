"""How a call is timed.

A sample is one run of a loop long enough for the clock to be exact; the contestants of a row take
their samples in turn, in a new random order each round, so that a slow moment of the machine hits
all of them. The figure is the median over samples, the noise the median absolute deviation as a
share of it.

With one thread the clock is the processor time of the process: on a quiet machine it agrees with
wall time, on a busy one it leaves out what other programs took. With several threads it is wall
time.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]
Clock = Callable[[], float]


def clock_for(threads: int) -> Clock:
    return time.process_time if threads == 1 else time.perf_counter


def loop(call: Call, count: int, clock: Clock) -> float:
    """Seconds that `count` calls take."""
    repeat = range(count)
    start = clock()
    for _ in repeat:
        call()
    return clock() - start


def calls_per_sample(call: Call, seconds: float, clock: Clock) -> int:
    """How many calls fill `seconds`; warms up on the way."""
    count = 1
    while True:
        took = loop(call, count, clock)
        if took >= seconds / 4:
            return max(1, round(count * seconds / took))
        count *= 4


def interleaved(
    calls: dict[str, Call],
    clock: Clock,
    *,
    samples: int,
    sample_seconds: float,
    budget: float,
) -> dict[str, list[float]]:
    """Seconds per call, one list of samples per contestant.

    At least three rounds are run; after that no round starts once `budget` seconds per contestant
    are spent.
    """
    counts = {name: calls_per_sample(call, sample_seconds, clock) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    end = time.perf_counter() + budget * len(calls)
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for round_ in range(samples):
            if round_ >= 3 and time.perf_counter() > end:
                break
            shuffle(order)
            for name in order:
                found[name].append(loop(calls[name], counts[name], clock) / counts[name])
    finally:
        if was_enabled:
            gc.enable()
    return found


def median(samples: list[float]) -> float:
    return statistics.median(samples)


def noise(samples: list[float]) -> float:
    """Median absolute deviation over median."""
    middle = statistics.median(samples)
    return statistics.median(abs(s - middle) for s in samples) / middle


def geometric_mean(values: list[float]) -> float:
    return statistics.geometric_mean(values)
