"""Module: parameters, buffers and submodules, and what can be done with all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from mlext import _C, compiling, dtypes
from mlext.autograd import no_grad, write_grad
from mlext.nn import _batches, _summary
from mlext.nn._door import enter, enter_options, locate
from mlext.nn._owner import Owner
from mlext.tensor import Parameter, Tensor, zeros_like

if TYPE_CHECKING:
    pass

M = TypeVar("M", bound="Module")
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
Hook = Callable[["Module", tuple[Any, ...], Any], Any]


class Module(Owner):
    """A function with parameters: assign Parameters and Modules, and write ``forward``.

    Called with ndarrays or Tensors it returns Tensors. A floating ndarray is cast to the dtype of
    the parameters; so are integers (in the first argument), unless the module has a layer that
    takes indices. Errors inside name the place: ``layers.0 (Linear): linear: ...``.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> class Scale(ml.nn.Module):
    ...     def __init__(self):
    ...         self.factor = ml.nn.Parameter(ml.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> model = Scale()
    >>> [name for name, _ in model.named_parameters()]
    ['factor']
    >>> model(np.array([1, 2]))
    Tensor([1., 2.], op=mul)
    """

    # Whether the input is indices: integer ndarrays then keep their dtype at the door.
    takes_indices = False

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run ``forward`` on Tensors."""
        try:
            if len(inputs) != 1 or type(inputs[0]) is not Tensor:
                inputs = enter(self, inputs)
            if options:
                options = enter_options(self, options)
            if compiling._modes is not None:
                compiling.note_mode(self, self._mode())
            out = self.forward(*inputs, **options)
            if self._hooks:
                out = self._run_hooks(inputs, out)
        except Exception as error:
            locate(error, self)
            raise
        return out

    # ---- modes -----------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode (dropout, batch statistics) here and inside; return self."""
        _set_training([module for module in self.modules() if module.training != mode], mode)
        return self

    def eval(self: M) -> M:
        """Set evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Set ``requires_grad`` of every parameter; return self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def freeze(self: M) -> M:
        """Keep the parameters as they are: ``requires_grad_(False)``."""
        return self.requires_grad_(False)

    def unfreeze(self: M) -> M:
        """Train the parameters again: ``requires_grad_(True)``."""
        return self.requires_grad_(True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradient of every parameter."""
        for parameter in self.parameters():
            write_grad(parameter, None if set_to_none else zeros_like(parameter))

    def to(self: M, dtype: dtypes.DTypeLike) -> M:
        """Convert the floating parameters and buffers to ``dtype``; return self.

        They are new objects: make the optimizer afterwards.
        """
        made: dict[int, Tensor] = {}
        for module in self.modules():
            for name, value in list(vars(module).items()):
                if not isinstance(value, Tensor) or not value.dtype.is_floating:
                    continue
                if value.dtype != dtype and id(value) not in made:
                    made[id(value)] = _converted(value, dtype)
                if id(value) in made:
                    setattr(module, name, made[id(value)])
        return self

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call ``fn`` with every module inside and then with this one; return self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def register_forward_hook(self, hook: Hook) -> Callable[[], None]:
        """Call ``hook(module, inputs, output)`` after ``forward``.

        What it returns, unless None, replaces the output.

        Returns
        -------
        callable
            Removes the hook again.
        """
        self._hooks = (*self._hooks, hook)
        self._note_change()

        def remove() -> None:
            self._hooks = tuple([h for h in self._hooks if h is not hook])
            self._note_change()

        return remove

    def _run_hooks(self, inputs: tuple[Any, ...], out: Any) -> Any:
        for hook in self._hooks:
            changed = hook(self, inputs, out)
            out = out if changed is None else changed
        return out

    # ---- inference -------------------------------------------------------------------------------

    @contextmanager
    def evaluating(self, modules: Iterable[Module] | None = None) -> Iterator[None]:
        """Have evaluation mode and no tape inside, and the modes of before afterwards.

        ``modules`` are those of this one; who asks for every token of a text has them at hand.
        """
        training = [module for module in modules or self.modules() if module.training]
        _set_training(training, False)
        try:
            with no_grad():
                yield
        finally:
            _set_training(training, True)

    def predict(self, x: Any, batch_size: int | None = None) -> Any:
        """Return the output as an ndarray: evaluation mode, no tape.

        Parameters
        ----------
        x : ndarray or Tensor, or a tuple of them
            Input, or inputs; samples along axis 0.
        batch_size : int, optional
            Work through so many samples at a time.

        Returns
        -------
        ndarray, or a tuple of them

        Raises
        ------
        ValueError
            If ``batch_size`` is not positive, or an output has not one entry per sample to be
            joined along.
        """
        if "_predictor" not in vars(self):
            vars(self)["_predictor"] = compiling.Predictor(self).call
        predict = vars(self)["_predictor"]
        inputs = x if isinstance(x, tuple) else (x,)
        if batch_size is None:
            return predict(*inputs)
        parts = []
        for batch in _batches.split(inputs, batch_size):
            parts.append(predict(*batch))
            _batches.check_rows(parts[-1], len(batch[0]))
        return _batches.join(parts)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields to copy: all but what replays predictions of this very module."""
        return {name: value for name, value in vars(self).items() if name != "_predictor"}

    # ---- what it looks like ----------------------------------------------------------------------

    def num_parameters(self, trainable_only: bool = False) -> int:
        """Return the number of elements in all parameters, or in those that require a gradient."""
        return sum([p.size for p in self.parameters() if p.requires_grad or not trainable_only])

    def summary(self, input_shape: tuple[int, ...] | None = None) -> str:
        """Return a table of the modules: name, type, output shape, parameters.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Shape of an input, with the batch; without it the table has no output shapes.
        """
        return _summary.table(self, input_shape)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain data: what makes a module like this one.

        A subclass needs attributes of the arguments' names. ``rng`` is left out; ``dtype`` is that
        of the parameters.
        """
        found: dict[str, Any] = {}
        arguments = getattr(type(self), "__signature__", inspect.signature(type(self).__init__))
        for name, argument in arguments.parameters.items():
            if name == "dtype":
                dtype = self._floating_dtype()
                found[name] = None if dtype is None else dtype.name
            elif name not in ("self", "rng") and argument.kind not in _ANY_NUMBER:
                value = getattr(self, name)
                found[name] = value is not None if name == "bias" and not isinstance(value, bool) else value
        return found

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows; subclasses write this."""
        return ""

    def __repr__(self) -> str:
        """Return the tree of modules."""
        lines = []
        for name, child in self.named_children():
            lines.append(f"({name}): " + repr(child).replace("\n", "\n  "))
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}({extra}\n  " + "\n  ".join(lines) + "\n)"


def _set_training(modules: list[Module], mode: bool) -> None:
    for module in modules:
        vars(module)["training"] = mode
    if modules:
        _C.bump_epoch()


def _converted(value: Tensor, dtype: dtypes.DTypeLike) -> Tensor:
    cast = _C.cast(value.detach(), dtype)
    made: Tensor = Parameter(cast, value.requires_grad) if isinstance(value, Parameter) else cast
    return made
