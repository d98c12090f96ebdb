"""The CUDA device: whether it can be used, and why not."""

from __future__ import annotations


def is_available() -> bool:
    """Return whether tensors can live on a CUDA device."""
    return why_not() is None


def why_not() -> str | None:
    """Return why CUDA cannot be used, or None if it can.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.cuda.is_available() == (ml.cuda.why_not() is None)
    True
    """
    return "not built: this build of mlext has no CUDA kernels"
