"""Threads, ISA levels, memory, algorithms: what runs where and how.

Attributes
----------
winograd : bool
    Whether 3 x 3 convolutions of stride 1 in float32 and the half types may be computed by minimal filtering,
    F(2, 3) or F(4, 3) [1]_, where that is faster; true at first. It takes a half to a quarter of the multiplications,
    and has up to twice the error of sums of products with random data, ``|error| <= 211 (C + 32) 2^-24 max|x| sum|w|``
    with any. A NaN or an infinity in x may reach all pixels of the tiles, 4 x 4, that see it. Convolutions in float64
    never are.

    .. [1] A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.

Examples
--------
>>> import mlext as ml
>>> ml.config.winograd = False
>>> ml.explain_conv((1, 56, 56, 64), (64, 3, 3, 64), padding=1).kernel
'tiles'
>>> ml.config.winograd = True
>>> ml.explain_conv((1, 56, 56, 64), (64, 3, 3, 64), padding=1).kernel
'winograd'
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np

from mlext import _C, cuda

winograd: bool


class _Config(types.ModuleType):
    """What is assigned to ``winograd`` must reach the kernels."""

    @property
    def winograd(self) -> bool:
        """Whether convolutions may be computed by minimal filtering."""
        return _C.winograd_allowed()

    @winograd.setter
    def winograd(self, allowed: bool) -> None:
        if not isinstance(allowed, (bool, np.bool_)):
            raise TypeError(f"config: argument 'winograd': expected True or False, got {allowed!r}")
        _C.allow_winograd(bool(allowed))


sys.modules[__name__].__class__ = _Config


def set_num_threads(threads: int) -> None:
    """Set how many threads kernels may use, 1 to 1024. Results do not depend on it.

    Examples
    --------
    >>> import mlext as ml
    >>> before = ml.get_num_threads()
    >>> ml.set_num_threads(1); ml.get_num_threads()
    1
    >>> ml.set_num_threads(before)
    """
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)):
        raise TypeError(f"set_num_threads: argument 'threads': expected an int, got {type(threads).__name__}")
    _C.set_num_threads(int(threads))


def get_num_threads() -> int:
    """Return how many threads kernels may use."""
    return _C.get_num_threads()


def set_isa(level: str) -> None:
    """Use the kernels of another ISA level, one of ``show_config()["levels"]``.

    Raises
    ------
    ValueError
        If the level does not exist or this CPU cannot run it.
    """
    _C.set_isa(level)


def get_isa() -> str:
    """Return the ISA level in use."""
    return _C.get_isa()


def memory_stats() -> dict[str, int]:
    """Return what the allocator holds, in bytes: ``in_use``, ``peak``, ``cached``; and how often it was asked."""
    return _C.memory_stats()


def empty_cache() -> int:
    """Give memory that no tensor uses back to the system; the number of bytes."""
    return _C.empty_cache()


def show_config() -> dict[str, Any]:
    """Return a description of the build and of what it found on this machine.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.show_config()["isa"] in ml.show_config()["levels"]
    True
    """
    return {
        "version": _C.__version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "compiler": _C.compiler,
        "built_levels": _C.built_levels(),
        "levels": _C.levels(),
        "isa": _C.get_isa(),
        "threads": _C.get_num_threads(),
        "winograd": _C.winograd_allowed(),
        "cuda": cuda.is_available(),
        "cuda_why_not": cuda.why_not(),
    }


def register_threadpoolctl() -> None:
    """Let ``threadpoolctl`` see and limit the threads of mlext.

    Raises
    ------
    ImportError
        If threadpoolctl is not installed.
    """
    try:
        import threadpoolctl
    except ImportError:
        raise ImportError("register_threadpoolctl: needs threadpoolctl; pip install threadpoolctl") from None

    class MlextController(threadpoolctl.LibController):  # type: ignore[misc, unused-ignore]
        user_api = "mlext"
        internal_api = "mlext"
        filename_prefixes = ("_c",)  # threadpoolctl compares in lower case
        check_symbols = ("mlext_get_num_threads", "mlext_set_num_threads")

        def get_num_threads(self) -> int:
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            set_num_threads(max(1, num_threads))

        def get_version(self) -> str:
            return _C.__version__

    threadpoolctl.register(MlextController)  # type: ignore[no-untyped-call, unused-ignore]
