"""Threads, ISA levels, memory: what runs where."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mlext import _C, cuda


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
