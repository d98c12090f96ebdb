"""Normalisation of images and sequences, channels last or first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, require_array
from mlext.functional._geometry import as_int
from mlext.functional._layout import LAST, SAMPLES, in_format
from mlext.functional._normalization import (
    checked_eps,
    machine_epsilon,
    over_rows,
    uses_own,
    wants_relu,
    with_given,
    with_own,
)


def batch_norm(
    x: ArrayLike,
    running_mean: Any,
    running_var: Any,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    data_format: str = LAST,
) -> Any:
    """Normalise each channel over all samples and pixels, ``y = (x - mean_c) / sqrt(var_c + eps) w_c + b_c``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, ..., C)
        Samples.
    running_mean, running_var : Tensor, shape (C,), or None
        Averages over batches. While training they move by ``momentum`` towards mean and (unbiased) variance of this
        batch, in place; otherwise they are what x is normalised with. None: x is normalised with its own.
    weight, bias : Tensor or ndarray, shape (C,), optional
        Scale and shift; 1 and 0 by default.
    training : bool
        Whether mean and variance are those of the batch.
    momentum : float
        Share of this batch in the running statistics, in [0, 1].
    eps : float
        Added to the variance.
    activation : {None, "relu"}
        Applied in the same kernel.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, ..., C) or (N, C, ...).

    Returns
    -------
    Tensor or ndarray, shape (N, ..., C)

    Raises
    ------
    TypeError
        If dtypes differ.
    ValueError
        If shapes do not fit, or there is one value per channel to train with.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x = np.array([[1.0, 2.0], [3.0, 6.0]])
    >>> ml.functional.batch_norm(x, None, None, training=True, eps=0.0)
    array([[-1., -1.],
           [ 1.,  1.]])

    References
    ----------
    Ioffe and Szegedy 2015, "Batch normalization", algorithm 1; variances as Chan, Golub and LeVeque 1983, "Algorithms
    for computing the sample variance", equation 1.5.
    """
    if data_format != LAST:
        given = running_mean, running_var, weight, bias, training, momentum, eps
        return in_format(batch_norm, data_format, SAMPLES, x, *given, activation=activation)
    require_array("batch_norm", "x", x, 2)
    own = uses_own("batch_norm", running_mean, running_var, training, momentum)
    options = (x.shape[-1], False, checked_eps("batch_norm", eps), wants_relu("batch_norm", activation))
    if not own:
        return with_given(x, running_mean, running_var, weight, bias, options)
    members = x.size // max(x.shape[-1], 1)
    if members < 2:
        raise ValueError(
            f"batch_norm: argument 'x': expected more than one value per channel to train with, got shape {x.shape}"
        )
    y, mean, var = with_own("batch_norm", x, weight, bias, options)
    if training and running_mean is not None:
        _C.update_running(running_mean, running_var, mean, var, momentum, members)
    return y


def group_norm(
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    data_format: str = LAST,
) -> Any:
    """Normalise groups of adjacent channels of each sample, ``y = (x - mean_ng) / sqrt(var_ng + eps) w_c + b_c``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, ..., C)
        Samples.
    num_groups : int
        Groups, a divisor of C.
    weight, bias : Tensor or ndarray, shape (C,), optional
        Scale and shift; 1 and 0 by default.
    eps : float
        Added to the variance.
    activation : {None, "relu"}
        Applied in the same kernel.
    data_format : {"channels_last", "channels_first"}
        Whether x and the result are (N, ..., C) or (N, C, ...).

    Returns
    -------
    Tensor or ndarray, shape (N, ..., C)

    Raises
    ------
    TypeError
        If dtypes differ.
    ValueError
        If the groups do not divide the channels, or shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> ml.functional.group_norm(np.array([[1.0, 3.0, 2.0, 6.0]]), 2, eps=0.0)
    array([[-1.,  1., -1.,  1.]])

    References
    ----------
    Wu and He 2018, "Group normalization", equations 1 to 6.
    """
    if data_format != LAST:
        given = num_groups, weight, bias, eps
        return in_format(group_norm, data_format, SAMPLES, x, *given, activation=activation)
    groups = as_int("group_norm", "num_groups", num_groups)
    options = (groups, True, checked_eps("group_norm", eps), wants_relu("group_norm", activation))
    return with_own("group_norm", x, weight, bias, options)[0]


def instance_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    data_format: str = LAST,
) -> Any:
    """Normalise each channel of each sample: :func:`group_norm` with one channel per group.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, ..., C)
        Samples.
    weight, bias, eps, activation, data_format
        As in :func:`group_norm`.

    Returns
    -------
    Tensor or ndarray, shape (N, ..., C)

    Raises
    ------
    TypeError, ValueError
        As :func:`group_norm`.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> ml.functional.instance_norm(np.array([[[1.0], [3.0]]]), eps=0.0)[0, :, 0]
    array([-1.,  1.])

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky 2016, "Instance normalization", equation 2.
    """
    if data_format != LAST:
        return in_format(instance_norm, data_format, SAMPLES, x, weight, bias, eps, activation=activation)
    require_array("instance_norm", "x", x, 2)
    options = (x.shape[-1], True, checked_eps("instance_norm", eps), wants_relu("instance_norm", activation))
    return with_own("instance_norm", x, weight, bias, options)[0]


def layer_norm(
    x: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> Any:
    """Normalise over the last axes, ``y = (x - mean) / sqrt(var + eps) w + b``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (..., *normalized_shape)
        Samples.
    normalized_shape : int or sequence of int
        Sizes of the axes that are normalised together.
    weight, bias : Tensor or ndarray of that shape, optional
        Scale and shift; 1 and 0 by default.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor or ndarray of the shape of x

    Raises
    ------
    TypeError
        If dtypes differ.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> ml.functional.layer_norm(np.array([[1.0, 3.0], [2.0, 6.0]]), 2, eps=0.0)
    array([[-1.,  1.],
           [-1.,  1.]])

    References
    ----------
    Ba, Kiros and Hinton 2016, "Layer normalization", equation 4.
    """
    return over_rows("layer_norm", x, normalized_shape, weight, bias, checked_eps("layer_norm", eps), True)


def rms_norm(
    x: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    eps: float | None = None,
) -> Any:
    """Divide by the root of the mean square over the last axes, ``y = x / sqrt(mean(x^2) + eps) w``.

    Parameters
    ----------
    x : Tensor or ndarray, shape (..., *normalized_shape)
        Samples.
    normalized_shape : int or sequence of int
        Sizes of the axes that are normalised together.
    weight : Tensor or ndarray of that shape, optional
        Scale; 1 by default.
    eps : float, optional
        Added to the mean square; by default the machine epsilon of x.

    Returns
    -------
    Tensor or ndarray of the shape of x

    Raises
    ------
    TypeError
        If dtypes differ.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> ml.functional.rms_norm(np.array([[3.0, 4.0]]), 2, eps=0.0) * np.sqrt(12.5)
    array([[3., 4.]])

    References
    ----------
    Zhang and Sennrich 2019, "Root mean square layer normalization", equation 4.
    """
    require_array("rms_norm", "x", x, 1)
    given = machine_epsilon(x) if eps is None else checked_eps("rms_norm", eps)
    return over_rows("rms_norm", x, normalized_shape, weight, None, given, False)
