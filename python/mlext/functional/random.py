"""Random functions. Where the numbers come from is explicit: ``rng=``, or the default generator of ``manual_seed``."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, Tensor, record, require_array
from mlext.functional._layout import LAST, SAMPLES, in_format
from mlext.functional.arithmetic import mul
from mlext.random import Generator, resolve
from mlext.tensor import ones


def check_probability(name: str, p: float) -> None:
    """Raise unless ``p`` is a probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: argument 'p': expected a probability in [0, 1], got {p}")


def dropout(x: ArrayLike, p: float = 0.5, training: bool = True, *, rng: Generator | int | None = None) -> Any:
    """Set elements to 0 with probability ``p`` and scale the others by ``1 / (1 - p)`` (Srivastava et al. 2014).

    Parameters
    ----------
    x : Tensor or ndarray
        Any shape.
    p : float
        Probability of 0, in [0, 1].
    training : bool
        False returns ``x`` as it is.
    rng : Generator or int, optional
        Source of randomness.

    Raises
    ------
    ValueError
        If ``p`` is outside [0, 1] or NaN.
    """
    check_probability("dropout", p)
    if not training or p == 0:
        return x
    out, mask = _C.dropout(x, p, resolve(rng).state)
    if not _C.tracks(x):
        return out
    return record(out, "dropout", (x,), (lambda g: _C.dropout_backward(g, mask, p),))


def dropout2d(
    x: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    *,
    rng: Generator | int | None = None,
    data_format: str = LAST,
) -> Any:
    """Set whole channels of a sample to 0 with probability ``p`` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, ..., C)
        Samples.
    p, training, rng
        As in :func:`dropout`.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, ..., C) or (N, C, ...).

    Raises
    ------
    ValueError
        If ``p`` is outside [0, 1] or NaN, or x has no axis between samples and channels.

    References
    ----------
    Tompson et al. 2015, "Efficient object localization using convolutional networks", section 3.2.
    """
    if data_format != LAST:
        return in_format(dropout2d, data_format, SAMPLES, x, p, training, rng=rng)
    require_array("dropout2d", "x", x, 3)
    check_probability("dropout2d", p)
    if not training or p == 0:
        return x
    kept = _C.dropout(ones(x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1], dtype=x.dtype.name), p, resolve(rng).state)[0]
    return mul(x, kept if isinstance(x, Tensor) else kept.numpy())
