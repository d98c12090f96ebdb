"""Matrix products and the layers made of one."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, keep, operation, record, swap_last, unbroadcast
from mlext.functional._fused import Fused, check_activation


@operation(_C.matmul)
def matmul(a: ArrayLike, b: ArrayLike) -> Any:
    """Matrix product with NumPy's rules for 1-d arguments and broadcast batches.

    Parameters
    ----------
    a : Tensor or ndarray, shape (..., M, K) or (K,)
        Left factor.
    b : Tensor or ndarray, shape (..., K, O) or (K,)
        Right factor, of the same dtype.

    Returns
    -------
    Tensor or ndarray, shape (..., M, O)
        The product; float32 accumulation for the half types.

    Raises
    ------
    TypeError
        If the dtypes differ or are not floating.
    ValueError
        If the inner sizes differ or the batches do not broadcast.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.matmul(ml.ones(2, 3), ml.ones(3, 1))
    Tensor([[3.],
            [3.]])
    """
    out = _C.matmul(a, b)
    a, b = keep(a), keep(b)
    return record(out, "matmul", (a, b), (lambda g: _to_left(g, a, b), lambda g: _to_right(g, a, b)), (a, b))


def _to_left(g: Any, a: Any, b: Any) -> Any:
    # dA = dC B^T; a vector is a matrix of one row or column for the length of this formula.
    if b.ndim == 1:
        full = _C.mul(_C.expand_dims(g, (-1,)), b) if a.ndim > 1 else _C.mul(b, g)
    elif a.ndim == 1:
        full = _C.matmul(_C.expand_dims(g, (-2,)), swap_last(b))
        full = _C.squeeze(full, (-2,))
    else:
        full = _C.matmul(g, swap_last(b))
    return unbroadcast(full, a)


def _to_right(g: Any, a: Any, b: Any) -> Any:
    # dB = A^T dC.
    if a.ndim == 1:
        full = _C.mul(_C.expand_dims(a, (-1,)), _C.expand_dims(g, (-2,))) if b.ndim > 1 else _C.mul(a, g)
    elif b.ndim == 1:
        full = _C.squeeze(_C.matmul(swap_last(a), _C.expand_dims(g, (-1,))), (-1,))
    else:
        full = _C.matmul(swap_last(a), g)
    return unbroadcast(full, b)


def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    activation: str | None = None,
    *,
    residual: ArrayLike | None = None,
) -> Any:
    """Affine map with an optional residual and activation, ``act(x W^T + b + r)``, in one kernel.

    Parameters
    ----------
    x : Tensor or ndarray, shape (..., C)
        Input.
    weight : Tensor or ndarray, shape (O, C)
        One row per output feature.
    bias : Tensor or ndarray, shape (O,), optional
        Added to every row of the result.
    activation : {"relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"}, optional
        Applied in the store phase of the product.
    residual : Tensor or ndarray, shape (..., O), optional
        Added to the result, in the store phase too, before the activation.

    Returns
    -------
    Tensor or ndarray, shape (..., O)

    Raises
    ------
    TypeError
        If the dtypes differ or are not floating.
    ValueError
        If a shape does not fit or the activation is unknown.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.linear(ml.ones(1, 3), ml.ones(2, 3), ml.tensor([0.5, -4.0]), activation="relu")
    Tensor([[3.5, 0. ]])
    """
    check_activation("linear", activation)
    if not _C.tracks(x, weight, bias, residual):
        return _C.linear(x, weight, bias, activation, False, residual)
    bias, residual = (a if a is None else keep(a) for a in (bias, residual))
    return _record_linear(keep(x), keep(weight), bias, residual, activation)


def _record_linear(x: Any, weight: Any, bias: Any, residual: Any, activation: str | None) -> Any:
    fused = Fused(lambda act, before: _C.linear(x, weight, bias, act, before, residual), activation)
    inner = fused.inner
    backward = (
        lambda g: _C.matmul(inner(g), weight),
        lambda g: _C.linear_weight_gradient(inner(g), x),
        lambda g: _C.sum_to(inner(g), weight.shape[:1]),
        inner,
    )
    return record(fused.out, "linear", (x, weight, bias, residual), backward, (x, weight, *fused.saved))


def bilinear(x1: ArrayLike, x2: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Any:
    """Bilinear map, ``y_o = x1^T W_o x2 + b_o``.

    Parameters
    ----------
    x1 : Tensor or ndarray, shape (..., C1)
        First input.
    x2 : Tensor or ndarray, shape (..., C2)
        Second input, with the same leading sizes.
    weight : Tensor or ndarray, shape (O, C1, C2)
        One matrix per output feature.
    bias : Tensor or ndarray, shape (O,), optional
        Added to every row of the result.

    Returns
    -------
    Tensor or ndarray, shape (..., O)
    """
    from mlext.functional.arithmetic import add, mul
    from mlext.functional.reduction import sum
    from mlext.functional.shape import expand_dims, reshape

    if x1.shape[:-1] != x2.shape[:-1]:
        raise ValueError(f"bilinear: argument 'x2': expected leading sizes {x1.shape[:-1]}, got {x2.shape[:-1]}")
    if weight.ndim != 3 or weight.shape[1:] != (x1.shape[-1], x2.shape[-1]):
        expected = ("O", x1.shape[-1], x2.shape[-1])
        raise ValueError(f"bilinear: argument 'weight': expected shape {expected}, got {weight.shape}")
    o, c1, c2 = weight.shape
    # (..., O * C1): every row of every W_o against x2, then the dot product with x1.
    projected = linear(x2, reshape(weight, (o * c1, c2)))
    projected = reshape(projected, (*x1.shape[:-1], o, c1))
    out = sum(mul(projected, expand_dims(x1, -2)), axis=-1)
    return out if bias is None else add(out, bias)


def embedding(indices: ArrayLike, weight: ArrayLike, padding_idx: int | None = None) -> Any:
    """Rows of ``weight`` picked by ``indices``.

    Parameters
    ----------
    indices : Tensor or ndarray of integers, shape (...)
        Row numbers, 0 to V - 1.
    weight : Tensor or ndarray, shape (V, C)
        The table.
    padding_idx : int, optional
        This row receives no gradient.

    Returns
    -------
    Tensor or ndarray, shape (..., C)

    Raises
    ------
    IndexError
        If an index is out of range, naming its position.
    """
    if weight.ndim != 2:
        raise ValueError(f"embedding: argument 'weight': expected shape (V, C), got {weight.shape}")
    out = _C.take(weight, indices, 0)
    if not _C.tracks(weight):
        return out
    indices = keep(indices)
    shape = weight.shape

    def to_weight(g: Any) -> Any:
        if padding_idx is not None:
            real = _C.ne(indices, padding_idx)
            g = _C.where(_C.expand_dims(real, (-1,)), g, 0.0)
        return _C.take_backward(shape, indices, g, 0)

    return record(out, "embedding", (weight,), (to_weight,), (indices,))
