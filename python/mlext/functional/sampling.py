"""Drawing classes from their scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import _C
from mlext.functional._common import ArrayLike, Tensor
from mlext.functional._geometry import as_int
from mlext.random import Generator, Rng, resolve

# The most likely classes that are looked at first, before all are sorted.
_LIKELY = 512


def sample(
    logits: ArrayLike,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    rng: Rng = None,
) -> NDArray[np.int64]:
    """Draw a class of each row, with the probabilities ``softmax(logits / temperature)`` of those that may be drawn.

    The restrictions hold in the order of the arguments; the most likely class may always be drawn.

    Parameters
    ----------
    logits : Tensor or ndarray, shape (..., C)
        Scores; ``-inf`` is never drawn.
    temperature : float
        Below 1 likely classes become more likely; 0 takes the first of the most likely ones.
    top_k : int, optional
        Draw from so many of the most likely classes, and those as likely as the last of them.
    top_p : float, optional
        Draw from the fewest of the most likely classes whose probabilities add up to this, in (0, 1]; of equal ones the
        last. 1 leaves all.
    min_p : float, optional
        Draw from classes at least so many times as likely as the most likely one, in [0, 1].
    rng : Generator or int, optional
        Source of randomness.

    Returns
    -------
    ndarray of int64, shape (...)

    Raises
    ------
    TypeError
        If the logits are not floating, or ``top_k`` is no int.
    ValueError
        If there is no class, a row has NaN, ``inf`` or nothing but ``-inf``, or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> ml.functional.sample(np.log([[0.1, 0.6, 0.3], [0.5, 0.1, 0.4]]), temperature=0)
    array([1, 0])
    >>> sorted({int(ml.functional.sample(np.log([0.1, 0.6, 0.3]), top_p=0.8, rng=seed)) for seed in range(50)})
    [1, 2]

    References
    ----------
    Fan, Lewis and Dauphin 2018, "Hierarchical neural story generation" (top_k); Holtzman et al. 2020, "The curious case
    of neural text degeneration" (top_p).
    """
    check_sampling("sample", temperature, top_k, top_p, min_p)
    scores = _scores(logits)
    rows = scores.reshape(-1, scores.shape[-1])
    highest = rows.max(1, keepdims=True)
    if not np.isfinite(highest).all():
        wrong = int(np.flatnonzero(~np.isfinite(highest[:, 0]))[0])
        expected = "expected numbers or -inf, and at least one number in a row"
        raise ValueError(f"sample: argument 'logits': {expected}, got {highest[wrong, 0]} in row {wrong}")
    if temperature == 0:
        return np.asarray(rows.argmax(1).reshape(scores.shape[:-1]), np.int64)
    # Within what float32 holds: beyond, the most likely ones are drawn anyway, or all are equal.
    divisor = min(max(float(temperature), 1e-30), 1e30)
    shares = _C.exp(_C.div(_C.sub(rows, highest), divisor))  # 1 of the most likely class
    if top_k is not None and top_k < rows.shape[1]:
        least = np.partition(shares, rows.shape[1] - top_k, 1)[:, -top_k, None]
        shares[shares < least] = 0
    if top_p is not None and top_p < 1:
        for row in shares:
            _keep_nucleus(row, top_p)
    if min_p is not None:
        shares[shares < min_p] = 0
    return _drawn(shares, resolve(rng)).reshape(scores.shape[:-1])


def check_sampling(
    op: str, temperature: float, top_k: int | None, top_p: float | None = None, min_p: float | None = None
) -> None:
    """Raise unless the arguments of :func:`sample` are in range."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"{op}: argument 'temperature': expected a finite number from 0 on, got {temperature}")
    if top_k is not None and as_int(op, "top_k", top_k) < 1:
        raise ValueError(f"{op}: argument 'top_k': expected a positive int, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"{op}: argument 'top_p': expected a number in (0, 1], got {top_p}")
    if min_p is not None and not 0 <= min_p <= 1:
        raise ValueError(f"{op}: argument 'min_p': expected a number in [0, 1], got {min_p}")


def _scores(logits: Any) -> NDArray[Any]:
    """In float32 or float64, as an ndarray."""
    if not isinstance(logits, (Tensor, np.ndarray)):
        raise TypeError(f"sample: argument 'logits': expected a Tensor or ndarray, got {type(logits).__name__}")
    scores = logits.detach().numpy() if isinstance(logits, Tensor) else logits
    name = scores.dtype.name
    if name not in ("float64", "float32", "float16", "bfloat16"):
        raise TypeError(f"sample: argument 'logits': expected a floating dtype, got {name}")
    if scores.ndim < 1 or scores.shape[-1] < 1:
        raise ValueError(f"sample: argument 'logits': expected shape (..., C) with C from 1 on, got {scores.shape}")
    return np.asarray(scores, np.float64 if name == "float64" else np.float32)


def _keep_nucleus(shares: NDArray[Any], top_p: float) -> None:
    """Set all but the fewest likely classes that make up ``top_p`` of the sum to 0, in place."""
    wanted = top_p * float(shares.sum(dtype=np.float64))
    classes = len(shares)
    for count in (min(_LIKELY, classes), classes):
        # All that are as likely as the last one, so that the order of equal ones does not depend on the partition.
        least = np.partition(shares, classes - count)[classes - count]
        likely = np.flatnonzero(shares >= least)
        likely = likely[np.argsort(shares[likely], kind="stable")[::-1]]
        sums = shares[likely].cumsum(dtype=np.float64)
        kept = int(np.searchsorted(sums, wanted)) + 1
        if kept <= len(likely):
            break
    chosen = likely[:kept]
    values = shares[chosen]
    shares[:] = 0
    shares[chosen] = values


def _drawn(shares: NDArray[Any], rng: Generator) -> NDArray[np.int64]:
    """One class of each row, with probabilities proportional to its shares."""
    places = rng.uniform(len(shares), dtype="float64").numpy()
    found = np.empty(len(shares), np.int64)
    for i, row in enumerate(shares):
        sums = row.cumsum(dtype=np.float64)
        found[i] = np.searchsorted(sums, places[i] * sums[-1], side="right")
    return found
