"""What poolings share: windows, kernels and their way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlext import _C
from mlext.functional._common import keep, record
from mlext.functional._geometry import Geometry, as_pair, check_rank, geometry_of
from mlext.functional.shape import expand_dims, squeeze

_KERNELS = {
    "max_pool2d": (_C.max_pool2d, _C.max_pool2d_gradient),
    "avg_pool2d": (_C.avg_pool2d, _C.avg_pool2d_gradient),
}


def pool(name: str, x: Any, geometry: Geometry, *flags: bool) -> Any:
    """Run a kernel and record it."""
    run, gradient = _KERNELS[name]
    if not _C.tracks(x):
        return run(x, geometry, *flags)
    x = keep(x)
    y = run(x, geometry, *flags)
    saved = (x, y) if name == "max_pool2d" else ()
    return record(y, name, (x,), (lambda g: gradient(g, x, y, geometry, *flags),), saved)


def of_sequences(
    function: Callable[..., Any], name: str, x: Any, size: int, stride: Any, padding: int, **options: Any
) -> Any:
    """Pool sequences as images of one row."""
    check_rank(name, "x", x, "(N, T, C)")
    steps = size if stride is None else stride
    return squeeze(function(expand_dims(x, 1), (1, size), (1, steps), (0, padding), **options), 1)


def windows(name: str, x: Any, kernel_size: Any, stride: Any, padding: Any) -> Geometry:
    """Sizes of windows, strides and paddings."""
    check_rank(name, "x", x, "(N, H, W, C)")
    sizes = as_pair(name, "kernel_size", kernel_size)
    steps = sizes if stride is None else stride
    geometry = geometry_of(name, x.shape[1:3], sizes, steps, padding, 1)
    return (*sizes, *geometry[:6])


def parts(name: str, x: Any, output_size: Any) -> Geometry:
    """The same for windows that divide an image."""
    check_rank(name, "x", x, "(N, H, W, C)")
    return (*as_pair(name, "output_size", output_size), 1, 1, 0, 0, 0, 0)
