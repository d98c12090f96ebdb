"""``mlext.profile`` and ``mlext.nan_check``: look at every kernel launch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mlext import _C


class Event(NamedTuple):
    """One kernel launch: seconds since the profile began, duration, and the work it stands for."""

    name: str
    start: float
    seconds: float
    flops: float
    bytes: float


class Row(NamedTuple):
    """All launches of one kernel together."""

    name: str
    calls: int
    seconds: float
    flops: float
    bytes: float


class profile:  # noqa: N801  (a context manager, used like a function)
    """Record the kernels that run inside a ``with`` block.

    Examples
    --------
    >>> import mlext as ml
    >>> with ml.profile() as p:
    ...     _ = ml.functional.exp(ml.ones(1000))
    >>> [row.name for row in p.rows()]
    ['fill', 'exp']
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __enter__(self) -> profile:
        _C.begin_profile()
        return self

    def __exit__(self, *_: object) -> None:
        self.events = [Event(*e) for e in _C.end_profile()]

    def rows(self) -> list[Row]:
        """Return one row per kernel, in order of first launch."""
        found: dict[str, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.name, []).append(event)
        return [
            Row(
                name,
                len(events),
                sum(e.seconds for e in events),
                sum(e.flops for e in events),
                sum(e.bytes for e in events),
            )
            for name, events in found.items()
        ]

    def table(self) -> str:
        """Return a table of the kernels, longest first, with the share of this machine's measured peak.

        The percentage is the better of FLOP/s against the measured peak of float32, or of bytes for kernels that
        multiply those, and bytes/s against the measured copy rate.
        """
        peak = machine_peak()
        lines = [f"{'kernel':<28}{'calls':>8}{'ms':>10}{'GFLOP/s':>10}{'GB/s':>9}{'% peak':>8}"]
        for row in sorted(self.rows(), key=lambda r: -r.seconds):
            seconds = max(row.seconds, 1e-12)
            gflops, gbytes = row.flops / seconds / 1e9, row.bytes / seconds / 1e9
            arithmetic = peak["gops_i8" if row.name in OF_BYTES else "gflops"]
            share = 100 * max(gflops / arithmetic, gbytes / peak["gbytes"])
            lines.append(
                f"{row.name:<28}{row.calls:>8}{row.seconds * 1e3:>10.3f}{gflops:>10.1f}{gbytes:>9.1f}{share:>8.1f}"
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def chrome_trace(self, path: str | Path) -> None:
        """Write the launches as a JSON trace that chrome://tracing and Perfetto open."""
        events: list[dict[str, Any]] = [
            {
                "name": e.name,
                "ph": "X",
                "ts": e.start * 1e6,
                "dur": e.seconds * 1e6,
                "pid": 0,
                "tid": 0,
                "args": {"flops": e.flops, "bytes": e.bytes},
            }
            for e in self.events
        ]
        Path(path).write_text(json.dumps({"traceEvents": events}), encoding="utf-8")


# Kernels that multiply bytes.
OF_BYTES = ("matmul_integer", "quantized_conv1d", "quantized_conv2d", "quantized_linear")

_peak: tuple[tuple[str, int], dict[str, float]] | None = None


def machine_peak() -> dict[str, float]:
    """Return this machine's measured peaks at the active level and thread count.

    ``gflops`` of float32, ``gflops_bf16`` of bfloat16, ``gops_i8`` of bytes, ``gbytes`` of a copy.
    """
    global _peak
    setting = _C.get_isa(), _C.get_num_threads()
    if _peak is None or _peak[0] != setting:
        # 8 MiB: beyond L2, where most launches of a training step find their data.
        measured = _C.measure_machine(8 << 20)
        found = {
            "gflops": measured["gflops_f32"],
            "gflops_bf16": measured["gflops_bf16"],
            "gops_i8": measured["gops_i8"],
            "gbytes": measured["copy_gbytes"],
        }
        _peak = setting, found
    return _peak[1]


@contextmanager
def nan_check() -> Iterator[None]:
    """Raise FloatingPointError naming the kernel as soon as one produces NaN inside the block.

    Examples
    --------
    >>> import mlext as ml
    >>> with ml.nan_check():
    ...     ml.functional.log(ml.tensor([-1.0]))
    Traceback (most recent call last):
        ...
    FloatingPointError: log: produced NaN in an output of float32 (1,)
    """
    before = _C.get_nan_check()
    _C.set_nan_check(True)
    try:
        yield
    finally:
        _C.set_nan_check(before)
