"""Labels out of the scores of frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ctc_greedy_decode"]


def ctc_greedy_decode(
    prediction: ArrayLike, input_lengths: ArrayLike | None = None, blank: int = 0
) -> list[NDArray[np.int64]]:
    """Return what the best class of each frame spells: repeats merged, then blanks dropped.

    Parameters
    ----------
    prediction : array
        Scores (N, T, C).
    input_lengths : array of integers, optional
        Frames of each sequence (N,), 0 to T; None for T.
    blank : int
        The class that stands for no label.

    Raises
    ------
    TypeError
        If the lengths are not integers.
    ValueError
        If a shape does not fit, or a length is not from 0 to T.

    Examples
    --------
    >>> import numpy as np
    >>> ctc_greedy_decode(np.eye(3)[None, [0, 1, 1, 0, 1, 2]])
    [array([1, 1, 2])]

    References
    ----------
    Graves et al. 2006, "Connectionist Temporal Classification", section 3.2 (best path decoding).
    """
    op, scores = "ctc_greedy_decode", np.asarray(prediction)
    if scores.ndim != 3 or scores.shape[2] < 1:
        raise ValueError(f"{op}: argument 'prediction': expected scores (N, T, C), got shape {scores.shape}")
    count, frames, classes = scores.shape
    if not 0 <= blank < classes:
        raise ValueError(f"{op}: argument 'blank': expected a class, 0 to {classes - 1}, got {blank}")
    lengths = np.full(count, frames) if input_lengths is None else np.asarray(input_lengths)
    if lengths.dtype.kind not in "iu" and count > 0:
        raise TypeError(f"{op}: argument 'input_lengths': expected integers, got {lengths.dtype}")
    if lengths.shape != (count,) or not ((lengths >= 0) & (lengths <= frames)).all():
        raise ValueError(f"{op}: argument 'input_lengths': expected {count} lengths from 0 to {frames}, got {lengths}")
    best = scores.argmax(axis=2)
    begins = np.diff(best, axis=1, prepend=-1) != 0
    kept = begins & (best != blank) & (np.arange(frames) < lengths[:, None])
    return [path[chosen].astype(np.int64) for path, chosen in zip(best, kept, strict=True)]
