"""Why a loss or a gradient is not finite: the batch once more, eagerly, looking at everything."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlext import nn
from mlext.autograd import read_grad
from mlext.profiling import nan_check
from mlext.tensor import Tensor
from mlext.training.batches import Batch
from mlext.training.checkpoint import generators
from mlext.training.step import Stepper

__all__ = ["explain"]


def explain(stepper: Stepper, batch: Batch) -> str:
    """Return what was the first to be not finite: inputs, weights, a layer's output, the loss or a gradient."""
    for name, generator in generators(stepper.model).items():
        if name in stepper.drawn:
            generator.set_state(stepper.drawn[name])
    named = [(f"input {i}" if i else "input x", x) for i, x in enumerate(batch.inputs)]
    for name, value in [*named, ("target y", batch.target), ("sample weights", batch.weight)]:
        if (found := _describe(value)) is not None:
            return f"the {name} of the batch has {found}; clean the data"
    for name, value in stepper.model.state_dict().items():
        if (found := _describe(value)) is not None:
            return f"the weights were not finite before this batch: {name} has {found}"
    return _forward_and_backward(stepper, batch)


def _forward_and_backward(stepper: Stepper, batch: Batch) -> str:
    first: list[str] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
        found = None if first else _describe(out)
        if found is not None:
            path = next(name for name, inner in stepper.model.named_modules() if inner is module)
            first.append(f"layer {path or '(model)'} ({type(module).__name__}): its output has {found}")

    removers = [module.register_forward_hook(note) for module in stepper.model.modules()]
    kept, stepper.keep_output = stepper.keep_output, True
    try:
        loss, out, _ = stepper._backward(batch.target, batch.weight, *batch.inputs)
    finally:
        stepper.keep_output = kept
        for remove in removers:
            remove()
    try:
        if first:
            return (
                f"{first[0]} while inputs and weights are finite; a lower learning rate, clipping or scaling may help"
            )
        if (found := _describe(loss)) is not None:
            return f"the loss is {found} while the predictions are finite{_largest(out)}; it overflowed"
        return _gradients(stepper, batch)
    finally:
        stepper._forget()


def _largest(out: Tensor) -> str:
    return f", up to {np.abs(out.detach().numpy().astype(np.float64)).max():.3g}"


def _gradients(stepper: Stepper, batch: Batch) -> str:
    """Name the parameter nearest to the loss whose gradient is not finite, and the kernel that made the first NaN."""
    found = [
        (name, text)
        for name, p in stepper.model.named_parameters()
        if (g := read_grad(p)) is not None and (text := _describe(g)) is not None
    ]
    if not found:
        return "the norm of the gradients overflowed while each is finite; clip_value or a lower learning rate may help"
    kernel = ""
    stepper._forget()
    try:
        with nan_check():
            stepper._backward(batch.target, batch.weight, *batch.inputs)
    except FloatingPointError as error:
        kernel = f"; first NaN: {error}"
    name, text = found[-1]
    return f"the gradient of {name} has {text} while the loss is finite{kernel}; clipping the norm may help"


def _describe(value: Any) -> str | None:
    """What is wrong with an array: the first value that is not finite, and where."""
    if isinstance(value, (tuple, list)):
        return next((text for part in value if (text := _describe(part)) is not None), None)
    if value is None:
        return None
    array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    if array.ndim == 0:
        return str(array)
    where = tuple([int(i) for i in np.argwhere(~np.isfinite(array))[0]])
    return f"{array[where]} at index {where}, shape {array.shape}"
