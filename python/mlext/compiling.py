"""``mlext.compile``: run a function once, keep its kernel launches, replay them in one call.

The first call with a new signature runs the function as it is while every launch is recorded together with the memory
it
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
# As many batch shapes of one module are kept for predict().
MAX_SHAPES = 16
# Bytes. A replay copies its inputs, which at this size takes longer than running the layers one by one.
LARGE_INPUT = 1 << 20


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

    Arguments that are ndarrays or Tensors may have new values at every call; a new shape or dtype, or another value
    of any
    other argument, is captured anew. What ``fn`` uses from outside must be Tensors (parameters, optimizer state, random
    state), whose current values are used. Tensors that ``fn`` returns come back off the tape.

    Parameters
    ----------
    fn : callable
        Runs under the tape as usual: forward, ``backward()``, ``optimizer.step()``. It may not read a value
        (``item()``, ``float()``, ``if loss > 1``, ``.numpy()``), since a replay would not see the new one.

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
                f"compile: {name} was captured {MAX_CAPTURES} times: shapes or plain arguments differ at every call. "
                "Pad batches to one size, pass changing numbers as Tensors, or leave @mlext.compile out"
            )
        recording = _Recording(self.fn, args)
        recording.add_to(self._call, recording.holds)
        return recording.result(lambda out: out)


class _Recording:
    """One run of a function under a recording, and the entry that comes of it."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        global _modes
        self.program = _C.Program()
        self.specs = [_spec(self.program, arg) for arg in args]
        self.grad_mode = _C.grad_enabled()
        _modes, autograd.grad_log = {}, autograd.GradLog()
        self.program.begin()
        try:
            result = fn(*[value for _, value in self.specs])
            self.outputs, self.rebuild = _flatten(result)
        finally:
            self.program.end()
            self.modes, _modes = _modes, None
            self.log, autograd.grad_log = autograd.grad_log, None

    def holds(self) -> bool:
        """Whether the modes are those of the recording."""
        same = all(module._mode() == mode for module, mode in self.modes.values())
        return same and bool(_C.grad_enabled() == self.grad_mode)

    def add_to(self, call: Any, holds: Callable[[], bool]) -> None:
        """Have ``call`` replay this for arguments like those of the recording, as long as ``holds()``."""
        before = list(self.log.before.values())
        after = [(leaf, leaf.grad) for leaf in self.log.after.values()]
        _C.add_entry(call, self.program, self.specs, self.outputs, before, after, self.rebuild, holds)

    def result(self, take: Callable[[Tensor], Any]) -> Any:
        """The outputs, copied: the next replay overwrites the memory they are in."""
        copies = [take(_C.cast(out, out.dtype)) for out in self.outputs]
        return copies[0] if self.rebuild is None else self.rebuild(copies)


class Predictor:
    """``module.predict`` for one batch: ndarrays in and out, evaluation mode, no tape, replayed if possible."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.replayable = True
        self.call = _C.CompiledCall(self._miss, True)

    def _miss(self, *inputs: Any) -> Any:
        module = self.module
        with module.evaluating():
            if self.replayable and not _C.is_capturing() and self._is_worth_replaying(inputs):
                if _C.entry_count(self.call) >= MAX_SHAPES:
                    _C.clear_entries(self.call)
                try:
                    recording = _Recording(module, inputs)
                except RuntimeError as error:
                    # It reads values or has arrays of its own: run it as it is, now and from now on.
                    if "compile:" not in str(error):
                        raise
                    self.replayable = False
                else:
                    # A module that changes itself as it runs is not replayed.
                    self.replayable = recording.holds()
                    if self.replayable:
                        recording.add_to(self.call, lambda: _same_but_training(recording))
                    return recording.result(lambda out: out.numpy())
            return _numpy(module(*inputs))

    def _is_worth_replaying(self, inputs: tuple[Any, ...]) -> bool:
        size = sum([x.nbytes for x in inputs if isinstance(x, (np.ndarray, Tensor))])
        return size < LARGE_INPUT and not any(m._hooks for m in self.module.modules())


def _same_but_training(recording: _Recording) -> bool:
    # predict() is always in evaluation mode: what mode the modules are in between calls does not matter.
    return all(module._mode()[1:] == mode[1:] for module, mode in recording.modes.values())


def _numpy(out: Any) -> Any:
    if isinstance(out, (tuple, list)):
        return tuple([_numpy(part) for part in out])
    return out.numpy() if isinstance(out, Tensor) else out


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
