"""Activation functions, elementwise."""

from __future__ import annotations

from typing import Any

from mlext import _C
from mlext.functional._common import ArrayLike, jointly, keep, operation, record, unbroadcast
from mlext.functional._layout import LAST, SAMPLES, in_format


def _from_input(op: str, x: Any, out: Any, backward: Any, *parameters: float) -> Any:
    """Record an activation whose gradient is ``backward(x, g, *parameters)``."""
    if not _C.tracks(x):
        return out
    return record(out, op, (x,), (lambda g: backward(x, g, *parameters),), (x,))


def _from_output(op: str, x: Any, out: Any, backward: Any) -> Any:
    """Record an activation whose gradient is ``backward(out, g)``."""
    return record(out, op, (x,), (lambda g: backward(out, g),), (out,))


@operation(_C.relu)
def relu(x: ArrayLike) -> Any:
    """Rectified linear unit, ``max(x, 0)``; the gradient at 0 is 0.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.relu(ml.tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """
    return _from_output("relu", x, _C.relu(x), _C.relu_backward)


def relu6(x: ArrayLike) -> Any:
    """Rectified linear unit limited to 6, ``min(max(x, 0), 6)``; the gradient at 0 and at 6 is 0."""
    out = _C.clip(x, 0.0, 6.0)
    return _from_output("relu6", x, out, _C.relu6_backward) if _C.tracks(x) else out


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Any:
    """``x`` where positive, ``negative_slope * x`` elsewhere."""
    out = _C.leaky_relu(x, negative_slope)
    return _from_input("leaky_relu", x, out, _C.leaky_relu_backward, negative_slope)


def prelu(x: ArrayLike, weight: ArrayLike, *, data_format: str = LAST) -> Any:
    """Leaky ReLU with a learnt slope: ``max(x, 0) + weight * min(x, 0)`` (He et al. 2015, equation 1).

    ``weight`` has one element or broadcasts to ``x`` (one per channel: the last axis, or with channels first the second
    one).
    """
    if data_format != LAST:
        return in_format(prelu, data_format, SAMPLES, x, weight)
    out = _C.where(_C.gt(x, 0.0), x, _C.mul(x, weight))
    if not _C.tracks(x, weight):
        return out
    x, weight = keep(x), keep(weight)

    def backward(g: Any) -> tuple[Any, Any]:
        positive = _C.gt(x, 0.0)
        to_weight = _C.where(positive, 0.0, _C.mul(g, x))
        return _C.where(positive, g, _C.mul(g, weight)), unbroadcast(to_weight, weight)

    return record(out, "prelu", (x, weight), jointly(2, backward), (x, weight))


def elu(x: ArrayLike, alpha: float = 1.0) -> Any:
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al. 2016)."""
    return _from_input("elu", x, _C.elu(x, alpha), _C.elu_backward, alpha)


def celu(x: ArrayLike, alpha: float = 1.0) -> Any:
    """``x`` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere (Barron 2017)."""
    if alpha == 0:
        raise ValueError("celu: argument 'alpha': expected a number other than 0, got 0")
    return _from_input("celu", x, _C.celu(x, alpha), _C.celu_backward, alpha)


@operation(_C.selu)
def selu(x: ArrayLike) -> Any:
    """Scaled ELU with the constants of self-normalising networks (Klambauer et al. 2017)."""
    return _from_input("selu", x, _C.selu(x), _C.selu_backward)


def gelu(x: ArrayLike, approximate: str = "none") -> Any:
    """Gaussian error linear unit, ``x * Phi(x)`` (Hendrycks & Gimpel 2016).

    Parameters
    ----------
    x : Tensor or ndarray
        Any shape.
    approximate : {"none", "tanh"}
        ``"tanh"`` computes ``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``.

    Raises
    ------
    ValueError
        For any other ``approximate``.
    """
    if approximate == "none":
        return _from_input("gelu", x, _C.gelu(x), _C.gelu_backward)
    if approximate == "tanh":
        return _from_input("gelu_tanh", x, _C.gelu_tanh(x), _C.gelu_tanh_backward)
    raise ValueError(f"gelu: argument 'approximate': expected 'none' or 'tanh', got {approximate!r}")


@operation(_C.silu)
def silu(x: ArrayLike) -> Any:
    """``x * sigmoid(x)``, also called swish (Elfwing et al. 2018)."""
    return _from_input("silu", x, _C.silu(x), _C.silu_backward)


@operation(_C.mish)
def mish(x: ArrayLike) -> Any:
    """``x * tanh(softplus(x))`` (Misra 2019)."""
    return _from_input("mish", x, _C.mish(x), _C.mish_backward)


@operation(_C.sigmoid)
def sigmoid(x: ArrayLike) -> Any:
    """Logistic function, ``1 / (1 + exp(-x))``."""
    return _from_output("sigmoid", x, _C.sigmoid(x), _C.sigmoid_backward)


@operation(_C.log_sigmoid)
def log_sigmoid(x: ArrayLike) -> Any:
    """``log(sigmoid(x))``, without overflow."""
    return _from_input("log_sigmoid", x, _C.log_sigmoid(x), _C.log_sigmoid_backward)


@operation(_C.hard_sigmoid)
def hard_sigmoid(x: ArrayLike) -> Any:
    """``min(max(x + 3, 0), 6) / 6`` (Howard et al. 2019)."""
    return _from_input("hard_sigmoid", x, _C.hard_sigmoid(x), _C.hard_sigmoid_backward)


@operation(_C.hard_swish)
def hard_swish(x: ArrayLike) -> Any:
    """``x * hard_sigmoid(x)`` (Howard et al. 2019)."""
    return _from_input("hard_swish", x, _C.hard_swish(x), _C.hard_swish_backward)


@operation(_C.tanh)
def tanh(x: ArrayLike) -> Any:
    """Hyperbolic tangent."""
    return _from_output("tanh", x, _C.tanh(x), _C.tanh_backward)


def hard_tanh(x: ArrayLike, low: float = -1.0, high: float = 1.0) -> Any:
    """``x`` limited to ``[low, high]``."""
    if not low < high:
        raise ValueError(f"hard_tanh: argument 'low': expected less than 'high' ({high}), got {low}")
    return _from_input("hard_tanh", x, _C.clip(x, low, high), _C.clip_backward, low, high)


def softplus(x: ArrayLike, beta: float = 1.0) -> Any:
    """``log(1 + exp(beta x)) / beta``, without overflow."""
    if not beta > 0:
        raise ValueError(f"softplus: argument 'beta': expected a positive number, got {beta}")
    return _from_input("softplus", x, _C.softplus(x, beta), _C.softplus_backward, beta)


@operation(_C.softsign)
def softsign(x: ArrayLike) -> Any:
    """``x / (1 + |x|)``."""
    return _from_input("softsign", x, _C.softsign(x), _C.softsign_backward)


def soft_shrink(x: ArrayLike, threshold: float = 0.5) -> Any:
    """``sign(x) * max(|x| - threshold, 0)``."""
    if not threshold >= 0:
        raise ValueError(f"soft_shrink: argument 'threshold': expected 0 or more, got {threshold}")
    return _from_input("soft_shrink", x, _C.soft_shrink(x, threshold), _C.soft_shrink_backward, threshold)


def _gated(op: str, gate: Any, up: Any, forward: Any, backward: Any) -> Any:
    """Record ``act(gate) * up``, whose gradients come from one kernel."""
    if not _C.tracks(gate, up):
        return forward(gate, up)
    gate, up = keep(gate), keep(up)
    return record(forward(gate, up), op, (gate, up), jointly(2, lambda g: backward(gate, up, g)), (gate, up))


def swiglu(gate: ArrayLike, up: ArrayLike) -> Any:
    """``silu(gate) * up`` in one kernel, both gradients in another.

    Parameters
    ----------
    gate, up : Tensor or ndarray, shape (..., C)
        Any one shape. They may be slices of one array: neither is copied if its last axis is one run of memory.

    Returns
    -------
    Tensor or ndarray, shape (..., C)

    Raises
    ------
    TypeError
        If the dtypes differ or are not floating.
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.swiglu(ml.tensor([0.0, 100.0]), ml.tensor([3.0, 2.0]))
    Tensor([  0., 200.])

    References
    ----------
    Shazeer 2020, "GLU variants improve transformer", equation 5.
    """
    return _gated("swiglu", gate, up, _C.swiglu, _C.swiglu_backward)


def geglu(gate: ArrayLike, up: ArrayLike, approximate: str = "none") -> Any:
    """``gelu(gate) * up`` in one kernel, both gradients in another.

    Parameters
    ----------
    gate, up : Tensor or ndarray, shape (..., C)
        As in :func:`swiglu`.
    approximate : {"none", "tanh"}
        As in :func:`gelu`.

    Returns
    -------
    Tensor or ndarray, shape (..., C)

    Raises
    ------
    TypeError
        If the dtypes differ or are not floating.
    ValueError
        If the shapes differ, or for any other ``approximate``.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.functional.geglu(ml.tensor([0.0, 100.0]), ml.tensor([3.0, 2.0]), approximate="tanh")
    Tensor([  0., 200.])

    References
    ----------
    Shazeer 2020, "GLU variants improve transformer", equation 5.
    """
    if approximate == "none":
        return _gated("geglu", gate, up, _C.geglu, _C.geglu_backward)
    if approximate == "tanh":
        return _gated("geglu_tanh", gate, up, _C.geglu_tanh, _C.geglu_tanh_backward)
    raise ValueError(f"geglu: argument 'approximate': expected 'none' or 'tanh', got {approximate!r}")
