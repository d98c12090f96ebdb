"""Functions of functions: gradients without touching ``.grad``, and ops of a user's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from mlext import _C, autograd
from mlext.autograd import jointly, keep, record
from mlext.tensor import Tensor, tensor


def value_and_grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Make a function that returns ``fn``'s value and its gradient.

    Parameters
    ----------
    fn : callable
        Returns a Tensor of one element.
    argnums : int or sequence of int
        Positions of the arguments to differentiate by: arrays, or Python numbers.

    Returns
    -------
    callable
        Gives ``(value, gradient)``; for several ``argnums`` the gradient is a tuple.

    Examples
    --------
    >>> import mlext as ml
    >>> value, slope = ml.value_and_grad(lambda x: (x * x * x).sum())(ml.tensor([2.0]))
    >>> value.item(), slope.item()
    (8.0, 12.0)
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves: dict[int, Tensor] = {}
        values = list(args)
        for i in positions:
            source = args[i] if isinstance(args[i], Tensor) else tensor(args[i])
            leaves[i] = values[i] = source.detach().requires_grad_()
        before = _C.set_grad_enabled(True)
        try:
            out = fn(*values, **kwargs)
        finally:
            _C.set_grad_enabled(before)
        if not isinstance(out, Tensor) or out.size != 1:
            raise ValueError(f"value_and_grad: expected fn to return a Tensor of one element, got {out!r}")
        gradients = _gradients(out, list(leaves.values()))
        return out.detach(), gradients[0] if isinstance(argnums, int) else tuple(gradients)

    return wrapped


def _gradients(out: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    found: dict[int, Tensor] = {}

    def sink(leaf: Tensor, gradient: Tensor) -> None:
        if id(leaf) in wanted:
            found[id(leaf)] = _C.add(found[id(leaf)], gradient) if id(leaf) in found else gradient

    wanted = {id(leaf) for leaf in leaves}
    if out.requires_grad:
        autograd.run_backward(out, _C.full_like(_C.alias(out), 1.0), sink)
    return [found[id(leaf)] if id(leaf) in found else _C.full_like(_C.alias(leaf), 0.0) for leaf in leaves]


def grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Make a function that returns ``fn``'s gradient; see :func:`value_and_grad`.

    Examples
    --------
    >>> import mlext as ml
    >>> ml.grad(lambda x: (x * x).sum())(ml.tensor([3.0]))
    Tensor([6.])
    """
    both = value_and_grad(fn, argnums)

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return wrapped


def differentiable(fn: Callable[..., tuple[Any, Callable[[Any], Any]]]) -> Callable[..., Any]:
    """Make an op of your own: ``fn`` returns its result and the function that takes a gradient back.

    Parameters
    ----------
    fn : callable
        Called with Tensors off the tape; returns ``(output, backward)``, where ``backward(g)`` gives the gradient of
        the argument, or a tuple with one entry (or None) per argument.

    Examples
    --------
    >>> import mlext as ml
    >>> @ml.differentiable
    ... def cube(x):
    ...     return x * x * x, lambda g: g * 3.0 * x * x
    >>> x = ml.tensor([2.0], requires_grad=True)
    >>> cube(x).backward(); x.grad
    Tensor([12.])
    """

    @functools.wraps(fn)
    def wrapped(*args: Any) -> Any:
        inputs = [keep(a) if hasattr(a, "shape") else a for a in args]
        before = _C.set_grad_enabled(False)
        try:
            out, backward = fn(*[_C.alias(a) if isinstance(a, Tensor) else a for a in inputs])
        finally:
            _C.set_grad_enabled(before)
        if not _C.tracks(*inputs):
            return out
        name = getattr(fn, "__name__", "differentiable")
        return record(_C.alias(out), name, tuple(inputs), jointly(len(inputs), _checked(name, inputs, backward)))

    return wrapped


def _checked(name: str, inputs: list[Any], backward: Callable[[Any], Any]) -> Callable[[Any], Sequence[Any]]:
    def run(g: Any) -> Sequence[Any]:
        result = backward(g)
        gradients = result if isinstance(result, (tuple, list)) else (result,)
        if len(gradients) != len(inputs):
            raise ValueError(f"{name}: backward: expected {len(inputs)} gradients, got {len(gradients)}")
        out = []
        for i, (x, gradient) in enumerate(zip(inputs, gradients, strict=True)):
            if gradient is None and isinstance(x, Tensor):
                gradient = _C.full_like(_C.alias(x), 0.0)
            if isinstance(x, Tensor) and gradient.shape != x.shape:
                raise ValueError(
                    f"{name}: backward: argument {i}: expected a gradient of shape {x.shape}, got {gradient.shape}"
                )
            out.append(gradient)
        return out

    return run
