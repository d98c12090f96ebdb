"""Products of bytes, for inference with quantised weights."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike
from mlext.functional._fused import check_activation


def matmul_integer(a: ArrayLike, b: ArrayLike) -> Any:
    """Matrix product of bytes with int32 sums, ``c = sum_k a_mk b_kn``.

    Exact as long as a sum fits into int32, which wraps beyond; up to a K of 65,793 every sum does. Has no gradient.

    Parameters
    ----------
    a : Tensor or ndarray of uint8 or int8, shape (M, K)
        Left factor.
    b : Tensor or ndarray of int8, shape (K, N)
        Right factor.

    Returns
    -------
    Tensor or ndarray of int32, shape (M, N)

    Raises
    ------
    TypeError
        If a dtype is another.
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> a = np.array([[200, 1]], np.uint8)
    >>> b = np.array([[-100], [7]], np.int8)
    >>> ml.functional.matmul_integer(a, b)
    array([[-19993]], dtype=int32)

    References
    ----------
    ONNX, operator MatMulInteger, without zero points.
    """
    return _C.matmul_integer(a, b)


def quantized_linear(
    x: ArrayLike,
    values: ArrayLike,
    scale: ArrayLike,
    offset: ArrayLike,
    x_scale: ArrayLike,
    x_zero: ArrayLike,
    activation: str | None = None,
    *,
    out_scale: ArrayLike | None = None,
    out_zero: ArrayLike | None = None,
) -> Any:
    """Linear map of bytes, ``act(scale_o sum_c q(x_c) values_oc + offset_o)``.

    ``q(x) = clamp(round(x / x_scale) + x_zero, 0, 255)``, ties to even. A row of ``x`` with a NaN gives a row of NaN.
    With ``out_scale`` and ``out_zero`` the result becomes bytes by the same rule, as the next layer wants them. Has no
    gradient.

    Parameters
    ----------
    x : Tensor or ndarray of float32 or uint8, shape (..., C)
        Input; of uint8, it is q(x) already.
    values : Tensor or ndarray of int8, shape (O, C)
        The weight in bytes; up to 3 columns of zeros may follow, to a multiple of 4, which saves a copy per call.
    scale, offset : Tensor or ndarray of float32, shape (O,)
        What a sum is multiplied by, and what is added then.
    x_scale : Tensor or ndarray of float32, one element
        What a step of a byte of x stands for.
    x_zero : Tensor or ndarray of uint8, one element
        The byte that stands for 0.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the store phase.
    out_scale, out_zero : Tensor or ndarray of float32 and of uint8, one element, optional
        What a step of a byte of the result stands for, and the byte that stands for 0.

    Returns
    -------
    Tensor or ndarray of float32, or of uint8 with ``out_scale``, shape (..., O)

    Raises
    ------
    TypeError
        If a dtype is another.
    ValueError
        If a shape does not fit, a scale is not positive, the activation is unknown, only one of ``out_scale`` and
        ``out_zero`` is there, or ``x`` has a NaN and the result is to be bytes.
    RuntimeError
        If ``x`` tracks gradients.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x = np.array([[0.5, 1.0]], np.float32)
    >>> values = np.array([[100, -50]], np.int8)
    >>> one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    >>> ml.functional.quantized_linear(x, values, one, none, np.float32([0.01]), np.uint8([0]))
    array([[0.]], dtype=float32)

    References
    ----------
    Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
    section 2.
    """
    check_activation("quantized_linear", activation)
    refuse_gradient("quantized_linear", x)
    return _C.quantized_linear(x, values, scale, offset, x_scale, x_zero, activation, out_scale, out_zero)


def refuse_gradient(name: str, *values: Any) -> None:
    """Raise if a gradient would be lost without a word; the first value is ``x``."""
    if _C.tracks(*values):
        raise RuntimeError(
            f"{name}: argument 'x': expected an array that tracks no gradient, got one that does; a quantised weight "
            "has no gradient: call it under mlext.no_grad() or with x.detach()"
        )


def weight_only_linear(
    x: ArrayLike,
    values: ArrayLike,
    scale: ArrayLike,
    bias: ArrayLike | None,
    group_size: int,
    activation: str | None = None,
) -> Any:
    """Linear map with weights of 8 or 4 bits, ``act(sum_c x_c scale_og w_oc + b_o)`` with ``g = c // group_size``.

    Sums are those of float32. Has no gradient.

    Parameters
    ----------
    x : Tensor or ndarray of float32, shape (..., C)
        Input.
    values : Tensor or ndarray
        The weights w. 8 bits: int8, shape (O, C). 4 bits: uint8, shape (O, 16 ceil(C / 32)); of every 32 weights the
        first 16 are the low bits of 16 bytes and the others the high bits, each 8 larger than the weight.
    scale : Tensor or ndarray of float32, shape (O, ceil(C / group_size))
        What a step of a weight stands for.
    bias : Tensor or ndarray of float32, shape (O,), or None
        Added to every row of the result.
    group_size : int
        Neighbours in a row that share a scale: a multiple of 32, or C and more.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the store phase.

    Returns
    -------
    Tensor or ndarray of float32, shape (..., O)

    Raises
    ------
    TypeError
        If a dtype is another.
    ValueError
        If a shape or ``group_size`` does not fit, or the activation is unknown.
    RuntimeError
        If ``x`` tracks gradients.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> x = np.array([[1.0, 2.0]], np.float32)
    >>> values, scale = np.array([[100, -50]], np.int8), np.array([[0.01]], np.float32)
    >>> ml.functional.weight_only_linear(x, values, scale, None, 2)
    array([[0.]], dtype=float32)
    """
    check_activation("weight_only_linear", activation)
    refuse_gradient("weight_only_linear", x)
    return _C.weight_only_linear(x, values, scale, bias, group_size, activation)
