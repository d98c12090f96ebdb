"""``mlext.compile``: run a function once, keep its kernel launches, replay them in one call.

The first call with a new signature runs the function as it is while every launch is recorded together with the memory it
works in. Later calls copy the arguments into that memory and run the launches again: no Python, no tape, no allocation.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from mlext import _C, autograd
from mlext.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")

# A function that is captured this often is not being replayed: something in its signature never repeats.
MAX_CAPTURES = 64


class Input(Tensor):
    """An ndarray argument during a capture: modules cast it to their dtype as they would the ndarray."""

    __slots__ = ()


# Modules that took part in the capture in progress, each with what its behaviour depends on.
_modes: dict[int, tuple[Any, tuple[Any, ...]]] | None = None


def note_mode(module: Any, mode: tuple[Any, ...]) -> None:
    """Tell a capture in progress that ``module`` ran in ``mode`` (what ``module._mode()`` returns)."""
    if _modes is not None:
        _modes[id(module)] = (module, mode)


def compile(fn: Callable[P, R]) -> Callable[P, R]:
    """Make a function that replays what ``fn`` launched; the results are bitwise those of ``fn``.

    Arguments that are ndarrays or Tensors may have new values at every call; a new shape or dtype, or another value of any
    other argument, is captured anew. What ``fn`` uses from outside must be Tensors (parameters, optimizer state, random
    state), whose current values are used. Tensors that ``fn`` returns come back off the tape.

    Parameters
    ----------
    fn : callable
        Runs under the tape as usual: forward, ``backward()``, ``optimizer.step()``. It may not read a value (``item()``,
        ``float()``, ``if loss > 1``, ``.numpy()``), since a replay would not see the new one.

    Returns
    -------
    callable
        With the attributes ``captures`` (number of signatures so far) and ``clear()``.

    Raises
    ------
    RuntimeError
        When ``fn`` reads a value, or uses an ndarray that is not an argument.

    Examples
    --------
    >>> import mlext as ml
    >>> w = ml.tensor([2.0], requires_grad=True)
    >>> @ml.compile
    ... def loss(x):
    ...     return (w * x).sum()
    >>> loss(ml.tensor([1.0])).item(), loss(ml.tensor([5.0])).item()
    (2.0, 10.0)
    """
    if not callable(fn):
        raise TypeError(f"compile: argument 'fn': expected a callable, got {type(fn).__name__}")
    return cast("Callable[P, R]", Compiled(fn))


class Compiled:
    """What ``compile`` returns: a hit is served in C++, only a miss comes to Python."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self._call = _C.CompiledCall(self._miss)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay, or capture."""
        return self._call(*args, **kwargs)

    @property
    def captures(self) -> int:
        """How many signatures were captured so far."""
        return _C.entry_count(self._call)

    def clear(self) -> None:
        """Forget all captures and free their memory."""
        _C.clear_entries(self._call)

    def _miss(self, *args: Any, **kwargs: Any) -> Any:
        name = getattr(self.fn, "__name__", "the function")
        if kwargs:
            bound = inspect.signature(self.fn).bind(*args, **kwargs)
            if bound.kwargs:
                raise TypeError(f"compile: {name}: keyword-only arguments are not supported")
            return self._call(*bound.args)
        if _C.is_capturing():
            return self.fn(*args)
        if self.captures >= MAX_CAPTURES:
            raise RuntimeError(
                f"compile: {name} was captured {MAX_CAPTURES} times: shapes or plain arguments differ at every call. Pad "
                "batches to one size, pass changing numbers as Tensors, or leave @mlext.compile out"
            )
        return _capture(self.fn, self._call, args)


def _capture(fn: Callable[..., Any], call: Any, args: tuple[Any, ...]) -> Any:
    """Run ``fn`` under a recording and give ``call`` the entry that replays it."""
    global _modes
    program = _C.Program()
    specs = [_spec(program, arg) for arg in args]
    log = autograd.GradLog()
    grad_mode = _C.grad_enabled()
    _modes, autograd.grad_log = {}, log
    program.begin()
    try:
        result = fn(*[value for _, value in specs])
        outputs, rebuild = _flatten(result)
    finally:
        program.end()
        modes, _modes, autograd.grad_log = _modes, None, None

    def holds() -> bool:
        same = all(module._mode() == mode for module, mode in modes.values())
        return same and bool(_C.grad_enabled() == grad_mode)

    before = list(log.before.values())
    after = [(leaf, leaf.grad) for leaf in log.after.values()]
    _C.add_entry(call, program, specs, outputs, before, after, rebuild, holds)
    # The caller's outputs must not be the memory that the next replay overwrites.
    copies = [_C.cast(out, out.dtype) for out in outputs]
    return copies[0] if rebuild is None else rebuild(copies)


def _spec(program: Any, arg: Any) -> tuple[str, Any]:
    if isinstance(arg, np.ndarray):
        return "ndarray", Input(program.input(arg))
    if isinstance(arg, Tensor) and not arg.requires_grad:
        return "tensor", program.input(arg)
    return "constant", arg


def _flatten(result: Any) -> tuple[list[Tensor], Callable[[list[Tensor]], Any] | None]:
    """Split a result into its Tensors and a function that puts such Tensors back in their places."""
    if isinstance(result, Tensor):
        return [result.detach()], None
    outputs: list[Tensor] = []

    def plan(value: Any) -> Callable[[list[Tensor]], Any]:
        if isinstance(value, Tensor):
            outputs.append(value.detach())
            at = len(outputs) - 1
            return lambda tensors: tensors[at]
        if isinstance(value, (tuple, list)):
            parts = [plan(v) for v in value]
            kind: Any = type(value)
            make = (lambda items: kind(*items)) if hasattr(kind, "_fields") else kind
            return lambda tensors: make([part(tensors) for part in parts])
        if isinstance(value, dict):
            named = {k: plan(v) for k, v in value.items()}
            return lambda tensors: {k: part(tensors) for k, part in named.items()}
        return lambda tensors: value

    rebuild = plan(result)
    return outputs, rebuild
