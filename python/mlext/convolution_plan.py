"""How a convolution would be gone about, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlext import _C
from mlext.dtypes import DTypeLike
from mlext.functional._geometry import as_int, geometry_of
from mlext.profiling import machine_peak


@dataclass(frozen=True)
class ConvPlan:
    """What :func:`explain_conv` found. ``print`` it, or read the fields.

    Attributes
    ----------
    x_shape, weight_shape, result_shape : tuple of int
        The convolution that was asked about, and its result.
    dtype, level, threads : str, str, int
        Element type, ISA level, and how many threads take part.
    kernel : str
        ``"product"`` (a matrix product), ``"depthwise"``, ``"winograd"`` (minimal filtering, see
        ``mlext.config.winograd``) or ``"tiles"`` (those of a matrix product, over images).
    tile : tuple of int
        Of tiles: pixels and outputs of one call of the micro-kernel.
    band : tuple of int
        Of tiles: images, and rows of the result, that are worked on while their pixels stay in L2.
    copies : bool
        Whether bands are copied with zeros around them; else x is read where it is.
    runs : tuple of int
        Of tiles: runs of neighbours in memory under the filter, and steps of k in each.
    block : int
        Runs that are summed in one go.
    tasks : int
        Of tiles: parts that threads take.
    seconds : float
        Predicted time, as in :class:`mlext.explaining.GemmPlan`.
    bound, reasons
        As in :class:`mlext.explaining.GemmPlan`.
    """

    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    result_shape: tuple[int, ...]
    dtype: str
    level: str
    threads: int
    kernel: str
    tile: tuple[int, int]
    band: tuple[int, int]
    copies: bool
    runs: tuple[int, int]
    block: int
    tasks: int
    seconds: float
    bound: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Return a table of the fields and the reasons."""
        rate = 2e-9 * math.prod(self.result_shape) * math.prod(self.weight_shape[1:]) / self.seconds
        rows = [
            ("images", f"{self.x_shape} by {self.weight_shape} to {self.result_shape}, {self.dtype}"),
            ("kernel", f"{self.kernel}, {self.level}"),
        ]
        tasks = ""
        if self.kernel == "tiles":
            copied, tasks = ", copied" if self.copies else "", f", {self.tasks} tasks"
            rows += [
                ("tile", f"{self.tile[0]} pixels x {self.tile[1]} outputs"),
                ("band", f"{self.band[0]} images, {self.band[1]} rows{copied}"),
                ("sums", f"{self.runs[0]} runs of {self.runs[1]}, {self.block} at a time"),
            ]
        rows += [
            ("threads", f"{self.threads}{tasks}"),
            ("predicted", f"{self.seconds * 1e6:.3g} us, {rate:.0f} GFLOP/s, bound by {self.bound}"),
        ]
        table = [f"{name:<11}{value}" for name, value in rows]
        return "\n".join(table + [f"- {reason}" for reason in self.reasons])


def explain_conv(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    dtype: DTypeLike = "float32",
) -> ConvPlan:
    """Return how :func:`mlext.functional.conv2d` would go about images of a shape, and why.

    Parameters
    ----------
    x_shape : sequence of int
        (N, H, W, C), all at least 1.
    weight_shape : sequence of int
        (O, R, S, C / groups).
    stride, padding, dilation, groups
        As in the function.
    dtype : dtype, optional
        Floating.

    Returns
    -------
    ConvPlan
        The kernel, its tile, what is copied, the threads, a predicted time and the reasons. At the first call the
        machine is measured, which takes a tenth of a second.

    Raises
    ------
    TypeError
        If the dtype is not floating, or a size is not an integer.
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import mlext as ml
    >>> plan = ml.explain_conv((1, 56, 56, 64), (64, 3, 3, 64), stride=2, padding=1)
    >>> plan.kernel, plan.result_shape, plan.runs
    ('tiles', (1, 28, 28, 64), (3, 192))
    """
    x, weight = (tuple(as_int("explain_conv", "x_shape", n) for n in shape) for shape in (x_shape, weight_shape))
    for name, shape in (("x_shape", x), ("weight_shape", weight)):
        if len(shape) != 4:
            raise ValueError(f"explain_conv: argument '{name}': expected 4 sizes, got {shape}")
    geometry = geometry_of("explain_conv", x[1:3], weight[1:3], stride, padding, dilation)
    found = _C.explain_conv(x, weight, dtype, geometry, groups)
    peak, share = machine_peak(), found["threads"] / _C.get_num_threads()
    size, result = found["dtype"].itemsize, found["result"]
    rate = peak["gflops"] * share * (0.5 if size == 8 else 1.0)
    arithmetic = 2e-9 * math.prod(result) * math.prod(weight[1:]) * found["waste"] / rate
    memory = 1e-9 * size * (math.prod(x) + math.prod(weight) + math.prod(result)) / (peak["gbytes"] * share)
    seconds, bound = max((arithmetic, "arithmetic"), (memory, "memory"))
    return ConvPlan(
        x_shape=x,
        weight_shape=weight,
        result_shape=result,
        dtype=found["dtype"].name,
        level=_C.get_isa(),
        seconds=seconds,
        bound=bound,
        reasons=tuple(found["reasons"]),
        **{k: found[k] for k in ("threads", "kernel", "tile", "band", "copies", "runs", "block", "tasks")},
    )
