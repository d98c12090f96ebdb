"""Losses of sequences that are not aligned with their targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import _C
from mlext.autograd import record
from mlext.functional._common import ArrayLike


def ctc(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    input_lengths: ArrayLike | None = None,
    target_lengths: ArrayLike | None = None,
    blank: int = 0,
    zero_infinity: bool = False,
    reduction: str = "mean",
) -> Any:
    """Connectionist temporal classification: the loss of labels of which only the order is known.

        -log sum over paths that spell the target of prod_t softmax(x_t)[path_t]

    A path has a class for each frame. It spells what is left when repeats are merged and blanks dropped after that.

    Parameters
    ----------
    prediction : Tensor or ndarray, shape (N, T, C)
        Logits, batch first; the kernel takes the softmax, which leaves log-probabilities as they are.
    target : Tensor or ndarray of integers, shape (N, S)
        Labels, from 0 to C - 1 but for the blank, each row followed by anything.
    input_lengths : Tensor, ndarray or sequence of int, shape (N,), optional
        Frames of each sequence, 0 to T; None for T. What comes behind is not read, and its gradient is 0.
    target_lengths : Tensor, ndarray or sequence of int, shape (N,), optional
        Labels of each sequence, 0 to S; None for S.
    blank : int
        The class that stands for no label.
    zero_infinity : bool
        Whether the loss of a target that no path spells, which is too long for the frames, is 0 and so is its gradient.
        Otherwise they are infinity and NaN.
    reduction : {"mean", "sum", "none"}
        What to do with the losses of the sequences. ``mean`` divides each by its number of labels, at least 1, and
        their sum by N; that of no sequences is 0.

    Raises
    ------
    IndexError
        If a label is out of range or the blank, naming its position.
    TypeError
        If target or lengths are not integers, or the prediction is not floating.
    ValueError
        If a shape does not fit, or a length is not that of a part of the sequence.

    Examples
    --------
    Of the nine paths of two frames and three classes, three spell one label: 0 1, 1 0 and 1 1.

    >>> import mlext as ml
    >>> round(ml.losses.ctc(ml.zeros(1, 2, 3), ml.tensor([[1]])).item(), 4)
    1.0986

    References
    ----------
    Graves et al. 2006, "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent
    Neural Networks", equations 6 to 8 and 16.
    """
    tracks = _C.tracks(prediction)
    loss, gradient = _C.ctc(
        prediction,
        target,
        _lengths("input_lengths", input_lengths),
        _lengths("target_lengths", target_lengths),
        blank,
        zero_infinity,
        reduction,
        tracks,
    )
    if not tracks:
        return loss
    dtype = loss.dtype

    def backward(g: Any) -> Any:
        # Gradients of half types are float32 until they are scaled: those of one frame are smaller than float16 can be.
        g = _C.cast(g, gradient.dtype) if gradient.dtype != dtype else g
        made = _C.mul(gradient, _C.reshape(g, (-1, 1, 1)) if reduction == "none" else g)
        return _C.cast(made, dtype) if gradient.dtype != dtype else made

    return record(loss, "ctc", (prediction,), (backward,), (gradient,))


def _lengths(name: str, lengths: Any) -> Any:
    """Lengths as the kernel takes them."""
    if lengths is None or isinstance(lengths, _C.Array):
        return lengths
    given = np.asarray(lengths)
    if given.dtype.kind not in "iu" and given.size > 0:
        raise TypeError(f"ctc: argument '{name}': expected integers, got {given.dtype}")
    return given.astype(np.int64, copy=False)
