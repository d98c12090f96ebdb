"""Modules one after the other, those that can as one kernel."""

from __future__ import annotations

from typing import Any

from mlext import compiling
from mlext.nn import activation
from mlext.nn._door import locate
from mlext.nn.conv import Conv1d, Conv2d, ConvTranspose2d
from mlext.nn.linear import Linear
from mlext.nn.module import Module
from mlext.nn.normalization import BatchNorm, GroupNorm, InstanceNorm
from mlext.nn.pooling import MaxPool2d
from mlext.nn.quantized import QuantizedLinear, WeightOnlyLinear
from mlext.nn.quantized_conv import QuantizedConv1d, QuantizedConv2d
from mlext.nn.separable import DepthwiseConv2d

# Activation layers that those of _FUSING compute in the kernel, bit for bit the same.
_FUSED = {
    activation.ReLU: "relu",
    activation.ReLU6: "relu6",
    activation.Sigmoid: "sigmoid",
    activation.Tanh: "tanh",
    activation.SiLU: "silu",
}
_ALL = frozenset(_FUSED.values())
_FUSING = {
    **dict.fromkeys((Linear, Conv1d, Conv2d, ConvTranspose2d, DepthwiseConv2d), _ALL),
    **dict.fromkeys((QuantizedLinear, QuantizedConv1d, QuantizedConv2d, WeightOnlyLinear), _ALL),
    **dict.fromkeys((BatchNorm, GroupNorm, InstanceNorm), frozenset(["relu"])),
}

ADDING = (Linear, Conv1d, Conv2d)


def _fused_name(first: Module, second: Module) -> str | None:
    """Return the activation that ``first`` can apply for ``second``, if no hook sees them."""
    name = _FUSED.get(type(second))
    if name not in _FUSING.get(type(first), ()) or vars(first)["activation"] is not None:
        return None
    if first._hooks or second._hooks:
        return None
    return name


def _pools_before(modules: list[Module], i: int) -> bool:
    """Whether a relu and a max pooling come next: the other way round they are the same, of fewer pixels."""
    if i + 1 >= len(modules) or type(modules[i]) is not activation.ReLU or type(modules[i + 1]) is not MaxPool2d:
        return False
    return not (modules[i]._hooks or modules[i + 1]._hooks)


def run_all(modules: list[Module], x: Any) -> Any:
    """Apply the modules in order."""
    i = 0
    while i < len(modules):
        module, after = modules[i], modules[i + 1] if i + 1 < len(modules) else None
        fused = None
        if after is not None and _pools_before(modules, i):
            module, after, fused = after, module, "relu"
        # A normalisation reads its result again for the gradient of a relu; the others do not know theirs.
        elif after is not None and not (type(module) in ADDING and _pools_before(modules, i + 1)):
            fused = _fused_name(module, after)
        if fused is None or after is None:
            x = module(x)
            i += 1
        else:
            x = run_fused(module, after, x, fused)
            i += 2
    return x


def run_fused(module: Any, other: Module, x: Any, *options: Any) -> Any:
    """Apply a module and what the other one would do in one kernel."""
    if compiling._modes is not None:
        compiling.note_mode(module, module._mode())
        compiling.note_mode(other, other._mode())
    try:
        return module.run_with(x, *options)
    except Exception as error:
        locate(error, module)
        raise
