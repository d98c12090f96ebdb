"""Initial values of parameters. Every function writes into a tensor and returns it.

Weights are laid out ``(out, in)`` or ``(out, *kernel, in)``; with k the product of the kernel
sizes, ``fan_in`` is ``in * k`` and ``fan_out`` is ``out * k``. ``rng=`` is a Generator or a seed;
without it the default generator of ``mlext.manual_seed`` is used.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlext import _C, dtypes
from mlext.random import Rng, resolve
from mlext.tensor import Tensor


def _write(op: str, tensor: Tensor, values: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{op}: argument 'tensor': expected a Tensor, got {type(tensor).__name__}")
    if tensor._node is not None:
        raise RuntimeError(f"{op}: argument 'tensor': expected a leaf, got the result of {tensor._node.op}")
    _C.copy_(tensor, values)
    return tensor


def _drawn_dtype(tensor: Tensor) -> dtypes.DType:
    """Draw in float32 for the half types."""
    return dtypes.float64 if tensor.dtype is dtypes.float64 else dtypes.float32


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return ``(fan_in, fan_out)``: inputs that feed one output, outputs that one input feeds.

    Raises
    ------
    ValueError
        For a tensor of fewer than two dimensions.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.init.fans(ml.zeros(16, 3, 3, 8))
    (72, 144)
    """
    if tensor.ndim < 2:
        raise ValueError(f"fans: argument 'tensor': expected 2 or more dimensions, got shape {tensor.shape}")
    kernel = math.prod(tensor.shape[1:-1])
    return tensor.shape[-1] * kernel, tensor.shape[0] * kernel


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through a nonlinearity.

    Parameters
    ----------
    nonlinearity : {"linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"}
        1, 1, 5/3, sqrt(2), sqrt(2 / (1 + slope^2)), 3/4.
    param : float, optional
        Slope of leaky_relu; 0.01 if not given.

    Raises
    ------
    ValueError
        For an unknown name.

    Examples
    --------
    >>> import mlext as ml
    >>> round(ml.init.calculate_gain("relu"), 4)
    1.4142
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + slope**2)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise ValueError(
            f"calculate_gain: argument 'nonlinearity': expected one of {sorted(gains)}, got {nonlinearity!r}"
        )
    return gains[nonlinearity]


# ---- constants -----------------------------------------------------------------------------------


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Fill with ``value``."""
    return _write("constant_", tensor, float(value))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return _write("zeros_", tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return _write("ones_", tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """Write the identity matrix into a tensor of two dimensions."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: argument 'tensor': expected 2 dimensions, got shape {tensor.shape}")
    return _write("eye_", tensor, np.eye(*tensor.shape, dtype=np.float32))


identity_ = eye_


# ---- plain distributions -------------------------------------------------------------------------


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Draw from ``[low, high)``."""
    drawn = resolve(rng).uniform(tensor.shape, low=low, high=high, dtype=_drawn_dtype(tensor))
    return _write("uniform_", tensor, drawn)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Draw from the normal distribution."""
    drawn = resolve(rng).normal(tensor.shape, mean=mean, std=std, dtype=_drawn_dtype(tensor))
    return _write("normal_", tensor, drawn)


def truncated_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    *,
    rng: Rng = None,
) -> Tensor:
    """Draw from the normal distribution conditioned to lie in ``[low, high]``."""
    state, dtype = resolve(rng).state, _drawn_dtype(tensor)
    drawn = _C.random_truncated_normal(state, tensor.shape, mean, std, low, high, dtype)
    return _write("truncated_normal_", tensor, drawn)


# ---- by the number of inputs and outputs ---------------------------------------------------------


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Draw uniformly with variance ``gain^2 * 2 / (fan_in + fan_out)`` (Glorot & Bengio 2010).

    Examples
    --------
    >>> import mlext as ml
    >>> weight = ml.init.xavier_uniform_(ml.zeros(30, 20), rng=0)
    >>> bool((abs(weight) <= (6 / 50) ** 0.5).all())
    True
    """
    std = gain * math.sqrt(2.0 / sum(fans(tensor)))
    return _uniform_of_std(tensor, std, rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Draw normally with variance ``gain^2 * 2 / (fan_in + fan_out)`` (Glorot & Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), rng=rng)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    rng: Rng = None,
) -> Tensor:
    """Draw uniformly with variance ``gain^2 / fan`` (He et al. 2015).

    Parameters
    ----------
    tensor : Tensor
        Weight.
    a : float
        Slope of leaky_relu.
    mode : {"fan_in", "fan_out"}
        Which fan: the first keeps the variance of the forward pass, the second that of the
        gradient.
    nonlinearity : str
        What follows; see :func:`calculate_gain`.
    rng : Generator or int, optional
        Source of randomness.

    Raises
    ------
    ValueError
        If ``mode`` or ``nonlinearity`` is unknown.
    """
    return _uniform_of_std(tensor, _kaiming_std(tensor, a, mode, nonlinearity), rng)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    rng: Rng = None,
) -> Tensor:
    """Draw normally with variance ``gain^2 / fan``; see :func:`kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), rng=rng)


def lecun_uniform_(tensor: Tensor, *, rng: Rng = None) -> Tensor:
    """Draw uniformly with variance ``1 / fan_in`` (LeCun et al. 1998)."""
    return _uniform_of_std(tensor, 1.0 / math.sqrt(fans(tensor)[0]), rng)


def lecun_normal_(tensor: Tensor, *, rng: Rng = None) -> Tensor:
    """Draw normally with variance ``1 / fan_in`` (LeCun et al. 1998)."""
    return normal_(tensor, 0.0, 1.0 / math.sqrt(fans(tensor)[0]), rng=rng)


glorot_uniform_, glorot_normal_ = xavier_uniform_, xavier_normal_
he_uniform_, he_normal_ = kaiming_uniform_, kaiming_normal_


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: argument 'mode': expected 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _uniform_of_std(tensor: Tensor, std: float, rng: Rng) -> Tensor:
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, rng=rng)


# ---- structured ----------------------------------------------------------------------------------


def orthogonal_(tensor: Tensor, gain: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Orthonormal rows or columns, whichever are fewer, times ``gain`` (Saxe et al. 2014).

    A tensor of more than two dimensions is treated as the matrix ``(out, rest)``.

    Raises
    ------
    ValueError
        For a tensor of fewer than two dimensions.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: argument 'tensor': expected 2 or more dimensions, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    drawn = resolve(rng).normal(max(rows, columns), min(rows, columns), dtype="float64").numpy()
    q, r = np.linalg.qr(drawn)
    # Signs of R's diagonal to +: only then is Q uniform over the orthogonal matrices (Mezzadri
    # 2007).
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    values = np.ascontiguousarray(gain * (q if rows >= columns else q.T))
    return _write("orthogonal_", tensor, values.reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, *, rng: Rng = None) -> Tensor:
    """Draw normally and set a fraction ``sparsity`` of every column to 0 (Martens 2010).

    Raises
    ------
    ValueError
        If ``tensor`` has not two dimensions, or ``sparsity`` is outside [0, 1].
    """
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: argument 'tensor': expected 2 dimensions, got shape {tensor.shape}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: argument 'sparsity': expected a number in [0, 1], got {sparsity}")
    rng = resolve(rng)
    values = rng.normal(tensor.shape, std=std, dtype="float64").numpy()
    zeros = math.ceil(sparsity * tensor.shape[0])
    order = np.argsort(rng.uniform(tensor.shape, dtype="float64").numpy(), axis=0)
    np.put_along_axis(values, order[:zeros], 0.0, axis=0)
    return _write("sparse_", tensor, values)
